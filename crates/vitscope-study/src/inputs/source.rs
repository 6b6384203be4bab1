//! Where facets come from: a backbone run over images, or a feature directory.

use std::time::Instant;

use ndarray::Array3;
use vitscope_vit::vit::Rows;

pub use crate::backbone::{Backbone, tapped_kind};
use crate::error::StudyError;
use crate::features::FeatureDir;
pub use crate::pass::{Pass, PassTimes, Reading, Seen, Visitor};
pub use crate::turn::Turn;

/// Images that go through the backbone together. The last bits of an embedding may depend on what it is
/// computed with, so the number is part of what makes a run repeatable.
pub const MICRO_BATCH: usize = vitscope_protocol::MICRO_BATCH;

/// The same on a card, which is not filled by fewer. What a batch adds is summed image by image there,
/// too; but the products of a forward pass add up their terms in an order that may depend on how many
/// images there are, so this number, too, is part of what makes a run repeatable.
#[cfg(feature = "cuda")]
const CARD_BATCH: usize = 64;

/// Facets that were kept when the backbone gave them.
pub trait Replay: std::fmt::Debug {
    /// As [`Source::run`].
    ///
    /// # Errors
    /// From the disk or the visitor.
    fn run(
        &mut self,
        pass: &Pass<'_>,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError>;

    /// Gives the disk back.
    ///
    /// # Errors
    /// When the file cannot be removed.
    fn remove(self: Box<Self>) -> Result<(), StudyError>;
}

/// Something that gives the facets of a data set's images.
#[derive(Debug)]
pub enum Source {
    /// Runs the model.
    Backbone(Box<Backbone>),
    /// Reads what some program has written.
    Features(Box<FeatureDir>),
    /// Reads what the backbone has given before.
    Cached(Box<dyn Replay>),
}

impl Source {
    /// The card that its rows lie on, if they do.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Option<&std::sync::Arc<vitscope_probe::cuda::Gpu>> {
        match self {
            Self::Backbone(backbone) => backbone.vit().gpu(),
            Self::Features(_) | Self::Cached(_) => None,
        }
    }

    /// Images that go through it together: [`MICRO_BATCH`], on a card more.
    pub(crate) fn unit(&self) -> usize {
        #[cfg(feature = "cuda")]
        if self.gpu().is_some() {
            return CARD_BATCH;
        }
        MICRO_BATCH
    }

    /// Shows every reading of every image of a pass to a visitor, in order.
    ///
    /// # Errors
    /// From the data, the files or the visitor.
    pub fn run(
        &mut self,
        pass: &Pass<'_>,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError> {
        let (unit, start) = (self.unit(), Instant::now());
        let ran = match self {
            Self::Backbone(backbone) => backbone.run(pass, unit, visitor, times),
            Self::Features(dir) => run_features(dir, pass, visitor, times),
            Self::Cached(cache) => cache.run(pass, visitor, times),
        };
        times.total += start.elapsed();
        ran
    }
}

fn run_features(
    dir: &mut FeatureDir,
    pass: &Pass<'_>,
    visitor: &mut dyn Visitor,
    times: &mut PassTimes,
) -> Result<(), StudyError> {
    if !visitor.attention_layers().is_empty() {
        return Err(StudyError::setting(
            "a feature directory holds no attention weights: give the model itself",
        ));
    }
    let mut rows = Array3::zeros((0, 0, 0));
    let items = pass.data.split(pass.split);
    for (batch, last) in pass.batches(MICRO_BATCH) {
        let mut seen = pass.nothing_seen();
        for &index in batch {
            let label = if pass.labels {
                pass.data.label(&items[index], &pass.geometry)?
            } else {
                None
            };
            seen.push(index, label.as_ref(), pass.geometry.size.pow(2));
        }
        for (number, reading) in pass.readings.iter().enumerate() {
            dir.read(pass.split, reading.slot, batch, &mut rows)?;
            let visiting = Instant::now();
            visitor
                .reading(number, &Rows::Host(rows.view()), &seen)
                .map_err(|error| pass.named(error, &seen, Some(&*dir)))?;
            times.visit += visiting.elapsed();
        }
        times.images += seen.images.len() as u64;
        let visiting = Instant::now();
        visitor.batch(&seen, last)?;
        times.visit += visiting.elapsed();
    }
    Ok(())
}
