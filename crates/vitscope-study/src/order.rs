//! The order in which training images are seen (PROTOCOL section 1).

use std::collections::HashMap;

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
        let per_epoch = self.steps_per_epoch();
        let mut current = (usize::MAX, Vec::new());
        (first..last)
            .map(|step| {
                let epoch = step / per_epoch;
                if current.0 != epoch {
                    current = (epoch, self.epoch(epoch));
                }
                let at = step % per_epoch * self.batch;
                current.1[at..at + self.batch].to_vec()
            })
            .collect()
    }

    /// The images of `batches` training batches taken at `interval`, each once, in the order in
    /// which they are first seen, with how often each is seen (PROTOCOL section 3).
    #[must_use]
    pub fn distinct(&self, batches: usize, interval: usize) -> Vec<(usize, u32)> {
        let mut place: HashMap<usize, usize> = HashMap::new();
        let mut seen: Vec<(usize, u32)> = Vec::new();
        for index in 0..batches {
            let step = index * interval;
            for image in self.batches(step, step + 1).remove(0) {
                let at = *place.entry(image).or_insert_with(|| {
                    seen.push((image, 0));
                    seen.len() - 1
                });
                seen[at].1 += 1;
            }
        }
        seen
    }
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
        assert_eq!(order.distinct(3, 1), [(0, 2), (1, 2), (2, 1), (3, 1)]);
        assert_eq!(order.distinct(2, 2), [(0, 2), (1, 2)]);
        let total: u32 = order.distinct(96, 4).iter().map(|&(_, n)| n).sum();
        assert_eq!(total, 192);
    }
}
