//! The figures of a run's attention: `attention` (binary matrices and the maps of chosen queries,
//! layer by layer) and `locality-by-layer`.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::chart::{Frame, Scale};
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::grid::photo_or_missing;
use crate::metrics::Measured;
use crate::pixels::Rgb;
use crate::run_dir::{Run, read_bytes_if_there, read_picture};
use crate::svg::{Anchor, Svg, Type};
use crate::text;
use crate::theme::{self, Mark};

const PER_BAND: usize = 12;
const MOST_QUERIES: usize = 4;
/// The share of weights that a binary matrix leaves black.
const HIDDEN: f64 = 0.95;
/// The name of an axis of it.
pub(crate) const LOCALITY: &str = "locality bias I(K,Q) (nats)";

/// A patch whose attention was kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Query {
    image: String,
    row: usize,
    column: usize,
}

pub(crate) fn draw_matrices(run: &Run) -> Result<Plate, FigureError> {
    const NAME: &str = "attention";
    const HEADING: &str = "Attention between patches";
    const LABEL_WIDTH: f64 = 126.0;
    let path = run.root().join("attention.safetensors");
    let Some(bytes) = read_bytes_if_there(&path)? else {
        let why = "The run stored no attention matrices (`vitscope attention` does).";
        return Ok(figure::absent(NAME, HEADING, why));
    };
    let (matrices, queries) = parse(&path, &bytes)?;
    if matrices.is_empty() {
        let why = "The run stored no attention matrices yet.";
        return Ok(figure::absent(NAME, HEADING, why));
    }
    let locality = run.metrics.of_layers("locality", "");
    let layers: Vec<u32> = matrices.keys().copied().collect();
    let columns = layers.len().min(PER_BAND);
    let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - LABEL_WIDTH;
    let pitch = (room / columns as f64).min(220.0).floor();
    let side = pitch - 4.0;
    let mut svg = Svg::new(NAME, theme::FULL_WIDTH);
    let mut top = theme::MARGIN;
    for band in layers.chunks(columns) {
        let left = |index: usize| theme::MARGIN + LABEL_WIDTH + index as f64 * pitch;
        svg.text([theme::MARGIN, top + 12.0], Type::LABEL, "layer");
        for (index, layer) in band.iter().enumerate() {
            let place = [left(index) + side / 2.0, top + 12.0];
            svg.text(
                place,
                Type::LABEL.anchor(Anchor::Middle),
                &layer.to_string(),
            );
        }
        top += 20.0;
        row_label(&mut svg, top + side / 2.0, "mean matrix", "query × key");
        for (index, layer) in band.iter().enumerate() {
            let picture = binary(&matrices[layer]);
            let label = format!("attention matrix of layer {layer}, its largest 5 % in white");
            photo_or_missing(
                &mut svg,
                [left(index), top, side, side],
                Some(&picture),
                &label,
            )?;
            if let Some(value) = locality.get(layer).and_then(|measured| measured.value) {
                let place = [left(index) + side / 2.0, top + side + 15.0];
                svg.text(
                    place,
                    Type::NOTE.anchor(Anchor::Middle),
                    &format!("{value:.3}"),
                );
            }
        }
        if !locality.is_empty() {
            svg.text(
                [theme::MARGIN, top + side + 15.0],
                Type::NOTE,
                "I(K,Q) in nats",
            );
        }
        top += side + 24.0;
        for query in queries.iter().take(MOST_QUERIES) {
            let place = format!("row {}, column {}", query.row, query.column);
            row_label(&mut svg, top + side / 2.0, &query.image, &place);
            for (index, layer) in band.iter().enumerate() {
                let name = format!(
                    "query.{layer}.{}.{}-{}.png",
                    query.image, query.row, query.column
                );
                let picture = read_picture(&run.root().join("attention").join(name), Rgb::decode)?;
                let label = format!("attention of {} at {place}, layer {layer}", query.image);
                let place = [left(index), top, side, side];
                photo_or_missing(&mut svg, place, picture.as_ref(), &label)?;
            }
            top += pitch;
        }
        top += 8.0;
    }
    let mut notes = vec![
        figure::provenance(run),
        "Matrices: mean over heads and images, patches only; white: above the 95th percentile."
            .to_owned(),
    ];
    if queries.is_empty() {
        notes.push("No queries were kept (see the option queries).".to_owned());
    } else {
        notes.push(
            "Below: the image in gray, lit where the framed patch looks, white the most."
                .to_owned(),
        );
    }
    if queries.len() > MOST_QUERIES {
        notes.push(format!(
            "The first {MOST_QUERIES} of {} queries.",
            queries.len()
        ));
    }
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, top - 4.0, std::slice::from_ref(&caption));
    let rows = layers.iter().map(|layer| {
        let measured = locality.get(layer).copied().unwrap_or_default();
        vec![layer.to_string(), figure::cell(measured.value)]
    });
    let csv = figure::table(&["layer", "locality"], rows)?;
    let title = format!("{HEADING}: {}", figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}

fn row_label(svg: &mut Svg, middle: f64, first: &str, second: &str) {
    for (line, (text, style)) in [(first, Type::HEAD), (second, Type::NOTE)]
        .into_iter()
        .enumerate()
    {
        let text = text::fit(text, 120.0, style.size, style.weight);
        svg.text(
            [theme::MARGIN, middle - 2.0 + 16.0 * line as f64],
            style,
            &text,
        );
    }
}

/// The mean matrices by layer, and every query that was kept.
#[expect(clippy::type_complexity, reason = "read at one place")]
fn parse(
    path: &Path,
    bytes: &[u8],
) -> Result<(BTreeMap<u32, (usize, Vec<f32>)>, Vec<Query>), FigureError> {
    let bad = |problem| FigureError::malformed(path, problem);
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|error| bad(format!("is not a safetensors file ({error})")))?;
    let (mut matrices, mut queries) = (BTreeMap::new(), Vec::new());
    for (name, tensor) in tensors.iter() {
        if let Some(layer) = name
            .strip_prefix("mean.")
            .and_then(|text| text.parse().ok())
        {
            let (Dtype::F32, &[rows, columns]) = (tensor.dtype(), tensor.shape()) else {
                return Err(bad(format!("has {name} that is not a matrix of type f32")));
            };
            if rows != columns {
                return Err(bad(format!("has {name} of {rows} x {columns}, not square")));
            }
            matrices.insert(layer, (rows, floats(tensor.data())));
        } else if let Some(query) = name.strip_prefix("query.").and_then(parse_query) {
            queries.push(query);
        }
    }
    queries.sort();
    queries.dedup();
    Ok((matrices, queries))
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    let chunks = bytes.as_chunks().0.iter();
    chunks.map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// `{layer}.{image}.{row}-{column}`; an image's name may hold dots.
fn parse_query(name: &str) -> Option<Query> {
    let (_, rest) = name.split_once('.')?;
    let (image, place) = rest.rsplit_once('.')?;
    let (row, column) = place.split_once('-')?;
    let plain = !image.contains(['/', '\\']);
    Some(Query {
        image: image.to_owned(),
        row: row.parse().ok()?,
        column: column.parse().ok()?,
    })
    .filter(|_| plain)
}

/// White above the 95th percentile (linear between order statistics), else black.
fn binary((side, weights): &(usize, Vec<f32>)) -> Rgb {
    let mut sorted: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
    sorted.sort_by(f64::total_cmp);
    let place = HIDDEN * sorted.len().saturating_sub(1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0);
    let threshold = at(below) + part * (at(below + 1) - at(below));
    let pixel = |&weight: &f32| {
        [if f64::from(weight) > threshold {
            255
        } else {
            0
        }; 3]
    };
    Rgb {
        width: *side,
        height: *side,
        pixels: weights.iter().map(pixel).collect(),
    }
}

pub(crate) fn draw_locality(run: &Run) -> Result<Plate, FigureError> {
    const NAME: &str = "locality-by-layer";
    const HEADING: &str = "Locality of attention by layer";
    let whole = run.metrics.of_layers("locality", "");
    if whole.values().all(|measured| measured.value.is_none()) {
        let why = "The run did not measure attention (`vitscope attention` does).";
        return Ok(figure::absent(NAME, HEADING, why));
    }
    let heads: Vec<BTreeMap<u32, Measured>> = (0..)
        .map(|head: usize| run.metrics.of_layers("locality_head", &head.to_string()))
        .take_while(|head| !head.is_empty())
        .collect();
    let names = whole.keys().map(u32::to_string).collect();
    let all = whole
        .values()
        .chain(heads.iter().flat_map(BTreeMap::values));
    let all = all.flat_map(|measured| [measured.value, measured.high]);
    let frame = Frame {
        place: [62.0, 16.0, 420.0, 240.0],
        x: Scale::Places(names),
        y: Scale::linear(all.flatten()),
        x_name: "layer",
        y_name: LOCALITY,
        labels: [true; 2],
    };
    let mut svg = Svg::new(NAME, theme::COLUMN_WIDTH);
    let chart = frame.open(&mut svg)?;
    for head in &heads {
        for (index, layer) in whole.keys().enumerate() {
            if let Some(value) = head.get(layer).and_then(|measured| measured.value) {
                let (left, right) = (index as f64 - 0.15, index as f64 + 0.15);
                chart.line(&[(left, value), (right, value)], theme::MUTED, 1.4)?;
            }
        }
    }
    let paint = theme::series(0);
    for (index, measured) in whole.values().enumerate() {
        chart.interval(index as f64, measured.interval(), paint)?;
    }
    let points: Vec<Option<(f64, f64)>> = whole
        .values()
        .enumerate()
        .map(|(index, measured)| Some((index as f64, measured.value?)))
        .collect();
    chart.series(&points, Mark::Circle, paint)?;
    drop(chart);
    let mut notes = vec![
        figure::provenance(run),
        "Circles: attention averaged over heads, with 95 % bootstrap intervals over images."
            .to_owned(),
    ];
    if !heads.is_empty() {
        notes.push("Dashes: single heads.".to_owned());
    }
    notes.push("0: every patch looks at the same places.".to_owned());
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, 304.0, std::slice::from_ref(&caption));
    let heads = heads.iter().enumerate();
    let rows = [(String::new(), &whole)]
        .into_iter()
        .chain(heads.map(|(head, values)| (head.to_string(), values)))
        .flat_map(|(head, values)| {
            values.iter().map(move |(layer, measured)| {
                let mut cells = vec![layer.to_string(), head.clone()];
                cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
                cells
            })
        });
    let csv = figure::table(&["layer", "head", "locality", "low", "high"], rows)?;
    let title = format!("{HEADING}: {}", figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_queries_may_hold_dots() {
        let query = parse_query("12.street.001.3-14").unwrap_or_else(|| panic!("a query"));
        assert_eq!(
            (query.image.as_str(), query.row, query.column),
            ("street.001", 3, 14)
        );
        assert_eq!(parse_query("12.../secret.3-14"), None);
    }

    #[test]
    fn five_in_a_hundred_weights_are_white() {
        // np.quantile(np.arange(100) / 100, 0.95) is 0.9405 (NumPy 2.4): 95 to 99 lie above.
        let weights: Vec<f32> = (0..100_u8).map(|index| f32::from(index) / 100.0).collect();
        let picture = binary(&(10, weights));
        let white = picture.pixels.iter().filter(|pixel| pixel[0] == 255);
        assert_eq!(white.count(), 5);
    }
}
