//! What all transforms are fitted from: means at every place, and moments over all places.

use ndarray::{Array2, Array3, ArrayView3, Axis};
use rayon::prelude::*;

use crate::error::check;
use crate::rows;
use crate::{Moments, ProbeError};

/// Sums of unit vectors `y = x/|x|` over training images: at every place, in two halves of the images, and over
/// all places with their products. A vector of length zero stays zero.
///
/// Memory: about `4 D (D + 256) + 16 N D` bytes.
#[derive(Clone, Debug)]
pub struct PlaceMoments {
    pub(super) moments: Moments,
    /// Per half: `[N, D]` sums.
    pub(super) sums: [Array2<f64>; 2],
    /// Images of each half.
    pub(super) images: [u64; 2],
}

impl PlaceMoments {
    /// Of no images yet, with vectors of a width at so many places.
    ///
    /// # Panics
    ///
    /// If `width` is zero.
    #[must_use]
    pub fn new(places: usize, width: usize) -> Self {
        Self {
            moments: Moments::new(width),
            sums: [(); 2].map(|()| Array2::zeros((places, width))),
            images: [0; 2],
        }
    }

    /// What was summed elsewhere: moments of all unit vectors, and for each half the sums `[N, D]` at every place and the
    /// images.
    pub(crate) fn from_sums(moments: Moments, sums: [Array2<f64>; 2], images: [u64; 2]) -> Self {
        Self {
            moments,
            sums,
            images,
        }
    }

    /// Images added.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.images.iter().sum()
    }

    /// Adds images, each to a half (0 or 1). What that adds up to does not depend on which images come together.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]`; `halves`: `B`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`], and then images before that one have been added.
    pub fn add(&mut self, rows: ArrayView3<'_, f32>, halves: &[usize]) -> Result<(), ProbeError> {
        let (images, places, width) = rows.dim();
        check("width of the patch vectors", self.moments.dim(), width)?;
        check("places of an image", self.sums[0].nrows(), places)?;
        check("number of halves", images, halves.len())?;
        let unit = unit_rows(rows)?;
        for (image, &half) in halves.iter().enumerate() {
            let rows = unit.index_axis(Axis(0), image);
            self.moments.add(rows.insert_axis(Axis(0)), &[1])?;
            let half = half.min(1);
            self.images[half] += 1;
            let rows = unit.index_axis(Axis(0), image);
            self.sums[half].zip_mut_with(&rows, |sum, &value| *sum += f64::from(value));
        }
        Ok(())
    }
}

/// The vectors at unit length; zero stays zero.
///
/// # Errors
///
/// [`ProbeError::NonFinite`].
pub(crate) fn unit_rows(rows: ArrayView3<'_, f32>) -> Result<Array3<f32>, ProbeError> {
    let (images, places, width) = rows.dim();
    let mut unit = Array3::<f32>::zeros((images, places, width));
    if unit.is_empty() {
        return Ok(unit);
    }
    let out = unit.as_slice_mut().expect("a new array is contiguous");
    let finite: Vec<bool> = out
        .par_chunks_exact_mut(places * width)
        .enumerate()
        .map(|(image, out)| {
            let image = rows.index_axis(Axis(0), image);
            let mut finite = true;
            rows::vectorized(
                #[inline(always)]
                || {
                    for (row, out) in image.rows().into_iter().zip(out.chunks_exact_mut(width)) {
                        rows::copy(row, out);
                        let square = rows::square_norm(out);
                        finite &= square.is_finite();
                        if square > 0.0 {
                            rows::scale(out, 1.0 / square.sqrt());
                        }
                    }
                },
            );
            finite
        })
        .collect();
    match finite.iter().position(|finite| !finite) {
        Some(image) => Err(ProbeError::NonFinite { image }),
        None => Ok(unit),
    }
}
