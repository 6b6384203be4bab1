//! What can be had from the training labels without looking at an image (protocol 14).

use std::cell::OnceCell;

use rayon::prelude::*;
use vitscope_data::{DataError, DataSet, Geometry, Split};
use vitscope_measure::{Baselines, Positions, Tally, baselines};
use vitscope_protocol::Scores;

use crate::error::StudyError;

/// Label maps that are read together.
pub(crate) const TOGETHER: usize = 64;

/// The baselines of a run, and what has to be said about them.
#[derive(Default)]
pub(crate) struct FromLabels {
    /// Absent where the training images have no labels.
    pub(crate) baselines: Option<Baselines>,
    pub(crate) note: Option<String>,
}

/// The labels of a job's training images, counted when they are first asked for: its runs have them in common.
#[derive(Debug)]
pub struct TrainLabels<'a> {
    data: &'a DataSet,
    geometry: Geometry,
    patches: (usize, usize),
    train: usize,
    /// Counts, or why there are none.
    counted: OnceCell<Result<Tally, DataError>>,
}

impl<'a> TrainLabels<'a> {
    /// The labels of the first `train` training images, on a grid of `patches`.
    pub fn new(data: &'a DataSet, geometry: Geometry, patches: [usize; 2], train: usize) -> Self {
        Self {
            data,
            geometry,
            patches: (patches[0], patches[1]),
            train,
            counted: OnceCell::new(),
        }
    }

    /// Holds them against the test labels. A label that cannot be read costs the baselines, never the run:
    /// training needs no labels.
    pub(crate) fn against(&self, truth: &Scores) -> Result<FromLabels, StudyError> {
        let counted = match self.counted.get() {
            Some(counted) => counted,
            None => match self.count() {
                Ok(tally) => self.counted.get_or_init(|| Ok(tally)),
                Err(StudyError::Data(error)) => self.counted.get_or_init(|| Err(error)),
                Err(error) => return Err(error),
            },
        };
        let tally = match counted {
            Ok(tally) => tally,
            Err(error) => {
                return Ok(FromLabels {
                    note: Some(format!(
                        "Place alone and one class were not measured: {error}"
                    )),
                    ..FromLabels::default()
                });
            }
        };
        let train_labels = tally.position_pixel();
        let baselines = baselines(train_labels.view(), truth.position_pixel.view())?;
        let note = match &baselines {
            None => Some(
                "Place alone and one class were not measured: no training image has labels.".to_owned(),
            ),
            Some(_) if same_images(self.data) => Some(
                "Place alone and one class come from the labels of the very images that are measured, which flatters them."
                    .to_owned(),
            ),
            Some(_) => None,
        };
        Ok(FromLabels { baselines, note })
    }

    /// How often each pixel has each class.
    fn count(&self) -> Result<Tally, StudyError> {
        let (data, geometry) = (self.data, &self.geometry);
        let patch = geometry.size / self.patches.0;
        let mut tally = Tally::new(data.classes.len(), 0, self.patches, patch);
        let items = data.split(Split::Train);
        for items in items[..self.train.min(items.len())].chunks(TOGETHER) {
            let maps = items
                .par_iter()
                .map(|item| data.label(item, geometry))
                .collect::<Result<Vec<_>, DataError>>()?;
            for map in maps.into_iter().flatten() {
                tally.add(&map.ids, None, Positions::All)?;
            }
        }
        Ok(tally)
    }
}

/// Whether a data set trains on the images that it tests on.
pub(crate) fn same_images(data: &DataSet) -> bool {
    let (train, test) = (data.split(Split::Train), data.split(Split::Test));
    train.len() == test.len() && train.iter().zip(test).all(|(a, b)| a.image == b.image)
}
