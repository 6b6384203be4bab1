//! Test images that are counted together.

/// Test images that are counted together.
#[derive(Clone, Copy, Debug)]
pub struct TestBatch<'a> {
    /// Their numbers in the evaluation set.
    pub images: &'a [usize],
    /// The class of every pixel, image by image, [`IGNORED`](vitscope_measure::IGNORED) for none; absent without
    /// ground truth.
    pub truth: Option<&'a [u8]>,
}
