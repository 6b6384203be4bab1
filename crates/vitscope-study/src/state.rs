//! What a run keeps of unfinished training, so that it can go on after being stopped or killed.
//!
//! Only the trained centroids are kept: the principal directions and the evaluation each cost one
//! pass over the images and are done again, with the same outcome.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use vitscope_probe::{AdamSettings, Trainer, TrainerState};

use crate::error::StudyError;
use crate::files;

/// Steps whose loss is averaged into the reported one.
pub const LOSS_WINDOW: usize = 100;

/// The trainers of every slot, with their recent losses.
#[derive(Debug)]
pub struct Training {
    /// Steps done.
    pub step: usize,
    /// One per slot.
    pub trainers: Vec<Trainer>,
    /// The last [`LOSS_WINDOW`] losses of each slot.
    pub losses: Vec<VecDeque<f64>>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    fingerprint: String,
    step: usize,
}

/// The folder of unfinished work.
#[must_use]
pub fn folder(run: &Path) -> PathBuf {
    run.join("state")
}

fn file(run: &Path) -> PathBuf {
    folder(run).join("training.safetensors")
}

impl Training {
    /// Trainers that have not taken a step.
    #[must_use]
    pub fn new(trainers: Vec<Trainer>) -> Self {
        Self {
            step: 0,
            losses: vec![VecDeque::new(); trainers.len()],
            trainers,
        }
    }

    /// Ends a step: every trainer moves, and its loss joins the window. Returns the mean loss.
    pub fn finish_step(&mut self) -> f64 {
        use rayon::prelude::*;
        let losses: Vec<f64> = self
            .trainers
            .par_iter_mut()
            .map(Trainer::finish_step)
            .collect();
        for (window, &loss) in self.losses.iter_mut().zip(&losses) {
            if window.len() == LOSS_WINDOW {
                window.pop_front();
            }
            window.push_back(loss);
        }
        self.step += 1;
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    /// The mean of a slot's recent losses; `None` before the first step.
    #[must_use]
    pub fn recent_loss(&self, slot: usize) -> Option<f64> {
        let window = &self.losses[slot];
        (!window.is_empty()).then(|| window.iter().sum::<f64>() / window.len() as f64)
    }

    /// Stores the trainers as they are between two steps.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, run: &Path, fingerprint: &str) -> Result<(), StudyError> {
        let states: Vec<TrainerState> = self.trainers.iter().map(Trainer::to_state).collect();
        let path = file(run);
        let windows: Vec<Vec<f64>> = self
            .losses
            .iter()
            .map(|w| w.iter().copied().collect())
            .collect();
        let mut tensors = Vec::new();
        for (index, (state, window)) in states.iter().zip(&windows).enumerate() {
            let shape = vec![3, state.clusters, state.dim];
            tensors.push((
                format!("trainer.{index}"),
                view(&path, shape, &state.values)?,
            ));
            tensors.push((
                format!("losses.{index}"),
                view(&path, vec![window.len()], window)?,
            ));
        }
        let header = Header {
            fingerprint: fingerprint.to_owned(),
            step: self.step,
        };
        let header = serde_json::to_string(&header)
            .map_err(|error| StudyError::file(&path, format!("cannot be described: {error}")))?;
        files::write_tensors(&path, tensors, Some(("training", header)))
    }

    /// Takes up stored trainers; `None` where there are none.
    ///
    /// # Errors
    /// When they are damaged or belong to a run of other settings, model or data.
    pub fn load(
        run: &Path,
        fingerprint: &str,
        adam: AdamSettings,
    ) -> Result<Option<Self>, StudyError> {
        let path = file(run);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StudyError::io(&path, "read")(error)),
        };
        let damaged = |problem: String| {
            StudyError::file(
                &path,
                format!("is damaged ({problem}): start the run again without --resume"),
            )
        };
        let text = |error: &dyn std::fmt::Display| damaged(error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| text(&error))?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|map| map.get("training"));
        let header: Header = serde_json::from_str(header.map_or("", String::as_str))
            .map_err(|error| text(&error))?;
        if header.fingerprint != fingerprint {
            return Err(StudyError::setting(format!(
                "{}: belongs to a run of other settings, model, data or program version: repeat the command that began it, or choose another --out",
                run.display()
            )));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| text(&error))?;
        let mut training = Self {
            step: header.step,
            trainers: Vec::new(),
            losses: Vec::new(),
        };
        for index in 0..tensors.len() / 2 {
            let tensor = |name: String| tensors.tensor(&name).map_err(|error| text(&error));
            let stored = tensor(format!("trainer.{index}"))?;
            let [_, clusters, dim] = stored.shape()[..] else {
                return Err(damaged("a tensor has an odd shape".to_owned()));
            };
            let state = TrainerState {
                clusters,
                dim,
                steps: header.step as u64,
                values: numbers(&stored),
            };
            let trainer = Trainer::from_state(&state, adam).map_err(|error| text(&error))?;
            training.trainers.push(trainer);
            training
                .losses
                .push(numbers(&tensor(format!("losses.{index}"))?).into());
        }
        Ok(Some(training))
    }
}

fn view<'a>(
    path: &Path,
    shape: Vec<usize>,
    values: &'a [f64],
) -> Result<TensorView<'a>, StudyError> {
    TensorView::new(Dtype::F64, shape, bytemuck::cast_slice(values))
        .map_err(|error| StudyError::file(path, format!("cannot be written: {error}")))
}

fn numbers(tensor: &TensorView<'_>) -> Vec<f64> {
    let (values, _) = tensor.data().as_chunks::<8>();
    values
        .iter()
        .map(|bytes| f64::from_le_bytes(*bytes))
        .collect()
}
