//! The labels of one image.

/// The labels of an image in every view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageLabels {
    /// `[views][slots][patches]`
    pub(super) labels: Vec<Vec<Vec<u8>>>,
    /// The class of most pixels of each patch of the plain view, 255 where most have none.
    pub(super) truth: Option<Vec<u8>>,
}
