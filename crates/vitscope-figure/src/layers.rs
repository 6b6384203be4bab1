//! The figures `layers-key` and so on: one facet across the layers, its aggregate map under each.

use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::grid::{label_map, missing, photo_or_missing};
use crate::run_dir::{Facet, Run, Slot};
use crate::svg::{Anchor, Svg, Type};
use crate::theme;

/// Layers beside one another before they continue below.
const PER_BAND: usize = 12;
/// Examples shown: more would leave no room for the eye to compare layers.
const EXAMPLES: usize = 3;
const GAP: f64 = 3.0;

pub(crate) fn draw(run: &Run) -> Result<Vec<Plate>, FigureError> {
    let has = |facet: &Facet| run.probes().iter().any(|probe| probe.0 == *facet);
    let facets = Facet::ALL.into_iter().filter(has);
    facets.map(|facet| draw_facet(run, facet)).collect()
}

fn draw_facet(run: &Run, facet: Facet) -> Result<Plate, FigureError> {
    let name = format!("layers-{}", facet.name());
    let heading = format!("From layer to layer: {}", facet.name());
    let probes = run.probes().into_iter();
    let layers: Vec<u32> = probes
        .filter(|probe| probe.0 == facet)
        .map(|probe| probe.1)
        .collect();
    let stems = &run.examples[..run.examples.len().min(EXAMPLES)];
    let columns = layers.len().min(PER_BAND);
    let guides = 1 + usize::from(run.data.has_truth);
    let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - 10.0;
    let pitch = (room / (columns + guides) as f64).min(150.0).floor();
    let side = pitch - GAP;
    let mut svg = Svg::new(&name, theme::FULL_WIDTH);
    let mut top = theme::MARGIN;
    let mut pictures = 0;
    let mut seen = [false; 256];
    for band in layers.chunks(columns.max(1)) {
        let guide = |column: usize| theme::MARGIN + column as f64 * pitch;
        let column = |index: usize| theme::MARGIN + 10.0 + (guides + index) as f64 * pitch;
        let style = Type::LABEL.anchor(Anchor::Middle);
        let middle = |left: f64| [left + side / 2.0, top + 12.0];
        svg.text(middle(guide(0)), style, "image");
        if guides > 1 {
            svg.text(middle(guide(1)), style, "truth");
        }
        for (index, layer) in band.iter().enumerate() {
            let chosen = run.selection.contains(&(facet, *layer));
            let style = if chosen {
                Type::HEAD.anchor(Anchor::Middle)
            } else {
                style
            };
            let text = if index == 0 {
                format!("layer {layer}")
            } else {
                layer.to_string()
            };
            svg.text(middle(column(index)), style, &text);
        }
        top += 20.0;
        for stem in stems {
            let image = run.image(stem)?;
            let place = [guide(0), top, side, side];
            photo_or_missing(&mut svg, place, image.as_ref(), &format!("image {stem}"))?;
            let truth = (guides > 1).then_some((guide(1), Slot::Truth));
            let slots = band.iter().enumerate();
            let slots = slots.map(|(index, &layer)| (column(index), Slot::Probe(facet, layer)));
            for (left, slot) in truth.into_iter().chain(slots) {
                let place = [left, top, side, side];
                match run.labels(slot, stem)? {
                    Some(map) => {
                        pictures += 1;
                        if slot == Slot::Truth || run.labels_are_classes() {
                            let used = map.indices.iter();
                            used.for_each(|&index| seen[usize::from(index)] = true);
                        }
                        label_map(&mut svg, place, &map, &format!("{slot}, {stem}"))?;
                    }
                    None => missing(&mut svg, place),
                }
            }
            top += pitch;
        }
        top += 6.0;
        svg.text(
            [theme::MARGIN, top + side / 2.0 + 5.0],
            Type::NOTE,
            "aggregate",
        );
        let truth = (guides > 1).then_some((guide(1), Slot::Truth));
        let slots = band.iter().enumerate();
        let slots = slots.map(|(index, &layer)| (column(index), Slot::Probe(facet, layer)));
        for (left, slot) in truth.into_iter().chain(slots) {
            let map = run.aggregate(slot)?;
            pictures += usize::from(map.is_some());
            let label = format!("aggregate map of {slot}");
            photo_or_missing(&mut svg, [left, top, side, side], map.as_ref(), &label)?;
            let metrics = ["nmi", "miou"].map(|metric| run.metrics.get(slot, metric).value);
            for (line, value) in metrics.into_iter().enumerate() {
                if let Some(value) = value {
                    let place = [left + side / 2.0, top + side + 15.0 + 15.0 * line as f64];
                    let style = Type::NOTE.anchor(Anchor::Middle);
                    svg.text(place, style, &format!("{value:.3}"));
                }
            }
        }
        for (line, name) in ["NMI", "mIoU"].into_iter().enumerate() {
            if run.metrics.has(["nmi", "miou"][line]) {
                let place = [theme::MARGIN, top + side + 15.0 + 15.0 * line as f64];
                svg.text(place, Type::NOTE, name);
            }
        }
        top += side + 46.0;
    }
    if pictures == 0 {
        let why = "The run stored no label maps and no aggregate maps.";
        return Ok(figure::absent(&name, heading, why));
    }
    let bottom = figure::legend(&mut svg, run, top - 6.0, Some(&seen));
    let mut notes = vec![figure::provenance(run), figure::aggregate_note(run)];
    notes.push("In bold: the facet's chosen layer.".to_owned());
    notes.extend(figure::cluster_note(run).map(str::to_owned));
    if facet == Facet::Token {
        notes.extend(figure::token_note(run));
    }
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, bottom + 2.0, std::slice::from_ref(&caption));
    let rows = layers.iter().map(|&layer| {
        let slot = Slot::Probe(facet, layer);
        let mut cells = figure::slot_cells(slot).to_vec();
        cells.push(stems.join(" "));
        cells.extend(
            ["nmi", "miou"].map(|metric| figure::cell(run.metrics.get(slot, metric).value)),
        );
        cells
    });
    let csv = figure::table(&["layer", "facet", "examples", "nmi", "miou"], rows)?;
    let title = format!("{heading}: {}", figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn(&name, heading, drawing, csv))
}
