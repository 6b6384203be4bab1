//! A probe that Python holds: settings, and what was learned so far.

use ndarray::{ArrayView3, Axis};
use numpy::{PyArray2, PyArray3, PyReadonlyArray2, PyReadonlyArray3, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vitscope_protocol::{
    CheckedProtocol, Dispersion, Embeddings, Matching, Positions, Probe, ProbeParts, ProbeStream,
    Protocol, ReadError, SlotState, Spread, TrainerState, TrainingState, Truth, Unlabeled,
};

use crate::errors::{InputError, Told};
use crate::numbers;
use crate::work::{compute, watched};

/// Batches of arrays as one: images are numbered across them. Nothing is copied.
struct JoinedBatches<'a, T> {
    parts: Vec<ArrayView3<'a, T>>,
    /// The number of the first image of each part, and of all images.
    starts: Vec<usize>,
}

impl<'a, T: Copy> JoinedBatches<'a, T> {
    fn new(parts: Vec<ArrayView3<'a, T>>) -> Self {
        let mut starts = vec![0];
        let mut all = 0;
        for part in &parts {
            all += part.dim().0;
            starts.push(all);
        }
        Self { parts, starts }
    }

    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    fn read(&self, image: usize, out: &mut [T]) {
        let part = self.starts.partition_point(|&start| start <= image) - 1;
        let image = self.parts[part].index_axis(Axis(0), image - self.starts[part]);
        match image.to_slice() {
            Some(image) => out.copy_from_slice(image),
            None => out
                .iter_mut()
                .zip(image.iter())
                .for_each(|(to, &from)| *to = from),
        }
    }
}

/// Patch vectors, `[B, N, D]` each.
struct Vectors<'a> {
    parts: JoinedBatches<'a, f32>,
    grid: (usize, usize),
    width: usize,
}

impl Embeddings for Vectors<'_> {
    fn len(&self) -> usize {
        self.parts.len()
    }

    fn grid(&self) -> (usize, usize) {
        self.grid
    }

    fn width(&self) -> usize {
        self.width
    }

    fn read(&self, image: usize, out: &mut [f32]) -> Result<(), ReadError> {
        self.parts.read(image, out);
        Ok(())
    }
}

/// Classes of pixels, `[B, H, W]` each.
struct Masks<'a>(JoinedBatches<'a, u8>);

impl Truth for Masks<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn size(&self) -> (usize, usize) {
        let first = self.0.parts.first().map(ArrayView3::dim);
        first.map_or((0, 0), |(_, height, width)| (height, width))
    }

    fn read(&self, image: usize, out: &mut [u8]) -> Result<(), ReadError> {
        self.0.read(image, out);
        Ok(())
    }
}

/// What was learned.
enum LearnedSoFar {
    Nothing,
    Stream(Box<ProbeStream>),
    Whole(Box<Probe>),
}

/// A clustering probe.
#[pyclass(module = "vitscope._vitscope", name = "Probe")]
pub struct PyProbe {
    protocol: CheckedProtocol,
    grid: (usize, usize),
    learned: LearnedSoFar,
}

/// What a matching is called.
pub fn matching(word: &str) -> PyResult<Matching> {
    match word {
        "hungarian" => Ok(Matching::Hungarian),
        "majority" => Ok(Matching::Majority),
        _ => Err(InputError::new_err(format!(
            "matching must be hungarian or majority, got {word}"
        ))),
    }
}

impl PyProbe {
    fn probe(&self) -> PyResult<Probe> {
        match &self.learned {
            LearnedSoFar::Whole(probe) => Ok((**probe).clone()),
            LearnedSoFar::Stream(stream) => stream.probe().map_err(Told::told),
            LearnedSoFar::Nothing => Err(InputError::new_err(
                "the probe has learned nothing yet: fit it, or observe some batches, then start",
            )),
        }
    }

    /// The stream, which begins with the first batch.
    fn stream(&mut self, width: usize) -> PyResult<&mut ProbeStream> {
        if matches!(self.learned, LearnedSoFar::Nothing) {
            let stream = self.protocol.stream(self.grid, width).map_err(Told::told)?;
            self.learned = LearnedSoFar::Stream(Box::new(stream));
        }
        match &mut self.learned {
            LearnedSoFar::Stream(stream) => Ok(stream),
            _ => Err(InputError::new_err(
                "this probe was fitted as a whole: make a new one to observe, start and step",
            )),
        }
    }
}

#[pymethods]
impl PyProbe {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "one for each setting")]
    fn new(
        clusters: usize,
        classes: usize,
        grid: (usize, usize),
        steps: usize,
        batch: usize,
        lr: f64,
        pca_batches: usize,
        pca_interval: usize,
        seed: u64,
        shuffle: bool,
        matching: &str,
        positions: &str,
        resamples: usize,
    ) -> PyResult<Self> {
        let positions = match positions {
            "all" => Positions::All,
            "labeled" => Positions::Labeled,
            word => {
                return Err(InputError::new_err(format!(
                    "positions must be all or labeled, got {word}"
                )));
            }
        };
        let protocol = Protocol::new(clusters)
            .classes(classes)
            .steps(steps)
            .batch(batch)
            .lr(lr)
            .pca_batches(pca_batches)
            .pca_interval(pca_interval)
            .seed(seed)
            .shuffle(shuffle)
            .matching(self::matching(matching)?)
            .positions(positions)
            .resamples(resamples);
        Ok(Self {
            protocol: protocol.check().map_err(Told::told)?,
            grid,
            learned: LearnedSoFar::Nothing,
        })
    }

    /// Learns from all images, which are asked for in the protocol's order.
    fn fit(
        &mut self,
        py: Python<'_>,
        parts: Vec<PyReadonlyArray3<'_, f32>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let views: Vec<_> = parts.iter().map(PyReadonlyArray3::as_array).collect();
        let vectors = Vectors {
            width: views.first().map_or(0, |view| view.dim().2),
            parts: JoinedBatches::new(views),
            grid: self.grid,
        };
        let protocol = &self.protocol;
        let probe = watched(py, progress, |observer| {
            protocol.fit_observed(&vectors, observer)
        })?;
        self.learned = LearnedSoFar::Whole(Box::new(probe));
        Ok(())
    }

    fn observe(&mut self, py: Python<'_>, rows: PyReadonlyArray3<'_, f32>) -> PyResult<()> {
        let rows = rows.as_array();
        let stream = self.stream(rows.dim().2)?;
        compute(py, || stream.observe(rows))?.map_err(Told::told)
    }

    fn start(&mut self, py: Python<'_>) -> PyResult<()> {
        let stream = self.stream(1)?;
        compute(py, || stream.start())?.map_err(Told::told)
    }

    fn step(&mut self, py: Python<'_>, rows: PyReadonlyArray3<'_, f32>) -> PyResult<f64> {
        let rows = rows.as_array();
        let stream = self.stream(rows.dim().2)?;
        compute(py, || stream.step(rows))?.map_err(Told::told)
    }

    fn label<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray3<'py, f32>,
        patch: usize,
    ) -> PyResult<Bound<'py, PyArray3<u8>>> {
        let (probe, rows) = (self.probe()?, rows.as_array());
        let labels = compute(py, || probe.label(rows, patch))?.map_err(Told::told)?;
        Ok(PyArray3::from_owned_array(py, labels))
    }

    /// Labels and measures; without masks, only the positional effect.
    fn score<'py>(
        &self,
        py: Python<'py>,
        parts: Vec<PyReadonlyArray3<'py, f32>>,
        masks: Option<Vec<PyReadonlyArray3<'py, u8>>>,
        patch: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let probe = self.probe()?;
        let views: Vec<_> = parts.iter().map(PyReadonlyArray3::as_array).collect();
        let vectors = Vectors {
            width: views.first().map_or(0, |view| view.dim().2),
            parts: JoinedBatches::new(views),
            grid: self.grid,
        };
        let scores = match &masks {
            Some(masks) => {
                let masks = masks.iter().map(PyReadonlyArray3::as_array).collect();
                let masks = Masks(JoinedBatches::new(masks));
                watched(py, progress, |observer| {
                    probe.evaluate_observed(&vectors, &masks, observer)
                })?
            }
            None => {
                let unlabeled = Unlabeled {
                    images: vectors.len(),
                    size: (self.grid.0 * patch, self.grid.1 * patch),
                };
                watched(py, progress, |observer| {
                    probe.evaluate_observed(&vectors, &unlabeled, observer)
                })?
            }
        };
        numbers::scores(py, &scores)
    }

    fn codebook<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        Ok(self.probe()?.codebook().to_pyarray(py))
    }

    fn loss(&self) -> PyResult<Option<f64>> {
        Ok(self.probe()?.loss())
    }

    fn spread<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let probe = self.probe()?;
        let Some(spread) = probe.spread() else {
            return Ok(None);
        };
        let apart = probe.dispersion();
        let told = PyDict::new(py);
        told.set_item("common_direction", spread.common_direction)?;
        told.set_item("channel_top1", spread.channel_top1)?;
        told.set_item("channel_top3", spread.channel_top3)?;
        told.set_item("channel_top10", spread.channel_top10)?;
        told.set_item("participation", spread.participation)?;
        told.set_item("effective_rank", spread.effective_rank)?;
        told.set_item("dse_inter", apart.map(|found| found.inter))?;
        told.set_item("dse_intra", apart.map(|found| found.intra))?;
        Ok(Some(told))
    }

    fn twins(&self) -> PyResult<Vec<(usize, usize)>> {
        Ok(self.probe()?.twins())
    }

    /// Steps taken.
    fn steps(&self) -> usize {
        match &self.learned {
            LearnedSoFar::Nothing => 0,
            LearnedSoFar::Stream(stream) => stream.steps(),
            LearnedSoFar::Whole(_) => self.protocol.steps(),
        }
    }

    /// What was learned, as plain numbers; `None` for nothing.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let state = PyDict::new(py);
        let (loss, spread) = match &self.learned {
            LearnedSoFar::Nothing => return Ok(None),
            LearnedSoFar::Whole(probe) => {
                let parts = probe.to_parts();
                state.set_item("codebook", parts.codebook.to_pyarray(py))?;
                let apart = parts.dispersion.map(|found| (found.inter, found.intra));
                state.set_item("dispersion", apart)?;
                (parts.loss.into_iter().collect(), parts.spread)
            }
            LearnedSoFar::Stream(stream) => {
                let mut training = stream.to_state().map_err(|_| {
                    InputError::new_err(
                        "a probe that has observed batches cannot be stored before its start: start it first",
                    )
                })?;
                let slot = training.slots.remove(0);
                state.set_item("step", training.step)?;
                state.set_item("steps", slot.trainer.steps)?;
                let shape = (3, slot.trainer.clusters, slot.trainer.dim);
                let values = ndarray::Array3::from_shape_vec(shape, slot.trainer.values);
                let values = values.map_err(|error| InputError::new_err(error.to_string()))?;
                state.set_item("values", PyArray3::from_owned_array(py, values))?;
                state.set_item("sample", slot.sample.to_pyarray(py))?;
                (slot.losses, slot.spread)
            }
        };
        state.set_item("losses", loss)?;
        let spread = spread.map(|spread| {
            (
                spread.common_direction,
                spread.channel_top1,
                spread.channel_top3,
                spread.channel_top10,
                spread.participation,
                spread.effective_rank,
            )
        });
        state.set_item("spread", spread)?;
        Ok(Some(state))
    }

    /// The inverse of `state`.
    fn restore(&mut self, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let item = |name: &str| {
            let item = state.get_item(name)?;
            item.ok_or_else(|| InputError::new_err(format!("the state of a probe lacks {name}")))
        };
        type ToldSpread = (Option<f64>, f64, f64, f64, f64, Option<f64>);
        let losses: Vec<f64> = item("losses")?.extract()?;
        let spread: Option<ToldSpread> = item("spread")?.extract()?;
        let spread = spread.map(
            |(common_direction, top1, top3, top10, participation, effective_rank)| Spread {
                common_direction,
                channel_top1: top1,
                channel_top3: top3,
                channel_top10: top10,
                participation,
                effective_rank,
            },
        );
        if state.contains("codebook")? {
            let codebook: PyReadonlyArray2<'_, f32> = item("codebook")?.extract()?;
            let apart: Option<(f64, f64)> = item("dispersion")?.extract()?;
            let parts = ProbeParts {
                codebook: codebook.as_array().to_owned(),
                grid: self.grid,
                loss: losses.last().copied(),
                spread,
                dispersion: apart.map(|(inter, intra)| Dispersion { inter, intra }),
            };
            let probe = Probe::from_parts(&self.protocol, parts).map_err(Told::told)?;
            self.learned = LearnedSoFar::Whole(Box::new(probe));
            return Ok(());
        }
        let values: PyReadonlyArray3<'_, f64> = item("values")?.extract()?;
        let values = values.as_array();
        let sample: PyReadonlyArray2<'_, f32> = item("sample")?.extract()?;
        let (_, clusters, dim) = values.dim();
        let training = TrainingState {
            step: item("step")?.extract()?,
            slots: vec![SlotState {
                trainer: TrainerState {
                    clusters,
                    dim,
                    steps: item("steps")?.extract()?,
                    values: values.iter().copied().collect(),
                },
                losses,
                spread,
                sample: sample.as_array().to_owned(),
            }],
        };
        let stream = self.protocol.resume_stream(self.grid, training);
        self.learned = LearnedSoFar::Stream(Box::new(stream.map_err(Told::told)?));
        Ok(())
    }
}
