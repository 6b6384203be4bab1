//! How a run tells what it is doing: the library's observer, and the phases of other work than the protocol's.

pub use vitscope_protocol::{Observer, Phase, Silent};

/// Facets of the training images kept on disk.
pub const CACHE: Phase = Phase::new("cache");
/// Transforms fitted to training images.
pub const FIT: Phase = Phase::new("fit");
/// Readers fitted to training images and their labels.
pub const READ: Phase = Phase::new("read");
/// Test images looked at for what is odd about them.
pub const INSPECT: Phase = Phase::new("inspect");
/// Facets written to disk.
pub const EXTRACT: Phase = Phase::new("extract");
/// Attention weights of the images.
pub const ATTENTION: Phase = Phase::new("attention");
/// Patches labeled in every view of an image.
pub const CAUSES: Phase = Phase::new("causes");
/// Key points found in the target images.
pub const CORRESPOND: Phase = Phase::new("correspond");
/// Images and masks of a data set looked at.
pub const CHECK: Phase = Phase::new("check");
