//! What a figure is, and the parts that several figures share.

use crate::error::FigureError;
use crate::pixels::NONE;
use crate::run_dir::{Choice, Kind, Run, Slot};
use crate::svg::{Drawing, Svg, Type};
use crate::text::{self, Weight};
use crate::theme;

/// A drawn figure with the table of what it shows.
#[derive(Debug)]
pub(crate) struct Figure {
    /// The stem of its files.
    pub(crate) name: String,
    pub(crate) heading: String,
    pub(crate) drawing: Drawing,
    pub(crate) csv: String,
}

/// A figure, or why there is none.
#[derive(Debug)]
pub(crate) enum Plate {
    Drawn(Box<Figure>),
    Absent {
        name: String,
        heading: String,
        why: String,
    },
}

/// The plate of a figure that was drawn. (`Figure` is large; a plate is passed around.)
pub(crate) fn drawn(name: &str, heading: String, drawing: Drawing, csv: String) -> Plate {
    Plate::Drawn(Box::new(Figure {
        name: name.to_owned(),
        heading,
        drawing,
        csv,
    }))
}

/// The plate of a figure that the run has no material for.
pub(crate) fn absent(name: &str, heading: impl Into<String>, why: &str) -> Plate {
    Plate::Absent {
        name: name.to_owned(),
        heading: heading.into(),
        why: why.to_owned(),
    }
}

/// A number as figures print it; undefined is said, never shown as 0.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.3}"))
}

/// A table as CSV.
pub(crate) fn table(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<String, FigureError> {
    let failed = |error: csv::Error| FigureError::render("table", error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(failed)?;
    for row in rows {
        writer.write_record(row).map_err(failed)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| FigureError::render("table", error))?;
    String::from_utf8(bytes).map_err(|error| FigureError::render("table", error))
}

/// A value of a table, with all its digits; empty where undefined, as in `metrics.csv`.
pub(crate) fn cell(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
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

/// "vit_base on camvid, 94 test images."
pub(crate) fn provenance(run: &Run) -> String {
    let images = run
        .data
        .test
        .map(|test| format!(", {test} test images"))
        .unwrap_or_default();
    let data = run.data.name();
    let model = if run.model.name.is_empty() {
        "Unnamed model"
    } else {
        &run.model.name
    };
    let what = if run.kind == Kind::Correspond {
        images.replace("test images", "pairs")
    } else {
        images
    };
    format!("{model} on {data}{what}.")
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

pub(crate) const INTERVAL_NOTE: &str = "Upright lines: 95 % bootstrap intervals over images.";

pub(crate) const NMI_NOTE: &str = "Positional effect: NMI = I(P;C)/H(C), natural logarithm.";

/// What must be said when a figure shows the last layer's tokens.
pub(crate) fn token_note(run: &Run) -> Option<String> {
    let when = run.settings.get("token_norm")?.as_str()?;
    let last = run.model.depth.or_else(|| run.layers().last().copied())?;
    Some(format!(
        "Tokens of layer {last} are taken {when} the final norm."
    ))
}

/// More classes than this make a legend that no reader can use: only those that are seen stay.
const MOST_CLASSES: usize = 40;

/// The classes with their colors, and the hatching of pixels without a label.
///
/// `seen` says which classes the figure's label maps show; a figure without label maps gives
/// `None` and, with very many classes, gets no legend. Gives the position below.
pub(crate) fn legend(svg: &mut Svg, run: &Run, top: f64, seen: Option<&[bool; 256]>) -> f64 {
    const SIDE: f64 = 12.0;
    const GAP: f64 = 16.0;
    const LINE: f64 = 21.0;
    let all = run.classes.len() <= MOST_CLASSES;
    let is_shown = |index: usize| all || seen.is_some_and(|seen| seen.get(index) == Some(&true));
    let classes = run
        .classes
        .iter()
        .enumerate()
        .filter(|(index, _)| is_shown(*index));
    let classes = classes.map(|(_, class)| (class.name.as_str(), Some(class.color)));
    let has_none = seen.is_some_and(|seen| seen[usize::from(NONE)]);
    let lines: Vec<_> = classes
        .chain(has_none.then_some(("no label", None)))
        .collect();
    if lines.is_empty() {
        return top;
    }
    let width = |name: &str| SIDE + 6.0 + text::width(name, Type::LABEL.size, Weight::Regular);
    let (left, right) = (theme::MARGIN, svg.width - theme::MARGIN);
    // Few names flow; many stand in columns, where an eye can run down.
    let widest = lines
        .iter()
        .map(|(name, _)| width(name))
        .fold(0.0, f64::max);
    let column = (lines.len() > 16).then_some(widest + GAP);
    let mut place = [left, top];
    for (name, color) in lines {
        if place[0] + width(name) > right && place[0] > left {
            place = [left, place[1] + LINE];
        }
        let swatch = [place[0], place[1] + 3.0, SIDE, SIDE];
        match color {
            Some(color) => svg.swatch(swatch, color),
            None => {
                svg.hatched(swatch);
                svg.frame(swatch, theme::MUTED, 0.5);
            }
        }
        svg.text([place[0] + SIDE + 6.0, place[1] + 14.0], Type::LABEL, name);
        place[0] += column.unwrap_or(width(name) + GAP);
    }
    place[1] + LINE
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
