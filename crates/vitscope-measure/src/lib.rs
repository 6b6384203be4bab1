//! Measures over integer counts: segmentation quality, positional effect, locality, relations.
//!
//! Pure functions over arrays of counts, in f64, without files, models or hidden randomness. What is
//! counted over a data set is integer ([`Tally`], [`Resampling`], [`QualityResampling`]), so counts of two halves
//! of a data set add up to those of the whole, whatever the order and the number of threads. What is computed from
//! the counts has a fixed order of operations.
//!
//! Undefined numbers are `None`, never 0: the NMI of a constant label map, the IoU of a class that
//! occurs nowhere, the correlation of a constant.
//!
//! # Shapes and units
//!
//! `K` clusters, `C` classes, `Hp x Wp` patches, `H x W` pixels. Label maps are `u8`, row by row, 255 is no label.
//! Confusions are `[K, C]` pixels, positions `[K, H, W]` images or `[K, Hp, Wp]` pixels. Shares (IoU, accuracy, NMI)
//! lie in `[0, 1]`, mutual information and entropy are in nats.
//!
//! # The numbers
//!
//! | item | what | docs/protocol.md, paper |
//! |---|---|---|
//! | [`Tally`] | confusion and position counts | 6, 7, 8 |
//! | [`Matching`] | clusters to classes, `argmax sum_k n(k, c_k)` | 6 (2.3) |
//! | [`match_to_reference`] | clusters of one run to those of another | 6 |
//! | [`quality`] | `IoU_c = TP / (TP + FP + FN)`, mIoU, accuracy | 6 |
//! | [`QualityResampling`] | an interval of mIoU by bootstrap over images | 16 |
//! | [`aggregate()`] | the aggregate picture, `A = sum_k W_k color_k` | 7 (Eq. 2) |
//! | [`positional()`] | `I = sum P(p,c) log(P(p,c) / (P(p) P(c)))`, `NMI = I / H(C)` | 8 (Eq. 3) |
//! | [`Resampling`] | its null by shifts, its interval by bootstrap | 8 |
//! | [`baselines`] | place alone and one class | 14 |
//! | [`usage()`], [`twins`] | clusters in use, `exp(H)`; dead and twin clusters; collapse | 14 |
//! | [`outlier_bound`], [`OutlierTexture`], [`neighbor_cosine`], [`ClassLikeness`], [`Fragments`] | tokens that are too long, and where the picture is smooth; likeness to neighbors and to the class token; pieces of labels | 17 |
//! | [`locality()`] | `I(K, Q)` of an attention matrix | 9 (3.3.1) |
//! | [`PairCounts`] | agreement beyond chance, `(p - e) / (1 - e)` | 18 |
//! | [`pck()`] | share of correct keypoints | 10 (0.A.7) |
//! | [`pearson`], [`spearman`], [`bootstrap_interval`] | relations between numbers | 11 |
//!
//! # Example
//!
//! ```
//! use vitscope_measure::{Matching, MeasureError, Positions, Resampling, Tally, positional, quality};
//!
//! // Two images of 2 x 2 patches with one pixel each. Cluster 1 lies at the top, as class 0 does.
//! let (labels, truth) = ([1, 1, 0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 0, 1, 1]);
//! let mut tally = Tally::new(2, 2, (2, 2), 1);
//! tally.add(&labels, Some(&truth), Positions::All)?;
//!
//! let class_of = Matching::Hungarian.resolve(tally.confusion());
//! assert_eq!(class_of, [Some(1), Some(0)]);
//! let quality = quality(tally.confusion(), &class_of);
//! assert_eq!(quality.accuracy, Some(7.0 / 8.0));
//! assert_eq!(quality.iou, [Some(4.0 / 5.0), Some(3.0 / 4.0)]);
//!
//! let counts = tally.position_pixel();
//! let counts = counts.to_shape((2, 4)).expect("two clusters at four places");
//! let effect = positional(counts.view());
//! assert!(effect.nmi > Some(0.5));
//!
//! // How much of it is chance: the same under random shifts.
//! let mut resampling = Resampling::new(2, (2, 2), 1, 2, 100, 0)?;
//! for (image, labels) in labels.chunks(4).enumerate() {
//!     resampling.add(image, labels)?;
//! }
//! let test = resampling.finish(tally.position_grid().view())?;
//! assert!(test.mi.null_mean > 0.0 && test.mi.excess < effect.mi);
//! # Ok::<(), MeasureError>(())
//! ```

mod aggregate;
mod agreement;
mod baseline;
mod border;
mod cause;
mod cells;
mod error;
mod fragments;
mod likeness;
mod locality;
mod matching;
mod outliers;
mod pck;
mod plan;
mod positional;
mod quality;
mod quality_interval;
mod quantile;
pub mod random;
mod relation;
mod shifts;
mod tally;
mod texture;
mod usage;

pub use aggregate::{UNLABELED, aggregate};
pub use agreement::{PairCounts, kappa_of_images};
pub use baseline::{Baselines, baselines, fixed_map_quality, place_alone};
pub use border::{Border, BorderSplit, border};
pub use cause::{
    BeforeAfter, Cause, Difference, GapShare, NEAR_TRUTH, PlaceEffect, SeedEvidence, gap_share,
    judge,
};
pub use cells::CellCounts;
pub use error::MeasureError;
pub use fragments::{Fragments, patch_labels};
pub use likeness::{ClassLikeness, neighbor_cosine};
pub use locality::{locality, mean_over_heads};
pub use matching::{Matching, cooccurrence, hungarian, majority, match_to_reference};
pub use outliers::{OUTLIERS_OF_LOGNORMAL, outlier_bound};
pub use pck::{Pck, pck};
pub use plan::ResamplingPlan;
pub use positional::{Positional, positional};
pub use quality::{Quality, quality};
pub use quality_interval::{
    ImageConfusion, QualityResampling, QualitySamples, paired_interval, sample_interval,
};
pub use quantile::quantile;
pub use relation::{bootstrap_interval, mean_interval, pearson, spearman};
pub use shifts::{PositionalTest, Resampled, Resampling};
pub use tally::{Positions, Tally, TallyParts};
pub use texture::{OutlierTexture, neighbor_cosines};
pub use usage::{DEAD, TWIN, Usage, twins, usage};

/// The label of a pixel that has none: in ground truth, a pixel to ignore.
pub const IGNORED: u8 = 255;
