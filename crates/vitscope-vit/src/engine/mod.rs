//! The operations that the one ViT is written with, and who carries them out.
//!
//! [`Stages`] is as coarse as it can be: each stage takes a whole batch from one tensor that can be
//! tapped to the next, so that an implementation is free to fuse what lies between. [`cpu`] is the
//! reference that every other device is tested against.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use std::fmt;

use ndarray::ArrayView4;

use crate::config::{Config, Positions};
use crate::edit::{Codes, Edit, FromPrefix};
use crate::error::DeviceError;
use crate::ops::positions::{
    Places, edged_angles, pair_angles, relative_index, resize_table, rotary_angles,
};
use crate::vit::Rows;

/// What the size of the input decides.
#[derive(Clone, Debug)]
pub(crate) struct InputGeometry {
    /// Height and width of the input.
    pub(crate) pixels: [usize; 2],
    /// Patches per column and per row.
    pub(crate) grid: [usize; 2],
    /// The position table at this grid, `[patches, D]`; empty in rotary models.
    pub(crate) table: Vec<f32>,
    /// Cosines and sines of every patch, both `[patches, D / heads]`, in rotary models; where the
    /// tokens before the patches turn too, of all tokens.
    pub(crate) rotary: Option<(Vec<f32>, Vec<f32>)>,
    /// Rows of the tables of relative positions, `[tokens, tokens]`, in models with such.
    pub(crate) relative: Option<Vec<u32>>,
    /// What patches are given of the other tokens; nothing but their own on a card.
    pub(crate) from_prefix: FromPrefix,
}

impl InputGeometry {
    /// What an input of `pixels`, which are whole patches, is given of the model's own table and periods; `None` for
    /// codes that are not those of its patches.
    pub(crate) fn new(
        config: &Config,
        (table, periods): (&[f32], &[f32]),
        pixels: [usize; 2],
        edit: &Edit,
    ) -> Option<Self> {
        let grid = pixels.map(|side| side / config.patch);
        let patches = grid[0] * grid[1];
        if let Codes::Of(places) = &edit.codes
            && (places.len() != patches || places.iter().any(|&place| place >= patches))
        {
            return None;
        }
        let places = match edit.codes {
            Codes::Own | Codes::Of(_) => Places::Own,
            Codes::Mean => Places::Middle,
            Codes::Moved(by) => Places::Moved(by),
        };
        let (width, head_width) = (config.width, config.head_width());
        let resized = |from, resize| resize_table(table, width, from, grid, resize);
        let (table, rotary) = match config.positions {
            Positions::Table { grid: from, resize } => (resized(from, resize), None),
            Positions::Relative { .. } => (Vec::new(), None),
            Positions::Rotary => (Vec::new(), Some(rotary_angles(periods, grid, places))),
            Positions::Edged => {
                let angles = edged_angles(periods, config.prefix(), grid, places);
                (Vec::new(), Some(angles))
            }
            Positions::Both {
                grid: from,
                resize,
                rotary,
            } => (
                resized(from, resize),
                Some(pair_angles(rotary, head_width, grid, places)),
            ),
        };
        // The angles of patches come last; other tokens keep theirs.
        let assign = |mut angles: Vec<f32>| {
            let of_patches = angles.split_off(angles.len() - patches * head_width);
            angles.extend(edit.codes.assign(of_patches, head_width));
            angles
        };
        // Distances are those of the places; moving all patches alike changes none.
        let relative = matches!(config.positions, Positions::Relative { .. });
        let relative = relative.then(|| {
            relative_index(grid, |patch| match &edit.codes {
                Codes::Of(places) => places[patch],
                Codes::Mean => 0,
                Codes::Own | Codes::Moved(_) => patch,
            })
        });
        Some(Self {
            relative,
            pixels,
            grid,
            table: edit.codes.assign(table, width),
            // Angles in the middle are the same everywhere, and stay so.
            rotary: rotary.map(|(cos, sin)| (assign(cos), assign(sin))),
            from_prefix: edit.from_prefix,
        })
    }

    /// Patches of an image.
    pub(crate) fn patches(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}

/// Images as a forward pass takes them, all of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// Normalized, `[batch, 3, height, width]`.
    Normalized(ArrayView4<'a, f32>),
    /// RGB bytes, with what each of the 256 values of a channel stands for.
    Bytes {
        /// `[batch, height, width, 3]`
        pixels: &'a [u8],
        levels: &'a [[f32; 256]; 3],
    },
}

/// A tensor of the batch that is being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tensor {
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
    /// Patches, class token, registers, positions and the stem's LayerNorm: the residual stream.
    ///
    /// The images have the size that the stages were made for.
    fn embed(&mut self, images: Input<'_>) -> Result<(), DeviceError>;

    /// The first LayerNorm, then queries, keys and values with their bias.
    fn project(&mut self, block: usize) -> Result<(), DeviceError>;

    /// Rotates the queries and keys of the tokens that have a place, in rotary models.
    fn rotate(&mut self) -> Result<(), DeviceError>;

    /// Attention of every head, its weights kept or not.
    fn attention(&mut self, keep_matrices: bool) -> Result<(), DeviceError>;

    /// The attention's output projection and the feed-forward part, each added to the residual
    /// stream.
    fn feed_forward(&mut self, block: usize) -> Result<(), DeviceError>;

    /// The final LayerNorm of the residual stream.
    fn final_norm(&mut self) -> Result<(), DeviceError>;

    /// The rows of a tensor: those of the prefix, then those of the patches.
    fn rows(&self, tensor: Tensor) -> [Rows<'_>; 2];

    /// The attention weights that were kept, `[batch, heads, tokens, tokens]`.
    fn matrices(&mut self) -> Result<ArrayView4<'_, f32>, DeviceError>;
}
