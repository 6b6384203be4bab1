//! Images, masks and data sets as people have them on their disks.
//!
//! A DATA argument becomes a [`DataSet`]: classes with their colors, and two lists of images with
//! their masks. Each image becomes a square [`RgbCrop`], each mask a [`LabelCrop`] of the same
//! geometry, exactly as docs/protocol.md section 1 says; [`stream()`] decodes them ahead of need.
//!
//! # What is read
//!
//! Images: JPEG (CMYK included), PNG, BMP and WebP, told apart by content whatever their names
//! say. They become 8-bit RGB: grey is repeated, alpha dropped, 16-bit samples keep their high
//! byte, EXIF orientation is applied. Masks: PNG of 1, 2, 4, 8 or 16 bits, grey or palette, read as
//! the numbers they store; RGB (or a palette, by color) through a table of colors in a
//! [TOML description](description). Nothing is skipped in silence: a file that cannot be used is a
//! [`DataError`] of one sentence that names it. No decoder asks for more memory than the picture's
//! size and the file's length explain: profiles and texts stay compressed. What can be read and
//! seems to mean something else is a [`Doubt`].
//!
//! # How near to Pillow
//!
//! - Geometry, resizing and cropping equal Pillow 13.0.0 and torchvision 0.29.2 bit for bit, images
//!   and labels, over the 220 recorded cases of the tests ([`resize`] says what older versions do).
//! - PNG, BMP and lossless WebP decode to the same values.
//! - JPEG is decoded by zune-jpeg, Pillow's by libjpeg-turbo. Over 241 photographs the values
//!   differ by 0.11 of 255 on average and by 9 at most, and 8.1 % of them differ at all; after the
//!   crop to 320 pixels, 10.4 % differ, by 8 at most. Most of it comes from the upsampling of
//!   color: without chroma subsampling under 1 % differ. Files with one scan for each component, and
//!   those whose color has more samples than their brightness or a third of them, zune-jpeg decodes
//!   to noise; they go to jpeg-decoder. What the components are is told as libjpeg tells it.
//!   Arithmetic codes, 12 bits a sample and lossless files are refused by name.
//! - On one core of an AMD EPYC server, a 640x480 JPEG of 88 kB takes 2.3 ms from file to 320 crop, and
//!   2.7 ms with Pillow and torchvision (decoding 1.2 and 1.05 ms, a whole resize 1.5 ms in both).
//!
//! `tools/geometry` holds the scripts behind these figures.
//!
//! # Example
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

mod alignment;
mod begun;
mod class_map;
mod coco_classes;
mod coding;
mod contents;
pub mod dataset;
mod decode;
pub mod description;
mod doubt;
mod doubts;
mod draft;
pub mod error;
mod evidence;
mod findings;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod geometry;
mod glob_images;
mod jpeg;
mod jpeg_segments;
mod kind;
mod kinds;
mod labels;
mod likeness;
pub mod listing;
mod looks;
mod mask;
mod mat;
mod pairing;
pub mod pairs;
pub mod palette;
mod panoptic;
pub mod parts;
mod refused;
pub mod resize;
mod rgb_image;
mod searched;
mod split;
mod stamps;
pub mod stream;
pub mod survey;
mod twins;

pub use class_map::{IGNORE, LabelCrop};
pub use contents::Class;
pub use dataset::{DataSet, RgbCrop};
pub use doubt::Doubt;
pub use error::DataError;
pub use evidence::{Evidence, Facts};
pub use findings::{Listed, Problems};
pub use geometry::{Geometry, Placement};
pub use kind::Kind;
pub use listing::{Item, spread};
pub use pairs::{Pair, PairSet};
pub use palette::palette;
pub use split::Split;
pub use stamps::Stamps;
pub use stream::{ImageStream, Sample, stream};
pub use survey::{Examined, Survey};
