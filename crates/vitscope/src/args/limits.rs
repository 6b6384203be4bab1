//! How much can be asked for.

/// The largest crop that can be asked for, in pixels.
pub const MAX_SIDE: u64 = 4096;

/// More images or pairs than this are a slip of the finger.
pub const MANY: u64 = 1_000_000_000;

/// The most bootstrap samples or random shifts.
pub const MAX_RESAMPLES: u64 = 10_000;
