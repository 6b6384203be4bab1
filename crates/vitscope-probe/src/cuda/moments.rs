//! [`Moments`] of rows on the card.

use std::sync::Arc;

use vitscope_cuda::{Buffer, Cluster, RowsView};

use super::{Flag, StageScratch, check};
use crate::{Moments, ProbeError};

/// Numbers in the products of the images that are multiplied together, at most.
const MAX_PRODUCTS: usize = 64 << 20;

/// Number, sums and outer products of all patch vectors seen so far, on the card.
///
/// As with [`Moments`], the products of one image are made in f32 about a provisional mean and added
/// up over the images in f64. Memory: about `8 D^2` bytes of the card.
#[derive(Debug)]
pub struct DeviceMoments {
    cluster: Arc<Cluster>,
    dim: usize,
    count: u64,
    /// Images seen, for the name of one that is not finite.
    images: usize,
    shift: Buffer<f32>,
    /// Of the vectors less the provisional mean, and of the vectors at unit length.
    sums: Buffer<f64>,
    products: Buffer<f64>,
    bad: Flag,
}

impl DeviceMoments {
    /// Moments of no vectors yet.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`]; [`ProbeError::Shape`] if `dim` is zero.
    pub fn new(cluster: &Arc<Cluster>, dim: usize) -> Result<Self, ProbeError> {
        if dim == 0 {
            return Err(ProbeError::Shape {
                what: "width of the patch vectors",
                expected: 1,
                got: 0,
            });
        }
        let gpu = cluster.gpu();
        Ok(Self {
            dim,
            count: 0,
            images: 0,
            shift: Buffer::zeros(gpu, dim)?,
            sums: Buffer::zeros(gpu, 2 * dim)?,
            products: Buffer::zeros(gpu, dim * dim)?,
            bad: Flag::new(gpu)?,
            cluster: Arc::clone(cluster),
        })
    }

    /// Adds the patch vectors of some images; `weights[b]` is how often image `b` counts.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]`; `weights`: `[B]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], [`ProbeError::Cuda`].
    pub fn add(
        &mut self,
        rows: &RowsView<'_>,
        weights: &[u32],
        scratch: &mut StageScratch,
    ) -> Result<(), ProbeError> {
        let [images, patches, dim] = rows.shape();
        check("width of the patch vectors", self.dim, dim)?;
        check("number of image weights", images, weights.len())?;
        // Every image has a product of its own before they are added up, for which there must be room.
        let together = (MAX_PRODUCTS / (dim * dim)).max(1);
        for (part, weights) in weights.chunks(together).enumerate() {
            let rows = rows.images(part * together..part * together + weights.len());
            if let Some(first) = weights.iter().position(|&weight| weight > 0)
                && patches > 0
            {
                if self.count == 0 {
                    let rows = rows.images(first..first + 1);
                    self.cluster.mean_row(&rows, &mut self.shift)?;
                }
                let times: Vec<f64> = weights.iter().copied().map(f64::from).collect();
                self.cluster.add_moments(
                    &rows,
                    &self.shift,
                    (self.images, &times),
                    (&mut self.sums, &mut self.products),
                    &mut scratch.moments,
                    &mut self.bad.0,
                )?;
                let counted: u64 = weights.iter().copied().map(u64::from).sum();
                self.count += counted * patches as u64;
            }
            self.images += weights.len();
        }
        Ok(())
    }

    /// The moments on the host.
    ///
    /// # Errors
    ///
    /// [`ProbeError::NonFinite`] with the place, among all images added, of the first whose vectors
    /// are not finite; [`ProbeError::Cuda`].
    pub fn to_moments(&mut self) -> Result<Moments, ProbeError> {
        let gpu = self.cluster.gpu();
        if let Some(image) = self.bad.take(gpu)? {
            return Err(ProbeError::NonFinite { image });
        }
        Ok(Moments::from_sums(
            self.count,
            self.shift.download(gpu)?,
            &self.sums.download(gpu)?,
            &self.products.download(gpu)?,
        ))
    }
}
