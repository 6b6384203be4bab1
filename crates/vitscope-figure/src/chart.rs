//! Charts, drawn by plotters: a frame with its scales, ticks and grid lines, and series by value.
//! Charts that stand side by side are several frames of one drawing.

use std::convert::Infallible;
use std::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext, LabelAreaPosition};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::combinators::{IntoLogRange, LogCoord};
use plotters::coord::ranged1d::{
    BoldPoints, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter,
};
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Drawable, PathElement, PointCollection, Polygon, Rectangle};
use plotters::style::{Color, FontStyle, TRANSPARENT, TextStyle};

use crate::error::FigureError;
use crate::metrics::Measured;
use crate::pen::{ByHand, FINE, Pen, fine};
use crate::svg::{Svg, Type};
use crate::text;
use crate::theme::{self, Mark, Paint};

/// Room for the labels and the name of an upright axis.
const BESIDE: f64 = 56.0;
/// Room for the labels and the name of a level axis.
const BELOW: f64 = 43.0;
/// As many labels as an axis of values has at most.
const MOST_TICKS: usize = 6;
/// Room that a label of a level axis needs.
const TICK_ROOM: f64 = 38.0;
/// Names that stand beside one another without touching.
const MOST_NAMES: usize = 12;
/// How much of a band's color covers what lies below.
const BAND: f64 = 0.16;

/// How values become places along an axis.
#[derive(Clone, Debug)]
pub(crate) enum Scale {
    /// Equal steps are equal distances.
    Linear(Range<f64>),
    /// Equal factors are equal distances; values are positive.
    Log(Range<f64>),
    /// Names or whole numbers, one place each, counted from 0.
    Places(Vec<String>),
    /// That many rows, the first at the top, counted from 0; their names are the caller's.
    Rows(usize),
}

impl Scale {
    /// From 0 (or below, if a value is) to a little beyond the largest value.
    pub(crate) fn linear(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, largest) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((0.0_f64, 0.0_f64), |(least, largest), value| {
                (least.min(value), largest.max(value))
            });
        // Less than any figure prints is 0; plotters would look for ticks without end.
        if largest - least < 1e-9 {
            return Self::Linear(0.0..1.0);
        }
        let room = 0.06 * (largest - least);
        Self::Linear(if least < 0.0 { least - room } else { 0.0 }..largest + room)
    }

    /// From a little below the least positive value to a little above the largest.
    pub(crate) fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, largest) = values
            .into_iter()
            .filter(|&value| value > 0.0 && value.is_finite())
            .fold((f64::INFINITY, 0.0_f64), |(least, largest), value| {
                (least.min(value), largest.max(value))
            });
        if largest <= 0.0 {
            return Self::Log(0.1..1.0);
        }
        // At least half a decade, so that there are ticks.
        let reach = (largest / least).max(3.2);
        let middle = (largest * least).sqrt();
        let half = reach.sqrt() * 1.08;
        Self::Log(middle / half..middle * half)
    }

    /// Where the axis begins (at the left, or below) and ends.
    fn ends(&self) -> Range<f64> {
        match self {
            Self::Linear(range) | Self::Log(range) => range.clone(),
            Self::Places(names) => -0.5..names.len().max(1) as f64 - 0.5,
            Self::Rows(rows) => (*rows).max(1) as f64 - 0.5..-0.5,
        }
    }

    /// Where the line stands from which values are read: at 0, or where the axis begins.
    fn base(&self) -> Option<f64> {
        match self {
            Self::Linear(range) => Some(range.start.max(0.0)),
            Self::Log(range) => Some(range.start),
            Self::Places(_) | Self::Rows(_) => None,
        }
    }
}

/// An axis as plotters knows it.
struct Axis {
    scale: Scale,
    most_ticks: usize,
    linear: RangedCoordf64,
    log: Option<LogCoord<f64>>,
}

impl Axis {
    fn new(scale: Scale, most_ticks: usize) -> Self {
        let linear = scale.ends();
        let log = match &scale {
            Scale::Log(range) => Some(range.clone().log_scale().into()),
            _ => None,
        };
        Self {
            scale,
            most_ticks,
            linear: linear.into(),
            log,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        match &self.log {
            Some(log) => log.map(value, limit),
            None => self.linear.map(value, limit),
        }
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match &self.scale {
            Scale::Linear(_) => self.linear.key_points(hint),
            // plotters' own begin at the first power of ten, and a range may have none.
            Scale::Log(range) => {
                let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
                let ticks = |digits: &'static [f64]| -> Vec<f64> {
                    let all = decades.clone().flat_map(|power| {
                        let of_digit = move |digit: &f64| digit * 10_f64.powi(power);
                        digits.iter().map(of_digit)
                    });
                    all.filter(|tick| range.contains(tick)).collect()
                };
                let few = ticks(&[1.0, 2.0, 5.0]);
                if few.len() > 2 {
                    few
                } else {
                    ticks(&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0])
                }
            }
            // Labels never touch: every place up to 12, then every second, fourth, ...
            Scale::Places(names) => {
                let stride = names.len().div_ceil(MOST_NAMES).next_power_of_two();
                let shown =
                    (0..names.len()).filter(|index| (index + 1) % stride == 0 || names.len() == 1);
                shown.map(|index| index as f64).collect()
            }
            Scale::Rows(_) => Vec::new(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.linear.range()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, &value: &f64) -> String {
        match &self.scale {
            Scale::Linear(_) => match self.key_points(BoldPoints(self.most_ticks)).as_slice() {
                [first, second, ..] => rounded(value, second - first),
                _ => rounded(value, value),
            },
            Scale::Log(_) => rounded(value, value),
            Scale::Places(names) => names.get(value as usize).cloned().unwrap_or_default(),
            Scale::Rows(_) => String::new(),
        }
    }
}

/// A tick's label with the decimals that its axis needs.
fn rounded(value: f64, step: f64) -> String {
    let decimals = (0..6).find(|&decimals| {
        let scaled = step * 10_f64.powi(decimals);
        (scaled - scaled.round()).abs() < 1e-6
    });
    // Without a sign where a sum of steps misses 0.
    let value = if value.abs() < step * 1e-6 {
        0.0
    } else {
        value
    };
    format!("{value:.*}", decimals.unwrap_or(6) as usize)
}

/// A chart before anything is drawn in it.
#[derive(Clone, Debug)]
pub(crate) struct Frame<'a> {
    /// Left, top, width and height of the plotted area.
    pub(crate) place: [f64; 4],
    pub(crate) x: Scale,
    pub(crate) y: Scale,
    /// Names of the axes; an empty one is not written.
    pub(crate) x_name: &'a str,
    pub(crate) y_name: &'a str,
    /// Whether the axes have labels: charts that share one have it once.
    pub(crate) labels: [bool; 2],
}

/// A chart with its axes, for series.
pub(crate) struct Chart<'a> {
    context: ChartContext<'a, Pen<'a>, Cartesian2d<Axis, Axis>>,
    place: [f64; 4],
    /// Where the axes begin and end.
    ends: [Range<f64>; 2],
}

type Failure = DrawingAreaErrorKind<Infallible>;

fn failed(error: Failure) -> FigureError {
    FigureError::render("chart", error)
}

/// A style of text as plotters knows it.
fn written(style: Type) -> TextStyle<'static> {
    let weight = match style.weight {
        text::Weight::Regular => FontStyle::Normal,
        text::Weight::SemiBold => FontStyle::Bold,
    };
    let mut written = TextStyle::from(("Inter", style.size * FINE, weight));
    written.color = style.paint.to_backend_color();
    written
}

fn stroke(paint: Paint, thickness: f64) -> plotters::style::ShapeStyle {
    paint.stroke_width(fine(thickness).unsigned_abs())
}

impl Frame<'_> {
    /// Draws grid lines and axes.
    pub(crate) fn open<'s>(&self, svg: &'s mut Svg) -> Result<Chart<'s>, FigureError> {
        let [left, top, width, height] = self.place;
        let [below, beside] = [(self.labels[0], BELOW), (self.labels[1], BESIDE)]
            .map(|(is_shown, room)| if is_shown { room } else { 0.0 });
        let place = [left - beside, top, width + beside, height + below];
        let root = Pen { svg, place }.into_drawing_area();
        let mut x = self.x.clone();
        if let Scale::Places(names) = &mut x {
            let count = names.len().clamp(1, MOST_NAMES) as f64;
            let fit = |name: &String| {
                text::fit(
                    name,
                    (width / count).max(24.0),
                    Type::NOTE.size,
                    Type::NOTE.weight,
                )
            };
            *names = names.iter().map(fit).collect();
        }
        let across = ((width / TICK_ROOM) as usize).clamp(2, MOST_TICKS);
        let mut context = ChartBuilder::on(&root)
            .set_label_area_size(LabelAreaPosition::Bottom, fine(below))
            .set_label_area_size(LabelAreaPosition::Left, fine(beside))
            .build_cartesian_2d(Axis::new(x, across), Axis::new(self.y.clone(), MOST_TICKS))
            .map_err(failed)?;
        // Values have grid lines, names have ticks; an axis of values is no line of its own.
        let is_named = [&self.x, &self.y].map(|scale| matches!(scale, Scale::Places(_)));
        for (axis, is_named) in is_named.into_iter().enumerate() {
            let mut mesh = context.configure_mesh();
            mesh.bold_line_style(stroke(theme::RULE, 1.0))
                .max_light_lines(0)
                .x_labels(across)
                .y_labels(MOST_TICKS)
                .label_style(written(Type::NOTE))
                .axis_desc_style(written(Type::LABEL))
                .set_all_tick_mark_size(fine(3.5));
            if is_named {
                mesh.disable_mesh().axis_style(stroke(theme::MUTED, 1.0));
            } else {
                mesh.axis_style(TRANSPARENT);
            }
            if axis == 0 {
                mesh.disable_y_mesh().disable_y_axis();
                if !self.x_name.is_empty() {
                    mesh.x_desc(self.x_name);
                }
            } else {
                mesh.disable_x_mesh().disable_x_axis();
                if !self.y_name.is_empty() {
                    mesh.y_desc(self.y_name);
                }
            }
            mesh.draw().map_err(failed)?;
        }
        let chart = Chart {
            context,
            place,
            ends: [self.x.ends(), self.y.ends()],
        };
        let [x, y] = &chart.ends;
        if let Some(at) = self.x.base() {
            chart.line(&[(at, y.start), (at, y.end)], theme::MUTED, 1.0)?;
        }
        if let Some(at) = self.y.base() {
            chart.line(&[(x.start, at), (x.end, at)], theme::MUTED, 1.0)?;
        }
        Ok(chart)
    }
}

impl<'a> Chart<'a> {
    fn draw<E>(&self, element: &E) -> Result<(), FigureError>
    where
        for<'b> &'b E: PointCollection<'b, (f64, f64)>,
        E: Drawable<Pen<'a>>,
    {
        self.context.plotting_area().draw(element).map_err(failed)
    }

    /// Where values lie in the drawing.
    pub(crate) fn at(&self, x: f64, y: f64) -> [f64; 2] {
        let (across, down) = self.context.backend_coord(&(x, y));
        let [left, top, ..] = self.place;
        [
            left + f64::from(across) / FINE,
            top + f64::from(down) / FINE,
        ]
    }

    /// What only the writer can draw, at the places of values.
    pub(crate) fn by_hand(
        &self,
        points: &[(f64, f64)],
        draw: impl Fn(&mut Svg, &[[f64; 2]]),
    ) -> Result<(), FigureError> {
        let points = points.to_vec();
        self.draw(&ByHand { points, draw })
    }

    /// A group that the page's script finds by `attribute`; `draw` draws what is in it.
    pub(crate) fn group(
        &self,
        attribute: &str,
        value: &str,
        draw: impl FnOnce(&Self) -> Result<(), FigureError>,
    ) -> Result<(), FigureError> {
        self.by_hand(&[], |svg, _| svg.begin(attribute, value))?;
        draw(self)?;
        self.by_hand(&[], |svg, _| svg.end())
    }

    /// A text beside a point.
    pub(crate) fn text(
        &self,
        point: (f64, f64),
        [right, down]: [f64; 2],
        style: Type,
        text: &str,
    ) -> Result<(), FigureError> {
        self.by_hand(&[point], |svg, places| {
            let [x, y] = places[0];
            svg.text([x + right, y + down], style, text);
        })
    }

    /// A line through values.
    pub(crate) fn line(
        &self,
        points: &[(f64, f64)],
        paint: Paint,
        thickness: f64,
    ) -> Result<(), FigureError> {
        self.draw(&PathElement::new(points, stroke(paint, thickness)))
    }

    /// A dashed line across the chart: a value that belongs to no single place.
    pub(crate) fn across(&self, y: f64, paint: Paint) -> Result<(), FigureError> {
        let ends = [(self.ends[0].start, y), (self.ends[0].end, y)];
        self.by_hand(&ends, |svg, places| {
            svg.line(places[0], places[1], paint, 1.6, theme::DASHES);
        })
    }

    /// Translucent areas between the lower and upper ends of intervals; a missing one breaks the
    /// area, and one alone is an upright line.
    pub(crate) fn bands(
        &self,
        intervals: &[Option<(f64, (f64, f64))>],
        paint: Paint,
    ) -> Result<(), FigureError> {
        for stretch in intervals.split(Option::is_none) {
            let edges = || stretch.iter().flatten();
            if let [Some((x, interval))] = *stretch {
                self.interval(x, Some(interval), paint)?;
            } else if !stretch.is_empty() {
                let lower = edges().map(|&(x, (low, _))| (x, low));
                let upper = edges().rev().map(|&(x, (_, high))| (x, high));
                let corners: Vec<(f64, f64)> = lower.chain(upper).collect();
                self.draw(&Polygon::new(corners, paint.mix(BAND)))?;
            }
        }
        Ok(())
    }

    /// A translucent area across the whole chart.
    pub(crate) fn band_across(
        &self,
        interval: (f64, f64),
        paint: Paint,
    ) -> Result<(), FigureError> {
        let Range { start, end } = self.ends[0];
        self.bands(&[Some((start, interval)), Some((end, interval))], paint)
    }

    /// A filled bar between two corners.
    pub(crate) fn bar(&self, corners: [(f64, f64); 2], paint: Paint) -> Result<(), FigureError> {
        self.draw(&Rectangle::new(corners, paint.filled()))
    }

    /// An upright line over an interval.
    pub(crate) fn interval(
        &self,
        x: f64,
        interval: Option<(f64, f64)>,
        paint: Paint,
    ) -> Result<(), FigureError> {
        match interval {
            Some((low, high)) => self.line(&[(x, low), (x, high)], paint, 1.6),
            None => Ok(()),
        }
    }

    /// A level bar in a row of its own: what a class is measured at, with its interval, and the
    /// ground truth's value as an upright line.
    pub(crate) fn class_bar(
        &self,
        row: usize,
        class: usize,
        measured: Measured,
        truth: Option<f64>,
        paint: Paint,
    ) -> Result<(), FigureError> {
        let y = row as f64;
        self.group("class", &class.to_string(), |chart| {
            match measured.value {
                Some(value) => chart.bar([(0.0, y - 0.3), (value.max(0.0), y + 0.3)], paint)?,
                None => chart.text((0.0, y), [5.0, 4.5], Type::NOTE, "undefined")?,
            }
            if let Some((low, high)) = measured.interval() {
                chart.line(&[(low, y), (high, y)], theme::INK, 1.4)?;
            }
            match truth {
                Some(truth) => chart.line(&[(truth, y - 0.42), (truth, y + 0.42)], theme::INK, 2.0),
                None => Ok(()),
            }
        })
    }

    /// A line through points with their marks; a missing point breaks the line.
    pub(crate) fn series(
        &self,
        points: &[Option<(f64, f64)>],
        mark: Mark,
        paint: Paint,
    ) -> Result<(), FigureError> {
        for stretch in points.split(Option::is_none) {
            let line: Vec<(f64, f64)> = stretch.iter().flatten().copied().collect();
            if line.len() > 1 {
                self.line(&line, paint, 1.8)?;
            }
        }
        let marked: Vec<(f64, f64)> = points.iter().flatten().copied().collect();
        self.by_hand(&marked, |svg, places| {
            for &place in places {
                svg.mark(place, mark, paint);
            }
        })
    }
}

/// Names with their marks in a line that breaks where it must; gives the position below.
pub(crate) fn key(svg: &mut Svg, left: f64, top: f64, names: &[(String, Mark, Paint)]) -> f64 {
    const GAP: f64 = 18.0;
    const LINE: f64 = 21.0;
    let mut place = [left, top];
    for (name, mark, paint) in names {
        let width = 18.0 + text::width(name, Type::LABEL.size, Type::LABEL.weight);
        if place[0] + width > svg.width - theme::MARGIN && place[0] > left {
            place = [left, place[1] + LINE];
        }
        svg.mark([place[0] + 6.0, place[1] + 9.5], *mark, *paint);
        svg.text([place[0] + 17.0, place[1] + 14.0], Type::LABEL, name);
        place[0] += width + GAP;
    }
    place[1] + LINE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale) -> Vec<String> {
        let axis = Axis::new(scale, MOST_TICKS);
        let ticks = axis.key_points(BoldPoints(MOST_TICKS));
        ticks.iter().map(|tick| axis.format_ext(tick)).collect()
    }

    #[test]
    fn logarithmic_axes_have_ticks_and_plain_numbers() {
        assert_eq!(
            labels(Scale::log([0.02, 0.31, 0.0])),
            ["0.02", "0.05", "0.1", "0.2"]
        );
        assert_eq!(
            labels(Scale::log([0.06, 0.23])),
            ["0.07", "0.1", "0.15", "0.2"]
        );
    }

    #[test]
    fn linear_axes_begin_at_zero_unless_values_lie_below() {
        assert_eq!(
            labels(Scale::linear([0.2, 0.4])),
            ["0.0", "0.1", "0.2", "0.3", "0.4"]
        );
        assert_eq!(
            labels(Scale::linear([-0.1, 0.1])),
            ["-0.10", "-0.05", "0.00", "0.05", "0.10"]
        );
        let flat = labels(Scale::linear([f64::NAN, 1e-17]));
        assert_eq!(
            (flat.first().map(String::as_str), flat.len()),
            (Some("0.0"), 6)
        );
    }

    #[test]
    fn many_places_are_named_in_part() {
        let names = (1..=24).map(|layer: u32| layer.to_string()).collect();
        assert_eq!(labels(Scale::Places(names))[..3], ["2", "4", "6"]);
    }
}
