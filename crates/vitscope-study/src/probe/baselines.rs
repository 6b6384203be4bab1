//! What can be had from the training labels without looking at an image (protocol 14).

use rayon::prelude::*;
use vitscope_data::{DataError, DataSet, Geometry, Split};
use vitscope_measure::{Baselines, Positions, Tally, baselines};
use vitscope_protocol::Scores;

use crate::error::StudyError;

/// Label maps that are read together.
const TOGETHER: usize = 64;

/// The baselines of a run, and what has to be said about them.
#[derive(Default)]
pub(crate) struct FromLabels {
    /// Absent where the training images have no labels.
    pub(crate) baselines: Option<Baselines>,
    pub(crate) note: Option<String>,
}

/// Counts the labels of the first `train` training images and holds them against the test labels. A label that
/// cannot be read costs the baselines, never the run: training needs no labels.
pub(crate) fn measure(
    data: &DataSet,
    geometry: &Geometry,
    patches: (usize, usize),
    train: usize,
    truth: &Scores,
) -> Result<FromLabels, StudyError> {
    let counted = match count(data, geometry, patches, train) {
        Ok(counted) => counted,
        Err(StudyError::Data(error)) => {
            return Ok(FromLabels {
                note: Some(format!(
                    "Place alone and one class were not measured: {error}"
                )),
                ..FromLabels::default()
            });
        }
        Err(error) => return Err(error),
    };
    let train_labels = counted.position_pixel();
    let baselines = baselines(train_labels.view(), truth.position_pixel.view())?;
    let note = match &baselines {
        None => Some(
            "Place alone and one class were not measured: no training image has labels.".to_owned(),
        ),
        Some(_) if same_images(data) => Some(
            "Place alone and one class come from the labels of the very images that are measured, which flatters them."
                .to_owned(),
        ),
        Some(_) => None,
    };
    Ok(FromLabels { baselines, note })
}

/// How often each pixel has each class in the training labels.
fn count(
    data: &DataSet,
    geometry: &Geometry,
    (rows, columns): (usize, usize),
    train: usize,
) -> Result<Tally, StudyError> {
    let mut tally = Tally::new(data.classes.len(), 0, (rows, columns), geometry.size / rows);
    let items = data.split(Split::Train);
    for items in items[..train.min(items.len())].chunks(TOGETHER) {
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

/// Whether a data set trains on the images that it tests on.
fn same_images(data: &DataSet) -> bool {
    let (train, test) = (data.split(Split::Train), data.split(Split::Test));
    train.len() == test.len() && train.iter().zip(test).all(|(a, b)| a.image == b.image)
}
