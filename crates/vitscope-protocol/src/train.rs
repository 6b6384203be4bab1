//! The second pass: online cosine k-means (docs/protocol.md section 4).

use std::collections::VecDeque;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use vitscope_probe::{AdamSettings, Dispersion, ProbeError, Spread, Trainer, TrainerState};

use crate::device::{Learner, PatchRows, Site};
use crate::error::ProtocolError;
use crate::sharing::{Setup, SharedOrder};

/// Steps whose loss is averaged into the reported one.
pub const LOSS_WINDOW: usize = 100;

/// The trainers of every slot of a setup, with their recent losses.
#[derive(Debug)]
pub struct Training {
    step: usize,
    trainers: Vec<Learner>,
    /// The last [`LOSS_WINDOW`] losses of each slot.
    losses: Vec<VecDeque<f64>>,
    /// How the vectors of each slot are spread that it started from.
    spreads: Vec<Option<Spread>>,
    /// Some of these vectors, `[n, D]` a slot.
    samples: Vec<Array2<f32>>,
}

/// What a slot begins with.
pub(crate) struct Beginning {
    pub(crate) trainer: Trainer,
    pub(crate) spread: Option<Spread>,
    pub(crate) sample: Array2<f32>,
}

/// A [`Training`] between two steps as plain numbers, for storing.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingState {
    /// Steps done.
    pub step: usize,
    /// Per slot.
    pub slots: Vec<SlotState>,
}

/// One slot of a [`TrainingState`].
#[derive(Clone, Debug, PartialEq)]
pub struct SlotState {
    /// Parameters and the state of Adam.
    pub trainer: TrainerState,
    /// Recent losses, the oldest first.
    pub losses: Vec<f64>,
    /// How the vectors are spread that it started from, where that is known.
    pub spread: Option<Spread>,
    /// Some of these vectors, `[n, D]`, by which clusters are told apart in the end; none where nothing is to be told.
    pub sample: Array2<f32>,
}

impl Training {
    /// Trainers that have not taken a step.
    pub(crate) fn new(beginnings: Vec<Beginning>) -> Self {
        let mut training = Self {
            step: 0,
            losses: vec![VecDeque::new(); beginnings.len()],
            trainers: Vec::new(),
            spreads: Vec::new(),
            samples: Vec::new(),
        };
        for beginning in beginnings {
            training.trainers.push(Learner::Host(beginning.trainer));
            training.spreads.push(beginning.spread);
            training.samples.push(beginning.sample);
        }
        training
    }

    /// Steps done.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// The mean of a slot's recent losses; `None` before the first step.
    #[must_use]
    pub fn recent_loss(&self, slot: usize) -> Option<f64> {
        let window = &self.losses[slot];
        (!window.is_empty()).then(|| window.iter().sum::<f64>() / window.len() as f64)
    }

    /// How the vectors of a slot are spread that it started from (protocol 14); `None` where that is not known or
    /// not defined.
    #[must_use]
    pub fn spread(&self, slot: usize) -> Option<Spread> {
        self.spreads[slot]
    }

    /// Some of the vectors that a slot started from, `[n, D]`.
    #[must_use]
    pub fn sample(&self, slot: usize) -> ArrayView2<'_, f32> {
        self.samples[slot].view()
    }

    /// How far the clusters of every slot lie apart and how wide they are, by the vectors that were kept (protocol
    /// 14); `None` where too few clusters have any.
    ///
    /// # Errors
    /// [`ProtocolError::Elsewhere`] in the middle of a pass on a device.
    pub fn dispersions(&self) -> Result<Vec<Option<Dispersion>>, ProtocolError> {
        let pairs = self.trainers.par_iter().zip(&self.samples);
        let found = pairs.map(|(trainer, sample)| {
            let codebook = trainer.codebook()?;
            let is_told = sample.ncols() == codebook.ncols();
            Ok(is_told
                .then(|| Dispersion::of(sample.view(), codebook.view()))
                .flatten())
        });
        found.collect()
    }

    /// The centroids of every slot at unit length.
    ///
    /// # Shapes
    /// `[K, D]` each.
    ///
    /// # Errors
    /// [`ProtocolError::Elsewhere`] in the middle of a pass on a device.
    pub fn codebooks(&self) -> Result<Vec<Array2<f32>>, ProtocolError> {
        self.trainers.iter().map(Learner::codebook).collect()
    }

    /// Everything as plain numbers, as it was after the last whole step.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] when a device refuses; the number is that of the slot.
    pub fn to_state(&self) -> Result<TrainingState, ProtocolError> {
        let slots = self.trainers.iter().enumerate();
        let slots = slots.map(|(slot, trainer)| {
            Ok(SlotState {
                trainer: trainer.to_state().map_err(ProtocolError::stage(slot))?,
                losses: self.losses[slot].iter().copied().collect(),
                spread: self.spreads[slot],
                sample: self.samples[slot].clone(),
            })
        });
        Ok(TrainingState {
            step: self.step,
            slots: slots.collect::<Result<_, ProtocolError>>()?,
        })
    }

    /// The inverse of [`to_state`](Self::to_state); Adam's settings are the setup's, not the state's.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] for a state that no trainer can have; the number is that of the slot.
    pub fn from_state(state: TrainingState, adam: AdamSettings) -> Result<Self, ProtocolError> {
        let mut training = Self {
            step: state.step,
            trainers: Vec::new(),
            losses: Vec::new(),
            spreads: Vec::new(),
            samples: Vec::new(),
        };
        for (slot, state) in state.slots.into_iter().enumerate() {
            let trainer = Trainer::from_state(&state.trainer, adam);
            let trainer = trainer.map_err(ProtocolError::stage(slot))?;
            training.trainers.push(Learner::Host(trainer));
            training.losses.push(state.losses.into());
            training.spreads.push(state.spread);
            training.samples.push(state.sample);
        }
        Ok(training)
    }

    /// Adds rows to the current step of a slot.
    pub(crate) fn add(
        &mut self,
        slot: usize,
        reading: usize,
        rows: &PatchRows<'_>,
        site: &mut Site,
    ) -> Result<(), ProtocolError> {
        self.trainers[slot].add(rows, site, ProtocolError::stage(reading))
    }

    /// Ends a step: every trainer moves, and its loss joins the window. Returns the mean loss; an error comes
    /// with its slot.
    pub(crate) fn finish_step(&mut self) -> Result<f64, (usize, ProbeError)> {
        for (slot, trainer) in self.trainers.iter_mut().enumerate() {
            trainer.begin_step().map_err(|error| (slot, error))?;
        }
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
}

/// Training of the setups of one [`SharedOrder`].
#[derive(Debug)]
pub struct TrainPass<'a> {
    shared: &'a SharedOrder,
    setups: &'a [&'a Setup],
    trainings: &'a mut [Training],
    site: Site,
    /// The round that is being taught.
    round: usize,
}

impl<'a> TrainPass<'a> {
    /// A pass in which nothing was seen; `setups` and `trainings` are all of them, as `shared` numbers them.
    /// The rows will lie at `site`.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] when a device refuses.
    pub fn new(
        shared: &'a SharedOrder,
        setups: &'a [&'a Setup],
        trainings: &'a mut [Training],
        site: Site,
    ) -> Result<Self, ProtocolError> {
        let pass = Self {
            shared,
            setups,
            trainings,
            site,
            round: 0,
        };
        for &index in &shared.setups {
            let setup = pass.setups[index];
            let learners = pass.trainings[index].trainers.iter_mut();
            for (learner, &reading) in learners.zip(setup.readings()) {
                let entered = learner.enter(&pass.site, setup.protocol().adam());
                entered.map_err(ProtocolError::stage(reading))?;
            }
        }
        Ok(pass)
    }

    /// Adds a batch of one reading to the round.
    ///
    /// # Shapes
    /// `rows`: `[B, N, D]`.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`], [`ProtocolError::Elsewhere`].
    pub fn add(&mut self, reading: usize, rows: &PatchRows<'_>) -> Result<(), ProtocolError> {
        for taker in &self.shared.rounds[self.round].takers {
            let index = self.shared.setups[taker.index];
            if let Some(slot) = self.setups[index].slot(reading) {
                self.trainings[index].add(slot, reading, rows, &mut self.site)?;
            }
        }
        Ok(())
    }

    /// Ends the round, and the steps that end with it. Returns the mean loss over slots of the last of these;
    /// `None` where no step ended.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] when a device refuses.
    pub fn end_round(&mut self) -> Result<Option<f64>, ProtocolError> {
        let mut loss = None;
        for taker in &self.shared.rounds[self.round].takers {
            if taker.ends_step {
                let index = self.shared.setups[taker.index];
                let readings = self.setups[index].readings();
                let step = self.trainings[index].finish_step();
                let failed = |(slot, error): (usize, _)| ProtocolError::Stage {
                    reading: readings[slot],
                    error,
                };
                loss = Some(step.map_err(failed)?);
            }
        }
        self.round += 1;
        Ok(loss)
    }

    /// All trainings as they are. One in the middle of a step is stored as it was before that step.
    #[must_use]
    pub fn trainings(&self) -> &[Training] {
        self.trainings
    }

    /// Ends the pass: the trainings lie on the host again.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] when a device refuses.
    pub fn finish(self) -> Result<(), ProtocolError> {
        for &index in &self.shared.setups {
            let setup = self.setups[index];
            let learners = self.trainings[index].trainers.iter_mut();
            for (learner, &reading) in learners.zip(setup.readings()) {
                let left = learner.leave(setup.protocol().adam());
                left.map_err(ProtocolError::stage(reading))?;
            }
        }
        Ok(())
    }
}
