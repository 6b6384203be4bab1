//! The training of every slot of a run, and how it is stored unfinished.
//!
//! Of the principal directions nothing is kept: they cost one pass over the images, which is done again
//! with the same outcome.

use std::collections::VecDeque;
use std::path::Path;

use vitscope_probe::{AdamSettings, ProbeError, Trainer, TrainerState};

use crate::device::{Learner, Tools};
use crate::error::StudyError;
use crate::state::{self, Found, view};

/// What it is called among unfinished work.
pub(crate) const NAME: &str = "training";

/// Steps whose loss is averaged into the reported one.
pub const LOSS_WINDOW: usize = 100;

/// The trainers of every slot, with their recent losses.
#[derive(Debug)]
pub struct Training {
    /// Steps done.
    pub step: usize,
    /// One per slot.
    pub(crate) trainers: Vec<Learner>,
    /// The last [`LOSS_WINDOW`] losses of each slot.
    pub losses: Vec<VecDeque<f64>>,
}

impl Training {
    /// Trainers that have not taken a step.
    #[must_use]
    pub fn new(trainers: Vec<Trainer>) -> Self {
        Self {
            step: 0,
            losses: vec![VecDeque::new(); trainers.len()],
            trainers: trainers.into_iter().map(Learner::Host).collect(),
        }
    }

    /// Takes every trainer to where its rows will be. An error comes with its slot.
    pub(crate) fn enter(
        &mut self,
        tools: &Tools,
        adam: AdamSettings,
    ) -> Result<(), (usize, ProbeError)> {
        let mut trainers = self.trainers.iter_mut().enumerate();
        trainers.try_for_each(|(slot, trainer)| {
            let entered = trainer.enter(tools, adam);
            entered.map_err(|error| (slot, error))
        })
    }

    /// Takes every trainer back to the host.
    pub(crate) fn leave(&mut self, adam: AdamSettings) -> Result<(), (usize, ProbeError)> {
        let mut trainers = self.trainers.iter_mut().enumerate();
        trainers.try_for_each(|(slot, trainer)| trainer.leave(adam).map_err(|error| (slot, error)))
    }

    /// Ends a step: every trainer moves, and its loss joins the window. Returns the mean loss.
    pub(crate) fn finish_step(&mut self) -> Result<f64, (usize, ProbeError)> {
        use rayon::prelude::*;
        let losses: Vec<Result<f64, ProbeError>> = self
            .trainers
            .par_iter_mut()
            .map(Learner::finish_step)
            .collect();
        let losses = losses.into_iter().enumerate();
        let losses: Vec<f64> = losses
            .map(|(slot, loss)| loss.map_err(|error| (slot, error)))
            .collect::<Result<_, _>>()?;
        for (window, &loss) in self.losses.iter_mut().zip(&losses) {
            if window.len() == LOSS_WINDOW {
                window.pop_front();
            }
            window.push_back(loss);
        }
        self.step += 1;
        Ok(losses.iter().sum::<f64>() / losses.len() as f64)
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
        let states = self.trainers.iter().map(Learner::to_state);
        let states: Vec<TrainerState> =
            states
                .collect::<Result<_, _>>()
                .map_err(|source| StudyError::Probe {
                    slot: "training".to_owned(),
                    source,
                })?;
        let windows: Vec<Vec<f64>> = self
            .losses
            .iter()
            .map(|w| w.iter().copied().collect())
            .collect();
        let mut tensors = Vec::new();
        for (index, (state, window)) in states.iter().zip(&windows).enumerate() {
            let shape = vec![3, state.clusters, state.dim];
            tensors.push((format!("trainer.{index}"), view(run, shape, &state.values)?));
            tensors.push((
                format!("losses.{index}"),
                view(run, vec![window.len()], window)?,
            ));
        }
        state::store(run, NAME, fingerprint, self.step, tensors)
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
        let Some(mut found) = Found::of(run, NAME, fingerprint)? else {
            return Ok(None);
        };
        let mut training = Self {
            step: found.done(),
            trainers: Vec::new(),
            losses: Vec::new(),
        };
        for index in 0..found.names().len() / 2 {
            let stored = found.tensor(&format!("trainer.{index}"))?;
            let [_, clusters, dim] = stored.shape[..] else {
                return Err(found.damaged("a tensor has an odd shape"));
            };
            let state = TrainerState {
                clusters,
                dim,
                steps: found.done() as u64,
                values: stored.f64s(),
            };
            let trainer =
                Trainer::from_state(&state, adam).map_err(|error| found.damaged(error))?;
            training.trainers.push(Learner::Host(trainer));
            let losses = found.tensor(&format!("losses.{index}"))?;
            training.losses.push(losses.f64s().into());
        }
        Ok(Some(training))
    }
}
