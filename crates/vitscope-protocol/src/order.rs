//! The order in which training images are seen (docs/protocol.md section 1), and how settings share it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::error::ProtocolError;
use crate::shuffle::shuffled;

/// Batches of training images: a seeded shuffle per epoch, the last short batch dropped.
///
/// The order is a function of the seed and the epoch alone, so a run that was stopped can take
/// up any step again.
#[derive(Clone, Debug)]
pub struct TrainOrder {
    images: usize,
    batch: usize,
    seed: Option<u64>,
}

impl TrainOrder {
    /// Batches of `batch` images out of `images`; `seed` is `None` for the order of the files.
    ///
    /// # Errors
    /// [`ProtocolError::TooFewImages`] if there are fewer images than one batch takes, or if a batch takes
    /// none.
    pub fn new(images: usize, batch: usize, seed: Option<u64>) -> Result<Self, ProtocolError> {
        if !(1..=images).contains(&batch) {
            return Err(ProtocolError::TooFewImages { images, batch });
        }
        Ok(Self {
            images,
            batch,
            seed,
        })
    }

    /// Steps in one epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.images / self.batch
    }

    fn epoch(&self, epoch: usize) -> Vec<usize> {
        match self.seed {
            Some(seed) => shuffled(self.images, seed, epoch as u64),
            None => (0..self.images).collect(),
        }
    }

    /// The batches of steps `first..last`.
    #[must_use]
    pub fn batches(&self, first: usize, last: usize) -> Vec<Vec<usize>> {
        let mut current = (usize::MAX, Vec::new());
        (first..last)
            .map(|step| {
                let (epoch, stretch) = self.place(step);
                if current.0 != epoch {
                    current = (epoch, self.epoch(epoch));
                }
                current.1[stretch].to_vec()
            })
            .collect()
    }

    /// The images of `batches` training batches taken at `interval`, each once, in the order of the
    /// files, with how often each is seen (docs/protocol.md section 3). That order is the same for every
    /// seed, so runs of several seeds can share one pass over them.
    #[must_use]
    pub fn distinct(&self, batches: usize, interval: usize) -> BTreeMap<usize, u32> {
        let mut seen = BTreeMap::new();
        for index in 0..batches {
            let step = index * interval;
            for image in self.batches(step, step + 1).remove(0) {
                *seen.entry(image).or_insert(0) += 1;
            }
        }
        seen
    }

    /// The seed of the shuffle; orders of the same seed over as many images are one sequence,
    /// whatever their batches.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Where the batch of a step lies: its epoch, and the stretch of the epoch's images.
    fn place(&self, step: usize) -> (usize, Range<usize>) {
        let start = step % self.steps_per_epoch() * self.batch;
        (step / self.steps_per_epoch(), start..start + self.batch)
    }
}

/// The steps that one of several settings has yet to take in shared training.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a> {
    /// Its order of images.
    pub order: &'a TrainOrder,
    /// The first step to take.
    pub first: usize,
    /// The step before which it stops.
    pub last: usize,
}

/// Images that go through the backbone together in shared training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The images, in the order in which they are seen.
    pub images: Vec<usize>,
    /// Who learns from all of them.
    pub takers: Vec<Taker>,
}

/// One of the settings that learn from a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// Its place among those that share the training.
    pub index: usize,
    /// Whether the round ends one of its steps.
    pub ends_step: bool,
}

/// The rounds in which settings of one seed learn, each image of the common sequence run once.
///
/// An epoch is cut wherever a step of one of them ends, so that a stretch belongs to a step as a whole or
/// not at all. Each sees the images of its own steps in its own order.
#[must_use]
pub fn rounds(ahead: &[Ahead<'_>]) -> Vec<Round> {
    // The stretches of each epoch: whose they are, where they begin and end.
    let mut epochs: BTreeMap<usize, Vec<(usize, Range<usize>)>> = BTreeMap::new();
    for (index, ahead) in ahead.iter().enumerate() {
        for step in ahead.first..ahead.last {
            let (epoch, stretch) = ahead.order.place(step);
            epochs.entry(epoch).or_default().push((index, stretch));
        }
    }
    let mut rounds = Vec::new();
    for (epoch, stretches) in epochs {
        let sequence = ahead[stretches[0].0].order.epoch(epoch);
        let ends = stretches.iter().flat_map(|(_, s)| [s.start, s.end]);
        let cuts: Vec<usize> = ends.collect::<BTreeSet<_>>().into_iter().collect();
        for pair in cuts.windows(2) {
            let takers: Vec<Taker> = stretches
                .iter()
                .filter(|(_, stretch)| stretch.start <= pair[0] && pair[1] <= stretch.end)
                .map(|&(index, ref stretch)| Taker {
                    index,
                    ends_step: stretch.end == pair[1],
                })
                .collect();
            if !takers.is_empty() {
                rounds.push(Round {
                    images: sequence[pair[0]..pair[1]].to_vec(),
                    takers,
                });
            }
        }
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_shows_each_image_once_and_drops_the_short_batch() {
        let order = TrainOrder::new(10, 3, Some(7)).unwrap();
        let first: Vec<usize> = order.batches(0, 3).concat();
        let second: Vec<usize> = order.batches(3, 6).concat();
        for epoch in [&first, &second] {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), 9);
        }
        assert_ne!(first, second);
        assert_eq!(order.batches(4, 6), order.batches(0, 6)[4..]);
        assert_eq!(
            TrainOrder::new(5, 2, None).unwrap().batches(1, 3),
            [[2, 3], [0, 1]]
        );
    }

    #[test]
    fn distinct_images_carry_how_often_they_are_seen() {
        let order = TrainOrder::new(4, 2, None).unwrap();
        let list = |batches, interval| Vec::from_iter(order.distinct(batches, interval));
        assert_eq!(list(3, 1), [(0, 2), (1, 2), (2, 1), (3, 1)]);
        assert_eq!(list(2, 2), [(0, 2), (1, 2)]);
        let total: u32 = order.distinct(96, 4).values().sum();
        assert_eq!(total, 192);
    }

    /// Whatever shares the rounds, each sees exactly the batches that it would see alone.
    #[test]
    fn rounds_give_each_its_own_batches() {
        let orders = [3, 4, 6, 3, 25].map(|batch| TrainOrder::new(25, batch, Some(5)).unwrap());
        let steps = [(0, 20), (2, 9), (0, 7), (11, 12), (0, 2)];
        let settings: Vec<Ahead<'_>> = orders
            .iter()
            .zip(steps)
            .map(|(order, (first, last))| Ahead { order, first, last })
            .collect();
        let rounds = rounds(&settings);
        for (index, one) in settings.iter().enumerate() {
            let mut seen = vec![Vec::<usize>::new()];
            for round in &rounds {
                let Some(taker) = round.takers.iter().find(|taker| taker.index == index) else {
                    continue;
                };
                seen.last_mut().unwrap().extend(&round.images);
                if taker.ends_step {
                    seen.push(Vec::new());
                }
            }
            assert_eq!(seen.pop(), Some(Vec::new()));
            assert_eq!(seen, one.order.batches(one.first, one.last));
        }
        let run: usize = rounds.iter().map(|round| round.images.len()).sum();
        // The first one's 20 steps of 3 reach into the third epoch; the others fill gaps of 1.
        let alone: usize = settings
            .iter()
            .map(|s| (s.last - s.first) * s.order.batch)
            .sum();
        assert!(run <= 75 && alone > 180, "{run} {alone}");
    }

    #[test]
    fn one_alone_has_a_round_per_step() {
        let order = TrainOrder::new(10, 4, Some(1)).unwrap();
        let one = Ahead {
            order: &order,
            first: 1,
            last: 5,
        };
        let rounds = rounds(&[one]);
        let images: Vec<_> = rounds.iter().map(|round| round.images.clone()).collect();
        assert_eq!(images, order.batches(1, 5));
        let alone = Taker {
            index: 0,
            ends_step: true,
        };
        assert!(rounds.iter().all(|round| round.takers == [alone]));
    }
}
