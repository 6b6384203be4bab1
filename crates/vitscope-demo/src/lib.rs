//! Everything that `vitscope demo` needs and that nothing else has: scenes whose truth is known, tiny
//! Vision Transformers that were trained on such scenes, and embeddings with a planted content.
//!
//! - [`Scene`] draws an image of 128 pixels with its exact mask, the same bytes on every machine; [`Scenes`]
//!   writes a data set of them, [`pairs`] pairs of things of one class.
//! - [`BuiltIn`] are the models; `tools/demo_models` trained them.
//! - [`planted`] makes embeddings whose positional effect and mIoU can be counted.

mod chance;
pub mod classes;
mod color;
pub mod error;
mod files;
pub mod folder;
pub mod models;
mod noise;
pub mod pairs;
pub mod planted;
pub mod render;
pub mod scene;
mod stuff;
mod things;

pub use classes::SceneClass;
pub use error::DemoError;
pub use folder::Scenes;
pub use models::BuiltIn;
pub use pairs::ScenePair;
pub use render::Picture;
pub use scene::{SIDE, Scene, SceneSplit};
