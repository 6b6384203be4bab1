//! The operations of the probes: scores, sums and steps of centroids here, the rest beside it.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

mod labels;
mod moments;
mod soft;

use std::sync::Arc;

use crate::buffer::{Buffer, Letter, expect};
use crate::element::Element;
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::program::{Arg, CompiledProgram, KernelSource, args};
use crate::rows::RowsView;
pub use labels::Axis;
pub use moments::MomentScratch;

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

/// Rows that a block scores, clusters that it sums, and columns that it sums, as in `cluster.cu`.
const SCORE_ROWS: usize = 64;
const SUM_CLUSTERS: usize = 32;
const SUM_COLUMNS: usize = 32;

/// The operations of the probes, compiled.
#[derive(Debug)]
pub struct Cluster {
    gpu: Arc<Gpu>,
    program: CompiledProgram,
}

/// The numbers of one step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// One over the number of vectors.
    pub scale: f64,
    /// The rate over the first bias correction.
    pub step_size: f64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of the squared gradients.
    pub beta2: f64,
    /// The root of the second bias correction.
    pub correction2: f64,
    /// Keeps the quotient finite.
    pub eps: f64,
}

/// Which centroid every row of a batch is most similar to.
#[derive(Debug)]
pub struct Assigned {
    best: Buffer<i32>,
    similarity: Buffer<f32>,
    /// One over every row's length.
    inverse: Buffer<f64>,
}

impl Assigned {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self {
            best: Buffer::new(gpu, 0)?,
            similarity: Buffer::new(gpu, 0)?,
            inverse: Buffer::new(gpu, 0)?,
        })
    }
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

    /// The centroid that every row is most similar to, the lowest on ties. `bad` becomes the lowest
    /// `first` + image with a row that is not finite.
    ///
    /// # Shapes
    /// `codebook` `[clusters, width]`, `bad` `[1]`.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn assign(
        &self,
        rows: &RowsView<'_>,
        (codebook, clusters): (&Buffer<f32>, usize),
        first: usize,
        assigned: &mut Assigned,
        bad: &mut Buffer<i32>,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        assert!(clusters > 0, "there are no clusters");
        expect("codebook", codebook.len(), clusters * width);
        expect("the flag", bad.len(), 1);
        let Assigned {
            best,
            similarity,
            inverse,
        } = assigned;
        let total = total(images, patches);
        best.reserve(&self.gpu, total)?;
        similarity.reserve(&self.gpu, total)?;
        inverse.reserve(&self.gpu, total)?;
        let rest = args![
            codebook,
            &*best,
            &*similarity,
            &*inverse,
            &*bad,
            images,
            patches,
            width,
            clusters,
            first
        ];
        let grid = [total.div_ceil(SCORE_ROWS), 1, 1];
        // SAFETY: every array has the size that the kernel goes through, checked above, and the view
        // lies inside its own.
        unsafe { rows.launch(&self.program, "assign_rows", grid, rest) }
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
        // SAFETY: as in `assign`.
        unsafe { rows.launch(&self.program, "score_rows", grid, rest) }
    }

    /// Per image, the sums of the unit rows of every cluster and of their similarities.
    ///
    /// # Shapes
    /// `assigned` these very rows; `sums` `[images, clusters, width]`, `similarities` `[images]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn sum_images(
        &self,
        rows: &RowsView<'_>,
        assigned: &Assigned,
        clusters: usize,
        (sums, similarities): (&mut Buffer<f64>, &mut Buffer<f64>),
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        let Assigned {
            best,
            similarity,
            inverse,
        } = assigned;
        expect("assignments", best.len(), images * patches);
        expect("similarities", similarity.len(), images * patches);
        expect("lengths", inverse.len(), images * patches);
        expect("sums", sums.len(), images * clusters * width);
        expect("sums of similarities", similarities.len(), images);
        let rest = args![
            best,
            similarity,
            inverse,
            &*sums,
            &*similarities,
            patches,
            width,
            clusters
        ];
        let grid = [
            width.div_ceil(SUM_COLUMNS),
            images,
            clusters.div_ceil(SUM_CLUSTERS),
        ];
        // SAFETY: as in `assign`; a cluster that a row does not have is passed over.
        unsafe { rows.launch(&self.program, "sum_rows", grid, rest) }
    }

    /// `total += parts` of every image, image by image; and the same of the similarities.
    ///
    /// # Shapes
    /// `parts` `[images, groups]`, `total` `[groups]`; `similarities` `[images]`, `similarity` `[1]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn add_images(
        &self,
        (parts, total): (&Buffer<f64>, &mut Buffer<f64>),
        (similarities, similarity): (&Buffer<f64>, &mut Buffer<f64>),
        [images, groups]: [usize; 2],
    ) -> Result<(), CudaError> {
        expect("parts", parts.len(), images * groups);
        expect("totals", total.len(), groups);
        expect("sums of similarities", similarities.len(), images);
        expect("the sum of similarities", similarity.len(), 1);
        let args = args![parts, &*total, similarities, &*similarity, images, groups];
        // SAFETY: every array has the size that the kernel goes through, checked above.
        unsafe { self.program.each(&self.gpu, "add_images", groups + 1, args) }
    }

    /// A step of Adam for every centroid, after which `sums` and `similarity` are zero; without a step
    /// only the codebook is made, the centroids at unit length. Where `bad` names an image, no step is
    /// taken. The letter gets the sum of similarities and what is bad.
    ///
    /// # Shapes
    /// `state`: centroids and the two means, with `sums` and `codebook` all `[clusters, width]`;
    /// `similarity` and `bad` `[1]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn adam(
        &self,
        [values, first, second]: [&mut Buffer<f64>; 3],
        (sums, similarity): (&mut Buffer<f64>, &mut Buffer<f64>),
        codebook: &mut Buffer<f32>,
        [clusters, width]: [usize; 2],
        step: Option<Adam>,
        (bad, letter): (&Buffer<i32>, &mut Letter),
    ) -> Result<(), CudaError> {
        for state in [&*values, &*first, &*second, &*sums] {
            expect("centroids", state.len(), clusters * width);
        }
        expect("codebook", codebook.len(), clusters * width);
        expect("the sum of similarities", similarity.len(), 1);
        expect("the flag", bad.len(), 1);
        let Adam {
            scale,
            step_size,
            beta1,
            beta2,
            correction2,
            eps,
        } = step.unwrap_or(Adam {
            scale: 0.0,
            step_size: 0.0,
            beta1: 0.0,
            beta2: 0.0,
            correction2: 1.0,
            eps: 1.0,
        });
        let args = args![
            &*values,
            &*first,
            &*second,
            &*sums,
            &*codebook,
            width,
            scale,
            step_size,
            beta1,
            beta2,
            correction2,
            eps,
            step.is_some(),
            bad,
            &*similarity,
            Arg::to(letter.address())
        ];
        // SAFETY: every array has the size that the kernel goes through, checked above.
        unsafe { self.program.rows(&self.gpu, "adam", clusters, args) }
    }
}
