//! What there is to say of patch vectors without labels or training: sums that are fed, merged and stored.

use numpy::{PyArray2, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vitscope_probe::{ExactSums, Fitting, ProbeError};

use crate::errors::{InputError, Told};
use crate::work::compute;

/// Exact sums of patch vectors at the places of a grid.
#[pyclass(module = "vitscope._vitscope")]
pub struct Artifacts {
    grid: (usize, usize),
    sums: ExactSums,
}

#[pymethods]
impl Artifacts {
    #[new]
    fn new(grid: (usize, usize), width: usize) -> PyResult<Self> {
        let sums = ExactSums::new(grid.0 * grid.1, width);
        Ok(Self {
            grid,
            sums: sums.map_err(Told::told)?,
        })
    }

    /// Adds images, `[B, N, D]`.
    fn update(&mut self, py: Python<'_>, rows: PyReadonlyArray3<'_, f32>) -> PyResult<()> {
        let (rows, sums) = (rows.as_array(), &mut self.sums);
        compute(py, || sums.add(rows))?.map_err(Told::told)
    }

    fn merge(&mut self, other: &Self) -> PyResult<()> {
        self.sums.merge(&other.sums).map_err(Told::told)
    }

    fn images(&self) -> u64 {
        self.sums.images()
    }

    fn width(&self) -> usize {
        self.sums.shape().1
    }

    /// The numbers, by their names in `metrics.csv`; `None` where undefined.
    fn compute<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (sums, grid) = (&self.sums, self.grid);
        let computed = compute(py, || {
            let moments = sums.moments();
            let spread = moments.spread(&moments.principal()?);
            let fitting = match sums.images() {
                0 => None,
                _ => Some(Fitting::new(&sums.place_moments(), grid)?),
            };
            let shares = fitting.as_ref().and_then(Fitting::map_shares);
            Ok([
                (
                    "common_direction",
                    spread.and_then(|found| found.common_direction),
                ),
                ("channel_top1", spread.map(|found| found.channel_top1)),
                ("channel_top3", spread.map(|found| found.channel_top3)),
                ("channel_top10", spread.map(|found| found.channel_top10)),
                ("participation", spread.map(|found| found.participation)),
                (
                    "effective_rank",
                    spread.and_then(|found| found.effective_rank),
                ),
                (
                    "position_share",
                    fitting.as_ref().and_then(Fitting::position_share),
                ),
                (
                    "position_r2",
                    fitting.as_ref().and_then(Fitting::position_r2),
                ),
                ("map_ramp", shares.map(|shares| shares.ramp)),
                ("map_low", shares.map(|shares| shares.low)),
                ("map_mid", shares.map(|shares| shares.mid)),
                ("map_high", shares.map(|shares| shares.high)),
            ])
        })?;
        let told = PyDict::new(py);
        told.set_item("images", sums.images())?;
        for (name, value) in computed.map_err(ProbeError::told)? {
            told.set_item(name, value)?;
        }
        Ok(told)
    }

    /// All sums as whole numbers of two words each, the lower first.
    fn state<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<u64>> {
        let numbers = self.sums.to_numbers();
        let words = ndarray::Array2::from_shape_fn((numbers.len(), 2), |(row, word)| {
            (numbers[row] as u128 >> (64 * word)) as u64
        });
        PyArray2::from_owned_array(py, words)
    }

    /// The inverse of `state`.
    fn restore(&mut self, images: u64, words: PyReadonlyArray2<'_, u64>) -> PyResult<()> {
        let words = words.as_array();
        if words.ncols() != 2 {
            return Err(InputError::new_err(
                "the stored state is damaged: its parts do not fit together",
            ));
        }
        let number = |low: u64, high: u64| (u128::from(low) | u128::from(high) << 64) as i128;
        let rows = words.rows().into_iter();
        let numbers: Vec<i128> = rows.map(|row| number(row[0], row[1])).collect();
        let (places, width) = self.sums.shape();
        let sums = ExactSums::from_numbers(places, width, images, &numbers);
        self.sums = sums.map_err(Told::told)?;
        Ok(())
    }
}
