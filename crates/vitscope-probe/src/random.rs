//! Uniform numbers from a seeded ChaCha8 stream, with rules of our own, so that a seed means the same in
//! every version of the random-number crates.

use rand::Rng;

/// A uniform number in `[0, 1)` with 53 random bits.
pub(crate) fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A uniform number in `(0, 1]`, safe to take the logarithm of.
pub(crate) fn positive_unit(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A uniform index in `0..bound` (multiply-shift; the bias is below `bound / 2^64`).
pub(crate) fn index(rng: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}
