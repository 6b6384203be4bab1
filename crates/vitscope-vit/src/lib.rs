//! Vision Transformer checkpoints, and one forward pass that hands out every facet.

pub mod checkpoint;
pub mod config;
pub mod container;
mod dialect;
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
pub mod vit;

pub use vit::Vit;
