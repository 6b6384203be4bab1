//! What `causes` can be asked for.

use serde::Serialize;
use vitscope_data::DataSet;
use vitscope_probe::MAX_CLUSTERS;
use vitscope_run::Facet;

use crate::error::StudyError;
use crate::layers::Layers;
use crate::settings::{Side, as_text};

/// Clusters where the data set has no classes.
const CLUSTERS_WITHOUT_CLASSES: usize = 27;

/// The settings of a run of `causes`. All of them are written into `run.json`.
#[derive(Clone, Debug, Serialize)]
pub struct CausesSettings {
    /// Asked side of the crop in pixels.
    pub size: usize,
    /// Which layers.
    #[serde(serialize_with = "as_text")]
    pub layers: Layers,
    /// Which facets.
    pub facets: Vec<Facet>,
    /// Which reading of the last token.
    pub token_norm: Side,
    /// Keys and queries before or after rotation.
    pub rope: Side,
    /// Clusters; as many as the data set has classes unless set, 27 without classes.
    pub clusters: Option<usize>,
    /// Training steps of the centroids.
    pub steps: usize,
    /// By how many patches the crop is moved down and right; a fifth of its side unless set.
    pub shift: Option<usize>,
    /// Only the first so many training images.
    pub limit_train: usize,
    /// Only the first so many test images.
    pub limit_test: usize,
    /// Bootstrap samples of the images, and as many random shifts behind the null of the positional effect.
    pub resamples: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

impl Default for CausesSettings {
    fn default() -> Self {
        Self {
            size: 320,
            layers: Layers::All,
            facets: Facet::ALL.to_vec(),
            token_norm: Side::After,
            rope: Side::Before,
            clusters: None,
            steps: 300,
            shift: None,
            limit_train: 48,
            limit_test: 32,
            resamples: 100,
            seed: 0,
        }
    }
}

impl CausesSettings {
    /// Clusters of every slot.
    pub(super) fn clusters(&self, data: &DataSet) -> Result<usize, StudyError> {
        let classes = match data.has_truth() {
            true => data.classes.len(),
            false => CLUSTERS_WITHOUT_CLASSES,
        };
        let clusters = self.clusters.unwrap_or(classes);
        if !(2..=MAX_CLUSTERS).contains(&clusters) {
            return Err(StudyError::setting(format!(
                "`clusters`: {clusters} cannot tell places apart, expected 2 to {MAX_CLUSTERS}"
            )));
        }
        Ok(clusters)
    }

    /// Patches by which the crop is moved, of so many in a row.
    pub(super) fn shift(&self, side: usize) -> Result<usize, StudyError> {
        if side < 2 {
            return Err(StudyError::setting(
                "`size`: the crop has a single patch, which can lie at one place only: choose a larger one",
            ));
        }
        let shift = self.shift.unwrap_or((side / 5).max(1));
        if !(1..side).contains(&shift) {
            return Err(StudyError::setting(format!(
                "`shift`: the crop has {side} x {side} patches, of which a move by {shift} leaves none in common: \
                 choose 1 to {}",
                side - 1
            )));
        }
        Ok(shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_is_moved_by_a_fifth_unless_it_is_said() {
        let of = |shift, side| {
            let settings = CausesSettings {
                shift,
                ..CausesSettings::default()
            };
            settings.shift(side)
        };
        assert_eq!(of(None, 20).unwrap(), 4);
        assert_eq!(of(None, 3).unwrap(), 1);
        assert_eq!(of(Some(19), 20).unwrap(), 19);
        for (shift, side, expected) in [
            (Some(20), 20, "choose 1 to 19"),
            (Some(0), 20, "choose 1 to 19"),
            (None, 1, "a single patch"),
        ] {
            let error = of(shift, side).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
