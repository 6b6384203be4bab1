//! `vitscope verify`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use vitscope_study::verify::{KINDS, TensorComparison, Verification, verify};

use super::locate::locate;
use super::settled::{layout, settle};
use crate::args::{Cli, Output, VerifyArgs};
use crate::exit::missed;
use crate::stdout::{print, print_exactly};

/// Compares a model with recorded activations and prints the differences; an error past the
/// tolerance.
pub fn run(cli: &Cli, args: &VerifyArgs) -> anyhow::Result<()> {
    let layout = layout(cli, &args.settle)?;
    let settle = settle(&args.settle, layout)?;
    let model = locate(cli, &args.model, layout)?;
    let outcome = verify(&model, &settle, &args.against, args.tolerance)?;
    match cli.output() {
        Output::Human => print(&table(&outcome))?,
        Output::Json => print_exactly(&serde_json::to_string_pretty(&outcome)?)?,
    }
    if outcome.passed {
        return Ok(());
    }
    let failed: Vec<&str> = outcome
        .compared
        .iter()
        .filter(|tensor| !tensor.passed)
        .map(|tensor| tensor.tensor.as_str())
        .collect();
    Err(missed(format!(
        "{} of {} recorded tensors are not reproduced within {:e}, the first of them {}",
        failed.len(),
        outcome.compared.len(),
        outcome.tolerance,
        failed.first().copied().unwrap_or_default(),
    )))
}

fn number(tensor: &TensorComparison) -> String {
    let mark = if tensor.passed { "" } else { "!" };
    match tensor.difference {
        Some(difference) => format!("{difference:.1e}{mark}"),
        None => "none!".to_owned(),
    }
}

/// Worst differences, a row for each layer and a column for each facet that was recorded.
fn table(outcome: &Verification) -> String {
    let mut text = format!(
        "worst difference, relative to the largest magnitude of each tensor; `!` is beyond {:e}\n",
        outcome.tolerance
    );
    let mut cells: BTreeMap<(usize, &str), String> = BTreeMap::new();
    let mut layers = BTreeSet::new();
    let mut whole = Vec::new();
    for tensor in &outcome.compared {
        if KINDS.iter().any(|(name, _)| *name == tensor.facet) {
            cells.insert((tensor.layer, &tensor.facet), number(tensor));
            layers.insert(tensor.layer);
        } else {
            whole.push(tensor);
        }
    }
    for tensor in whole {
        let _ = writeln!(text, "{:<10} {}", tensor.facet, number(tensor));
    }
    if !layers.is_empty() {
        let columns: Vec<&str> = KINDS
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| cells.keys().any(|(_, facet)| facet == name))
            .collect();
        let _ = write!(text, "{:<10}", "layer");
        for name in &columns {
            let _ = write!(text, " {name:>10}");
        }
        text.push('\n');
        for layer in layers {
            let _ = write!(text, "{layer:<10}");
            for name in &columns {
                let cell = cells.get(&(layer, *name)).map_or("-", String::as_str);
                let _ = write!(text, " {cell:>10}");
            }
            text.push('\n');
        }
    }
    if let Some(worst) = outcome.worst() {
        let _ = match (&worst.problem, worst.difference) {
            (Some(problem), _) => writeln!(text, "worst: {}: {problem}", worst.tensor),
            (None, difference) => writeln!(
                text,
                "worst: {} {:.2e} at {:?}, where the largest magnitude is {:.4}",
                worst.tensor,
                difference.unwrap_or(0.0),
                worst.at,
                worst.largest
            ),
        };
    }
    for (title, names) in [
        ("not recorded", &outcome.missing),
        ("not known", &outcome.unknown),
    ] {
        if !names.is_empty() {
            let _ = writeln!(text, "{title}: {}", names.join(", "));
        }
    }
    for note in &outcome.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let verdict = if outcome.passed { "passed" } else { "failed" };
    let _ = writeln!(
        text,
        "{verdict}: {} tensors compared",
        outcome.compared.len()
    );
    text
}
