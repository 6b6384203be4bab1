//! The figure `token-lengths`: how long the patch vectors of each layer are, and where the outliers among them lie
//! (docs/protocol.md section 17).

use vitscope_run::tensors::TensorFile;
use vitscope_run::{Facet, Slot, Subject, names};

use crate::chart::Frame;
use crate::error::FigureError;
use crate::grid::photo_or_missing;
use crate::members::Member;
use crate::pixels::Rgb;
use crate::run_view::open_tensors;
use crate::scale::Scale;
use crate::sheet::{Plate, Sheet};
use crate::svg::{Anchor, Lettering};
use crate::theme;

const NAME: &str = "token-lengths";
const HEADING: &str = "Lengths of tokens";
/// Pixels of a place of the patch grid.
const ZOOM: usize = 8;
/// Bins that a run counts lengths in, at the most.
const BINS: usize = 1024;
/// Maps below one another.
const MOST: usize = 3;
const SIDE: f64 = 96.0;

/// The tokens of a layer.
struct TokenLengths {
    slot: Slot,
    /// Vectors by length, four bins to a doubling from 2^-16 on.
    counts: Vec<i64>,
    /// Outliers at each place of the patch grid, row by row.
    outliers: Vec<u32>,
    grid: [usize; 2],
}

/// The figure; none of a run that did not look for artifacts.
pub(crate) fn draw(member: &Member) -> Result<Option<Plate>, FigureError> {
    let path = member.run.root.join(names::ARTIFACTS);
    let Some(mut file) = open_tensors(&path)? else {
        return Ok(None);
    };
    let places = member.run.record.grid[0] * member.run.record.grid[1];
    let mut layers = Vec::new();
    let slots = member.run.slots().into_iter();
    for slot in slots.filter(|slot| slot.facet == Facet::Token) {
        layers.extend(read(&mut file, slot, places)?);
    }
    layers.retain(|layer| layer.counts.iter().any(|&count| count > 0));
    if layers.is_empty() {
        return Ok(None);
    }
    let mut sheet = Sheet::new(NAME, HEADING, theme::COLUMN_WIDTH, &[member]);
    let chart_end = ridges(&mut sheet, &layers);
    let maps_end = maps(&mut sheet, member, &layers)?;
    sheet.note("Of at most 64 of them. Left: how many tokens of a layer have which length, before the final norm; each ridge to its own height. Right: where tokens lie that are far longer than the rest, in the layers that have most of them; black is nowhere, yellow the most of the layer. Likeness: how much more the image resembles its surroundings there than elsewhere (cosine of patch embeddings); 0 by chance.");
    let rows = layers.iter().flat_map(|layer| {
        let counts = layer.counts.iter().enumerate();
        let counts = counts.filter(|(_, count)| **count > 0);
        counts.map(|(bin, count)| {
            let cells = [layer.slot.layer.to_string(), start(bin).to_string()];
            cells.into_iter().chain([count.to_string()]).collect()
        })
    });
    sheet.table(&["layer", "length_from", "tokens"], rows);
    Ok(Some(sheet.finish(chart_end.max(maps_end))?))
}

/// The least length of a bin.
fn start(bin: usize) -> f64 {
    (bin as f64 / 4.0 - 16.0).exp2()
}

fn read(
    file: &mut TensorFile,
    slot: Slot,
    places: usize,
) -> Result<Option<TokenLengths>, FigureError> {
    let counts = file.read_up_to(&names::lengths(slot), size_of::<i64>() * BINS)?;
    let outliers = file.read_up_to(&names::outliers(slot), size_of::<u32>() * places)?;
    let both = counts.zip(outliers).and_then(|(counts, outliers)| {
        let grid: [usize; 2] = (&outliers.shape[..]).try_into().ok()?;
        Some(TokenLengths {
            slot,
            counts: counts.i64s(),
            outliers: outliers.u32s(),
            grid,
        })
    });
    Ok(both)
}

/// A ridge for each layer; gives where the chart ends.
fn ridges(sheet: &mut Sheet, layers: &[TokenLengths]) -> f64 {
    let seen = layers
        .iter()
        .flat_map(|layer| layer.counts.iter().enumerate());
    let seen: Vec<usize> = seen
        .filter(|(_, count)| **count > 0)
        .map(|(bin, _)| bin)
        .collect();
    let (first, last) = (seen.iter().min(), seen.iter().max());
    let (first, last) = (first.map_or(0, |&bin| bin), last.map_or(0, |&bin| bin));
    let height = (18.0 * layers.len() as f64).clamp(120.0, 420.0);
    let frame = Frame {
        place: [56.0, 20.0, 320.0, height],
        x: Scale::log([start(first), start(last + 2)]),
        y: Scale::linear([layers.len() as f64 + 1.0]),
        x_name: "length",
        y_name: "layer",
        labels: [true, false],
    };
    let mut chart = frame.open(&mut sheet.svg);
    for (index, layer) in layers.iter().enumerate() {
        let base = index as f64 + 0.2;
        let most = layer.counts.iter().max().copied().unwrap_or(0).max(1) as f64;
        let points = (first..=last + 1).map(|bin| {
            let count = layer.counts.get(bin).copied().unwrap_or(0) as f64;
            (start(bin) * 2.0_f64.powf(0.125), base + 1.3 * count / most)
        });
        let points: Vec<(f64, f64)> = points.collect();
        chart.line(&points, theme::series(0), 1.4);
        let [_, y] = chart.at(start(first), base);
        let style = Lettering::NOTE.anchor(Anchor::End);
        chart
            .svg
            .text([52.0, y], style, &layer.slot.layer.to_string());
    }
    height + 66.0
}

/// The maps of the layers with most outliers; gives where they end.
fn maps(sheet: &mut Sheet, member: &Member, layers: &[TokenLengths]) -> Result<f64, FigureError> {
    let share = |layer: &TokenLengths| {
        let measured = member.run.get(Subject::Slot(layer.slot), "outlier_share");
        measured.value.unwrap_or(0.0)
    };
    let mut most: Vec<&TokenLengths> = layers.iter().filter(|layer| share(layer) > 0.0).collect();
    most.sort_by(|a, b| share(b).total_cmp(&share(a)));
    most.truncate(MOST);
    let left = 392.0;
    let mut end = 0.0;
    if most.is_empty() {
        sheet.svg.text([left, 40.0], Lettering::NOTE, "no outliers");
    }
    for (index, layer) in most.into_iter().enumerate() {
        let top = 20.0 + index as f64 * (SIDE + 38.0);
        end = top + SIDE + 38.0;
        let label = format!("outliers of {}", layer.slot);
        let map = map(layer);
        photo_or_missing(
            &mut sheet.svg,
            [left, top, SIDE, SIDE],
            map.as_ref(),
            &label,
        )?;
        let text = format!("layer {}: {:.2} %", layer.slot.layer, 100.0 * share(layer));
        sheet
            .svg
            .text([left, top + SIDE + 14.0], Lettering::NOTE, &text);
        let texture = member.run.get(Subject::Slot(layer.slot), "outlier_texture");
        if let Some(texture) = texture.value {
            let text = format!("likeness {texture:+.2}");
            let place = [left, top + SIDE + 26.0];
            sheet.svg.text(place, Lettering::NOTE, &text);
        }
    }
    Ok(end)
}

fn map(layer: &TokenLengths) -> Option<Rgb> {
    let [rows, columns] = layer.grid;
    let most = layer
        .outliers
        .iter()
        .copied()
        .max()
        .filter(|&most| most > 0)?;
    let (width, height) = (columns * ZOOM, rows * ZOOM);
    let pixels = (0..width * height).map(|pixel| {
        let place = pixel / width / ZOOM * columns + pixel % width / ZOOM;
        let count = layer.outliers.get(place).copied().unwrap_or(0);
        theme::heat(f64::from(count) / f64::from(most))
    });
    Some(Rgb {
        width,
        height,
        pixels: pixels.collect(),
    })
}
