//! A metric against the layer: one panel per facet, one curve per run (the paper's Figures 4, 11
//! and 15).

use super::Member;
use crate::attention::LOCALITY;
use crate::chart::{self, Frame, Scale};
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::run_dir::{Facet, Kind, Slot};
use crate::svg::{Svg, Type};
use crate::theme;

/// What one of these figures shows.
pub(super) struct Subject {
    name: &'static str,
    heading: &'static str,
    metric: &'static str,
    axis: &'static str,
    note: &'static str,
}

pub(super) const OF_PROBES: [&Subject; 3] = [
    &Subject {
        name: "miou-by-layer",
        heading: "Segmentation quality by layer",
        metric: "miou",
        axis: "mIoU",
        note: "",
    },
    &Subject {
        name: "nmi-by-layer",
        heading: "Positional effect by layer",
        metric: "nmi",
        axis: "positional effect (NMI)",
        note: "Dashed line: ground truth.",
    },
    &Subject {
        name: "excess-by-layer",
        heading: "Positional effect above chance by layer",
        metric: "nmi_excess",
        axis: "excess positional effect (NMI)",
        note: "Excess: NMI on the patch grid minus its mean under random circular shifts of every label map.",
    },
];

pub(super) const PCK: Subject = Subject {
    name: "pck-by-layer",
    heading: "Correct key points by layer",
    metric: "pck",
    axis: "correct key points (PCK@0.1)",
    note: "PCK@0.1: share of key points matched within a tenth of the longer side of the target's box.",
};

pub(super) fn draw(members: &[&Member], subject: &Subject) -> Result<Plate, FigureError> {
    const LEFT: f64 = 66.0;
    const GAP: f64 = 18.0;
    const HEIGHT: f64 = 210.0;
    let value = |member: &Member, facet: Facet, layer: u32| {
        let slot = Slot::Probe(facet, layer);
        member.run.metrics.get(slot, subject.metric)
    };
    let layers = layers(members);
    let has = |facet: &Facet| {
        members.iter().any(|member| {
            let mut layers = layers.iter();
            layers.any(|&layer| value(member, *facet, layer).value.is_some())
        })
    };
    let facets: Vec<Facet> = Facet::ALL.into_iter().filter(has).collect();
    if facets.is_empty() {
        let why = format!("No run has a value of {}.", subject.metric);
        return Ok(figure::absent(subject.name, subject.heading, &why));
    }
    let truths: Vec<f64> = members
        .iter()
        .filter_map(|member| member.run.metrics.get(Slot::Truth, subject.metric).value)
        .collect();
    let all = members.iter().flat_map(|member| {
        let slots = facets
            .iter()
            .flat_map(|&facet| layers.iter().map(move |&layer| (facet, layer)));
        let measured = slots.map(|(facet, layer)| value(member, facet, layer));
        measured.flat_map(|measured| measured.ends().into_iter().flatten())
    });
    let y = Scale::linear(all.chain(truths.iter().copied()));
    let x = Scale::Places(layers.iter().map(u32::to_string).collect());
    let mut svg = Svg::new(subject.name, theme::FULL_WIDTH);
    let count = facets.len() as f64;
    let room = theme::FULL_WIDTH - theme::MARGIN - LEFT - (count - 1.0) * GAP;
    let width = (room / count).min(420.0);
    let names = members.iter().map(|member| {
        let name = member.label.clone();
        (name, member.mark(), member.paint())
    });
    let names: Vec<_> = names.collect();
    let top = chart::key(&mut svg, LEFT, theme::MARGIN - 4.0, &names) + 24.0;
    for (column, &facet) in facets.iter().enumerate() {
        let left = LEFT + column as f64 * (width + GAP);
        svg.text([left, top - 8.0], Type::HEAD, facet.name());
        let frame = Frame {
            place: [left, top, width, HEIGHT],
            x: x.clone(),
            y: y.clone(),
            x_name: "layer",
            y_name: subject.axis,
            labels: [true, column == 0],
        };
        let chart = frame.open(&mut svg)?;
        let mut shown: Vec<f64> = Vec::new();
        for &truth in &truths {
            // Runs on the same data have the same truth: one line.
            if !shown.iter().any(|other| (other - truth).abs() < 1e-9) {
                shown.push(truth);
                chart.across(truth, theme::TRUTH)?;
            }
        }
        for member in members {
            for (index, &layer) in layers.iter().enumerate() {
                let interval = value(member, facet, layer).interval();
                chart.interval(index as f64, interval, member.paint())?;
            }
            let points: Vec<Option<(f64, f64)>> = layers
                .iter()
                .enumerate()
                .map(|(index, &layer)| Some((index as f64, value(member, facet, layer).value?)))
                .collect();
            chart.series(&points, member.mark(), member.paint())?;
        }
    }
    let note = if truths.is_empty() && subject.metric == "nmi" {
        ""
    } else {
        subject.note
    };
    let mut notes = vec![data_note(members)];
    if has_intervals(members, subject.metric) {
        notes.push(figure::INTERVAL_NOTE.to_owned());
    }
    notes.push(note.to_owned());
    let caption = notes.join(" ").trim().to_owned();
    let height = svg.notes(
        theme::MARGIN,
        top + HEIGHT + 48.0,
        std::slice::from_ref(&caption),
    );
    let rows = members.iter().flat_map(|member| {
        let slots = facets
            .iter()
            .flat_map(|&facet| layers.iter().map(move |&layer| (facet, layer)));
        slots.filter_map(move |(facet, layer)| {
            let slot = Slot::Probe(facet, layer);
            let exists = member.run.probes().contains(&(facet, layer));
            let measured = member.run.metrics.get(slot, subject.metric);
            let mut cells = vec![member.label.clone()];
            cells.extend(figure::slot_cells(slot));
            cells.push(subject.metric.to_owned());
            cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
            exists.then_some(cells)
        })
    });
    let header = ["run", "layer", "facet", "metric", "value", "low", "high"];
    let csv = figure::table(&header, rows)?;
    let drawing = svg.finish(height, subject.heading.to_owned(), caption);
    Ok(figure::drawn(
        subject.name,
        subject.heading.to_owned(),
        drawing,
        csv,
    ))
}

/// The locality bias of attention against the layer, one curve per run.
pub(super) fn draw_locality(members: &[&Member]) -> Result<Plate, FigureError> {
    const NAME: &str = "locality-by-layer";
    const HEADING: &str = "Locality of attention by layer";
    let of = |member: &Member| member.run.metrics.of_layers("locality", "");
    let mut layers: Vec<u32> = members
        .iter()
        .flat_map(|member| of(member).into_keys())
        .collect();
    layers.sort_unstable();
    layers.dedup();
    let all = members.iter().flat_map(|member| of(member).into_values());
    let all = all.flat_map(|measured| measured.ends().into_iter().flatten());
    let mut svg = Svg::new(NAME, theme::COLUMN_WIDTH);
    let names = members.iter().map(|member| {
        let name = member.label.clone();
        (name, member.mark(), member.paint())
    });
    let top = chart::key(
        &mut svg,
        62.0,
        theme::MARGIN - 4.0,
        &names.collect::<Vec<_>>(),
    ) + 8.0;
    let frame = Frame {
        place: [62.0, top, 420.0, 230.0],
        x: Scale::Places(layers.iter().map(u32::to_string).collect()),
        y: Scale::linear(all),
        x_name: "layer",
        y_name: LOCALITY,
        labels: [true; 2],
    };
    let chart = frame.open(&mut svg)?;
    let mut rows = Vec::new();
    for member in members {
        let values = of(member);
        for (index, layer) in layers.iter().enumerate() {
            let measured = values.get(layer).copied().unwrap_or_default();
            chart.interval(index as f64, measured.interval(), member.paint())?;
        }
        let points: Vec<Option<(f64, f64)>> = layers
            .iter()
            .enumerate()
            .map(|(index, layer)| Some((index as f64, values.get(layer)?.value?)))
            .collect();
        chart.series(&points, member.mark(), member.paint())?;
        rows.extend(values.iter().map(|(layer, measured)| {
            let mut cells = vec![member.label.clone(), layer.to_string()];
            cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
            cells
        }));
    }
    drop(chart);
    let caption = format!("{} {}", data_note(members), figure::INTERVAL_NOTE);
    let height = svg.notes(theme::MARGIN, top + 280.0, std::slice::from_ref(&caption));
    let csv = figure::table(&["run", "layer", "locality", "low", "high"], rows)?;
    let drawing = svg.finish(height, HEADING.to_owned(), caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}

fn layers(members: &[&Member]) -> Vec<u32> {
    let mut layers: Vec<u32> = members
        .iter()
        .flat_map(|member| member.run.layers())
        .collect();
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// Whether any run has an interval for this metric.
pub(super) fn has_intervals(members: &[&Member], metric: &str) -> bool {
    let mut members = members.iter();
    members.any(|member| member.run.metrics.has_interval(metric))
}

/// What the runs were measured on: said once where it is the same.
pub(super) fn data_note(members: &[&Member]) -> String {
    let mut kinds: Vec<String> = members
        .iter()
        .map(|member| {
            let test = member.run.data.test.unwrap_or(0);
            let what = match member.run.kind {
                Kind::Correspond => "pairs",
                Kind::Probe | Kind::Attention => "test images",
            };
            format!("{} ({test} {what})", member.run.data.name())
        })
        .collect();
    kinds.dedup();
    match kinds.as_slice() {
        [kind] => format!("On {kind}."),
        _ => format!("The runs differ in their data: {}.", kinds.join(", then ")),
    }
}
