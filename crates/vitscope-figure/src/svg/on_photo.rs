//! Marks on photographs, which are edged in black so that they show on any ground.

use super::{Svg, n};
use crate::theme::Paint;

impl Svg {
    /// A ring on a photograph, white within black, so that it shows on any ground.
    pub(crate) fn ring(&mut self, [x, y]: [f64; 2], radius: f64, color: &str) {
        for (stroke, width) in [("#000000", 4.2), (color, 2.2)] {
            self.element(format_args!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>",
                n(x), n(y), n(radius)
            ));
        }
    }

    /// A thin dashed circle on a photograph: what lies inside is accepted.
    pub(crate) fn limit(&mut self, [x, y]: [f64; 2], radius: f64) {
        for (stroke, width, dashes) in [
            ("#000000", 2.4, ""),
            ("#ffffff", 1.2, " stroke-dasharray=\"4 3\""),
        ] {
            self.element(format_args!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\"{dashes}/>",
                n(x), n(y), n(radius)
            ));
        }
    }

    /// A dot on a photograph, edged in black.
    pub(crate) fn dot(&mut self, [x, y]: [f64; 2], radius: f64, paint: Paint) {
        self.element(format_args!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\" stroke=\"#000000\" stroke-width=\"0.6\"/>",
            n(x), n(y), n(radius), paint.hex
        ));
    }

    /// A cross on a photograph, edged in black.
    pub(crate) fn cross(&mut self, [x, y]: [f64; 2], arm: f64, color: &str) {
        for (stroke, width) in [("#000000", 4.2), (color, 2.2)] {
            self.element(format_args!(
                "<path d=\"M{} {}L{} {}M{} {}L{} {}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>",
                n(x - arm), n(y - arm), n(x + arm), n(y + arm), n(x - arm), n(y + arm), n(x + arm), n(y - arm)
            ));
        }
    }
}
