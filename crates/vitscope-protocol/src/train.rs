//! The second pass: online cosine k-means (docs/protocol.md section 4).

use std::collections::VecDeque;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use vitscope_probe::{AdamSettings, Dispersion, ProbeError, Spread, Trainer, TrainerState};

use crate::device::{Learners, PatchRows, Site};
use crate::error::ProtocolError;
use crate::sharing::{Setup, SharedOrder};

/// Steps whose loss is averaged into the reported one.
pub const LOSS_WINDOW: usize = 100;

/// The trainers of every slot of a setup, with their recent losses.
#[derive(Debug)]
pub struct Training {
    step: usize,
    trainers: Learners,
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
        let (mut trainers, mut spreads, mut samples) = (Vec::new(), Vec::new(), Vec::new());
        for beginning in beginnings {
            trainers.push(beginning.trainer);
            spreads.push(beginning.spread);
            samples.push(beginning.sample);
        }
        Self {
            step: 0,
            losses: vec![VecDeque::new(); trainers.len()],
            trainers: Learners::Host(trainers),
            spreads,
            samples,
        }
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
        let pairs = self.trainers.at_rest()?.par_iter().zip(&self.samples);
        let found = pairs.map(|(trainer, sample)| {
            let codebook = trainer.codebook();
            let is_told = sample.ncols() == codebook.ncols();
            is_told
                .then(|| Dispersion::of(sample.view(), codebook.view()))
                .flatten()
        });
        Ok(found.collect())
    }

    /// The centroids of every slot at unit length.
    ///
    /// # Shapes
    /// `[K, D]` each.
    ///
    /// # Errors
    /// [`ProtocolError::Elsewhere`] in the middle of a pass on a device.
    pub fn codebooks(&self) -> Result<Vec<Array2<f32>>, ProtocolError> {
        let trainers = self.trainers.at_rest()?.iter();
        Ok(trainers.map(Trainer::codebook).collect())
    }

    /// Everything as plain numbers, as it was after the last whole step.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] when a device refuses.
    pub fn to_state(&self) -> Result<TrainingState, ProtocolError> {
        let trainers = self.trainers.to_states().map_err(ProtocolError::stage(0))?;
        let slots = trainers.into_iter().enumerate();
        let slots = slots.map(|(slot, trainer)| SlotState {
            trainer,
            losses: self.losses[slot].iter().copied().collect(),
            spread: self.spreads[slot],
            sample: self.samples[slot].clone(),
        });
        Ok(TrainingState {
            step: self.step,
            slots: slots.collect(),
        })
    }

    /// The inverse of [`to_state`](Self::to_state); Adam's settings are the setup's, not the state's.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] for a state that no trainer can have; the number is that of the slot.
    pub fn from_state(state: TrainingState, adam: AdamSettings) -> Result<Self, ProtocolError> {
        let (mut losses, mut spreads, mut samples) = (Vec::new(), Vec::new(), Vec::new());
        let mut trainers = Vec::new();
        for (slot, state) in state.slots.into_iter().enumerate() {
            let trainer = Trainer::from_state(&state.trainer, adam);
            trainers.push(trainer.map_err(ProtocolError::stage(slot))?);
            losses.push(state.losses.into());
            spreads.push(state.spread);
            samples.push(state.sample);
        }
        Ok(Self {
            step: state.step,
            trainers: Learners::Host(trainers),
            losses,
            spreads,
            samples,
        })
    }

    /// Adds rows to the current step, each with slot and reading.
    pub(crate) fn add(
        &mut self,
        rows: &[(usize, usize, &PatchRows<'_>)],
        site: &mut Site,
    ) -> Result<(), ProtocolError> {
        self.trainers.add(rows, site)
    }

    /// Ends a step: every trainer moves, and its loss joins the window. Returns the mean loss; an error comes
    /// with its slot.
    pub(crate) fn finish_step(&mut self) -> Result<f64, (usize, ProbeError)> {
        let losses = self.trainers.finish_step()?;
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
            let trainers = &mut pass.trainings[index].trainers;
            let entered = trainers.enter(&pass.site, setup.protocol().adam());
            entered.map_err(ProtocolError::stage(first_reading(setup)))?;
        }
        Ok(pass)
    }

    /// Adds a batch to the round: some of its readings, by number. On a card, those that lie alike go faster together.
    ///
    /// # Shapes
    /// Rows: `[B, N, D]`.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`], [`ProtocolError::Elsewhere`].
    pub fn add(&mut self, readings: &[(usize, PatchRows<'_>)]) -> Result<(), ProtocolError> {
        for taker in &self.shared.rounds[self.round].takers {
            let index = self.shared.setups[taker.index];
            let setup = self.setups[index];
            let own = readings
                .iter()
                .filter_map(|(reading, rows)| Some((setup.slot(*reading)?, *reading, rows)));
            let own: Vec<(usize, usize, &PatchRows<'_>)> = own.collect();
            self.trainings[index].add(&own, &mut self.site)?;
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
            let left = self.trainings[index]
                .trainers
                .leave(setup.protocol().adam());
            left.map_err(ProtocolError::stage(first_reading(setup)))?;
        }
        Ok(())
    }
}

/// The reading by which an error is known that is of no slot in particular.
fn first_reading(setup: &Setup) -> usize {
    setup.readings().first().copied().unwrap_or(0)
}
