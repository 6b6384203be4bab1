//! Scenes to pixels.

use crate::noise::speckle;
use crate::scene::{SIDE, Scene};

/// An image with its exact ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Side in pixels.
    pub side: usize,
    /// Red, green and blue, row by row.
    pub rgb: Vec<u8>,
    /// The class at each pixel's center, row by row.
    pub mask: Vec<u8>,
}

impl Scene {
    /// The scene at its own size. A pixel's color is the mean of four points in it; its class is what lies
    /// at its center.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let mut picture = Picture {
            side: SIDE,
            rgb: Vec::with_capacity(3 * SIDE * SIDE),
            mask: Vec::with_capacity(SIDE * SIDE),
        };
        for row in 0..SIDE {
            for column in 0..SIDE {
                let (x, y) = (column as f64, row as f64);
                let mut sum = [0.0; 3];
                for (dx, dy) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
                    let color = self.color_at([x + dx, y + dy]);
                    for (sum, value) in sum.iter_mut().zip(color) {
                        *sum += value;
                    }
                }
                let grain = 7.0 * (speckle(column as i64, row as i64, self.light.grain()) - 0.5);
                picture
                    .rgb
                    .extend(sum.map(|sum| (sum / 4.0 + grain + 0.5).clamp(0.0, 255.0) as u8));
                picture.mask.push(self.class_at([x + 0.5, y + 0.5]).index());
            }
        }
        picture
    }
}
