//! The figures of a run's correspondences: where a keypoint's embedding finds its like
//! (`similarity`), the same and all matches layer by layer, and the share of right ones by category.

pub(crate) mod categories;
mod heat;
pub(crate) mod layers;
mod pairs;
pub(crate) mod similarity;

use crate::error::FigureError;
use crate::pixels::Rgb;
use crate::svg::{Embedded, Svg};

/// Colors of marks on photographs, which are edged in black.
const TRUE_POINT: &str = "#ffffff";
const MATCH: &str = "#4dd2ff";

/// A photograph in its cell: centered and in proportion.
#[derive(Clone, Copy)]
struct Fitted {
    /// Left, top, width and height.
    place: [f64; 4],
    scale: f64,
}

impl Fitted {
    fn new([left, top, width, height]: [f64; 4], picture: &Rgb) -> Self {
        let (w, h) = (picture.width as f64, picture.height as f64);
        let scale = (width / w).min(height / h);
        let (w, h) = (w * scale, h * scale);
        Self {
            place: [left + (width - w) / 2.0, top + (height - h) / 2.0, w, h],
            scale,
        }
    }

    /// As many pixels a side as print can show.
    fn pixels(&self) -> usize {
        (self.place[2].max(self.place[3]) * 2.5) as usize
    }

    /// Where a pixel's center lies in the drawing.
    fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [
            self.place[0] + (x + 0.5) * self.scale,
            self.place[1] + (y + 0.5) * self.scale,
        ]
    }

    fn embed(&self, svg: &mut Svg, picture: &Rgb, label: &str) -> Result<(), FigureError> {
        let bytes = picture.reduced(self.pixels()).jpeg()?;
        let mime = "image/jpeg";
        svg.picture(self.place, &Embedded { mime, bytes }, label);
        Ok(())
    }
}
