//! Uniform numbers from a seeded ChaCha8 stream, with a rule of our own, so that a seed means the same in
//! every version of the random-number crates.

use rand::Rng;

/// A uniform index in `0..bound` (multiply-shift; the bias is below `bound / 2^64`).
#[must_use]
pub fn index(rng: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}
