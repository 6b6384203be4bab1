//! Uniform numbers from a seeded ChaCha8 stream, with a rule of our own, so that a seed means the same in
//! every version of the random-number crates.

use rand::Rng;

/// A uniform index in `0..bound` (multiply-shift; the bias is below `bound / 2^64`).
///
/// ```
/// use rand::SeedableRng;
/// use rand_chacha::ChaCha8Rng;
/// use vitscope_measure::random::index;
///
/// let draw = |seed| {
///     let mut random = ChaCha8Rng::seed_from_u64(seed);
///     [(); 8].map(|()| index(&mut random, 6))
/// };
/// assert!(draw(0).iter().all(|&face| face < 6));
/// assert_eq!(draw(0), draw(0));
/// assert_ne!(draw(0), draw(1));
/// ```
#[must_use]
pub fn index(rng: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}
