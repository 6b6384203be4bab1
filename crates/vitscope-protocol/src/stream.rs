//! One probe whose embeddings come as they are made: in a training loop, or from a loader that cannot be
//! asked twice.

use ndarray::{Array3, ArrayView3};

use crate::device::{PatchRows, Site};
use crate::error::{ProtocolError, check};
use crate::probe::Probe;
use crate::settings::CheckedProtocol;
use crate::start::Gathered;
use crate::train::{Training, TrainingState};

/// A probe that is fed: [`observe`](Self::observe) some batches, [`start`](Self::start), then one
/// [`step`](Self::step) per batch. At any time after the start, [`probe`](Self::probe) gives what was learned
/// so far.
///
/// Order, shuffle and number of steps are the caller's. One who observes the images of
/// [`start_images`](CheckedProtocol::start_images) and steps through the batches of
/// [`order`](CheckedProtocol::order) gets the bytes of [`fit`](CheckedProtocol::fit).
///
/// ```
/// use ndarray::Array3;
/// use vitscope_protocol::{Protocol, ProtocolError};
///
/// // Batches of 4 images of 2 x 2 patches, 6 numbers each.
/// let batch = |seed: usize| {
///     Array3::from_shape_fn((4, 4, 6), |(b, n, d)| ((seed + 7 * b + 3 * n) * (d + 1)) as f32 % 5.0 - 2.0)
/// };
/// let mut stream = Protocol::new(3).check()?.stream((2, 2), 6)?;
/// stream.observe(batch(0).view())?;
/// stream.start()?;
/// let first = stream.step(batch(0).view())?;
/// for seed in 1..50 {
///     stream.step(batch(seed).view())?;
/// }
/// assert!(stream.step(batch(0).view())? < first);
/// assert_eq!(stream.label(batch(0).view(), 8)?.dim(), (4, 16, 16));
/// # Ok::<(), ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct ProbeStream {
    protocol: CheckedProtocol,
    grid: (usize, usize),
    width: usize,
    stage: Stage,
    site: Site,
}

#[derive(Debug)]
enum Stage {
    Observing(Box<Gathered>),
    Learning(Training),
    /// A start that failed has used up what was observed.
    Failed,
}

/// Why a step, a probe or a state is not to be had yet.
const NOT_STARTED: ProtocolError = ProtocolError::Order(
    "there are no centroids before the start: observe some batches, then start",
);

impl CheckedProtocol {
    /// A probe that is fed with rows of `grid` (rows, columns) patches of `width` numbers.
    ///
    /// # Errors
    /// [`ProtocolError::Shape`] if one of them is zero.
    pub fn stream(&self, grid: (usize, usize), width: usize) -> Result<ProbeStream, ProtocolError> {
        if grid.0 * grid.1 * width == 0 {
            return Err(ProtocolError::Shape {
                what: "rows, columns and numbers of patches",
                expected: "at least 1".to_owned(),
                got: format!("{}, {}, {width}", grid.0, grid.1),
            });
        }
        let site = Site::host();
        let gathered = Gathered::new(0, width, self.seed(), &site)?;
        Ok(ProbeStream {
            protocol: self.clone(),
            grid,
            width,
            stage: Stage::Observing(Box::new(gathered)),
            site,
        })
    }

    /// A probe that goes on from where [`ProbeStream::to_state`] left it.
    ///
    /// # Errors
    /// [`ProtocolError::Shape`] for a state of other sizes; [`ProtocolError::Stage`] for one that no probe
    /// can have.
    pub fn resume_stream(
        &self,
        grid: (usize, usize),
        state: TrainingState,
    ) -> Result<ProbeStream, ProtocolError> {
        check("slots of the state", 1, state.slots.len())?;
        let (clusters, width) = (state.slots[0].trainer.clusters, state.slots[0].trainer.dim);
        check("clusters of the state", self.clusters(), clusters)?;
        let mut stream = self.stream(grid, width)?;
        stream.stage = Stage::Learning(Training::from_state(state, self.adam())?);
        Ok(stream)
    }
}

impl ProbeStream {
    /// Adds images to those that the principal directions come from (docs/protocol.md section 3), each once.
    ///
    /// # Shapes
    /// `rows`: `[B, N, D]`, innermost stride 1.
    ///
    /// # Errors
    /// [`ProtocolError::Order`] after the start; [`ProtocolError::Shape`]; [`ProtocolError::Stage`] for values
    /// that are not finite.
    pub fn observe(&mut self, rows: ArrayView3<'_, f32>) -> Result<(), ProtocolError> {
        self.observe_weighted(rows, &vec![1; rows.dim().0])
    }

    /// [`observe`](Self::observe), each image as often as its weight says.
    ///
    /// # Shapes
    /// `rows`: `[B, N, D]`, innermost stride 1; `weights`: `B`.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub fn observe_weighted(
        &mut self,
        rows: ArrayView3<'_, f32>,
        weights: &[u32],
    ) -> Result<(), ProtocolError> {
        self.check_rows(&rows)?;
        check("weights of images", rows.dim().0, weights.len())?;
        let Stage::Observing(gathered) = &mut self.stage else {
            return Err(ProtocolError::Order(
                "the principal directions are fixed at the start: observe before it",
            ));
        };
        let rows = PatchRows::Host(rows);
        gathered.add(0, &rows, weights, &mut self.site)
    }

    /// Makes the first centroids of what was observed.
    ///
    /// # Errors
    /// [`ProtocolError::Order`] if it has started; [`ProtocolError::Stage`] if too little was observed. What
    /// was observed is used up then.
    pub fn start(&mut self) -> Result<(), ProtocolError> {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Observing(gathered) => {
                let beginning = gathered.finish(0)?.beginning(0, &self.protocol)?;
                self.stage = Stage::Learning(Training::new(vec![beginning]));
                Ok(())
            }
            stage => {
                self.stage = stage;
                Err(ProtocolError::Order("the stream has started already"))
            }
        }
    }

    /// Takes one training step on a batch and returns its loss, in `[-1, 1]` (docs/protocol.md section 4).
    ///
    /// # Shapes
    /// `rows`: `[B, N, D]`, innermost stride 1.
    ///
    /// # Errors
    /// [`ProtocolError::Order`] before the start; [`ProtocolError::Shape`], also for a batch of no images;
    /// [`ProtocolError::Stage`] for values that are not finite.
    pub fn step(&mut self, rows: ArrayView3<'_, f32>) -> Result<f64, ProtocolError> {
        self.check_rows(&rows)?;
        if rows.dim().0 == 0 {
            return Err(ProtocolError::Shape {
                what: "images of a step",
                expected: "at least 1".to_owned(),
                got: "0".to_owned(),
            });
        }
        let Stage::Learning(training) = &mut self.stage else {
            return Err(NOT_STARTED);
        };
        training.add(&[(0, 0, &PatchRows::Host(rows))], &mut self.site)?;
        let step = training.finish_step();
        step.map_err(|(_, error)| ProtocolError::stage(0)(error))
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> usize {
        match &self.stage {
            Stage::Learning(training) => training.step(),
            Stage::Observing(_) | Stage::Failed => 0,
        }
    }

    /// The probe that was learned so far.
    ///
    /// # Errors
    /// [`ProtocolError::Order`] before the start.
    pub fn probe(&self) -> Result<Probe, ProtocolError> {
        Probe::new(&self.protocol, self.training()?, self.grid)
    }

    /// The cluster of every pixel, by the centroids learned so far; see [`Probe::label`].
    ///
    /// # Errors
    /// [`ProtocolError::Order`] before the start; those of [`Probe::label`].
    pub fn label(
        &self,
        rows: ArrayView3<'_, f32>,
        patch: usize,
    ) -> Result<Array3<u8>, ProtocolError> {
        Probe::labeling(&self.protocol, self.training()?, self.grid)?.label(rows, patch)
    }

    /// What was learned, as plain numbers, for storing.
    ///
    /// # Errors
    /// [`ProtocolError::Order`] before the start.
    pub fn to_state(&self) -> Result<TrainingState, ProtocolError> {
        self.training()?.to_state()
    }

    fn training(&self) -> Result<&Training, ProtocolError> {
        match &self.stage {
            Stage::Learning(training) => Ok(training),
            Stage::Observing(_) | Stage::Failed => Err(NOT_STARTED),
        }
    }

    fn check_rows(&self, rows: &ArrayView3<'_, f32>) -> Result<(), ProtocolError> {
        let (_, patches, width) = rows.dim();
        check("patches of an image", self.grid.0 * self.grid.1, patches)?;
        check("numbers of a patch vector", self.width, width)
    }
}
