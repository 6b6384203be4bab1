//! Where facets come from: a backbone run over images, or a feature directory.

use std::time::Instant;

use ndarray::Array3;
use vitscope_vit::vit::Rows;

pub use crate::backbone::{Backbone, tapped_kind};
use crate::error::StudyError;
use crate::features::FeatureDir;
pub use crate::pass::{Facets, Pass, PassTimes, Reading, Seen, Visitor};
pub use crate::turn::Turn;

/// Images that go through the backbone together. The last bits of an embedding may depend on what it is
/// computed with, so the number is part of what makes a run repeatable.
pub const MICRO_BATCH: usize = vitscope_protocol::MICRO_BATCH;

/// Something that gives the facets of a data set's images.
#[derive(Debug)]
pub enum Source {
    /// Runs the model.
    Backbone(Box<Backbone>),
    /// Reads what some program has written.
    Features(Box<FeatureDir>),
    /// Reads what the backbone has given before.
    Cached(Box<dyn Facets>),
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

    /// Whether its rows lie on a card.
    pub(crate) fn is_card(&self) -> bool {
        #[cfg(feature = "cuda")]
        return self.gpu().is_some();
        #[cfg(not(feature = "cuda"))]
        false
    }

    /// Images that go through it together: [`MICRO_BATCH`], on a card more.
    pub(crate) fn unit(&self) -> usize {
        match self {
            Self::Backbone(backbone) => backbone.unit(),
            Self::Features(_) | Self::Cached(_) => MICRO_BATCH,
        }
    }

    /// Who gives its facets.
    pub fn facets(&mut self) -> &mut dyn Facets {
        match self {
            Self::Backbone(backbone) => &mut **backbone,
            Self::Features(dir) => &mut **dir,
            Self::Cached(cache) => &mut **cache,
        }
    }
}

impl Facets for FeatureDir {
    fn run(
        &mut self,
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
                self.read(pass.split, reading.slot, batch, &mut rows)?;
                let visiting = Instant::now();
                visitor
                    .reading(number, &Rows::Host(rows.view()), &seen)
                    .map_err(|error| pass.named(error, &seen, Some(&*self)))?;
                times.visit += visiting.elapsed();
            }
            times.images += seen.images.len() as u64;
            let visiting = Instant::now();
            visitor.batch(&seen, last)?;
            times.visit += visiting.elapsed();
        }
        Ok(())
    }
}
