//! Rows of vectors inside a larger array.
#![expect(
    unsafe_code,
    reason = "cudarc has no safe copy of spaced rows; the view is checked when it is made"
)]

use std::sync::Arc;

use cudarc::driver::sys;

use half::{bf16, f16};

use crate::buffer::Buffer;
use crate::element::Element;
use crate::error::CudaError;
use crate::factors::Factors;
use crate::gpu::Gpu;
use crate::program::{Arg, CompiledProgram};

/// The array that rows lie in.
#[derive(Clone, Copy, Debug)]
enum RowsPlace<'a> {
    Floats(&'a Buffer<f32>),
    Factors(&'a Factors),
}

impl RowsPlace<'_> {
    fn len(self) -> usize {
        match self {
            Self::Floats(buffer) => buffer.len(),
            Self::Factors(factors) => factors.len(),
        }
    }

    fn element(self) -> Element {
        match self {
            Self::Floats(_) => Element::F32,
            Self::Factors(factors) => factors.element,
        }
    }

    fn address(self) -> sys::CUdeviceptr {
        match self {
            Self::Floats(buffer) => buffer.address(),
            Self::Factors(factors) => factors.bytes.address(),
        }
    }
}

/// Some rows of every image of a batch, `[images, rows, width]`, wherever they lie: f32, or numbers
/// of a product's type.
#[derive(Clone, Copy, Debug)]
pub struct RowsView<'a> {
    gpu: &'a Arc<Gpu>,
    place: RowsPlace<'a>,
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
        Self::of(gpu, RowsPlace::Floats(buffer), offset, shape, strides)
    }

    /// The same of factors.
    ///
    /// # Panics
    /// When the view reaches beyond the array.
    #[must_use]
    pub fn factors(
        gpu: &'a Arc<Gpu>,
        factors: &'a Factors,
        offset: usize,
        shape: [usize; 3],
        strides: [usize; 2],
    ) -> Self {
        Self::of(gpu, RowsPlace::Factors(factors), offset, shape, strides)
    }

    fn of(
        gpu: &'a Arc<Gpu>,
        place: RowsPlace<'a>,
        offset: usize,
        shape: [usize; 3],
        strides: [usize; 2],
    ) -> Self {
        let [images, rows, width] = shape;
        if images > 0 && rows > 0 && width > 0 {
            let last = (images - 1)
                .checked_mul(strides[0])
                .zip((rows - 1).checked_mul(strides[1]))
                .and_then(|(image, row)| image.checked_add(row)?.checked_add(width))
                .and_then(|last| last.checked_add(offset));
            assert!(
                last.is_some_and(|last| last <= place.len()),
                "the view leaves its array"
            );
        }
        Self {
            gpu,
            place,
            offset,
            shape,
            strides,
        }
    }

    /// The type of the numbers.
    #[must_use]
    pub fn element(&self) -> Element {
        self.place.element()
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

    /// Whether two views differ in nothing but where they begin.
    pub(crate) fn lies_like(&self, other: &Self) -> bool {
        self.shape == other.shape && self.args()[1..] == other.args()[1..]
    }

    /// Some of the images.
    ///
    /// # Panics
    /// When there are no such images.
    #[must_use]
    pub fn images(&self, range: std::ops::Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.shape[0],
            "there are no images {range:?}"
        );
        Self {
            offset: self.offset + range.start * self.strides[0],
            shape: [range.len(), self.shape[1], self.shape[2]],
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

    /// A copy in the host's memory as f32, `[images, rows, width]`.
    ///
    /// # Errors
    /// When the driver refuses, or earlier work failed.
    pub fn download(&self) -> Result<Vec<f32>, CudaError> {
        let count = self.shape.iter().product::<usize>();
        match self.element() {
            Element::F32 => {
                let mut out = vec![0.0_f32; count];
                self.copy(bytemuck::cast_slice_mut(&mut out))?;
                Ok(out)
            }
            Element::Bf16 => {
                let mut out = vec![bf16::ZERO; count];
                self.copy(bytemuck::cast_slice_mut(&mut out))?;
                Ok(out.into_iter().map(bf16::to_f32).collect())
            }
            Element::F16 => {
                let mut out = vec![f16::ZERO; count];
                self.copy(bytemuck::cast_slice_mut(&mut out))?;
                Ok(out.into_iter().map(f16::to_f32).collect())
            }
        }
    }

    /// Copies all rows, side by side, and waits until they are there.
    fn copy(&self, out: &mut [u8]) -> Result<(), CudaError> {
        let [_, rows, width] = self.shape;
        if out.is_empty() {
            return Ok(());
        }
        let copying = "copy rows from the card";
        self.gpu
            .context()
            .bind_to_thread()
            .map_err(CudaError::driver(copying))?;
        let bytes = self.element().size();
        let mut images = out.chunks_exact_mut(rows * width * bytes).enumerate();
        let queued = images.try_for_each(|(image, out)| {
            let start = self.offset + image * self.strides[0];
            let copy = sys::CUDA_MEMCPY2D_st {
                srcXInBytes: 0,
                srcY: 0,
                srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
                srcHost: std::ptr::null(),
                srcDevice: self.place.address() + (start * bytes) as u64,
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
            // SAFETY: the source lies inside the array, as checked when the view was made, and
            // the target is this image's part of `out`, which is borrowed until the wait below.
            unsafe { sys::cuMemcpy2DAsync_v2(&copy, self.gpu.stream().cu_stream()) }
                .result()
                .map_err(CudaError::driver(copying))
        });
        // Also after a failure: copies that were queued before it write to `out`.
        let waited = self.gpu.synchronize();
        queued.and(waited)
    }

    /// Queues a kernel whose first arguments are these rows.
    ///
    /// # Safety
    /// As [`CompiledProgram::launch`].
    pub(crate) unsafe fn launch(
        &self,
        program: &CompiledProgram,
        name: &'static str,
        grid: [usize; 3],
        rest: &[Arg],
    ) -> Result<(), CudaError> {
        let args = [&self.args()[..], rest].concat();
        // SAFETY: the caller's promise.
        unsafe { program.launch(self.gpu, name, grid, &args) }
    }

    /// The first arguments of a kernel that reads rows: the first element, the elements between images
    /// and between rows, the type of the numbers, and whether four at a time can be read.
    pub(crate) fn args(&self) -> [Arg; 5] {
        let element = self.element();
        let start = self.place.address() + (self.offset * element.size()) as u64;
        let quads = start.is_multiple_of(4 * element.size() as u64)
            && self.strides.iter().all(|stride| stride.is_multiple_of(4))
            && self.shape[2].is_multiple_of(4);
        [
            Arg::to(start),
            Arg::from(self.strides[0]),
            Arg::from(self.strides[1]),
            Arg::from(element.number() as usize),
            Arg::from(quads),
        ]
    }
}
