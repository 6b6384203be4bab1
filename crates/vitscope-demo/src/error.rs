//! What can go wrong.

use std::path::{Path, PathBuf};

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}; make room there, or choose another folder", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is something already.
    #[error("{}: is there already: remove it, or choose another folder", .0.display())]
    Occupied(PathBuf),
    /// This program contradicted itself.
    #[error("internal: {0}; please report this with the command that led to it")]
    Internal(String),
}

impl DemoError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }
}
