//! The few decompositions that transforms need, in f64, with signs that do not depend on the machine.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use ndarray::{Array2, ArrayView2};

use crate::ProbeError;

/// The same matrix for the decompositions.
pub(super) fn to_faer(matrix: ArrayView2<'_, f64>) -> Mat<f64> {
    Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)])
}

/// Eigenvalues of a symmetric matrix in falling order, and their vectors as columns.
pub(crate) fn eigen(matrix: ArrayView2<'_, f64>) -> Result<(Vec<f64>, Array2<f64>), ProbeError> {
    if !matrix.iter().all(|value| value.is_finite()) {
        return Err(ProbeError::Eigen);
    }
    let side = matrix.nrows();
    let eigen = to_faer(matrix)
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| ProbeError::Eigen)?;
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let mut order: Vec<usize> = (0..side).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut sorted = Array2::from_shape_fn((side, side), |(i, j)| vectors[(i, order[j])]);
    fix_signs(&mut sorted);
    Ok((order.iter().map(|&index| values[index]).collect(), sorted))
}

/// Left singular vectors as columns, by falling singular value.
pub(super) fn left_singular(
    matrix: ArrayView2<'_, f64>,
) -> Result<(Array2<f64>, Vec<f64>), ProbeError> {
    if !matrix.iter().all(|value| value.is_finite()) {
        return Err(ProbeError::Eigen);
    }
    let svd = to_faer(matrix).thin_svd().map_err(|_| ProbeError::Eigen)?;
    let (left, values) = (svd.U(), svd.S().column_vector());
    let mut left = Array2::from_shape_fn((left.nrows(), left.ncols()), |(i, j)| left[(i, j)]);
    fix_signs(&mut left);
    Ok((left, (0..values.nrows()).map(|i| values[i]).collect()))
}

/// `matrix^-1 right` of a positive definite matrix.
pub(crate) fn solve(
    matrix: ArrayView2<'_, f64>,
    right: ArrayView2<'_, f64>,
) -> Result<Array2<f64>, ProbeError> {
    let decomposed = to_faer(matrix)
        .llt(Side::Lower)
        .map_err(|_| ProbeError::Eigen)?;
    let solution = decomposed.solve(to_faer(right));
    Ok(Array2::from_shape_fn(right.dim(), |(i, j)| {
        solution[(i, j)]
    }))
}

/// Makes the columns orthonormal to one another and to those of `known`, one after the other; a column that lies
/// in the span of those before it is left out. Twice, as once leaves what rounding makes of near-parallel columns.
pub(super) fn orthonormal(columns: ArrayView2<'_, f64>, known: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = known.to_vec();
    for column in columns.columns() {
        let mut column = column.to_vec();
        let before = dot(&column, &column).sqrt();
        for _ in 0..2 {
            for other in &all {
                let along = dot(&column, other);
                for (value, other) in column.iter_mut().zip(other) {
                    *value -= along * other;
                }
            }
        }
        let length = dot(&column, &column).sqrt();
        if length > 1e-12 * before {
            column.iter_mut().for_each(|value| *value /= length);
            all.push(column);
        }
    }
    all.split_off(known.len())
}

/// Inner product.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A column's entry of largest magnitude (the first of them on ties) is positive.
fn fix_signs(columns: &mut Array2<f64>) {
    for mut column in columns.columns_mut() {
        let mut peak = 0.0_f64;
        for &entry in &column {
            if entry.abs() > peak.abs() {
                peak = entry;
            }
        }
        if peak < 0.0 {
            column.mapv_inplace(|entry| -entry);
        }
    }
}
