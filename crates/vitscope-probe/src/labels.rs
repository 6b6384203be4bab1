//! The cluster of each pixel (docs/protocol.md section 5, Eq. 1), by exact pruning.
//!
//! # What
//!
//! Patch embeddings `f` are upsampled bilinearly to pixels (half-pixel centers, edges clamped; PyTorch's
//! `align_corners=False`), and each pixel takes `argmax_k f.c^_k / |f|`, the lowest `k` on ties.
//!
//! Upsampling is linear, and `|f|` is common to all `k`. So the `K` scores of each patch are upsampled
//! in place of its `D` features: one `[N, D] x [D, K]` product, then work that does not know `D`.
//!
//! # Cells
//!
//! Between four patch centers lies a *cell* of `P x P` pixels whose scores are bilinear mixes of the
//! same four corner scores (along the image's edge two or four of the corners coincide). In a cell,
//!
//! ```text
//! left  = wy0 * s[y0, x0] + wy1 * s[y1, x0]
//! right = wy0 * s[y0, x1] + wy1 * s[y1, x1]
//! score = wx0 * left + wx1 * right               every operation rounded to f32, in this order
//! ```
//!
//! and the weights depend on the pixel's place in its cell only.
//!
//! # Pruning, and why it is exact
//!
//! The weights are not negative, and rounding never changes the order of two numbers. So if cluster `j`
//! scores at least as much as `k` at all four corners, its computed score is at least that of `k` at
//! every pixel of the cell. For `j < k` this settles it, since ties go to the lowest index: `k` cannot
//! win. For `j > k` rounding could turn a lead into a tie, which `k` would win; there a lead of
//! `8 eps max |s|` at all corners is asked for. The computed score is off the exact mix by at most
//! `2 eps max |s|` (two roundings of relative size `eps / 2` in each of the two stages), so the lead is
//! twice what the errors of both clusters can take away.
//!
//! Most cells have one cluster that leads at all corners, and are filled without a look at their
//! pixels. In the others the few clusters that are left compete pixel by pixel, with the arithmetic
//! above. [`plain_labels`] is the same without cells and pruning, and gives the same labels for any
//! finite scores; tests hold the two against each other.

mod geometry;
mod pruning;
mod soft;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;

use crate::error::check;
use crate::rows;
use crate::{MAX_CLUSTERS, ProbeError};

use geometry::{LabelGrid, mix};
use pruning::{Pruning, pruned_labels};

pub(crate) use geometry::source;
pub use soft::SoftSums;

/// Scores beyond this could overflow when they are mixed.
pub(crate) const LIMIT: f32 = f32::MAX / 4.0;

/// Huge finite vectors, whose scores exceed the limit, are scaled by this power of two. It changes no label.
const SHRINK: f32 = 1.0 / (1_u128 << 80) as f32;

/// Labels the pixels of images by the nearest centroid.
#[derive(Debug, Clone)]
pub struct Labeler {
    /// Row-major `[K, D]`.
    codebook: Vec<f32>,
    clusters: usize,
    dim: usize,
    geometry: LabelGrid,
}

/// Buffers that [`Labeler::label`] uses again from one image to the next. Start with `default()`.
#[derive(Debug, Clone, Default)]
pub struct LabelScratch {
    rows: Vec<f32>,
    scores: Vec<f32>,
    pruning: Pruning,
}

impl Labeler {
    /// A labeler for images of `grid` (rows, columns) patches of `patch x patch` pixels.
    ///
    /// # Shapes
    ///
    /// `codebook`: `[K, D]` rows of unit length, `K` in `1..=255`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Clusters`]; [`ProbeError::Shape`] if a size is zero; [`ProbeError::NonFinite`] if the
    /// codebook is not finite.
    pub fn new(
        codebook: ArrayView2<'_, f32>,
        grid: (usize, usize),
        patch: usize,
    ) -> Result<Self, ProbeError> {
        let (clusters, dim) = codebook.dim();
        if clusters == 0 || clusters > MAX_CLUSTERS {
            return Err(ProbeError::Clusters { got: clusters });
        }
        for (what, size) in [
            ("width of the codebook", dim),
            ("rows of patches", grid.0),
            ("columns of patches", grid.1),
            ("pixels along a patch", patch),
        ] {
            if size == 0 {
                return Err(ProbeError::Shape {
                    what,
                    expected: 1,
                    got: 0,
                });
            }
        }
        if !codebook.iter().all(|value| value.is_finite()) {
            return Err(ProbeError::NonFinite { image: 0 });
        }
        Ok(Self {
            codebook: codebook.iter().copied().collect(),
            clusters,
            dim,
            geometry: LabelGrid::new(grid, patch),
        })
    }

    /// Labels one image.
    ///
    /// # Shapes
    ///
    /// `rows`: `[N, D]` with `N = Hp * Wp`; `out`: `H * W` pixels, row by row.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`].
    pub fn label(
        &self,
        rows: ArrayView2<'_, f32>,
        scratch: &mut LabelScratch,
        out: &mut [u8],
    ) -> Result<(), ProbeError> {
        self.label_and(rows, scratch, out, |_, _| ())
    }

    /// Labels one image, and gives what `see` makes of its vectors `[N, D]` (all of them scaled by one
    /// factor where they are huge) and their scores `[N, K]`.
    fn label_and<S>(
        &self,
        rows: ArrayView2<'_, f32>,
        scratch: &mut LabelScratch,
        out: &mut [u8],
        see: impl FnOnce(&[f32], &[f32]) -> S,
    ) -> Result<S, ProbeError> {
        let (patches, dim) = rows.dim();
        check("number of patch vectors", self.geometry.patches(), patches)?;
        check("width of the patch vectors", self.dim, dim)?;
        check("number of pixels", self.geometry.pixels(), out.len())?;
        let LabelScratch {
            rows: copy,
            scores,
            pruning,
        } = scratch;
        scores.resize(patches * self.clusters, 0.0);
        let contiguous = rows.to_slice();
        if contiguous.is_none() {
            copy.resize(patches * dim, 0.0);
            for (row, out) in rows.rows().into_iter().zip(copy.chunks_exact_mut(dim)) {
                rows::copy(row, out);
            }
        }
        let mut vectors = contiguous.unwrap_or(copy);
        if !self.scores(vectors, scores) {
            if !rows.iter().all(|value| value.is_finite()) {
                return Err(ProbeError::NonFinite { image: 0 });
            }
            copy.clear();
            copy.extend(rows.iter().map(|value| value * SHRINK));
            vectors = copy;
            if !self.scores(vectors, scores) {
                return Err(ProbeError::NonFinite { image: 0 });
            }
        }
        rows::vectorized(
            #[inline(always)]
            || pruned_labels(scores, self.clusters, &self.geometry, pruning, out),
        );
        Ok(see(vectors, scores))
    }

    /// Labels the images of a batch, in parallel.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]`; `out`: `B * H * W` pixels, image by image.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`] with the image's index.
    pub fn label_batch(&self, rows: ArrayView3<'_, f32>, out: &mut [u8]) -> Result<(), ProbeError> {
        self.label_batch_and(rows, out, |_, _| ()).map(|_| ())
    }

    /// [`label_batch`](Self::label_batch), and adds how probable each cluster is at each patch to `soft`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`], also for sums of other sizes; [`ProbeError::NonFinite`] with the image's index.
    pub fn label_batch_soft(
        &self,
        rows: ArrayView3<'_, f32>,
        out: &mut [u8],
        soft: &mut SoftSums,
    ) -> Result<(), ProbeError> {
        let sums = self.geometry.patches() * self.clusters;
        check("number of sums", sums, soft.sums().len())?;
        let of_images = self.label_batch_and(rows, out, |vectors, scores| {
            soft.of_image(vectors, self.dim, scores)
        })?;
        of_images.iter().try_for_each(|sums| soft.add(sums))
    }

    /// [`label_and`](Self::label_and) of every image of a batch, in parallel.
    fn label_batch_and<S: Send>(
        &self,
        rows: ArrayView3<'_, f32>,
        out: &mut [u8],
        see: impl Fn(&[f32], &[f32]) -> S + Sync,
    ) -> Result<Vec<S>, ProbeError> {
        let images = rows.len_of(Axis(0));
        let pixels = self.geometry.pixels();
        check("number of pixels", images * pixels, out.len())?;
        let outcomes: Vec<Result<S, ProbeError>> = out
            .par_chunks_mut(pixels)
            .enumerate()
            .map_init(LabelScratch::default, |scratch, (image, out)| {
                self.label_and(rows.index_axis(Axis(0), image), scratch, out, &see)
                    .map_err(|error| match error {
                        ProbeError::NonFinite { .. } => ProbeError::NonFinite { image },
                        other => other,
                    })
            })
            .collect();
        outcomes.into_iter().collect()
    }

    /// Labels one image from the scores of its patches.
    ///
    /// # Shapes
    ///
    /// `scores`: `[N, K]` with `N = Hp * Wp`; `out`: `H * W` pixels, row by row.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`], also for scores above a quarter of the largest f32.
    pub fn label_scores(
        &self,
        scores: ArrayView2<'_, f32>,
        scratch: &mut LabelScratch,
        out: &mut [u8],
    ) -> Result<(), ProbeError> {
        let (patches, clusters) = scores.dim();
        check("number of patches", self.geometry.patches(), patches)?;
        check("number of clusters", self.clusters, clusters)?;
        check("number of pixels", self.geometry.pixels(), out.len())?;
        if !scores.iter().all(|score| score.abs() <= LIMIT) {
            return Err(ProbeError::NonFinite { image: 0 });
        }
        scratch.scores.clear();
        scratch.scores.extend(scores.iter());
        rows::vectorized(
            #[inline(always)]
            || {
                pruned_labels(
                    &scratch.scores,
                    clusters,
                    &self.geometry,
                    &mut scratch.pruning,
                    out,
                )
            },
        );
        Ok(())
    }

    /// The scores `[N, K]` of contiguous rows, and whether all of them are within the limit. A value that is
    /// not finite makes every score of its row so.
    fn scores(&self, rows: &[f32], scores: &mut [f32]) -> bool {
        let patches = rows.len() / self.dim;
        matmul(
            MatMut::from_column_major_slice_mut(&mut *scores, self.clusters, patches),
            Accum::Replace,
            MatRef::from_row_major_slice(self.codebook.as_slice(), self.clusters, self.dim),
            MatRef::from_column_major_slice(rows, self.dim, patches),
            1.0,
            Par::Seq,
        );
        rows::vectorized(
            #[inline(always)]
            || {
                scores
                    .iter()
                    .fold(true, |usable, score| usable & (score.abs() <= LIMIT))
            },
        )
    }
}

/// The plain method on patch scores: every pixel mixes all `K` scores and takes the largest. Slow; the
/// yardstick for [`Labeler`].
///
/// # Shapes
///
/// `scores`: `[N, K]`, finite, with `N = grid.0 * grid.1`; the result has `H * W` pixels, row by row.
///
/// # Errors
///
/// [`ProbeError::Shape`], [`ProbeError::Clusters`].
pub fn plain_labels(
    scores: ArrayView2<'_, f32>,
    grid: (usize, usize),
    patch: usize,
) -> Result<Vec<u8>, ProbeError> {
    let clusters = scores.ncols();
    if clusters == 0 || clusters > MAX_CLUSTERS {
        return Err(ProbeError::Clusters { got: clusters });
    }
    check("number of patches", grid.0 * grid.1, scores.nrows())?;
    if patch == 0 || scores.nrows() == 0 {
        return Err(ProbeError::Shape {
            what: "pixels along an image",
            expected: 1,
            got: 0,
        });
    }
    let (height, width) = (grid.0 * patch, grid.1 * patch);
    let mut out = Vec::with_capacity(height * width);
    for y in 0..height {
        let (y0, y1, wy0, wy1) = source(y, grid.0, patch);
        for x in 0..width {
            let (x0, x1, wx0, wx1) = source(x, grid.1, patch);
            let score = |k: usize| {
                let left = mix(
                    wy0,
                    scores[(y0 * grid.1 + x0, k)],
                    wy1,
                    scores[(y1 * grid.1 + x0, k)],
                );
                let right = mix(
                    wy0,
                    scores[(y0 * grid.1 + x1, k)],
                    wy1,
                    scores[(y1 * grid.1 + x1, k)],
                );
                mix(wx0, left, wx1, right)
            };
            let mut best = 0;
            for k in 1..clusters {
                if score(k) > score(best) {
                    best = k;
                }
            }
            out.push(best as u8);
        }
    }
    Ok(out)
}
