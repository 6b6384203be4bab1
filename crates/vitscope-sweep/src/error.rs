//! What can end a sweep, or one of its jobs.

use std::path::{Path, PathBuf};

use vitscope_figure::FigureError;
use vitscope_hub::HubError;
use vitscope_run::RunError;
use vitscope_study::StudyError;

use crate::slurm::Again;

/// Why a sweep could not be read, started or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// What is wrong with a plan: one sentence each, with the file and the key.
    #[error("{}", .0.join("\nvitscope: "))]
    Plan(Vec<String>),
    /// A job of the plan.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// A figure or a page.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// The weights of a model.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A run directory, or a file of the sweep.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What the scheduler answered.
    #[error("{0}")]
    Scheduler(String),
    /// A request that cannot be.
    #[error("{0}")]
    Usage(String),
    /// Some jobs failed.
    #[error(
        "{failed} of {all} jobs failed: `vitscope sweep status` says why, `vitscope sweep retry` tries them again"
    )]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
    /// The user asked to stop.
    #[error("stopped as asked: the same command goes on from what is stored")]
    Stopped,
    /// The scheduler's time is up, or it takes the machine back.
    #[error("stopped by the scheduler: what was done is stored; {0}")]
    Preempted(Again),
}

impl SweepError {
    /// A sentence about a file.
    pub(crate) fn file(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Study(StudyError::file(path, problem.to_string()))
    }

    /// An I/O error with the file and what was tried.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path: PathBuf = path.to_owned();
        move |source| Self::Study(StudyError::io(&path, action)(source))
    }
}
