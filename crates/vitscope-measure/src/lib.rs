//! Measures over integer counts: segmentation quality, positional effect, locality, relations.
//!
//! Pure functions over arrays of counts, in f64, without files, models or hidden randomness. What is
//! counted over a data set is integer ([`Tally`], [`Resampling`]), so counts of two halves of a data set
//! add up to those of the whole, whatever the order and the number of threads. What is computed from the
//! counts has a fixed order of operations.
//!
//! Undefined figures are `None`, never 0: the NMI of a constant label map, the IoU of a class that
//! occurs nowhere, the correlation of a constant.
//!
//! | module | what | PROTOCOL |
//! |---|---|---|
//! | [`Tally`] | confusion and position counts | 6, 7, 8 |
//! | [`Matching`] | clusters to classes | 6 |
//! | [`quality`] | mIoU, accuracy | 6 |
//! | [`positional`] | mutual information of position and class | 8 (Eq. 3) |
//! | [`Resampling`] | its null by shifts, its interval by bootstrap | 8 |
//! | [`aggregate`] | the aggregate picture | 7 (Eq. 2) |
//! | [`locality`] | mutual information of an attention matrix | 9 |
//! | [`pearson`], [`spearman`], [`bootstrap_interval`] | relations between figures | 11 |
//! | [`pck`] | share of correct key points | 10 |

mod aggregate;
mod cells;
mod error;
mod locality;
mod matching;
mod pck;
mod plan;
mod positional;
mod quality;
mod quantile;
mod random;
mod relation;
mod shifts;
mod tally;

pub use aggregate::{UNLABELED, aggregate};
pub use cells::CellCounts;
pub use error::MeasureError;
pub use locality::{locality, mean_over_heads};
pub use matching::{Matching, cooccurrence, hungarian, majority, match_to_reference};
pub use pck::{Pck, pck};
pub use plan::ResamplingPlan;
pub use positional::{Positional, positional};
pub use quality::{Quality, quality};
pub use quantile::quantile;
pub use relation::{bootstrap_interval, mean_interval, pearson, spearman};
pub use shifts::{PositionalTest, Resampled, Resampling};
pub use tally::{Positions, Tally, TallyParts};

/// The label of a pixel that has none: in ground truth, a pixel to ignore.
pub const IGNORED: u8 = 255;
