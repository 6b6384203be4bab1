//! Vision Transformer checkpoints, and one forward pass that hands out every facet.

pub mod config;
pub mod params;
