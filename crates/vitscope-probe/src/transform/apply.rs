//! A fitted transform, and the rows that it edits.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3};
use rayon::prelude::*;

use super::Transform;
use super::places::unit_rows;
use crate::ProbeError;
use crate::error::check;
use crate::rows;

/// The arrays of a fitted transform as they are applied and stored; those that it does not need are absent.
/// Projections are f64: what a basis of f32 leaves of position is enough for a reader to find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransformParts {
    /// `[D]`, subtracted (`center`, `standardize`), or what `leace` leaves where it is.
    pub mean: Option<Array1<f64>>,
    /// `[D]`, what channels are multiplied by (`standardize`).
    pub scale: Option<Array1<f64>>,
    /// `[N, D]`, what is subtracted at each place (`mean`).
    pub map: Option<Array2<f32>>,
    /// `[D, r]`, the directions that are taken out.
    pub basis: Option<Array2<f64>>,
    /// `[r, D]`, how much of each there is (`leace`); elsewhere the basis itself tells.
    pub dual: Option<Array2<f64>>,
}

/// A transform that can be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedTransform {
    transform: Transform,
    parts: TransformParts,
    /// Width of the vectors.
    width: usize,
}

impl FittedTransform {
    /// A transform of vectors of a width at so many places, with its arrays.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] where an array is missing, too many, or of another size.
    pub fn new(
        transform: Transform,
        parts: TransformParts,
        places: usize,
        width: usize,
    ) -> Result<Self, ProbeError> {
        let (mean, scale, map, basis, dual) = match transform {
            Transform::None => (false, false, false, false, false),
            Transform::Center => (true, false, false, false, false),
            Transform::Standardize => (true, true, false, false, false),
            Transform::Mean => (false, false, true, false, false),
            Transform::Leace(_) => (true, false, false, true, true),
            _ => (false, false, false, true, false),
        };
        let needs =
            |what, needed: bool, there: bool| check(what, usize::from(needed), usize::from(there));
        needs("means of a transform", mean, parts.mean.is_some())?;
        needs("scales of a transform", scale, parts.scale.is_some())?;
        needs("maps of a transform", map, parts.map.is_some())?;
        needs("bases of a transform", basis, parts.basis.is_some())?;
        needs("dual bases of a transform", dual, parts.dual.is_some())?;
        for vector in [&parts.mean, &parts.scale].into_iter().flatten() {
            check("width of a transform", width, vector.len())?;
        }
        if let Some(map) = &parts.map {
            check("places of a transform", places, map.nrows())?;
            check("width of a transform", width, map.ncols())?;
        }
        if let Some(basis) = &parts.basis {
            check("width of a transform", width, basis.nrows())?;
        }
        if let (Some(basis), Some(dual)) = (&parts.basis, &parts.dual) {
            check("width of a transform", width, dual.ncols())?;
            check("directions of a transform", basis.ncols(), dual.nrows())?;
        }
        Ok(Self {
            transform,
            parts,
            width,
        })
    }

    /// Which one it is.
    #[must_use]
    pub fn transform(&self) -> Transform {
        self.transform
    }

    /// Its arrays.
    #[must_use]
    pub fn parts(&self) -> &TransformParts {
        &self.parts
    }

    /// The rows as a probe is to see them.
    ///
    /// # Shapes
    ///
    /// `rows` and the result: `[B, N, D]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], [`ProbeError::NonFinite`].
    pub fn apply(&self, rows: ArrayView3<'_, f32>) -> Result<Array3<f32>, ProbeError> {
        let (_, places, width) = rows.dim();
        check("width of the patch vectors", self.width, width)?;
        if let Some(map) = &self.parts.map {
            check("places of an image", map.nrows(), places)?;
        }
        if self.transform == Transform::None {
            return Ok(rows.to_owned());
        }
        let mut unit = unit_rows(rows)?;
        let flat = unit.as_slice_mut().expect("a new array is contiguous");
        flat.par_chunks_exact_mut((places * width).max(1))
            .for_each(|image| self.edit(image, places));
        Ok(unit)
    }

    /// Edits the unit vectors of one image, `[N, D]`.
    fn edit(&self, image: &mut [f32], places: usize) {
        let width = self.width;
        if let Some(map) = &self.parts.map {
            let map = map.as_slice().expect("a map is in standard layout");
            subtract(image, map);
            return;
        }
        if let Some(basis) = &self.parts.basis {
            self.project(image, places, basis.view());
            return;
        }
        let mean = self.parts.mean.as_ref().and_then(|mean| mean.as_slice());
        let scale = self.parts.scale.as_ref().and_then(|scale| scale.as_slice());
        for row in image.chunks_exact_mut(width) {
            for (channel, value) in row.iter_mut().enumerate() {
                let mean = mean.map_or(0.0, |mean| mean[channel]);
                let scale = scale.map_or(1.0, |scale| scale[channel]);
                *value = ((f64::from(*value) - mean) * scale) as f32;
            }
        }
    }

    /// `y - basis dual (y - mean)`.
    fn project(&self, image: &mut [f32], places: usize, basis: ArrayView2<'_, f64>) {
        let (width, rank) = basis.dim();
        if rank == 0 {
            return;
        }
        let basis = MatRef::from_row_major_slice(
            basis.to_slice().expect("a basis is in standard layout"),
            width,
            rank,
        );
        let dual = match &self.parts.dual {
            Some(dual) => MatRef::from_row_major_slice(
                dual.as_slice().expect("a dual basis is in standard layout"),
                rank,
                width,
            ),
            None => basis.transpose(),
        };
        let mut wide: Vec<f64> = image.iter().map(|&value| f64::from(value)).collect();
        let mut shares = Mat::<f64>::zeros(places, rank);
        let rows = MatRef::from_row_major_slice(&wide, places, width);
        let by_dual = dual.transpose();
        matmul(
            shares.as_mut(),
            Accum::Replace,
            rows,
            by_dual,
            1.0,
            Par::Seq,
        );
        if let Some(mean) = &self.parts.mean {
            for direction in 0..rank {
                let along = mean.iter().enumerate();
                let at_mean: f64 = along.map(|(d, mean)| dual[(direction, d)] * mean).sum();
                for place in 0..places {
                    shares[(place, direction)] -= at_mean;
                }
            }
        }
        let rows = MatMut::from_row_major_slice_mut(&mut wide, places, width);
        let by_basis = basis.transpose();
        matmul(rows, Accum::Add, shares.as_ref(), by_basis, -1.0, Par::Seq);
        for (value, wide) in image.iter_mut().zip(wide) {
            *value = wide as f32;
        }
    }
}

/// `values -= others`.
fn subtract(values: &mut [f32], others: &[f32]) {
    rows::vectorized(
        #[inline(always)]
        || {
            for (value, other) in values.iter_mut().zip(others) {
                *value -= other;
            }
        },
    );
}
