//! Charts: a frame with its scales, ticks and grid lines, and series placed by value. Charts that
//! stand side by side are several frames of one drawing.

use std::ops::Range;

use vitscope_run::Measured;

use crate::scale::{MOST_NAMES, MOST_TICKS, Scale};
use crate::svg::{Anchor, Lettering, Svg};
use crate::text;
use crate::theme::{self, Mark, Paint};

/// From an upright axis to the upper edge of its name, which reads upward.
const BESIDE: f64 = 56.0;
/// From a level axis to the lower edge of its name.
const BELOW: f64 = 43.0;
/// Room for the name of a level axis, however short it is.
const X_NAME: f64 = 120.0;
/// Room that a label of a level axis needs.
const TICK_ROOM: f64 = 38.0;
/// Length of a tick, and twice as far the label.
const TICK: f64 = 3.5;
/// How much of a band's color covers what lies below.
const BAND: f64 = 0.16;

/// From the top of a line of text to its baseline, as a share of its size, by Inter's height of
/// capitals and depth; from its middle; and from its bottom.
const FROM_TOP: f64 = 0.76;
const FROM_MIDDLE: f64 = 0.36;
const FROM_BOTTOM: f64 = -0.22;

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
    pub(crate) svg: &'a mut Svg,
    place: [f64; 4],
    x: Scale,
    y: Scale,
}

impl Frame<'_> {
    /// Draws grid lines and axes. Values have grid lines, names have ticks; an axis of values is no
    /// line of its own.
    pub(crate) fn open<'s>(&self, svg: &'s mut Svg) -> Chart<'s> {
        let mut chart = Chart {
            svg,
            place: self.place,
            x: self.x.clone(),
            y: self.y.clone(),
        };
        chart.level_axis(self);
        chart.upright_axis(self);
        let (x, y) = (chart.x.ends(), chart.y.ends());
        if let Some(at) = chart.x.base() {
            chart.line(&[(at, y.start), (at, y.end)], theme::MUTED, 1.0);
        }
        if let Some(at) = chart.y.base() {
            chart.line(&[(x.start, at), (x.end, at)], theme::MUTED, 1.0);
        }
        chart
    }
}

impl<'a> Chart<'a> {
    fn level_axis(&mut self, frame: &Frame<'_>) {
        let [left, top, width, height] = self.place;
        let bottom = top + height;
        if frame.labels[0] && !frame.x_name.is_empty() {
            let y = bottom + BELOW + FROM_BOTTOM * theme::TEXT;
            let style = Lettering::LABEL.anchor(Anchor::Middle);
            let place = [left + width / 2.0, y];
            self.svg
                .fitted(place, style, width.max(X_NAME), frame.x_name);
        }
        let most = ((width / TICK_ROOM) as usize).clamp(2, MOST_TICKS);
        let ticks = self.x.ticks(most);
        let style = Lettering::NOTE.anchor(Anchor::Middle);
        let y = bottom + 2.0 * TICK + FROM_TOP * theme::NOTE;
        if let Scale::Places(names) = &self.x {
            let (from, to) = ([left, bottom], [left + width, bottom]);
            let room = (width / names.len().clamp(1, MOST_NAMES) as f64).max(24.0);
            if frame.labels[0] {
                self.svg.line(from, to, theme::MUTED, 1.0, "");
                for (value, name) in ticks {
                    let x = self.at(value, 0.0)[0];
                    self.svg.fitted([x, y], style, room, &name);
                    let end = [x, bottom + TICK];
                    self.svg.line([x, bottom], end, theme::MUTED, 1.0, "");
                }
            }
            return;
        }
        for (value, _) in &ticks {
            let x = self.at(*value, 0.0)[0];
            self.svg.line([x, bottom], [x, top], theme::RULE, 1.0, "");
        }
        for (value, label) in ticks.iter().filter(|_| frame.labels[0]) {
            let x = self.at(*value, 0.0)[0];
            self.svg.text([x, y], style, label);
        }
    }

    fn upright_axis(&mut self, frame: &Frame<'_>) {
        let [left, top, width, height] = self.place;
        if frame.labels[1] && !frame.y_name.is_empty() {
            let place = [left - BESIDE + FROM_TOP * theme::TEXT, top + height / 2.0];
            self.svg.text_upward(place, Lettering::LABEL, frame.y_name);
        }
        let ticks = self.y.ticks(MOST_TICKS);
        for (value, _) in &ticks {
            let y = self.at(0.0, *value)[1];
            self.svg
                .line([left, y], [left + width, y], theme::RULE, 1.0, "");
        }
        let style = Lettering::NOTE.anchor(Anchor::End);
        for (value, label) in ticks.iter().filter(|_| frame.labels[1]) {
            let y = self.at(0.0, *value)[1] + FROM_MIDDLE * theme::NOTE;
            self.svg.text([left - 2.0 * TICK, y], style, label);
        }
    }

    /// Where the axes begin and end.
    pub(crate) fn ends(&self) -> [Range<f64>; 2] {
        [self.x.ends(), self.y.ends()]
    }

    /// Where values lie in the drawing.
    pub(crate) fn at(&self, x: f64, y: f64) -> [f64; 2] {
        let [left, top, width, height] = self.place;
        [
            left + width * self.x.share(x),
            top + height - height * self.y.share(y),
        ]
    }

    /// A group that the page's script finds by `attribute`; `draw` draws what is in it.
    pub(crate) fn group(&mut self, attribute: &str, value: &str, draw: impl FnOnce(&mut Self)) {
        self.svg.begin(attribute, value);
        draw(self);
        self.svg.end();
    }

    /// A text beside a point.
    pub(crate) fn text(
        &mut self,
        (x, y): (f64, f64),
        [right, down]: [f64; 2],
        style: Lettering,
        text: &str,
    ) {
        let [x, y] = self.at(x, y);
        self.svg.text([x + right, y + down], style, text);
    }

    fn places(&self, points: &[(f64, f64)]) -> Vec<[f64; 2]> {
        points.iter().map(|&(x, y)| self.at(x, y)).collect()
    }

    /// A line through values.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], paint: Paint, thickness: f64) {
        match *self.places(points).as_slice() {
            [from, to] => self.svg.line(from, to, paint, thickness, ""),
            ref points => self.svg.polyline(points, paint, thickness),
        }
    }

    /// A dashed line across the chart: a value that belongs to no single place.
    pub(crate) fn across(&mut self, y: f64, paint: Paint, dashes: &str) {
        let Range { start, end } = self.x.ends();
        let [from, to] = [self.at(start, y), self.at(end, y)];
        self.svg.line(from, to, paint, 1.6, dashes);
    }

    /// A dashed line up the chart.
    pub(crate) fn upright(&mut self, x: f64, paint: Paint, dashes: &str) {
        let Range { start, end } = self.y.ends();
        let [from, to] = [self.at(x, start), self.at(x, end)];
        self.svg.line(from, to, paint, 1.6, dashes);
    }

    /// Translucent areas between the lower and upper ends of intervals; a missing one breaks the
    /// area, and one alone is an upright line.
    pub(crate) fn bands(&mut self, intervals: &[Option<(f64, (f64, f64))>], paint: Paint) {
        for stretch in intervals.split(Option::is_none) {
            let edges = || stretch.iter().flatten();
            if let [Some((x, interval))] = *stretch {
                self.interval(x, Some(interval), paint);
            } else if !stretch.is_empty() {
                let lower = edges().map(|&(x, (low, _))| (x, low));
                let upper = edges().rev().map(|&(x, (_, high))| (x, high));
                let corners: Vec<(f64, f64)> = lower.chain(upper).collect();
                let corners = self.places(&corners);
                self.svg.area(&corners, paint, BAND);
            }
        }
    }

    /// A translucent area across the whole chart.
    pub(crate) fn band_across(&mut self, interval: (f64, f64), paint: Paint) {
        let Range { start, end } = self.x.ends();
        self.bands(&[Some((start, interval)), Some((end, interval))], paint);
    }

    /// A filled bar between two corners.
    pub(crate) fn bar(&mut self, corners: [(f64, f64); 2], paint: Paint) {
        let [[x0, y0], [x1, y1]] = corners.map(|(x, y)| self.at(x, y));
        let place = [x0.min(x1), y0.min(y1), (x1 - x0).abs(), (y1 - y0).abs()];
        self.svg.rect(place, paint);
    }

    /// An upright line over an interval.
    pub(crate) fn interval(&mut self, x: f64, interval: Option<(f64, f64)>, paint: Paint) {
        if let Some((low, high)) = interval {
            self.line(&[(x, low), (x, high)], paint, 1.6);
        }
    }

    /// A level bar in a row of its own: what a class is measured at, with its interval, and the
    /// ground truth's value as an upright line.
    pub(crate) fn class_bar(
        &mut self,
        row: usize,
        class: usize,
        measured: Measured,
        truth: Option<f64>,
        paint: Paint,
    ) {
        let y = row as f64;
        self.group("class", &class.to_string(), |chart| {
            match measured.value {
                Some(value) => chart.bar([(0.0, y - 0.3), (value.max(0.0), y + 0.3)], paint),
                None => chart.text((0.0, y), [5.0, 4.5], Lettering::NOTE, "undefined"),
            }
            if let Some((low, high)) = measured.interval {
                chart.line(&[(low, y), (high, y)], theme::INK, 1.4);
            }
            if let Some(truth) = truth {
                chart.line(&[(truth, y - 0.42), (truth, y + 0.42)], theme::INK, 2.0);
            }
        });
    }

    /// A line through points with their marks; a missing point breaks the line.
    pub(crate) fn series(&mut self, points: &[Option<(f64, f64)>], mark: Mark, paint: Paint) {
        self.course(points, paint);
        for &(x, y) in points.iter().flatten() {
            let place = self.at(x, y);
            self.svg.mark(place, mark, paint);
        }
    }

    /// A line through points; a missing one breaks it.
    pub(crate) fn course(&mut self, points: &[Option<(f64, f64)>], paint: Paint) {
        for stretch in points.split(Option::is_none) {
            let line: Vec<(f64, f64)> = stretch.iter().flatten().copied().collect();
            if line.len() > 1 {
                self.line(&line, paint, 1.8);
            }
        }
    }
}

/// Names with their marks in a line that breaks where it must; gives the position below.
pub(crate) fn key(svg: &mut Svg, left: f64, top: f64, names: &[(String, Mark, Paint)]) -> f64 {
    const GAP: f64 = 18.0;
    const LINE: f64 = 21.0;
    let style = Lettering::LABEL;
    let mut place = [left, top];
    let room = svg.width - theme::MARGIN - left - 18.0;
    for (name, mark, paint) in names {
        let width = 18.0 + text::width(name, style.size, style.weight).min(room);
        if place[0] + width > svg.width - theme::MARGIN && place[0] > left {
            place = [left, place[1] + LINE];
        }
        svg.mark([place[0] + 6.0, place[1] + 9.5], *mark, *paint);
        svg.fitted([place[0] + 17.0, place[1] + 14.0], style, room, name);
        place[0] += width + GAP;
    }
    place[1] + LINE
}
