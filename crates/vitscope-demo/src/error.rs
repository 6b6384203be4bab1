//! What can go wrong.

use std::path::PathBuf;

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The operating system refused.
    #[error(transparent)]
    Files(#[from] vitscope_run::RunError),
    /// There is something already.
    #[error("{}: is there already: remove it, or choose another folder", .0.display())]
    Occupied(PathBuf),
    /// This program contradicted itself.
    #[error("internal: {0}; please report this with the command that led to it")]
    Internal(String),
}
