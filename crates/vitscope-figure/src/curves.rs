//! The figures `miou-by-layer` and `nmi-by-layer`: one curve per facet over the layers.

use crate::error::FigureError;
use crate::figure::{self, Figure, Plate};
use crate::run_dir::{Facet, Run, Slot};
use crate::svg::{Anchor, Svg, Type};
use crate::text::{self, Weight};
use crate::theme::{self, Mark, Paint};

const WIDTH: f64 = 680.0;
const PLOT: [f64; 4] = [62.0, 16.0, 470.0, 300.0];

/// What one of these figures shows.
struct Subject {
    name: &'static str,
    heading: &'static str,
    metric: &'static str,
    axis: &'static str,
    absent: &'static str,
}

/// One facet's points; a layer without a value breaks the curve.
struct Curve {
    facet: Facet,
    points: Vec<Option<Point>>,
}

struct Point {
    value: f64,
    interval: Option<(f64, f64)>,
}

pub(crate) fn draw_miou(run: &Run) -> Result<Plate, FigureError> {
    draw(
        run,
        &Subject {
            name: "miou-by-layer",
            heading: "Segmentation quality by layer",
            metric: "miou",
            axis: "mIoU",
            absent: "mIoU needs ground truth, and this run has none.",
        },
    )
}

pub(crate) fn draw_nmi(run: &Run) -> Result<Plate, FigureError> {
    draw(
        run,
        &Subject {
            name: "nmi-by-layer",
            heading: "Positional effect by layer",
            metric: "nmi",
            axis: "positional effect (NMI)",
            absent: "The run has no positional effect: it is undefined, or not measured yet.",
        },
    )
}

fn draw(run: &Run, subject: &Subject) -> Result<Plate, FigureError> {
    let layers = run.layers();
    let is_nmi = subject.metric == "nmi";
    let mut grid_intervals = false;
    let mut interval_of = |slot: Slot| {
        if !is_nmi {
            return run.metrics.get(slot, subject.metric).interval();
        }
        let (interval, on_grid) = run.metrics.nmi_interval(slot)?;
        grid_intervals |= on_grid;
        Some(interval)
    };
    let mut curves: Vec<Curve> = Vec::new();
    for facet in Facet::ALL {
        let points: Vec<Option<Point>> = layers
            .iter()
            .map(|&layer| {
                let slot = Slot::Probe(facet, layer);
                let value = run.metrics.get(slot, subject.metric).value?;
                Some(Point {
                    value,
                    interval: interval_of(slot),
                })
            })
            .collect();
        if points.iter().any(Option::is_some) {
            curves.push(Curve { facet, points });
        }
    }
    if curves.is_empty() {
        let measured = run.data.has_truth && !is_nmi;
        let why = if measured {
            "The run has no mIoU yet.".to_owned()
        } else {
            subject.absent.to_owned()
        };
        return Ok(Plate::Absent {
            name: subject.name,
            heading: subject.heading.to_owned(),
            why,
        });
    }
    let truth = is_nmi
        .then(|| run.metrics.get(Slot::Truth, "nmi").value)
        .flatten();
    let truth_interval = truth.and_then(|_| interval_of(Slot::Truth));
    let has_intervals =
        truth_interval.is_some() || points(&curves).any(|point| point.interval.is_some());
    let highs = points(&curves).map(|point| {
        point
            .interval
            .map_or(point.value, |(_, high)| high.max(point.value))
    });
    let largest = highs
        .chain(truth)
        .chain(truth_interval.map(|(_, high)| high))
        .fold(0.0, f64::max);
    // A little room above the highest point, rather than up to the next tick.
    let (end, step) = figure::axis(largest);
    let end = end.min(largest.max(step) * 1.06);

    let [left, top, width, height] = PLOT;
    let inset = if layers.len() > 1 { 14.0 } else { width / 2.0 };
    let x = |index: usize| {
        left + inset + (width - 2.0 * inset) * index as f64 / (layers.len().max(2) - 1) as f64
    };
    let y = |value: f64| top + height * (1.0 - value / end);

    let mut svg = Svg::new(subject.name, WIDTH);
    let ticks = (end / step + 1e-9).floor() as usize;
    for index in 0..=ticks {
        let value = index as f64 * step;
        let paint = if index == 0 {
            theme::MUTED
        } else {
            theme::RULE
        };
        svg.line([left, y(value)], [left + width, y(value)], paint, 1.0, "");
        svg.text(
            [left - 8.0, y(value) + 4.5],
            Type::NOTE.anchor(Anchor::End),
            &figure::tick(value, step),
        );
    }
    // Labels of layers never touch: every layer up to 16, then every second, fourth, ...
    let stride = layers.len().div_ceil(16).next_power_of_two();
    for (index, layer) in layers.iter().enumerate() {
        svg.line(
            [x(index), y(0.0)],
            [x(index), y(0.0) + 4.0],
            theme::MUTED,
            1.0,
            "",
        );
        if (index + 1) % stride == 0 || layers.len() == 1 {
            svg.text(
                [x(index), y(0.0) + 19.0],
                Type::NOTE.anchor(Anchor::Middle),
                &layer.to_string(),
            );
        }
    }
    svg.text(
        [left + width / 2.0, top + height + 40.0],
        Type::LABEL.anchor(Anchor::Middle),
        "layer",
    );
    svg.text_upward([18.0, top + height / 2.0], Type::LABEL, subject.axis);

    let mut labels: Vec<(f64, &str, Paint, Option<Mark>)> = Vec::new();
    if let Some(value) = truth {
        if let Some((low, high)) = truth_interval {
            svg.band(
                &[
                    [left, y(low)],
                    [left + width, y(low)],
                    [left + width, y(high)],
                    [left, y(high)],
                ],
                theme::TRUTH,
            );
        }
        svg.line(
            [left, y(value)],
            [left + width, y(value)],
            theme::TRUTH,
            1.6,
            "6 4",
        );
        labels.push((y(value), "ground truth", theme::TRUTH, None));
    }
    for curve in &curves {
        for run_of_points in curve.unbroken() {
            let bounded: Vec<(f64, (f64, f64))> = run_of_points
                .iter()
                .filter_map(|(index, point)| Some((x(*index), point.interval?)))
                .collect();
            if bounded.len() > 1 {
                let upper = bounded.iter().map(|&(x, (_, high))| [x, y(high)]);
                let lower = bounded.iter().rev().map(|&(x, (low, _))| [x, y(low)]);
                svg.band(
                    &upper.chain(lower).collect::<Vec<_>>(),
                    theme::facet(curve.facet),
                );
            } else if let [(x, (low, high))] = bounded[..] {
                svg.line(
                    [x, y(low)],
                    [x, y(high)],
                    theme::facet(curve.facet),
                    1.4,
                    "",
                );
            }
        }
    }
    for curve in &curves {
        let paint = theme::facet(curve.facet);
        for run_of_points in curve.unbroken() {
            let line: Vec<[f64; 2]> = run_of_points
                .iter()
                .map(|(index, point)| [x(*index), y(point.value)])
                .collect();
            svg.polyline(&line, paint, 1.9);
        }
        for (index, point) in curve.defined() {
            svg.mark([x(index), y(point.value)], Mark::of(curve.facet), paint);
        }
        if let Some((_, point)) = curve.defined().last() {
            labels.push((
                y(point.value),
                curve.facet.name(),
                paint,
                Some(Mark::of(curve.facet)),
            ));
        }
    }
    place_labels(&mut svg, labels, left + width + 14.0, top, top + height);

    let mut notes = vec![figure::provenance(run)];
    if is_nmi {
        notes.push(figure::NMI_NOTE.to_owned());
    }
    if has_intervals {
        let of_grid = if grid_intervals {
            " of NMI on the patch grid"
        } else {
            ""
        };
        notes.push(format!("Bands: bootstrap interval over images{of_grid}."));
    }
    notes.extend(figure::token_note(run));
    let caption = notes.join(" ");
    let bottom = svg.notes(
        theme::MARGIN,
        top + height + 52.0,
        std::slice::from_ref(&caption),
    );

    let slots = curves
        .iter()
        .flat_map(|curve| layers.iter().map(|&layer| Slot::Probe(curve.facet, layer)));
    let csv = figure::table(
        &["layer", "facet", "metric", "value", "low", "high"],
        truth
            .map(|_| Slot::Truth)
            .into_iter()
            .chain(slots)
            .map(|slot| {
                let measured = run.metrics.get(slot, subject.metric);
                let mut cells = figure::slot_cells(slot).to_vec();
                cells.push(subject.metric.to_owned());
                cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
                cells
            }),
    )?;
    let drawing = svg.finish(
        bottom,
        format!("{}: {}", subject.heading, figure::provenance(run)),
        caption,
    );
    Ok(Plate::Drawn(Box::new(Figure {
        name: subject.name,
        heading: subject.heading.to_owned(),
        drawing,
        csv,
    })))
}

/// Names at the ends of their curves, moved apart where they would overlap.
fn place_labels(
    svg: &mut Svg,
    mut labels: Vec<(f64, &str, Paint, Option<Mark>)>,
    x: f64,
    top: f64,
    bottom: f64,
) {
    const LEADING: f64 = 19.0;
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted: Vec<f64> = labels.iter().map(|label| label.0).collect();
    let mut places = wanted.clone();
    for index in 1..places.len() {
        places[index] = places[index].max(places[index - 1] + LEADING);
    }
    // Pushing down may run past the plot; push the last ones back up.
    let mut floor = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(floor).max(top);
        floor = *place - LEADING;
    }
    for (&place, (wanted, name, paint, mark)) in places.iter().zip(&labels) {
        if (place - wanted).abs() > 3.0 {
            svg.line([x - 18.0, *wanted], [x + 1.0, place], theme::MUTED, 0.7, "");
        }
        match mark {
            Some(mark) => svg.mark([x + 9.0, place], *mark, *paint),
            None => svg.line([x + 1.0, place], [x + 17.0, place], *paint, 1.6, "6 4"),
        }
        let room = WIDTH - theme::MARGIN - (x + 22.0);
        let name = text::fit(name, room, Type::HEAD.size, Weight::SemiBold);
        svg.text([x + 22.0, place + 5.0], Type::HEAD.paint(*paint), &name);
    }
}

fn points(curves: &[Curve]) -> impl Iterator<Item = &Point> {
    curves
        .iter()
        .flat_map(|curve| curve.points.iter().flatten())
}

impl Curve {
    fn defined(&self) -> impl Iterator<Item = (usize, &Point)> {
        self.points
            .iter()
            .enumerate()
            .filter_map(|(index, point)| Some((index, point.as_ref()?)))
    }

    /// The stretches of layers that all have a value.
    fn unbroken(&self) -> Vec<Vec<(usize, &Point)>> {
        let mut stretches: Vec<Vec<(usize, &Point)>> = Vec::new();
        for (index, point) in self.defined() {
            match stretches.last_mut() {
                Some(stretch) if stretch.last().is_some_and(|last| last.0 + 1 == index) => {
                    stretch.push((index, point))
                }
                _ => stretches.push(vec![(index, point)]),
            }
        }
        stretches
    }
}
