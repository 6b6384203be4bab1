//! How probable each cluster is at each patch, summed over images (docs/protocol.md section 7).
//!
//! ```text
//! p[n,k] = exp(alpha cos[n,k]) / sum_k' exp(alpha cos[n,k'])        cos[n,k] = f[n] . c^_k / |f[n]|
//! ```
//!
//! Each probability enters as a whole number of `2^-40`, so that sums do not depend on the order of images, and
//! sums of two parts of a set add up to those of the whole.

use ndarray::Array2;

use crate::error::check;
use crate::{ProbeError, rows};

/// What a probability of 1 is counted as.
const ONE: f64 = (1_u64 << 40) as f64;

/// Probabilities of clusters at patches, summed over images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftSums {
    alpha: u32,
    clusters: usize,
    /// Whole numbers of `2^-40`, `[N, K]`.
    sums: Vec<u64>,
}

impl SoftSums {
    /// No image yet. The larger `alpha`, the more of the probability the nearest cluster takes.
    #[must_use]
    pub fn new(alpha: u32, patches: usize, clusters: usize) -> Self {
        Self {
            alpha,
            clusters,
            sums: vec![0; patches * clusters],
        }
    }

    /// How much of the probability the nearest cluster takes.
    #[must_use]
    pub fn alpha(&self) -> u32 {
        self.alpha
    }

    /// The sums, whole numbers of `2^-40`, `[N, K]`. Fewer than `2^23` images fit in an `i64`.
    #[must_use]
    pub fn sums(&self) -> &[u64] {
        &self.sums
    }

    /// Adds sums of other images.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] if they are of other sizes.
    pub fn add(&mut self, sums: &[u64]) -> Result<(), ProbeError> {
        check("number of sums", self.sums.len(), sums.len())?;
        for (total, sum) in self.sums.iter_mut().zip(sums) {
            *total = total.wrapping_add(*sum);
        }
        Ok(())
    }

    /// The mean probabilities over so many images, `[K, N]`; zeros of none.
    #[must_use]
    pub fn means(&self, images: u64) -> Array2<f64> {
        let patches = self.sums.len() / self.clusters.max(1);
        let one = ONE * images.max(1) as f64;
        Array2::from_shape_fn((self.clusters, patches), |(cluster, patch)| {
            self.sums[patch * self.clusters + cluster] as f64 / one
        })
    }

    /// The whole numbers of one image: its patch vectors `[N, D]` of this width, and their scores `[N, K]`
    /// with the centroids. A vector without length is as near to every cluster.
    pub(super) fn of_image(&self, vectors: &[f32], width: usize, scores: &[f32]) -> Vec<u64> {
        let mut out = vec![0; self.sums.len()];
        let mut parts = vec![0.0; self.clusters];
        rows::vectorized(
            #[inline(always)]
            || {
                let patches = vectors
                    .chunks_exact(width)
                    .zip(scores.chunks_exact(self.clusters))
                    .zip(out.chunks_exact_mut(self.clusters));
                for ((vector, scores), out) in patches {
                    let length = rows::square_norm(vector).sqrt();
                    let sharpness = if length > 0.0 {
                        f64::from(self.alpha) / length
                    } else {
                        0.0
                    };
                    softmax(scores, sharpness, &mut parts, out);
                }
            },
        );
        out
    }
}

/// The softmax of `sharpness * scores` in whole numbers of `2^-40`. `parts` is room for as many.
#[inline(always)]
fn softmax(scores: &[f32], sharpness: f64, parts: &mut [f64], out: &mut [u64]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for (part, &score) in parts.iter_mut().zip(scores) {
        *part = power(sharpness * (f64::from(score) - f64::from(most)));
    }
    let total: f64 = parts.iter().sum();
    let factor = ONE / total;
    for (out, part) in out.iter_mut().zip(&*parts) {
        // To the nearest whole number, which then stands in the lowest bits.
        *out = (part * factor + WHOLE).to_bits() - WHOLE.to_bits();
    }
}

/// From here on, an f64 holds whole numbers only.
const WHOLE: f64 = (1_u64 << 52) as f64;

/// `e^x` of an `x <= 0`, off by less than one part in `10^12`; what is below `2^-60` is `2^-60`. Made of
/// products and sums alone, so that compilers vectorize it and every machine gives the same bits.
#[inline(always)]
fn power(x: f64) -> f64 {
    const SHIFT: f64 = 1.5 * WHOLE;
    // x = (whole + rest) ln 2, |rest| <= 1/2
    let twos = (x * std::f64::consts::LOG2_E).max(-60.0);
    let shifted = twos + SHIFT;
    let rest = (twos - (shifted - SHIFT)) * std::f64::consts::LN_2;
    // The series of e^rest; the first term left out is below 0.35^11 / 11!.
    let mut sum = 1.0;
    for term in [10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 + sum * rest * (1.0 / term);
    }
    let whole = shifted.to_bits().wrapping_sub(SHIFT.to_bits());
    sum * f64::from_bits(whole.wrapping_add(1023) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_the_library() {
        for step in 0..40_000 {
            let x = -f64::from(step) / 1000.0;
            let (ours, theirs) = (power(x), x.exp());
            assert!((ours / theirs - 1.0).abs() < 1e-12, "{x}: {ours} {theirs}");
        }
        assert_eq!(power(0.0), 1.0);
        assert!(power(-1e300) <= 2_f64.powi(-60));
    }

    #[test]
    fn probabilities_add_up_to_one() {
        let (mut parts, mut out) = ([0.0; 3], [0; 3]);
        softmax(&[0.5, 0.5, 0.5], 10.0, &mut parts, &mut out);
        assert_eq!(out, [((1_u64 << 40) + 1) / 3; 3]);
        softmax(&[1.0, -1.0, -1.0], 1000.0, &mut parts, &mut out);
        assert_eq!(out, [1 << 40, 0, 0]);
    }
}
