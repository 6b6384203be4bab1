//! Vision Transformer checkpoints, and one forward pass that hands out every facet.

pub mod config;
pub mod facet;
pub mod ops;
pub mod params;
pub mod vit;
