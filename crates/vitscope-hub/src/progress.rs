//! How a download tells what it is doing.

/// Receives news of downloads.
pub trait Progress {
    /// A file begins, or begins again after a break: `done` of its `total` bytes are there.
    fn begin(&mut self, file: &str, done: u64, total: Option<u64>);
    /// So many more bytes came.
    fn advance(&mut self, bytes: u64);
    /// The file is complete.
    fn end(&mut self);
    /// Something worth a line.
    fn note(&mut self, text: &str);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentProgress;

impl Progress for SilentProgress {
    fn begin(&mut self, _: &str, _: u64, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, _: &str) {}
}
