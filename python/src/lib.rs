//! The Rust half of the Python package: what is computed, behind functions and classes that take numpy arrays. What
//! users see is in `vitscope/*.py`, which checks and shapes arguments.
//!
//! No science here: every number comes from the crates of the program, and so do the sentences of errors.

mod artifacts;
mod errors;
mod images;
mod job;
mod metrics;
mod numbers;
mod probe;
mod run;
mod transform;
mod work;

use std::ffi::OsString;

use pyo3::prelude::*;

/// The command line, as `vitscope` typed into a shell; the exit code.
#[pyfunction]
fn command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| vitscope_command::run(arguments))
}

#[pymodule]
fn _vitscope(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("InputError", py.get_type::<errors::InputError>())?;
    module.add("DataError", py.get_type::<errors::DataError>())?;
    module.add("Interrupted", py.get_type::<errors::Interrupted>())?;
    module.add_class::<run::Metrics>()?;
    module.add_class::<probe::PyProbe>()?;
    module.add_class::<metrics::Segmentation>()?;
    module.add_class::<metrics::Positional>()?;
    module.add_class::<artifacts::Artifacts>()?;
    module.add_class::<transform::Transform>()?;
    module.add_class::<images::Images>()?;
    module.add_class::<images::FeatureWriter>()?;
    module.add_function(wrap_pyfunction!(command, module)?)?;
    module.add_function(wrap_pyfunction!(work::set_threads, module)?)?;
    module.add_function(wrap_pyfunction!(job::probe, module)?)?;
    module.add_function(wrap_pyfunction!(images::png_of, module)?)?;
    module.add_function(wrap_pyfunction!(metrics::match_clusters, module)?)?;
    module.add_function(wrap_pyfunction!(run::read, module)?)?;
    module.add_function(wrap_pyfunction!(run::tensor, module)?)?;
    module.add_function(wrap_pyfunction!(run::label_map, module)?)?;
    module.add_function(wrap_pyfunction!(run::report, module)?)?;
    module.add_function(wrap_pyfunction!(run::compare_runs, module)?)?;
    module.add_function(wrap_pyfunction!(run::artifacts, module)?)?;
    module.add_function(wrap_pyfunction!(run::verdict, module)?)?;
    Ok(())
}
