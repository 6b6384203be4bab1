//! Counting label maps: all in integers, so that the counts are those of the host to the last one.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

use crate::buffer::Buffer;
use crate::cluster::Cluster;
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::program::{Arg, THREADS, args};

/// Cells of replicates that a block of `resample` has shared memory for, as in `count.cu`.
const SHARED_CELLS: usize = 8192;

/// What label maps are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountShape {
    /// Number of clusters.
    pub clusters: usize,
    /// Number of classes, 0 without ground truth.
    pub classes: usize,
    /// Rows and columns of patches.
    pub grid: [usize; 2],
    /// Pixels along a patch.
    pub patch: usize,
    /// Replicates under shifts, and as many of the bootstrap; 0 for none.
    pub replicates: usize,
}

impl CountShape {
    fn area(self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Pairs of a cluster and a class.
    fn pairs(self) -> usize {
        self.clusters * self.classes
    }

    /// Pixels of an image.
    #[must_use]
    pub fn pixels(self) -> usize {
        self.area() * self.patch * self.patch
    }
}

/// Counts on the card.
#[derive(Debug)]
pub struct CardCounts {
    shape: CountShape,
    /// `[clusters, classes]`
    confusion: Buffer<u64>,
    /// `[clusters, height, width]`
    positions: Buffer<u32>,
    /// `[replicates, clusters, grid]`
    shifted: Buffer<u32>,
    drawn: Buffer<u32>,
    /// `[replicates, clusters, classes]`
    drawn_confusion: Buffer<u64>,
}

/// Counts as plain numbers, laid out as on the card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountParts {
    /// Pixels per cluster and class, `[clusters, classes]`.
    pub confusion: Vec<u64>,
    /// Images per cluster and pixel, `[clusters, height, width]`.
    pub positions: Vec<u32>,
    /// Pixels per cluster and patch under the shifts of each replicate, `[replicates, clusters, grid]`.
    pub shifted: Vec<u32>,
    /// The same of the bootstrap's draws.
    pub drawn: Vec<u32>,
    /// Pixels per cluster and class of the bootstrap's draws, `[replicates, clusters, classes]`.
    pub drawn_confusion: Vec<u64>,
}

/// Cells of the images of one batch, and how the replicates see these images.
#[derive(Debug)]
pub struct CountScratch {
    cells: Buffer<u32>,
    present: Buffer<u32>,
    /// Confusions of single images.
    pairs: Buffer<u32>,
    shifts: Buffer<i32>,
    draws: Buffer<i32>,
    /// The grid that the shifts are for.
    grid: [usize; 2],
}

impl CountScratch {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self {
            cells: Buffer::new(gpu, 0)?,
            present: Buffer::new(gpu, 0)?,
            pairs: Buffer::new(gpu, 0)?,
            shifts: Buffer::new(gpu, 0)?,
            draws: Buffer::new(gpu, 0)?,
            grid: [0; 2],
        })
    }

    /// Uploads how the replicates see the images of the next batch: for every image and replicate by
    /// how many rows and columns it is shifted, and how often it is drawn.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When a shift is not within the grid.
    pub fn see(
        &mut self,
        gpu: &Gpu,
        grid: [usize; 2],
        shifts: &[[i32; 2]],
        draws: &[i32],
    ) -> Result<(), CudaError> {
        let within =
            |(shift, side): (&i32, &usize)| usize::try_from(*shift).is_ok_and(|s| s < *side);
        assert!(
            shifts
                .iter()
                .all(|shift| shift.iter().zip(&grid).all(within)),
            "shifts within the grid"
        );
        self.grid = grid;
        self.shifts.reserve(gpu, 2 * shifts.len())?;
        self.shifts.write(gpu, shifts.as_flattened())?;
        self.draws.reserve(gpu, draws.len())?;
        self.draws.write(gpu, draws)
    }
}

impl CardCounts {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu, shape: CountShape) -> Result<Self, CudaError> {
        let replicated = shape.replicates * shape.clusters * shape.area();
        Ok(Self {
            confusion: Buffer::zeros(gpu, shape.clusters * shape.classes)?,
            positions: Buffer::zeros(gpu, shape.clusters * shape.pixels())?,
            shifted: Buffer::zeros(gpu, replicated)?,
            drawn: Buffer::zeros(gpu, replicated)?,
            drawn_confusion: Buffer::zeros(gpu, shape.replicates * shape.pairs())?,
            shape,
        })
    }

    /// What was counted since the last time; counting begins anew.
    ///
    /// # Errors
    /// When the driver refuses, or earlier work failed.
    pub fn take(&mut self, gpu: &Gpu) -> Result<CountParts, CudaError> {
        let parts = CountParts {
            confusion: self.confusion.download(gpu)?,
            positions: self.positions.download(gpu)?,
            shifted: self.shifted.download(gpu)?,
            drawn: self.drawn.download(gpu)?,
            drawn_confusion: self.drawn_confusion.download(gpu)?,
        };
        self.confusion.clear(gpu)?;
        self.positions.clear(gpu)?;
        self.shifted.clear(gpu)?;
        self.drawn.clear(gpu)?;
        self.drawn_confusion.clear(gpu)?;
        Ok(parts)
    }
}

impl Cluster {
    /// Counts the label maps of a batch. A label of 255 is none; positions and replicates leave out
    /// pixels without truth where `labeled` is set.
    ///
    /// # Shapes
    /// `labels` and `truth` `[images, height, width]`; the scratch has seen these images.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn count(
        &self,
        labels: &Buffer<u8>,
        truth: Option<&Buffer<u8>>,
        (images, labeled): (usize, bool),
        counts: &mut CardCounts,
        scratch: &mut CountScratch,
    ) -> Result<(), CudaError> {
        let (gpu, shape) = (self.gpu(), counts.shape);
        let CountShape {
            clusters,
            classes,
            grid: [grid_y, grid_x],
            patch,
            replicates,
        } = shape;
        let total = images * shape.pixels();
        let enough = |buffer: &Buffer<u8>| buffer.len() >= total;
        assert!(enough(labels), "a label per pixel");
        assert!(truth.is_none_or(enough), "a class per pixel");
        let cells = images * clusters * shape.area();
        scratch.cells.reserve(gpu, cells)?;
        scratch.cells.clear(gpu)?;
        scratch.present.reserve(gpu, images * clusters)?;
        scratch.present.clear(gpu)?;
        // Without replicates nobody asks for them, and without truth there are none.
        let pairs = shape.pairs();
        let by_image = truth.is_some() && replicates * pairs > 0;
        if by_image {
            scratch.pairs.reserve(gpu, images * pairs)?;
            scratch.pairs.clear(gpu)?;
        }
        let args = args![
            labels,
            Arg::maybe(truth),
            &counts.confusion,
            Arg::maybe(by_image.then_some(&scratch.pairs)),
            &counts.positions,
            &scratch.cells,
            &scratch.present,
            clusters,
            classes,
            grid_y,
            grid_x,
            patch,
            labeled
        ];
        // SAFETY: every array has the size that the kernel goes through, checked above or when it was
        // made; what is no cluster or class is passed over.
        unsafe { self.start("count_labels", [images * grid_y, 1, 1], args) }?;
        if replicates == 0 {
            return Ok(());
        }
        assert_eq!(scratch.grid, shape.grid, "shifts of this grid");
        assert!(
            scratch.draws.len() >= images * replicates
                && scratch.shifts.len() >= 2 * images * replicates,
            "what every replicate does with every image"
        );
        if by_image {
            let args = args![
                &scratch.pairs,
                &scratch.draws,
                &counts.drawn_confusion,
                images,
                pairs,
                replicates
            ];
            let grid = [replicates, pairs.div_ceil(THREADS as usize), 1];
            // SAFETY: as above; the draws are those of every image and replicate, checked above.
            unsafe { self.start("draw_pairs", grid, args) }?;
        }
        let together = (SHARED_CELLS / (2 * shape.area()).max(1)).clamp(1, 8);
        let args = args![
            &scratch.cells,
            &scratch.present,
            &scratch.shifts,
            &scratch.draws,
            &counts.shifted,
            &counts.drawn,
            images,
            clusters,
            grid_y,
            grid_x,
            replicates,
            together
        ];
        let grid = [clusters, replicates.div_ceil(together), 1];
        // SAFETY: as above; shifts are within the grid, checked when they were uploaded.
        unsafe { self.start("resample", grid, args) }
    }
}
