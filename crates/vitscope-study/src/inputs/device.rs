//! The stages of a probe where the rows lie: on the host, or on the card that made them.
#![cfg_attr(
    not(feature = "cuda"),
    expect(unused_variables, reason = "on the host the stages need no tools")
)]

use ndarray::{Array2, Axis, Slice};
#[cfg(feature = "cuda")]
use vitscope_probe::cuda::{Cluster, DeviceLabeler, DeviceMoments, DeviceTrainer, Scratch};
use vitscope_probe::{
    AdamSettings, Labeler, Moments, ProbeError, Reservoir, Trainer, TrainerState,
};
use vitscope_vit::vit::Rows;

use crate::error::StudyError;
use crate::source::Source;

/// What the stages on a card have in common; on the host they need nothing.
pub(crate) struct Tools {
    #[cfg(feature = "cuda")]
    card: Option<Card>,
}

#[cfg(feature = "cuda")]
struct Card {
    cluster: std::sync::Arc<Cluster>,
    scratch: Scratch,
}

impl Tools {
    /// Tools for the rows that a source gives.
    #[cfg(feature = "cuda")]
    pub(crate) fn of(source: &Source) -> Result<Self, StudyError> {
        let prepare = |gpu| {
            let cluster = Cluster::new(gpu)?;
            let scratch = Scratch::new(gpu)?;
            Ok(Card { cluster, scratch })
        };
        let card = source.gpu().map(prepare).transpose();
        Ok(Self {
            card: card.map_err(|source| StudyError::Probe {
                slot: "probes".to_owned(),
                source,
            })?,
        })
    }

    /// Tools for the rows that a source gives.
    #[cfg(not(feature = "cuda"))]
    #[expect(clippy::unnecessary_wraps, reason = "a card has to be prepared")]
    pub(crate) fn of(_: &Source) -> Result<Self, StudyError> {
        Ok(Self {})
    }

    #[cfg(feature = "cuda")]
    fn scratch(&mut self) -> Result<&mut Scratch, StudyError> {
        let card = self.card.as_mut().ok_or_else(elsewhere)?;
        Ok(&mut card.scratch)
    }
}

/// A stage was given rows of another place.
#[cfg(feature = "cuda")]
fn elsewhere() -> StudyError {
    StudyError::Internal("rows and probe lie on different devices".to_owned())
}

/// Moments while they are summed.
pub(crate) enum Gatherer {
    Host(Moments),
    #[cfg(feature = "cuda")]
    Card(Box<DeviceMoments>),
}

impl Gatherer {
    pub(crate) fn new(width: usize, tools: &Tools) -> Result<Self, ProbeError> {
        #[cfg(feature = "cuda")]
        if let Some(card) = &tools.card {
            let moments = DeviceMoments::new(&card.cluster, width)?;
            return Ok(Self::Card(Box::new(moments)));
        }
        Ok(Self::Host(Moments::new(width)))
    }

    /// Adds one image of a batch, also to a reservoir.
    pub(crate) fn add(
        &mut self,
        reservoir: &mut Reservoir,
        rows: &Rows<'_>,
        (image, weight): (usize, u32),
        tools: &mut Tools,
        failed: impl Fn(ProbeError) -> StudyError,
    ) -> Result<(), StudyError> {
        match (self, rows) {
            (Self::Host(moments), Rows::Host(rows)) => {
                let rows = rows.slice_axis(Axis(0), Slice::from(image..=image));
                moments
                    .add(rows, &[weight])
                    .and_then(|()| reservoir.add(rows, &[weight]))
                    .map_err(failed)
            }
            #[cfg(feature = "cuda")]
            (Self::Card(moments), Rows::Cuda(rows)) => {
                let rows = rows.image(image);
                moments
                    .add(&rows, &[weight], tools.scratch()?)
                    .and_then(|()| reservoir.add_device(&rows, &[weight]))
                    .map_err(failed)
            }
            #[cfg(feature = "cuda")]
            _ => Err(elsewhere()),
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
    pub(crate) fn enter(&mut self, tools: &Tools, adam: AdamSettings) -> Result<(), ProbeError> {
        #[cfg(feature = "cuda")]
        if let Some(card) = &tools.card {
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
        rows: &Rows<'_>,
        tools: &mut Tools,
        failed: impl Fn(ProbeError) -> StudyError,
    ) -> Result<(), StudyError> {
        match (self, rows) {
            (Self::Host(trainer), Rows::Host(rows)) => trainer.add(*rows).map_err(failed),
            #[cfg(feature = "cuda")]
            (Self::Card(trainer), Rows::Cuda(rows)) => {
                trainer.add(rows, tools.scratch()?).map_err(failed)
            }
            #[cfg(feature = "cuda")]
            _ => Err(elsewhere()),
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
    pub(crate) fn codebook(&self) -> Result<Array2<f32>, StudyError> {
        match self {
            Self::Host(trainer) => Ok(trainer.codebook()),
            #[cfg(feature = "cuda")]
            Self::Card(_) => Err(elsewhere()),
        }
    }
}

/// What labels pixels.
pub(crate) enum Painter {
    Host(Labeler),
    #[cfg(feature = "cuda")]
    Card(Box<DeviceLabeler>),
}

impl Painter {
    pub(crate) fn new(
        codebook: &Array2<f32>,
        grid: (usize, usize),
        patch: usize,
        tools: &Tools,
    ) -> Result<Self, ProbeError> {
        let codebook = codebook.view();
        #[cfg(feature = "cuda")]
        if let Some(card) = &tools.card {
            let labeler = DeviceLabeler::new(&card.cluster, codebook, grid, patch)?;
            return Ok(Self::Card(Box::new(labeler)));
        }
        Ok(Self::Host(Labeler::new(codebook, grid, patch)?))
    }

    pub(crate) fn label(
        &self,
        rows: &Rows<'_>,
        tools: &mut Tools,
        out: &mut [u8],
        failed: impl Fn(ProbeError) -> StudyError,
    ) -> Result<(), StudyError> {
        match (self, rows) {
            (Self::Host(labeler), Rows::Host(rows)) => {
                labeler.label_batch(*rows, out).map_err(failed)
            }
            #[cfg(feature = "cuda")]
            (Self::Card(labeler), Rows::Cuda(rows)) => labeler
                .label_batch(rows, tools.scratch()?, out)
                .map_err(failed),
            #[cfg(feature = "cuda")]
            _ => Err(elsewhere()),
        }
    }
}
