//! Several settings that share passes over the same images (docs/protocol.md section 12).
//!
//! A pass shows *readings*: streams of patch vectors, one per slot and way of reading it, numbered from 0.
//! A [`Setup`] says which readings a setting of the protocol has a probe for. What several setups have in
//! common is done once, and each ends in the numbers that it would have alone.
//!
//! 1. [`StartPass`](crate::StartPass): an image that several setups begin with is seen once.
//! 2. [`TrainPass`](crate::TrainPass), one per [`SharedOrder`]: setups of one seed see the images in one
//!    order and learn in common rounds.
//! 3. [`Painter`](crate::Painter) and [`Counts`](crate::Counts), one of each per setup and slot.

use crate::error::ProtocolError;
use crate::order::{Ahead, Round, TrainOrder, rounds};
use crate::settings::CheckedProtocol;

/// A setting of the protocol, on some readings of a pass over some training images.
#[derive(Clone, Debug)]
pub struct Setup {
    protocol: CheckedProtocol,
    order: TrainOrder,
    readings: Vec<usize>,
}

impl Setup {
    /// A setting over `images` training images with a probe for each of some readings.
    ///
    /// # Errors
    /// [`ProtocolError::TooFewImages`].
    pub fn new(
        protocol: CheckedProtocol,
        images: usize,
        readings: Vec<usize>,
    ) -> Result<Self, ProtocolError> {
        Ok(Self {
            order: protocol.order(images)?,
            protocol,
            readings,
        })
    }

    /// The settings.
    #[must_use]
    pub fn protocol(&self) -> &CheckedProtocol {
        &self.protocol
    }

    /// The order of the training images.
    #[must_use]
    pub fn order(&self) -> &TrainOrder {
        &self.order
    }

    /// The reading of each of its slots.
    #[must_use]
    pub fn readings(&self) -> &[usize] {
        &self.readings
    }

    /// Which of its slots a reading is.
    #[must_use]
    pub fn slot(&self, reading: usize) -> Option<usize> {
        self.readings.iter().position(|&own| own == reading)
    }
}

/// Setups that see the training images in one order, and so learn in the same rounds.
#[derive(Clone, Debug)]
pub struct SharedOrder {
    /// Their numbers among all setups.
    pub setups: Vec<usize>,
    /// The rounds; a taker's index counts within `setups`.
    pub rounds: Vec<Round>,
}

impl SharedOrder {
    /// The setups by the order of their images, each with the steps that are left after the `taken` ones.
    #[must_use]
    pub fn of(setups: &[&Setup], taken: impl Fn(usize) -> usize) -> Vec<Self> {
        let mut seeds: Vec<Option<u64>> = setups.iter().map(|setup| setup.order.seed()).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let of_seed = |seed: Option<u64>| {
            let alike = (0..setups.len()).filter(|&index| setups[index].order.seed() == seed);
            let alike: Vec<usize> = alike.collect();
            let ahead = |&index: &usize| Ahead {
                order: &setups[index].order,
                first: taken(index),
                last: setups[index].protocol.steps(),
            };
            let ahead: Vec<Ahead<'_>> = alike.iter().map(ahead).collect();
            Self {
                rounds: rounds(&ahead),
                setups: alike,
            }
        };
        seeds.into_iter().map(of_seed).collect()
    }

    /// Images of all rounds, each as often as it is seen.
    #[must_use]
    pub fn images(&self) -> u64 {
        let images = self.rounds.iter().map(|round| round.images.len() as u64);
        images.sum()
    }
}
