//! What an unfinished run keeps, so that it can go on: centroids once they are fitted, then the labels of the images that
//! were shown.

use std::path::Path;
use std::time::Instant;

use ndarray::Array2;
use safetensors::tensor::Dtype;
use vitscope_run::tensors::{Lazy, Stored};

use super::image_labels::ImageLabels;
use crate::error::StudyError;
use crate::evaluate::hash_of;
use crate::state::{self, Origin, SAVE_INTERVAL, StoredState};

/// The files in the folder of unfinished work.
const CENTROIDS: &str = "centroids";
const LABELS: &str = "views";

/// Where a run keeps what is done of it.
pub(super) struct CausesState<'a> {
    pub(super) run: &'a Path,
    pub(super) fingerprint: &'a str,
    /// Views, slots and patches of an image's labels.
    pub(super) shape: [usize; 3],
    pub(super) has_truth: bool,
}

impl CausesState<'_> {
    /// The centroids `[K, D]` of every slot; `None` where they are not fitted yet.
    pub(super) fn centroids(&self) -> Result<Option<Vec<Array2<f32>>>, StudyError> {
        let Some(mut found) = StoredState::of(self.run, CENTROIDS, self.fingerprint.into())? else {
            return Ok(None);
        };
        let odd = "a tensor has an odd shape";
        let mut of_slot = |slot: usize| -> Result<Array2<f32>, StudyError> {
            let stored = found.tensor(&format!("slot.{slot}"))?;
            let [clusters, width] = stored.shape[..] else {
                return Err(found.damaged(odd));
            };
            let centroids = Array2::from_shape_vec((clusters, width), stored.f32s());
            centroids.map_err(|_| found.damaged(odd))
        };
        let [_, slots, _] = self.shape;
        (0..slots)
            .map(&mut of_slot)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(super) fn store_centroids(&self, centroids: &[Array2<f32>]) -> Result<(), StudyError> {
        let tensors = centroids.iter().enumerate().map(|(slot, centroids)| {
            let bytes: Vec<u8> = centroids
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            let lazy = Lazy::of(Dtype::F32, centroids.shape().to_vec(), bytes);
            (format!("slot.{slot}"), lazy)
        });
        let (origin, tensors) = (self.fingerprint.into(), tensors.collect());
        state::store_lazily(self.run, CENTROIDS, origin, centroids.len(), tensors)
    }

    /// The labels of the first images, as many as were stored.
    pub(super) fn labels(&self, hash: &str) -> Result<Vec<ImageLabels>, StudyError> {
        let Some(mut found) = StoredState::of(self.run, LABELS, self.origin(hash))? else {
            return Ok(Vec::new());
        };
        let [views, slots, patches] = self.shape;
        let images = found.done();
        let sized = |found: &StoredState, stored: Stored, each: usize| match stored.bytes.len()
            == images * each
        {
            true => Ok(stored.bytes),
            false => Err(found.damaged("a tensor has an odd shape")),
        };
        let stored = found.tensor("labels")?;
        let labels = sized(&found, stored, views * slots * patches)?;
        let truth = match self.has_truth {
            true => {
                let stored = found.tensor("truth")?;
                Some(sized(&found, stored, patches)?)
            }
            false => None,
        };
        let of_image = |image: usize| {
            let own = &labels[image * views * slots * patches..];
            let view = |view: usize| {
                let own = &own[view * slots * patches..][..slots * patches];
                own.chunks_exact(patches).map(<[u8]>::to_vec).collect()
            };
            ImageLabels {
                labels: (0..views).map(view).collect(),
                truth: truth
                    .as_ref()
                    .map(|truth| truth[image * patches..][..patches].to_vec()),
            }
        };
        Ok((0..images).map(of_image).collect())
    }

    fn store_labels(&self, hash: &str, images: &[ImageLabels]) -> Result<(), StudyError> {
        let [views, slots, patches] = self.shape;
        let labels = images
            .iter()
            .flat_map(|image| image.labels.iter().flatten());
        let labels: Vec<u8> = labels.flatten().copied().collect();
        let shape = vec![images.len(), views, slots, patches];
        let mut tensors = vec![("labels".to_owned(), Lazy::of(Dtype::U8, shape, labels))];
        if self.has_truth {
            let truth = images.iter().flat_map(|image| image.truth.iter().flatten());
            let truth: Vec<u8> = truth.copied().collect();
            let lazy = Lazy::of(Dtype::U8, vec![images.len(), patches], truth);
            tensors.push(("truth".to_owned(), lazy));
        }
        state::store_lazily(self.run, LABELS, self.origin(hash), images.len(), tensors)
    }

    fn origin<'a>(&'a self, codebooks: &'a str) -> Origin<'a> {
        Origin {
            run: self.fingerprint,
            codebooks,
        }
    }
}

/// Stores labels while they are made.
pub(super) struct Storing<'a> {
    kept: &'a CausesState<'a>,
    hash: String,
    last: Instant,
}

impl<'a> Storing<'a> {
    /// Of labels by these centroids.
    pub(super) fn new(kept: &'a CausesState<'a>, centroids: &[Array2<f32>]) -> Self {
        Self {
            kept,
            hash: hash_of(centroids),
            last: Instant::now(),
        }
    }

    /// The labels that were stored before.
    pub(super) fn before(&self) -> Result<Vec<ImageLabels>, StudyError> {
        self.kept.labels(&self.hash)
    }

    /// Stores the labels so far where it is time, or where the run stops here.
    pub(super) fn store(&mut self, images: &[ImageLabels], stops: bool) -> Result<(), StudyError> {
        if stops || self.last.elapsed() > SAVE_INTERVAL {
            self.kept.store_labels(&self.hash, images)?;
            self.last = Instant::now();
        }
        match stops {
            true => Err(self.kept.interrupted()),
            false => Ok(()),
        }
    }
}

impl CausesState<'_> {
    /// What is said where the user stops the run.
    pub(super) fn interrupted(&self) -> StudyError {
        StudyError::Interrupted {
            run: self.run.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn state(run: &Path, has_truth: bool) -> CausesState<'_> {
        CausesState {
            run,
            fingerprint: "run",
            shape: [2, 1, 4],
            has_truth,
        }
    }

    fn image(labels: [[u8; 4]; 2], truth: Option<[u8; 4]>) -> ImageLabels {
        ImageLabels {
            labels: labels.iter().map(|view| vec![view.to_vec()]).collect(),
            truth: truth.map(|truth| truth.to_vec()),
        }
    }

    #[test]
    fn centroids_come_back_as_they_were_stored() {
        let folder = tempfile::tempdir().unwrap();
        let kept = state(folder.path(), false);
        assert!(kept.centroids().unwrap().is_none());
        let centroids = [array![[0.6_f32, 0.8], [1.0, -0.0]]];
        kept.store_centroids(&centroids).unwrap();
        assert_eq!(kept.centroids().unwrap().unwrap(), centroids);
    }

    #[test]
    fn labels_come_back_for_the_centroids_that_gave_them() {
        for truth in [None, Some([0, 1, 255, 1])] {
            let folder = tempfile::tempdir().unwrap();
            let kept = state(folder.path(), truth.is_some());
            let centroids = [array![[1.0_f32, 0.0]]];
            let images = [
                image([[0, 1, 2, 3], [3, 2, 1, 0]], truth),
                image([[7; 4], [8; 4]], truth),
            ];
            let mut storing = Storing::new(&kept, &centroids);
            assert_eq!(storing.before().unwrap(), []);
            // It is not time yet, and then the user stops the run.
            storing.store(&images[..1], false).unwrap();
            assert_eq!(storing.before().unwrap(), []);
            let stopped = storing.store(&images, true).unwrap_err();
            assert!(matches!(stopped, StudyError::Interrupted { .. }));
            assert_eq!(storing.before().unwrap(), images);
            let other = Storing::new(&kept, &[array![[0.0_f32, 1.0]]]);
            assert!(other.before().is_err());
        }
    }
}
