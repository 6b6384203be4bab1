//! Labels of pixels.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

use super::Cluster;
use crate::buffer::{Buffer, expect};
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::program::args;

/// Lines of an image that a block labels.
const LABEL_LINES: usize = 4;

/// Where the pixels of one axis lie between its patches.
#[derive(Debug)]
pub struct Axis {
    places: Buffer<i32>,
    weights: Buffer<f32>,
    patches: usize,
}

impl Axis {
    /// Uploads, per pixel, the two patches it lies between and their weights.
    ///
    /// # Errors
    /// When the memory does not suffice.
    ///
    /// # Panics
    /// When a pixel names a patch that the axis does not have.
    pub fn upload(
        gpu: &Gpu,
        pixels: &[([usize; 2], [f32; 2])],
        patches: usize,
    ) -> Result<Self, CudaError> {
        let named = pixels.iter().flat_map(|(places, _)| places);
        let places: Vec<i32> = named
            .map(|&place| {
                assert!(place < patches, "there is no patch {place}");
                i32::try_from(place).expect("fewer patches than 2^31")
            })
            .collect();
        let weights: Vec<f32> = pixels.iter().flat_map(|(_, weights)| *weights).collect();
        Ok(Self {
            places: Buffer::upload(gpu, &places)?,
            weights: Buffer::upload(gpu, &weights)?,
            patches,
        })
    }

    fn pixels(&self) -> usize {
        self.weights.len() / 2
    }
}

impl Cluster {
    /// The cluster of every pixel, by bilinear mixes of the scores of the patches around it; the
    /// lowest cluster on ties.
    ///
    /// # Shapes
    /// `scores` `[images, rows.patches, columns.patches, clusters]`, `labels`
    /// `[images, rows.pixels, columns.pixels]`; `mixes` is scratch.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When an array is too small, or there are more clusters than a `u8` counts.
    pub fn label_pixels(
        &self,
        scores: &Buffer<f32>,
        [images, clusters]: [usize; 2],
        [rows, columns]: [&Axis; 2],
        mixes: &mut Buffer<f32>,
        labels: &mut Buffer<u8>,
    ) -> Result<(), CudaError> {
        assert!((1..=256).contains(&clusters), "a label is a u8");
        let (grid_y, grid_x) = (rows.patches, columns.patches);
        let (height, width) = (rows.pixels(), columns.pixels());
        let total = images * height * width;
        expect("scores", scores.len(), images * grid_y * grid_x * clusters);
        expect("labels", labels.len(), total);
        mixes.reserve(&self.gpu, images * height * grid_x * clusters)?;
        let args = args![
            scores,
            &rows.places,
            &rows.weights,
            &columns.places,
            &columns.weights,
            &*mixes,
            &*labels,
            height,
            width,
            grid_y,
            grid_x,
            clusters
        ];
        let blocks = images * height.div_ceil(LABEL_LINES);
        // SAFETY: every array has the size that the kernel goes through, checked above, and places
        // name patches of their axis, checked when they were uploaded.
        unsafe { self.program.rows(&self.gpu, "label_pixels", blocks, args) }
    }
}
