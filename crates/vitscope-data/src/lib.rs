//! Images, masks and data sets as people have them on their disks.
//!
//! A DATA argument becomes a [`DataSet`]: classes with their colors, and two lists of images with
//! their masks. Each image becomes a square [`RgbCrop`], each mask a [`LabelCrop`] of the same
//! geometry, exactly as PROTOCOL.md section 1 says; [`stream()`] decodes them ahead of need.
//!
//! ```no_run
//! use vitscope_data::{DataSet, Geometry, Split, stream};
//! # fn main() -> Result<(), vitscope_data::DataError> {
//! let set = DataSet::open("camvid:CamVid")?;
//! let geometry = Geometry::for_patch(320, 16);
//! let order: Vec<usize> = (0..set.test.len()).collect();
//! for sample in stream(&set, Split::Test, order, geometry, true, 8, 2) {
//!     let sample = sample?;
//!     assert_eq!(sample.image.pixels.len(), 320 * 320 * 3);
//! }
//! # Ok(())
//! # }
//! ```

pub mod dataset;
mod decode;
pub mod description;
pub mod error;
pub mod geometry;
mod jpeg;
pub mod kinds;
pub mod labels;
pub mod listing;
mod mask;
pub mod palette;
pub mod resize;
pub mod stream;

pub use dataset::{Class, DataSet, RgbCrop, Split};
pub use error::DataError;
pub use geometry::{Geometry, Placement};
pub use kinds::Kind;
pub use labels::{IGNORE, LabelCrop};
pub use listing::Item;
pub use palette::palette;
pub use stream::{ImageStream, Sample, stream};
