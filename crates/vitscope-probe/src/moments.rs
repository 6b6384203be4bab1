//! Streaming first and second moments of patch vectors, and their principal directions (docs/protocol.md section 3).
//!
//! # What
//!
//! Principal component analysis of a few hundred thousand vectors needs only their number `n`, their
//! sum and the sum of their outer products:
//!
//! ```text
//! mean = (1/n) sum x_i        Cov = (1/n) sum x_i x_i^T - mean mean^T
//! ```
//!
//! and the principal directions are the eigenvectors of `Cov`, by falling eigenvalue. No random
//! projection and no iteration is involved: the result is the exact PCA of all rows that were added.
//!
//! # Precision
//!
//! `Cov` as written subtracts two large numbers when the mean is far from zero, as it is for the tokens
//! of many models. So a *provisional mean* (the mean of the first image seen) is taken off every vector
//! first; this changes nothing in exact arithmetic. The products of one call are made in f32, and added
//! up over the calls in f64.
//!
//! What f32 leaves undecided is told apart from a direction: rounding adds to the entry `(i, j)` of the
//! sums about `eps s_i s_j`, with `s_i^2` the second moment of dimension `i`, and so to the variance along
//! a unit vector `u` up to about `2 sqrt(D) eps sum u_i^2 s_i^2`. Eigenvectors with no more variance than
//! that are noise.
//!
//! # Cost
//!
//! Only the lower triangle is computed: about `D (D + 1) / 2` multiply-adds per vector. It is cut into
//! square tiles of a fixed size, which is also what is shared among threads, so the number of threads
//! has no influence on the result. How images are grouped into calls does have one (the f32 sums end
//! at a call's border): **a caller who wants repeatable bytes uses one fixed micro-batch.**

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::{ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;

use crate::ProbeError;
use crate::error::check;
use crate::rows;

/// Side of a tile of the Gram matrix. Part of the definition of the result's last bits.
const TILE: usize = 256;

/// Number, sum and outer products of all patch vectors seen so far.
///
/// Memory: about `4 D (D + 256)` bytes.
#[derive(Debug, Clone)]
pub struct Moments {
    dim: usize,
    count: u64,
    /// The provisional mean, set by the first image that counts.
    shift: Option<Vec<f32>>,
    /// Sum of the shifted vectors.
    sum: Vec<f64>,
    /// Sum of the vectors scaled to unit length; absent where it was not summed.
    unit_sum: Option<Vec<f64>>,
    /// Sums of products of the shifted vectors: the tiles of the lower triangle, row by row.
    tiles: Vec<Tile>,
}

/// What [`Moments`] needs to go on where it stopped: plain numbers, so that any file format will do.
#[derive(Debug, Clone, PartialEq)]
pub struct MomentsState {
    /// Width of the vectors.
    pub dim: usize,
    /// Vectors added so far.
    pub count: u64,
    /// Provisional mean, sum, the tiles of the products, and the sum of unit vectors where there is one, one
    /// after the other.
    pub values: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Tile {
    row: usize,
    col: usize,
    rows: usize,
    cols: usize,
    /// Row-major `[rows, cols]`; above the diagonal of a diagonal tile there are zeros.
    products: Vec<f64>,
}

impl Moments {
    /// Moments of no vectors yet.
    ///
    /// # Panics
    ///
    /// If `dim` is zero.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        assert!(dim > 0, "the width of the patch vectors must not be zero");
        let mut tiles = Vec::new();
        for row in (0..dim).step_by(TILE) {
            for col in (0..=row).step_by(TILE) {
                let (rows, cols) = (TILE.min(dim - row), TILE.min(dim - col));
                tiles.push(Tile {
                    row,
                    col,
                    rows,
                    cols,
                    products: vec![0.0; rows * cols],
                });
            }
        }
        Self {
            dim,
            count: 0,
            shift: None,
            sum: vec![0.0; dim],
            unit_sum: Some(vec![0.0; dim]),
            tiles,
        }
    }

    /// Width of the vectors.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Vectors added so far, each as often as it counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds the patch vectors of some images; `weights[b]` is how often image `b` counts (0 leaves it
    /// out), so that an image which several of the protocol's batches contain is run once.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]`, innermost stride 1; `weights`: `[B]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], [`ProbeError::NonFinite`]; the moments are then unchanged.
    pub fn add(&mut self, rows: ArrayView3<'_, f32>, weights: &[u32]) -> Result<(), ProbeError> {
        let (images, patches, dim) = rows.dim();
        check("width of the patch vectors", self.dim, dim)?;
        check("number of image weights", images, weights.len())?;
        // Images of one weight stand together, so that a weight scales a product, not its factors.
        let mut counting: Vec<usize> = (0..images).filter(|&image| weights[image] > 0).collect();
        let Some(&first) = counting.first() else {
            return Ok(());
        };
        counting.sort_by_key(|&image| weights[image]);
        if patches == 0 {
            return Ok(());
        }
        let shift = match &self.shift {
            Some(shift) => shift.clone(),
            None => image_mean(rows.index_axis(Axis(0), first))
                .ok_or(ProbeError::NonFinite { image: first })?,
        };

        // The shifted vectors of all images that count, side by side, and each image's sum of them.
        let mut packed = vec![0.0_f32; counting.len() * patches * dim];
        let sums: Vec<Sums> = packed
            .par_chunks_mut(patches * dim)
            .zip(&counting)
            .map(|(out, &image)| pack(rows.index_axis(Axis(0), image), &shift, out))
            .collect();
        for (sums, &image) in sums.iter().zip(&counting) {
            if !sums.shifted.iter().all(|total| total.is_finite()) {
                return Err(ProbeError::NonFinite { image });
            }
        }
        for (sums, &image) in sums.iter().zip(&counting) {
            let weight = f64::from(weights[image]);
            for (total, &part) in self.sum.iter_mut().zip(&sums.shifted) {
                *total += weight * part;
            }
            for (total, &part) in self.unit_sum.iter_mut().flatten().zip(&sums.unit) {
                *total += weight * part;
            }
            self.count += u64::from(weights[image]) * patches as u64;
        }
        self.shift = Some(shift);

        let mut start = 0;
        for group in counting.chunk_by(|&a, &b| weights[a] == weights[b]) {
            let end = start + group.len() * patches * dim;
            let group_rows =
                MatRef::from_row_major_slice(&packed[start..end], group.len() * patches, dim);
            let weight = f64::from(weights[group[0]]);
            self.tiles
                .par_iter_mut()
                .for_each(|tile| tile.add(group_rows, weight));
            start = end;
        }
        Ok(())
    }

    /// Everything that was added, as plain numbers.
    #[must_use]
    pub fn to_state(&self) -> MomentsState {
        let mut values = Vec::new();
        match &self.shift {
            Some(shift) => values.extend(shift.iter().map(|&value| f64::from(value))),
            None => values.resize(self.dim, 0.0),
        }
        values.extend_from_slice(&self.sum);
        for tile in &self.tiles {
            values.extend_from_slice(&tile.products);
        }
        values.extend(self.unit_sum.iter().flatten());
        MomentsState {
            dim: self.dim,
            count: self.count,
            values,
        }
    }

    /// The inverse of [`to_state`](Self::to_state).
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] if the state's length does not fit its width.
    pub fn from_state(state: &MomentsState) -> Result<Self, ProbeError> {
        if state.dim == 0 {
            return Err(ProbeError::Shape {
                what: "width of stored moments",
                expected: 1,
                got: 0,
            });
        }
        let mut moments = Self::new(state.dim);
        let expected = 2 * state.dim
            + moments
                .tiles
                .iter()
                .map(|tile| tile.products.len())
                .sum::<usize>();
        let has_units = state.values.len() != expected;
        let units = if has_units { state.dim } else { 0 };
        check(
            "length of stored moments",
            expected + units,
            state.values.len(),
        )?;
        let (shift, rest) = state.values.split_at(state.dim);
        let (sum, mut rest) = rest.split_at(state.dim);
        moments.count = state.count;
        moments.shift =
            (state.count > 0).then(|| shift.iter().map(|&value| value as f32).collect());
        moments.sum.copy_from_slice(sum);
        for tile in &mut moments.tiles {
            let (products, after) = rest.split_at(tile.products.len());
            tile.products.copy_from_slice(products);
            rest = after;
        }
        moments.unit_sum = has_units.then(|| rest.to_vec());
        Ok(moments)
    }

    /// Moments that were summed elsewhere: number, the vector that is taken off, the sum of what is left, the sum of the
    /// unit vectors, and the entries of the sum of products of what is left, row and column with column <= row.
    pub(crate) fn from_products(
        count: u64,
        shift: Vec<f32>,
        sum: Vec<f64>,
        unit_sum: Option<Vec<f64>>,
        dim: usize,
        at: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let mut moments = Self::new(dim);
        moments.count = count;
        moments.shift = (count > 0).then_some(shift);
        moments.sum = sum;
        moments.unit_sum = unit_sum;
        for tile in &mut moments.tiles {
            for i in 0..tile.rows {
                for j in 0..tile.cols.min(tile.row + i + 1 - tile.col) {
                    tile.products[i * tile.cols + j] = at(tile.row + i, tile.col + j);
                }
            }
        }
        moments
    }

    /// Moments that were summed elsewhere: number, provisional mean, the sums `[2, D]` of the shifted and of
    /// the unit vectors, and the products `[D, D]`, of which the lower triangle counts.
    #[cfg(feature = "cuda")]
    pub(crate) fn from_sums(count: u64, shift: Vec<f32>, sums: &[f64], products: &[f64]) -> Self {
        let dim = shift.len();
        let (sum, units) = sums.split_at(dim);
        let at = |row: usize, column: usize| products[row * dim + column];
        Self::from_products(count, shift, sum.to_vec(), Some(units.to_vec()), dim, at)
    }

    /// The mean square of each dimension about the provisional mean.
    pub(crate) fn second_moments(&self) -> Vec<f64> {
        let scale = 1.0 / self.count as f64;
        let diagonal = self.tiles.iter().filter(|tile| tile.row == tile.col);
        diagonal
            .flat_map(|tile| (0..tile.rows).map(|i| tile.products[i * tile.cols + i] * scale))
            .collect()
    }

    /// The mean square of each dimension; `None` without vectors.
    pub(crate) fn energy(&self) -> Option<Vec<f64>> {
        let shift = self.shift.as_ref().filter(|_| self.count > 0)?;
        let scale = 1.0 / self.count as f64;
        let about_shift = self.second_moments();
        let energy = about_shift.iter().zip(shift).zip(&self.sum);
        let energy = energy.map(|((&square, &shift), &sum)| {
            let shift = f64::from(shift);
            // E[(y + s)^2] of the shifted vectors y; rounding may leave a crumb below zero.
            (square + shift * (2.0 * sum * scale + shift)).max(0.0)
        });
        Some(energy.collect())
    }

    /// The mean cosine of the vectors to their mean.
    pub(crate) fn common_direction(&self) -> Option<f64> {
        let (shift, units) = (self.shift.as_ref()?, self.unit_sum.as_ref()?);
        let scale = 1.0 / self.count as f64;
        let mean = shift.iter().zip(&self.sum);
        let mean: Vec<f64> = mean
            .map(|(&shift, sum)| f64::from(shift) + sum * scale)
            .collect();
        let norm = mean.iter().map(|value| value * value).sum::<f64>().sqrt();
        let along: f64 = mean.iter().zip(units).map(|(mean, unit)| mean * unit).sum();
        (norm > 0.0).then(|| (along * scale / norm).clamp(-1.0, 1.0))
    }

    /// The lower triangle of the covariance.
    pub(crate) fn covariance(&self) -> Mat<f64> {
        let scale = 1.0 / self.count as f64;
        let mean: Vec<f64> = self.sum.iter().map(|total| total * scale).collect();
        let mut covariance = Mat::zeros(self.dim, self.dim);
        for tile in &self.tiles {
            for i in 0..tile.rows {
                for j in 0..tile.cols {
                    let (row, col) = (tile.row + i, tile.col + j);
                    covariance[(row, col)] =
                        tile.products[i * tile.cols + j] * scale - mean[row] * mean[col];
                }
            }
        }
        covariance
    }
}

impl Tile {
    /// Adds `weight * all[:, rows]^T all[:, cols]`.
    fn add(&mut self, all: MatRef<'_, f32>, weight: f64) {
        let mut product = vec![0.0_f32; self.rows * self.cols];
        let dst = MatMut::from_row_major_slice_mut(product.as_mut_slice(), self.rows, self.cols);
        let left = all.subcols(self.row, self.rows).transpose();
        let right = all.subcols(self.col, self.cols);
        if self.row == self.col {
            triangular::matmul(
                dst,
                BlockStructure::TriangularLower,
                Accum::Replace,
                left,
                BlockStructure::Rectangular,
                right,
                BlockStructure::Rectangular,
                1.0,
                Par::Seq,
            );
        } else {
            matmul(dst, Accum::Replace, left, right, 1.0, Par::Seq);
        }
        rows::vectorized(
            #[inline(always)]
            || {
                for (total, &value) in self.products.iter_mut().zip(&product) {
                    *total += weight * f64::from(value);
                }
            },
        );
    }
}

/// The mean of one image's vectors, or nothing if it is not finite.
fn image_mean(image: ArrayView2<'_, f32>) -> Option<Vec<f32>> {
    let mut sum = vec![0.0_f64; image.ncols()];
    for row in image.rows() {
        for (total, &value) in sum.iter_mut().zip(row.iter()) {
            *total += f64::from(value);
        }
    }
    let scale = 1.0 / image.nrows() as f64;
    let mean: Vec<f32> = sum.iter().map(|total| (total * scale) as f32).collect();
    mean.iter().all(|value| value.is_finite()).then_some(mean)
}

/// Sums over the vectors of one image.
struct Sums {
    /// Of the shifted vectors.
    shifted: Vec<f64>,
    /// Of the vectors scaled to unit length.
    unit: Vec<f64>,
}

/// Writes the shifted vectors of one image to `out` and returns the sums.
fn pack(image: ArrayView2<'_, f32>, shift: &[f32], out: &mut [f32]) -> Sums {
    let mut shifted = vec![0.0_f64; shift.len()];
    let mut unit = vec![0.0_f64; shift.len()];
    rows::vectorized(
        #[inline(always)]
        || {
            for (row, out) in image
                .rows()
                .into_iter()
                .zip(out.chunks_exact_mut(shift.len()))
            {
                rows::copy(row, out);
                let norm = rows::square_norm(out).sqrt();
                let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
                for (total, &value) in unit.iter_mut().zip(&*out) {
                    *total += f64::from(value) * scale;
                }
                for (value, &mean) in out.iter_mut().zip(shift) {
                    *value -= mean;
                }
                rows::add_to(&mut shifted, out);
            }
        },
    );
    Sums { shifted, unit }
}
