//! What can end a run.

use std::path::{Path, PathBuf};

/// Why a run could not be started or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(String),
    /// The data set.
    #[error(transparent)]
    Data(#[from] vitscope_data::DataError),
    /// A data set that does not open, of which a description was begun.
    #[error("{source}; {} begins a description of it: correct it and give it as `data`", draft.display())]
    Begun {
        /// Why it does not open.
        source: vitscope_data::DataError,
        /// The file that was written.
        draft: PathBuf,
    },
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] vitscope_vit::error::VitError),
    /// An input size that the model cannot take.
    #[error(transparent)]
    Shape(#[from] vitscope_vit::shapes::ShapeError),
    /// The device that runs the model.
    #[error(transparent)]
    Device(#[from] vitscope_vit::error::DeviceError),
    /// Embeddings that cannot be probed.
    #[error("{slot}: {source}")]
    Probe {
        /// Which slot.
        slot: String,
        /// What is wrong with them.
        source: vitscope_probe::ProbeError,
    },
    /// A file that is not what it should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected, and what to do.
        problem: String,
    },
    /// A run directory.
    #[error(transparent)]
    Run(vitscope_run::RunError),
    /// The operating system refused a read or a write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Counts that do not fit their own sizes: this program contradicted itself.
    #[error("internal: {0}; please report this with the command that led to it")]
    Measure(#[from] vitscope_measure::MeasureError),
    /// Stages of probes that do not fit together: this program contradicted itself.
    #[error("internal: {0}; please report this with the command that led to it")]
    Protocol(vitscope_protocol::ProtocolError),
    /// This program contradicted itself.
    #[error("internal: {0}; please report this with the command that led to it")]
    Internal(String),
    /// Attention weights that cannot be measured.
    #[error("attention of layer {layer}: {problem}")]
    Attention {
        /// The layer, from 1.
        layer: usize,
        /// What is wrong with them.
        problem: String,
    },
    /// The user asked to stop before anything was stored.
    #[error("stopped as asked; nothing was stored")]
    StoppedEarly,
    /// The user asked to stop.
    #[error("stopped as asked; what was done is in {}: continue with `resume`", run.display())]
    Interrupted {
        /// The run directory.
        run: PathBuf,
    },
}

impl From<vitscope_run::RunError> for StudyError {
    fn from(error: vitscope_run::RunError) -> Self {
        use vitscope_run::RunError;
        match error {
            RunError::Io {
                path,
                action,
                source,
            } => Self::Io {
                path,
                action,
                source,
            },
            RunError::Refused(sentence) => Self::Setting(sentence),
            RunError::Internal(problem) => Self::Internal(problem),
            other => Self::Run(other),
        }
    }
}

impl StudyError {
    /// A setting that cannot be, in one sentence.
    pub fn setting(sentence: impl Into<String>) -> Self {
        Self::Setting(sentence.into())
    }

    /// A file that is not what it should be.
    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    /// Wraps an I/O error with the file and what was tried.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use vitscope_run::RunError;

    use super::*;

    #[test]
    fn what_a_run_directory_refuses_is_told_as_studys_own() {
        let refused = StudyError::from(RunError::Refused("choose another `out`".to_owned()));
        assert!(matches!(refused, StudyError::Setting(_)));
        let source = std::io::ErrorKind::StorageFull.into();
        let full = RunError::Io {
            path: PathBuf::from("a"),
            action: "write",
            source,
        };
        let full = StudyError::from(full);
        assert!(matches!(
            &full,
            StudyError::Io {
                action: "write",
                ..
            }
        ));
        assert!(full.to_string().starts_with("a: cannot write: "));
        let internal = StudyError::from(RunError::Internal("x".to_owned()));
        assert!(internal.to_string().contains("please report this"));
        let other = RunError::NotARun {
            path: PathBuf::from("a"),
        };
        let sentence = other.to_string();
        assert_eq!(StudyError::from(other).to_string(), sentence);
    }
}
