//! What can go wrong in the protocol.

use thiserror::Error;
use vitscope_measure::MeasureError;
use vitscope_probe::ProbeError;

/// Why something that the caller brought could not be read.
pub type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// An input that the protocol cannot work with, or a pass that did not come to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A setting lies outside its range.
    #[error("{setting} {expected}, got {got}")]
    Setting {
        /// Its name, that of the method of [`Protocol`](crate::Protocol) which sets it.
        setting: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// There are fewer training images than one step takes.
    #[error("there are {images} training images, and one step takes {batch} of them")]
    TooFewImages {
        /// Training images.
        images: usize,
        /// Images of one step.
        batch: usize,
    },
    /// There are no test images.
    #[error("there are no test images to be measured")]
    NoImages,
    /// Two things that have to agree in a size do not.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What was measured.
        what: &'static str,
        /// The size that was expected.
        expected: String,
        /// The size that was found.
        got: String,
    },
    /// The embeddings or the ground truth of an image could not be read.
    #[error("{what} of image {image} cannot be read")]
    Read {
        /// Embeddings or ground truth.
        what: &'static str,
        /// Index of the image.
        image: usize,
        /// Why.
        source: ReadError,
    },
    /// A stage of a probe failed.
    #[error("{error}")]
    Stage {
        /// Which reading it was given, by its number in the pass: 0 where there is but one.
        reading: usize,
        /// Why.
        error: ProbeError,
    },
    /// Counting failed.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// Rows lie on another device than the stage that they were given to.
    #[error("patch vectors and probe lie on different devices")]
    Elsewhere,
    /// Centroids are asked for before there are any, or vectors for the start come after it.
    #[error("{0}")]
    Order(&'static str),
    /// The observer asked to stop. Nothing of the pass is left; [`ProbeStream`](crate::ProbeStream) keeps
    /// what was learned.
    #[error("stopped as asked, after {images} images of the pass")]
    Stopped {
        /// Images of the pass that were done.
        images: u64,
    },
}

impl ProtocolError {
    /// An error of the stages of one reading.
    pub(crate) fn stage(reading: usize) -> impl Fn(ProbeError) -> Self {
        move |error| Self::Stage { reading, error }
    }
}

/// Refuses a size that is not the one agreed on.
pub(crate) fn check<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    expected: T,
    got: T,
) -> Result<(), ProtocolError> {
    if expected == got {
        Ok(())
    } else {
        Err(ProtocolError::Shape {
            what,
            expected: format!("{expected:?}"),
            got: format!("{got:?}"),
        })
    }
}
