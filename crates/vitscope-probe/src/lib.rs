//! Clustering probes over the patch embeddings of a frozen Vision Transformer.
//!
//! One probe looks at one *slot* (a layer and a facet) and goes through three stages:
//!
//! 1. **Start** ([`Moments`], [`Reservoir`], [`initial_centroids`]): the top principal directions of
//!    the patch vectors are the first centroids (docs/protocol.md section 3).
//! 2. **Training** ([`Trainer`]): online k-means under cosine similarity, hard assignments, closed-form
//!    gradient, Adam (docs/protocol.md section 4).
//! 3. **Labels** ([`Labeler`]): the cluster of each pixel after bilinear upsampling, by exact pruning
//!    (docs/protocol.md section 5, Eq. 1).
//!
//! [`TargetImage`] finds the pixel that is most like a key point of another image (docs/protocol.md section 10, Eq. 4).
//!
//! [`readers`] read classes from the same vectors by a kNN and a linear reader that are given labels
//! (docs/protocol.md section 20).
//!
//! A [`Transform`] edits the vectors before all of that, to see what position does to the outcome
//! (docs/protocol.md section 15).
//!
//! A [`Sketch`] keeps the cosines of an image's vectors in a few numbers a patch (docs/protocol.md section 19).
//!
//! The crate knows nothing of files or models: it takes arrays and gives arrays. `vitscope-protocol` puts the
//! stages together, with the order of images and everything that is drawn by a seed.
//!
//! # Shapes and units
//!
//! Patch vectors come as `[B, N, D]` views (images, patches, width), f32. Images may be far apart in memory; rows
//! whose elements lie side by side (innermost stride 1) are the fast case. Centroids are `[K, D]`, labels `u8`, 255
//! is no label. A loss is a mean of cosines and lies in `[-1, 1]`.
//!
//! # What is computed
//!
//! With unit vectors `x^` and unit centroids `c^_k = v_k / |v_k|`:
//!
//! ```text
//! loss  = -(1/M) sum_i max_k  x^_i . c^_k                              training, by Adam on v
//! label = argmax_k  f^ . c_k / (|f^| |c_k|)                            Eq. 1, f^ the upsampled embedding
//! match = argmax_p  f(p) . s / (|f(p)| |s|)                            Eq. 4, s a key point's embedding
//! ```
//!
//! # Errors
//!
//! [`ProbeError`] says which image of a batch holds a value that is not finite, or which size was expected and
//! which was found. Whatever was refused has changed nothing.
//!
//! With the feature `cuda`, `cuda` holds counterparts of the three stages and of the search for key points whose
//! vectors never leave the card, with the same mathematics and interchangeable states.
//!
//! # Determinism
//!
//! Every result is the same, bit for bit, for any number of threads: work is split by image or by
//! output tiles of a fixed size, and partial sums are added in a fixed order.
//!
//! # Example
//!
//! ```
//! use ndarray::{Array3, ArrayView3};
//! use vitscope_probe::{AdamSettings, Labeler, Moments, Reservoir, LabelScratch, Trainer, initial_centroids};
//!
//! # fn main() -> Result<(), vitscope_probe::ProbeError> {
//! // Two images of 2 x 2 patches, 4 numbers each.
//! let facet = Array3::from_shape_fn((2, 4, 4), |(b, n, d)| ((7 * b + 3 * n + 5 * d) % 11) as f32 - 5.0);
//! let rows: ArrayView3<'_, f32> = facet.view();
//!
//! let mut moments = Moments::new(4);
//! moments.add(rows, &[1, 1])?;
//! let start = initial_centroids(&moments.principal()?, 3, &Reservoir::new(16, 4, 0), 0)?;
//!
//! let mut trainer = Trainer::new(start, AdamSettings::default())?;
//! let mut losses = Vec::new();
//! for _ in 0..50 {
//!     trainer.add(rows)?;
//!     losses.push(trainer.finish_step());
//! }
//! assert!(losses[49] < losses[0]);
//!
//! let labeler = Labeler::new(trainer.codebook().view(), (2, 2), 8)?;
//! let mut labels = vec![0; 16 * 16];
//! labeler.label(rows.index_axis(ndarray::Axis(0), 0), &mut LabelScratch::default(), &mut labels)?;
//! assert!(labels.iter().all(|&label| label < 3));
//! # Ok(())
//! # }
//! ```

mod correspond;
#[cfg(feature = "cuda")]
pub mod cuda;
mod dispersion;
mod error;
mod exact;
mod labels;
mod moments;
mod principal;
mod random;
pub mod readers;
mod rows;
mod sketch;
mod spread;
mod start;
mod trainer;
pub mod transform;

pub use correspond::{Match, Search, TargetImage, View};
pub use dispersion::Dispersion;
pub use error::ProbeError;
pub use exact::ExactSums;
pub use labels::{LabelScratch, Labeler, SoftSums, plain_labels};
pub use moments::{Moments, MomentsState};
pub use principal::{Principal, covariance};
pub use sketch::{
    CosineFit, DIRECTIONS as SKETCH_DIRECTIONS, PARTS as SKETCH_PARTS, Sketch, SketchBasis,
};
pub use spread::Spread;
pub use start::{Reservoir, initial_centroids};
pub use trainer::{AdamSettings, Trainer, TrainerState};
pub use transform::{FittedTransform, Fitting, PlaceMoments, Transform};

/// The largest number of clusters: labels are `u8`, and 255 means "no label".
pub const MAX_CLUSTERS: usize = 255;
