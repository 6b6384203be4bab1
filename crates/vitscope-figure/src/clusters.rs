//! The figure `clusters`: every cluster in a color of its own, the same in every image.
//!
//! With more clusters than classes this shows what the classes hide: parts, backgrounds, borders.

use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::grid::{self, Grid, MOST_COLUMNS, Row};
use crate::run_dir::{Run, Slot};
use crate::svg::Svg;
use crate::theme;

const NAME: &str = "clusters";
const HEADING: &str = "Clusters in colors of their own";

pub(crate) fn draw(run: &Run) -> Result<Plate, FigureError> {
    if !run.has_loose_clusters() {
        let why = "The other figures show every cluster in a color of its own already.";
        return Ok(figure::absent(NAME, HEADING, why));
    }
    let stems = &run.examples[..run.examples.len().min(MOST_COLUMNS)];
    let mut images = Vec::new();
    for stem in stems {
        images.push((stem.clone(), run.image(stem)?));
    }
    let mut rows = Vec::new();
    for slot in run.best_slots() {
        let (name, layer) = figure::slot_label(slot);
        let mut maps = grid::maps(run, slot, stems)?;
        if slot != Slot::Truth {
            for map in maps.iter_mut().flatten() {
                map.palette = (0..256).map(theme::cluster).collect();
            }
        }
        rows.push(Row {
            name: match slot {
                Slot::Truth => vec!["ground".to_owned(), "truth".to_owned()],
                Slot::Probe(..) => vec![name.to_owned(), layer],
            },
            paint: theme::slot(slot),
            is_truth: slot == Slot::Truth,
            maps,
            aggregate: None,
            nmi: run.metrics.get(slot, "nmi"),
            miou: run.metrics.get(slot, "miou"),
        });
    }
    let content = Grid::new(images, rows, 98.0);
    if content.is_empty() {
        let why = "The run stored no example pictures (see its setting save-labels).";
        return Ok(figure::absent(NAME, HEADING, why));
    }
    let mut svg = Svg::new(NAME, theme::FULL_WIDTH);
    let bottom = content.draw(&mut svg, theme::MARGIN)?;
    let clusters = run.clusters.unwrap_or(0);
    let mut notes = vec![
        figure::provenance(run),
        format!(
            "{clusters} clusters; within a row, the same color is the same cluster in every image."
        ),
        "Rows share no colors: clusters of different facets have nothing in common.".to_owned(),
        figure::selection_note(run).to_owned(),
    ];
    notes.extend(figure::token_note(run));
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, bottom + 6.0, std::slice::from_ref(&caption));
    let shown = stems[..content.columns().min(stems.len())].to_vec();
    let mut cells = Vec::new();
    for slot in run.best_slots() {
        for stem in &shown {
            let Some(map) = run.labels(slot, stem)? else {
                continue;
            };
            let mut counts = [0_u64; 256];
            for &index in &map.indices {
                counts[usize::from(index)] += 1;
            }
            for (cluster, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let mut line = figure::slot_cells(slot).to_vec();
                line.extend([stem.clone(), cluster.to_string(), count.to_string()]);
                cells.push(line);
            }
        }
    }
    let csv = figure::table(&["layer", "facet", "image", "cluster", "pixels"], cells)?;
    let title = format!("{HEADING}: {}", figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}
