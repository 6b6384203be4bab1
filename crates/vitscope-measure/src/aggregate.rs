//! The aggregate picture of a set of label maps (docs/protocol.md section 7, Eq. 2).
//!
//! With `W[k,i,j]` = how often class `k` is predicted at pixel `(i, j)`,
//!
//! ```text
//! A[i,j] = sum_k (W[k,i,j] / sum_k' W[k',i,j]) * color_k
//! ```
//!
//! each channel rounded to the nearest of 0..=255 (halves upward).

use ndarray::ArrayView3;

use crate::MeasureError;
use crate::error::check;

/// The color of a pixel that was never labeled: a mid gray.
pub const UNLABELED: [u8; 3] = [128, 128, 128];

/// The mean color at each pixel, as RGB bytes `[H, W, 3]`; [`UNLABELED`] where nothing was counted.
///
/// Generic over the weights: counts, or mean probabilities.
///
/// # Shapes
///
/// `weights`: `[K, H, W]`; `colors`: length `K`, in cluster order (a matched cluster has its class's color).
///
/// # Errors
///
/// [`MeasureError::Shape`] if there is not one color per cluster.
///
/// ```
/// use ndarray::array;
/// let weights = array![[[3_u32, 0]], [[1, 0]]];
/// let picture = vitscope_measure::aggregate(weights.view(), &[[200, 0, 0], [0, 100, 0]])?;
/// assert_eq!(picture, [150, 25, 0, 128, 128, 128]);
/// # Ok::<(), vitscope_measure::MeasureError>(())
/// ```
pub fn aggregate<T: Copy + Into<f64>>(
    weights: ArrayView3<'_, T>,
    colors: &[[u8; 3]],
) -> Result<Vec<u8>, MeasureError> {
    let (clusters, height, width) = weights.dim();
    check("number of colors", clusters, colors.len())?;
    let mut sums = vec![[0.0_f64; 4]; height * width];
    for (plane, color) in weights.outer_iter().zip(colors) {
        for (sum, &weight) in sums.iter_mut().zip(plane.iter()) {
            let weight: f64 = weight.into();
            for (total, &channel) in sum.iter_mut().zip(color) {
                *total += weight * f64::from(channel);
            }
            sum[3] += weight;
        }
    }
    let pixel = |sum: [f64; 4]| {
        if sum[3] > 0.0 {
            [sum[0], sum[1], sum[2]]
                .map(|total| (total / sum[3] + 0.5).floor().clamp(0.0, 255.0) as u8)
        } else {
            UNLABELED
        }
    };
    Ok(sums.into_iter().flat_map(pixel).collect())
}
