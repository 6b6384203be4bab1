//! How a long piece of work tells what it is doing, and how it is asked to stop.

/// A part of the work, named by one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase(&'static str);

impl Phase {
    /// Principal directions of the patch embeddings.
    pub const START: Self = Self("start");
    /// Online k-means.
    pub const TRAIN: Self = Self("train");
    /// Pixel labels and counts on the test images.
    pub const EVALUATE: Self = Self("evaluate");

    /// A phase of other work than the protocol's.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// Receives news of the work, and may ask it to stop; what it has no use for passes by. It can be sent to another
/// thread together with the work.
#[expect(unused_variables, reason = "they are for those who listen")]
pub trait Observer: Send {
    /// A phase begins; `done` of its `total` images were done before.
    fn begin(&mut self, phase: Phase, done: u64, total: u64) {}
    /// `images` more images of the phase are done; `loss` is the loss of the step that just ended, if one
    /// did (the mean over slots where there are several).
    fn advance(&mut self, images: u64, loss: Option<f64>) {}
    /// The phase is over.
    fn end(&mut self) {}
    /// Something worth a line.
    fn note(&mut self, text: &str) {}
    /// The work waits for somebody else, and why.
    fn wait(&mut self, why: &str) {
        self.note(why);
    }
    /// Whether the work shall stop. Asked after every batch.
    fn stop(&self) -> bool {
        false
    }
}

/// Says nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
