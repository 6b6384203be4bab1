//! Why something cannot be shown.

use vitscope_data::DataError;
use vitscope_probe::ProbeError;
use vitscope_run::RunError;
use vitscope_study::StudyError;

/// Why a model cannot be opened, or an answer not given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The model, its run or their files.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// An image or a data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Embeddings that no codebook or color can be had of.
    #[error("{slot}: {source}")]
    Probe {
        /// Which slot.
        slot: String,
        /// What is wrong with them.
        source: ProbeError,
    },
    /// A request for something that is not there.
    #[error("{0}")]
    Asked(String),
    /// The system gives no port.
    #[error("127.0.0.1:{port}: cannot be listened on ({source}): leave `port` out for a free one")]
    Listen {
        /// The port that was asked for; 0 for any.
        port: u16,
        /// The system's answer.
        source: std::io::Error,
    },
    /// This program contradicted itself.
    #[error("internal: {0}; please report this with the command that led to it")]
    Internal(String),
}

impl From<RunError> for ViewError {
    fn from(error: RunError) -> Self {
        Self::Study(error.into())
    }
}

impl ViewError {
    pub(crate) fn asked(sentence: impl Into<String>) -> Self {
        Self::Asked(sentence.into())
    }
}
