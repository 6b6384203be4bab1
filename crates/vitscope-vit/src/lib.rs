//! Vision Transformer checkpoints, and one forward pass that hands out every facet.
//!
//! [`checkpoint::Checkpoint::open`] tells from headers what a file is, with the reason for each thing that
//! was decided; what only its user knows goes into [`identify::Settle`]. [`Vit`] runs it, and hands each
//! tapped tensor to its caller the moment it exists.
//!
//! ```
//! use ndarray::Array4;
//! use vitscope_vit::{
//!     Vit,
//!     checkpoint::Checkpoint,
//!     config::Precision,
//!     facet::{TapKind, Taps},
//!     identify::{Family, Format, Settle},
//!     vit::Tapped,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two blocks of width 16 with 2 heads, patches of 4 pixels, under a wrapper's names.
//! let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wild");
//! let settle = Settle {
//!     family: Some(Family::Mae),
//!     format: Some(Format::Timm),
//!     heads: Some(2),
//!     ..Settle::default()
//! };
//! let checkpoint = Checkpoint::open(&folder.join("prefix_vit_.pth"), &settle)?;
//! assert_eq!(checkpoint.identity().nesting, "state_dict / vit.*");
//!
//! let vit = Vit::new(checkpoint.config().clone(), checkpoint.params()?, Precision::F32)?;
//! let mut taps = Taps::new();
//! taps.add(2, TapKind::Key); // layers count from 1
//! let images = Array4::<f32>::zeros((1, 3, 16, 24)); // [batch, 3, height, width], normalized
//! let mut work = vit.workspace([16, 24])?;
//! let mut shapes = Vec::new();
//! vit.forward(images.view(), &taps, &mut work, |tapped| {
//!     if let Tapped::Rows { prefix, patches, .. } = tapped {
//!         shapes.push((prefix.dim(), patches.dim())); // [batch, 1 + registers, D], [batch, patches, D]
//!     }
//!     Ok::<(), vitscope_vit::error::DeviceError>(())
//! })?;
//! assert_eq!(shapes, [((1, 1, 16), (1, 4 * 6, 16))]);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//! [`error::VitError`] is one sentence that names the file, what was expected and what to do;
//! [`shapes::ShapeError`] is about sizes and devices.

pub mod checkpoint;
pub mod config;
pub mod container;
mod dialect;
pub mod edit;
mod engine;
pub mod error;
pub mod facet;
pub mod files;
pub mod identify;
pub mod known;
mod names;
pub mod ops;
pub mod params;
mod provenance;
mod says;
pub mod shapes;
mod tapped;
pub mod vit;

pub use vit::Vit;
