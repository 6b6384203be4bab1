//! Numbers and sentences as captions, tables and the page say them.

use crate::members::Member;
use crate::metrics::Measured;
use crate::run_dir::{Choice, Kind, Run, Slot};

pub(crate) const INTERVAL_NOTE: &str = "Upright lines: 95 % bootstrap intervals over images.";

pub(crate) const NMI_NOTE: &str = "Positional effect: NMI = I(P;C)/H(C), natural logarithm.";

/// A number as figures print it; undefined is said, never shown as 0.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.3}"))
}

/// A value of a table, with all its digits; empty where undefined, as in `metrics.csv`.
pub(crate) fn cell(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The three columns by which tables show a value: itself and the ends of its interval.
pub(crate) fn measured_cells(measured: Measured) -> [String; 3] {
    measured.ends().map(cell)
}

/// The two columns by which tables name a slot: layer and facet.
pub(crate) fn slot_cells(slot: Slot) -> [String; 2] {
    match slot {
        Slot::Truth => [String::new(), "ground_truth".to_owned()],
        Slot::Probe(facet, layer) => [layer.to_string(), facet.name().to_owned()],
    }
}

/// What readers see as the name of a slot, in one or two lines.
pub(crate) fn slot_label(slot: Slot) -> (&'static str, String) {
    match slot {
        Slot::Truth => ("ground truth", String::new()),
        Slot::Probe(facet, layer) => (facet.name(), format!("layer {layer}")),
    }
}

/// The model's name, or that it has none.
pub(crate) fn model_name(run: &Run) -> &str {
    match run.model.name.as_str() {
        "" => "unnamed model",
        name => name,
    }
}

/// "vit_base on camvid"
pub(crate) fn title(run: &Run) -> String {
    format!("{} on {}", capital(model_name(run), run), run.data.name())
}

/// A name stays as it is; that there is none begins a sentence.
fn capital(name: &str, run: &Run) -> String {
    if run.model.name.is_empty() {
        capitalized(name)
    } else {
        name.to_owned()
    }
}

pub(crate) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// What the run counts as its test set: images or pairs.
fn units(run: &Run) -> &'static str {
    match run.kind {
        Kind::Correspond => "pairs",
        Kind::Probe | Kind::Attention => "test images",
    }
}

/// "vit_base on camvid, 94 test images."
pub(crate) fn provenance(run: &Run) -> String {
    let count = run.data.test.map(|test| format!(", {test} {}", units(run)));
    format!("{}{}.", title(run), count.unwrap_or_default())
}

/// What the runs were measured on: said once where it is the same.
pub(crate) fn data_note(members: &[&Member]) -> String {
    let mut kinds: Vec<String> = members
        .iter()
        .map(|member| {
            let run = &member.run;
            let test = run.data.test.unwrap_or(0);
            format!("{} ({test} {})", run.data.name(), units(run))
        })
        .collect();
    kinds.dedup();
    match kinds.as_slice() {
        [kind] => format!("On {kind}."),
        _ => format!("The runs differ in their data: {}.", kinds.join(", then ")),
    }
}

/// The heading of a figure that shows one layer per facet.
pub(crate) fn heading(run: &Run, what: &str) -> String {
    let which = match run.choice {
        Choice::Best | Choice::BestPck => "best",
        Choice::Stored => "chosen",
        Choice::Last => "last",
    };
    format!("{what} at each facet's {which} layer")
}

/// How the shown layers were chosen.
pub(crate) fn selection_note(run: &Run) -> &'static str {
    match run.choice {
        Choice::Best => "Each facet at its layer of best mIoU.",
        Choice::Stored => "Each facet at the layer that the run chose.",
        Choice::Last => "Each facet at its last layer.",
        Choice::BestPck => "Each facet at its layer of the largest share of correct key points.",
    }
}

/// What an aggregate map is.
pub(crate) fn aggregate_note(run: &Run) -> String {
    let what = if run.labels_are_classes() {
        "class"
    } else {
        "cluster"
    };
    format!(
        "Aggregate map: the mean of the {what} colors, weighted by how often each {what} is predicted at a pixel."
    )
}

/// What colors stand for where they do not stand for classes.
pub(crate) fn cluster_note(run: &Run) -> Option<&'static str> {
    match (run.data.has_truth, run.labels_are_classes()) {
        (true, true) => None,
        (true, false) => Some(
            "There are more or fewer clusters than classes: a matched cluster has its class's color; the others have colors of their own, which mean nothing in another facet.",
        ),
        (false, _) => Some(
            "Colors stand for clusters; the same color in two slots need not mean the same thing.",
        ),
    }
}

/// What must be said when a figure shows the last layer's tokens.
pub(crate) fn token_note(run: &Run) -> Option<String> {
    let when = run.settings.get("token_norm")?.as_str()?;
    let last = run.model.depth.or_else(|| run.layers().last().copied())?;
    Some(format!(
        "Tokens of layer {last} are taken {when} the final norm."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_is_a_word() {
        assert_eq!(number(None), "undefined");
        assert_eq!(number(Some(0.0)), "0.000");
        assert_eq!(cell(None), "");
    }
}
