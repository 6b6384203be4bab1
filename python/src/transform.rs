//! Position taken out of patch vectors, fitted and applied on arrays.

use std::path::PathBuf;

use ndarray::ArrayView3;
use numpy::{PyArray2, PyArray3, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vitscope_probe::transform::TransformParts;
use vitscope_probe::{FittedTransform, Fitting, PlaceMoments, ProbeError, Transform as Kind};
use vitscope_run::Slot;
use vitscope_study::transforms::{FitNumbers, SlotTransform, StoredTransforms};

use crate::errors::{InputError, Told};
use crate::work::compute;

/// A transform: what it is, what was summed for it, and what was fitted.
#[pyclass(module = "vitscope._vitscope")]
pub struct Transform {
    kind: Kind,
    grid: (usize, usize),
    seed: u64,
    sums: Option<PlaceMoments>,
    fitted: Option<SlotTransform>,
}

impl Transform {
    fn fitted(&self) -> PyResult<&SlotTransform> {
        self.fitted
            .as_ref()
            .ok_or_else(|| InputError::new_err("nothing is fitted yet: call fit"))
    }
}

#[pymethods]
impl Transform {
    #[new]
    fn new(kind: &str, grid: (usize, usize), seed: u64) -> PyResult<Self> {
        Ok(Self {
            kind: kind
                .parse()
                .map_err(|problem: String| InputError::new_err(problem))?,
            grid,
            seed,
            sums: None,
            fitted: None,
        })
    }

    /// Adds images to what is fitted to; the halves that chance is told by take turns.
    fn update(&mut self, py: Python<'_>, rows: PyReadonlyArray3<'_, f32>) -> PyResult<()> {
        let rows = rows.as_array();
        let (_, places, width) = rows.dim();
        if width == 0 {
            return Err(InputError::new_err("features have no channels"));
        }
        let sums = self
            .sums
            .get_or_insert_with(|| PlaceMoments::new(places, width));
        let first = sums.images() as usize;
        let halves: Vec<usize> = (0..rows.dim().0).map(|image| (first + image) % 2).collect();
        compute(py, || sums.add(rows, &halves))?.map_err(Told::told)
    }

    /// Fits the transform to what was added; `blank` `[1, N, D]` is a black image's vectors.
    fn finish(&mut self, py: Python<'_>, blank: Option<PyReadonlyArray3<'_, f32>>) -> PyResult<()> {
        let Some(sums) = &self.sums else {
            return Err(InputError::new_err("there are no features to fit to"));
        };
        let blank: Option<ArrayView3<'_, f32>> = blank.as_ref().map(PyReadonlyArray3::as_array);
        let (kind, grid, draw) = (self.kind, self.grid, (self.seed, 0));
        let fitted = compute(py, || {
            let fitting = Fitting::new(sums, grid)?;
            let fitted = fitting.fit(kind, draw, blank)?;
            Ok(SlotTransform::new(&fitting, fitted))
        })?;
        self.fitted = Some(fitted.map_err(ProbeError::told)?);
        Ok(())
    }

    /// The transform of a slot that a run has stored.
    fn take(&mut self, run: PathBuf, slot: &str, width: usize) -> PyResult<()> {
        let slot: Slot = slot.parse().map_err(InputError::new_err)?;
        let mut stored = StoredTransforms::of(&run).map_err(Told::told)?;
        self.fitted = Some(stored.slot(slot, width).map_err(Told::told)?);
        self.kind = stored.transform;
        self.grid = (stored.on.grid[0], stored.on.grid[1]);
        Ok(())
    }

    /// Edits rows, `[B, N, D]`.
    fn apply<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray3<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let (fitted, rows) = (&self.fitted()?.fitted, rows.as_array());
        let edited = compute(py, || fitted.apply(rows))?.map_err(Told::told)?;
        Ok(PyArray3::from_owned_array(py, edited))
    }

    /// What the fit says of position, by the names of `metrics.csv`.
    fn numbers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let told = PyDict::new(py);
        let numbers = self.fitted()?.numbers.0;
        for (name, value) in FitNumbers::NAMES.into_iter().zip(numbers) {
            told.set_item(name, Some(value).filter(|value| !value.is_nan()))?;
        }
        Ok(told)
    }

    /// What is taken out of the mean map at each place, `[Hp, Wp]`.
    fn removed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let removed = self.fitted()?.removed.clone();
        let map = ndarray::Array2::from_shape_vec(self.grid, removed);
        let map = map.map_err(|error| InputError::new_err(error.to_string()))?;
        Ok(PyArray2::from_owned_array(py, map))
    }

    fn kind(&self) -> String {
        self.kind.to_string()
    }

    fn grid(&self) -> (usize, usize) {
        self.grid
    }

    /// What was fitted, as plain arrays; `None` for nothing.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(fitted) = &self.fitted else {
            return Ok(None);
        };
        let parts = fitted.fitted.parts();
        let state = PyDict::new(py);
        state.set_item(
            "mean",
            parts.mean.as_ref().map(|array| array.to_pyarray(py)),
        )?;
        state.set_item(
            "scale",
            parts.scale.as_ref().map(|array| array.to_pyarray(py)),
        )?;
        state.set_item("map", parts.map.as_ref().map(|array| array.to_pyarray(py)))?;
        state.set_item(
            "basis",
            parts.basis.as_ref().map(|array| array.to_pyarray(py)),
        )?;
        state.set_item(
            "dual",
            parts.dual.as_ref().map(|array| array.to_pyarray(py)),
        )?;
        state.set_item("numbers", fitted.numbers.0.to_vec())?;
        state.set_item("removed", fitted.removed.clone())?;
        Ok(Some(state))
    }

    /// The inverse of `state`.
    #[expect(clippy::too_many_arguments, reason = "one for each array")]
    fn restore(
        &mut self,
        width: usize,
        mean: Option<PyReadonlyArray1<'_, f64>>,
        scale: Option<PyReadonlyArray1<'_, f64>>,
        map: Option<PyReadonlyArray2<'_, f32>>,
        basis: Option<PyReadonlyArray2<'_, f64>>,
        dual: Option<PyReadonlyArray2<'_, f64>>,
        numbers: [f64; 8],
        removed: Vec<f32>,
    ) -> PyResult<()> {
        let parts = TransformParts {
            mean: mean.map(|array| array.as_array().to_owned()),
            scale: scale.map(|array| array.as_array().to_owned()),
            map: map.map(|array| array.as_array().to_owned()),
            basis: basis.map(|array| array.as_array().to_owned()),
            dual: dual.map(|array| array.as_array().to_owned()),
        };
        let places = self.grid.0 * self.grid.1;
        let fitted = FittedTransform::new(self.kind, parts, places, width).map_err(Told::told)?;
        self.fitted = Some(SlotTransform {
            fitted,
            numbers: FitNumbers(numbers),
            removed,
        });
        Ok(())
    }
}
