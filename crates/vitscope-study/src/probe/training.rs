//! How the training of a run is stored unfinished.
//!
//! Of the principal directions nothing is kept: they cost one pass over the images, which is done again
//! with the same outcome.

use std::path::Path;

use ndarray::Array2;
use safetensors::tensor::{Dtype, TensorView};
use vitscope_probe::{AdamSettings, Spread, TrainerState};
use vitscope_protocol::{ProtocolError, SlotState, TrainingState};

use crate::error::StudyError;
use crate::state::{self, StoredState, view};

pub(crate) use vitscope_protocol::Training;

/// What it is called among unfinished work.
pub(crate) const NAME: &str = "training";

/// Stores the trainers as they are between two steps.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn save(training: &Training, run: &Path, fingerprint: &str) -> Result<(), StudyError> {
    let state = training.to_state().map_err(failed)?;
    let spreads: Vec<Option<[f64; 6]>> = state
        .slots
        .iter()
        .map(|slot| slot.spread.map(numbers))
        .collect();
    let mut tensors = Vec::new();
    for (index, (slot, spread)) in state.slots.iter().zip(&spreads).enumerate() {
        let shape = vec![3, slot.trainer.clusters, slot.trainer.dim];
        let values = view(run, shape, &slot.trainer.values)?;
        tensors.push((format!("trainer.{index}"), values));
        let losses = view(run, vec![slot.losses.len()], &slot.losses)?;
        tensors.push((format!("losses.{index}"), losses));
        if let Some(spread) = spread {
            tensors.push((format!("spread.{index}"), view(run, vec![6], spread)?));
        }
        let values = bytemuck::cast_slice(slot.sample.as_slice().unwrap_or_default());
        let sample = TensorView::new(Dtype::F32, slot.sample.shape().to_vec(), values);
        let sample =
            sample.map_err(|error| StudyError::file(run, format!("cannot be stored: {error}")))?;
        tensors.push((format!("sample.{index}"), sample));
    }
    state::store(run, NAME, fingerprint.into(), state.step, tensors)
}

/// Takes up the trainers of another run, which makes the same codebooks.
///
/// # Errors
/// When there are none, and when they are damaged or belong to a run of other settings, model or data.
pub(crate) fn load_from(
    other: &Path,
    fingerprint: &str,
    adam: AdamSettings,
) -> Result<Training, StudyError> {
    if StoredState::open(other, NAME)?.is_some_and(|found| !found.is_of(fingerprint)) {
        return Err(StudyError::setting(format!(
            "{}: was trained with other settings, model, data or program version: ask for the same ones, or leave `trained` out",
            other.display()
        )));
    }
    load(other, fingerprint, adam)?.ok_or_else(|| {
        StudyError::file(
            other,
            "holds no training: give `trained` the directory of a shard, or of a run that was stopped",
        )
    })
}

/// Takes up stored trainers; `None` where there are none.
///
/// # Errors
/// When they are damaged or belong to a run of other settings, model or data.
pub(crate) fn load(
    run: &Path,
    fingerprint: &str,
    adam: AdamSettings,
) -> Result<Option<Training>, StudyError> {
    let Some(mut found) = StoredState::of(run, NAME, fingerprint.into())? else {
        return Ok(None);
    };
    let mut state = TrainingState {
        step: found.done(),
        slots: Vec::new(),
    };
    let names = found.names();
    let slots = names.iter().filter(|name| name.starts_with("trainer."));
    for index in 0..slots.count() {
        let stored = found.tensor(&format!("trainer.{index}"))?;
        let [_, clusters, dim] = stored.shape[..] else {
            return Err(found.damaged("a tensor has an odd shape"));
        };
        let trainer = TrainerState {
            clusters,
            dim,
            steps: found.done() as u64,
            values: stored.f64s(),
        };
        let losses = found.tensor(&format!("losses.{index}"))?.f64s();
        let name = format!("spread.{index}");
        let spread = match names.contains(&name) {
            true => {
                let numbers = found.tensor(&name)?.f64s();
                Some(spread(&numbers).ok_or_else(|| found.damaged("a tensor has an odd shape"))?)
            }
            false => None,
        };
        let stored = found.tensor(&format!("sample.{index}"))?;
        let shape: [usize; 2] = (&stored.shape[..])
            .try_into()
            .map_err(|_| found.damaged("a tensor has an odd shape"))?;
        let sample = Array2::from_shape_vec(shape, stored.f32s());
        let sample = sample.map_err(|error| found.damaged(error))?;
        state.slots.push(SlotState {
            trainer,
            losses,
            spread,
            sample,
        });
    }
    let training = Training::from_state(state, adam);
    Ok(Some(training.map_err(|error| found.damaged(error))?))
}

/// A spread as plain numbers; what is undefined is not a number.
fn numbers(spread: Spread) -> [f64; 6] {
    [
        spread.common_direction.unwrap_or(f64::NAN),
        spread.channel_top1,
        spread.channel_top3,
        spread.channel_top10,
        spread.participation,
        spread.effective_rank.unwrap_or(f64::NAN),
    ]
}

/// The inverse of [`numbers`].
fn spread(numbers: &[f64]) -> Option<Spread> {
    let &[direction, top1, top3, top10, participation, rank] = numbers else {
        return None;
    };
    Some(Spread {
        common_direction: Some(direction).filter(|direction| !direction.is_nan()),
        channel_top1: top1,
        channel_top3: top3,
        channel_top10: top10,
        participation,
        effective_rank: Some(rank).filter(|rank| !rank.is_nan()),
    })
}

/// A trainer's state that its device does not give back.
fn failed(error: ProtocolError) -> StudyError {
    match error {
        ProtocolError::Stage { error, .. } => StudyError::Probe {
            slot: "training".to_owned(),
            source: error,
        },
        error => StudyError::Protocol(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn state(spread: Option<Spread>) -> TrainingState {
        TrainingState {
            step: 7,
            slots: vec![SlotState {
                trainer: TrainerState {
                    clusters: 2,
                    dim: 2,
                    steps: 7,
                    values: (0..12).map(|value| f64::from(value) / 8.0 + 0.1).collect(),
                },
                losses: vec![0.5, 0.25],
                spread,
                sample: Array2::from_elem((3, 2), 0.5),
            }],
        }
    }

    #[test]
    fn a_training_comes_back_as_it_was_stored() {
        let spread = Spread {
            common_direction: None,
            channel_top1: 0.1,
            channel_top3: 0.2,
            channel_top10: 0.3,
            participation: 4.0,
            effective_rank: Some(5.0),
        };
        let adam = Settings::default().adam();
        for spread in [None, Some(spread)] {
            let run = tempfile::tempdir().unwrap();
            assert!(load(run.path(), "one", adam).unwrap().is_none());
            let training = Training::from_state(state(spread), adam).unwrap();
            save(&training, run.path(), "one").unwrap();
            let found = load(run.path(), "one", adam).unwrap().unwrap();
            assert_eq!(found.to_state().unwrap(), state(spread));
            assert_eq!((found.step(), found.recent_loss(0)), (7, Some(0.375)));
            assert!(load(run.path(), "another", adam).is_err());
        }
    }

    #[test]
    fn a_spread_has_six_numbers() {
        assert_eq!(spread(&[0.0; 5]), None);
        assert_eq!(spread(&[0.0; 7]), None);
    }
}
