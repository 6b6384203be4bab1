//! [`Trainer`](crate::Trainer) of rows on the card.

use std::sync::Arc;

use vitscope_cuda::{Adam, Buffer, Cluster, Gpu, RowsView};

use super::{Flag, Scratch, check};
use crate::{AdamSettings, MAX_CLUSTERS, ProbeError, TrainerState};

/// The centroids of one slot while they are trained, on the card.
///
/// Scores are f32 products of f32 unit vectors; sums, gradients, parameters and Adam's state are f64.
/// Each image has its own partial sums, added in the order of the images: a step does not depend on
/// how its images are split over calls.
#[derive(Debug)]
pub struct DeviceTrainer {
    cluster: Arc<Cluster>,
    settings: AdamSettings,
    clusters: usize,
    dim: usize,
    steps: u64,
    /// The free parameters `v`, `[K, D]`; so are the two means and the sums of this step.
    values: Buffer<f64>,
    first: Buffer<f64>,
    second: Buffer<f64>,
    sums: Buffer<f64>,
    similarity: Buffer<f64>,
    /// Unit rows in f32, what vectors are compared with.
    codebook: Buffer<f32>,
    /// Vectors and images of this step.
    vectors: u64,
    images: usize,
    bad: Flag,
}

impl DeviceTrainer {
    /// Takes up a trainer between two steps, whichever device it was on.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Clusters`], [`ProbeError::Shape`] if the state is not one of a trainer;
    /// [`ProbeError::Cuda`].
    pub fn from_state(
        cluster: &Arc<Cluster>,
        state: &TrainerState,
        settings: AdamSettings,
    ) -> Result<Self, ProbeError> {
        let TrainerState {
            clusters,
            dim,
            steps,
            ref values,
        } = *state;
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
        check("length of a stored trainer", 3 * length, values.len())?;
        let gpu = cluster.gpu();
        let mut trainer = Self {
            settings,
            clusters,
            dim,
            steps,
            values: Buffer::upload(gpu, &values[..length])?,
            first: Buffer::upload(gpu, &values[length..2 * length])?,
            second: Buffer::upload(gpu, &values[2 * length..])?,
            sums: Buffer::zeros(gpu, length)?,
            similarity: Buffer::zeros(gpu, 1)?,
            codebook: Buffer::new(gpu, length)?,
            vectors: 0,
            images: 0,
            bad: Flag::new(gpu)?,
            cluster: Arc::clone(cluster),
        };
        trainer.adam(None)?;
        Ok(trainer)
    }

    fn gpu(&self) -> &Gpu {
        self.cluster.gpu()
    }

    /// Adds images to the current step's batch. May be called several times per step.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], [`ProbeError::Cuda`].
    pub fn add(&mut self, rows: &RowsView<'_>, scratch: &mut Scratch) -> Result<(), ProbeError> {
        let [images, patches, dim] = rows.shape();
        check("width of the patch vectors", self.dim, dim)?;
        let (gpu, clusters) = (rows.gpu(), self.clusters);
        let Scratch {
            unit,
            scores,
            best,
            similarity,
            sums,
            similarities,
            ..
        } = scratch;
        let vectors = images * patches;
        unit.reserve(gpu, vectors * dim)?;
        scores.reserve(gpu, vectors * clusters)?;
        best.reserve(gpu, vectors)?;
        similarity.reserve(gpu, vectors)?;
        sums.reserve(gpu, images * clusters * dim)?;
        similarities.reserve(gpu, images)?;
        self.cluster
            .unit_rows(rows, self.images, unit, &mut self.bad.0)?;
        // One product for all images.
        let all = RowsView::new(gpu, unit, 0, [1, vectors, dim], [vectors * dim, dim]);
        self.cluster.scores(&all, &self.codebook, scores)?;
        self.cluster
            .assign(scores, [vectors, clusters], best, similarity)?;
        self.cluster.sum_images(
            unit,
            (best, similarity),
            [images, patches, dim, clusters],
            (sums, similarities),
        )?;
        self.cluster
            .add_images(sums, [images, clusters * dim], &mut self.sums)?;
        self.cluster
            .add_images(similarities, [images, 1], &mut self.similarity)?;
        self.vectors += vectors as u64;
        self.images += images;
        Ok(())
    }

    /// Ends the current step: applies Adam to what was added since the last one, and returns the
    /// loss. A step to which no vector was added changes nothing and its loss is NaN.
    ///
    /// # Errors
    ///
    /// [`ProbeError::NonFinite`] with the place, among the step's images, of the first that holds a
    /// value that is not finite; the step is then not taken. [`ProbeError::Cuda`].
    pub fn finish_step(&mut self) -> Result<f64, ProbeError> {
        if self.vectors == 0 {
            return Ok(f64::NAN);
        }
        let gpu = Arc::clone(self.cluster.gpu());
        let mut similarity = [0.0];
        self.similarity.read(&gpu, &mut similarity)?;
        self.similarity.clear(&gpu)?;
        let scale = 1.0 / self.vectors as f64;
        self.vectors = 0;
        self.images = 0;
        if let Some(image) = self.bad.take(&gpu)? {
            self.sums.clear(&gpu)?;
            return Err(ProbeError::NonFinite { image });
        }
        self.steps += 1;
        let AdamSettings {
            rate,
            beta1,
            beta2,
            eps,
        } = self.settings;
        let exponent = i32::try_from(self.steps).unwrap_or(i32::MAX);
        self.adam(Some(Adam {
            scale,
            step_size: rate / (1.0 - beta1.powi(exponent)),
            beta1,
            beta2,
            correction2: (1.0 - beta2.powi(exponent)).sqrt(),
            eps,
        }))?;
        Ok(-similarity[0] * scale)
    }

    fn adam(&mut self, step: Option<Adam>) -> Result<(), ProbeError> {
        let state = [&mut self.values, &mut self.first, &mut self.second];
        let shape = [self.clusters, self.dim];
        self.cluster
            .adam(state, &mut self.sums, &mut self.codebook, shape, step)?;
        Ok(())
    }

    /// The trainer between two steps, as plain numbers.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    pub fn to_state(&self) -> Result<TrainerState, ProbeError> {
        let mut values = self.values.download(self.gpu())?;
        values.extend(self.first.download(self.gpu())?);
        values.extend(self.second.download(self.gpu())?);
        Ok(TrainerState {
            clusters: self.clusters,
            dim: self.dim,
            steps: self.steps,
            values,
        })
    }
}
