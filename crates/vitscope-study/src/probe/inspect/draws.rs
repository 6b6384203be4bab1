//! Intervals over the images that were looked at.

use std::sync::Arc;

use vitscope_measure::{Resampling, ResamplingPlan, sample_interval};
use vitscope_run::Measured;

use crate::error::StudyError;
use crate::job::JobRun;

/// Bootstrap samples of the images that were looked at, by the seed of a run.
pub(super) struct Draws(Option<Arc<ResamplingPlan>>);

impl Draws {
    pub(super) fn new(
        run: &JobRun,
        grid: (usize, usize),
        images: usize,
    ) -> Result<Self, StudyError> {
        let (resamples, seed) = (run.settings.resamples, run.settings.seed);
        let enough = resamples > 1 && images > 1;
        let made = enough.then(|| ResamplingPlan::new(grid, images, resamples, seed));
        Ok(Self(made.transpose()?.map(Arc::new)))
    }

    /// The mean of one number per image, with its interval. Images without one have no part.
    pub(super) fn mean(&self, values: &[Option<f64>]) -> Measured {
        let weighted = |weight: &dyn Fn(usize) -> f64| {
            let defined = values.iter().enumerate();
            let defined = defined.filter_map(|(image, value)| Some((weight(image), (*value)?)));
            let (mut sum, mut count) = (0.0, 0.0);
            for (weight, value) in defined {
                sum += weight * value;
                count += weight;
            }
            (count > 0.0).then(|| sum / count)
        };
        let value = weighted(&|_| 1.0);
        // Where images have no part, their places among the draws are not known; a single number has no spread.
        let plan = self
            .0
            .as_ref()
            .filter(|plan| plan.images() == values.len() && values.iter().flatten().count() > 1);
        let samples = plan.map(|plan| {
            let sample = |sample: usize| weighted(&|image| f64::from(plan.draws(image)[sample]));
            (0..plan.replicates()).map(sample).collect::<Vec<_>>()
        });
        Measured {
            value,
            interval: samples.and_then(|samples| sample_interval(&samples)),
        }
    }

    /// What being an outlier tells of the place, beyond chance.
    pub(super) fn place(
        &self,
        lengths: &[f32],
        is_out: impl Fn(&f32) -> bool,
        outliers: &[u32],
        grid: (usize, usize),
    ) -> Result<Measured, StudyError> {
        let Some(plan) = &self.0 else {
            return Ok(Measured::default());
        };
        let (places, images) = (grid.0 * grid.1, plan.images());
        let mut resampling = Resampling::with_plan(2, 1, plan.clone());
        for (image, lengths) in lengths.chunks_exact(places).enumerate() {
            let flags: Vec<u8> = lengths
                .iter()
                .map(|length| u8::from(is_out(length)))
                .collect();
            resampling.add(image, &flags)?;
        }
        let observed =
            ndarray::Array3::from_shape_fn((2, grid.0, grid.1), |(flag, row, column)| {
                let out = outliers[row * grid.1 + column];
                if flag == 1 { out } else { images as u32 - out }
            });
        let nmi = resampling.finish(observed.view())?.nmi;
        Ok(Measured {
            value: nmi.map(|nmi| nmi.excess),
            interval: nmi.map(|nmi| (nmi.low, nmi.high)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_of_the_images_that_have_a_number() {
        let none = Draws(None);
        let found = none.mean(&[Some(1.0), None, Some(4.0)]);
        assert_eq!((found.value, found.interval), (Some(2.5), None));
        assert_eq!(none.mean(&[None, None]), Measured::default());
        assert_eq!(
            none.place(&[], |_| true, &[], (1, 1)).unwrap(),
            Measured::default()
        );
    }

    #[test]
    fn draws_of_equal_numbers_are_sure_and_those_of_other_images_none() {
        let plan = ResamplingPlan::new((1, 2), 3, 20, 0).unwrap();
        let draws = Draws(Some(Arc::new(plan)));
        let found = draws.mean(&[Some(2.0); 3]);
        assert_eq!((found.value, found.interval), (Some(2.0), Some((2.0, 2.0))));
        assert_eq!(draws.mean(&[Some(2.0); 2]).interval, None);
        let found = draws.mean(&[Some(0.0), Some(1.0), Some(2.0)]);
        let (low, high) = found.interval.unwrap();
        assert!(low < 1.0 && 1.0 < high);
        let single = draws.mean(&[None, Some(2.0), None]);
        assert_eq!((single.value, single.interval), (Some(2.0), None));
    }
}
