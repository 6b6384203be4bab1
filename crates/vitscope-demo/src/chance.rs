//! Random numbers that are the same on every machine and with every version of the crates beside.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of its own for everything that is drawn independently.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream of these words.
    pub(crate) fn new(words: [u64; 4]) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    pub(crate) fn word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in `[0, 1)`, on 32 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        f64::from(self.word()) / 4_294_967_296.0
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.word()) * count as u64) >> 32) as usize
    }

    /// True with this probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A direction: a unit vector, uniform on the circle.
    pub(crate) fn direction(&mut self) -> [f64; 2] {
        loop {
            let [x, y] = [self.between(-1.0, 1.0), self.between(-1.0, 1.0)];
            let square = x * x + y * y;
            if (0.01..=1.0).contains(&square) {
                let length = square.sqrt();
                return [x / length, y / length];
            }
        }
    }

    /// The list in random order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}
