//! What can end a sweep, or one of its jobs.

use std::fmt;
use std::path::{Path, PathBuf};

use vitscope_figure::FigureError;
use vitscope_hub::HubError;
use vitscope_run::RunError;
use vitscope_study::StudyError;

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

/// What became of an element whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It is in the queue again.
    Queued,
    /// It was queued again as often as the plan allows, which is this often.
    UsedUp(usize),
    /// Whether it is queued again is the cluster's to decide.
    Unknown,
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued => f.write_str("this element is queued again and goes on from it"),
            Self::UsedUp(times) => write!(
                f,
                "this element is not queued again, since `max_requeues` under [slurm] is {times}: give the same `vitscope sweep` command again, and it goes on"
            ),
            Self::Unknown => f.write_str(
                "where the cluster does not queue this element again by itself, give the same `vitscope sweep` command again, and it goes on",
            ),
        }
    }
}

impl SweepError {
    /// A sentence about a file.
    pub(crate) fn file(path: &Path, problem: impl fmt::Display) -> Self {
        Self::Study(StudyError::file(path, problem.to_string()))
    }

    /// An I/O error with the file and what was tried.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path: PathBuf = path.to_owned();
        move |source| Self::Study(StudyError::io(&path, action)(source))
    }
}
