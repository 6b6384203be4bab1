//! What the size of the input decides, for every device.

use crate::config::{Config, PositionEncoding};
use crate::edit::{Codes, Edit, FromPrefix};
use crate::ops::positions::{
    PatchPlaces, edged_angles, pair_angles, relative_index, resize_table, rotary_angles,
};

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
            Codes::Own | Codes::Of(_) => PatchPlaces::Own,
            Codes::Mean => PatchPlaces::Middle,
            Codes::Moved(by) => PatchPlaces::Moved(by),
        };
        let (width, head_width) = (config.width, config.head_width());
        let resized = |from, resize| resize_table(table, width, from, grid, resize);
        let (table, rotary) = match config.positions {
            PositionEncoding::Table { grid: from, resize } => (resized(from, resize), None),
            PositionEncoding::Relative { .. } => (Vec::new(), None),
            PositionEncoding::Rotary => (Vec::new(), Some(rotary_angles(periods, grid, places))),
            PositionEncoding::Edged => {
                let angles = edged_angles(periods, config.prefix(), grid, places);
                (Vec::new(), Some(angles))
            }
            PositionEncoding::Both {
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
        let relative = matches!(config.positions, PositionEncoding::Relative { .. });
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
