//! Rows of vectors inside a larger array.
#![expect(
    unsafe_code,
    reason = "cudarc has no safe copy of spaced rows; the view is checked when it is made"
)]

use std::sync::Arc;

use cudarc::driver::sys;

use crate::buffer::Buffer;
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::product::Matrix;
use crate::program::Arg;

/// Some rows of every image of a batch, `[images, rows, width]`, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub struct RowsView<'a> {
    gpu: &'a Arc<Gpu>,
    buffer: &'a Buffer<f32>,
    offset: usize,
    shape: [usize; 3],
    /// Elements between images and between rows.
    strides: [usize; 2],
}

impl<'a> RowsView<'a> {
    /// Rows of `shape` `[images, rows, width]` from element `offset` on; `strides` are the elements
    /// from image to image and from row to row.
    ///
    /// # Panics
    /// When the view reaches beyond the array.
    #[must_use]
    pub fn new(
        gpu: &'a Arc<Gpu>,
        buffer: &'a Buffer<f32>,
        offset: usize,
        shape: [usize; 3],
        strides: [usize; 2],
    ) -> Self {
        let [images, rows, width] = shape;
        if images * rows * width > 0 {
            let last = (images - 1) * strides[0] + (rows - 1) * strides[1] + width;
            assert!(offset + last <= buffer.len(), "the view leaves its array");
        }
        Self {
            gpu,
            buffer,
            offset,
            shape,
            strides,
        }
    }

    /// The card that holds them.
    #[must_use]
    pub fn gpu(&self) -> &'a Arc<Gpu> {
        self.gpu
    }

    /// Images, rows of each, and their width.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// One of the images.
    ///
    /// # Panics
    /// When there is no such image.
    #[must_use]
    pub fn image(&self, image: usize) -> Self {
        assert!(image < self.shape[0], "there is no image {image}");
        Self {
            offset: self.offset + image * self.strides[0],
            shape: [1, self.shape[1], self.shape[2]],
            ..*self
        }
    }

    /// One of every image's rows.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> Self {
        assert!(row < self.shape[1], "there is no row {row}");
        Self {
            offset: self.offset + row * self.strides[1],
            shape: [self.shape[0], 1, self.shape[2]],
            ..*self
        }
    }

    /// A copy in the host's memory, `[images, rows, width]`.
    ///
    /// # Errors
    /// When the driver refuses, or earlier work failed.
    pub fn download(&self) -> Result<Vec<f32>, CudaError> {
        let [images, rows, width] = self.shape;
        let mut out = vec![0.0_f32; images * rows * width];
        if out.is_empty() {
            return Ok(out);
        }
        let copying = "copy rows from the card";
        self.gpu
            .context()
            .bind_to_thread()
            .map_err(CudaError::driver(copying))?;
        let bytes = size_of::<f32>();
        for (image, out) in out.chunks_exact_mut(rows * width).enumerate() {
            let start = self.offset + image * self.strides[0];
            let copy = sys::CUDA_MEMCPY2D_st {
                srcXInBytes: 0,
                srcY: 0,
                srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
                srcHost: std::ptr::null(),
                srcDevice: self.buffer.address() + (start * bytes) as u64,
                srcArray: std::ptr::null_mut(),
                srcPitch: self.strides[1] * bytes,
                dstXInBytes: 0,
                dstY: 0,
                dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_HOST,
                dstHost: out.as_mut_ptr().cast(),
                dstDevice: 0,
                dstArray: std::ptr::null_mut(),
                dstPitch: width * bytes,
                WidthInBytes: width * bytes,
                Height: rows,
            };
            // SAFETY: the source lies inside the buffer, as checked when the view was made, and
            // the target is this image's part of `out`, which lives until the wait below.
            unsafe { sys::cuMemcpy2DAsync_v2(&copy, self.gpu.stream().cu_stream()) }
                .result()
                .map_err(CudaError::driver(copying))?;
        }
        self.gpu.synchronize()?;
        Ok(out)
    }

    /// The first image's rows as a factor.
    pub(crate) fn matrix(&self) -> Matrix {
        Matrix::floats(self.buffer, self.offset, self.strides[1])
    }

    /// The first element.
    pub(crate) fn start(&self) -> Arg {
        Arg::at(self.buffer, self.offset)
    }

    /// Elements between images and between rows.
    pub(crate) fn strides(&self) -> [usize; 2] {
        self.strides
    }
}
