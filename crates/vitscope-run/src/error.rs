//! What can be wrong with a run directory.

use std::path::{Path, PathBuf};

/// Why a run directory could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The folder holds no `run.json`.
    #[error(
        "{}: is not a run directory (it holds no run.json): give the folders that probe, attention and correspond have written",
        path.display()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds a part of a run.
    #[error(
        "{}: is a shard of a run: make the run of all its shards with vitscope merge",
        path.display()
    )]
    Shard {
        /// The folder.
        path: PathBuf,
    },
    /// The run has not come to its end.
    #[error("{}: is not finished: continue it with `resume`, or leave it out", path.display())]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the run is not what the format says.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected, what was found, and what to do.
        problem: String,
    },
    /// A folder that cannot be used as asked, one sentence.
    #[error("{0}")]
    Refused(String),
    /// This program contradicted itself.
    #[error("internal: {0}; please report this with the command that led to it")]
    Internal(String),
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
}

impl RunError {
    /// A file that is not what it should be.
    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    /// A file that a run wrote and that cannot be understood any more.
    pub(crate) fn damaged(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::file(
            path,
            format!(
                "{problem}: it may be damaged or from another version, so remove the folder of its run and make that again"
            ),
        )
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
