//! What can go wrong in a measure.

use thiserror::Error;

/// An input that a measure cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A length differs from the one that was agreed on.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What was measured.
        what: &'static str,
        /// The length that was expected.
        expected: usize,
        /// The length that was found.
        got: usize,
    },
    /// A label is neither below the number of clusters (or classes) nor 255.
    #[error("{what} {label} is out of range: there are {count}")]
    Label {
        /// Cluster or class.
        what: &'static str,
        /// The label found.
        label: u8,
        /// The number of clusters or classes.
        count: usize,
    },
    /// A value is not finite, or negative where it must not be.
    #[error("{what} must be finite and not negative")]
    Value {
        /// What was measured.
        what: &'static str,
    },
    /// The image's index is not below the number of images that was announced.
    #[error("image {index} is out of range: {images} were announced")]
    Image {
        /// The index passed.
        index: usize,
        /// The number announced.
        images: usize,
    },
}

pub(crate) fn check(what: &'static str, expected: usize, got: usize) -> Result<(), MeasureError> {
    if expected == got {
        Ok(())
    } else {
        Err(MeasureError::Shape {
            what,
            expected,
            got,
        })
    }
}
