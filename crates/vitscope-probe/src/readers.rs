//! Readers: what someone finds in frozen patch vectors who is *given the labels* of training images (docs/protocol.md
//! section 20). They are supervised, and stand beside k-means to show whether slots keep their order under the
//! field's own measures.
//!
//! Both read vectors of unit length, `y = x/|x|` (zero stays zero), and *shares*: the share that each class has of a
//! patch's labeled pixels. A patch without a labeled pixel is left out; an ignored pixel is of no class.
//!
//! - [`Neighbors`]: a memory of training patches. A patch takes the mean of the shares of its [`NEIGHBORS`] nearest in
//!   cosine, weighted by the softmax of cosine / [`TEMPERATURE`]. The search is exact, by blocked products.
//! - [`LinearReader`]: ridge regression of the shares on the vectors, with an intercept:
//!   `W = (S_yy + l I)^-1 S_yt` about the means, `l =` [`RIDGE`] times the mean variance of a channel. Its sums stream
//!   ([`LinearSums`]), its solution is closed, and nothing is drawn.
//!
//! Either gives scores of patches, which become pixel labels as those of clusters do: upsampled bilinearly, the
//! largest taken ([`ScoreLabeler`]).
//!
//! ```
//! use ndarray::array;
//! use vitscope_probe::readers::{LinearSums, Neighbors, ScoreLabeler, unit};
//!
//! # fn main() -> Result<(), vitscope_probe::ProbeError> {
//! // An image of 2 x 2 patches, whose upper ones are of class 0.
//! let rows = unit(array![[[2.0, 0.1], [1.0, 0.0], [0.1, 1.0], [0.0, 3.0]]].view())?;
//! let shares = array![[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]];
//!
//! let mut neighbors = Neighbors::new(2, 2, 4);
//! let mut sums = LinearSums::new(2, 2);
//! let image = rows.index_axis(ndarray::Axis(0), 0);
//! for (row, shares) in image.rows().into_iter().zip(shares.rows()) {
//!     neighbors.add(&row.to_vec(), &shares.to_vec())?;
//! }
//! sums.add(image, shares.view())?;
//!
//! // Each tells the classes of the same patches, here of one pixel each.
//! let labeler = ScoreLabeler::new(2, (2, 2), 1)?;
//! let linear = sums.fit()?;
//! assert_eq!(labeler.label_batch(rows.view(), |rows| neighbors.scores(rows))?, [0, 0, 1, 1]);
//! assert_eq!(labeler.label_batch(rows.view(), |rows| linear.scores(rows))?, [0, 0, 1, 1]);
//! # Ok(())
//! # }
//! ```

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2, ArrayView3, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::check;
use crate::labels::{LabelScratch, Labeler};
use crate::transform::{solve, unit_rows};
use crate::{Moments, ProbeError};

/// Neighbors that a patch asks.
pub const NEIGHBORS: usize = 30;

/// What cosines are divided by before the softmax.
pub const TEMPERATURE: f64 = 0.02;

/// The ridge, in mean variances of a channel.
pub const RIDGE: f64 = 1e-3;

/// Vectors of unit length whose variances add up to no more than this say nothing: rounding does as much.
const STILL: f64 = 1e-10;

/// Patches of the memory that are compared together. Part of the definition of the last bits.
const BLOCK: usize = 1024;

/// Random numbers by which patches of an image are chosen, those of the smallest among all images: the same for an
/// image in whatever order images come.
#[must_use]
pub fn chances(seed: u64, image: usize, patches: usize) -> Vec<u64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Streams from here on are no slot's and no layer's.
    random.set_stream((1 << 40) + image as u64);
    (0..patches).map(|_| random.next_u64()).collect()
}

/// Vectors at unit length, `[B, N, D]`; zero stays zero.
///
/// # Errors
///
/// [`ProbeError::NonFinite`].
pub fn unit(rows: ArrayView3<'_, f32>) -> Result<ndarray::Array3<f32>, ProbeError> {
    unit_rows(rows)
}

/// A memory of training patches with their shares of classes.
///
/// Memory: `4 (D + C)` bytes a patch.
#[derive(Clone, Debug)]
pub struct Neighbors {
    width: usize,
    classes: usize,
    /// `[M, D]`, unit length.
    rows: Vec<f32>,
    /// `[M, C]`.
    shares: Vec<f32>,
}

impl Neighbors {
    /// An empty memory with room for so many patches.
    #[must_use]
    pub fn new(width: usize, classes: usize, patches: usize) -> Self {
        Self {
            width,
            classes,
            rows: Vec::with_capacity(width * patches),
            shares: Vec::with_capacity(classes * patches),
        }
    }

    /// Patches held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() / self.width.max(1)
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts in a patch: its vector at unit length `[D]`, and its shares `[C]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`].
    pub fn add(&mut self, row: &[f32], shares: &[f32]) -> Result<(), ProbeError> {
        check("width of the patch vectors", self.width, row.len())?;
        check("number of classes", self.classes, shares.len())?;
        self.rows.extend_from_slice(row);
        self.shares.extend_from_slice(shares);
        Ok(())
    }

    /// The scores `[N, C]` of an image's patches, whose vectors `[N, D]` have unit length.
    ///
    /// Of neighbors at the same cosine, those put in first are asked; with fewer than [`NEIGHBORS`] in the memory,
    /// all are.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`].
    pub fn scores(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, ProbeError> {
        let (patches, width) = rows.dim();
        check("width of the patch vectors", self.width, width)?;
        let rows = rows.as_standard_layout();
        let rows = rows.as_slice().expect("standard layout is contiguous");
        let query = MatRef::from_row_major_slice(rows, patches, width);
        let mut nearest: Vec<Nearest> = vec![Nearest::default(); patches];
        let mut cosines = vec![0.0_f32; patches * BLOCK.min(self.len())];
        for (block, memory) in self.rows.chunks(BLOCK * width).enumerate() {
            let count = memory.len() / width;
            let cosines = &mut cosines[..patches * count];
            matmul(
                MatMut::from_row_major_slice_mut(&mut *cosines, patches, count),
                Accum::Replace,
                query,
                MatRef::from_row_major_slice(memory, count, width).transpose(),
                1.0,
                Par::Seq,
            );
            for (nearest, cosines) in nearest.iter_mut().zip(cosines.chunks_exact(count)) {
                nearest.see(cosines, block * BLOCK);
            }
        }
        let mut scores = Array2::zeros((patches, self.classes));
        let mut sums = vec![0.0_f64; self.classes];
        for (mut scores, nearest) in scores.rows_mut().into_iter().zip(&nearest) {
            self.answer(nearest, &mut sums);
            for (score, &sum) in scores.iter_mut().zip(&sums) {
                *score = sum as f32;
            }
        }
        Ok(scores)
    }

    /// The weighted mean of what the neighbors have.
    fn answer(&self, nearest: &Nearest, sums: &mut [f64]) {
        sums.fill(0.0);
        let largest = nearest.0.first().map_or(0.0, |first| f64::from(first.0));
        let mut total = 0.0;
        for &(cosine, patch) in &nearest.0 {
            let weight = ((f64::from(cosine) - largest) / TEMPERATURE).exp();
            total += weight;
            let shares = &self.shares[patch * self.classes..][..self.classes];
            for (sum, &share) in sums.iter_mut().zip(shares) {
                *sum += weight * f64::from(share);
            }
        }
        if total > 0.0 {
            sums.iter_mut().for_each(|sum| *sum /= total);
        }
    }
}

/// The nearest patches seen so far: cosine and number, by falling cosine and then rising number.
#[derive(Clone, Debug, Default)]
struct Nearest(Vec<(f32, usize)>);

impl Nearest {
    /// Looks at more of them, the first of which has the number `first`.
    fn see(&mut self, cosines: &[f32], first: usize) {
        let mut least = self.least();
        for (offset, &cosine) in cosines.iter().enumerate() {
            // Numbers rise, so that of equal cosines the one that is there already stays.
            if cosine > least {
                let place = self.0.partition_point(|&(other, _)| other >= cosine);
                self.0.truncate(NEIGHBORS - 1);
                self.0.insert(place, (cosine, first + offset));
                least = self.least();
            }
        }
    }

    /// What a cosine has to exceed.
    fn least(&self) -> f32 {
        match self.0.len() {
            NEIGHBORS.. => self.0[NEIGHBORS - 1].0,
            _ => f32::NEG_INFINITY,
        }
    }
}

/// What a linear reader is fitted from, summed over training patches.
///
/// Memory: about `4 D (D + 256) + 8 D C` bytes.
#[derive(Clone, Debug)]
pub struct LinearSums {
    moments: Moments,
    /// Sum of the vectors.
    sum: Vec<f64>,
    /// `[C, D]`: per class, the vectors weighted by its share.
    products: Array2<f64>,
    /// Sum of the shares.
    shares: Vec<f64>,
}

impl LinearSums {
    /// Of no patches yet.
    ///
    /// # Panics
    ///
    /// If `width` is zero.
    #[must_use]
    pub fn new(width: usize, classes: usize) -> Self {
        Self {
            moments: Moments::new(width),
            sum: vec![0.0; width],
            products: Array2::zeros((classes, width)),
            shares: vec![0.0; classes],
        }
    }

    /// Adds the labeled patches of one image: vectors at unit length `[n, D]`, and shares `[n, C]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`].
    pub fn add(
        &mut self,
        rows: ArrayView2<'_, f32>,
        shares: ArrayView2<'_, f32>,
    ) -> Result<(), ProbeError> {
        check("number of patches", rows.nrows(), shares.nrows())?;
        check("number of classes", self.shares.len(), shares.ncols())?;
        self.moments.add(rows.insert_axis(Axis(0)), &[1])?;
        for (row, shares) in rows.rows().into_iter().zip(shares.rows()) {
            for (sum, &value) in self.sum.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
            for (class, &share) in shares.iter().enumerate() {
                if share > 0.0 {
                    let share = f64::from(share);
                    self.shares[class] += share;
                    let mut products = self.products.row_mut(class);
                    products.zip_mut_with(&row, |sum, &value| *sum += share * f64::from(value));
                }
            }
        }
        Ok(())
    }

    /// The reader. Where vectors do not vary, it gives every patch the mean of the shares.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Eigen`] where no patch was added.
    pub fn fit(&self) -> Result<LinearReader, ProbeError> {
        let (classes, width) = self.products.dim();
        let count = self.moments.count() as f64;
        if count == 0.0 {
            return Err(ProbeError::Eigen);
        }
        let lower = self.moments.covariance();
        let trace: f64 = (0..width).map(|d| lower[(d, d)]).sum();
        let ridge = RIDGE * trace / width as f64;
        let mut covariance =
            Array2::from_shape_fn((width, width), |(i, j)| lower[(i.max(j), i.min(j))]);
        covariance.diag_mut().iter_mut().for_each(|v| *v += ridge);
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / count).collect();
        let prior: Vec<f64> = self.shares.iter().map(|sum| sum / count).collect();
        let cross = Array2::from_shape_fn((width, classes), |(d, class)| {
            self.products[(class, d)] / count - mean[d] * prior[class]
        });
        let weights = match trace > STILL {
            true => solve(covariance.view(), cross.view())?,
            false => Array2::zeros((width, classes)),
        };
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Err(ProbeError::Eigen);
        }
        let offset = |class: usize| {
            let along: f64 = mean
                .iter()
                .enumerate()
                .map(|(d, m)| m * weights[(d, class)])
                .sum();
            (prior[class] - along) as f32
        };
        Ok(LinearReader {
            offsets: (0..classes).map(offset).collect(),
            weights: Array2::from_shape_fn((classes, width), |(class, d)| {
                weights[(d, class)] as f32
            }),
        })
    }
}

/// Linear scores of classes.
#[derive(Clone, Debug)]
pub struct LinearReader {
    /// `[C, D]`.
    weights: Array2<f32>,
    /// `[C]`.
    offsets: Vec<f32>,
}

impl LinearReader {
    /// What a class's score is: the weights of its vector `[C, D]`, and what is added `[C]`.
    #[must_use]
    pub fn parts(&self) -> (ArrayView2<'_, f32>, &[f32]) {
        (self.weights.view(), &self.offsets)
    }

    /// The scores `[N, C]` of an image's patches, whose vectors `[N, D]` have unit length.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`].
    pub fn scores(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, ProbeError> {
        let (patches, width) = rows.dim();
        let classes = self.offsets.len();
        check("width of the patch vectors", self.weights.ncols(), width)?;
        let rows = rows.as_standard_layout();
        let rows = rows.as_slice().expect("standard layout is contiguous");
        let weights = self.weights.as_standard_layout();
        let weights = weights.as_slice().expect("standard layout is contiguous");
        let mut scores = vec![0.0_f32; patches * classes];
        for scores in scores.chunks_exact_mut(classes.max(1)) {
            scores.copy_from_slice(&self.offsets);
        }
        matmul(
            MatMut::from_row_major_slice_mut(&mut scores, patches, classes),
            Accum::Add,
            MatRef::from_row_major_slice(rows, patches, width),
            MatRef::from_row_major_slice(weights, classes, width).transpose(),
            1.0,
            Par::Seq,
        );
        let shape = (patches, classes);
        Ok(Array2::from_shape_vec(shape, scores).expect("one score for each patch and class"))
    }
}

/// Labels the pixels of images from scores of their patches.
#[derive(Clone, Debug)]
pub struct ScoreLabeler {
    labeler: Labeler,
    pixels: usize,
}

impl ScoreLabeler {
    /// For images of `grid` (rows, columns) patches of `patch x patch` pixels, and so many classes.
    ///
    /// # Errors
    ///
    /// As [`Labeler::new`].
    pub fn new(classes: usize, grid: (usize, usize), patch: usize) -> Result<Self, ProbeError> {
        // Scores come from outside: what the labeler would compare vectors with is never used.
        let unused = Array2::ones((classes, 1));
        Ok(Self {
            labeler: Labeler::new(unused.view(), grid, patch)?,
            pixels: grid.0 * grid.1 * patch * patch,
        })
    }

    /// Labels the images of a batch by a reader's scores, in parallel.
    ///
    /// # Shapes
    ///
    /// `rows`: `[B, N, D]` of unit length, of which `scores` makes an image's `[N, C]`; the result has `B * H * W`
    /// pixels, image by image.
    ///
    /// # Errors
    ///
    /// Those of `scores`, and [`ProbeError::NonFinite`] with the image's index.
    pub fn label_batch(
        &self,
        rows: ArrayView3<'_, f32>,
        scores: impl Fn(ArrayView2<'_, f32>) -> Result<Array2<f32>, ProbeError> + Sync,
    ) -> Result<Vec<u8>, ProbeError> {
        let mut out = vec![0; rows.len_of(Axis(0)) * self.pixels];
        out.par_chunks_mut(self.pixels)
            .enumerate()
            .try_for_each_init(LabelScratch::default, |scratch, (image, out)| {
                let scores = scores(rows.index_axis(Axis(0), image))?;
                let labeled = self.labeler.label_scores(scores.view(), scratch, out);
                labeled.map_err(|error| match error {
                    ProbeError::NonFinite { .. } => ProbeError::NonFinite { image },
                    error => error,
                })
            })?;
        Ok(out)
    }
}
