//! Initial centroids: principal directions, and seeded patch vectors for what is left (docs/protocol.md section 3).
//!
//! With at most as many clusters as principal directions, the centroids are the directions, by falling
//! variance. If there are more clusters (`K > D`, or a handful of images), the rest are drawn from a
//! sample of the patch vectors by k-means++: a vector is picked with probability proportional to
//!
//! ```text
//! d_i = 1 - max_k cos(x_i, c_k)
//! ```
//!
//! over the centroids chosen so far, the directions included. `2 d_i` is the squared distance between
//! unit vectors, so this is k-means++ on the unit sphere. Vectors of length zero are never picked.

use ndarray::{Array2, ArrayView3, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::principal::Principal;
use crate::random;
use crate::{MAX_CLUSTERS, ProbeError};

/// A bounded uniform sample, without replacement, of a stream of patch vectors.
///
/// Reservoir sampling by skips (Li 1994, "algorithm L"): after the first `capacity` vectors, the
/// number of vectors to pass over until the next replacement is drawn directly, so that a long stream
/// costs next to nothing. What is kept depends on the seed and on the order of the vectors, not on how
/// they are grouped into calls.
///
/// Only needed where [`initial_centroids`] may run out of directions; `max(256, 8 K)` vectors are plenty.
#[derive(Debug, Clone)]
pub struct Reservoir {
    capacity: usize,
    dim: usize,
    rng: ChaCha8Rng,
    /// Vectors kept, one after the other.
    kept: Vec<f32>,
    /// Vectors seen, each as often as it counted.
    seen: u64,
    /// Position in the stream of the next vector to keep, once the reservoir is full.
    next: u64,
    /// Algorithm L's running maximum, as a logarithm.
    log_w: f64,
}

impl Reservoir {
    /// An empty reservoir for `capacity` vectors of width `dim`.
    #[must_use]
    pub fn new(capacity: usize, dim: usize, seed: u64) -> Self {
        Self {
            capacity,
            dim,
            rng: ChaCha8Rng::seed_from_u64(seed),
            kept: Vec::new(),
            seen: 0,
            next: 0,
            log_w: 0.0,
        }
    }

    /// Vectors kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len() / self.dim.max(1)
    }

    /// Whether nothing has been kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Offers the patch vectors of some images, each `weights[b]` times.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]`; `weights`: `[B]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`] if a vector that would be kept is not finite.
    pub fn add(&mut self, rows: ArrayView3<'_, f32>, weights: &[u32]) -> Result<(), ProbeError> {
        let (images, patches, dim) = rows.dim();
        self.check(images, dim, weights)?;
        self.offer(patches, weights, |image, patch, _| {
            let row = rows
                .index_axis(Axis(0), image)
                .index_axis_move(Axis(0), patch);
            match row.iter().all(|value| value.is_finite()) {
                true => Ok(row.to_vec()),
                false => Err(ProbeError::NonFinite { image }),
            }
        })
    }

    /// [`Self::add`] of rows on the card, which copies what is kept to `kept` `[capacity, D]`; in the end
    /// [`Self::fill`] brings it here.
    ///
    /// # Errors
    ///
    /// As [`Self::add`] but for the values themselves, and [`ProbeError::Cuda`].
    #[cfg(feature = "cuda")]
    pub fn add_device(
        &mut self,
        rows: &vitscope_cuda::RowsView<'_>,
        weights: &[u32],
        cluster: &vitscope_cuda::Cluster,
        kept: &mut vitscope_cuda::Buffer<f32>,
    ) -> Result<(), ProbeError> {
        let [images, patches, dim] = rows.shape();
        self.check(images, dim, weights)?;
        // What is kept twice at one place was replaced at once.
        let mut places = std::collections::BTreeMap::new();
        self.offer(patches, weights, |image, patch, to| {
            places.insert(to, image * patches + patch);
            Ok(vec![0.0; dim])
        })?;
        let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let places: Vec<[i32; 2]> = places
            .into_iter()
            .map(|(to, from)| [number(from), number(to)])
            .collect();
        Ok(cluster.keep_rows(rows, &places, kept)?)
    }

    /// Takes the vectors that [`Self::add_device`] kept elsewhere.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    #[cfg(feature = "cuda")]
    pub fn fill(
        &mut self,
        kept: &vitscope_cuda::Buffer<f32>,
        gpu: &vitscope_cuda::Gpu,
    ) -> Result<(), ProbeError> {
        Ok(kept.read(gpu, &mut self.kept)?)
    }

    fn check(&self, images: usize, dim: usize, weights: &[u32]) -> Result<(), ProbeError> {
        if dim != self.dim {
            return Err(ProbeError::Shape {
                what: "width of the patch vectors",
                expected: self.dim,
                got: dim,
            });
        }
        if weights.len() != images {
            return Err(ProbeError::Shape {
                what: "number of image weights",
                expected: images,
                got: weights.len(),
            });
        }
        Ok(())
    }

    /// Passes over images of `patches` vectors; `fetch` gives the vector of an image and a patch, which
    /// is kept at a place.
    fn offer(
        &mut self,
        patches: usize,
        weights: &[u32],
        mut fetch: impl FnMut(usize, usize, usize) -> Result<Vec<f32>, ProbeError>,
    ) -> Result<(), ProbeError> {
        if self.capacity == 0 || patches == 0 {
            return Ok(());
        }
        let dim = self.dim;
        for (image, &weight) in weights.iter().enumerate() {
            // The image's vectors `weight` times over, as a stretch of the stream.
            let end = self.seen + patches as u64 * u64::from(weight);
            let mut at = self.seen;
            loop {
                let full = self.len() == self.capacity;
                if full {
                    at = self.next;
                }
                if at >= end {
                    break;
                }
                let patch = ((at - self.seen) % patches as u64) as usize;
                if full {
                    let slot = random::index(&mut self.rng, self.capacity);
                    let row = fetch(image, patch, slot)?;
                    self.kept[slot * dim..(slot + 1) * dim].copy_from_slice(&row);
                    self.skip(at);
                } else {
                    let row = fetch(image, patch, self.len())?;
                    self.kept.extend_from_slice(&row);
                    if self.len() == self.capacity {
                        self.skip(at);
                    }
                    at += 1;
                }
            }
            self.seen = end;
        }
        Ok(())
    }

    /// Draws the position of the next replacement after position `at`.
    fn skip(&mut self, at: u64) {
        self.log_w += random::positive_unit(&mut self.rng).ln() / self.capacity as f64;
        let log_rest = (-self.log_w.exp()).ln_1p();
        let gap = (random::positive_unit(&mut self.rng).ln() / log_rest).floor();
        // A gap beyond any stream saturates.
        self.next = at.saturating_add(1).saturating_add(gap as u64);
    }

    /// The vectors kept, in no particular order: `[n, D]`.
    #[must_use]
    pub fn to_array(&self) -> Array2<f32> {
        let mut rows = Array2::zeros((self.len(), self.dim));
        for (to, &from) in rows.iter_mut().zip(&self.kept) {
            *to = from;
        }
        rows
    }

    /// The vectors kept, in no particular order.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.kept.chunks_exact(self.dim.max(1))
    }

    fn unit_rows(&self) -> Vec<Vec<f64>> {
        self.rows()
            .filter_map(|row| {
                let norm = row
                    .iter()
                    .map(|&value| f64::from(value).powi(2))
                    .sum::<f64>()
                    .sqrt();
                (norm > 0.0).then(|| row.iter().map(|&value| f64::from(value) / norm).collect())
            })
            .collect()
    }
}

/// The first centroids of `k` clusters.
///
/// # Shapes
///
/// `[k, D]`, rows of length one.
///
/// # Errors
///
/// [`ProbeError::Clusters`] if `k` is not in `1..=255`; [`ProbeError::TooFewVectors`] if the directions
/// do not suffice and the reservoir holds nothing but zeros.
pub fn initial_centroids(
    principal: &Principal,
    k: usize,
    reservoir: &Reservoir,
    seed: u64,
) -> Result<Array2<f64>, ProbeError> {
    if k == 0 || k > MAX_CLUSTERS {
        return Err(ProbeError::Clusters { got: k });
    }
    let directions = principal.directions(k);
    let found = directions.nrows();
    if found == k {
        return Ok(directions);
    }
    if reservoir.dim != principal.dim() {
        return Err(ProbeError::Shape {
            what: "width of the sampled patch vectors",
            expected: principal.dim(),
            got: reservoir.dim,
        });
    }
    let sample = reservoir.unit_rows();
    if sample.is_empty() {
        return Err(ProbeError::TooFewVectors {
            clusters: k,
            directions: found,
        });
    }

    let mut centroids = Array2::zeros((k, principal.dim()));
    centroids
        .slice_mut(ndarray::s![..found, ..])
        .assign(&directions);
    let mut nearest = vec![f64::NEG_INFINITY; sample.len()];
    for direction in directions.rows() {
        for (best, row) in nearest.iter_mut().zip(&sample) {
            *best = best.max(direction.iter().zip(row).map(|(a, b)| a * b).sum());
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for index in found..k {
        let pick = draw(&nearest, &mut rng);
        for (to, &from) in centroids.row_mut(index).iter_mut().zip(&sample[pick]) {
            *to = from;
        }
        for (best, row) in nearest.iter_mut().zip(&sample) {
            *best = best.max(sample[pick].iter().zip(row).map(|(a, b)| a * b).sum());
        }
    }
    Ok(centroids)
}

/// An index with probability proportional to `1 - nearest`; uniform while no centroid exists, or where
/// every vector already is a centroid.
fn draw(nearest: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let weight = |cosine: f64| {
        if cosine == f64::NEG_INFINITY {
            1.0
        } else {
            (1.0 - cosine).max(0.0)
        }
    };
    let total: f64 = nearest.iter().map(|&cosine| weight(cosine)).sum();
    let mut left = random::unit(rng) * total;
    if total > 0.0 {
        let mut last = 0;
        for (index, &cosine) in nearest.iter().enumerate() {
            let weight = weight(cosine);
            if weight > 0.0 {
                last = index;
                if left < weight {
                    return index;
                }
                left -= weight;
            }
        }
        // Rounding left a crumb after the last vector.
        return last;
    }
    random::index(rng, nearest.len())
}
