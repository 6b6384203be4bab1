//! The seam between the protocol and the device that its stages run on.
//!
//! Everything else in this crate knows a stage by the three types of this file, and rows by [`PatchRows`]:
//! it does not know where either lies. On the host, a [`Gatherer`] is [`Moments`], a [`Learner`] a
//! [`Trainer`], a [`Painter`] a [`Labeler`]. On an NVIDIA GPU (feature `cuda`) they are the counterparts
//! of [`vitscope_probe`]'s module `cuda`, whose rows never leave the card. *Another device* is a variant of
//! each of the five types; *counting on a device* is another body of [`Painter::count`].
#![cfg_attr(
    not(feature = "cuda"),
    expect(unused_variables, reason = "on the host the stages need no site")
)]

use ndarray::{Array2, ArrayView3, Axis, Slice};
#[cfg(feature = "cuda")]
use vitscope_probe::cuda::{
    Buffer, DeviceLabeler, DeviceMoments, DeviceTrainer, Gpu, RowsView, StageScratch,
};
use vitscope_probe::{
    AdamSettings, Labeler, Moments, ProbeError, Reservoir, Trainer, TrainerState,
};

#[cfg(feature = "cuda")]
use crate::card::{Card, CardGatherer};
use crate::counts::Counts;
use crate::error::ProtocolError;
use crate::test_batch::TestBatch;

/// Patch vectors of a batch of images, `[B, N, D]`, where they lie.
#[derive(Clone, Debug)]
pub enum PatchRows<'a> {
    /// In the host's memory.
    Host(ArrayView3<'a, f32>),
    /// On the card.
    #[cfg(feature = "cuda")]
    Card(RowsView<'a>),
}

/// Where stages run, with what those on a card have in common; on the host they need nothing.
#[derive(Debug)]
pub struct Site {
    #[cfg(feature = "cuda")]
    card: Option<Card>,
}

impl Site {
    /// Stages run on the host.
    #[must_use]
    pub fn host() -> Self {
        Self {
            #[cfg(feature = "cuda")]
            card: None,
        }
    }

    /// Stages run on a card.
    ///
    /// # Errors
    /// [`ProbeError::Cuda`].
    #[cfg(feature = "cuda")]
    pub fn card(gpu: &std::sync::Arc<Gpu>) -> Result<Self, ProbeError> {
        Ok(Self {
            card: Some(Card::new(gpu)?),
        })
    }

    /// Ends a batch that was counted.
    pub fn end_batch(&mut self) {
        #[cfg(feature = "cuda")]
        if let Some(card) = &mut self.card {
            card.end_batch();
        }
    }

    /// The number of an image that was counted and whose labels are not good for use, if there is one: on
    /// a card that is only known some time after. Waits for what was queued.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] when the device fails.
    pub fn refused(&mut self) -> Result<Option<usize>, ProtocolError> {
        #[cfg(feature = "cuda")]
        if let Some(card) = &mut self.card {
            return card.refused().map_err(ProtocolError::stage(0));
        }
        Ok(None)
    }

    #[cfg(feature = "cuda")]
    fn scratch(&mut self) -> Result<&mut StageScratch, ProtocolError> {
        let card = self.card.as_mut().ok_or(ProtocolError::Elsewhere)?;
        Ok(&mut card.scratch)
    }
}

/// Moments while they are summed.
#[derive(Debug)]
pub(crate) enum Gatherer {
    Host(Moments),
    #[cfg(feature = "cuda")]
    Card(Box<CardGatherer>),
}

impl Gatherer {
    /// Of vectors of a width, of which a reservoir keeps at most `capacity`.
    pub(crate) fn new(width: usize, capacity: usize, site: &Site) -> Result<Self, ProbeError> {
        #[cfg(feature = "cuda")]
        if let Some(card) = &site.card {
            return Ok(Self::Card(Box::new(CardGatherer {
                moments: DeviceMoments::new(&card.cluster, width)?,
                kept: Buffer::new(card.cluster.gpu(), capacity * width)?,
                cluster: std::sync::Arc::clone(&card.cluster),
            })));
        }
        Ok(Self::Host(Moments::new(width)))
    }

    /// Adds the images of a batch, `weights[image]` times, also to a reservoir. What that adds up to does
    /// not depend on which images come together.
    pub(crate) fn add(
        &mut self,
        reservoir: &mut Reservoir,
        rows: &PatchRows<'_>,
        weights: &[u32],
        site: &mut Site,
        failed: impl Fn(ProbeError) -> ProtocolError,
    ) -> Result<(), ProtocolError> {
        match (self, rows) {
            (Self::Host(moments), PatchRows::Host(rows)) => {
                for (image, &weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0) {
                    // The stage sees this one image alone; the caller knows it by its place in the batch.
                    let failed = |error| match error {
                        ProbeError::NonFinite { .. } => failed(ProbeError::NonFinite { image }),
                        error => failed(error),
                    };
                    let rows = rows.slice_axis(Axis(0), Slice::from(image..=image));
                    moments
                        .add(rows, &[weight])
                        .and_then(|()| reservoir.add(rows, &[weight]))
                        .map_err(failed)?;
                }
                Ok(())
            }
            #[cfg(feature = "cuda")]
            (Self::Card(card), PatchRows::Card(rows)) => card
                .moments
                .add(rows, weights, site.scratch()?)
                .and_then(|()| reservoir.add_device(rows, weights, &card.cluster, &mut card.kept))
                .map_err(failed),
            #[cfg(feature = "cuda")]
            _ => Err(ProtocolError::Elsewhere),
        }
    }

    /// The moments, on the host, and with them the vectors of the reservoir.
    pub(crate) fn finish(self, reservoir: &mut Reservoir) -> Result<Moments, ProbeError> {
        match self {
            Self::Host(moments) => Ok(moments),
            #[cfg(feature = "cuda")]
            Self::Card(mut card) => {
                reservoir.fill(&card.kept, card.cluster.gpu())?;
                card.moments.to_moments()
            }
        }
    }
}

/// A trainer, at rest on the host.
#[derive(Debug)]
pub(crate) enum Learner {
    Host(Trainer),
    #[cfg(feature = "cuda")]
    Card(Box<DeviceTrainer>),
}

impl Learner {
    /// Goes where the rows will be.
    pub(crate) fn enter(&mut self, site: &Site, adam: AdamSettings) -> Result<(), ProbeError> {
        #[cfg(feature = "cuda")]
        if let Some(card) = &site.card {
            let state = self.to_state()?;
            let trainer = DeviceTrainer::from_state(&card.cluster, &state, adam)?;
            *self = Self::Card(Box::new(trainer));
        }
        Ok(())
    }

    /// Comes back to the host.
    pub(crate) fn leave(&mut self, adam: AdamSettings) -> Result<(), ProbeError> {
        if !matches!(self, Self::Host(_)) {
            *self = Self::Host(Trainer::from_state(&self.to_state()?, adam)?);
        }
        Ok(())
    }

    pub(crate) fn add(
        &mut self,
        rows: &PatchRows<'_>,
        site: &mut Site,
        failed: impl Fn(ProbeError) -> ProtocolError,
    ) -> Result<(), ProtocolError> {
        match (self, rows) {
            (Self::Host(trainer), PatchRows::Host(rows)) => trainer.add(*rows).map_err(failed),
            #[cfg(feature = "cuda")]
            (Self::Card(trainer), PatchRows::Card(rows)) => {
                trainer.add(rows, site.scratch()?).map_err(failed)
            }
            #[cfg(feature = "cuda")]
            _ => Err(ProtocolError::Elsewhere),
        }
    }

    /// Sets out to end a step where that takes waiting, so that all slots can be waited for at once.
    pub(crate) fn begin_step(&mut self) -> Result<(), ProbeError> {
        match self {
            Self::Host(_) => Ok(()),
            #[cfg(feature = "cuda")]
            Self::Card(trainer) => trainer.begin_step(),
        }
    }

    /// The loss of the step that ends here.
    pub(crate) fn finish_step(&mut self) -> Result<f64, ProbeError> {
        match self {
            Self::Host(trainer) => Ok(trainer.finish_step()),
            #[cfg(feature = "cuda")]
            Self::Card(trainer) => trainer.finish_step(),
        }
    }

    pub(crate) fn to_state(&self) -> Result<TrainerState, ProbeError> {
        match self {
            Self::Host(trainer) => Ok(trainer.to_state()),
            #[cfg(feature = "cuda")]
            Self::Card(trainer) => trainer.to_state(),
        }
    }

    /// The centroids at unit length, `[K, D]`, of a trainer that is at rest.
    pub(crate) fn codebook(&self) -> Result<Array2<f32>, ProtocolError> {
        match self {
            Self::Host(trainer) => Ok(trainer.codebook()),
            #[cfg(feature = "cuda")]
            Self::Card(_) => Err(ProtocolError::Elsewhere),
        }
    }
}

/// What labels the pixels of test images and counts them.
#[derive(Debug)]
pub struct Painter(StagePlace);

#[derive(Debug)]
enum StagePlace {
    Host(Labeler),
    #[cfg(feature = "cuda")]
    Card(Box<DeviceLabeler>),
}

impl Painter {
    /// A painter for images of `grid` (rows, columns) patches of `patch x patch` pixels, whose rows will lie
    /// at `site`.
    ///
    /// # Shapes
    /// `codebook`: `[K, D]`, rows of unit length.
    ///
    /// # Errors
    /// Those of [`Labeler::new`], and of the device.
    pub fn new(
        codebook: &Array2<f32>,
        grid: (usize, usize),
        patch: usize,
        site: &Site,
    ) -> Result<Self, ProbeError> {
        let codebook = codebook.view();
        #[cfg(feature = "cuda")]
        if let Some(card) = &site.card {
            let labeler = DeviceLabeler::new(&card.cluster, codebook, grid, patch)?;
            return Ok(Self(StagePlace::Card(Box::new(labeler))));
        }
        Ok(Self(StagePlace::Host(Labeler::new(codebook, grid, patch)?)))
    }

    /// Labels the pixels of a batch.
    ///
    /// # Shapes
    /// `rows`: `[B, N, D]`; `out`: `B * H * W` pixels, image by image.
    ///
    /// # Errors
    /// What `failed` makes of the errors of the stage; [`ProtocolError::Elsewhere`].
    pub fn label(
        &self,
        rows: &PatchRows<'_>,
        site: &mut Site,
        out: &mut [u8],
        failed: impl Fn(ProbeError) -> ProtocolError,
    ) -> Result<(), ProtocolError> {
        match (&self.0, rows) {
            (StagePlace::Host(labeler), PatchRows::Host(rows)) => {
                labeler.label_batch(*rows, out).map_err(failed)
            }
            #[cfg(feature = "cuda")]
            (StagePlace::Card(labeler), PatchRows::Card(rows)) => labeler
                .label_batch(rows, site.scratch()?, out)
                .map_err(failed),
            #[cfg(feature = "cuda")]
            _ => Err(ProtocolError::Elsewhere),
        }
    }

    /// Labels the pixels of a batch of reading number `reading` and counts them. `labels` is used again from
    /// call to call and holds the batch's cluster maps afterwards, image by image, where they are `wanted`.
    /// On a card, what was counted lies there until [`Counts::settle`], and an image that cannot be labeled
    /// is only known to [`Site::refused`].
    ///
    /// # Shapes
    /// `rows`: `[B, N, D]`.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`], [`ProtocolError::Measure`], [`ProtocolError::Elsewhere`].
    pub fn count(
        &self,
        reading: usize,
        rows: &PatchRows<'_>,
        batch: &TestBatch<'_>,
        site: &mut Site,
        counts: &mut Counts,
        (labels, wanted): (&mut Vec<u8>, bool),
    ) -> Result<(), ProtocolError> {
        #[cfg(feature = "cuda")]
        if let (StagePlace::Card(labeler), PatchRows::Card(rows), Some(card)) =
            (&self.0, rows, &mut site.card)
        {
            let wanted = wanted.then(|| {
                labels.resize(batch.images.len() * counts.pixels(), 0);
                labels
            });
            return counts
                .add_on_card(labeler, rows, batch, card, wanted)
                .map_err(ProtocolError::stage(reading));
        }
        labels.resize(batch.images.len() * counts.pixels(), 0);
        match (&self.0, rows, &mut counts.soft) {
            (StagePlace::Host(labeler), PatchRows::Host(rows), Some(soft)) => labeler
                .label_batch_soft(*rows, labels, soft)
                .map_err(ProtocolError::stage(reading))?,
            (StagePlace::Host(labeler), PatchRows::Host(rows), None) => labeler
                .label_batch(*rows, labels)
                .map_err(ProtocolError::stage(reading))?,
            #[cfg(feature = "cuda")]
            _ => return Err(ProtocolError::Elsewhere),
        }
        Ok(counts.add(labels, batch)?)
    }
}
