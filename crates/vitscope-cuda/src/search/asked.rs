//! What is asked of photographs on a card: how their pixels lie, at which of them keypoints are sampled, and what
//! is looked for in which.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::error::CudaError;
use crate::gpu::Gpu;

/// Keypoints of a tile, as in `keypoints.cu`.
const TILE_POINTS: usize = 32;

/// Products that exist at a time, at most: searches beyond wait.
const MOST: usize = 32 << 20;

/// A number that the kernels hold in 32 bits.
pub(super) fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("less than 2^32")
}

/// How the pixels along one axis of a photograph lie over its patches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AxisCells {
    /// Per cell, in order and without gaps: its two patches, the first pixel between them, and the one behind
    /// the last.
    pub cells: Vec<[u32; 4]>,
    /// Per pixel: its share of the way from the first patch of its cell to the second.
    pub shares: Vec<f64>,
}

impl AxisCells {
    /// Whether every patch and pixel that cells name is there, and every pixel lies in one cell.
    fn fits(&self, patches: usize) -> bool {
        let mut next = 0;
        let in_order = self.cells.iter().all(|&[low, high, start, end]| {
            let follows = start == next && end > start;
            next = end;
            follows && low <= high && (high as usize) < patches
        });
        in_order && next > 0 && next as usize == self.shares.len()
    }
}

/// How the pixels of a batch's photographs lie over their patches, on the card.
#[derive(Debug)]
pub struct PhotoViews {
    pub(super) heads: Buffer<u32>,
    pub(super) cells: Buffer<u32>,
    pub(super) shares: Buffer<f64>,
    pub(super) grid: [usize; 2],
    /// Of every photograph whether it has cells.
    pub(super) with_cells: Vec<bool>,
    /// The largest number of cells of a photograph.
    pub(super) most: usize,
}

impl PhotoViews {
    /// Uploads rows and columns of every photograph, all of `grid` (rows, columns) patches; no cells of one in which
    /// nothing is looked for.
    ///
    /// # Errors
    /// When the memory does not suffice.
    ///
    /// # Panics
    /// When cells name patches or pixels that are not there, or a photograph has 2^32 pixels.
    pub fn upload(
        gpu: &Gpu,
        grid: [usize; 2],
        views: &[[AxisCells; 2]],
    ) -> Result<Self, CudaError> {
        let (mut heads, mut cells, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        let (mut most, mut with_cells) = (0, Vec::new());
        for [rows, columns] in views {
            let none = AxisCells::default();
            assert!(
                rows.fits(grid[0]) && columns.fits(grid[1]) || *rows == none && *columns == none,
                "cells of the photograph's patches and pixels"
            );
            with_cells.push(!rows.cells.is_empty());
            narrow(rows.shares.len() * columns.shares.len());
            most = most.max(rows.cells.len() * columns.cells.len());
            heads.extend([rows, columns].map(|axis| narrow(axis.cells.len())));
            let (first_cell, first_share) = (cells.len(), shares.len());
            heads.extend([first_cell, first_cell + rows.cells.len()].map(narrow));
            heads.extend([first_share, first_share + rows.shares.len()].map(narrow));
            heads.push(narrow(columns.shares.len()));
            for axis in [rows, columns] {
                cells.extend_from_slice(&axis.cells);
                shares.extend_from_slice(&axis.shares);
            }
        }
        Ok(Self {
            heads: Buffer::upload(gpu, &heads)?,
            cells: Buffer::upload(gpu, cells.as_flattened())?,
            shares: Buffer::upload(gpu, &shares)?,
            grid,
            with_cells,
            most,
        })
    }
}

/// Pixels of a batch's photographs at which embeddings are sampled, on the card.
#[derive(Debug)]
pub struct KeypointPlaces {
    pub(super) places: Buffer<u32>,
    pub(super) shares: Buffer<f64>,
    pub(super) count: usize,
    /// Photographs and patches that must be there.
    pub(super) photos: usize,
    pub(super) patches: usize,
}

impl KeypointPlaces {
    /// Uploads of every pixel its photograph in the batch with the four patches around it, `a b` over `c d`, and
    /// how far it lies down from the upper ones and right of the left ones.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn upload(gpu: &Gpu, points: &[([usize; 5], [f64; 2])]) -> Result<Self, CudaError> {
        let places = points.iter().flat_map(|(place, _)| place.map(narrow));
        let places: Vec<u32> = places.collect();
        let shares: Vec<f64> = points.iter().flat_map(|(_, shares)| *shares).collect();
        let beyond = |of: &dyn Fn(&[usize; 5]) -> usize| {
            let largest = points.iter().map(|(place, _)| of(place)).max();
            largest.map_or(0, |largest| largest + 1)
        };
        Ok(Self {
            places: Buffer::upload(gpu, &places)?,
            shares: Buffer::upload(gpu, &shares)?,
            count: points.len(),
            photos: beyond(&|place| place[0]),
            patches: beyond(&|place| place[1..].iter().copied().max().unwrap_or(0)),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Which keypoints are looked for in which photographs of a batch, on the card.
#[derive(Debug)]
pub struct WantedPoints {
    pub(super) searches: Buffer<u32>,
    pub(super) tiles: Buffer<u32>,
    /// Searches and tiles whose products exist at a time.
    pub(super) parts: Vec<[Range<usize>; 2]>,
    pub(super) count: usize,
    /// Photographs with cells, and keypoints, that must be there.
    pub(super) photos: Vec<usize>,
    pub(super) points: usize,
}

impl WantedPoints {
    /// Uploads of every search its photograph in the batch and the number of the keypoint; `patches` are those of
    /// a photograph.
    ///
    /// # Errors
    /// When the memory does not suffice.
    ///
    /// # Panics
    /// When the searches are not in the order of their photographs.
    pub fn upload(gpu: &Gpu, wanted: &[[usize; 2]], patches: usize) -> Result<Self, CudaError> {
        Self::upload_by(gpu, wanted, patches, MOST)
    }

    /// The same with so many products at a time.
    pub(super) fn upload_by(
        gpu: &Gpu,
        wanted: &[[usize; 2]],
        patches: usize,
        most: usize,
    ) -> Result<Self, CudaError> {
        assert!(
            wanted.is_sorted_by_key(|&[photo, _]| photo),
            "searches in the order of their photographs"
        );
        let together = (most / patches.max(1)).max(TILE_POINTS);
        let mut tiles: Vec<[u32; 3]> = Vec::new();
        let mut parts: Vec<[Range<usize>; 2]> = Vec::new();
        let mut first = 0;
        for of_photo in wanted.chunk_by(|a, b| a[0] == b[0]) {
            for tile in of_photo.chunks(TILE_POINTS) {
                let behind = first + tile.len();
                match parts.last_mut() {
                    Some([searches, of_part]) if behind - searches.start <= together => {
                        searches.end = behind;
                        of_part.end += 1;
                    }
                    _ => parts.push([first..behind, tiles.len()..tiles.len() + 1]),
                }
                tiles.push([tile[0][0], first, tile.len()].map(narrow));
                first = behind;
            }
        }
        let searches: Vec<u32> = wanted.iter().flatten().map(|&at| narrow(at)).collect();
        let of_photos = wanted.chunk_by(|a, b| a[0] == b[0]);
        Ok(Self {
            searches: Buffer::upload(gpu, &searches)?,
            tiles: Buffer::upload(gpu, tiles.as_flattened())?,
            parts,
            count: wanted.len(),
            photos: of_photos.map(|of_photo| of_photo[0][0]).collect(),
            points: wanted
                .iter()
                .map(|&[_, point]| point + 1)
                .max()
                .unwrap_or(0),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_of_patches_and_pixels_that_are_there() {
        let axis = |cells: &[[u32; 4]], pixels: usize| AxisCells {
            cells: cells.to_vec(),
            shares: vec![0.0; pixels],
        };
        assert!(axis(&[[0, 0, 0, 2], [0, 1, 2, 5]], 5).fits(2));
        assert!(!axis(&[[0, 0, 0, 2], [0, 1, 2, 5]], 5).fits(1));
        assert!(!axis(&[[0, 0, 0, 2], [0, 1, 3, 5]], 5).fits(2));
        assert!(!axis(&[[0, 0, 0, 2], [0, 1, 2, 5]], 6).fits(2));
        assert!(!axis(&[[0, 0, 0, 0]], 0).fits(1) && !axis(&[], 0).fits(1));
    }
}
