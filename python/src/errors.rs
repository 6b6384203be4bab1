//! Errors of the libraries as Python's exceptions, with their own sentences.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use vitscope_data::DataError as DataSetError;
use vitscope_figure::FigureError;
use vitscope_hub::HubError;
use vitscope_measure::MeasureError;
use vitscope_probe::ProbeError;
use vitscope_protocol::ProtocolError;
use vitscope_run::RunError;
use vitscope_study::StudyError;

create_exception!(
    vitscope,
    InputError,
    PyValueError,
    "An argument, a setting or an array that cannot be used as it is; the message says what would do."
);
create_exception!(
    vitscope,
    DataError,
    PyException,
    "Data, weights, a run directory or the disk is not as it should be; the message names the file."
);
create_exception!(
    vitscope,
    Interrupted,
    PyKeyboardInterrupt,
    "Stopped as asked (Ctrl-C); the message says what was stored and how to go on."
);

/// What an error of a library is in Python.
pub trait Told {
    /// The exception.
    fn told(self) -> PyErr;
}

fn sentence(error: &impl std::error::Error) -> String {
    // A source that the sentence does not hold is what the caller's own code or the system said.
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text += &format!(": {said}");
        }
        source = cause.source();
    }
    text
}

impl Told for ProtocolError {
    fn told(self) -> PyErr {
        let text = sentence(&self);
        match self {
            Self::Stopped { .. } => Interrupted::new_err(text),
            Self::Read { .. } => DataError::new_err(text),
            _ => InputError::new_err(text),
        }
    }
}

impl Told for ProbeError {
    fn told(self) -> PyErr {
        InputError::new_err(sentence(&self))
    }
}

impl Told for MeasureError {
    fn told(self) -> PyErr {
        InputError::new_err(sentence(&self))
    }
}

impl Told for RunError {
    fn told(self) -> PyErr {
        let text = sentence(&self);
        match self {
            Self::Refused(_) => InputError::new_err(text),
            Self::Internal(_) => PyRuntimeError::new_err(text),
            _ => DataError::new_err(text),
        }
    }
}

impl Told for FigureError {
    fn told(self) -> PyErr {
        let text = sentence(&self);
        match self {
            Self::Choice { .. } => InputError::new_err(text),
            Self::Render { .. } => PyRuntimeError::new_err(text),
            Self::Run(error) => error.told(),
            _ => DataError::new_err(text),
        }
    }
}

impl Told for HubError {
    fn told(self) -> PyErr {
        let text = sentence(&self);
        match self.is_usage() {
            true => InputError::new_err(text),
            false => DataError::new_err(text),
        }
    }
}

impl Told for DataSetError {
    fn told(self) -> PyErr {
        DataError::new_err(sentence(&self))
    }
}

impl Told for StudyError {
    fn told(self) -> PyErr {
        let text = sentence(&self);
        match self {
            Self::Setting(_) | Self::Shape(_) | Self::Device(_) => InputError::new_err(text),
            Self::Interrupted { .. } | Self::StoppedEarly => Interrupted::new_err(text),
            Self::Internal(_)
            | Self::Measure(_)
            | Self::Protocol(_)
            | Self::Data(DataSetError::Panicked { .. }) => PyRuntimeError::new_err(text),
            _ => DataError::new_err(text),
        }
    }
}

impl Told for PyErr {
    fn told(self) -> PyErr {
        self
    }
}
