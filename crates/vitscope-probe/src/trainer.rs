//! Online cosine k-means (docs/protocol.md section 4; paper 2.1, 0.A.2).
//!
//! # What
//!
//! With unit patch vectors `x^_i = x_i/|x_i|` and unit centroids `c^_k = v_k/|v_k|` the loss of one step
//! over `M` patch vectors is
//!
//! ```text
//! loss = -(1/M) sum_i max_k  x^_i . c^_k
//! ```
//!
//! The assignment of a vector is the `k` of its largest score, the lowest one on ties. For fixed
//! assignments the gradient has a closed form, so no automatic differentiation is needed:
//!
//! ```text
//! d loss/d v_k = (1/|v_k|) (I - c^_k c^_k^T) g_k ,   g_k = -(1/M) sum_{i assigned to k} x^_i
//! ```
//!
//! and the free parameters `v_k` are moved by Adam (Kingma and Ba 2015), bias corrections included:
//!
//! ```text
//! m = b1 m + (1 - b1) g      s = b2 s + (1 - b2) g^2
//! v = v - rate * (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + eps)
//! ```
//!
//! # Corners
//!
//! A cluster that receives nothing has a zero gradient in that step, and Adam's momentum still moves
//! it. A patch vector of length zero counts in `M` and contributes nothing else. A centroid of length
//! zero scores zero everywhere and has a zero gradient.
//!
//! # Precision and order
//!
//! Scores are f32 products of f32 unit vectors; everything that lasts (sums, gradients, parameters,
//! Adam's state) is f64. Each image has its own partial sums, and these are added in the order of the
//! images: the result does not depend on the number of threads, nor on how a step's images are split
//! over calls.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;

use crate::rows;
use crate::{MAX_CLUSTERS, ProbeError};

/// Settings of the Adam optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings {
    /// Step size.
    pub rate: f64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of the squared gradients.
    pub beta2: f64,
    /// Keeps the quotient finite where gradients vanish.
    pub eps: f64,
}

impl Default for AdamSettings {
    /// The paper's: rate 5e-3, betas 0.9 and 0.999, eps 1e-8.
    fn default() -> Self {
        Self {
            rate: 5e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

/// The centroids of one slot while they are trained.
#[derive(Debug, Clone)]
pub struct Trainer {
    settings: AdamSettings,
    clusters: usize,
    dim: usize,
    steps: u64,
    /// The free parameters `v`, row-major `[K, D]`; so are the two means.
    values: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    /// Unit rows in f32, what vectors are compared with.
    codebook: Vec<f32>,
    pending: Partial,
}

/// What a [`Trainer`] needs to go on between two steps: plain numbers, so that any file format will do.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerState {
    /// Number of clusters `K`.
    pub clusters: usize,
    /// Width of the vectors `D`.
    pub dim: usize,
    /// Steps done.
    pub steps: u64,
    /// Parameters, mean of gradients, mean of squared gradients: three times `[K, D]`, row-major.
    pub values: Vec<f64>,
}

/// Sums over some of a step's images.
#[derive(Debug, Clone)]
struct Partial {
    /// `sum x^_i` of each cluster, row-major `[K, D]`.
    sums: Vec<f64>,
    /// `sum_i max_k x^_i . c^_k`
    similarity: f64,
    vectors: u64,
}

impl Partial {
    fn new(length: usize) -> Self {
        Self {
            sums: vec![0.0; length],
            similarity: 0.0,
            vectors: 0,
        }
    }
}

#[derive(Default)]
struct Buffers {
    unit: Vec<f32>,
    scores: Vec<f32>,
}

impl Trainer {
    /// Starts from the given centroids, which need not have unit length.
    ///
    /// # Shapes
    ///
    /// `centroids`: `[K, D]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Clusters`] if `K` is not in `1..=255`; [`ProbeError::Shape`] if `D` is zero.
    pub fn new(centroids: Array2<f64>, settings: AdamSettings) -> Result<Self, ProbeError> {
        let (clusters, dim) = centroids.dim();
        if clusters == 0 || clusters > MAX_CLUSTERS {
            return Err(ProbeError::Clusters { got: clusters });
        }
        if dim == 0 {
            return Err(ProbeError::Shape {
                what: "width of the centroids",
                expected: 1,
                got: 0,
            });
        }
        let length = clusters * dim;
        let mut trainer = Self {
            settings,
            clusters,
            dim,
            steps: 0,
            values: centroids.iter().copied().collect(),
            first: vec![0.0; length],
            second: vec![0.0; length],
            codebook: vec![0.0; length],
            pending: Partial::new(length),
        };
        trainer.refresh_codebook();
        Ok(trainer)
    }

    /// Number of clusters `K`.
    #[must_use]
    pub fn clusters(&self) -> usize {
        self.clusters
    }

    /// Width of the vectors `D`.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Steps done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Adds images to the current step's batch. May be called several times per step.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]`, innermost stride 1.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], [`ProbeError::NonFinite`]; the trainer is then unchanged.
    pub fn add(&mut self, rows: ArrayView3<'_, f32>) -> Result<(), ProbeError> {
        let (images, _, dim) = rows.dim();
        if dim != self.dim {
            return Err(ProbeError::Shape {
                what: "width of the patch vectors",
                expected: self.dim,
                got: dim,
            });
        }
        let parts: Vec<Option<Partial>> = (0..images)
            .into_par_iter()
            .map_init(Buffers::default, |buffers, image| {
                self.image(rows.index_axis(Axis(0), image), buffers)
            })
            .collect();
        if let Some(image) = parts.iter().position(Option::is_none) {
            return Err(ProbeError::NonFinite { image });
        }
        for part in parts.into_iter().flatten() {
            rows::vectorized(|| {
                for (total, &value) in self.pending.sums.iter_mut().zip(&part.sums) {
                    *total += value;
                }
            });
            self.pending.similarity += part.similarity;
            self.pending.vectors += part.vectors;
        }
        Ok(())
    }

    /// Ends the current step: applies Adam to what was added since the last one, and returns the loss,
    /// which lies in `[-1, 1]` (-1: every vector coincides with its centroid).
    ///
    /// A step to which no vector was added changes nothing and its loss is NaN.
    pub fn finish_step(&mut self) -> f64 {
        if self.pending.vectors == 0 {
            return f64::NAN;
        }
        self.steps += 1;
        let scale = 1.0 / self.pending.vectors as f64;
        let AdamSettings {
            rate,
            beta1,
            beta2,
            eps,
        } = self.settings;
        let exponent = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let correction1 = 1.0 - beta1.powi(exponent);
        let correction2 = (1.0 - beta2.powi(exponent)).sqrt();
        let step_size = rate / correction1;
        let dim = self.dim;
        for k in 0..self.clusters {
            let range = k * dim..(k + 1) * dim;
            let (values, sums) = (
                &mut self.values[range.clone()],
                &self.pending.sums[range.clone()],
            );
            let (first, second) = (&mut self.first[range.clone()], &mut self.second[range]);
            let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
            // d loss/d v = (g - c^ (c^ . g)) / |v|, g = -sums / M.
            let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            let along = values
                .iter()
                .zip(sums)
                .map(|(value, sum)| value * sum)
                .sum::<f64>()
                * inverse
                * inverse;
            for (((value, &sum), first), second) in
                values.iter_mut().zip(sums).zip(first).zip(second)
            {
                let gradient = (*value * along - sum) * scale * inverse;
                *first = beta1 * *first + (1.0 - beta1) * gradient;
                *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
                *value -= step_size * *first / (second.sqrt() / correction2 + eps);
            }
        }
        let loss = -self.pending.similarity * scale;
        self.pending = Partial::new(self.clusters * dim);
        self.refresh_codebook();
        loss
    }

    /// The centroids, scaled to unit length: `[K, D]`. A centroid of length zero stays zero.
    #[must_use]
    pub fn codebook(&self) -> Array2<f32> {
        let mut codebook = Array2::zeros((self.clusters, self.dim));
        for (to, &from) in codebook.iter_mut().zip(&self.codebook) {
            *to = from;
        }
        codebook
    }

    /// The trainer between two steps, as plain numbers. What was added to an unfinished step is not
    /// part of it.
    #[must_use]
    pub fn to_state(&self) -> TrainerState {
        let values = [self.values.as_slice(), &self.first, &self.second].concat();
        TrainerState {
            clusters: self.clusters,
            dim: self.dim,
            steps: self.steps,
            values,
        }
    }

    /// The inverse of [`to_state`](Self::to_state); the settings are the run's, not the state's.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Clusters`], [`ProbeError::Shape`] if the state is not one of a trainer.
    pub fn from_state(state: &TrainerState, settings: AdamSettings) -> Result<Self, ProbeError> {
        let length = state.clusters * state.dim;
        if state.values.len() != 3 * length {
            return Err(ProbeError::Shape {
                what: "length of a stored trainer",
                expected: 3 * length,
                got: state.values.len(),
            });
        }
        let mut trainer = Self::new(Array2::zeros((state.clusters, state.dim)), settings)?;
        trainer.steps = state.steps;
        trainer.values.copy_from_slice(&state.values[..length]);
        trainer
            .first
            .copy_from_slice(&state.values[length..2 * length]);
        trainer.second.copy_from_slice(&state.values[2 * length..]);
        trainer.refresh_codebook();
        Ok(trainer)
    }

    fn refresh_codebook(&mut self) {
        for (row, unit) in self
            .values
            .chunks_exact(self.dim)
            .zip(self.codebook.chunks_exact_mut(self.dim))
        {
            let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
            let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            for (to, &from) in unit.iter_mut().zip(row) {
                *to = (from * inverse) as f32;
            }
        }
    }

    /// The partial sums of one image, or nothing if a value is not finite.
    fn image(&self, image: ArrayView2<'_, f32>, buffers: &mut Buffers) -> Option<Partial> {
        let (patches, dim, clusters) = (image.nrows(), self.dim, self.clusters);
        buffers.unit.resize(patches * dim, 0.0);
        buffers.scores.resize(patches * clusters, 0.0);
        let (unit, scores) = (
            &mut buffers.unit[..patches * dim],
            &mut buffers.scores[..patches * clusters],
        );
        let finite = rows::vectorized(
            #[inline(always)]
            || {
                let mut finite = true;
                for (row, unit) in image.rows().into_iter().zip(unit.chunks_exact_mut(dim)) {
                    rows::copy(row, unit);
                    let norm = rows::square_norm(unit).sqrt();
                    finite &= norm.is_finite();
                    rows::scale(unit, if norm > 0.0 { 1.0 / norm } else { 0.0 });
                }
                finite
            },
        );
        if !finite {
            return None;
        }
        matmul(
            MatMut::from_column_major_slice_mut(&mut *scores, clusters, patches),
            Accum::Replace,
            MatRef::from_row_major_slice(self.codebook.as_slice(), clusters, dim),
            MatRef::from_column_major_slice(&*unit, dim, patches),
            1.0,
            Par::Seq,
        );
        let mut part = Partial::new(clusters * dim);
        part.vectors = patches as u64;
        rows::vectorized(
            #[inline(always)]
            || {
                for (unit, scores) in unit.chunks_exact(dim).zip(scores.chunks_exact(clusters)) {
                    let mut best = 0;
                    for (k, &score) in scores.iter().enumerate() {
                        if score > scores[best] {
                            best = k;
                        }
                    }
                    part.similarity += f64::from(scores[best]);
                    rows::add_to(&mut part.sums[best * dim..(best + 1) * dim], unit);
                }
            },
        );
        Some(part)
    }
}
