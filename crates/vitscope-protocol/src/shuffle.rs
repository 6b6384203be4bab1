//! The shuffle of training images, with a rule of our own, so that a seed means the same order in every
//! version of the random-number crates.
//!
//! # The rule
//!
//! Fisher and Yates' shuffle in Durstenfeld's form, from the front: for `i = 1, 2, ...` place `i` changes
//! with a place `j` that is uniform in `0..=i`. The `j` are the digits of random numbers: one number below
//! `m (m+1) ... (m+r-1)`, the longest such product that 32 bits hold, is divided by `m`, the quotient by
//! `m + 1`, and so on, and each remainder is one `j`. A number below a bound is drawn from 32-bit words of
//! ChaCha8 read as the digits of a fraction `0.w1 w2 w3 ...`: it is the whole part of `bound` times the
//! fraction, with as many words as it takes to settle it, which is one in nearly every case (Canon's
//! method). Every order is equally likely, exactly.
//!
//! `rand` 0.10 shuffles in the same way, except that it reads no more than two words: the two part once in
//! at least `2^32` numbers. Runs of earlier versions were shuffled by it, so they keep their order.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The order `0..images` shuffled: stream `stream` of seed `seed`.
pub(crate) fn shuffled(images: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut order: Vec<usize> = (0..images).collect();
    let mut digits = Digits::default();
    for place in 1..images {
        order.swap(place, digits.up_to(place, || rng.next_u32()));
    }
    order
}

/// Random digits of rising base.
#[derive(Default)]
struct Digits {
    number: u32,
    left: usize,
}

impl Digits {
    /// A uniform number in `0..=last`; `last` rises by one from call to call.
    fn up_to(&mut self, last: usize, words: impl FnMut() -> u32) -> usize {
        let base = u32::try_from(last + 1).expect("fewer than 2^32 training images");
        if self.left == 0 {
            let (bound, digits) = product(base);
            self.number = below(bound, words);
            self.left = digits;
        }
        self.left -= 1;
        let digit = self.number % base;
        self.number /= base;
        digit as usize
    }
}

/// The longest product `base (base+1) ...` below `2^32`, and its number of factors.
fn product(base: u32) -> (u32, usize) {
    let mut product = base;
    let mut factors = 1;
    while let Some(longer) = product.checked_mul(base.saturating_add(factors)) {
        product = longer;
        factors += 1;
    }
    (product, factors as usize)
}

/// A uniform number in `0..bound`: the whole part of `bound` times a random fraction.
fn below(bound: u32, mut words: impl FnMut() -> u32) -> u32 {
    let mut next = || {
        let wide = u64::from(words()) * u64::from(bound);
        ((wide >> 32) as u32, wide as u32)
    };
    let (whole, mut rest) = next();
    // What further words can add is below `bound`: only then can the whole part still rise.
    while rest > bound.wrapping_neg() {
        let (carry, after) = next();
        match rest.checked_add(carry) {
            None => return whole + 1,
            Some(u32::MAX) => rest = after,
            Some(_) => break,
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of the rule or of the generator would change every run's numbers. The orders were computed by
    /// another program, which has a ChaCha8 of its own, expands the seed with PCG32 (as `rand_core` does),
    /// and settles each number with exact integers.
    #[test]
    fn the_shuffle_is_pinned() {
        assert_eq!(shuffled(8, 0, 0), [2, 0, 6, 1, 3, 5, 7, 4]);
        assert_eq!(shuffled(8, 0, 1), [0, 6, 4, 3, 5, 1, 7, 2]);
        assert_eq!(
            shuffled(20, 7, 3),
            [
                5, 16, 0, 18, 4, 6, 11, 15, 17, 3, 9, 14, 19, 10, 8, 12, 7, 1, 13, 2
            ]
        );
        assert_eq!(shuffled(1, 5, 0), [0]);
        assert_eq!(shuffled(0, 5, 0), [0_usize; 0]);
    }

    /// The numbers are `floor(bound * 0.w1 w2 ...)`, whatever the words.
    #[test]
    fn as_many_words_are_read_as_settle_the_number() {
        let number = |bound, words: &[u32]| {
            let mut left = words.iter();
            let number = below(bound, || *left.next().unwrap_or(&0));
            (number, left.len())
        };
        // 3 * 2^31 / 2^32 = 1.5: settled by one word.
        assert_eq!(number(3, &[1 << 31, 9]), (1, 1));
        // 3 * 0x5555_5555 / 2^32 is 1 - 2^-32: a second word decides.
        assert_eq!(number(3, &[0x5555_5555, 0, 9]), (0, 1));
        assert_eq!(number(3, &[0x5555_5555, 0x5555_5556, 9]), (1, 1));
        // The fraction 0.333...: undecided until a word differs.
        assert_eq!(number(3, &[0x5555_5555, 0x5555_5555, 0x5555_5556]), (1, 0));
        assert_eq!(number(3, &[0x5555_5555, 0x5555_5555, 0]), (0, 0));
    }

    /// Every order of four images comes up equally often.
    #[test]
    fn every_order_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for stream in 0..24_000 {
            *counts.entry(shuffled(4, 1, stream)).or_insert(0_i32) += 1;
        }
        assert_eq!(counts.len(), 24);
        // Chi squared with 23 degrees of freedom stays under 49.7 with a probability of 0.999.
        let chi: f64 = counts
            .values()
            .map(|&count| f64::from(count - 1000).powi(2) / 1000.0)
            .sum();
        assert!(chi < 49.7, "{chi}");
    }
}
