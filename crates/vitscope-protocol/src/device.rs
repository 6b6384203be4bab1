//! The seam between the protocol and the device that its stages run on.
//!
//! Everything else in this crate knows a stage by the three types of this file, and rows by [`PatchRows`]:
//! it does not know where either lies. On the host, a [`Gatherer`] is [`Moments`], [`Learners`] are
//! [`Trainer`]s, a [`Painter`] is a [`Labeler`]. On an NVIDIA GPU (feature `cuda`) they are the counterparts
//! of [`vitscope_probe`]'s module `cuda`, whose rows never leave the card. *Another device* is a variant of
//! each of the five types; *counting on a device* is another body of [`Painter::count`].
#![cfg_attr(
    not(feature = "cuda"),
    expect(unused_variables, reason = "on the host the stages need no site")
)]

use ndarray::{Array2, ArrayView3, Axis, Slice};
use rayon::prelude::*;
#[cfg(feature = "cuda")]
use vitscope_probe::cuda::{
    Buffer, DeviceLabeler, DeviceMoments, DeviceTrainers, Gpu, RowsView, StageScratch,
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

/// The trainers of the slots of a setup, at rest on the host.
#[derive(Debug)]
pub(crate) enum Learners {
    Host(Vec<Trainer>),
    #[cfg(feature = "cuda")]
    Card(Box<DeviceTrainers>),
}

impl Learners {
    /// Go where the rows will be.
    pub(crate) fn enter(&mut self, site: &Site, adam: AdamSettings) -> Result<(), ProbeError> {
        #[cfg(feature = "cuda")]
        if let Some(card) = &site.card {
            let states = self.to_states()?;
            let trainers = DeviceTrainers::from_states(&card.cluster, &states, adam)?;
            *self = Self::Card(Box::new(trainers));
        }
        Ok(())
    }

    /// Come back to the host.
    pub(crate) fn leave(&mut self, adam: AdamSettings) -> Result<(), ProbeError> {
        if !matches!(self, Self::Host(_)) {
            let states = self.to_states()?;
            let trainers = states.iter().map(|state| Trainer::from_state(state, adam));
            *self = Self::Host(trainers.collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    /// Add rows to the current step, each with slot and reading.
    pub(crate) fn add(
        &mut self,
        rows: &[(usize, usize, &PatchRows<'_>)],
        site: &mut Site,
    ) -> Result<(), ProtocolError> {
        match self {
            Self::Host(trainers) => rows
                .iter()
                .try_for_each(|(slot, reading, rows)| match rows {
                    PatchRows::Host(rows) => trainers[*slot]
                        .add(*rows)
                        .map_err(ProtocolError::stage(*reading)),
                    #[cfg(feature = "cuda")]
                    PatchRows::Card(_) => Err(ProtocolError::Elsewhere),
                }),
            #[cfg(feature = "cuda")]
            Self::Card(trainers) => {
                let Some((_, reading, _)) = rows.first() else {
                    return Ok(());
                };
                let on_card = rows.iter().map(|(slot, _, rows)| match rows {
                    PatchRows::Card(rows) => Ok((*slot, *rows)),
                    PatchRows::Host(_) => Err(ProtocolError::Elsewhere),
                });
                let on_card: Vec<(usize, RowsView<'_>)> = on_card.collect::<Result<_, _>>()?;
                trainers
                    .add(&on_card, site.scratch()?)
                    .map_err(ProtocolError::stage(*reading))
            }
        }
    }

    /// The losses of the step that ends here, by slot; an error comes with its slot.
    pub(crate) fn finish_step(&mut self) -> Result<Vec<f64>, (usize, ProbeError)> {
        match self {
            Self::Host(trainers) => Ok(trainers.par_iter_mut().map(Trainer::finish_step).collect()),
            #[cfg(feature = "cuda")]
            Self::Card(trainers) => trainers.finish_step(),
        }
    }

    pub(crate) fn to_states(&self) -> Result<Vec<TrainerState>, ProbeError> {
        match self {
            Self::Host(trainers) => Ok(trainers.iter().map(Trainer::to_state).collect()),
            #[cfg(feature = "cuda")]
            Self::Card(trainers) => trainers.to_states(),
        }
    }

    /// Trainers that are at rest.
    pub(crate) fn at_rest(&self) -> Result<&[Trainer], ProtocolError> {
        match self {
            Self::Host(trainers) => Ok(trainers),
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
