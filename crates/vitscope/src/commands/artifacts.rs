//! `vitscope artifacts`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use vitscope_run::Run;
use vitscope_study::artifacts::{Finding, Health, artifacts};

use crate::args::{Cli, Output};
use crate::stdout::{print, print_exactly};

/// Says what is odd about the embeddings of a run.
pub fn run(cli: &Cli, run: &Path) -> anyhow::Result<()> {
    let run = Run::finished(run)?;
    let findings = artifacts(&run)?;
    match cli.output() {
        Output::Human => print(&table(&findings)),
        Output::Json => print_exactly(&serde_json::to_string(&json!({ "findings": findings }))?),
    }
}

/// What is not ok, the worst first, and how much is; then what to do, which is the same for every slot of a
/// measure and said once.
fn table(findings: &[Finding]) -> String {
    let mut bad: Vec<&Finding> = findings.iter().filter(|f| f.health != Health::Ok).collect();
    bad.sort_by_key(|finding| std::cmp::Reverse(finding.health));
    let mut text = String::new();
    if !bad.is_empty() {
        let _ = writeln!(
            text,
            "{:<7} {:<9} {:<17} {:>9} {:>9}",
            "", "slot", "measure", "value", "null"
        );
    }
    let mut steps: Vec<(&str, &str)> = Vec::new();
    for finding in &bad {
        let _ = writeln!(
            text,
            "{:<7} {:<9} {:<17} {:>9.4} {:>9.4}",
            finding.health.word(),
            finding.slot,
            finding.measure,
            finding.value,
            finding.null
        );
        let next = finding.next.as_deref().unwrap_or_default();
        // That of the channels has the slot's own number in it; the worst slot's will do.
        let said = |&(measure, step): &(&str, &str)| {
            measure == finding.measure && (step == next || measure == "channel_top3")
        };
        if !steps.iter().any(said) {
            steps.push((finding.measure, next));
        }
    }
    let _ = writeln!(
        text,
        "{} of {} measures ok",
        findings.len() - bad.len(),
        findings.len()
    );
    for (measure, next) in steps {
        let _ = writeln!(text, "{measure}: {next}");
    }
    text
}
