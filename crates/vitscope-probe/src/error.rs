//! What can go wrong in a probe.

use thiserror::Error;

use crate::transform::Transform;

/// An input that a probe cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A patch vector holds a value that is not finite.
    #[error("patch vectors of image {image} of the batch hold a value that is not finite")]
    NonFinite {
        /// Index of the image within the batch that was passed.
        image: usize,
    },
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
    /// The number of clusters is zero or above [`MAX_CLUSTERS`](crate::MAX_CLUSTERS).
    #[error("the number of clusters must lie in 1..=255, got {got}")]
    Clusters {
        /// The number that was asked for.
        got: usize,
    },
    /// There are too few patch vectors to start from.
    #[error(
        "all patch vectors that a start is drawn from are zero, as alike ones are once their mean is taken out, and their {directions} principal directions are too few for {clusters} clusters: leave it out by `layers` or `facets`"
    )]
    TooFewVectors {
        /// Clusters asked for.
        clusters: usize,
        /// Principal directions found.
        directions: usize,
    },
    /// The covariance is not finite, or its eigendecomposition did not converge.
    #[error("the covariance of the patch vectors has no eigendecomposition")]
    Eigen,
    /// More directions are to be taken out than there are.
    #[error(
        "{transform} takes out {rank} directions, and there are {most}: ask for no more than those"
    )]
    Rank {
        /// What was asked for.
        transform: Transform,
        /// Directions asked for.
        rank: usize,
        /// Directions that there are.
        most: usize,
    },
    /// There are too few images to fit a transform on.
    #[error("{transform} needs {needed} training images to be fitted on, and there are {images}")]
    TooFewImages {
        /// What was asked for.
        transform: Transform,
        /// Images needed.
        needed: usize,
        /// Images that there are.
        images: u64,
    },
    /// The card, or the way to it.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] vitscope_cuda::CudaError),
}

/// A size that has to be another one.
pub(crate) fn check(what: &'static str, expected: usize, got: usize) -> Result<(), ProbeError> {
    if expected == got {
        Ok(())
    } else {
        Err(ProbeError::Shape {
            what,
            expected,
            got,
        })
    }
}
