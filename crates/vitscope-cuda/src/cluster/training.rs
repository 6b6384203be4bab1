//! Centroids of many slots while they are trained.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

use super::{Cluster, SCORE_ROWS, SUM_COLUMNS, total};
use crate::buffer::{Buffer, Letters};
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::program::{Arg, THREADS, args};
use crate::rows::RowsView;

/// Clusters that a block sums, as in `cluster.cu`.
const SUM_CLUSTERS: usize = 32;

/// Arrays that go through a kernel together, as in `cluster.cu`: queries, keys and values; fewer where the sums of
/// their images would be more numbers than this.
const TOGETHER: usize = 3;
const MAX_SUMS: usize = 32 << 20;

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

/// Slots that are trained together, their clusters, and the width of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CentroidShape {
    /// How many slots.
    pub slots: usize,
    /// Clusters of each.
    pub clusters: usize,
    /// Numbers of a vector.
    pub width: usize,
}

impl CentroidShape {
    /// Numbers in the centroids of a slot.
    fn of_slot(self) -> usize {
        self.clusters * self.width
    }
}

/// The centroids of some slots with what moves them, `[slots, clusters, width]`.
#[derive(Debug)]
pub struct Centroids {
    shape: CentroidShape,
    /// The free parameters, and the means of gradients and of squared gradients.
    state: [Buffer<f64>; 3],
    /// Of the unit rows of this step, and every slot's of their similarities.
    sums: Buffer<f64>,
    similarity: Buffer<f64>,
    /// Unit rows, what vectors are compared with.
    codebooks: Buffer<f32>,
    /// The lowest image of every slot that is not fit for use; the largest number where there is none.
    bad: Buffer<i32>,
    letters: Letters,
}

impl Centroids {
    /// Centroids with their two means; what vectors are compared with is made by a first [`Cluster::adam`] without a
    /// step.
    ///
    /// # Errors
    /// When the memory does not suffice.
    ///
    /// # Panics
    /// When the state does not have this shape.
    pub fn new(gpu: &Gpu, shape: CentroidShape, state: &[Vec<f64>; 3]) -> Result<Self, CudaError> {
        let CentroidShape { slots, .. } = shape;
        let length = slots * shape.of_slot();
        for part in state {
            assert_eq!(part.len(), length, "one number a place");
        }
        let [values, first, second] = state;
        Ok(Self {
            shape,
            state: [
                Buffer::upload(gpu, values)?,
                Buffer::upload(gpu, first)?,
                Buffer::upload(gpu, second)?,
            ],
            sums: Buffer::zeros(gpu, length)?,
            similarity: Buffer::zeros(gpu, slots)?,
            codebooks: Buffer::new(gpu, length)?,
            bad: Buffer::upload(gpu, &vec![i32::MAX; slots])?,
            letters: Letters::new(gpu, slots)?,
        })
    }

    /// Their shape.
    #[must_use]
    pub fn shape(&self) -> CentroidShape {
        self.shape
    }

    /// Centroids and the two means, once everything that was queued is done.
    ///
    /// # Errors
    /// When the driver refuses, or earlier work failed.
    pub fn download(&self, gpu: &Gpu) -> Result<[Vec<f64>; 3], CudaError> {
        let [values, first, second] = &self.state;
        Ok([
            values.download(gpu)?,
            first.download(gpu)?,
            second.download(gpu)?,
        ])
    }

    /// What the last step told of every slot, once everything that was queued is done: the sum of similarities, and
    /// the lowest image that is not fit for use.
    ///
    /// # Errors
    /// When any of it failed.
    pub fn told(&mut self) -> Result<Vec<(f64, Option<usize>)>, CudaError> {
        let told = self.letters.read()?.iter().map(|&[similarity, bad]| {
            let bad = (bad < f64::from(i32::MAX)).then_some(bad as usize);
            (similarity, bad)
        });
        Ok(told.collect())
    }

    /// Forgets which images were not fit for use.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn forgive(&mut self, gpu: &Gpu) -> Result<(), CudaError> {
        self.bad.write(gpu, &vec![i32::MAX; self.shape.slots])
    }
}

/// Which centroid every row of some arrays is most similar to, and what the rows of an image add up to.
#[derive(Debug)]
pub struct Assigned {
    best: Buffer<i32>,
    similarity: Buffer<f32>,
    /// One over every row's length.
    inverse: Buffer<f64>,
    /// Per image.
    sums: Buffer<f64>,
    similarities: Buffer<f64>,
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
            sums: Buffer::new(gpu, 0)?,
            similarities: Buffer::new(gpu, 0)?,
        })
    }
}

/// Up to three arrays of rows that lie alike, each with the number of its slot.
#[derive(Clone, Copy, Debug)]
pub struct SlotRows<'a, 'r>(&'r [(usize, RowsView<'a>)]);

impl<'a, 'r> SlotRows<'a, 'r> {
    /// The first array with those after it that lie alike, as far as they are added up together; `None` where there
    /// is none.
    #[must_use]
    pub fn first_alike(rows: &'r [(usize, RowsView<'a>)], shape: CentroidShape) -> Option<Self> {
        let (_, first) = rows.first()?;
        let alike = rows.iter().take_while(|(_, rows)| rows.lies_like(first));
        let sums = first.shape()[0] * shape.of_slot();
        let most = (MAX_SUMS / sums.max(1)).clamp(1, TOGETHER);
        Some(Self(&rows[..alike.count().min(most)]))
    }

    /// The numbers of their slots.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = usize> + use<'a, 'r> {
        self.0.iter().map(|(slot, _)| *slot)
    }

    /// Images, rows of each, and their width, of every array.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.0[0].1.shape()
    }

    /// The slots as the last arguments of a kernel; where an array is missing, no block asks.
    fn slot_args(&self) -> [Arg; TOGETHER] {
        std::array::from_fn(|index| Arg::from(self.0.get(index).map_or(0, |(slot, _)| *slot)))
    }

    /// Rows and slots as the first arguments of a kernel.
    fn args(&self) -> Vec<Arg> {
        let start = |index: usize| {
            self.0
                .get(index)
                .map_or(Arg::NONE, |(_, rows)| rows.args()[0])
        };
        let mut args = self.0[0].1.args().to_vec();
        args.extend((1..TOGETHER).map(start));
        args.extend(self.slot_args());
        args
    }

    /// Whether every array is of a slot of its own, and there is such a slot.
    fn are_of(&self, shape: CentroidShape) -> bool {
        let mut slots = self.slots().enumerate();
        let own = |(index, slot): (usize, usize)| {
            slot < shape.slots && self.slots().take(index).all(|before| before != slot)
        };
        slots.all(own) && self.shape()[2] == shape.width
    }
}

impl Cluster {
    /// Adds images to a step: every row to the sum of the centroid of its slot that it is most similar to, the lowest on
    /// ties. What is not finite becomes known as the lowest `first` + image. Each image has its own sums, added in the
    /// order of the images: a step does not depend on which images come together, nor on which slots do.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When rows have another width than the centroids, or slots are not there or given twice.
    pub fn add_rows(
        &self,
        rows: &SlotRows<'_, '_>,
        first: usize,
        centroids: &mut Centroids,
        assigned: &mut Assigned,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        let (shape, arrays) = (centroids.shape, rows.slots().len());
        assert!(rows.are_of(shape), "a slot of its own for every array");
        let (clusters, groups) = (shape.clusters, shape.of_slot());
        assert!(clusters > 0, "there are no clusters");
        let total = total(images, patches);
        let Assigned {
            best,
            similarity,
            inverse,
            sums,
            similarities,
        } = assigned;
        best.reserve(&self.gpu, arrays * total)?;
        similarity.reserve(&self.gpu, arrays * total)?;
        inverse.reserve(&self.gpu, arrays * total)?;
        sums.reserve(&self.gpu, arrays * images * groups)?;
        similarities.reserve(&self.gpu, arrays * images)?;
        let of_rows = args![
            &centroids.codebooks,
            &*best,
            &*similarity,
            &*inverse,
            &centroids.bad,
            images,
            patches,
            width,
            clusters,
            first
        ];
        let of_rows = [&rows.args()[..], of_rows].concat();
        let of_sums = args![
            &*best,
            &*similarity,
            &*inverse,
            &*sums,
            &*similarities,
            patches,
            width,
            clusters
        ];
        let of_sums = [&rows.args()[..], of_sums].concat();
        let of_images = args![
            &*sums,
            &centroids.sums,
            &*similarities,
            &centroids.similarity,
            images,
            groups
        ];
        let of_images = [of_images, &rows.slot_args()[..]].concat();
        let parts = clusters.div_ceil(SUM_CLUSTERS);
        let queue = [
            (
                "assign_rows",
                [total.div_ceil(SCORE_ROWS), arrays, 1],
                of_rows,
            ),
            (
                "sum_rows",
                [width.div_ceil(SUM_COLUMNS), images, parts * arrays],
                of_sums,
            ),
            (
                "add_images",
                [(groups + 1).div_ceil(THREADS as usize), arrays, 1],
                of_images,
            ),
        ];
        for (name, grid, args) in queue {
            // SAFETY: every array has the size that the kernel goes through, reserved above or made so for the
            // slots, which are there, and the views lie inside their own; a cluster that a row does not have is
            // passed over.
            unsafe { self.start(name, grid, &args) }?;
        }
        Ok(())
    }

    /// A step of Adam for every centroid of every slot, after which the sums are zero; without a step only what vectors
    /// are compared with is made, the centroids at unit length. Where an image of any slot is not fit for use, no slot
    /// takes the step. [`Centroids::told`] knows how it went.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn adam(&self, centroids: &mut Centroids, step: Option<Adam>) -> Result<(), CudaError> {
        let Centroids {
            shape,
            state: [values, first, second],
            sums,
            similarity,
            codebooks,
            bad,
            letters,
        } = centroids;
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
            &*codebooks,
            shape.width,
            scale,
            step_size,
            beta1,
            beta2,
            correction2,
            eps,
            step.is_some(),
            &*bad,
            &*similarity,
            Arg::to(letters.address())
        ];
        // SAFETY: every array was made for this shape.
        unsafe { self.start("adam", [shape.clusters, shape.slots, 1], args) }
    }
}
