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
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut total = 0.0;
            for (part, &score) in parts.iter_mut().zip(scores) {
                *part = (sharpness * (f64::from(score) - f64::from(most))).exp();
                total += *part;
            }
            for (out, part) in out.iter_mut().zip(&parts) {
                // Not negative: half upward is to the nearest.
                *out = (part / total * ONE + 0.5) as u64;
            }
        }
        out
    }
}
