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

/// A camera over a scene: `[x, y]` of the picture shows `matrix [x, y] + shift` of the scene, both in
/// pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// By rows.
    pub matrix: [[f64; 2]; 2],
    /// In pixels of the scene.
    pub shift: [f64; 2],
}

impl Camera {
    /// The scene as it is.
    pub const PLAIN: Self = Self {
        matrix: [[1.0, 0.0], [0.0, 1.0]],
        shift: [0.0; 2],
    };

    /// The scene's point at a point of the picture.
    #[must_use]
    pub fn seen(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [a, b] = self.matrix;
        [
            a[0] * x + a[1] * y + self.shift[0],
            b[0] * x + b[1] * y + self.shift[1],
        ]
    }

    /// The picture's point at a point of the scene.
    #[must_use]
    pub fn shown(&self, at: [f64; 2]) -> [f64; 2] {
        let [[a, b], [c, d]] = self.matrix;
        let determinant = a * d - b * c;
        let (x, y) = (at[0] - self.shift[0], at[1] - self.shift[1]);
        [(d * x - b * y) / determinant, (a * y - c * x) / determinant]
    }
}

impl Scene {
    /// The scene at its own size.
    #[must_use]
    pub fn picture(&self) -> Picture {
        self.seen_by(&Camera::PLAIN)
    }

    /// The scene through a camera. A pixel's color is the mean of four points in it; its class is
    /// what lies at its center.
    #[must_use]
    pub fn seen_by(&self, camera: &Camera) -> Picture {
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
                    let color = self.color_at(camera.seen([x + dx, y + dy]));
                    for (sum, value) in sum.iter_mut().zip(color) {
                        *sum += value;
                    }
                }
                let grain = 7.0 * (speckle(column as i64, row as i64, self.light.grain()) - 0.5);
                picture
                    .rgb
                    .extend(sum.map(|sum| (sum / 4.0 + grain + 0.5).clamp(0.0, 255.0) as u8));
                let center = camera.seen([x + 0.5, y + 0.5]);
                picture.mask.push(self.class_at(center).index());
            }
        }
        picture
    }
}
