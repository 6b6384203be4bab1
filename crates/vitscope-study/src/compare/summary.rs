//! What was asked of runs and found, for a machine that runs people's own tests: Markdown or JUnit.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use vitscope_run::{files, plain};

use super::Comparison;
use super::checks::RunCheck;
use crate::error::StudyError;

/// A form of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SummaryForm {
    Markdown,
    JUnit,
}

/// Where a summary goes; the end of its name says the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryFile {
    path: PathBuf,
    form: SummaryForm,
}

impl FromStr for SummaryFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let form = match path.extension().and_then(|end| end.to_str()) {
            Some("md") => SummaryForm::Markdown,
            Some("xml") => SummaryForm::JUnit,
            _ => {
                return Err(format!(
                    "`{text}` ends neither in .md (Markdown) nor in .xml (JUnit): choose one"
                ));
            }
        };
        Ok(Self { path, form })
    }
}

impl SummaryFile {
    /// Refuses to replace what no comparison has written.
    ///
    /// # Errors
    /// A sentence, where something else is there.
    pub fn check(&self) -> Result<(), StudyError> {
        if self.path.is_symlink() {
            return Err(StudyError::setting(format!(
                "{}: is a link and is not replaced: give the file that it leads to",
                self.path.display()
            )));
        }
        let Ok(found) = std::fs::read(&self.path) else {
            return Ok(());
        };
        let begins = |mark: &str| found.starts_with(mark.as_bytes());
        if found.is_empty() || begins(MARKDOWN) || begins(JUNIT) {
            return Ok(());
        }
        Err(StudyError::setting(format!(
            "{}: is no summary of an earlier comparison and is not replaced: give another file",
            self.path.display()
        )))
    }

    /// Writes the summary.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, comparison: &Comparison) -> Result<(), StudyError> {
        let text = match self.form {
            SummaryForm::Markdown => markdown(comparison),
            SummaryForm::JUnit => junit(&comparison.checks),
        };
        Ok(files::write(&self.path, text.as_bytes())?)
    }
}

/// How summaries begin.
const MARKDOWN: &str =
    "## vitscope\n<!-- Written by vitscope compare, and replaced by the next one. -->\n";
const JUNIT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"vitscope\"";

fn markdown(comparison: &Comparison) -> String {
    // A bar would end a cell, and a line the table or the list; nor does a name steer the terminal that shows it.
    let cell = |text: &str| plain::line(text).replace('|', "\\|");
    let mut text = MARKDOWN.to_owned();
    if !comparison.checks.is_empty() {
        let failed = comparison.checks.iter().filter(|check| check.failed);
        let _ = write!(
            text,
            "\n{} of {} checks failed.\n\n| | asked | found |\n|---|---|---|\n",
            failed.count(),
            comparison.checks.len()
        );
    }
    for check in &comparison.checks {
        let mark = if check.failed { "failed" } else { "ok" };
        let (asked, found) = (cell(&check.asked), cell(&check.sentence));
        let _ = writeln!(text, "| {mark} | `{asked}` | {found} |");
    }
    if let Some(series) = &comparison.series {
        text += "\nBest step of each facet, by mIoU:\n\n";
        for best in &series.best {
            let _ = writeln!(text, "- {}", plain::line(&best.sentence()));
        }
    }
    if !comparison.notes.is_empty() {
        text += "\nNotes:\n\n";
    }
    for note in &comparison.notes {
        let _ = writeln!(text, "- {}", plain::line(note));
    }
    text
}

fn junit(checks: &[RunCheck]) -> String {
    let failed = checks.iter().filter(|check| check.failed).count();
    let mut text = format!(
        "{JUNIT} tests=\"{}\" failures=\"{failed}\">\n",
        checks.len()
    );
    for check in checks {
        let name = escape(&format!(
            "{} ({} of {})",
            check.asked, check.metric, check.subject
        ));
        let _ = write!(
            text,
            "  <testcase classname=\"{}\" name=\"{name}\"",
            escape(&check.run)
        );
        if check.failed {
            let message = escape(&check.sentence);
            let _ = writeln!(text, "><failure message=\"{message}\"/></testcase>");
        } else {
            text += "/>\n";
        }
    }
    text + "</testsuite>\n"
}

/// Text as an attribute of XML; what XML cannot hold, or a page would not show, is told by its number.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in plain::line(text).chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> [RunCheck; 2] {
        [false, true].map(|failed| RunCheck {
            asked: "nmi_excess > 0.1".to_owned(),
            run: "a & \"b\"".to_owned(),
            subject: "key.9".to_owned(),
            metric: "nmi_excess".to_owned(),
            failed,
            sentence: "a|b: nmi_excess of key.9 is 0.2".to_owned(),
        })
    }

    #[test]
    fn junit_counts_failures_and_escapes_names() {
        let text = junit(&checks());
        assert!(text.contains("tests=\"2\" failures=\"1\""));
        assert!(text.contains("classname=\"a &amp; &quot;b&quot;\" name=\"nmi_excess &gt; 0.1 (nmi_excess of key.9)\"/>"));
        assert_eq!(text.matches("<failure ").count(), 1);
    }

    #[test]
    fn names_steer_nothing() {
        let evil = "a\u{1b}[31m\u{202e}\n|b";
        let checks: Vec<RunCheck> = checks()
            .into_iter()
            .map(|check| RunCheck {
                run: evil.to_owned(),
                asked: evil.to_owned(),
                sentence: evil.to_owned(),
                ..check
            })
            .collect();
        let comparison = Comparison {
            checks: checks.clone(),
            notes: vec![evil.to_owned()],
            ..Comparison::default()
        };
        for text in [markdown(&comparison), junit(&checks)] {
            assert!(text.contains("a\\u{1b}[31m\\u{202e}\\n"), "{text}");
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        }
    }

    #[test]
    fn forms_follow_the_name() {
        let form = |name: &str| name.parse::<SummaryFile>().map(|file| file.form);
        assert_eq!(
            (form("a/b.md"), form("c.xml")),
            (Ok(SummaryForm::Markdown), Ok(SummaryForm::JUnit))
        );
        assert!(form("c.txt").unwrap_err().contains(".md (Markdown)"));
    }
}
