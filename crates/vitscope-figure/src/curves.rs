//! The figures that show a metric over the layers, with one curve per facet.

use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::metrics::Measured;
use crate::run_dir::{Facet, Run, Slot};
use crate::svg::{Anchor, Svg, Type};
use crate::text::{self, Weight};
use crate::theme::{self, Mark, Paint};

const WIDTH: f64 = theme::COLUMN_WIDTH;
const LEFT: f64 = 62.0;
const TOP: f64 = 16.0;
const PLOT_WIDTH: f64 = 300.0;
const PLOT_HEIGHT: f64 = 240.0;
const RIGHT: f64 = LEFT + PLOT_WIDTH;
const BOTTOM: f64 = TOP + PLOT_HEIGHT;

/// What one of these figures shows.
struct Subject {
    name: &'static str,
    heading: &'static str,
    metric: &'static str,
    axis: &'static str,
    note: Option<&'static str>,
    absent: &'static str,
}

/// One facet's points; a layer without a value breaks the curve.
struct Curve {
    facet: Facet,
    points: Vec<Option<Point>>,
}

#[derive(Clone, Copy)]
struct Point {
    value: f64,
    interval: Option<(f64, f64)>,
}

/// Everything that is drawn, with the scales.
struct Plot {
    layers: Vec<u32>,
    curves: Vec<Curve>,
    truth: Option<Point>,
    /// The values at the lower and upper edge, and the distance of ticks.
    low: f64,
    high: f64,
    step: f64,
}

pub(crate) fn draw_miou(run: &Run) -> Result<Plate, FigureError> {
    let subject = Subject {
        name: "miou-by-layer",
        heading: "Segmentation quality by layer",
        metric: "miou",
        axis: "mIoU",
        note: None,
        absent: if run.data.has_truth {
            "The run has no mIoU yet."
        } else {
            "mIoU needs ground truth, and this run has none."
        },
    };
    draw(run, &subject)
}

pub(crate) fn draw_nmi(run: &Run) -> Result<Plate, FigureError> {
    let subject = Subject {
        name: "nmi-by-layer",
        heading: "Positional effect by layer",
        metric: "nmi",
        axis: "positional effect (NMI)",
        note: Some(figure::NMI_NOTE),
        absent: "The run has no positional effect: it is undefined, or not measured yet.",
    };
    draw(run, &subject)
}

pub(crate) fn draw_pck(run: &Run) -> Result<Plate, FigureError> {
    let subject = Subject {
        name: "pck-by-layer",
        heading: "Correct key points by layer",
        metric: "pck",
        axis: "correct key points (PCK@0.1)",
        note: Some(
            "PCK@0.1: share of key points matched within a tenth of the longer side of the target's box.",
        ),
        absent: "The run has no PCK at the threshold 0.1.",
    };
    draw(run, &subject)
}

pub(crate) fn draw_excess(run: &Run) -> Result<Plate, FigureError> {
    let subject = Subject {
        name: "excess-by-layer",
        heading: "Positional effect above chance by layer",
        metric: "nmi_excess",
        axis: "excess positional effect (NMI)",
        note: Some(
            "Excess: NMI on the patch grid minus its mean under random circular shifts of every label map.",
        ),
        absent: "The run did not resample label maps (see its setting resamples), so chance is unknown.",
    };
    draw(run, &subject)
}

fn draw(run: &Run, subject: &Subject) -> Result<Plate, FigureError> {
    let heading = subject.heading.to_owned();
    let Some(plot) = Plot::collect(run, subject.metric) else {
        return Ok(figure::absent(subject.name, heading, subject.absent));
    };
    let mut svg = Svg::new(subject.name, WIDTH);
    plot.draw_axes(&mut svg, subject.axis);
    let mut labels = plot.draw_truth(&mut svg);
    labels.extend(plot.draw_curves(&mut svg));
    place_labels(&mut svg, labels, RIGHT + 14.0);

    let mut notes = vec![figure::provenance(run)];
    notes.extend(subject.note.map(str::to_owned));
    if plot.points().any(|point| point.interval.is_some()) {
        notes.push("Bands: 95 % bootstrap interval over images.".to_owned());
    }
    notes.extend(figure::token_note(run));
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, BOTTOM + 52.0, std::slice::from_ref(&caption));
    let title = format!("{}: {}", subject.heading, figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    let csv = plot.table(run, subject.metric)?;
    Ok(figure::drawn(subject.name, heading, drawing, csv))
}

impl Plot {
    /// The curves that have a value; `None` if none has.
    fn collect(run: &Run, metric: &str) -> Option<Self> {
        let layers = run.layers();
        let point = |slot: Slot| {
            let measured: Measured = run.metrics.get(slot, metric);
            Some(Point {
                value: measured.value?,
                interval: measured.interval(),
            })
        };
        let curve = |facet: Facet| Curve {
            facet,
            points: layers
                .iter()
                .map(|&layer| point(Slot::Probe(facet, layer)))
                .collect(),
        };
        let mut curves: Vec<Curve> = Facet::ALL.into_iter().map(curve).collect();
        curves.retain(|curve| curve.points.iter().any(Option::is_some));
        if curves.is_empty() {
            return None;
        }
        let truth = point(Slot::Truth);
        let mut plot = Self {
            layers,
            curves,
            truth,
            low: 0.0,
            high: 1.0,
            step: 1.0,
        };
        let ends = |point: &Point| {
            let (low, high) = point.interval.unwrap_or((point.value, point.value));
            [point.value, low, high]
        };
        let largest = plot.points().flat_map(ends).fold(0.0, f64::max);
        let least = plot.points().flat_map(ends).fold(0.0, f64::min);
        (_, plot.step) = figure::axis(largest - least);
        // A little room beyond the extreme points, rather than up to the next tick.
        let room = 0.05 * (largest - least).max(plot.step);
        plot.high = largest + room;
        plot.low = if least < 0.0 { least - room } else { 0.0 };
        Some(plot)
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        let curves = self
            .curves
            .iter()
            .flat_map(|curve| curve.points.iter().flatten());
        curves.chain(&self.truth)
    }

    fn x(&self, index: usize) -> f64 {
        let inset = if self.layers.len() > 1 {
            14.0
        } else {
            PLOT_WIDTH / 2.0
        };
        let steps = (self.layers.len().max(2) - 1) as f64;
        LEFT + inset + (PLOT_WIDTH - 2.0 * inset) * index as f64 / steps
    }

    fn y(&self, value: f64) -> f64 {
        TOP + PLOT_HEIGHT * (self.high - value) / (self.high - self.low)
    }

    fn draw_axes(&self, svg: &mut Svg, name: &str) {
        let first = (self.low / self.step - 1e-9).ceil() as i64;
        let last = (self.high / self.step + 1e-9).floor() as i64;
        for index in first..=last {
            let value = index as f64 * self.step;
            let y = self.y(value);
            let paint = if index == 0 {
                theme::MUTED
            } else {
                theme::RULE
            };
            svg.line([LEFT, y], [RIGHT, y], paint, 1.0, "");
            let place = [LEFT - 8.0, y + 4.5];
            svg.text(
                place,
                Type::NOTE.anchor(Anchor::End),
                &figure::tick(value, self.step),
            );
        }
        // Labels of layers never touch: every layer up to 12, then every second, fourth, ...
        let stride = self.layers.len().div_ceil(12).next_power_of_two();
        for (index, layer) in self.layers.iter().enumerate() {
            let x = self.x(index);
            svg.line([x, BOTTOM], [x, BOTTOM + 4.0], theme::MUTED, 1.0, "");
            if (index + 1) % stride == 0 || self.layers.len() == 1 {
                let style = Type::NOTE.anchor(Anchor::Middle);
                svg.text([x, BOTTOM + 19.0], style, &layer.to_string());
            }
        }
        let middle = [LEFT + PLOT_WIDTH / 2.0, TOP + PLOT_HEIGHT / 2.0];
        svg.text(
            [middle[0], BOTTOM + 40.0],
            Type::LABEL.anchor(Anchor::Middle),
            "layer",
        );
        svg.text_upward([18.0, middle[1]], Type::LABEL, name);
    }

    /// The ground truth as a line across the plot; gives its label.
    fn draw_truth(&self, svg: &mut Svg) -> Vec<Label> {
        let Some(truth) = self.truth else {
            return Vec::new();
        };
        if let Some((low, high)) = truth.interval {
            let (low, high) = (self.y(low), self.y(high));
            svg.band(
                &[[LEFT, low], [RIGHT, low], [RIGHT, high], [LEFT, high]],
                theme::TRUTH,
            );
        }
        let y = self.y(truth.value);
        svg.line([LEFT, y], [RIGHT, y], theme::TRUTH, 1.6, "6 4");
        vec![Label {
            y,
            name: "ground truth",
            paint: theme::TRUTH,
            mark: None,
        }]
    }

    /// Bands first, then lines, then marks, so that no mark is covered; gives the labels.
    fn draw_curves(&self, svg: &mut Svg) -> Vec<Label> {
        for curve in &self.curves {
            for stretch in curve.unbroken() {
                let ends =
                    |(index, point): &(usize, Point)| Some((self.x(*index), point.interval?));
                let bounded: Vec<(f64, (f64, f64))> = stretch.iter().filter_map(ends).collect();
                let upper = bounded.iter().map(|&(x, (_, high))| [x, self.y(high)]);
                let lower = bounded.iter().rev().map(|&(x, (low, _))| [x, self.y(low)]);
                let paint = theme::facet(curve.facet);
                if bounded.len() > 1 {
                    svg.band(&upper.chain(lower).collect::<Vec<_>>(), paint);
                } else {
                    for (from, to) in upper.zip(lower) {
                        svg.line(from, to, paint, 1.4, "");
                    }
                }
            }
        }
        for curve in &self.curves {
            let place = |(index, point): &(usize, Point)| [self.x(*index), self.y(point.value)];
            for stretch in curve.unbroken() {
                let line: Vec<[f64; 2]> = stretch.iter().map(place).collect();
                svg.polyline(&line, theme::facet(curve.facet), 1.9);
            }
        }
        let mut labels = Vec::new();
        for curve in &self.curves {
            let (paint, mark) = (theme::facet(curve.facet), Mark::of(curve.facet));
            for (index, point) in curve.defined() {
                svg.mark([self.x(index), self.y(point.value)], mark, paint);
            }
            labels.extend(curve.defined().last().map(|(_, point)| Label {
                y: self.y(point.value),
                name: curve.facet.name(),
                paint,
                mark: Some(mark),
            }));
        }
        labels
    }

    fn table(&self, run: &Run, metric: &str) -> Result<String, FigureError> {
        let of_curve = |curve: &Curve| {
            let facet = curve.facet;
            self.layers
                .iter()
                .map(move |&layer| Slot::Probe(facet, layer))
                .collect::<Vec<_>>()
        };
        let truth = self.truth.map(|_| Slot::Truth);
        let slots = truth
            .into_iter()
            .chain(self.curves.iter().flat_map(of_curve));
        let rows = slots.map(|slot| {
            let measured = run.metrics.get(slot, metric);
            let mut cells = figure::slot_cells(slot).to_vec();
            cells.push(metric.to_owned());
            cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
            cells
        });
        figure::table(&["layer", "facet", "metric", "value", "low", "high"], rows)
    }
}

impl Curve {
    fn defined(&self) -> impl Iterator<Item = (usize, Point)> {
        let points = self.points.iter().enumerate();
        points.filter_map(|(index, point)| Some((index, (*point)?)))
    }

    /// The stretches of layers that all have a value.
    fn unbroken(&self) -> Vec<Vec<(usize, Point)>> {
        let mut stretches: Vec<Vec<(usize, Point)>> = Vec::new();
        for (index, point) in self.defined() {
            let follows = |stretch: &&mut Vec<(usize, Point)>| {
                stretch.last().is_some_and(|last| last.0 + 1 == index)
            };
            match stretches.last_mut().filter(follows) {
                Some(stretch) => stretch.push((index, point)),
                None => stretches.push(vec![(index, point)]),
            }
        }
        stretches
    }
}

/// The name of a line, wanted at the height of its last point.
struct Label {
    y: f64,
    name: &'static str,
    paint: Paint,
    mark: Option<Mark>,
}

/// Writes names beside the ends of their lines, moved apart where they would overlap.
fn place_labels(svg: &mut Svg, mut labels: Vec<Label>, x: f64) {
    const LEADING: f64 = 19.0;
    labels.sort_by(|a, b| a.y.total_cmp(&b.y));
    let mut places: Vec<f64> = labels.iter().map(|label| label.y).collect();
    for index in 1..places.len() {
        places[index] = places[index].max(places[index - 1] + LEADING);
    }
    // Pushing down may run past the plot; push the last ones back up.
    let mut floor = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(floor).max(TOP);
        floor = *place - LEADING;
    }
    for (&y, label) in places.iter().zip(&labels) {
        if (y - label.y).abs() > 3.0 {
            svg.line([x - 18.0, label.y], [x + 1.0, y], theme::MUTED, 0.7, "");
        }
        match label.mark {
            Some(mark) => svg.mark([x + 9.0, y], mark, label.paint),
            None => svg.line([x + 1.0, y], [x + 17.0, y], label.paint, 1.6, "6 4"),
        }
        let room = WIDTH - theme::MARGIN - (x + 22.0);
        let name = text::fit(label.name, room, Type::HEAD.size, Weight::SemiBold);
        svg.text([x + 22.0, y + 5.0], Type::HEAD.paint(label.paint), &name);
    }
}
