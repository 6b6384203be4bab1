//! How a run tells what it is doing.

/// The parts of the main job, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Facets of the training images kept on disk.
    Cache,
    /// Principal directions of the patch embeddings.
    Start,
    /// Online k-means.
    Train,
    /// Pixel labels and counts on the test images.
    Evaluate,
    /// Facets written to disk.
    Extract,
    /// Attention weights of the images.
    Attention,
    /// Key points found in the target images.
    Correspond,
    /// Images and masks of a data set looked at.
    Check,
}

impl Phase {
    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Start => "start",
            Self::Train => "train",
            Self::Evaluate => "evaluate",
            Self::Extract => "extract",
            Self::Attention => "attention",
            Self::Correspond => "correspond",
            Self::Check => "check",
        }
    }
}

/// Receives news of a run, and may ask it to stop.
pub trait Observer {
    /// A phase begins; `done` of its `total` images were done by an earlier run.
    fn begin(&mut self, phase: Phase, done: u64, total: u64);
    /// So many more images of the phase are done; `loss` is the mean over slots of the step that
    /// just ended, if one did.
    fn advance(&mut self, images: u64, loss: Option<f64>);
    /// The phase is over.
    fn end(&mut self);
    /// Something worth a line.
    fn note(&mut self, text: &str);
    /// Whether the user wants the run to stop at the next step.
    fn stop(&self) -> bool {
        false
    }
}

/// Says nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _: Phase, _: u64, _: u64) {}
    fn advance(&mut self, _: u64, _: Option<f64>) {}
    fn end(&mut self) {}
    fn note(&mut self, _: &str) {}
}
