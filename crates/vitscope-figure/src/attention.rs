//! The figure `attention`: the mean attention matrices of layers, binary, and the maps of chosen
//! queries.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Measured, Part, limits, names};

use crate::bands::Bands;
use crate::error::FigureError;
use crate::grid::photo_or_missing;
use crate::members::Member;
use crate::pixels::Rgb;
use crate::run_view::{RunView, open_tensors, read_picture};
use crate::sheet::{Plate, Sheet};
use crate::svg::{Lettering, Svg};
use crate::theme;
use crate::words;

const MOST_QUERIES: usize = 4;
/// The share of weights that a binary matrix leaves black.
const HIDDEN: f64 = 0.95;

/// A patch whose attention was kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct QueryPatch {
    image: String,
    row: usize,
    column: usize,
}

/// A square matrix of weights: its side, and its rows.
type SquareMatrix = (usize, Vec<f32>);

/// What is drawn.
struct Attention<'a> {
    run: &'a RunView,
    matrices: BTreeMap<usize, SquareMatrix>,
    queries: Vec<QueryPatch>,
    locality: BTreeMap<usize, Measured>,
}

pub(crate) fn draw(member: &Member) -> Result<Plate, FigureError> {
    let run = &member.run;
    let heading = "Attention between patches";
    let mut sheet = Sheet::new("attention", heading, theme::FULL_WIDTH, &[member]);
    let path = run.root.join(names::ATTENTION);
    let Some(mut file) = open_tensors(&path)? else {
        return Ok(
            sheet.absent("The run stored no attention matrices (`vitscope attention` does).")
        );
    };
    let [rows, columns] = run.record.grid;
    let patches = rows.saturating_mul(columns);
    let most = patches
        .saturating_mul(patches)
        .saturating_mul(size_of::<f32>());
    let most = most.min(limits::LARGE_TENSOR_BYTES);
    let (matrices, queries) = parse(&path, &mut file, most)?;
    if matrices.is_empty() {
        return Ok(sheet.absent("The run stored no attention matrices yet."));
    }
    let attention = Attention {
        run,
        matrices,
        queries,
        locality: run.of_layers("locality", Part::Whole),
    };
    let bands = Bands::new(attention.matrices.keys().copied().collect(), 126.0, 220.0);
    let mut top = theme::MARGIN;
    for band in bands.iter() {
        top = bands.heads(&mut sheet.svg, band, top);
        top = attention.draw_matrices(&mut sheet.svg, &bands, band, top)?;
        top = attention.draw_queries(&mut sheet.svg, &bands, band, top)? + 8.0;
    }
    sheet.note(
        "Matrices: mean over heads and images, patches only; white: above the 95th percentile.",
    );
    let count = attention.queries.len();
    sheet.note(if count == 0 {
        "No queries were kept (see the option queries)."
    } else {
        "Below: the image in gray, lit where the framed patch looks, white the most."
    });
    if count > MOST_QUERIES {
        sheet.note(format!("The first {MOST_QUERIES} of {count} queries."));
    }
    sheet.columns(&["layer", "locality"]);
    for layer in attention.matrices.keys() {
        let cells = [layer.to_string(), words::cell(attention.locality(*layer))];
        sheet.row(member, cells);
    }
    sheet.finish(top - 4.0)
}

impl Attention<'_> {
    fn locality(&self, layer: usize) -> Option<f64> {
        self.locality.get(&layer)?.value
    }

    /// A row of binary matrices with their locality bias; gives the position below.
    fn draw_matrices(
        &self,
        svg: &mut Svg,
        bands: &Bands,
        band: &[usize],
        top: f64,
    ) -> Result<f64, FigureError> {
        let side = bands.side();
        bands.label(svg, top + side / 2.0, "mean matrix", "query × key");
        for (column, layer) in band.iter().enumerate() {
            let picture = binary(&self.matrices[layer]);
            let label = format!("attention matrix of layer {layer}, its largest 5 % in white");
            photo_or_missing(svg, bands.cell(column, top), Some(&picture), &label)?;
            if let Some(value) = self.locality(*layer) {
                bands.note(svg, column, top + side, &format!("{value:.3}"));
            }
        }
        if !self.locality.is_empty() {
            let place = [theme::MARGIN, top + side + 14.0];
            svg.text(place, Lettering::NOTE, "I(K,Q) in nats");
        }
        Ok(top + side + 24.0)
    }

    /// A row per query: where it looks, layer by layer; gives the position below.
    fn draw_queries(
        &self,
        svg: &mut Svg,
        bands: &Bands,
        band: &[usize],
        mut top: f64,
    ) -> Result<f64, FigureError> {
        for query in self.queries.iter().take(MOST_QUERIES) {
            let place = format!("row {}, column {}", query.row, query.column);
            bands.label(svg, top + bands.side() / 2.0, &query.image, &place);
            for (column, layer) in band.iter().enumerate() {
                let name = format!(
                    "query.{layer}.{}.{}-{}.png",
                    query.image, query.row, query.column
                );
                let path = self.run.root.join("attention").join(name);
                let picture = read_picture(&path, Rgb::decode)?;
                let label = format!("attention of {} at {place}, layer {layer}", query.image);
                photo_or_missing(svg, bands.cell(column, top), picture.as_ref(), &label)?;
            }
            top += bands.pitch();
        }
        Ok(top)
    }
}

/// The mean matrices by layer, of so many bytes at the most, and every query that was kept.
fn parse(
    path: &Path,
    file: &mut TensorFile,
    most: usize,
) -> Result<(BTreeMap<usize, SquareMatrix>, Vec<QueryPatch>), FigureError> {
    let bad = |problem| FigureError::malformed(path, problem);
    let (mut matrices, mut queries) = (BTreeMap::new(), Vec::new());
    for name in file.names() {
        let layer = name.strip_prefix("mean.").map(str::parse);
        if let Some(Ok(layer)) = layer
            && let Some(tensor) = file.read_up_to(&name, most)?
        {
            let (Dtype::F32, &[rows, columns]) = (tensor.dtype, tensor.shape.as_slice()) else {
                return Err(bad(format!("has {name} that is not a matrix of type f32")));
            };
            if rows != columns {
                return Err(bad(format!("has {name} of {rows} x {columns}, not square")));
            }
            matrices.insert(layer, (rows, tensor.f32s()));
        } else if let Some(query) = name.strip_prefix("query.").and_then(parse_query) {
            queries.push(query);
        }
    }
    queries.sort();
    queries.dedup();
    Ok((matrices, queries))
}

/// `{layer}.{image}.{row}-{column}`; an image's name may hold dots.
fn parse_query(name: &str) -> Option<QueryPatch> {
    let (_, rest) = name.split_once('.')?;
    let (image, place) = rest.rsplit_once('.')?;
    let (row, column) = place.split_once('-')?;
    let plain = !image.contains(['/', '\\']);
    Some(QueryPatch {
        image: image.to_owned(),
        row: row.parse().ok()?,
        column: column.parse().ok()?,
    })
    .filter(|_| plain)
}

/// White above the 95th percentile (linear between order statistics), else black.
fn binary((side, weights): &SquareMatrix) -> Rgb {
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
