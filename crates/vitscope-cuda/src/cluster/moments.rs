//! Moments of patch vectors, and the rows that are kept to start from.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

use super::{Cluster, SUM_COLUMNS};
use crate::blas::Product;
use crate::buffer::{Buffer, expect};
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::matrix::{Matrix, ProductTarget};
use crate::program::args;
use crate::rows::RowsView;

/// Where the moments of a batch are made before they are added up.
#[derive(Debug)]
pub struct MomentScratch {
    inverse: Buffer<f64>,
    shifted: Buffer<f32>,
    sums: Buffer<f64>,
    products: Buffer<f32>,
    weights: Buffer<f64>,
}

impl MomentScratch {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self {
            inverse: Buffer::new(gpu, 0)?,
            shifted: Buffer::new(gpu, 0)?,
            sums: Buffer::new(gpu, 0)?,
            products: Buffer::new(gpu, 0)?,
            weights: Buffer::new(gpu, 0)?,
        })
    }
}

impl Cluster {
    /// The mean of one image's rows.
    ///
    /// # Shapes
    /// `mean` `[width]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When the array is too small, or there is not one image.
    pub fn mean_row(&self, rows: &RowsView<'_>, mean: &mut Buffer<f32>) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        assert_eq!(images, 1, "one image");
        expect("mean", mean.len(), width);
        let rest = args![&*mean, patches, width];
        let grid = [width.div_ceil(SUM_COLUMNS), 1, 1];
        // SAFETY: the mean has the size that the kernel writes, and the view lies inside its array.
        unsafe { rows.launch(&self.program, "mean_row", grid, rest) }
    }

    /// Adds images, `weights[image]` times, to sums of rows and of their outer products (of these the
    /// lower triangle), both less `mean`, and to the sum of the rows at unit length. `bad` becomes the lowest `first` + image that has a weight and
    /// whose rows are not finite.
    ///
    /// # Shapes
    /// `mean` `[width]`, `sum` `[2, width]` (less the mean; at unit length), `products` `[width, width]`, `bad` `[1]`.
    ///
    /// # Errors
    /// When the driver or cuBLASLt refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn add_moments(
        &self,
        rows: &RowsView<'_>,
        mean: &Buffer<f32>,
        (first, weights): (usize, &[f64]),
        (sum, total): (&mut Buffer<f64>, &mut Buffer<f64>),
        scratch: &mut MomentScratch,
        bad: &mut Buffer<i32>,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        expect("mean", mean.len(), width);
        expect("sums", sum.len(), 2 * width);
        expect("sums of products", total.len(), width * width);
        expect("the flag", bad.len(), 1);
        assert_eq!(weights.len(), images, "a weight per image");
        let MomentScratch {
            inverse,
            shifted,
            sums,
            products,
            weights: uploaded,
        } = scratch;
        shifted.reserve(&self.gpu, images * patches * width)?;
        sums.reserve(&self.gpu, 2 * images * width)?;
        products.reserve(&self.gpu, images * width * width)?;
        uploaded.reserve(&self.gpu, images)?;
        uploaded.write(&self.gpu, weights)?;
        self.inverse_lengths(rows, inverse)?;
        let rest = args![
            mean, &*inverse, &*shifted, &*sums, &*uploaded, &*bad, patches, width, first
        ];
        let grid = [width.div_ceil(SUM_COLUMNS), images, 1];
        // SAFETY: every array has the size that the kernel goes through, reserved or checked above.
        unsafe { rows.launch(&self.program, "shift_rows", grid, rest) }?;
        let shape = Product {
            rows: width,
            inputs: patches,
            outputs: width,
            batch: images,
        };
        let all = Matrix::floats(shifted, 0, width).batch(patches * width);
        let target = ProductTarget::new(products, width).batch(width * width);
        self.gpu
            .product(shape, all.transposed(), all, target, None)?;
        let args = args![
            &*products, &*sums, &*uploaded, &*total, &*sum, images, width
        ];
        // SAFETY: as above.
        unsafe {
            self.program
                .rows(&self.gpu, "add_products", width + 1, args)
        }
    }

    /// One over the length of every row, 0 for a row of zeros.
    pub(super) fn inverse_lengths(
        &self,
        rows: &RowsView<'_>,
        inverse: &mut Buffer<f64>,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        inverse.reserve(&self.gpu, images * patches)?;
        let warps = (images * patches).div_ceil(4);
        let rest = args![&*inverse, images, patches, width];
        // SAFETY: a number per row was reserved, and the view lies inside its array.
        unsafe { rows.launch(&self.program, "inverse_lengths", [warps, 1, 1], rest) }
    }

    /// Copies some rows as f32: `places` has of each its number among the images' patches, and the row
    /// of `kept` that it becomes.
    ///
    /// # Shapes
    /// `places` `[count, 2]`, no row of `kept` twice; `kept` `[any, width]`.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When a place is outside its array.
    pub fn keep_rows(
        &self,
        rows: &RowsView<'_>,
        places: &[[i32; 2]],
        kept: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        let room = kept.len() / width.max(1);
        for &[from, to] in places {
            assert!(
                usize::try_from(from).is_ok_and(|from| from < images * patches)
                    && usize::try_from(to).is_ok_and(|to| to < room),
                "a row that is not there"
            );
        }
        if places.is_empty() {
            return Ok(());
        }
        let uploaded = Buffer::upload(&self.gpu, places.as_flattened())?;
        let rest = args![&uploaded, &*kept, patches, width];
        // SAFETY: every place was checked above.
        unsafe { rows.launch(&self.program, "keep_rows", [places.len(), 1, 1], rest) }
    }
}
