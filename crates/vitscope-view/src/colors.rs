//! Colors of principal components (docs/protocol.md section 19): fitted once on a data set, with signs that do not
//! turn over from layer to layer.
//!
//! The vectors of patches are brought to length 1, so that the picture shows what cosines compare and no patch of
//! great norm takes a color for itself. The first three principal directions of the fit's patches become red, green
//! and blue: the 1st percentile of a projection is 0, the 99th is 255.
//!
//! A direction's sign is free. In the first layer of a tensor, a projection rises with the brightness of patches; in
//! every layer after it, with the same component's projection one layer before. Both are correlations over the patches
//! of the fit, so the rule needs no choice by hand and gives equal signs for equal pictures.

use std::collections::BTreeMap;

use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3};
use vitscope_data::RgbCrop;
use vitscope_probe::{Moments, ProbeError, covariance};
use vitscope_vit::facet::TapKind;

use crate::pane::TappedTensor;

/// The rule in a sentence, for the page.
pub const RULE: &str = "Red, green and blue are the first three principal components of patch vectors of length 1. \
    Signs: in layer 1 a component rises with brightness, in every other layer with the same component one layer before.";

/// Red, green and blue.
const CHANNELS: usize = 3;

/// The colors of one tensor.
#[derive(Clone, Debug)]
pub struct Axes {
    center: Vec<f64>,
    /// `[at most 3, D]`.
    directions: Array2<f64>,
    /// The projections that become 0 and 255.
    ends: Vec<[f64; 2]>,
    /// The share of the variance of the fit's unit vectors along each direction.
    pub shares: Vec<f64>,
}

impl Axes {
    /// Fits colors to patches; `guide` `[B * N, c]` says which way each component rises. Also gives the projections,
    /// `[B * N, at most 3]`.
    ///
    /// # Shapes
    /// `rows` `[B, N, D]`.
    ///
    /// # Errors
    /// [`ProbeError::NonFinite`] for rows that are not finite, [`ProbeError::Eigen`] where no directions are found.
    pub fn fit(
        rows: ArrayView3<'_, f32>,
        guide: ArrayView2<'_, f64>,
    ) -> Result<(Self, Array2<f64>), ProbeError> {
        let (images, patches, dim) = rows.dim();
        let unit = unit(rows);
        let mut moments = Moments::new(dim);
        moments.add(unit.view(), &vec![1; images])?;
        let mut directions = moments.principal_directions(CHANNELS)?;
        let count = (images * patches).max(1) as f64;
        let flat = unit.view().into_shape_with_order((images * patches, dim));
        let flat = flat.expect("rows that were just made lie side by side");
        let center: Vec<f64> = flat
            .columns()
            .into_iter()
            .map(|column| column.iter().map(|&value| f64::from(value)).sum::<f64>() / count)
            .collect();
        let total: f64 = flat
            .rows()
            .into_iter()
            .flat_map(|row| row.into_iter().zip(&center))
            .map(|(&value, center)| (f64::from(value) - center).powi(2))
            .sum();
        let mut projections = project(flat, &center, &directions);
        for (channel, mut direction) in directions.rows_mut().into_iter().enumerate() {
            let mut own = projections.column_mut(channel);
            let guides = guide.ncols().max(1);
            if guide.ncols() > 0 && covariance(own.view(), guide.column(channel % guides)) < 0.0 {
                direction.mapv_inplace(|entry| -entry);
                own.mapv_inplace(|value| -value);
            }
        }
        let columns = projections.columns().into_iter();
        let (ends, shares) = columns
            .map(|column| {
                let along: f64 = column.iter().map(|value| value.powi(2)).sum();
                (ends(column), if total > 0.0 { along / total } else { 0.0 })
            })
            .unzip();
        let axes = Self {
            center,
            directions,
            ends,
            shares,
        };
        Ok((axes, projections))
    }

    /// The color of every patch. A channel without a component is gray's 128; a patch whose vector has no direction
    /// lies where the origin does.
    ///
    /// # Shapes
    /// `rows` `[N, D]`; gives `N` colors.
    #[must_use]
    pub fn paint(&self, rows: ArrayView2<'_, f32>) -> Vec<[u8; 3]> {
        let unit = unit(rows.insert_axis(ndarray::Axis(0)));
        let projections = project(
            unit.index_axis(ndarray::Axis(0), 0),
            &self.center,
            &self.directions,
        );
        let rows = projections.rows().into_iter();
        rows.map(|row| {
            std::array::from_fn(|channel| match (row.get(channel), self.ends.get(channel)) {
                (Some(&value), Some(&[low, high])) if high > low => {
                    (255.0 * (value - low) / (high - low))
                        .clamp(0.0, 255.0)
                        .round() as u8
                }
                _ => 128,
            })
        })
        .collect()
    }
}

/// Rows of length 1; those of length 0 stay.
fn unit(rows: ArrayView3<'_, f32>) -> Array3<f32> {
    let mut unit = rows.as_standard_layout().into_owned();
    for mut row in unit.rows_mut() {
        let length = row
            .iter()
            .map(|&value| f64::from(value).powi(2))
            .sum::<f64>()
            .sqrt();
        if length > 0.0 {
            row.mapv_inplace(|value| (f64::from(value) / length) as f32);
        }
    }
    unit
}

/// `[N, D]` along directions `[c, D]`: `[N, c]`.
fn project(rows: ArrayView2<'_, f32>, center: &[f64], directions: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::zeros((rows.nrows(), directions.nrows()));
    for (row, mut out) in rows.rows().into_iter().zip(out.rows_mut()) {
        for (direction, out) in directions.rows().into_iter().zip(&mut out) {
            let terms = row.iter().zip(center).zip(direction);
            *out = terms
                .map(|((&value, center), along)| (f64::from(value) - center) * along)
                .sum();
        }
    }
    out
}

/// The 1st and the 99th percentile.
fn ends(values: ArrayView1<'_, f64>) -> [f64; 2] {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = sorted.len().saturating_sub(1) as f64;
        sorted
            .get((share * last).round() as usize)
            .copied()
            .unwrap_or(0.0)
    };
    [at(0.01), at(0.99)]
}

/// The mean brightness of each patch, `[B * N, 1]`.
pub(crate) fn brightness(crops: &[&RgbCrop], grid: [usize; 2]) -> Array2<f64> {
    let of_all = crops.iter().flat_map(|crop| crop.brightness(grid));
    let of_all: Vec<f64> = of_all.collect();
    let rows = of_all.len();
    Array2::from_shape_vec((rows, 1), of_all).expect("one number a patch")
}

/// Fits the tensors of a forward pass as they come, layer by layer.
pub(crate) struct AxesFitter {
    brightness: Array2<f64>,
    /// The projections of the last layer seen, by kind.
    before: BTreeMap<TapKind, Array2<f64>>,
    pub(crate) axes: BTreeMap<TappedTensor, Axes>,
}

impl AxesFitter {
    pub(crate) fn new(crops: &[&RgbCrop], grid: [usize; 2]) -> Self {
        Self {
            brightness: brightness(crops, grid),
            before: BTreeMap::new(),
            axes: BTreeMap::new(),
        }
    }

    pub(crate) fn add(
        &mut self,
        tensor: TappedTensor,
        rows: ArrayView3<'_, f32>,
    ) -> Result<(), ProbeError> {
        let (_, kind) = tensor;
        // The final norm's signs follow the token that it is the norm of.
        let chain = if kind == TapKind::FinalNorm {
            TapKind::Token
        } else {
            kind
        };
        // A layer whose vectors span fewer directions leaves components without one to follow.
        let before = self
            .before
            .get(&chain)
            .filter(|before| before.ncols() == CHANNELS);
        let guide = before.unwrap_or(&self.brightness);
        let (axes, projections) = Axes::fit(rows, guide.view())?;
        self.axes.insert(tensor, axes);
        self.before.insert(chain, projections);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patches on a circle arc whose angle is the first entry's, in `D` 3.
    fn arc(flip: f32) -> Array3<f32> {
        Array3::from_shape_fn((2, 50, 3), |(b, n, d)| {
            let angle = (b * 50 + n) as f32 / 100.0;
            let small = 0.02 * ((7 * n + 3 * b) % 11) as f32;
            [5.0 * angle.cos(), flip * 5.0 * angle.sin(), 5.0 * small][d]
        })
    }

    #[test]
    fn a_component_rises_with_its_guide_whatever_the_sign_of_the_vectors() {
        let rising = Array2::from_shape_fn((100, 1), |(at, _)| at as f64);
        for flip in [1.0, -1.0] {
            let rows = arc(flip);
            let (axes, projections) = Axes::fit(rows.view(), rising.view()).unwrap();
            assert!(covariance(projections.column(0), rising.column(0)) > 0.0);
            let first = axes.paint(rows.index_axis(ndarray::Axis(0), 0));
            let last = axes.paint(rows.index_axis(ndarray::Axis(0), 1));
            assert_eq!((first[0][0], last[49][0]), (0, 255));
            assert!(axes.shares[0] > 0.8 && axes.shares.iter().sum::<f64>() < 1.0 + 1e-9);
        }
    }

    #[test]
    fn length_is_not_seen_and_nothing_is_the_middle() {
        let rising = Array2::from_shape_fn((100, 1), |(at, _)| at as f64);
        let rows = arc(1.0);
        let long = rows.mapv(|value| 3.0 * value);
        let (axes, _) = Axes::fit(rows.view(), rising.view()).unwrap();
        let image = |rows: &Array3<f32>| axes.paint(rows.index_axis(ndarray::Axis(0), 1));
        assert_eq!(image(&rows), image(&long));
        let same = Array3::ones((1, 4, 3));
        let (flat, _) = Axes::fit(same.view(), rising.slice(ndarray::s![..4, ..])).unwrap();
        assert_eq!(
            flat.paint(same.index_axis(ndarray::Axis(0), 0)),
            [[128; 3]; 4]
        );
    }

    #[test]
    fn brightness_is_that_of_each_patch() {
        let mut crop = RgbCrop {
            size: 4,
            pixels: vec![0; 48],
        };
        for row in 0..2 {
            crop.pixels[3 * (row * 4 + 2)..3 * (row * 4 + 4)].fill(200);
        }
        let found = brightness(&[&crop], [2, 2]);
        let found: Vec<f64> = found.iter().map(|value| value.round()).collect();
        assert_eq!(found, [0.0, 200.0, 0.0, 0.0]);
    }
}
