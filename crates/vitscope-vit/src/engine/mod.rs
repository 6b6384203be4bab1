//! The operations that the one ViT is written with, and who carries them out: [`cpu`] is the reference
//! that every other device is tested against.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod geometry;
mod stages;

pub(crate) use geometry::InputGeometry;
pub(crate) use stages::{BatchTensor, Input, Stages};
