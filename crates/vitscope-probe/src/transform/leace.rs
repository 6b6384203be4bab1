//! Least-squares concept erasure in closed form (Belrose et al. 2023, arXiv 2306.03819, Theorem 4.3).
//!
//! ```text
//! r(x) = x - W^-1 P W (x - mean),   W = S_xx^(-1/2),   P = the projector on the columns of W S_xz
//! ```
//!
//! changes `x` least, in the mean square, among all affine maps after which `x` and `z` are uncorrelated, so that no
//! linear reader of `z` is better than a constant.
//!
//! Directions in which `x` hardly varies are whitened as if they had a smallest variance, `floor`. That makes `W`
//! invertible whatever `S_xx` is, and the guarantee holds for *any* invertible `W`, since the covariance with `z`
//! that is left is `S_xz - W^-1 P W S_xz = S_xz - W^-1 W S_xz = 0`; only "least" is then meant up to the floor.

use ndarray::{Array2, ArrayView2};

use super::linear::{eigen, left_singular};
use crate::ProbeError;

/// Correlations with `z` below this are rounding; squared, what is left of them is 1e-14.
const NOTHING: f64 = 1e-7;

/// The map `x - left right (x - mean)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Leace {
    /// `[D, r]`.
    pub left: Array2<f64>,
    /// `[r, D]`.
    pub right: Array2<f64>,
}

/// LEACE from covariances; columns of `z` have variance 1.
///
/// # Shapes
///
/// `xx`: `[D, D]`; `xz`: `[D, Z]`.
///
/// # Errors
///
/// [`ProbeError::Eigen`] if the covariances are not finite.
pub fn leace(
    xx: ArrayView2<'_, f64>,
    xz: ArrayView2<'_, f64>,
    floor: f64,
) -> Result<Leace, ProbeError> {
    let (values, vectors) = eigen(xx)?;
    let least = floor.max(f64::MIN_POSITIVE);
    let root: Vec<f64> = values
        .iter()
        .map(|&value| value.max(least).sqrt())
        .collect();
    // V' S_xz with its rows over the roots is W S_xz in the basis V.
    let mut whitened = vectors.t().dot(&xz);
    for (mut row, root) in whitened.rows_mut().into_iter().zip(&root) {
        row /= *root;
    }
    let (basis, strengths) = left_singular(whitened.view())?;
    let rank = strengths.iter().filter(|&&value| value > NOTHING).count();
    let basis = basis.slice_move(ndarray::s![.., ..rank]);
    let mut left = basis.clone();
    for (mut row, root) in left.rows_mut().into_iter().zip(&root) {
        row *= *root;
    }
    let mut right = basis;
    for (mut row, root) in right.rows_mut().into_iter().zip(&root) {
        row /= *root;
    }
    Ok(Leace {
        left: vectors.dot(&left),
        right: vectors
            .dot(&right)
            .reversed_axes()
            .as_standard_layout()
            .into_owned(),
    })
}
