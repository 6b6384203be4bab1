//! Numbers and sentences as captions, tables and the page say them.

use std::path::Path;

use vitscope_run::{Measured, RunKind, Select, Slot, Subject, decimals};

use crate::run_view::{EARNED, RunChoice, RunView};

pub(crate) const INTERVAL_NOTE: &str = "Upright lines: 95 % bootstrap intervals over images.";

pub(crate) const USE_NOTE: &str = "Small numbers: effective clusters used, exp H(C), of all; a cross: a collapsed slot (used < max(2, K/4), or one cluster on over 95 % of pixels).";

pub(crate) const NMI_NOTE: &str = "Positional effect: NMI = I(P;C)/H(C), natural logarithm.";

/// A number as figures print it; undefined is said, never shown as 0.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| decimals(value, 3))
}

/// A value of a table, with all its digits; empty where undefined, as in `metrics.csv`.
pub(crate) fn cell(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The three columns by which tables show a value: itself and the ends of its interval.
pub(crate) fn measured_cells(measured: Measured) -> [String; 3] {
    let (low, high) = measured.interval.unzip();
    [measured.value, low, high].map(cell)
}

/// Everything that an axis must reach: the value and the ends of its interval.
pub(crate) fn ends(measured: Measured) -> impl Iterator<Item = f64> {
    let (low, high) = measured.interval.unzip();
    [measured.value, low, high].into_iter().flatten()
}

/// The two columns by which tables name a slot: layer and facet.
pub(crate) fn subject_cells(subject: Subject) -> [String; 2] {
    match subject {
        Subject::GroundTruth => [String::new(), "ground_truth".to_owned()],
        Subject::Layer(layer) => [layer.to_string(), String::new()],
        Subject::Slot(Slot { facet, layer }) => [layer.to_string(), facet.name().to_owned()],
    }
}

/// What readers see as the name of a slot, in one or two lines.
pub(crate) fn subject_label(subject: Subject) -> (&'static str, String) {
    match subject {
        Subject::GroundTruth => ("ground truth", String::new()),
        Subject::Layer(layer) => ("attention", format!("layer {layer}")),
        Subject::Slot(Slot { facet, layer }) => (facet.name(), format!("layer {layer}")),
    }
}

/// What the model is called.
pub(crate) fn model_name(run: &RunView) -> &str {
    match (&run.label, run.record.model.name.as_str()) {
        (Some(label), _) => label,
        (None, "") => "unnamed model",
        (None, name) => name,
    }
}

/// What readers know the data set by: its kind, or for a layout that any set may have, its folder.
pub(crate) fn data_name(run: &RunView) -> &str {
    let data = &run.record.data;
    let folder = Path::new(&data.root).file_stem();
    let folder = folder.and_then(|folder| folder.to_str());
    match (data.kind.as_str(), folder) {
        ("folder" | "toml", Some(folder)) => folder,
        ("spair71k", Some(folder)) if !folder.to_ascii_lowercase().contains("spair") => folder,
        ("", _) => "unnamed data",
        (kind, _) => kind,
    }
}

/// "vit_base on camvid"
pub(crate) fn title(run: &RunView) -> String {
    let name = match model_name(run) {
        "unnamed model" => "Unnamed model",
        name => name,
    };
    format!("{name} on {}", data_name(run))
}

pub(crate) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// "1 slot", "3 slots"
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// What the run counts as its test set: images or pairs.
pub(crate) fn units(run: &RunView) -> &'static str {
    match run.kind() {
        RunKind::Correspond => "pairs",
        RunKind::Probe | RunKind::Attention | RunKind::Causes => "test images",
    }
}

/// "vit_base on camvid, 94 test images."
pub(crate) fn provenance(run: &RunView) -> String {
    let count = match run.record.data.test {
        0 => String::new(),
        test => format!(", {test} {}", units(run)),
    };
    format!("{}{count}.", title(run))
}

/// The mIoU of knowing the place alone, where it is known.
pub(crate) fn place_alone(run: &RunView) -> Option<f64> {
    run.get(Subject::GroundTruth, "place_alone").value
}

/// What the dashed lines across bars are.
pub(crate) fn lines_note(run: &RunView) -> Option<&'static str> {
    let truth = run.get(Subject::GroundTruth, "nmi").value;
    match (truth, place_alone(run)) {
        (Some(_), Some(_)) => Some("Dashed lines: ground truth (NMI), place alone (mIoU)."),
        (Some(_), None) => Some("Dashed line: ground truth."),
        (None, Some(_)) => Some("Dashed line: place alone."),
        (None, None) => None,
    }
}

/// "1/11 used", of a slot that uses less than half of its clusters.
pub(crate) fn thin_label(run: &RunView, subject: Subject) -> Option<String> {
    let Subject::Slot(slot) = subject else {
        return None;
    };
    let used = run.cluster_use(slot).filter(|used| used.is_thin())?;
    Some(format!("{} used", used.label()))
}

/// The heading of a figure that shows one layer per facet.
pub(crate) fn heading(run: &RunView, what: &str) -> String {
    let which = match run.choice {
        RunChoice::Best => "layer of highest mIoU",
        RunChoice::BestPck => "layer of highest PCK",
        RunChoice::Stored => "chosen layer",
        RunChoice::Last => "last layer",
    };
    format!("{what} at each facet's {which}")
}

/// How the shown layers were chosen.
pub(crate) fn selection_note(run: &RunView) -> &'static str {
    match run.choice {
        RunChoice::Best => "Each facet at its layer of highest mIoU.",
        RunChoice::Stored => "Each facet at the layer that the run chose.",
        RunChoice::Last => "Each facet at its last layer.",
        RunChoice::BestPck => "Each facet at its layer of the largest share of correct keypoints.",
    }
}

/// How a comparison chose the layer that stands for a facet.
pub(crate) fn select_note(select: Select) -> String {
    match select {
        Select::BestMiou => "Each facet at its layer of highest mIoU.".to_owned(),
        Select::Layer(layer) => format!("Every facet at layer {layer}."),
        Select::Last => "Each facet at its last layer.".to_owned(),
    }
}

/// What an aggregate map is.
pub(crate) fn aggregate_note(run: &RunView) -> String {
    let what = if run.labels_are_classes() {
        "class"
    } else {
        "cluster"
    };
    format!(
        "Aggregate map: the mean of the {what} colors, weighted by how often each {what} is predicted at a pixel."
    )
}

/// What muted colors are, where there are any.
pub(crate) fn earned_note(run: &RunView) -> Option<String> {
    run.has_unearned().then(|| {
        format!("Muted and hatched: a cluster whose class has an IoU below {EARNED} in that slot.")
    })
}

/// What colors stand for where they do not stand for classes.
pub(crate) fn cluster_note(run: &RunView) -> Option<&'static str> {
    match (run.has_truth(), run.labels_are_classes()) {
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
pub(crate) fn token_note(run: &RunView) -> Option<String> {
    let when = run.record.settings.get("token_norm")?.as_str()?;
    let last = match run.record.model.depth {
        0 => run.layers().last().copied()?,
        depth => depth,
    };
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
