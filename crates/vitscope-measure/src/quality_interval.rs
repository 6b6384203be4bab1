//! How sure is a segmentation quality? An interval by bootstrap over test images (docs/protocol.md section 16).
//!
//! Clusters are matched once, on the whole test set. A bootstrap sample draws as many images as there are, with
//! replacement, adds up the confusions of those that it drew, and gives one mIoU and one accuracy; the interval is
//! from the 2.5 to the 97.5 % quantile of the samples. Samples are drawn by a
//! [`ResamplingPlan`](crate::ResamplingPlan): with one seed and as many images, sample `r` of every slot and of
//! every run draws the same images, so that two runs over the same images can be compared sample by sample.
//!
//! Memory is `4 R K C` bytes for `R` samples (twice more, once, beyond four thousand million pixels).

use std::sync::Arc;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::error::check;
use crate::plan::ResamplingPlan;
use crate::quality::quality;
use crate::quantile::quantile;
use crate::tally::check_labels;
use crate::{IGNORED, MeasureError};

/// Coverage of the interval.
const LEVEL: f64 = 0.95;

/// Confusion of one image, zeros left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfusion {
    /// Cluster, class, pixels.
    entries: Vec<(u8, u8, u32)>,
}

impl ImageConfusion {
    /// Counts one image; a pixel without label or without class is left out.
    ///
    /// # Shapes
    ///
    /// `labels`, `truth`: one each per pixel.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`].
    pub fn new(labels: &[u8], truth: &[u8]) -> Result<Self, MeasureError> {
        check("number of true labels", labels.len(), truth.len())?;
        let mut counts = vec![0_u32; 256 * 256];
        let mut seen = Vec::new();
        let mut count = |(label, class): (u8, u8), pixels: u32| {
            if label != IGNORED && class != IGNORED && pixels > 0 {
                let at = usize::from(label) << 8 | usize::from(class);
                if counts[at] == 0 {
                    seen.push((label, class));
                }
                counts[at] += pixels;
            }
        };
        // Label maps are smooth: runs of one pair are counted at once.
        let (mut last, mut run) = ((IGNORED, IGNORED), 0);
        for pair in labels.iter().copied().zip(truth.iter().copied()) {
            if pair == last {
                run += 1;
            } else {
                count(last, run);
                (last, run) = (pair, 1);
            }
        }
        count(last, run);
        seen.sort_unstable();
        let entry = |(label, class)| {
            let at = usize::from(label) << 8 | usize::from(class);
            (label, class, counts[at])
        };
        Ok(Self {
            entries: seen.into_iter().map(entry).collect(),
        })
    }

    /// As plain numbers, for storing: cluster, class and pixels of every entry.
    pub fn to_rows(&self) -> impl Iterator<Item = [u32; 3]> {
        let entries = self.entries.iter();
        entries.map(|&(label, class, pixels)| [label.into(), class.into(), pixels])
    }

    /// The inverse of [`to_rows`](Self::to_rows).
    ///
    /// # Errors
    ///
    /// [`MeasureError::Value`] for a cluster or a class that no map has.
    pub fn from_rows(rows: impl IntoIterator<Item = [u32; 3]>) -> Result<Self, MeasureError> {
        let known = |value: u32| u8::try_from(value).ok().filter(|&label| label != IGNORED);
        let entry = |[label, class, pixels]: [u32; 3]| Some((known(label)?, known(class)?, pixels));
        let entries: Option<Vec<_>> = rows.into_iter().map(entry).collect();
        let what = "stored counts of clusters and classes";
        Ok(Self {
            entries: entries.ok_or(MeasureError::Value { what })?,
        })
    }
}

/// Summed confusions of bootstrap samples of one slot. Those of two parts of the test images add up.
#[derive(Debug, Clone)]
pub struct QualityResampling {
    plan: Arc<ResamplingPlan>,
    clusters: usize,
    classes: usize,
    /// `[R, K, C]` of the images since the last settling, whose pixels are at most what 32 bits hold.
    recent: Vec<u32>,
    recent_pixels: u64,
    /// The same of the images before; empty while there are none.
    settled: Vec<u64>,
}

/// The bootstrap samples of a quality, in the order of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct QualitySamples {
    /// mIoU of each sample; `None` where no class occurs in it.
    pub miou: Vec<Option<f64>>,
    /// Accuracy of each sample.
    pub accuracy: Vec<Option<f64>>,
}

impl QualityResampling {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(clusters: usize, classes: usize, plan: Arc<ResamplingPlan>) -> Self {
        Self {
            recent: vec![0; plan.replicates * clusters * classes],
            recent_pixels: 0,
            settled: Vec::new(),
            plan,
            clusters,
            classes,
        }
    }

    /// Adds the image with this index in the evaluation set. Each image is added once, in any order.
    ///
    /// # Shapes
    ///
    /// `labels`, `truth`: one each per pixel; 255 is left out.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`], [`MeasureError::Label`], [`MeasureError::Image`].
    pub fn add(&mut self, image: usize, labels: &[u8], truth: &[u8]) -> Result<(), MeasureError> {
        check_labels("cluster", labels, self.clusters)?;
        check_labels("class", truth, self.classes)?;
        self.add_confusion(image, &ImageConfusion::new(labels, truth)?)
    }

    /// [`add`](Self::add) for an image that was counted before.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Label`], [`MeasureError::Image`].
    pub fn add_confusion(
        &mut self,
        image: usize,
        confusion: &ImageConfusion,
    ) -> Result<(), MeasureError> {
        if image >= self.plan.images {
            return Err(MeasureError::Image {
                index: image,
                images: self.plan.images,
            });
        }
        for &(label, class, _) in &confusion.entries {
            for (what, label, count) in [
                ("cluster", label, self.clusters),
                ("class", class, self.classes),
            ] {
                if usize::from(label) >= count {
                    return Err(MeasureError::Label { what, label, count });
                }
            }
        }
        let plan = Arc::clone(&self.plan);
        let draws = plan.draws(image);
        let most = u64::from(draws.iter().copied().max().unwrap_or(0));
        let pixels: u64 = confusion
            .entries
            .iter()
            .map(|entry| u64::from(entry.2))
            .sum();
        if self.recent_pixels + most * pixels > u64::from(u32::MAX) {
            self.settle();
        }
        self.recent_pixels += most * pixels;
        let length = self.clusters * self.classes;
        for (counts, &draws) in self.recent.chunks_exact_mut(length.max(1)).zip(draws) {
            if draws > 0 {
                for &(label, class, pixels) in &confusion.entries {
                    let at = usize::from(label) * self.classes + usize::from(class);
                    counts[at] += u32::from(draws) * pixels;
                }
            }
        }
        Ok(())
    }

    /// Moves the 32-bit counts into the 64-bit ones.
    fn settle(&mut self) {
        self.settled.resize(self.recent.len(), 0);
        for (settled, recent) in self.settled.iter_mut().zip(&mut self.recent) {
            *settled += u64::from(std::mem::take(recent));
        }
        self.recent_pixels = 0;
    }

    /// Samples `R`, clusters `K` and classes `C`.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        [self.plan.replicates, self.clusters, self.classes]
    }

    /// All sums as they are, `[R, K, C]`.
    #[must_use]
    pub fn sums(&self) -> Vec<u64> {
        let recent = self.recent.iter().map(|&count| u64::from(count));
        if self.settled.is_empty() {
            recent.collect()
        } else {
            recent.zip(&self.settled).map(|(a, b)| a + b).collect()
        }
    }

    /// Adds what [`sums`](Self::sums) of a resampling with the same plan gave, of other images of the same set.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`] if the length does not fit.
    pub fn add_sums(&mut self, sums: &[u64]) -> Result<(), MeasureError> {
        check("stored bootstrap confusions", self.recent.len(), sums.len())?;
        self.settle();
        for (settled, &more) in self.settled.iter_mut().zip(sums) {
            *settled += more;
        }
        Ok(())
    }

    /// Quality of every sample, for clusters matched on the whole set.
    ///
    /// # Shapes
    ///
    /// `class_of`: length `K`, as [`Matching::resolve`](crate::Matching::resolve) gives it.
    ///
    /// # Panics
    ///
    /// If the length of `class_of` is not `K`, or a class in it is not below `C`: a mix-up of two runs.
    #[must_use]
    pub fn finish(&self, class_of: &[Option<usize>]) -> QualitySamples {
        let sums: Vec<i64> = self.sums().into_iter().map(|count| count as i64).collect();
        let length = (self.clusters * self.classes).max(1);
        let samples: Vec<_> = sums
            .par_chunks(length)
            .map(|counts| {
                let shape = (self.clusters, self.classes);
                let counts = ArrayView2::from_shape(shape, counts).ok()?;
                let quality = quality(counts, class_of);
                Some((quality.miou, quality.accuracy))
            })
            .collect();
        QualitySamples {
            miou: samples.iter().map(|sample| (*sample)?.0).collect(),
            accuracy: samples.iter().map(|sample| (*sample)?.1).collect(),
        }
    }
}

/// The 95 % interval of bootstrap samples: their 2.5 and 97.5 % quantiles. `None` with fewer than two samples
/// that are defined.
#[must_use]
pub fn sample_interval(samples: &[Option<f64>]) -> Option<(f64, f64)> {
    let mut defined: Vec<f64> = samples.iter().copied().flatten().collect();
    if defined.len() < 2 {
        return None;
    }
    defined.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    Some((quantile(&defined, tail)?, quantile(&defined, 1.0 - tail)?))
}

/// The 95 % interval of the difference `a - b` of two runs over the same images, whose samples were drawn by the
/// same plan: sample by sample. `None` where their numbers differ.
///
/// ```
/// let (before, after) = ([Some(0.1), Some(0.3)], [Some(0.2), Some(0.4)]);
/// let (low, high) = vitscope_measure::paired_interval(&after, &before).expect("two samples each");
/// assert!((low - 0.1).abs() < 1e-12 && (high - 0.1).abs() < 1e-12);
/// ```
#[must_use]
pub fn paired_interval(a: &[Option<f64>], b: &[Option<f64>]) -> Option<(f64, f64)> {
    if a.len() != b.len() {
        return None;
    }
    let differences: Vec<_> = a.iter().zip(b).map(|(a, b)| Some((*a)? - (*b)?)).collect();
    sample_interval(&differences)
}
