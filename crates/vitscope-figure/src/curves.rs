//! The figures that show a metric over the layers, with one curve per facet.

use crate::chart::{Chart, Frame, Scale};
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::metrics::Measured;
use crate::run_dir::{Facet, Run, Slot};
use crate::svg::{Svg, Type};
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

/// Everything that is drawn.
struct Plot {
    layers: Vec<u32>,
    curves: Vec<Curve>,
    truth: Option<Point>,
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
    let frame = Frame {
        place: [LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT],
        x: Scale::Places(plot.layers.iter().map(u32::to_string).collect()),
        y: Scale::linear(plot.points().flat_map(Point::ends)),
        x_name: "layer",
        y_name: subject.axis,
        labels: [true; 2],
    };
    let labels = plot.draw(&frame.open(&mut svg)?)?;
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
        Some(Self {
            layers,
            curves,
            truth,
        })
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        let curves = self
            .curves
            .iter()
            .flat_map(|curve| curve.points.iter().flatten());
        curves.chain(&self.truth)
    }

    /// Bands first, then lines, then marks, so that no mark is covered; gives the curves' names.
    fn draw(&self, chart: &Chart<'_>) -> Result<Vec<Label>, FigureError> {
        let mut labels = Vec::new();
        if let Some(truth) = self.truth {
            if let Some(interval) = truth.interval {
                chart.band_across(interval, theme::TRUTH)?;
            }
            chart.across(truth.value, theme::TRUTH)?;
            labels.push(Label {
                y: chart.at(0.0, truth.value)[1],
                name: "ground truth",
                paint: theme::TRUTH,
                mark: None,
            });
        }
        for curve in &self.curves {
            let edge = |(index, point): (usize, &Option<Point>)| {
                Some((index as f64, point.as_ref()?.interval?))
            };
            let edges: Vec<_> = curve.points.iter().enumerate().map(edge).collect();
            chart.bands(&edges, theme::facet(curve.facet))?;
        }
        for curve in &self.curves {
            let (paint, mark) = (theme::facet(curve.facet), Mark::of(curve.facet));
            let place = |(index, point): (usize, Option<Point>)| Some((index as f64, point?.value));
            let points: Vec<_> = curve
                .points
                .iter()
                .copied()
                .enumerate()
                .map(place)
                .collect();
            chart.series(&points, mark, paint)?;
            labels.extend(points.iter().flatten().last().map(|&(x, y)| Label {
                y: chart.at(x, y)[1],
                name: curve.facet.name(),
                paint,
                mark: Some(mark),
            }));
        }
        Ok(labels)
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

impl Point {
    fn ends(&self) -> [f64; 3] {
        let (low, high) = self.interval.unwrap_or((self.value, self.value));
        [self.value, low, high]
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
    // Names that would overlap become a block, centered on where they are wanted: of each block,
    // how many names it has and the sum of where its first one would then stand.
    let mut blocks: Vec<(usize, f64)> = Vec::new();
    for (index, label) in labels.iter().enumerate() {
        let mut block = (1, label.y - LEADING * index as f64);
        while let Some(&(count, sum)) = blocks.last()
            && sum / count as f64 >= block.1 / block.0 as f64
        {
            block = (block.0 + count, block.1 + sum);
            blocks.pop();
        }
        blocks.push(block);
    }
    let firsts = blocks
        .iter()
        .flat_map(|&(count, sum)| std::iter::repeat_n(sum / count as f64, count));
    let last = LEADING * labels.len().saturating_sub(1) as f64;
    let places: Vec<f64> = firsts
        .enumerate()
        .map(|(index, first)| first.min(BOTTOM - last).max(TOP) + LEADING * index as f64)
        .collect();
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
        svg.text([x + 22.0, y + 5.0], Type::HEAD, &name);
    }
}
