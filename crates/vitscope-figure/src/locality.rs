//! The figure `locality-by-layer`: the locality bias of attention against the layer, one curve per
//! run; of a single run also its heads.

use std::collections::BTreeMap;

use vitscope_run::{Measured, Part};

use crate::captions;
use crate::chart::{self, Chart, Frame};
use crate::curves::layers_of;
use crate::error::FigureError;
use crate::members::Member;
use crate::models;
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::theme;
use crate::words;

const NAME: &str = "locality-by-layer";
const HEADING: &str = "Locality of attention by layer";
/// The name of an axis of it.
pub(crate) const AXIS: &str = "locality bias I(K,Q) (nats)";

type ByLayer = BTreeMap<usize, Measured>;

/// What one run measured: over the heads' average, and of each head.
struct Locality<'a> {
    member: &'a Member,
    average: ByLayer,
    heads: Vec<ByLayer>,
}

pub(crate) fn draw(members: &[&Member]) -> Result<Plate, FigureError> {
    let measured = |member: &&Member| {
        let values = member.run.of_layers("locality", Part::Whole);
        values.values().any(|value| value.value.is_some())
    };
    let measured: Vec<&Member> = members.iter().copied().filter(measured).collect();
    // Attention knows no seed: one run speaks for all of its model.
    let models = models::models(&measured);
    let shown: Vec<Locality<'_>> = models
        .iter()
        .map(|model| Locality::of(model.first()))
        .collect();
    if shown.is_empty() {
        let why = "Attention was not measured (`vitscope attention` does).";
        return Ok(sheet::absent(NAME, HEADING, why));
    }
    let members: Vec<&Member> = shown.iter().map(|one| one.member).collect();
    let has_heads = shown.len() == 1 && !shown[0].heads.is_empty();
    let mut sheet = Sheet::new(NAME, HEADING, theme::COLUMN_WIDTH, &members);
    let top = if shown.len() == 1 {
        16.0
    } else {
        chart::key(
            &mut sheet.svg,
            62.0,
            theme::MARGIN - 4.0,
            &models::key_of(&members),
        ) + 8.0
    };
    let layers = layers_of(shown.iter().flat_map(|one| one.average.keys().copied()));
    let heads = shown.iter().flat_map(|one| &one.heads);
    let averages = shown.iter().map(|one| &one.average);
    let values = averages.chain(heads.filter(|_| has_heads));
    let values = values.flat_map(|values| values.values().flat_map(|&value| words::ends(value)));
    let frame = Frame {
        place: [62.0, top, 420.0, 240.0],
        x: Scale::Places(layers.iter().map(usize::to_string).collect()),
        y: Scale::linear(values),
        x_name: "layer",
        y_name: AXIS,
        labels: [true; 2],
    };
    let mut chart = frame.open(&mut sheet.svg);
    if has_heads {
        shown[0].draw_heads(&mut chart, &layers);
    }
    for one in &shown {
        one.draw_average(&mut chart, &layers);
    }
    if shown.len() == 1 {
        sheet.note(
            "Circles: attention averaged over heads, with 95 % bootstrap intervals over images.",
        );
    } else {
        sheet.notes([captions::data_note(&members).as_str(), words::INTERVAL_NOTE]);
    }
    if has_heads {
        sheet.note("Dashes: single heads.");
    }
    sheet.note("0: every patch looks at the same places.");
    sheet.columns(&["layer", "head", "locality", "low", "high"]);
    for one in &shown {
        one.rows(&mut sheet);
    }
    sheet.finish(top + 288.0)
}

impl<'a> Locality<'a> {
    fn of(member: &'a Member) -> Self {
        let run = &member.run;
        let heads = (0..).map(|head| run.of_layers("locality_head", Part::Index(head)));
        Self {
            member,
            average: run.of_layers("locality", Part::Whole),
            heads: heads.take_while(|head| !head.is_empty()).collect(),
        }
    }

    fn draw_heads(&self, chart: &mut Chart<'_>, layers: &[usize]) {
        for head in &self.heads {
            for (index, layer) in layers.iter().enumerate() {
                if let Some(value) = head.get(layer).and_then(|measured| measured.value) {
                    let (left, right) = (index as f64 - 0.15, index as f64 + 0.15);
                    chart.line(&[(left, value), (right, value)], theme::MUTED, 1.4);
                }
            }
        }
    }

    fn draw_average(&self, chart: &mut Chart<'_>, layers: &[usize]) {
        let (mark, paint) = (self.member.mark(), self.member.paint());
        let value = |layer: &usize| self.average.get(layer).copied().unwrap_or_default();
        for (index, layer) in layers.iter().enumerate() {
            chart.interval(index as f64, value(layer).interval, paint);
        }
        let points: Vec<_> = layers
            .iter()
            .enumerate()
            .map(|(index, layer)| Some((index as f64, value(layer).value?)))
            .collect();
        chart.series(&points, mark, paint);
    }

    fn rows(&self, sheet: &mut Sheet) {
        let heads = self.heads.iter().enumerate();
        let heads = heads.map(|(head, values)| (head.to_string(), values));
        for (head, values) in [(String::new(), &self.average)].into_iter().chain(heads) {
            for (layer, &measured) in values {
                let mut cells = vec![layer.to_string(), head.clone()];
                cells.extend(words::measured_cells(measured));
                sheet.row(self.member, cells);
            }
        }
    }
}
