//! How much position tells of the labels, summed over the crops of the test images.

use serde::Serialize;
use vitscope_data::{DataSet, Geometry};
use vitscope_measure::{
    CellCounts, MeasureError, Positions, Resampling, Tally, aggregate, baselines, positional,
};

use super::left_out::LeftOut;
use super::request::Request;
use crate::error::StudyError;

/// How much position tells of the labels (docs/protocol.md section 8), over the crops of the test images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PositionCheck {
    /// Images counted.
    pub images: u64,
    /// Mutual information of position and class over pixels, in nats.
    pub mi: f64,
    /// Entropy of the classes, in nats.
    pub entropy: f64,
    /// `mi / entropy`; undefined with one class.
    pub nmi: Option<f64>,
    /// NMI on the patch grid, which null and interval belong to.
    pub nmi_grid: Option<f64>,
    /// Its mean over maps shifted at random: what the number of images alone gives.
    pub nmi_null: Option<f64>,
    /// What is beyond that.
    pub nmi_excess: Option<f64>,
    /// Lower end of the 95 % interval of the excess.
    pub nmi_excess_low: Option<f64>,
    /// Upper end of it.
    pub nmi_excess_high: Option<f64>,
    /// The excess in standard deviations of the null.
    pub nmi_z: Option<f64>,
    /// Part of the mutual information that each class holds, in nats.
    pub class_mi: Vec<f64>,
    /// Pixel accuracy on the test images of always naming the commonest class, 0 to 1 (*one class*,
    /// docs/protocol.md section 14).
    pub accuracy_of_commonest: Option<f64>,
    /// Pixel accuracy on the test images of naming the commonest class of each pixel, 0 to 1 (*place
    /// alone*): what a model could reach that sees nothing but where it is. Undefined, as the other one is,
    /// where there are no training labels and fewer than two test images have labels.
    pub accuracy_of_position: Option<f64>,
    /// Which labels say what is commonest.
    pub accuracies_from: AccuraciesFrom,
}

/// Which labels say what class is commonest, overall and at each pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccuraciesFrom {
    /// Those of the training images, as those of a run.
    TrainingLabels,
    /// Those of all other test images, for each: training images have no labels, or are the test images.
    OtherTestLabels,
}

/// What is counted of the crops' labels.
pub(super) struct SetCounts {
    pub(super) tally: Tally,
    /// Of the training images, where they are others.
    training: Tally,
    left_out: LeftOut,
    resampling: Option<Resampling>,
    /// Rows and columns of patches, and their side.
    pub(super) shape: ((usize, usize), usize),
}

impl SetCounts {
    /// Nothing counted yet; nothing to count without ground truth.
    pub(super) fn new(
        set: &DataSet,
        geometry: Geometry,
        request: &Request,
    ) -> Result<Option<Self>, StudyError> {
        let classes = set.classes.len();
        if !set.has_truth() || classes == 0 {
            return Ok(None);
        }
        let (patch, side) = (request.patch, geometry.size / request.patch);
        let resampling = if request.resamples > 0 {
            let (images, count) = (set.test.len(), request.resamples);
            let made = Resampling::new(classes, (side, side), patch, images, count, request.seed);
            Some(made.map_err(mix_up)?)
        } else {
            None
        };
        Ok(Some(Self {
            tally: Tally::new(classes, 0, (side, side), patch),
            training: Tally::new(classes, 0, (side, side), patch),
            left_out: LeftOut::new(classes, (side * patch).pow(2)),
            resampling,
            shape: ((side, side), patch),
        }))
    }

    pub(super) fn add(
        &mut self,
        index: usize,
        labels: &[u8],
        cells: Result<CellCounts, MeasureError>,
    ) -> Result<(), MeasureError> {
        self.tally.add(labels, None, Positions::All)?;
        self.left_out.add(labels);
        match &mut self.resampling {
            Some(resampling) => resampling.add_counts(index, cells?),
            None => Ok(()),
        }
    }

    pub(super) fn add_training(&mut self, labels: &[u8]) -> Result<(), MeasureError> {
        self.training.add(labels, None, Positions::All)
    }

    /// The figures, and the aggregate map `[size, size, 3]`.
    pub(super) fn finish(self, set: &DataSet) -> Result<(PositionCheck, Vec<u8>), StudyError> {
        let pixel = self.tally.position_pixel();
        let grid = self.tally.position_grid();
        let colors: Vec<[u8; 3]> = set.classes.iter().map(|class| class.color).collect();
        let picture = aggregate(pixel.view(), &colors).map_err(mix_up)?;
        let flat = |counts: &ndarray::Array3<u32>| {
            let (classes, rows, columns) = counts.dim();
            counts
                .to_shape((classes, rows * columns))
                .map(|flat| positional(flat.view()))
                .map_err(|error| StudyError::Internal(error.to_string()))
        };
        let (effect, on_grid) = (flat(&pixel)?, flat(&grid)?);
        let test = self
            .resampling
            .map(|resampling| resampling.finish(grid.view()).map_err(mix_up))
            .transpose()?;
        let nmi = test.and_then(|test| test.nmi);
        // A map that was fitted on the very labels that it is measured on would always seem to know something.
        let training = self.training.position_pixel();
        let (accuracies_from, [by_position, by_one_class]) =
            match baselines(training.view(), pixel.view()).map_err(mix_up)? {
                Some(found) => (
                    AccuraciesFrom::TrainingLabels,
                    [found.place_alone.accuracy, found.one_class.accuracy],
                ),
                None => (
                    AccuraciesFrom::OtherTestLabels,
                    self.left_out
                        .finish(pixel.view())
                        .map_or([None; 2], |named| {
                            [Some(named.by_position), Some(named.by_one_class)]
                        }),
                ),
            };
        let position = PositionCheck {
            images: self.tally.images(),
            mi: effect.mi,
            entropy: effect.entropy,
            nmi: effect.nmi,
            nmi_grid: on_grid.nmi,
            nmi_null: nmi.map(|nmi| nmi.null_mean),
            nmi_excess: nmi.map(|nmi| nmi.excess),
            nmi_excess_low: nmi.map(|nmi| nmi.low),
            nmi_excess_high: nmi.map(|nmi| nmi.high),
            nmi_z: nmi.and_then(|nmi| nmi.z),
            class_mi: effect.class_mi,
            accuracy_of_commonest: by_one_class,
            accuracy_of_position: by_position,
            accuracies_from,
        };
        Ok((position, picture))
    }
}

/// Sizes are fixed by the request; a mismatch here would be this program's mistake.
pub(super) fn mix_up(error: MeasureError) -> StudyError {
    StudyError::Measure(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two by two patches of one pixel, of the classes of a set, in these test images; and in these training images.
    fn finished(images: &[[u8; 4]], training: &[[u8; 4]]) -> PositionCheck {
        let root = vitscope_testkit::scenes::camvid().display();
        let set = DataSet::open(&format!("camvid:{root}")).unwrap();
        let classes = set.classes.len();
        let mut counts = SetCounts {
            tally: Tally::new(classes, 0, (2, 2), 1),
            training: Tally::new(classes, 0, (2, 2), 1),
            left_out: LeftOut::new(classes, 4),
            resampling: None,
            shape: ((2, 2), 1),
        };
        for labels in training {
            counts.add_training(labels).unwrap();
        }
        for (index, labels) in images.iter().enumerate() {
            let cells = CellCounts::new(labels, (2, 2), 1);
            counts.add(index, labels, cells).unwrap();
        }
        counts.finish(&set).unwrap().0
    }

    #[test]
    fn labels_that_stand_where_they_always_stand_are_told_by_place() {
        let found = finished(&[[0, 0, 1, 1]; 3], &[]);
        assert_eq!(found.images, 3);
        assert!((found.nmi.unwrap() - 1.0).abs() < 1e-12);
        assert!((found.entropy - 2.0_f64.ln()).abs() < 1e-12);
        assert_eq!(found.accuracy_of_commonest, Some(0.5));
        assert_eq!(found.accuracy_of_position, Some(1.0));
        assert_eq!((found.nmi_null, found.nmi_excess), (None, None));
    }

    #[test]
    fn labels_that_stand_anywhere_are_not() {
        // Each class once at each place: what the other image has there is wrong.
        let found = finished(&[[0, 1, 0, 1], [1, 0, 1, 0]], &[]);
        assert!(found.mi.abs() < 1e-12);
        assert_eq!(found.accuracy_of_position, Some(0.0));
        // Three of four at every place are of one class.
        let found = finished(
            &[[0, 0, 0, 2], [0, 0, 2, 0], [0, 2, 0, 0], [2, 0, 0, 0]],
            &[],
        );
        assert_eq!(found.accuracies_from, AccuraciesFrom::OtherTestLabels);
        assert_eq!(
            (found.accuracy_of_commonest, found.accuracy_of_position),
            (Some(0.75), Some(0.75))
        );
        // No image tells anything of the only one.
        assert_eq!(finished(&[[0; 4]], &[]).accuracy_of_position, None);
    }

    /// A map that is fitted on what it is measured on would name three of four here, whatever the images show.
    #[test]
    fn training_labels_say_what_is_commonest_where_there_are_some() {
        let found = finished(&[[0, 1, 2, 0]], &[[0, 1, 255, 1], [0, 1, 255, 1]]);
        assert_eq!(found.accuracies_from, AccuraciesFrom::TrainingLabels);
        // Pixels 0 and 1; pixel 2 has no label in training and takes the commonest class, 1.
        assert_eq!(found.accuracy_of_position, Some(0.5));
        assert_eq!(found.accuracy_of_commonest, Some(0.25));
    }
}
