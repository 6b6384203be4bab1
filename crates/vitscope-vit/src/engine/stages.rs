//! The stages of a forward pass, which every device carries out in its own way.
//!
//! [`Stages`] is as coarse as it can be: each stage takes a whole batch from one tensor that can be
//! tapped to the next, so that an implementation is free to fuse what lies between.

use std::fmt;

use ndarray::ArrayView4;

use crate::error::DeviceError;
use crate::tapped::{AttentionWeights, Rows};

/// Images as a forward pass takes them, all of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// Normalized, `[batch, 3, height, width]`.
    Normalized(ArrayView4<'a, f32>),
    /// RGB bytes that were sent last, with what each of the 256 values of a channel stands for.
    Sent {
        /// `[batch, height, width, 3]`
        pixels: &'a [u8],
        levels: &'a [[f32; 256]; 3],
    },
}

/// A tensor of the batch that is being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchTensor {
    /// The patch projection, until the stream is made of it; it has no prefix.
    Patches,
    /// The residual stream: the embedding, later a block's output.
    Residual,
    /// Queries, before or after rotation.
    Queries,
    /// Keys, before or after rotation.
    Keys,
    /// Values.
    Values,
    /// The residual stream after the final LayerNorm.
    Normed,
}

/// The stages of a forward pass, each over a whole batch. [`crate::Vit::forward`] calls them in
/// order; blocks count from 0.
pub(crate) trait Stages: fmt::Debug + Send {
    /// RGB images, `[batch, height, width, 3]`, which the next pass runs as [`Input::Sent`]: what takes time before they
    /// can be run begins.
    fn send(&mut self, pixels: &[u8]) -> Result<(), DeviceError>;

    /// The projection of patches, with its bias.
    ///
    /// The images have the size that the stages were made for.
    fn project_patches(&mut self, images: Input<'_>) -> Result<(), DeviceError>;

    /// Class token, registers, positions and the stem's LayerNorm: the projected patches become the residual stream.
    fn embed(&mut self) -> Result<(), DeviceError>;

    /// The first LayerNorm, then queries, keys and values with their bias.
    fn project(&mut self, block: usize) -> Result<(), DeviceError>;

    /// Rotates the queries and keys of the tokens that have a place, in rotary models.
    fn rotate(&mut self) -> Result<(), DeviceError>;

    /// Attention of every head, its weights kept or not.
    fn attention(&mut self, keep: bool) -> Result<(), DeviceError>;

    /// The attention's output projection and the feed-forward part, each added to the residual
    /// stream.
    fn feed_forward(&mut self, block: usize) -> Result<(), DeviceError>;

    /// The final LayerNorm of the residual stream.
    fn final_norm(&mut self) -> Result<(), DeviceError>;

    /// The rows of a tensor: those of the prefix, then those of the patches.
    fn rows(&self, tensor: BatchTensor) -> [Rows<'_>; 2];

    /// The attention weights that were kept, until the next stage.
    fn weights(&self) -> AttentionWeights<'_>;
}
