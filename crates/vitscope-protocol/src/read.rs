//! What is counted of a reader that is given labels (docs/protocol.md section 20): the confusion of what it reads and
//! what is there, over all test images and over bootstrap samples of them.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use vitscope_measure::{
    ImageConfusion, MeasureError, Quality, QualityResampling, QualitySamples, ResamplingPlan,
    quality, sample_interval,
};

use crate::test_batch::TestBatch;

/// Counts of one reader on one slot. Those of two parts of an evaluation set add up to those of the whole.
#[derive(Clone, Debug)]
pub struct ReaderCounts {
    images: u64,
    /// `[C, C]` pixels read as the class of the row that are of the class of the column.
    confusion: Array2<i64>,
    /// Confusions of bootstrap samples; absent where none were asked for.
    resampling: Option<QualityResampling>,
}

impl ReaderCounts {
    /// Nothing counted yet, of so many classes.
    #[must_use]
    pub fn new(classes: usize, plan: Option<&Arc<ResamplingPlan>>) -> Self {
        Self {
            images: 0,
            confusion: Array2::zeros((classes, classes)),
            resampling: plan.map(|plan| QualityResampling::new(classes, classes, Arc::clone(plan))),
        }
    }

    /// Counts the label maps of a batch; a batch without ground truth counts for nothing.
    ///
    /// # Shapes
    /// `labels`: `images * H * W`, image by image, row by row.
    ///
    /// # Errors
    /// [`MeasureError::Shape`], [`MeasureError::Label`], [`MeasureError::Image`].
    pub fn add(&mut self, labels: &[u8], batch: &TestBatch<'_>) -> Result<(), MeasureError> {
        let (Some(truth), false) = (batch.truth, batch.images.is_empty()) else {
            return Ok(());
        };
        let pixels = labels.len() / batch.images.len();
        let confusions: Vec<_> = labels
            .par_chunks(pixels.max(1))
            .zip(truth.par_chunks(pixels.max(1)))
            .map(|(labels, truth)| ImageConfusion::new(labels, truth))
            .collect();
        let classes = self.confusion.ncols();
        for (&image, confusion) in batch.images.iter().zip(confusions) {
            let confusion = confusion?;
            for [read, class, pixels] in confusion.to_rows() {
                let unknown = MeasureError::Label {
                    what: "class",
                    label: read.max(class) as u8,
                    count: classes,
                };
                let count = self.confusion.get_mut((read as usize, class as usize));
                *count.ok_or(unknown)? += i64::from(pixels);
            }
            if let Some(resampling) = &mut self.resampling {
                resampling.add_confusion(image, &confusion)?;
            }
            self.images += 1;
        }
        Ok(())
    }

    /// Adds what was counted of `images` other images.
    ///
    /// # Errors
    /// [`MeasureError::Shape`] if it is of other classes or samples.
    pub fn add_parts(
        &mut self,
        images: u64,
        confusion: &[i64],
        sums: Option<&[u64]>,
    ) -> Result<(), MeasureError> {
        let shape = self.confusion.dim();
        let confusion = ArrayView2::from_shape(shape, confusion);
        let wrong = |_| MeasureError::Shape {
            what: "stored confusion of a reader",
            expected: shape.0 * shape.1,
            got: 0,
        };
        let confusion = confusion.map_err(wrong)?;
        if let (Some(resampling), Some(sums)) = (&mut self.resampling, sums) {
            resampling.add_sums(sums)?;
        }
        self.confusion += &confusion;
        self.images += images;
        Ok(())
    }

    /// `[C, C]` pixels, by what was read and what is there.
    #[must_use]
    pub fn confusion(&self) -> ArrayView2<'_, i64> {
        self.confusion.view()
    }

    /// Confusions of the bootstrap samples, `[R, C, C]`, where there are any.
    #[must_use]
    pub fn samples(&self) -> Option<Vec<u64>> {
        self.resampling.as_ref().map(QualityResampling::sums)
    }

    /// Samples `R`, and classes twice.
    #[must_use]
    pub fn sample_shape(&self) -> Option<[usize; 3]> {
        self.resampling.as_ref().map(QualityResampling::shape)
    }

    /// The numbers.
    #[must_use]
    pub fn finish(&self) -> ReaderScores {
        let classes = self.confusion.ncols();
        let own: Vec<Option<usize>> = (0..classes).map(Some).collect();
        let samples = self.resampling.as_ref().filter(|_| self.images > 1);
        ReaderScores {
            quality: quality(self.confusion.view(), &own),
            samples: samples.map(|resampling| resampling.finish(&own)),
        }
    }
}

/// Everything measured of one reader on one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct ReaderScores {
    /// IoU, mIoU, accuracy: each class is read as itself, nothing is matched.
    pub quality: Quality,
    /// The same of bootstrap samples of the images, which are the samples of every slot and of k-means. Absent without
    /// resamples, and of a single image.
    pub samples: Option<QualitySamples>,
}

impl ReaderScores {
    /// The 95 % interval of a quality over test images.
    #[must_use]
    pub fn interval(
        &self,
        of: impl Fn(&QualitySamples) -> &Vec<Option<f64>>,
    ) -> Option<(f64, f64)> {
        sample_interval(of(self.samples.as_ref()?))
    }
}
