//! The operations of the probes: scores here, the rest beside it.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

mod labels;
mod moments;
mod soft;
mod training;

use std::sync::Arc;

use crate::buffer::{Buffer, expect};
use crate::element::Element;
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::program::{Arg, CompiledProgram, KernelSource, args};
use crate::rows::RowsView;
pub use labels::Axis;
pub use moments::MomentScratch;
pub use training::{Adam, Assigned, CentroidShape, Centroids, SlotRows};

pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "cluster",
    text: concat!(
        include_str!("kernels/common.cu"),
        include_str!("kernels/rows.cu"),
        include_str!("kernels/cluster.cu"),
        include_str!("kernels/moments.cu"),
        include_str!("kernels/label.cu"),
        include_str!("kernels/soft.cu"),
        include_str!("kernels/count.cu")
    ),
    kernels: &[
        "assign_rows",
        "score_rows",
        "sum_rows",
        "add_images",
        "adam",
        "mean_row",
        "inverse_lengths",
        "shift_rows",
        "add_products",
        "keep_rows",
        "label_pixels",
        "soft_sums",
        "count_labels",
        "draw_pairs",
        "resample",
    ],
    ampere: &[],
};

/// Rows that a block scores, and columns that it sums, as in `cluster.cu`.
const SCORE_ROWS: usize = 64;
const SUM_COLUMNS: usize = 32;

/// The operations of the probes, compiled.
#[derive(Debug)]
pub struct Cluster {
    gpu: Arc<Gpu>,
    program: CompiledProgram,
}

/// Rows of a batch, which the kernels number in 32 bits.
fn total(images: usize, patches: usize) -> usize {
    let total = images * patches;
    assert!(
        u32::try_from(total + SCORE_ROWS).is_ok(),
        "fewer rows than 2^32"
    );
    total
}

impl Cluster {
    /// Compiles the operations.
    ///
    /// # Errors
    /// When NVRTC or the driver refuses.
    pub fn new(gpu: &Arc<Gpu>) -> Result<Arc<Self>, CudaError> {
        Ok(Arc::new(Self {
            gpu: Arc::clone(gpu),
            program: CompiledProgram::load(gpu, SOURCE, Element::F32)?,
        }))
    }

    /// The card.
    #[must_use]
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Queues a kernel.
    ///
    /// # Safety
    /// As [`CompiledProgram::launch`].
    pub(crate) unsafe fn start(
        &self,
        name: &'static str,
        grid: [usize; 3],
        args: &[Arg],
    ) -> Result<(), CudaError> {
        // SAFETY: the caller's promise.
        unsafe { self.program.launch(&self.gpu, name, grid, args) }
    }

    /// The scores of rows against a codebook. `bad` becomes the lowest `first` + image with a score
    /// beyond `limit`, or one that is not a number.
    ///
    /// # Shapes
    /// `codebook` `[clusters, width]`, `scores` `[images, patches, clusters]`, `bad` `[1]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn scores(
        &self,
        rows: &RowsView<'_>,
        (codebook, clusters): (&Buffer<f32>, usize),
        (first, limit): (usize, f32),
        scores: &mut Buffer<f32>,
        bad: &mut Buffer<i32>,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        let total = total(images, patches);
        expect("codebook", codebook.len(), clusters * width);
        expect("scores", scores.len(), total * clusters);
        expect("the flag", bad.len(), 1);
        let rest = args![
            codebook, &*scores, &*bad, images, patches, width, clusters, first, limit
        ];
        let grid = [total.div_ceil(SCORE_ROWS), 1, 1];
        // SAFETY: every array has the size that the kernel goes through, checked above, and the view
        // lies inside its own.
        unsafe { rows.launch(&self.program, "score_rows", grid, rest) }
    }
}
