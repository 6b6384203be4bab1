//! What the figures of a run or of a comparison are asked to show.

use vitscope_run::Select;

use crate::images::ImageChoice;
use crate::look::Look;

/// What is shown of a single run, and how.
#[derive(Clone, Debug, Default)]
pub struct DrawOptions {
    /// Which of the examples that the run stored are shown.
    pub images: ImageChoice,
    /// How figures look.
    pub look: Look,
}

/// What a comparison shows of its runs, and how.
#[derive(Clone, Debug, Default)]
pub struct CompareOptions {
    /// Which single layer stands for each facet.
    pub select: Select,
    /// Which of the examples that the runs have in common are shown.
    pub images: ImageChoice,
    /// How figures look.
    pub look: Look,
}
