//! How probable each cluster is at each patch.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

use super::Cluster;
use crate::buffer::{Buffer, expect};
use crate::error::CudaError;
use crate::program::args;
use crate::rows::RowsView;

/// Patches that a block sums, one in each of its warps.
const SOFT_PATCHES: usize = 4;

impl Cluster {
    /// Adds the softmax of `alpha` times the cosines of rows and centroids over images, as whole numbers of
    /// `2^-40`. A row without length is as near to every cluster.
    ///
    /// # Shapes
    /// `scores` `[images, patches, clusters]` of these rows, `sums` `[patches, clusters]`; `inverse` is scratch.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When an array is too small, or there are more clusters than a `u8` counts.
    pub fn soft_sums(
        &self,
        rows: &RowsView<'_>,
        (scores, clusters): (&Buffer<f32>, usize),
        alpha: u32,
        inverse: &mut Buffer<f64>,
        sums: &mut Buffer<u64>,
    ) -> Result<(), CudaError> {
        let [images, patches, _] = rows.shape();
        assert!((1..=256).contains(&clusters), "a label is a u8");
        expect("scores", scores.len(), images * patches * clusters);
        expect("sums", sums.len(), patches * clusters);
        self.inverse_lengths(rows, inverse)?;
        let args = args![
            scores,
            &*inverse,
            &*sums,
            images,
            patches,
            clusters,
            alpha as usize
        ];
        let grid = [patches.div_ceil(SOFT_PATCHES), 1, 1];
        // SAFETY: every array has the size that the kernel goes through, checked above or made so.
        unsafe { self.start("soft_sums", grid, args) }
    }
}
