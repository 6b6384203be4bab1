//! What is counted of one slot on the test images, and the numbers that follow (docs/protocol.md sections 6 to 8).

use std::sync::Arc;

use ndarray::{Array2, Array3};
use rayon::prelude::*;
use vitscope_measure::{
    CellCounts, IGNORED, ImageConfusion, Matching, MeasureError, Positional, PositionalTest,
    Positions, Quality, QualityResampling, QualitySamples, Resampling, ResamplingPlan, Tally,
    Usage, positional, quality, sample_interval, usage,
};

#[cfg(feature = "cuda")]
use vitscope_probe::ProbeError;
use vitscope_probe::SoftSums;
#[cfg(feature = "cuda")]
use vitscope_probe::cuda::{CountShape, DeviceLabeler, RowsView};

#[cfg(feature = "cuda")]
use crate::card::{Card, PendingCounts};
use crate::error::ProtocolError;
use crate::test_batch::TestBatch;

/// How label maps lie over patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// Pixels along a patch.
    pub patch: usize,
}

impl MapShape {
    /// Pixels of a map.
    #[must_use]
    pub fn pixels(self) -> usize {
        self.grid.0 * self.grid.1 * self.patch * self.patch
    }
}

/// Counts of one slot, or of the ground truth. Counts of two parts of an evaluation set add up to those of
/// the whole.
#[derive(Debug)]
pub struct Counts {
    /// Confusion and positions.
    pub tally: Tally,
    /// The same under shifts and resampling; absent where none was asked for.
    pub resampling: Option<Resampling>,
    /// Confusions of bootstrap samples, whose images are those of the resampling's; absent without ground truth.
    pub quality: Option<QualityResampling>,
    /// How probable each cluster is at each patch; absent where that was not asked for.
    pub soft: Option<SoftSums>,
    positions: Positions,
    shape: MapShape,
    /// What a card has counted and not handed over.
    #[cfg(feature = "cuda")]
    on_card: Option<Box<PendingCounts>>,
}

impl Counts {
    /// Nothing counted yet, of `clusters` clusters and `classes` classes (0 without ground truth, and for the
    /// ground truth's own maps).
    #[must_use]
    pub fn new(
        clusters: usize,
        classes: usize,
        shape: MapShape,
        positions: Positions,
        plan: Option<&Arc<ResamplingPlan>>,
    ) -> Self {
        Self {
            tally: Tally::new(clusters, classes, shape.grid, shape.patch),
            resampling: plan
                .map(|plan| Resampling::with_plan(clusters, shape.patch, Arc::clone(plan))),
            quality: plan
                .filter(|_| classes > 0)
                .map(|plan| QualityResampling::new(clusters, classes, Arc::clone(plan))),
            soft: None,
            positions,
            shape,
            #[cfg(feature = "cuda")]
            on_card: None,
        }
    }

    /// Also sums how probable each cluster is at each patch (docs/protocol.md section 7), with this sharpness
    /// of the softmax; 0 for not at all.
    #[must_use]
    pub fn with_soft(mut self, alpha: u32) -> Self {
        let patches = self.shape.grid.0 * self.shape.grid.1;
        self.soft = (alpha > 0).then(|| SoftSums::new(alpha, patches, self.tally.clusters()));
        self
    }

    /// Labels the rows of a batch on a card and counts them there; gives the label maps where they are
    /// wanted.
    #[cfg(feature = "cuda")]
    pub(crate) fn add_on_card(
        &mut self,
        labeler: &DeviceLabeler,
        rows: &RowsView<'_>,
        batch: &TestBatch<'_>,
        card: &mut Card,
        wanted: Option<&mut Vec<u8>>,
    ) -> Result<(), ProbeError> {
        let plan = self.resampling.as_ref().map(Resampling::plan);
        let on_card = match &mut self.on_card {
            Some(on_card) => on_card,
            none => {
                let shape = CountShape {
                    clusters: self.tally.clusters(),
                    classes: self.tally.classes(),
                    grid: [self.shape.grid.0, self.shape.grid.1],
                    patch: self.shape.patch,
                    replicates: plan.map_or(0, |plan| plan.replicates()),
                };
                let alpha = self.soft.as_ref().map(SoftSums::alpha);
                none.insert(Box::new(PendingCounts::new(&card.cluster, shape, alpha)?))
            }
        };
        let to = (&mut **on_card, self.positions);
        card.count(labeler, rows, batch, plan, to, wanted)
    }

    /// Takes over what a card has counted so far. Until then the counts lack it.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] when the card fails.
    pub fn settle(&mut self) -> Result<(), ProtocolError> {
        #[cfg(feature = "cuda")]
        if let Some(on_card) = &mut self.on_card
            && let Some(taken) = on_card.take()?
        {
            self.tally.merge(&taken.tally)?;
            if let Some(resampling) = &mut self.resampling {
                let [shifted, drawn] = &taken.replicates;
                resampling.add_parts([shifted, drawn])?;
            }
            if let Some(quality) = &mut self.quality {
                quality.add_sums(&taken.confusions)?;
            }
            if let (Some(soft), Some(sums)) = (&mut self.soft, &taken.soft) {
                soft.add(sums).map_err(ProtocolError::stage(0))?;
            }
        }
        Ok(())
    }

    /// Pixels of a label map.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.shape.pixels()
    }

    /// Counts the label maps of a batch.
    ///
    /// # Shapes
    /// `labels`: `images * H * W`, image by image, row by row; 255 is no label.
    ///
    /// # Errors
    /// [`MeasureError::Shape`], [`MeasureError::Label`], [`MeasureError::Image`].
    pub fn add(&mut self, labels: &[u8], batch: &TestBatch<'_>) -> Result<(), MeasureError> {
        let positions = match batch.truth {
            Some(_) => self.positions,
            None => Positions::All,
        };
        self.tally.add(labels, batch.truth, positions)?;
        if let (Some(truth), Some(quality)) = (batch.truth, &mut self.quality) {
            let pixels = self.shape.pixels();
            let confusions: Vec<_> = labels
                .par_chunks(pixels)
                .zip(truth.par_chunks(pixels))
                .map(|(labels, truth)| ImageConfusion::new(labels, truth))
                .collect();
            for (&image, confusion) in batch.images.iter().zip(confusions) {
                quality.add_confusion(image, &confusion?)?;
            }
        }
        match batch.truth {
            Some(truth) if positions == Positions::Labeled => {
                let pairs = labels.iter().zip(truth);
                let unless = |(&label, &class)| if class == IGNORED { IGNORED } else { label };
                let labeled: Vec<u8> = pairs.map(unless).collect();
                self.resample(&labeled, batch.images)
            }
            _ => self.resample(labels, batch.images),
        }
    }

    fn resample(&mut self, labels: &[u8], images: &[usize]) -> Result<(), MeasureError> {
        let Some(resampling) = &mut self.resampling else {
            return Ok(());
        };
        let MapShape { grid, patch } = self.shape;
        let cells: Vec<_> = labels
            .par_chunks(self.shape.pixels())
            .map(|labels| CellCounts::new(labels, grid, patch))
            .collect();
        for (&image, cells) in images.iter().zip(cells) {
            resampling.add_counts(image, cells?)?;
        }
        Ok(())
    }

    /// The numbers of everything that was counted.
    ///
    /// # Errors
    /// [`MeasureError::Shape`] if counts were put in that are not of these sizes.
    pub fn finish(self, matching: Matching) -> Result<Scores, MeasureError> {
        let confusion = self.tally.confusion().to_owned();
        let class_of = matching.resolve(confusion.view());
        let position_pixel = self.tally.position_pixel();
        let position_grid = self.tally.position_grid();
        let test = match self.resampling {
            Some(resampling) => Some(resampling.finish(position_grid.view())?),
            None => None,
        };
        let pixels: Vec<u64> = position_grid
            .outer_iter()
            .map(|counts| counts.iter().map(|&count| u64::from(count)).sum())
            .collect();
        let (rows, columns) = self.shape.grid;
        let soft = self.soft.map(|soft| {
            let means = soft.means(self.tally.images());
            Array3::from_shape_fn((means.nrows(), rows, columns), |(cluster, y, x)| {
                means[(cluster, y * columns + x)] as f32
            })
        });
        Ok(Scores {
            soft,
            images: self.tally.images(),
            usage: usage(&pixels),
            quality_samples: self.quality.map(|quality| quality.finish(&class_of)),
            quality: (confusion.ncols() > 0).then(|| quality(confusion.view(), &class_of)),
            class_of,
            confusion,
            positional: positional(flat(&position_pixel).view()),
            positional_grid: match &test {
                Some(test) => test.observed.clone(),
                None => positional(flat(&position_grid).view()),
            },
            position_pixel,
            position_grid,
            test,
        })
    }
}

/// Everything measured of one slot, or of the ground truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Images counted.
    pub images: u64,
    /// Segmentation quality: mIoU, accuracy, IoU of each class, all in `[0, 1]`; absent without ground truth.
    pub quality: Option<Quality>,
    /// Quality of bootstrap samples of the images; two runs over the same images drew the same ones. Absent without
    /// ground truth or resamples. [`sample_interval`](vitscope_measure::sample_interval) gives the interval.
    pub quality_samples: Option<QualitySamples>,
    /// How evenly pixels fall on clusters, and whether the slot is collapsed; `None` without pixels.
    pub usage: Option<Usage>,
    /// The class of each cluster; `None` for a cluster that stays unmatched.
    pub class_of: Vec<Option<usize>>,
    /// `[K, C]` pixels of cluster `k` and class `c`.
    pub confusion: Array2<i64>,
    /// The positional effect over pixels (Eq. 3), in nats, and its share of the entropy (NMI).
    pub positional: Positional,
    /// The same over patches.
    pub positional_grid: Positional,
    /// `[K, H, W]` images whose pixel has cluster `k`.
    pub position_pixel: Array3<u32>,
    /// `[K, Hp, Wp]` the same summed over the pixels of each patch.
    pub position_grid: Array3<u32>,
    /// `[K, Hp, Wp]` the mean over images of how probable cluster `k` is at a patch, in `[0, 1]`; absent where
    /// that was not summed.
    pub soft: Option<Array3<f32>>,
    /// The positional effect over patches beside its null, with its interval; absent without resamples. Of
    /// fewer than two images the interval says nothing.
    pub test: Option<PositionalTest>,
}

impl Scores {
    /// Whether there can be intervals over images: one image cannot be resampled into one.
    #[must_use]
    pub fn has_interval(&self) -> bool {
        self.images > 1
    }

    /// The 95 % interval of a quality over test images.
    #[must_use]
    pub fn interval(
        &self,
        of: impl Fn(&QualitySamples) -> &Vec<Option<f64>>,
    ) -> Option<(f64, f64)> {
        let samples = self.quality_samples.as_ref();
        sample_interval(of(samples.filter(|_| self.has_interval())?))
    }
}

/// Maps as rows: `[K, H * W]`.
fn flat(counts: &Array3<u32>) -> Array2<u32> {
    let (clusters, height, width) = counts.dim();
    counts
        .to_shape((clusters, height * width))
        .map(|flat| flat.to_owned())
        .expect("the same elements in another shape")
}
