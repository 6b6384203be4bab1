//! The figures `overview` and `overview-key` and so on: one row per run, as in the paper's Figure 1.

use super::{CompareOptions, Member, matching};
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::grid::{self, Grid, MOST_COLUMNS, Row};
use crate::metrics::Measured;
use crate::pixels::LabelMap;
use crate::run_dir::{Facet, Slot};
use crate::svg::{Svg, Type};
use crate::text;
use crate::theme;

const LABEL_WIDTH: f64 = 150.0;

/// The best facet of each run, then each facet in a figure of its own.
pub(super) fn draw(
    members: &[&Member],
    options: &CompareOptions,
) -> Result<Vec<Plate>, FigureError> {
    let miou = |member: &Member, facet: Facet| {
        let layer = options.select.layer(&member.run, facet)?;
        let slot = Slot::Probe(facet, layer);
        Some((slot, member.run.metrics.get(slot, "miou").value))
    };
    let best = |member: &Member| {
        let facets = Facet::ALL.into_iter();
        let facets = facets.filter_map(|facet| miou(member, facet));
        let best = facets.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map(|best| best.0)
    };
    let mut plates = vec![draw_rows(
        members,
        "overview",
        "Runs side by side, each at its best facet".to_owned(),
        best,
        options,
    )?];
    for facet in Facet::ALL {
        let slot = |member: &Member| miou(member, facet).map(|found| found.0);
        if members.iter().any(|member| slot(member).is_some()) {
            plates.push(draw_rows(
                members,
                &format!("overview-{}", facet.name()),
                format!("Runs side by side: {}", facet.name()),
                slot,
                options,
            )?);
        }
    }
    Ok(plates)
}

fn draw_rows(
    members: &[&Member],
    name: &str,
    heading: String,
    slot: impl Fn(&Member) -> Option<Slot>,
    options: &CompareOptions,
) -> Result<Plate, FigureError> {
    let shown: Vec<(&Member, Slot)> = members
        .iter()
        .filter_map(|&member| Some((member, slot(member)?)))
        .collect();
    let Some(&(first, _)) = shown.first() else {
        return Ok(figure::absent(name, heading, "No run has this layer."));
    };
    // Images that every run stored, in the order of the first; of all runs' if there is none.
    let stems = options.images.of(&first.run)?;
    let common = |stem: &&String| {
        shown
            .iter()
            .all(|(member, _)| member.run.examples.contains(*stem))
    };
    let mut common: Vec<String> = stems.iter().filter(common).cloned().collect();
    common.truncate(MOST_COLUMNS);
    if common.is_empty() {
        let why = "The runs have no example image in common.";
        return Ok(figure::absent(name, heading, why));
    }
    let mut images = Vec::new();
    for stem in &common {
        images.push((stem.clone(), first.run.image(stem)?));
    }
    let mut rows = Vec::new();
    if first.run.data.has_truth {
        rows.push(Row {
            name: vec!["ground truth".to_owned()],
            paint: theme::TRUTH,
            is_truth: true,
            maps: grid::maps(&first.run, Slot::Truth, &common)?,
            aggregate: first.run.aggregate(Slot::Truth)?,
            nmi: first.run.metrics.get(Slot::Truth, "nmi"),
            miou: Measured::default(),
        });
    }
    // Without ground truth, colors follow the clusters of the first such row.
    let mut reference: Option<Vec<Option<LabelMap>>> = None;
    for &(member, slot) in &shown {
        let mut maps = grid::maps(&member.run, slot, &common)?;
        let mut aggregate = member.run.aggregate(slot)?;
        if !member.run.data.has_truth {
            let partners = match &reference {
                Some(reference) => matching::partners(&maps, reference),
                None => {
                    reference = Some(maps.clone());
                    (0..256).map(Some).collect()
                }
            };
            let color = |cluster| matching::color(&partners, cluster);
            for map in maps.iter_mut().flatten() {
                map.palette = (0..256).map(color).collect();
            }
            aggregate = member.run.aggregate_in(slot, color).or(aggregate);
        }
        let (facet, layer) = figure::slot_label(slot);
        let room = LABEL_WIDTH - 14.0;
        let mut lines = text::wrap_in(&member.label, room, Type::HEAD.size, 3);
        lines.push(format!("{facet}, {layer}"));
        rows.push(Row {
            name: lines,
            paint: member.paint(),
            is_truth: false,
            maps,
            aggregate,
            nmi: member.run.metrics.get(slot, "nmi"),
            miou: member.run.metrics.get(slot, "miou"),
        });
    }
    let grid = Grid::new(images, rows, LABEL_WIDTH);
    if grid.is_empty() {
        let why = "The runs stored no example pictures (see the setting save-labels).";
        return Ok(figure::absent(name, heading, why));
    }
    let mut svg = Svg::new(name, theme::FULL_WIDTH);
    let bottom = grid.draw(&mut svg, theme::MARGIN)?;
    let all_classes = shown
        .iter()
        .all(|(member, _)| member.run.labels_are_classes());
    let seen = grid.seen(|row| row.is_truth || all_classes);
    let bottom = figure::legend(&mut svg, &first.run, bottom + 14.0, Some(&seen));
    let mut notes = vec![format!(
        "On {}. Aggregate: the mean of the colors over all test images.",
        first.run.data.name()
    )];
    notes.push(options.select.note());
    if first.run.metrics.get(Slot::Truth, "nmi").value.is_some() {
        notes.push("Dashed line: ground truth.".to_owned());
    }
    notes.push(figure::NMI_NOTE.to_owned());
    if reference.is_some() {
        notes.push("Without ground truth, a cluster has the color of the first row's cluster with which it shares the most pixels in a one-to-one matching.".to_owned());
    }
    let other = shown
        .iter()
        .find(|(member, _)| member.run.has_loose_clusters());
    notes
        .extend(other.and_then(|(member, _)| figure::cluster_note(&member.run).map(str::to_owned)));
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, bottom + 2.0, std::slice::from_ref(&caption));
    let stems = common[..grid.columns().min(common.len())].join(" ");
    let cells = shown.iter().map(|(member, slot)| {
        let mut cells = vec![member.label.clone()];
        cells.extend(figure::slot_cells(*slot));
        cells.push(stems.clone());
        for metric in ["nmi", "miou"] {
            let measured = member.run.metrics.get(*slot, metric);
            cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
        }
        cells
    });
    let header = [
        "run",
        "layer",
        "facet",
        "examples",
        "nmi",
        "nmi_low",
        "nmi_high",
        "miou",
        "miou_low",
        "miou_high",
    ];
    let csv = figure::table(&header, cells)?;
    let drawing = svg.finish(height, heading.clone(), caption);
    Ok(figure::drawn(name, heading, drawing, csv))
}
