//! How the training of a run is stored unfinished.
//!
//! Of the principal directions nothing is kept: they cost one pass over the images, which is done again
//! with the same outcome.

use std::path::Path;

use vitscope_probe::{AdamSettings, TrainerState};
use vitscope_protocol::{ProtocolError, SlotState, TrainingState};

use crate::error::StudyError;
use crate::state::{self, Found, view};

pub(crate) use vitscope_protocol::Training;

/// What it is called among unfinished work.
pub(crate) const NAME: &str = "training";

/// Stores the trainers as they are between two steps.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn save(training: &Training, run: &Path, fingerprint: &str) -> Result<(), StudyError> {
    let state = training.to_state().map_err(failed)?;
    let mut tensors = Vec::new();
    for (index, slot) in state.slots.iter().enumerate() {
        let shape = vec![3, slot.trainer.clusters, slot.trainer.dim];
        let values = view(run, shape, &slot.trainer.values)?;
        tensors.push((format!("trainer.{index}"), values));
        let losses = view(run, vec![slot.losses.len()], &slot.losses)?;
        tensors.push((format!("losses.{index}"), losses));
    }
    state::store(run, NAME, fingerprint, state.step, tensors)
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
    let Some(mut found) = Found::of(run, NAME, fingerprint)? else {
        return Ok(None);
    };
    let mut state = TrainingState {
        step: found.done(),
        slots: Vec::new(),
    };
    for index in 0..found.names().len() / 2 {
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
        state.slots.push(SlotState { trainer, losses });
    }
    let training = Training::from_state(state, adam);
    Ok(Some(training.map_err(|error| found.damaged(error))?))
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
