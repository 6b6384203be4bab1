//! [`Trainer`](crate::Trainer) of rows on the card.

use std::sync::Arc;

use vitscope_cuda::{Adam, Buffer, Cluster, Gpu, Letter, RowsView};

use super::{Flag, StageScratch, check};
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
    /// What a step tells the host, and one over its number of vectors while that is awaited.
    letter: Letter,
    awaited: Option<f64>,
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
            letter: Letter::new(gpu)?,
            awaited: None,
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
    pub fn add(
        &mut self,
        rows: &RowsView<'_>,
        scratch: &mut StageScratch,
    ) -> Result<(), ProbeError> {
        let [images, patches, dim] = rows.shape();
        check("width of the patch vectors", self.dim, dim)?;
        let (gpu, clusters) = (rows.gpu(), self.clusters);
        let StageScratch {
            assigned,
            sums,
            similarities,
            ..
        } = scratch;
        sums.reserve(gpu, images * clusters * dim)?;
        similarities.reserve(gpu, images)?;
        let codebook = (&self.codebook, clusters);
        self.cluster
            .assign(rows, codebook, self.images, assigned, &mut self.bad.0)?;
        self.cluster
            .sum_images(rows, assigned, clusters, (sums, similarities))?;
        self.cluster.add_images(
            (sums, &mut self.sums),
            (similarities, &mut self.similarity),
            [images, clusters * dim],
        )?;
        self.vectors += (images * patches) as u64;
        self.images += images;
        Ok(())
    }

    /// Queues the end of the current step, so that several trainers need not wait for each other;
    /// [`Self::finish_step`] then tells how it went.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    pub fn begin_step(&mut self) -> Result<(), ProbeError> {
        if self.vectors == 0 || self.awaited.is_some() {
            return Ok(());
        }
        let scale = 1.0 / self.vectors as f64;
        self.vectors = 0;
        self.images = 0;
        let AdamSettings {
            rate,
            beta1,
            beta2,
            eps,
        } = self.settings;
        let exponent = i32::try_from(self.steps + 1).unwrap_or(i32::MAX);
        self.adam(Some(Adam {
            scale,
            step_size: rate / (1.0 - beta1.powi(exponent)),
            beta1,
            beta2,
            correction2: (1.0 - beta2.powi(exponent)).sqrt(),
            eps,
        }))?;
        self.awaited = Some(scale);
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
        self.begin_step()?;
        let Some(scale) = self.awaited.take() else {
            return Ok(f64::NAN);
        };
        let [similarity, bad] = self.letter.read()?;
        if bad < f64::from(i32::MAX) {
            let gpu = Arc::clone(self.cluster.gpu());
            self.bad.take(&gpu)?;
            return Err(ProbeError::NonFinite {
                image: bad as usize,
            });
        }
        self.steps += 1;
        Ok(-similarity * scale)
    }

    fn adam(&mut self, step: Option<Adam>) -> Result<(), ProbeError> {
        self.cluster.adam(
            [&mut self.values, &mut self.first, &mut self.second],
            (&mut self.sums, &mut self.similarity),
            &mut self.codebook,
            [self.clusters, self.dim],
            step,
            (&self.bad.0, &mut self.letter),
        )?;
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
