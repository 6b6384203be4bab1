//! The one error type: what a run directory can have wrong with it.

use std::path::{Path, PathBuf};

/// Why a run could not be drawn.
///
/// Every message is one sentence: the file, what was expected of it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FigureError {
    /// The run directory could not be read, or a file not written.
    #[error(transparent)]
    Run(#[from] vitscope_run::RunError),
    /// A file of the run is not what the format says.
    #[error("{path} {problem}: {remedy}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found, to follow the file's name.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// What was asked for is not in the run.
    #[error("{asked}: {problem}")]
    Choice {
        /// The option as it was given.
        asked: String,
        /// What is missing, and what there is.
        problem: String,
    },
    /// A figure could not be turned into pixels or text. This is a defect of the program.
    #[error("the figure {figure} could not be drawn ({reason}): please report this")]
    Render {
        /// The figure's name.
        figure: String,
        /// What failed.
        reason: String,
    },
}

/// What to do about a file that a run wrote and that cannot be understood.
pub(crate) const RUN_AGAIN: &str = "it may be damaged or from another version, so remove the folder of its run and make that again";

/// What to do about a table of a comparison.
const COMPARE_AGAIN: &str =
    "it may be damaged or from another version, so make the comparison again";

impl FigureError {
    /// As [`malformed`](Self::malformed), of a table that a comparison wrote.
    pub(crate) fn compared(path: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            problem: problem.into(),
            remedy: COMPARE_AGAIN,
        }
    }

    pub(crate) fn malformed(path: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            problem: problem.into(),
            remedy: RUN_AGAIN,
        }
    }

    pub(crate) fn render(figure: &str, reason: impl ToString) -> Self {
        Self::Render {
            figure: figure.to_owned(),
            reason: reason.to_string(),
        }
    }
}
