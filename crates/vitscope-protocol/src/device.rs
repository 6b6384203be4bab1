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
    Cluster, DeviceLabeler, DeviceMoments, DeviceTrainer, Gpu, RowsView, Scratch,
};
use vitscope_probe::{
    AdamSettings, Labeler, Moments, ProbeError, Reservoir, Trainer, TrainerState,
};

use crate::counts::{Counts, TestBatch};
use crate::error::ProtocolError;

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

#[cfg(feature = "cuda")]
#[derive(Debug)]
struct Card {
    cluster: std::sync::Arc<Cluster>,
    scratch: Scratch,
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
        let cluster = Cluster::new(gpu)?;
        let scratch = Scratch::new(gpu)?;
        Ok(Self {
            card: Some(Card { cluster, scratch }),
        })
    }

    #[cfg(feature = "cuda")]
    fn scratch(&mut self) -> Result<&mut Scratch, ProtocolError> {
        let card = self.card.as_mut().ok_or(ProtocolError::Elsewhere)?;
        Ok(&mut card.scratch)
    }
}

/// Moments while they are summed.
#[derive(Debug)]
pub(crate) enum Gatherer {
    Host(Moments),
    #[cfg(feature = "cuda")]
    Card(Box<DeviceMoments>),
}

impl Gatherer {
    pub(crate) fn new(width: usize, site: &Site) -> Result<Self, ProbeError> {
        #[cfg(feature = "cuda")]
        if let Some(card) = &site.card {
            let moments = DeviceMoments::new(&card.cluster, width)?;
            return Ok(Self::Card(Box::new(moments)));
        }
        Ok(Self::Host(Moments::new(width)))
    }

    /// Adds one image of a batch, `weight` times, also to a reservoir.
    pub(crate) fn add(
        &mut self,
        reservoir: &mut Reservoir,
        rows: &PatchRows<'_>,
        image: usize,
        weight: u32,
        site: &mut Site,
        failed: impl Fn(ProbeError) -> ProtocolError,
    ) -> Result<(), ProtocolError> {
        // The stage sees this one image alone; the caller knows it by its place in the batch.
        let failed = |error| match error {
            ProbeError::NonFinite { .. } => failed(ProbeError::NonFinite { image }),
            error => failed(error),
        };
        match (self, rows) {
            (Self::Host(moments), PatchRows::Host(rows)) => {
                let rows = rows.slice_axis(Axis(0), Slice::from(image..=image));
                moments
                    .add(rows, &[weight])
                    .and_then(|()| reservoir.add(rows, &[weight]))
                    .map_err(failed)
            }
            #[cfg(feature = "cuda")]
            (Self::Card(moments), PatchRows::Card(rows)) => {
                let rows = rows.image(image);
                moments
                    .add(&rows, &[weight], site.scratch()?)
                    .and_then(|()| reservoir.add_device(&rows, &[weight]))
                    .map_err(failed)
            }
            #[cfg(feature = "cuda")]
            _ => Err(ProtocolError::Elsewhere),
        }
    }

    /// The moments, on the host.
    pub(crate) fn finish(self) -> Result<Moments, ProbeError> {
        match self {
            Self::Host(moments) => Ok(moments),
            #[cfg(feature = "cuda")]
            Self::Card(mut moments) => moments.to_moments(),
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
pub struct Painter(Place);

#[derive(Debug)]
enum Place {
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
            return Ok(Self(Place::Card(Box::new(labeler))));
        }
        Ok(Self(Place::Host(Labeler::new(codebook, grid, patch)?)))
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
            (Place::Host(labeler), PatchRows::Host(rows)) => {
                labeler.label_batch(*rows, out).map_err(failed)
            }
            #[cfg(feature = "cuda")]
            (Place::Card(labeler), PatchRows::Card(rows)) => labeler
                .label_batch(rows, site.scratch()?, out)
                .map_err(failed),
            #[cfg(feature = "cuda")]
            _ => Err(ProtocolError::Elsewhere),
        }
    }

    /// Labels the pixels of a batch of reading number `reading` and counts them. `labels` is used again from
    /// call to call and holds the batch's cluster maps afterwards, image by image.
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
        labels: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        labels.resize(batch.images.len() * counts.pixels(), 0);
        self.label(rows, site, labels, ProtocolError::stage(reading))?;
        Ok(counts.add(labels, batch)?)
    }
}
