//! How figures look, as far as authors choose it.

/// How figures look, for authors who set their own captions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What the runs are called, in their order; a run beyond these keeps its own name.
    pub labels: Vec<String>,
    /// Whether captions stand in text files beside the figures, not in them.
    pub no_caption: bool,
    /// Whether the panels of a figure have letters.
    pub letters: bool,
}
