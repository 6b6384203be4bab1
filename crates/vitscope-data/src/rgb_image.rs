//! Decoded images.

/// An 8-bit RGB image of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u8>,
}

impl RgbImage {
    /// An image from its pixels.
    ///
    /// # Shapes
    /// `pixels`: `[height, width, 3]`, row-major.
    ///
    /// Gives `None` for an empty image, or where `pixels` has another length.
    #[must_use]
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Option<Self> {
        let length = width.checked_mul(height)?.checked_mul(3)?;
        (length > 0 && pixels.len() == length).then_some(Self {
            width,
            height,
            pixels,
        })
    }

    /// Width in pixels, at least 1.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, at least 1.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, `[height, width, 3]` row-major.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels, given away.
    #[must_use]
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}
