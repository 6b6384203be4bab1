//! The backend through which plotters draws into an [`Svg`]: charts keep the figures' font, their
//! colors with names, and numbers with two decimals.

use std::convert::Infallible;

use plotters::element::{Drawable, PointCollection};
use plotters::style::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle, FontTransform,
};

use crate::svg::{Anchor, Svg, Type};
use crate::text::{self, Weight};
use crate::theme::{self, Paint};

/// What plotters counts as a pixel, per unit: it knows whole pixels only, and a figure's numbers
/// have two decimals.
pub(crate) const FINE: f64 = 1000.0;

/// A length in plotters' pixels.
pub(crate) fn fine(length: f64) -> i32 {
    (length * FINE).round() as i32
}

/// The part of a drawing that a chart covers.
pub(crate) struct Pen<'a> {
    pub(crate) svg: &'a mut Svg,
    /// Left, top, width and height.
    pub(crate) place: [f64; 4],
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl Pen<'_> {
    fn at(&self, (x, y): BackendCoord) -> [f64; 2] {
        let [left, top, ..] = self.place;
        [left + f64::from(x) / FINE, top + f64::from(y) / FINE]
    }

    fn points(&self, path: impl IntoIterator<Item = BackendCoord>) -> Vec<[f64; 2]> {
        path.into_iter().map(|point| self.at(point)).collect()
    }
}

/// The named color; `None` where nothing is to be seen.
fn paint(color: BackendColor) -> Option<Paint> {
    let (red, green, blue) = color.rgb;
    (color.alpha > 0.0).then(|| theme::named([red, green, blue]))
}

fn thickness(style: &impl BackendStyle) -> f64 {
    f64::from(style.stroke_width()) / FINE
}

impl DrawingBackend for Pen<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        let [.., width, height] = self.place;
        (fine(width).unsigned_abs(), fine(height).unsigned_abs())
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    /// Pixels are not drawn: a figure has lines and areas only.
    fn draw_pixel(&mut self, _: BackendCoord, _: BackendColor) -> Drawn {
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        if let Some(paint) = paint(style.color()) {
            let [from, to] = [from, to].map(|point| self.at(point));
            self.svg.line(from, to, paint, thickness(style), "");
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let points = self.points(path);
        match (points.as_slice(), paint(style.color())) {
            (&[from, to], Some(paint)) => self.svg.line(from, to, paint, thickness(style), ""),
            (points, Some(paint)) => self.svg.polyline(points, paint, thickness(style)),
            (_, None) => {}
        }
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        corner: BackendCoord,
        opposite: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let ([left, top], [right, bottom]) = (self.at(corner), self.at(opposite));
        let rect = [left, top, right - left, bottom - top];
        match paint(style.color()) {
            Some(paint) if fill => self.svg.rect(rect, paint),
            Some(paint) => self.svg.frame(rect, paint, thickness(style)),
            None => {}
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        let points = self.points(corners);
        if let Some(paint) = paint(style.color()) {
            self.svg.area(&points, paint, style.color().alpha);
        }
        Ok(())
    }

    fn draw_text<TStyle: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &TStyle,
        place: BackendCoord,
    ) -> Drawn {
        let Some(paint) = paint(style.color()) else {
            return Ok(());
        };
        let size = style.size() / FINE;
        // From the named point to the baseline, by Inter's height of capitals and depth.
        let down = match style.anchor().v_pos {
            VPos::Top => 0.76 * size,
            VPos::Center => 0.36 * size,
            VPos::Bottom => -0.22 * size,
        };
        let anchor = match style.anchor().h_pos {
            HPos::Left => Anchor::Start,
            HPos::Center => Anchor::Middle,
            HPos::Right => Anchor::End,
        };
        let weight = weight(style);
        let style_ = Type {
            size,
            weight,
            anchor,
            paint,
        };
        let [x, y] = self.at(place);
        match style.transform() {
            FontTransform::Rotate270 => self.svg.text_upward([x + down, y], style_, text),
            _ => self.svg.text([x, y + down], style_, text),
        }
        Ok(())
    }

    fn estimate_text_size<TStyle: BackendTextStyle>(
        &self,
        text: &str,
        style: &TStyle,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let width = text::width(text, style.size(), weight(style));
        Ok((width.ceil() as u32, style.size().ceil() as u32))
    }
}

fn weight(style: &impl BackendTextStyle) -> Weight {
    match style.style() {
        FontStyle::Bold => Weight::SemiBold,
        _ => Weight::Regular,
    }
}

/// What is drawn by the writer itself, at places that a chart's scales give.
pub(crate) struct ByHand<F> {
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) draw: F,
}

impl<'a, F> PointCollection<'a, (f64, f64)> for &'a ByHand<F> {
    type Point = &'a (f64, f64);
    type IntoIter = &'a [(f64, f64)];

    fn point_iter(self) -> &'a [(f64, f64)] {
        &self.points
    }
}

impl<F: Fn(&mut Svg, &[[f64; 2]])> Drawable<Pen<'_>> for ByHand<F> {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        places: I,
        pen: &mut Pen<'_>,
        _: (u32, u32),
    ) -> Drawn {
        let places = pen.points(places);
        (self.draw)(pen.svg, &places);
        Ok(())
    }
}
