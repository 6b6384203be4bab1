//! The figure `examples`: pictures, ground truth and each facet's segmentation, side by side.

use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::grid::{self, Grid, MOST_COLUMNS, Row};
use crate::run_dir::{Run, Slot};
use crate::svg::Svg;
use crate::theme;

const LABEL_WIDTH: f64 = 98.0;
const NAME: &str = "examples";

pub(crate) fn draw(run: &Run) -> Result<Plate, FigureError> {
    let heading = figure::heading(run, "Examples");
    let stems = &run.examples[..run.examples.len().min(MOST_COLUMNS)];
    let mut images = Vec::new();
    for stem in stems {
        images.push((stem.clone(), run.image(stem)?));
    }
    let slots = run.best_slots();
    let rows = slots.iter().map(|&slot| row(run, slot, stems));
    let content = Grid::new(images, rows.collect::<Result<_, _>>()?, LABEL_WIDTH);
    if content.is_empty() {
        let why = "The run stored no example pictures (see its setting save-labels).".to_owned();
        return Ok(figure::absent(NAME, heading, &why));
    }
    let mut svg = Svg::new(NAME, theme::FULL_WIDTH);
    let bottom = content.draw(&mut svg, theme::MARGIN)?;
    let seen = content.seen(|row| row.is_truth || run.labels_are_classes());
    let bottom = figure::legend(&mut svg, run, bottom + 14.0, Some(&seen));

    let mut notes = vec![
        figure::provenance(run),
        figure::selection_note(run).to_owned(),
    ];
    if run.metrics.has("nmi") {
        notes.push(figure::NMI_NOTE.to_owned());
    }
    if run.metrics.get(Slot::Truth, "nmi").value.is_some() {
        notes.push("Dashed line: ground truth.".to_owned());
    }
    notes.extend(figure::cluster_note(run).map(str::to_owned));
    notes.extend(figure::token_note(run));
    let notes = [notes.join(" ")];
    let height = svg.notes(theme::MARGIN, bottom + 2.0, &notes);

    let csv = table(run, &slots, &stems[..content.columns().min(stems.len())])?;
    let title = format!("{heading}: {}", figure::provenance(run));
    let description = format!(
        "Test images with the segmentation that each facet gives, its aggregate map over all test images, and its numbers. {}",
        notes[0]
    );
    let drawing = svg.finish(height, title, description);
    Ok(figure::drawn(NAME, heading, drawing, csv))
}

fn row(run: &Run, slot: Slot, stems: &[String]) -> Result<Row, FigureError> {
    let (name, layer) = figure::slot_label(slot);
    let name = match slot {
        Slot::Truth => vec!["ground".to_owned(), "truth".to_owned()],
        Slot::Probe(..) => vec![name.to_owned(), layer],
    };
    Ok(Row {
        name,
        paint: theme::slot(slot),
        is_truth: slot == Slot::Truth,
        maps: grid::maps(run, slot, stems)?,
        aggregate: run.aggregate(slot)?,
        nmi: run.metrics.get(slot, "nmi"),
        miou: run.metrics.get(slot, "miou"),
    })
}

fn table(run: &Run, slots: &[Slot], stems: &[String]) -> Result<String, FigureError> {
    let header = [
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
    let shown = stems.join(" ");
    let rows = slots.iter().map(|&slot| {
        let mut cells = figure::slot_cells(slot).to_vec();
        cells.push(shown.clone());
        for metric in ["nmi", "miou"] {
            let measured = run.metrics.get(slot, metric);
            cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
        }
        cells
    });
    figure::table(&header, rows)
}
