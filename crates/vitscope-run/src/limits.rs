//! What a run directory may hold at most. Whatever is read of one, it may come from a stranger: it is
//! checked against these before anything is allocated or counted by it. More than any of these no real
//! run has. docs/guide.md has the same table.

use std::path::Path;

use crate::error::RunError;

/// Bytes of `run.json` and of every other JSON file.
pub const JSON_BYTES: u64 = 16 << 20;
/// Bytes of `metrics.csv` and of every other table.
pub const TABLE_BYTES: u64 = 256 << 20;
/// Bytes of a tensor of which nothing narrower is known.
pub const TENSOR_BYTES: usize = 1 << 30;
/// Bytes of a tensor of counts, and of attention between all patches of an image: 181 x 181 of them.
pub const LARGE_TENSOR_BYTES: usize = 4 << 30;
/// Bytes of a stored picture's file.
pub const PICTURE_BYTES: u64 = 256 << 20;
/// Pixels of a stored picture, about 5800 x 5800.
pub const PIXELS: usize = 1 << 25;
/// Letters of a model's name.
pub const NAME: usize = 1000;
/// Blocks of a model, and the deepest layer that a number is about.
pub const LAYERS: usize = 1000;
/// Heads of a layer.
pub const HEADS: usize = 1024;
/// Patches a side.
pub const GRID: usize = 4096;
/// Side of the crop in pixels.
pub const SIDE: usize = 8192;
/// Clusters: what a label map can hold.
pub const CLUSTERS: usize = 255;
/// Classes of the data set, or categories of pairs.
pub const CLASSES: usize = 10_000;
/// Images of a split, or pairs.
pub const IMAGES: usize = 100_000_000;
/// Examples that are kept.
pub const EXAMPLES: usize = 10_000;
/// Notes, and images that were left out.
pub const NOTES: usize = 100_000;

/// Refuses a number above its limit.
///
/// # Errors
/// A sentence that names the file.
pub(crate) fn check(path: &Path, what: &str, found: usize, most: usize) -> Result<(), RunError> {
    match found <= most {
        true => Ok(()),
        false => Err(RunError::damaged(
            path,
            format!("has {what} {found}, and no run has more than {most}"),
        )),
    }
}
