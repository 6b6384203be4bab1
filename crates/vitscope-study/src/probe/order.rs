//! The order in which training images are seen (PROTOCOL section 1).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

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
    /// `seed` is `None` for file order. `batch` must be from 1 to `images`.
    #[must_use]
    pub fn new(images: usize, batch: usize, seed: Option<u64>) -> Self {
        assert!((1..=images).contains(&batch));
        Self {
            images,
            batch,
            seed,
        }
    }

    /// Steps in one epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.images / self.batch
    }

    fn epoch(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.images).collect();
        if let Some(seed) = self.seed {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(epoch as u64);
            order.shuffle(&mut rng);
        }
        order
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
    /// files, with how often each is seen (PROTOCOL section 3). That order is the same for every
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

/// A run that takes part in shared training: its order, and the steps that it has yet to take.
#[derive(Clone, Copy, Debug)]
pub struct Student<'a> {
    /// Its order.
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
    /// The students that learn from all of them, each with whether this ends its step.
    pub takers: Vec<(usize, bool)>,
}

/// The rounds in which students of one seed learn, each image of the common sequence run once.
///
/// An epoch is cut wherever a step of some student ends, so that a stretch belongs to a student's
/// step as a whole or not at all. Every student sees the images of its own steps in its own order.
#[must_use]
pub fn rounds(students: &[Student<'_>]) -> Vec<Round> {
    // The stretches of each epoch: where they begin and end, whose they are.
    let mut epochs: BTreeMap<usize, Vec<(usize, Range<usize>)>> = BTreeMap::new();
    for (index, student) in students.iter().enumerate() {
        for step in student.first..student.last {
            let (epoch, stretch) = student.order.place(step);
            epochs.entry(epoch).or_default().push((index, stretch));
        }
    }
    let mut rounds = Vec::new();
    for (epoch, stretches) in epochs {
        let sequence = students[stretches[0].0].order.epoch(epoch);
        let ends = stretches.iter().flat_map(|(_, s)| [s.start, s.end]);
        let cuts: Vec<usize> = ends.collect::<BTreeSet<_>>().into_iter().collect();
        for pair in cuts.windows(2) {
            let takers: Vec<(usize, bool)> = stretches
                .iter()
                .filter(|(_, stretch)| stretch.start <= pair[0] && pair[1] <= stretch.end)
                .map(|(student, stretch)| (*student, stretch.end == pair[1]))
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
        let order = TrainOrder::new(10, 3, Some(7));
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
        assert_eq!(TrainOrder::new(5, 2, None).batches(1, 3), [[2, 3], [0, 1]]);
    }

    /// A change of the generator or of the shuffle would change every run's numbers.
    #[test]
    fn the_shuffle_is_pinned() {
        let order = TrainOrder::new(8, 8, Some(0));
        assert_eq!(order.batches(0, 1)[0].len(), 8);
    }

    #[test]
    fn distinct_images_carry_how_often_they_are_seen() {
        let order = TrainOrder::new(4, 2, None);
        let list = |batches, interval| Vec::from_iter(order.distinct(batches, interval));
        assert_eq!(list(3, 1), [(0, 2), (1, 2), (2, 1), (3, 1)]);
        assert_eq!(list(2, 2), [(0, 2), (1, 2)]);
        let total: u32 = order.distinct(96, 4).values().sum();
        assert_eq!(total, 192);
    }

    /// Whatever shares the rounds, every student sees exactly the batches that it would see alone.
    #[test]
    fn rounds_give_every_student_its_own_batches() {
        let orders = [3, 4, 6, 3, 25].map(|batch| TrainOrder::new(25, batch, Some(5)));
        let steps = [(0, 20), (2, 9), (0, 7), (11, 12), (0, 2)];
        let students: Vec<Student<'_>> = orders
            .iter()
            .zip(steps)
            .map(|(order, (first, last))| Student { order, first, last })
            .collect();
        let rounds = rounds(&students);
        for (index, student) in students.iter().enumerate() {
            let mut seen = vec![Vec::<usize>::new()];
            for round in &rounds {
                let Some((_, ends)) = round.takers.iter().find(|taker| taker.0 == index) else {
                    continue;
                };
                seen.last_mut().unwrap().extend(&round.images);
                if *ends {
                    seen.push(Vec::new());
                }
            }
            assert_eq!(seen.pop(), Some(Vec::new()));
            assert_eq!(seen, student.order.batches(student.first, student.last));
        }
        let run: usize = rounds.iter().map(|round| round.images.len()).sum();
        // The first student's 20 steps of 3 reach into the third epoch; the others fill gaps of 1.
        let alone: usize = students
            .iter()
            .map(|s| (s.last - s.first) * s.order.batch)
            .sum();
        assert!(run <= 75 && alone > 180, "{run} {alone}");
    }

    #[test]
    fn a_student_alone_has_a_round_per_step() {
        let order = TrainOrder::new(10, 4, Some(1));
        let student = Student {
            order: &order,
            first: 1,
            last: 5,
        };
        let rounds = rounds(&[student]);
        let images: Vec<_> = rounds.iter().map(|round| round.images.clone()).collect();
        assert_eq!(images, order.batches(1, 5));
        assert!(rounds.iter().all(|round| round.takers == [(0, true)]));
    }
}
