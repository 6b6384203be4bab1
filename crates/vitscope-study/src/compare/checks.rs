//! What a user's own tests ask of runs: conditions under which they fail, and a run not to fall behind.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use vitscope_run::{Facet, Measured, Part, Select, Slot, Subject, decimals, number};

use super::paired::{difference, samples};
use crate::error::StudyError;
use crate::stored::StoredRun;

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// A condition such as `nmi_excess > 0.1`, `key.miou < 0.2` or `key.9.miou < 0.2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    facet: Option<Facet>,
    layer: Option<usize>,
    metric: String,
    sign: Sign,
    limit: f64,
    text: String,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |problem: &str| {
            Err(format!(
                "`{text}` {problem}: expected a number of metrics.csv, a sign and a limit, such as `nmi_excess > 0.1` or `key.9.miou < 0.2`"
            ))
        };
        let Some(at) = text.find(['<', '>', '=', '!']) else {
            return wrong("compares nothing");
        };
        let (name, rest) = text.split_at(at);
        let symbol = &rest[..rest.find(|c| !"<>=!".contains(c)).unwrap_or(rest.len())];
        let sign = match symbol {
            ">" => Sign::Above,
            ">=" => Sign::AtLeast,
            "<" => Sign::Below,
            "<=" => Sign::AtMost,
            _ => {
                return wrong(&format!(
                    "has the sign `{symbol}`, which is none of > >= < <="
                ));
            }
        };
        let limit = rest[symbol.len()..].trim();
        let Some(limit) = limit.parse::<f64>().ok().filter(|limit| limit.is_finite()) else {
            return wrong(&format!("has `{limit}` where a limit was expected"));
        };
        let name = name.trim();
        let (mut facet, mut layer, mut metric) = (None, None, name);
        if let Some((first, rest)) = name
            .split_once('.')
            .filter(|_| !name.contains('@') || name.find('.') < name.find('@'))
        {
            let Ok(found) = first.parse::<Facet>() else {
                return wrong(&format!("speaks of `{first}`, which is no facet"));
            };
            (facet, metric) = (Some(found), rest);
            if let Some((middle, rest)) = rest
                .split_once('.')
                .filter(|(middle, _)| middle.bytes().all(|b| b.is_ascii_digit()))
            {
                let Some(found) = middle.parse().ok().filter(|&layer: &usize| layer > 0) else {
                    return wrong(&format!("has `{middle}` where a layer from 1 was expected"));
                };
                (layer, metric) = (Some(found), rest);
            }
        }
        if number(metric).is_none() {
            return wrong(&format!(
                "names `{metric}`, which is no number of metrics.csv"
            ));
        }
        Ok(Self {
            facet,
            layer,
            metric: metric.to_owned(),
            sign,
            limit,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One thing that was asked of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunCheck {
    /// What was asked: a condition, or `baseline`.
    pub asked: String,
    /// The run.
    pub run: String,
    /// What it was asked of, such as `key.9`.
    pub subject: String,
    /// The number.
    pub metric: String,
    /// Whether it failed.
    pub failed: bool,
    /// One sentence with the numbers.
    pub sentence: String,
}

impl Condition {
    /// Whether a value fails.
    fn holds(&self, value: f64) -> bool {
        match self.sign {
            Sign::Above => value > self.limit,
            Sign::AtLeast => value >= self.limit,
            Sign::Below => value < self.limit,
            Sign::AtMost => value <= self.limit,
        }
    }

    /// Asks a run, at every facet's shown layer unless the condition names facet and layer.
    ///
    /// # Errors
    /// A sentence, where the run has no such number: a check that cannot be made has not passed.
    pub fn ask(&self, run: &StoredRun, select: Select) -> Result<Vec<RunCheck>, StudyError> {
        let mut checks = Vec::new();
        for facet in Facet::ALL {
            if self.facet.is_some_and(|asked| asked != facet) {
                continue;
            }
            let Some(layer) = self.layer.or_else(|| run.run.selected(facet, select)) else {
                continue;
            };
            self.add(run, subject_of(&self.metric, facet, layer), &mut checks);
        }
        if checks.is_empty() && self.facet.is_none() {
            // Numbers of the ground truth, and of runs that measured layers as a whole.
            self.add(run, Subject::GroundTruth, &mut checks);
            if let Some(layer) = run.run.selected(None, select) {
                self.add(run, Subject::Layer(layer), &mut checks);
            }
        }
        if checks.is_empty() {
            return Err(StudyError::setting(format!(
                "`{self}` cannot be asked of {}: its metrics.csv has no such number at the layers shown",
                run.run.root.display()
            )));
        }
        Ok(checks)
    }

    fn add(&self, run: &StoredRun, subject: Subject, checks: &mut Vec<RunCheck>) {
        let Some(found) = run.run.metrics.part(subject, &self.metric, Part::Whole) else {
            return;
        };
        let subject = subject.to_string();
        if checks.iter().any(|check| check.subject == subject) {
            return;
        }
        // A number that is not defined, as of a slot that collapsed, passes nothing.
        let failed = found.value.is_none_or(|value| self.holds(value));
        checks.push(RunCheck {
            asked: self.text.clone(),
            run: run.name.clone(),
            metric: self.metric.clone(),
            failed,
            sentence: format!(
                "{}: {} of {subject} is {}{}",
                run.name,
                self.metric,
                plain(found),
                if failed {
                    format!(", which fails `{self}`")
                } else {
                    String::new()
                }
            ),
            subject,
        });
    }
}

/// What a number of the shown slot, or of its layer, is about.
fn subject_of(metric: &str, facet: Facet, layer: usize) -> Subject {
    match metric.split_once('@').map_or(metric, |(base, _)| base) {
        "locality" => Subject::Layer(layer),
        _ => Subject::slot(facet, layer),
    }
}

/// What a run may not lose against a baseline, and whether more is better.
const GUARDED: [(&str, bool); 3] = [("miou", true), ("pck", true), ("nmi_excess", false)];

/// Asks whether a run falls behind another of the same data, slot by slot at the layers that the run shows.
/// It does where both 95 % intervals lie apart, on the wrong side: lower mIoU or PCK, or more of a
/// positional effect beyond chance; for mIoU of runs whose bootstrap drew the same images, where the paired interval of
/// the difference lies below 0.
///
/// # Errors
/// A sentence, for damaged samples, for runs of different data, where a number has an interval in the baseline alone, and where none
/// has one in both.
pub fn against(
    run: &StoredRun,
    baseline: &StoredRun,
    select: Select,
) -> Result<Vec<RunCheck>, StudyError> {
    let tested = [run, baseline].map(|run| run.run.record.data.test);
    if !run.is_same_data(baseline) || tested[0] != tested[1] {
        return Err(StudyError::setting(format!(
            "`baseline` {} is of other images than {}: give a run over the same data",
            baseline.run.root.display(),
            run.run.root.display()
        )));
    }
    let (drawn, drawn_before) = (samples(run)?, samples(baseline)?);
    let mut checks = Vec::new();
    for facet in Facet::ALL {
        let Some(layer) = run.run.selected(facet, select) else {
            continue;
        };
        let slot = Slot { facet, layer };
        let paired = difference((run, &drawn), (baseline, &drawn_before), slot);
        for (metric, more_is_better) in GUARDED {
            let found = |run: &StoredRun| run.number(Some(facet), layer, metric);
            let (Some(own), Some(other)) = (found(run), found(baseline)) else {
                continue;
            };
            let subject = Subject::slot(facet, layer).to_string();
            if other.interval.is_none() {
                continue;
            }
            let paired = paired.filter(|_| metric == "miou");
            // An undefined number is no pass; one without an interval cannot be judged.
            let failed = match (own.value, paired, falls_behind(own, other, more_is_better)) {
                (None, _, _) => true,
                (_, Some(paired), _) => paired.falls(),
                (_, None, Some(failed)) => failed,
                (Some(_), None, None) => {
                    return Err(StudyError::setting(format!(
                        "{}: {metric} of {subject} has no interval, but in `baseline` {} it has one: nothing can be judged",
                        run.run.root.display(),
                        baseline.run.root.display()
                    )));
                }
            };
            checks.push(RunCheck {
                asked: "baseline".to_owned(),
                run: run.name.clone(),
                metric: metric.to_owned(),
                failed,
                sentence: format!(
                    "{}: {metric} of {subject} is {}, and {} in {}{}",
                    run.name,
                    told(own),
                    told(other),
                    baseline.run.root.display(),
                    match (failed, own.value, paired) {
                        (true, None, _) => ": undefined here".to_owned(),
                        (_, _, Some(paired)) => format!(
                            ": {}{:+.4} [{:+.4}, {:+.4}] in pairs over images",
                            if failed { "worse, " } else { "" },
                            paired.value,
                            paired.interval.0,
                            paired.interval.1
                        ),
                        (true, Some(_), None) => ": worse, with intervals apart".to_owned(),
                        (false, _, _) => String::new(),
                    }
                ),
                subject,
            });
        }
    }
    if checks.is_empty() {
        return Err(StudyError::setting(format!(
            "`baseline` {} and {} have no slot whose mIoU, PCK or positional effect has an interval in both: nothing can be judged",
            baseline.run.root.display(),
            run.run.root.display()
        )));
    }
    Ok(checks)
}

/// Whether a number is worse than another beyond both intervals; `None` where one has none.
fn falls_behind(own: Measured, other: Measured, more_is_better: bool) -> Option<bool> {
    let (own, other) = (own.interval?, other.interval?);
    Some(if more_is_better {
        own.1 < other.0
    } else {
        own.0 > other.1
    })
}

fn plain(measured: Measured) -> String {
    let value = measured.value;
    value.map_or_else(|| "undefined".to_owned(), |value| decimals(value, 4))
}

fn told(measured: Measured) -> String {
    let interval = measured.interval;
    let interval = interval.map_or_else(String::new, |(low, high)| {
        format!(" [{}, {}]", decimals(low, 4), decimals(high, 4))
    });
    plain(measured) + &interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let read = |text: &str| text.parse::<Condition>().unwrap();
        let plain = read(" nmi_excess>0.1 ");
        assert_eq!((plain.facet, plain.layer, plain.limit), (None, None, 0.1));
        assert!(plain.holds(0.11) && !plain.holds(0.1));
        let slot = read("key.9.miou <= 2e-1");
        assert_eq!((slot.facet, slot.layer), (Some(Facet::Key), Some(9)));
        assert!(slot.holds(0.2) && !slot.holds(0.21));
        assert_eq!(read("token.miou < 0.2").facet, Some(Facet::Token));
        let threshold = read("pck@0.05 >= -1");
        assert_eq!(
            (threshold.metric.as_str(), threshold.facet),
            ("pck@0.05", None)
        );
        assert_eq!(read("value.2.pck@0.05 > 0").layer, Some(2));
    }

    #[test]
    fn what_cannot_be_read_is_one_sentence() {
        for (text, expected) in [
            ("", "compares nothing"),
            ("miou", "compares nothing"),
            ("miou == 0.1", "sign `==`"),
            ("miou <> 0.1", "sign `<>`"),
            ("miou < ", "`` where a limit"),
            ("miou < NaN", "`NaN` where a limit"),
            ("miou < 0.1 and nmi > 0", "`0.1 and nmi > 0` where a limit"),
            ("mIoU < 0.1", "`mIoU`, which is no number"),
            ("> 0.1", "``, which is no number"),
            ("keys.miou < 0.1", "`keys`, which is no facet"),
            ("key.0.miou < 0.1", "`0` where a layer"),
            ("key.9 < 0.1", "`9`, which is no number"),
            ("größe > 1", "`größe`, which is no number"),
        ] {
            let error = text.parse::<Condition>().unwrap_err();
            assert!(
                error.contains(expected) && !error.contains('\n'),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_regression_is_beyond_both_intervals_and_on_the_wrong_side() {
        let measured = |low, high| Measured {
            value: Some((low + high) / 2.0),
            interval: Some((low, high)),
        };
        let judged = |own, other, more| falls_behind(own, other, more);
        assert_eq!(
            judged(measured(0.1, 0.2), measured(0.3, 0.4), true),
            Some(true)
        );
        assert_eq!(
            judged(measured(0.1, 0.3), measured(0.3, 0.4), true),
            Some(false)
        );
        assert_eq!(
            judged(measured(0.5, 0.6), measured(0.3, 0.4), true),
            Some(false)
        );
        assert_eq!(
            judged(measured(0.5, 0.6), measured(0.3, 0.4), false),
            Some(true)
        );
        let bare = Measured {
            value: Some(0.1),
            interval: None,
        };
        assert_eq!(judged(bare, measured(0.3, 0.4), true), None);
    }
}
