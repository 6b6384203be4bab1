//! Counting labels over an evaluation set: confusion (docs/protocol.md section 6) and positions (docs/protocol.md sections 7 and 8).
//!
//! - `confusion[k, c]`: pixels with cluster `k` whose true class is `c`, over pixels that have both.
//! - `position[k, i, j]`: images whose pixel `(i, j)` has cluster `k`; and the same summed over the pixels
//!   of each patch, on the patch grid.
//!
//! The ground truth's own positions are counted by the same struct: its label maps then play the part of
//! the clusters, and 255 (ignored) is left out.
//!
//! Everything is an integer, so counts of shards add up to those of the whole, in any order.
//!
//! # Memory and speed
//!
//! `2 K H W` bytes until 65,535 images, then `6 K H W`: an image adds at most one to a position, so
//! 16-bit counters last that long before they are moved into 32-bit ones. Label maps are smooth, so runs
//! of one label are counted at once.

use std::ops::Range;

use ndarray::{Array3, ArrayView2};
use rayon::prelude::*;

use crate::error::check;
use crate::{IGNORED, MeasureError};

/// At which pixels predictions count toward positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Positions {
    /// At every pixel.
    #[default]
    All,
    /// Only where the ground truth is not ignored.
    Labeled,
}

/// Confusion and position counts of one slot, or of the ground truth.
#[derive(Debug, Clone)]
pub struct Tally {
    clusters: usize,
    classes: usize,
    grid: (usize, usize),
    patch: usize,
    images: u64,
    confusion: Vec<i64>,
    /// Position counts of the last `recent_images` images, `[H, K, W]`.
    recent: Vec<u16>,
    recent_images: usize,
    /// Position counts of the images before; empty while there are none.
    settled: Vec<u32>,
}

/// A [`Tally`] as plain numbers, for storing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TallyParts {
    /// Number of clusters `K`.
    pub clusters: usize,
    /// Number of classes `C`, 0 without ground truth.
    pub classes: usize,
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// Pixels along a patch.
    pub patch: usize,
    /// Images counted.
    pub images: u64,
    /// `[K, C]`, row-major.
    pub confusion: Vec<i64>,
    /// `[K, H, W]`, row-major.
    pub positions: Vec<u32>,
}

impl Tally {
    /// A tally of no images, for `clusters` clusters, `classes` classes (0 without ground truth) and
    /// images of `grid` (rows, columns) patches of `patch x patch` pixels.
    #[must_use]
    pub fn new(clusters: usize, classes: usize, grid: (usize, usize), patch: usize) -> Self {
        Self {
            clusters,
            classes,
            grid,
            patch,
            images: 0,
            confusion: vec![0; clusters * classes],
            recent: vec![0; clusters * grid.0 * grid.1 * patch * patch],
            recent_images: 0,
            settled: Vec::new(),
        }
    }

    /// Images counted.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Number of clusters `K`.
    #[must_use]
    pub fn clusters(&self) -> usize {
        self.clusters
    }

    /// Number of classes `C`, 0 without ground truth.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Rows and columns of patches.
    #[must_use]
    pub fn grid(&self) -> (usize, usize) {
        self.grid
    }

    /// Pixels along a patch.
    #[must_use]
    pub fn patch(&self) -> usize {
        self.patch
    }

    /// Pixels of an image.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.height() * self.width()
    }

    /// Adds the label maps of some images. A label of 255 is no label; without `truth`, or without
    /// classes, only positions are counted.
    ///
    /// # Shapes
    ///
    /// `labels`, `truth`: `B * H * W`, image by image, row by row.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`] (also for [`Positions::Labeled`] without truth); [`MeasureError::Label`]. The
    /// tally is then unchanged.
    pub fn add(
        &mut self,
        labels: &[u8],
        truth: Option<&[u8]>,
        positions: Positions,
    ) -> Result<(), MeasureError> {
        let pixels = self.height() * self.width();
        if pixels == 0 || !labels.len().is_multiple_of(pixels) {
            return Err(MeasureError::Shape {
                what: "number of labels",
                expected: pixels,
                got: labels.len(),
            });
        }
        check_labels("cluster", labels, self.clusters)?;
        if let Some(truth) = truth {
            check("number of true labels", labels.len(), truth.len())?;
            if self.classes > 0 {
                check_labels("class", truth, self.classes)?;
            }
        } else if positions == Positions::Labeled {
            return Err(MeasureError::Shape {
                what: "number of true labels",
                expected: labels.len(),
                got: 0,
            });
        }
        // 16-bit counters hold 65,535 images.
        let limit = usize::from(u16::MAX);
        for start in (0..labels.len()).step_by(pixels * limit) {
            let end = labels.len().min(start + pixels * limit);
            let images = (end - start) / pixels;
            if self.recent_images + images > limit {
                self.settle();
            }
            self.count(
                &labels[start..end],
                truth.map(|truth| &truth[start..end]),
                positions,
            );
            self.recent_images += images;
            self.images += images as u64;
        }
        Ok(())
    }

    /// Confusion counts `[K, C]`.
    #[must_use]
    pub fn confusion(&self) -> ArrayView2<'_, i64> {
        // The length is K * C by construction.
        ArrayView2::from_shape((self.clusters, self.classes), &self.confusion)
            .unwrap_or_else(|_| ArrayView2::from(&[] as &[[i64; 0]]))
    }

    /// Images per cluster and pixel, `[K, H, W]`.
    #[must_use]
    pub fn position_pixel(&self) -> Array3<u32> {
        let mut counts = Array3::zeros((self.clusters, self.height(), self.width()));
        self.each_line(|k, y, line| {
            for (to, from) in counts.slice_mut(ndarray::s![k, y, ..]).iter_mut().zip(line) {
                *to = from;
            }
        });
        counts
    }

    /// Pixels per cluster and patch, `[K, Hp, Wp]`: [`position_pixel`](Self::position_pixel) summed over the
    /// pixels of each patch. Exact up to 16 million images of 16 x 16 pixel patches.
    #[must_use]
    pub fn position_grid(&self) -> Array3<u32> {
        let mut counts = Array3::zeros((self.clusters, self.grid.0, self.grid.1));
        self.each_line(|k, y, line| {
            for (x, count) in line.enumerate() {
                counts[(k, y / self.patch, x / self.patch)] += count;
            }
        });
        counts
    }

    /// Adds the counts of other images.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`] if the two were not made for the same sizes.
    pub fn merge(&mut self, other: &Self) -> Result<(), MeasureError> {
        check("number of clusters", self.clusters, other.clusters)?;
        check("number of classes", self.classes, other.classes)?;
        check("rows of patches", self.grid.0, other.grid.0)?;
        check("columns of patches", self.grid.1, other.grid.1)?;
        check("pixels along a patch", self.patch, other.patch)?;
        for (count, &more) in self.confusion.iter_mut().zip(&other.confusion) {
            *count += more;
        }
        if self.recent_images + other.recent_images > usize::from(u16::MAX) {
            self.settle();
        }
        for (count, &more) in self.recent.iter_mut().zip(&other.recent) {
            *count += more;
        }
        self.recent_images += other.recent_images;
        if self.settled.is_empty() {
            self.settled.clone_from(&other.settled);
        } else {
            for (count, &more) in self.settled.iter_mut().zip(&other.settled) {
                *count += more;
            }
        }
        self.images += other.images;
        Ok(())
    }

    /// All counts as plain numbers.
    #[must_use]
    pub fn to_parts(&self) -> TallyParts {
        TallyParts {
            clusters: self.clusters,
            classes: self.classes,
            grid: self.grid,
            patch: self.patch,
            images: self.images,
            confusion: self.confusion.clone(),
            positions: self.position_pixel().into_iter().collect(),
        }
    }

    /// The inverse of [`to_parts`](Self::to_parts).
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`] if lengths do not fit the sizes.
    pub fn from_parts(parts: &TallyParts) -> Result<Self, MeasureError> {
        let mut tally = Self::new(parts.clusters, parts.classes, parts.grid, parts.patch);
        check(
            "stored confusion counts",
            tally.confusion.len(),
            parts.confusion.len(),
        )?;
        check(
            "stored position counts",
            tally.recent.len(),
            parts.positions.len(),
        )?;
        tally.confusion.copy_from_slice(&parts.confusion);
        tally.images = parts.images;
        let (height, width) = (tally.height(), tally.width());
        let small = parts.images < u64::from(u16::MAX)
            && parts
                .positions
                .iter()
                .all(|&count| u64::from(count) <= parts.images);
        if small {
            tally.recent_images = parts.images as usize;
        } else {
            tally.settled = vec![0; tally.recent.len()];
        }
        for (line, counts) in parts.positions.chunks_exact(width.max(1)).enumerate() {
            let (k, y) = (line / height, line % height);
            let start = (y * parts.clusters + k) * width;
            if small {
                for (to, &from) in tally.recent[start..start + width].iter_mut().zip(counts) {
                    *to = from as u16;
                }
            } else {
                tally.settled[start..start + width].copy_from_slice(counts);
            }
        }
        Ok(tally)
    }

    fn height(&self) -> usize {
        self.grid.0 * self.patch
    }

    fn width(&self) -> usize {
        self.grid.1 * self.patch
    }

    /// Calls `work` with cluster, row and that row's counts.
    fn each_line(&self, mut work: impl FnMut(usize, usize, &mut dyn Iterator<Item = u32>)) {
        let width = self.width();
        for y in 0..self.height() {
            for k in 0..self.clusters {
                let start = (y * self.clusters + k) * width;
                let recent = self.recent[start..start + width]
                    .iter()
                    .map(|&count| u32::from(count));
                if self.settled.is_empty() {
                    work(k, y, &mut { recent });
                } else {
                    work(
                        k,
                        y,
                        &mut recent
                            .zip(&self.settled[start..start + width])
                            .map(|(a, &b)| a + b),
                    );
                }
            }
        }
    }

    /// Moves the 16-bit counts into the 32-bit ones.
    fn settle(&mut self) {
        self.settled.resize(self.recent.len(), 0);
        for (settled, recent) in self.settled.iter_mut().zip(&mut self.recent) {
            *settled += u32::from(std::mem::take(recent));
        }
        self.recent_images = 0;
    }

    /// Counts images that the 16-bit counters have room for. Rows of pixels are shared among threads; sums
    /// of integers do not depend on how.
    fn count(&mut self, labels: &[u8], truth: Option<&[u8]>, positions: Positions) {
        let (width, pixels) = (self.width(), self.height() * self.width());
        let (clusters, classes) = (self.clusters, self.classes);
        if clusters == 0 {
            return;
        }
        let confusion = self
            .recent
            .par_chunks_mut(clusters * width)
            .with_min_len(16)
            .enumerate()
            .fold(
                || vec![0_i64; clusters * classes],
                |mut confusion, (y, line)| {
                    for start in (y * width..labels.len()).step_by(pixels) {
                        let labels = &labels[start..start + width];
                        match truth.map(|truth| &truth[start..start + width]) {
                            None => count_positions(labels, line),
                            Some(truth) => {
                                count_row(labels, truth, positions, classes, line, &mut confusion);
                            }
                        }
                    }
                    confusion
                },
            )
            .reduce(
                || vec![0_i64; clusters * classes],
                |mut sum, part| {
                    sum.iter_mut()
                        .zip(part)
                        .for_each(|(total, count)| *total += count);
                    sum
                },
            );
        self.confusion
            .iter_mut()
            .zip(confusion)
            .for_each(|(total, count)| *total += count);
    }
}

/// Where the run of equal labels that starts at `start` ends.
#[inline(always)]
fn run_end(labels: &[u8], start: usize) -> usize {
    let pattern = u64::from(labels[start]) * 0x0101_0101_0101_0101;
    let (words, rest) = labels[start..].as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let difference = u64::from_le_bytes(*word) ^ pattern;
        if difference != 0 {
            return start + index * 8 + difference.trailing_zeros() as usize / 8;
        }
    }
    let equal = rest
        .iter()
        .take_while(|&&label| label == labels[start])
        .count();
    start + words.len() * 8 + equal
}

/// `line[label, x] += 1` along one row of pixels; `line` is `[K, W]`.
fn count_positions(labels: &[u8], line: &mut [u16]) {
    let mut start = 0;
    while start < labels.len() {
        let end = run_end(labels, start);
        if labels[start] != IGNORED {
            count_run(line, usize::from(labels[start]) * labels.len(), start..end);
        }
        start = end;
    }
}

/// [`count_positions`], and `confusion[label, class] += 1`, along one row of pixels.
fn count_row(
    labels: &[u8],
    truth: &[u8],
    positions: Positions,
    classes: usize,
    line: &mut [u16],
    confusion: &mut [i64],
) {
    let mut start = 0;
    while start < labels.len() {
        let end = run_end(labels, start);
        if labels[start] != IGNORED {
            let label = usize::from(labels[start]);
            if positions == Positions::All {
                count_run(line, label * labels.len(), start..end);
            }
            let truth = &truth[..end];
            while start < end {
                let (class, until) = (truth[start], run_end(truth, start));
                if class != IGNORED {
                    if positions == Positions::Labeled {
                        count_run(line, label * labels.len(), start..until);
                    }
                    if classes > 0 {
                        confusion[label * classes + usize::from(class)] += (until - start) as i64;
                    }
                }
                start = until;
            }
        }
        start = end;
    }
}

#[inline(always)]
fn count_run(line: &mut [u16], offset: usize, run: Range<usize>) {
    for count in &mut line[offset + run.start..offset + run.end] {
        *count += 1;
    }
}

pub(crate) fn check_labels(
    what: &'static str,
    labels: &[u8],
    count: usize,
) -> Result<(), MeasureError> {
    if count >= usize::from(IGNORED) {
        return Ok(());
    }
    let bad = |label: u8| usize::from(label) >= count && label != IGNORED;
    // The first loop is branch-free, so it is vectorized; the search runs only if there is something to find.
    if labels
        .iter()
        .fold(false, |found, &label| found | bad(label))
    {
        let label = labels
            .iter()
            .copied()
            .find(|&label| bad(label))
            .unwrap_or(IGNORED);
        return Err(MeasureError::Label { what, label, count });
    }
    Ok(())
}
