//! What the files of a run directory are called.

use std::path::{Path, PathBuf};

use crate::slot::{Slot, Subject};

/// What the run was.
pub const RECORD: &str = "run.json";
/// Its numbers.
pub const METRICS: &str = "metrics.csv";
/// Unit centroids, and the class of each cluster.
pub const CODEBOOKS: &str = "codebooks.safetensors";
/// Confusions and positions.
pub const COUNTS: &str = "counts.safetensors";
/// Bootstrap samples of mIoU, by which runs over the same images are compared.
pub const SAMPLES: &str = "samples.safetensors";
/// How probable each cluster is where, in the mean over images; absent where that was not summed.
pub const SOFT: &str = "soft.safetensors";
/// Patch vectors of the examples in a few numbers each, at the layers that are shown; absent where no label maps are kept.
pub const PATCHES: &str = "patches.safetensors";
/// Mean attention, and the rows that were asked for.
pub const ATTENTION: &str = "attention.safetensors";
/// What was done to patch vectors before they were probed.
pub const TRANSFORMS: &str = "transforms.safetensors";
/// What is odd about patch vectors and labels, where that was looked for.
pub const ARTIFACTS: &str = "artifacts.safetensors";
/// What was found in every pair of images.
pub const PAIRS: &str = "pairs.csv";
/// Where it was found.
pub const PAIR_TENSORS: &str = "pairs.safetensors";
/// The pairs that are shown.
pub const EXAMPLES: &str = "examples.json";
/// How alike places are in the pairs that are shown.
pub const EXAMPLE_TENSORS: &str = "examples.safetensors";
/// Unfinished work.
pub const STATE: &str = "state";
/// The page.
pub const PAGE: &str = "report.html";
/// The figures.
pub const FIGURES: &str = "figures";

/// The file in [`STATE`] that keeps facets, by what they were made of.
#[must_use]
pub fn kept_facets(key: &str) -> String {
    format!("facets-{key}.f32")
}

/// Whether a file in [`STATE`] keeps facets.
#[must_use]
pub fn is_kept_facets(name: &str) -> bool {
    name.starts_with("facets-") && name.ends_with(".f32")
}

/// Whether a file is drawn from what others hold: a figure, or the page.
#[must_use]
pub fn is_drawn(name: &str) -> bool {
    name == PAGE || Path::new(name).starts_with(FIGURES)
}

/// The tensor of [`COUNTS`] that says how often a cluster (or class) stands where.
#[must_use]
pub fn positions(subject: Subject) -> String {
    format!("position.{subject}")
}

/// The tensor of [`SOFT`] of a slot, `[K, Hp, Wp]`.
#[must_use]
pub fn soft(slot: Slot) -> String {
    format!("soft.{slot}")
}

/// The tensor of [`PATCHES`] with rounded coordinates of every patch of every example, `[E, N, r]`.
#[must_use]
pub fn patches(slot: Slot) -> String {
    format!("patches.{slot}")
}

/// The tensor of [`PATCHES`] that says what of the rest, which lies outside of their basis, goes to their cosines.
#[must_use]
pub fn patch_rest(slot: Slot) -> String {
    format!("patch_rest.{slot}")
}

/// The tensor of [`PATCHES`] that says how far cosines by them are off.
#[must_use]
pub fn patch_error(slot: Slot) -> String {
    format!("patch_error.{slot}")
}

/// The tensor of [`COUNTS`] that says how often a cluster meets a class.
#[must_use]
pub fn confusion(slot: Slot) -> String {
    format!("confusion.{slot}")
}

/// The tensor of [`SAMPLES`] with the mIoU of each bootstrap sample, NaN where undefined.
#[must_use]
pub fn miou_samples(slot: Slot) -> String {
    format!("miou.{slot}")
}

/// The tensor of [`TRANSFORMS`] with how much of the mean map a transform takes out at each place.
#[must_use]
pub fn removed(slot: Slot) -> String {
    format!("{slot}.removed")
}

/// The tensor of [`ARTIFACTS`] that says how many patch vectors of a slot have which length: 128 bins, four to a doubling,
/// from 2^-16 on.
#[must_use]
pub fn lengths(slot: Slot) -> String {
    format!("{slot}.lengths")
}

/// The tensor of [`ARTIFACTS`] with how many outliers lie at each place.
#[must_use]
pub fn outliers(slot: Slot) -> String {
    format!("{slot}.outliers")
}

/// The tensor of [`CODEBOOKS`] that says which class a cluster was matched with.
#[must_use]
pub fn matches(slot: Slot) -> String {
    format!("match.{slot}")
}

/// The aggregate map of a slot or of the ground truth.
#[must_use]
pub fn aggregate(run: &Path, subject: Subject) -> PathBuf {
    run.join("aggregate").join(format!("{subject}.png"))
}

/// The label map of an image.
#[must_use]
pub fn labels(run: &Path, subject: Subject, image: &str) -> PathBuf {
    let folder = run.join("labels").join(subject.to_string());
    folder.join(format!("{image}.png"))
}

/// The crop of an example image.
#[must_use]
pub fn image(run: &Path, image: &str) -> PathBuf {
    run.join("images").join(format!("{image}.png"))
}
