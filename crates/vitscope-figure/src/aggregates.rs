//! The figures `aggregate` and `aggregate-layers`: what each facet predicts where.

use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::grid::photo_or_missing;
use crate::run_dir::{Choice, Facet, Run, Slot};
use crate::svg::{Anchor, Svg, Type};
use crate::theme;

const LAYERS: &str = "Aggregate maps of all layers";
const GAP: f64 = 20.0;
/// Columns of the layer overview before a facet's row is broken.
const LAYERS_PER_LINE: usize = 12;

pub(crate) fn draw_best(run: &Run) -> Result<Plate, FigureError> {
    let heading = figure::heading(run, "Aggregate maps");
    let title = format!("{heading}: {}", figure::provenance(run));
    let mut maps = Vec::new();
    for slot in run.best_slots() {
        maps.push((slot, run.aggregate(slot)?));
    }
    if maps.iter().all(|(_, map)| map.is_none()) {
        return Ok(figure::absent(
            "aggregate",
            heading,
            "The run has no aggregate maps yet.",
        ));
    }
    let width = theme::FULL_WIDTH;
    let count = maps.len() as f64;
    let side = ((width - 2.0 * theme::MARGIN - (count - 1.0) * GAP) / count)
        .min(230.0)
        .floor();
    let mut svg = Svg::new("aggregate", width);
    let top = theme::MARGIN + 22.0;
    for (index, (slot, map)) in maps.iter().enumerate() {
        let x = theme::MARGIN + index as f64 * (side + GAP);
        let (name, layer) = figure::slot_label(*slot);
        svg.text([x, theme::MARGIN + 13.0], Type::HEAD, name);
        svg.text(
            [x + side, theme::MARGIN + 13.0],
            Type::LABEL.anchor(Anchor::End),
            &layer,
        );
        let label = format!("aggregate map of {name} {layer}");
        photo_or_missing(&mut svg, [x, top, side, side], map.as_ref(), &label)?;
        if run.metrics.has("nmi") {
            let nmi = figure::number(run.metrics.get(*slot, "nmi").value);
            svg.text([x, top + side + 18.0], Type::LABEL, &format!("NMI {nmi}"));
        }
        if matches!(slot, Slot::Probe(..)) && run.metrics.has("miou") {
            let miou = figure::number(run.metrics.get(*slot, "miou").value);
            svg.text(
                [x + side, top + side + 18.0],
                Type::LABEL.anchor(Anchor::End),
                &format!("mIoU {miou}"),
            );
        }
    }
    let mut bottom = top + side + 34.0;
    if run.labels_are_classes() {
        bottom = figure::legend(&mut svg, run, bottom, None);
    }
    let caption = notes(run, &[figure::selection_note(run), figure::NMI_NOTE]);
    let height = svg.notes(theme::MARGIN, bottom + 2.0, std::slice::from_ref(&caption));
    let csv = figure::table(
        &["layer", "facet", "file", "nmi", "miou"],
        maps.iter().map(|(slot, map)| {
            let mut cells = figure::slot_cells(*slot).to_vec();
            cells.push(
                map.as_ref()
                    .map(|_| format!("aggregate/{slot}.png"))
                    .unwrap_or_default(),
            );
            cells.extend(
                ["nmi", "miou"].map(|metric| figure::cell(run.metrics.get(*slot, metric).value)),
            );
            cells
        }),
    )?;
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn("aggregate", heading, drawing, csv))
}

pub(crate) fn draw_layers(run: &Run) -> Result<Plate, FigureError> {
    const LABEL_WIDTH: f64 = 66.0;
    let layers = run.layers();
    if layers.is_empty() {
        return Ok(figure::absent(
            "aggregate-layers",
            LAYERS.to_owned(),
            "The run has no finished layer yet.",
        ));
    }
    let columns = layers.len().min(LAYERS_PER_LINE);
    let gap = 4.0;
    let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - LABEL_WIDTH + gap;
    let pitch = (room / columns as f64).min(150.0).floor();
    let side = pitch - gap;
    let mut svg = Svg::new("aggregate-layers", theme::FULL_WIDTH);
    let mut top = theme::MARGIN;
    let mut rows = Vec::new();
    // Long models break into bands of layers, each with all facets below one another.
    for band in layers.chunks(columns) {
        let column = |index: usize| theme::MARGIN + LABEL_WIDTH + index as f64 * pitch;
        svg.text([theme::MARGIN, top + 12.0], Type::LABEL, "layer");
        for (index, layer) in band.iter().enumerate() {
            svg.text(
                [column(index) + side / 2.0, top + 12.0],
                Type::LABEL.anchor(Anchor::Middle),
                &layer.to_string(),
            );
        }
        top += 20.0;
        for facet in Facet::ALL
            .into_iter()
            .filter(|&facet| run.probes().iter().any(|probe| probe.0 == facet))
        {
            svg.text(
                [theme::MARGIN, top + side / 2.0 + 5.0],
                Type::HEAD,
                facet.name(),
            );
            for (index, &layer) in band.iter().enumerate() {
                let slot = Slot::Probe(facet, layer);
                let place = [column(index), top, side, side];
                let map = run.aggregate(slot)?;
                let label = format!("aggregate map of {} layer {layer}", facet.name());
                photo_or_missing(&mut svg, place, map.as_ref(), &label)?;
                if map.is_some() {
                    let mut cells = figure::slot_cells(slot).to_vec();
                    cells.push(format!("aggregate/{slot}.png"));
                    cells.push(figure::cell(run.metrics.get(slot, "nmi").value));
                    rows.push(cells);
                }
                if run.selection.contains(&(facet, layer)) {
                    svg.frame(
                        [place[0] - 1.0, top - 1.0, side + 2.0, side + 2.0],
                        theme::INK,
                        2.5,
                    );
                }
            }
            top += pitch;
        }
        top += 10.0;
    }
    if rows.is_empty() {
        return Ok(figure::absent(
            "aggregate-layers",
            LAYERS.to_owned(),
            "The run has no aggregate maps yet.",
        ));
    }
    let chosen = match run.choice {
        Choice::Best => "Framed: each facet's layer of best mIoU.",
        Choice::Stored => "Framed: the layer that the run chose for each facet.",
        Choice::Last | Choice::BestPck => "Framed: each facet's last layer.",
    };
    let mut bottom = top - 4.0;
    if run.labels_are_classes() {
        bottom = figure::legend(&mut svg, run, bottom, None);
    }
    let caption = notes(run, &[chosen]);
    let height = svg.notes(theme::MARGIN, bottom + 2.0, std::slice::from_ref(&caption));
    let csv = figure::table(&["layer", "facet", "file", "nmi"], rows)?;
    let drawing = svg.finish(
        height,
        format!("{LAYERS}: {}", figure::provenance(run)),
        caption,
    );
    Ok(figure::drawn(
        "aggregate-layers",
        LAYERS.to_owned(),
        drawing,
        csv,
    ))
}

fn notes(run: &Run, more: &[&str]) -> String {
    let mut notes = vec![figure::provenance(run), figure::aggregate_note(run)];
    notes.extend(more.iter().map(|&note| note.to_owned()));
    notes.extend(figure::cluster_note(run).map(str::to_owned));
    notes.extend(figure::token_note(run));
    notes.join(" ")
}
