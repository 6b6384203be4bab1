//! [`Trainer`](crate::Trainer)s of rows on the card.

use std::sync::Arc;

use vitscope_cuda::{Adam, CentroidShape, Centroids, Cluster, RowsView, SlotRows};

use super::{StageScratch, check};
use crate::{AdamSettings, MAX_CLUSTERS, ProbeError, TrainerState};

/// The centroids of some slots while they are trained together, on the card.
///
/// Scores are f32 products of f32 unit vectors; sums, gradients, parameters and Adam's state are f64.
/// Each image has its own partial sums, added in the order of the images: a step does not depend on
/// how its images are split over calls, nor on which slots are trained together.
#[derive(Debug)]
pub struct DeviceTrainers {
    cluster: Arc<Cluster>,
    settings: AdamSettings,
    steps: u64,
    /// The free parameters `v`, `[slots, K, D]`, with what moves them.
    centroids: Centroids,
    /// Of every slot.
    seen: Vec<SeenOfStep>,
}

/// What a slot has seen of a step.
#[derive(Clone, Copy, Debug, Default)]
struct SeenOfStep {
    images: usize,
    vectors: u64,
}

impl DeviceTrainers {
    /// Takes up trainers between two steps, whichever device they were on.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Clusters`], [`ProbeError::Shape`] if a state is not one of a trainer, or not of one
    /// with as many clusters, numbers and steps as the first; [`ProbeError::Cuda`].
    pub fn from_states(
        cluster: &Arc<Cluster>,
        states: &[TrainerState],
        settings: AdamSettings,
    ) -> Result<Self, ProbeError> {
        let (clusters, width, steps) = states
            .first()
            .map_or((1, 1, 0), |state| (state.clusters, state.dim, state.steps));
        if clusters == 0 || clusters > MAX_CLUSTERS {
            return Err(ProbeError::Clusters { got: clusters });
        }
        if width == 0 {
            return Err(ProbeError::Shape {
                what: "width of the centroids",
                expected: 1,
                got: 0,
            });
        }
        let length = clusters * width;
        let mut parts = [const { Vec::new() }; 3];
        for state in states {
            check("clusters", clusters, state.clusters)?;
            check("width of the centroids", width, state.dim)?;
            check("steps", steps as usize, state.steps as usize)?;
            check("length of a stored trainer", 3 * length, state.values.len())?;
            for (part, values) in parts.iter_mut().zip(state.values.chunks_exact(length)) {
                part.extend_from_slice(values);
            }
        }
        let shape = CentroidShape {
            slots: states.len(),
            clusters,
            width,
        };
        let mut trainers = Self {
            settings,
            steps,
            centroids: Centroids::new(cluster.gpu(), shape, &parts)?,
            seen: vec![SeenOfStep::default(); states.len()],
            cluster: Arc::clone(cluster),
        };
        trainers.cluster.adam(&mut trainers.centroids, None)?;
        Ok(trainers)
    }

    /// Adds images to the current step's batch: rows, each with the number of their slot. May be called
    /// several times per step. Rows that lie alike and are given together fill a card better.
    ///
    /// # Shapes
    ///
    /// Rows: `[B, N, D]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], [`ProbeError::Cuda`].
    ///
    /// # Panics
    ///
    /// When there is no such slot, one is given twice, or slots that are given together have seen different images.
    pub fn add(
        &mut self,
        rows: &[(usize, RowsView<'_>)],
        scratch: &mut StageScratch,
    ) -> Result<(), ProbeError> {
        let shape = self.centroids.shape();
        for (_, rows) in rows {
            check("width of the patch vectors", shape.width, rows.shape()[2])?;
        }
        let mut left = rows;
        while let Some(alike) = SlotRows::first_alike(left, shape) {
            left = &left[alike.slots().len()..];
            let [images, patches, _] = alike.shape();
            let before = alike
                .slots()
                .next()
                .map_or(0, |slot| self.seen[slot].images);
            self.cluster
                .add_rows(&alike, before, &mut self.centroids, &mut scratch.assigned)?;
            for slot in alike.slots() {
                let seen = &mut self.seen[slot];
                assert_eq!(seen.images, before, "every slot sees every image");
                seen.images += images;
                seen.vectors += (images * patches) as u64;
            }
        }
        Ok(())
    }

    /// Ends the current step: applies Adam to what was added since the last one, and returns the loss of
    /// every slot. A step to which no vector was added changes nothing and its losses are NaN.
    ///
    /// # Errors
    ///
    /// With the slot, [`ProbeError::NonFinite`] with the place, among the step's images, of the first that
    /// holds a value that is not finite; the step is then taken in no slot. [`ProbeError::Cuda`].
    ///
    /// # Panics
    ///
    /// When slots have seen different numbers of vectors.
    pub fn finish_step(&mut self) -> Result<Vec<f64>, (usize, ProbeError)> {
        let vectors = self.seen.first().map_or(0, |seen| seen.vectors);
        assert!(
            self.seen.iter().all(|seen| seen.vectors == vectors),
            "every slot sees every image"
        );
        if vectors == 0 {
            return Ok(vec![f64::NAN; self.seen.len()]);
        }
        self.seen.fill(SeenOfStep::default());
        let AdamSettings {
            rate,
            beta1,
            beta2,
            eps,
        } = self.settings;
        let exponent = i32::try_from(self.steps + 1).unwrap_or(i32::MAX);
        let scale = 1.0 / vectors as f64;
        let adam = Adam {
            scale,
            step_size: rate / (1.0 - beta1.powi(exponent)),
            beta1,
            beta2,
            correction2: (1.0 - beta2.powi(exponent)).sqrt(),
            eps,
        };
        let failed = |error| (0, ProbeError::from(error));
        let step = self.cluster.adam(&mut self.centroids, Some(adam));
        let told = step.and_then(|()| self.centroids.told()).map_err(failed)?;
        let mut refused = told.iter().enumerate();
        if let Some((slot, image)) = refused.find_map(|(slot, (_, bad))| Some((slot, (*bad)?))) {
            let forgiven = self.centroids.forgive(self.cluster.gpu());
            forgiven.map_err(failed)?;
            return Err((slot, ProbeError::NonFinite { image }));
        }
        self.steps += 1;
        let losses = told.iter().map(|(similarity, _)| -similarity * scale);
        Ok(losses.collect())
    }

    /// The trainers between two steps, as plain numbers.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    pub fn to_states(&self) -> Result<Vec<TrainerState>, ProbeError> {
        let CentroidShape {
            slots,
            clusters,
            width,
        } = self.centroids.shape();
        let parts = self.centroids.download(self.cluster.gpu())?;
        let length = clusters * width;
        let state = |slot: usize| TrainerState {
            clusters,
            dim: width,
            steps: self.steps,
            values: parts
                .iter()
                .flat_map(|part| &part[slot * length..(slot + 1) * length])
                .copied()
                .collect(),
        };
        Ok((0..slots).map(state).collect())
    }
}
