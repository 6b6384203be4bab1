//! How sure is a positional effect? A null by random shifts, and an interval by bootstrap (docs/protocol.md section 8).
//!
//! # The problem
//!
//! Mutual information estimated by plugging in counts is biased upward: a few label maps share positions
//! by chance. By how much depends on the number of images, on the shape of their segments and on the
//! number of clusters, so no formula fits all.
//!
//! # The null
//!
//! Each image's label map is shifted circularly by a random number of patches in both directions, every
//! shift equally likely. A shift destroys the position and keeps everything else: each image's own areas
//! and shapes, and the classes' frequencies over the set. Over many replicates,
//!
//! ```text
//! excess = observed - mean(null)          z = excess / sd(null)
//! ```
//!
//! The excess is the estimate with its bias taken off.
//!
//! # The interval
//!
//! A bootstrap draws `n` images with replacement. It puts the bias of the estimate on top of that of the
//! observed one (its mean lies about twice the bias above the truth), so plain percentiles of the
//! replicates `b` would miss the truth from above. They are moved so that their mean is the excess:
//!
//! ```text
//! low  = excess + (q_2.5(b) - mean(b))       high = excess + (q_97.5(b) - mean(b))
//! ```
//!
//! It is an interval for the excess; add the null's mean for the scale of the observed figure. On made
//! maps whose truth is known (see the tests), this 95 % interval held the truth in 86 to 95 % of 200 sets
//! of 20 to 40 images with an effect, in 93 to 95 % at 200 images, and in more than 99 % without any
//! effect, where the replicates of a biased estimate spread more than the estimate does: a claim of an
//! effect is on the safe side, and `z` is the sharper test. The reflected ("basic") interval held it in
//! 79 to 90 % at 20 to 40 images, since the estimate is skewed.
//!
//! # Grid and cost
//!
//! All of this happens on the patch grid, from each image's pixel counts per patch and cluster. Memory is
//! `8 R K Hp Wp` bytes for `R` replicates of each kind, whatever the number of images. Replicates have the
//! same random numbers in every slot with the same seed, so slots can be compared in pairs.

use std::sync::Arc;

use ndarray::{ArrayView2, ArrayView3};
use rayon::prelude::*;

use crate::MeasureError;
use crate::cells::CellCounts;
use crate::error::check;
use crate::plan::ResamplingPlan;
use crate::positional::{Positional, positional};
use crate::quantile::quantile;
use crate::tally::check_labels;

/// Images that are kept before the replicates are updated, so that a replicate's counts come into the
/// cache once for all of them. Has no influence on the result.
const PENDING_IMAGES: usize = 32;

/// Coverage of the bootstrap interval.
const LEVEL: f64 = 0.95;

/// A figure beside its null and its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampled {
    /// The figure itself, on the patch grid.
    pub observed: f64,
    /// Its mean over maps shifted at random.
    pub null_mean: f64,
    /// Its standard deviation over them.
    pub null_sd: f64,
    /// `observed - null_mean`.
    pub excess: f64,
    /// `excess / null_sd`; `None` where the null does not vary.
    pub z: Option<f64>,
    /// Lower end of the 95 % interval for the excess.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// The positional effect on the patch grid, with nulls and intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionalTest {
    /// The plain figures on the patch grid.
    pub observed: Positional,
    /// NMI; `None` where it is undefined.
    pub nmi: Option<Resampled>,
    /// Mutual information, in nats.
    pub mi: Resampled,
    /// Each class's part of it, in nats.
    pub class_mi: Vec<Resampled>,
}

/// Replicated position counts of one slot.
#[derive(Debug, Clone)]
pub struct Resampling {
    plan: Arc<ResamplingPlan>,
    clusters: usize,
    patch: usize,
    /// `[R, K, Hp, Wp]`.
    shifted: Vec<u32>,
    drawn: Vec<u32>,
    pending: Vec<(usize, CellCounts)>,
}

impl Resampling {
    /// A resampling with a plan of its own.
    ///
    /// # Errors
    ///
    /// As [`ResamplingPlan::new`].
    pub fn new(
        clusters: usize,
        grid: (usize, usize),
        patch: usize,
        images: usize,
        replicates: usize,
        seed: u64,
    ) -> Result<Self, MeasureError> {
        let plan = ResamplingPlan::new(grid, images, replicates, seed)?;
        Ok(Self::with_plan(clusters, patch, Arc::new(plan)))
    }

    /// A resampling with a shared plan.
    #[must_use]
    pub fn with_plan(clusters: usize, patch: usize, plan: Arc<ResamplingPlan>) -> Self {
        let length = plan.replicates * clusters * plan.grid.0 * plan.grid.1;
        Self {
            plan,
            clusters,
            patch,
            shifted: vec![0; length],
            drawn: vec![0; length],
            pending: Vec::new(),
        }
    }

    /// Adds the label map of the image with this index in the evaluation set. Each image is added once, in
    /// any order.
    ///
    /// # Shapes
    ///
    /// `labels`: `H * W` pixels; 255 is left out.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`], [`MeasureError::Label`], [`MeasureError::Image`].
    pub fn add(&mut self, image: usize, labels: &[u8]) -> Result<(), MeasureError> {
        check_labels("cluster", labels, self.clusters)?;
        let counts = CellCounts::new(labels, self.plan.grid, self.patch)?;
        self.add_counts(image, counts)
    }

    /// [`add`](Self::add) for an image whose patches were counted before.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`], [`MeasureError::Label`], [`MeasureError::Image`].
    pub fn add_counts(&mut self, image: usize, counts: CellCounts) -> Result<(), MeasureError> {
        if image >= self.plan.images {
            return Err(MeasureError::Image {
                index: image,
                images: self.plan.images,
            });
        }
        for entry in &counts.entries {
            if usize::from(entry.cluster) >= self.clusters {
                return Err(MeasureError::Label {
                    what: "cluster",
                    label: entry.cluster,
                    count: self.clusters,
                });
            }
            let (rows, cols) = self.plan.grid;
            if usize::from(entry.row) >= rows || usize::from(entry.col) >= cols {
                return Err(MeasureError::Shape {
                    what: "patches of an image",
                    expected: rows * cols,
                    got: (usize::from(entry.row) + 1) * (usize::from(entry.col) + 1),
                });
            }
        }
        self.pending.push((image, counts));
        if self.pending.len() >= PENDING_IMAGES {
            self.flush();
        }
        Ok(())
    }

    /// Adds the replicates of another shard that used the same plan (other images of the same set).
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`] if sizes or seeds differ.
    pub fn merge(&mut self, mut other: Self) -> Result<(), MeasureError> {
        check("number of clusters", self.clusters, other.clusters)?;
        check("number of images", self.plan.images, other.plan.images)?;
        check(
            "number of replicates",
            self.plan.replicates,
            other.plan.replicates,
        )?;
        check("rows of patches", self.plan.grid.0, other.plan.grid.0)?;
        check("columns of patches", self.plan.grid.1, other.plan.grid.1)?;
        check("seed", self.plan.seed as usize, other.plan.seed as usize)?;
        self.add_parts(other.parts())
    }

    /// Its random numbers.
    #[must_use]
    pub fn plan(&self) -> &Arc<ResamplingPlan> {
        &self.plan
    }

    /// All replicates as they are, `[R, K, Hp, Wp]` each: those under shifts, and the bootstrap's.
    pub fn parts(&mut self) -> [&[u32]; 2] {
        self.flush();
        [&self.shifted, &self.drawn]
    }

    /// Adds what [`parts`](Self::parts) of a resampling with the same plan gave (of other images of the
    /// same set).
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`] if the lengths do not fit.
    pub fn add_parts(&mut self, [shifted, drawn]: [&[u32]; 2]) -> Result<(), MeasureError> {
        check("stored shifted counts", self.shifted.len(), shifted.len())?;
        check("stored bootstrap counts", self.drawn.len(), drawn.len())?;
        for (mine, theirs) in [(&mut self.shifted, shifted), (&mut self.drawn, drawn)] {
            mine.iter_mut()
                .zip(theirs)
                .for_each(|(count, &more)| *count += more);
        }
        Ok(())
    }

    /// The figures for the observed counts of the same images.
    ///
    /// # Shapes
    ///
    /// `observed`: `[K, Hp, Wp]`, as [`Tally::position_grid`](crate::Tally::position_grid) gives it.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`].
    pub fn finish(mut self, observed: ArrayView3<'_, u32>) -> Result<PositionalTest, MeasureError> {
        let (rows, cols) = self.plan.grid;
        check(
            "number of clusters",
            self.clusters,
            observed.len_of(ndarray::Axis(0)),
        )?;
        check("rows of patches", rows, observed.len_of(ndarray::Axis(1)))?;
        check(
            "columns of patches",
            cols,
            observed.len_of(ndarray::Axis(2)),
        )?;
        self.flush();
        let cells = rows * cols;
        let flat: Vec<u32> = observed.iter().copied().collect();
        let figures = |counts: &[u32]| {
            ArrayView2::from_shape((self.clusters, cells), counts)
                .ok()
                .map(positional)
        };
        let replicate = |counts: &[u32]| -> Vec<Positional> {
            counts
                .par_chunks(self.clusters * cells)
                .filter_map(figures)
                .collect()
        };
        let Some(observed) = figures(&flat).filter(|_| self.clusters > 0) else {
            return Err(MeasureError::Shape {
                what: "number of clusters",
                expected: 1,
                got: 0,
            });
        };
        let (null, bootstrap) = (replicate(&self.shifted), replicate(&self.drawn));
        let all = |figures: &[Positional], pick: &dyn Fn(&Positional) -> Option<f64>| -> Vec<f64> {
            figures.iter().filter_map(pick).collect()
        };
        let test = |pick: &dyn Fn(&Positional) -> Option<f64>| -> Option<Resampled> {
            resampled(pick(&observed)?, &all(&null, pick), all(&bootstrap, pick))
        };
        let nmi = test(&|figures| figures.nmi);
        let mi = test(&|figures| Some(figures.mi));
        let class_mi: Option<Vec<Resampled>> = (0..self.clusters)
            .map(|class| test(&|figures| figures.class_mi.get(class).copied()))
            .collect();
        match (mi, class_mi) {
            (Some(mi), Some(class_mi)) => Ok(PositionalTest {
                observed,
                nmi,
                mi,
                class_mi,
            }),
            // There are at least two replicates by construction.
            _ => Err(MeasureError::Shape {
                what: "number of replicates",
                expected: 2,
                got: null.len(),
            }),
        }
    }

    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let (rows, cols) = self.plan.grid;
        let length = (self.clusters * rows * cols).max(1);
        let shifts: Vec<Vec<(usize, usize)>> = pending
            .iter()
            .map(|&(image, _)| self.plan.shifts(image))
            .collect();
        self.shifted
            .par_chunks_mut(length)
            .enumerate()
            .for_each(|(replicate, counts)| {
                for ((_, image), shifts) in pending.iter().zip(&shifts) {
                    let (down, right) = shifts[replicate];
                    for entry in &image.entries {
                        let row = usize::from(entry.row) + down;
                        let col = usize::from(entry.col) + right;
                        let row = if row < rows { row } else { row - rows };
                        let col = if col < cols { col } else { col - cols };
                        counts[(usize::from(entry.cluster) * rows + row) * cols + col] +=
                            entry.pixels;
                    }
                }
            });
        let plan = &self.plan;
        self.drawn
            .par_chunks_mut(length)
            .enumerate()
            .for_each(|(replicate, counts)| {
                for &(index, ref image) in &pending {
                    let draws = u32::from(plan.draws(index)[replicate]);
                    if draws > 0 {
                        for entry in &image.entries {
                            let cell = usize::from(entry.row) * cols + usize::from(entry.col);
                            counts[usize::from(entry.cluster) * rows * cols + cell] +=
                                draws * entry.pixels;
                        }
                    }
                }
            });
    }
}

/// Null and interval of one figure; `None` with fewer than two replicates of either kind.
fn resampled(observed: f64, null: &[f64], mut bootstrap: Vec<f64>) -> Option<Resampled> {
    if null.len() < 2 || bootstrap.len() < 2 {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let null_mean = mean(null);
    let variance = null
        .iter()
        .map(|value| (value - null_mean).powi(2))
        .sum::<f64>()
        / (null.len() - 1) as f64;
    let null_sd = variance.sqrt();
    let excess = observed - null_mean;
    let center = mean(&bootstrap);
    bootstrap.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    Some(Resampled {
        observed,
        null_mean,
        null_sd,
        excess,
        // A null that does not vary leaves crumbs of rounding.
        z: (null_sd > 1e-12 * observed.abs().max(null_mean.abs())).then(|| excess / null_sd),
        low: excess + (quantile(&bootstrap, tail)? - center),
        high: excess + (quantile(&bootstrap, 1.0 - tail)? - center),
    })
}
