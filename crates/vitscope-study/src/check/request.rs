//! What a check of a data set is asked for.

use std::path::PathBuf;

/// What to look at.
#[derive(Clone, Debug)]
pub struct Request {
    /// The data set, as the user names it.
    pub data: String,
    /// Asked side of the square crop in pixels.
    pub size: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Random shifts for the null of the positional effect, and bootstrap samples for its
    /// interval; none for 0.
    pub resamples: usize,
    /// Their seed.
    pub seed: u64,
    /// Where the aggregate map and the lists of image paths go.
    pub out: Option<PathBuf>,
    /// Where a description of the set goes, a TOML file.
    pub draft: Option<PathBuf>,
}
