//! What labels follow when an image is shown at another place or with other position codes, and with which place they
//! go: the figures of a run of `vitscope causes` (docs/protocol.md section 18).

use vitscope_run::{Facet, Measured, Slot, Subject};

use crate::chart::{self, Frame};
use crate::error::FigureError;
use crate::members::Member;
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::theme::{self, Mark, Paint};
use crate::words;

const LEFT: f64 = 66.0;
const GAP: f64 = 18.0;
const HEIGHT: f64 = 150.0;

/// One of these figures: a row of charts per band, a chart per facet.
pub(crate) struct Followed {
    name: &'static str,
    heading: &'static str,
    axis: &'static str,
    bands: Vec<Band>,
    note: &'static str,
    absent: &'static str,
}

/// What is done to the image or the model, and the numbers that tell what labels do then.
struct Band {
    name: &'static str,
    curves: Vec<NumberCurve>,
    /// The ground truth's own number, where it has one.
    truth: String,
}

/// A number over the layers.
#[derive(Clone)]
struct NumberCurve {
    metric: String,
    name: &'static str,
    /// Its place among the colors; what others are read against has none.
    color: Option<usize>,
}

impl NumberCurve {
    fn new(metric: impl Into<String>, name: &'static str, color: Option<usize>) -> Self {
        Self {
            metric: metric.into(),
            name,
            color,
        }
    }

    fn mark(&self) -> Mark {
        self.color.map_or(Mark::HollowDiamond, Mark::series)
    }

    fn paint(&self) -> Paint {
        self.color.map_or(theme::MUTED, theme::series)
    }
}

/// Agreement with the label that the same content, and that the same place had.
pub(crate) fn agreement() -> Followed {
    let band = |(name, view)| {
        let of = |number: &str| format!("agree_{number}@{view}");
        Band {
            name,
            curves: vec![
                NumberCurve::new(of("reference"), "if labels follow the other alone", None),
                NumberCurve::new(of("content"), "the content", Some(0)),
                NumberCurve::new(of("place"), "the place, or the position code", Some(1)),
            ],
            truth: of("place"),
        }
    };
    let views = [
        ("crop moved", "shift"),
        ("mirrored", "flip"),
        ("codes moved", "roll"),
    ];
    Followed {
        name: "followed",
        heading: "What labels follow",
        axis: "agreement (kappa)",
        bands: views.map(band).into(),
        note: "Cohen's kappa of a patch's label with the label that the same content had before, and with the label that the \
               same place had (where codes are moved, content stays in its true place, and the other is the patch with the \
               same code). Where the second lies above the first, labels follow the place. Dashed: the classes themselves, by \
               place.",
        absent: "No agreement is defined: every slot gives all patches one label.",
    }
}

/// The positional effect, with the true place and with that of the code.
pub(crate) fn places() -> Followed {
    const PLAIN: &str = "place_nmi@plain";
    let band = |name, others: [(&str, &'static str); 3], first: usize| {
        let others = others.into_iter().zip(first..);
        let others =
            others.map(|((metric, name), color)| NumberCurve::new(metric, name, Some(color)));
        let plain = NumberCurve::new(PLAIN, "as the model is", Some(0));
        Band {
            name,
            curves: [plain].into_iter().chain(others).collect(),
            truth: PLAIN.to_owned(),
        }
    };
    let codes = [
        ("place_nmi@roll", "codes moved: the true place"),
        ("code_nmi@roll", "codes moved: the place of the code"),
        ("place_nmi@one_code", "one code for all patches"),
    ];
    let tokens = [
        ("place_nmi@move", "all coordinates moved"),
        (
            "place_nmi@cut",
            "patches cut off from class token and registers",
        ),
        (
            "place_nmi@cut_mean",
            "given the mean of class token and registers",
        ),
    ];
    Followed {
        name: "place-and-code",
        heading: "With which place labels go",
        axis: "NMI beyond chance",
        bands: vec![
            band("codes moved", codes, 1),
            band("untouched tokens", tokens, 4),
        ],
        note: "NMI of patch label and place, beyond its null of random circular shifts. Labels that follow the code go with \
               the place whose code a patch was given; what stays with the true place comes of edges, padding, or the layout \
               of photographs. Dashed: the classes themselves.",
        absent: "No positional effect is defined: every slot gives all patches one label.",
    }
}

/// What curves are called, each once.
fn key<'a>(curves: impl Iterator<Item = &'a NumberCurve>) -> Vec<(String, Mark, Paint)> {
    let mut names: Vec<(String, Mark, Paint)> = Vec::new();
    for curve in curves {
        if names.iter().all(|(name, ..)| name != curve.name) {
            names.push((curve.name.to_owned(), curve.mark(), curve.paint()));
        }
    }
    // What curves are read against stands after them.
    names.sort_by_key(|(_, _, paint)| *paint == theme::MUTED);
    names
}

/// The figure of a run.
pub(crate) fn draw(member: &Member, what: &Followed) -> Result<Plate, FigureError> {
    let run = &member.run;
    let layers: Vec<usize> = run.layers().into_iter().collect();
    let facets = Facet::ALL.into_iter().filter(|&facet| {
        let mut slots = run.slots().into_iter();
        slots.any(|slot| slot.facet == facet)
    });
    let facets: Vec<Facet> = facets.collect();
    let has = |curve: &NumberCurve| {
        let mut slots = run.slots().into_iter();
        slots.any(|slot| run.get(Subject::Slot(slot), &curve.metric).value.is_some())
    };
    // A band that has nothing but what another shows, too, tells nothing of its own.
    let bands: Vec<&Band> = what
        .bands
        .iter()
        .filter(|band| band.curves[1..].iter().any(has))
        .collect();
    if bands.is_empty() {
        return Ok(sheet::absent(what.name, what.heading, what.absent));
    }
    let mut sheet = Sheet::new(what.name, what.heading, theme::FULL_WIDTH, &[member]);
    let curves = bands.iter().flat_map(|band| &band.curves);
    let names = key(curves.filter(|curve| has(curve)));
    let mut top = chart::key(&mut sheet.svg, LEFT, theme::MARGIN - 4.0, &names) + 24.0;
    let count = facets.len() as f64;
    let room = theme::FULL_WIDTH - theme::MARGIN - LEFT - (count - 1.0) * GAP;
    let width = (room / count).min(420.0);
    let truth = |band: &Band| run.get(Subject::GroundTruth, &band.truth);
    let values = bands.iter().flat_map(|band| {
        let curves = band
            .curves
            .iter()
            .flat_map(|curve| course(member, &facets, &layers, curve));
        curves.chain([truth(band)])
    });
    // Both are at most 1, and are compared over all of it.
    let least = values.flat_map(words::ends).fold(0.0, f64::min);
    let scale = Scale::Linear(if least < 0.0 { least - 0.04 } else { 0.0 }..1.0);
    for (row, band) in bands.iter().enumerate() {
        for (column, &facet) in facets.iter().enumerate() {
            let left = LEFT + column as f64 * (width + GAP);
            let is_last = row + 1 == bands.len();
            let title = format!("{}: {}", facet.name(), band.name);
            sheet
                .svg
                .panel([left, top - 8.0], theme::FULL_WIDTH, &title);
            let frame = Frame {
                place: [left, top, width, HEIGHT],
                x: Scale::Places(layers.iter().map(usize::to_string).collect()),
                y: scale.clone(),
                x_name: if is_last { "layer" } else { "" },
                y_name: what.axis,
                labels: [true, column == 0],
            };
            let mut chart = frame.open(&mut sheet.svg);
            if let Some(value) = truth(band).value {
                chart.across(value, theme::TRUTH, theme::DASHES);
            }
            for curve in &band.curves {
                let points = course(member, &[facet], &layers, curve);
                for (place, measured) in points.iter().enumerate() {
                    chart.interval(place as f64, measured.interval, curve.paint());
                }
                let points = points.iter().enumerate();
                let points = points.map(|(place, measured)| Some((place as f64, measured.value?)));
                chart.series(&points.collect::<Vec<_>>(), curve.mark(), curve.paint());
            }
        }
        top += HEIGHT + if row + 1 == bands.len() { 48.0 } else { 58.0 };
    }
    sheet.note(what.note);
    sheet.note(words::INTERVAL_NOTE);
    let shown = bands
        .iter()
        .flat_map(|band| &band.curves)
        .filter(|curve| has(curve));
    let mut shown = shown.flat_map(|curve| course(member, &facets, &layers, curve));
    if shown.any(|measured| measured.value.is_none()) {
        sheet.note("A gap: all labels of the slot are the same.");
    }
    table(&mut sheet, member, &bands);
    sheet.finish(top)
}

/// Every number that is drawn, once.
fn table(sheet: &mut Sheet, member: &Member, bands: &[&Band]) {
    let run = &member.run;
    sheet.columns(&["layer", "facet", "number", "value", "low", "high"]);
    let mut told: Vec<&str> = Vec::new();
    for curve in bands.iter().flat_map(|band| &band.curves) {
        if told.contains(&curve.metric.as_str()) {
            continue;
        }
        told.push(&curve.metric);
        let slots = run.slots().into_iter().map(Subject::Slot);
        for subject in [Subject::GroundTruth].into_iter().chain(slots) {
            let measured = run.get(subject, &curve.metric);
            if subject == Subject::GroundTruth && measured.value.is_none() {
                continue;
            }
            let number = [curve.metric.clone()];
            let cells = words::subject_cells(subject).into_iter().chain(number);
            sheet.row(member, cells.chain(words::measured_cells(measured)));
        }
    }
}

/// The numbers of a curve over the layers of these facets.
fn course(
    member: &Member,
    facets: &[Facet],
    layers: &[usize],
    curve: &NumberCurve,
) -> Vec<Measured> {
    let slots = facets
        .iter()
        .flat_map(|&facet| layers.iter().map(move |&layer| Slot { facet, layer }));
    slots
        .map(|slot| member.run.get(Subject::Slot(slot), &curve.metric))
        .collect()
}
