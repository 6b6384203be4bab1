//! [`Labeler`] of rows on the card.

use std::sync::Arc;

use ndarray::{ArrayView2, ArrayView3};
use vitscope_cuda::{Axis, Buffer, Cluster, RowsView};

use super::{StageScratch, check};
use crate::labels::{LIMIT, source};
use crate::{Labeler, ProbeError};

/// Labels the pixels of images by the nearest centroid, on the card: every pixel mixes all scores,
/// with the arithmetic of [`plain_labels`](crate::plain_labels).
#[derive(Debug)]
pub struct DeviceLabeler {
    cluster: Arc<Cluster>,
    codebook: Buffer<f32>,
    clusters: usize,
    dim: usize,
    patches: usize,
    pixels: usize,
    axes: [Axis; 2],
    /// For scores that could overflow.
    host: Labeler,
}

impl DeviceLabeler {
    /// A labeler for images of `grid` (rows, columns) patches of `patch x patch` pixels.
    ///
    /// # Shapes
    ///
    /// `codebook`: `[K, D]` rows of unit length, `K` in `1..=255`.
    ///
    /// # Errors
    ///
    /// Those of [`Labeler::new`]; [`ProbeError::Cuda`].
    pub fn new(
        cluster: &Arc<Cluster>,
        codebook: ArrayView2<'_, f32>,
        grid: (usize, usize),
        patch: usize,
    ) -> Result<Self, ProbeError> {
        let host = Labeler::new(codebook, grid, patch)?;
        let gpu = cluster.gpu();
        let axis = |patches: usize| {
            let pixels: Vec<_> = (0..patches * patch)
                .map(|pixel| {
                    let (low, high, first, second) = source(pixel, patches, patch);
                    ([low, high], [first, second])
                })
                .collect();
            Axis::upload(gpu, &pixels, patches)
        };
        let (clusters, dim) = codebook.dim();
        let values: Vec<f32> = codebook.iter().copied().collect();
        Ok(Self {
            codebook: Buffer::upload(gpu, &values)?,
            clusters,
            dim,
            patches: grid.0 * grid.1,
            pixels: grid.0 * grid.1 * patch * patch,
            axes: [axis(grid.0)?, axis(grid.1)?],
            cluster: Arc::clone(cluster),
            host,
        })
    }

    /// Labels the images of a batch.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]`; `out`: `B * H * W` pixels, image by image.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`] with the image's index; [`ProbeError::Cuda`].
    pub fn label_batch(
        &self,
        rows: &RowsView<'_>,
        scratch: &mut StageScratch,
        out: &mut [u8],
    ) -> Result<(), ProbeError> {
        let [images, patches, dim] = rows.shape();
        check("number of pixels", images * self.pixels, out.len())?;
        self.label_on_card(rows, 0, scratch)?;
        let gpu = self.cluster.gpu();
        scratch.labels.read(gpu, out)?;
        if scratch.bad.take(gpu)?.is_some() {
            // Huge vectors, or values that are not finite: the host tells which.
            let copy = rows.download()?;
            let shape = (images, patches, dim);
            let copy = ArrayView3::from_shape(shape, &copy).expect("every row was copied");
            return self.host.label_batch(copy, out);
        }
        Ok(())
    }

    /// Queues the same; the labels stay in the scratch. Whether they are good for use,
    /// [`StageScratch::refused`] tells later: an image of the batch that is not has the number `first` and its
    /// place.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], [`ProbeError::Cuda`].
    pub fn label_on_card(
        &self,
        rows: &RowsView<'_>,
        first: usize,
        scratch: &mut StageScratch,
    ) -> Result<(), ProbeError> {
        let [images, patches, dim] = rows.shape();
        check("number of patch vectors", self.patches, patches)?;
        check("width of the patch vectors", self.dim, dim)?;
        let gpu = self.cluster.gpu();
        let StageScratch {
            scores,
            mixes,
            labels,
            bad,
            ..
        } = scratch;
        scores.reserve(gpu, images * patches * self.clusters)?;
        labels.reserve(gpu, images * self.pixels)?;
        let codebook = (&self.codebook, self.clusters);
        self.cluster
            .scores(rows, codebook, (first, LIMIT), scores, &mut bad.0)?;
        let [down, across] = &self.axes;
        let shape = [images, self.clusters];
        self.cluster
            .label_pixels(scores, shape, [down, across], mixes, labels)?;
        Ok(())
    }

    /// Queues adding how probable each cluster is at each patch of the rows that were labeled last, as
    /// [`SoftSums`](crate::SoftSums) has it, to `sums`.
    ///
    /// # Shapes
    ///
    /// `rows`: those that [`label_on_card`](Self::label_on_card) had; `sums`: `[N, K]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], [`ProbeError::Cuda`].
    pub fn soften_on_card(
        &self,
        rows: &RowsView<'_>,
        alpha: u32,
        scratch: &mut StageScratch,
        sums: &mut Buffer<u64>,
    ) -> Result<(), ProbeError> {
        check("number of sums", self.patches * self.clusters, sums.len())?;
        let StageScratch {
            scores, inverse, ..
        } = scratch;
        let scores = (&*scores, self.clusters);
        self.cluster.soft_sums(rows, scores, alpha, inverse, sums)?;
        Ok(())
    }
}
