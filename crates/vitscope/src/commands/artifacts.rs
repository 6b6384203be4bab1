//! `vitscope artifacts`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use vitscope_run::Run;
use vitscope_study::artifacts::{Finding, Health, artifacts};

use super::print;
use crate::args::{Cli, Output};

/// Says what is odd about the embeddings of a run.
pub fn run(cli: &Cli, run: &Path) -> anyhow::Result<()> {
    let run = Run::finished(run)?;
    let findings = artifacts(&run)?;
    match cli.output() {
        Output::Human => print(&table(&findings)),
        Output::Json => print(&serde_json::to_string(&json!({ "findings": findings }))?),
    }
}

/// What is not ok, the worst first, and how much is.
fn table(findings: &[Finding]) -> String {
    let mut bad: Vec<&Finding> = findings.iter().filter(|f| f.health != Health::Ok).collect();
    bad.sort_by_key(|finding| std::cmp::Reverse(finding.health));
    let mut text = format!(
        "{:<7} {:<9} {:<17} {:>9} {:>9}  next\n",
        "", "slot", "measure", "value", "null"
    );
    let mut told: Vec<&str> = Vec::new();
    for finding in &bad {
        // What to do is the same for every slot of a measure: it is said once.
        let next = finding.next.as_deref().unwrap_or_default();
        let key = if finding.measure == "channel_top3" {
            "channel_top3"
        } else {
            next
        };
        let said = told.contains(&key);
        told.push(key);
        let _ = writeln!(
            text,
            "{:<7} {:<9} {:<17} {:>9.4} {:>9.4}  {}",
            finding.health.word(),
            finding.slot,
            finding.measure,
            finding.value,
            finding.null,
            if said { "as above" } else { next }
        );
    }
    if bad.is_empty() {
        text.clear();
    }
    let _ = writeln!(
        text,
        "{} of {} measures ok",
        findings.len() - bad.len(),
        findings.len()
    );
    text
}
