//! Whether clusters are used at all (docs/protocol.md section 14).
//!
//! From the pixels `n_k` of each cluster, with `p_k = n_k / sum n`:
//!
//! ```text
//! clusters used = exp(H) = exp(-sum_k p_k log p_k)      largest = max_k p_k
//! ```
//!
//! `exp(H)` lies in `[1, K]`: `m` clusters of equal size count as `m`. A cluster with less than one in 10,000
//! pixels is *dead*; two clusters whose centroids have a cosine above 0.99 are *twins*. A slot is *collapsed*
//! where fewer than `max(2, K/4)` clusters are used, or one has more than 95 % of the pixels: its numbers say
//! little about the model, and it is never chosen as best. (With two or three clusters the bound is `K/2`: hardly
//! any two clusters are so even that they count as two.)

use ndarray::ArrayView2;

/// A cluster with a smaller share of the pixels is dead.
pub const DEAD: f64 = 1e-4;

/// Two centroids of a larger cosine are twins.
pub const TWIN: f64 = 0.99;

/// A slot in which one cluster has a larger share of the pixels is collapsed.
const DOMINANT: f64 = 0.95;

/// How evenly pixels fall on clusters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Clusters `K`.
    pub clusters: usize,
    /// `exp(H)`, in `[1, K]`.
    pub used: f64,
    /// Share of the largest cluster, in `[1/K, 1]`.
    pub largest: f64,
    /// Clusters with less than [`DEAD`] of the pixels.
    pub dead: usize,
}

impl Usage {
    /// Whether the slot is collapsed.
    #[must_use]
    pub fn is_collapsed(&self) -> bool {
        let clusters = self.clusters as f64;
        let fewest = (clusters / 4.0).max(2.0).min(clusters / 2.0);
        self.used < fewest || self.largest > DOMINANT
    }

    /// Whether fewer than half of the clusters are used, which is worth a word beside every number of the slot.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.used < self.clusters as f64 / 2.0
    }
}

/// How evenly pixels fall on clusters; `None` where there are no pixels.
///
/// # Shapes
///
/// `pixels`: length `K`.
///
/// ```
/// let usage = vitscope_measure::usage(&[30, 31, 0, 0]).expect("there are pixels");
/// assert!(usage.used > 1.99 && usage.used < 2.0);
/// assert_eq!((usage.largest, usage.dead, usage.is_collapsed()), (31.0 / 61.0, 2, true));
/// ```
#[must_use]
pub fn usage(pixels: &[u64]) -> Option<Usage> {
    let total: u64 = pixels.iter().sum();
    let most = pixels.iter().copied().max().filter(|_| total > 0)?;
    let share = |count: u64| count as f64 / total as f64;
    let entropy: f64 = pixels
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| share(count) * (total as f64 / count as f64).ln())
        .sum();
    Some(Usage {
        clusters: pixels.len(),
        used: entropy.exp(),
        largest: share(most),
        dead: pixels.iter().filter(|&&count| share(count) < DEAD).count(),
    })
}

/// Pairs of centroids with a cosine above [`TWIN`], the lower index first. A centroid of length zero has no
/// twin.
///
/// # Shapes
///
/// `centroids`: `[K, D]`, of any length.
///
/// ```
/// use ndarray::array;
/// let centroids = array![[1.0_f32, 0.0], [0.0, 1.0], [2.0, 0.1]];
/// assert_eq!(vitscope_measure::twins(centroids.view()), [(0, 2)]);
/// ```
#[must_use]
pub fn twins(centroids: ArrayView2<'_, f32>) -> Vec<(usize, usize)> {
    let unit: Vec<Vec<f64>> = centroids
        .rows()
        .into_iter()
        .map(|row| {
            let norm = row
                .iter()
                .map(|&value| f64::from(value).powi(2))
                .sum::<f64>();
            let scale = if norm > 0.0 { norm.sqrt().recip() } else { 0.0 };
            row.iter().map(|&value| f64::from(value) * scale).collect()
        })
        .collect();
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut pairs = Vec::new();
    for (first, a) in unit.iter().enumerate() {
        let others = unit.iter().enumerate().skip(first + 1);
        let close = others.filter(|(_, b)| cosine(a, b) > TWIN);
        pairs.extend(close.map(|(second, _)| (first, second)));
    }
    pairs
}
