//! A metric against the layer (the paper's Figures 4, 11 and 15): of one run a chart whose curves
//! are facets, of several a chart per facet whose curves are runs.

use crate::chart::{self, Chart, Frame};
use crate::error::FigureError;
use crate::members::Member;
use crate::metrics::Measured;
use crate::run_dir::{Facet, Slot};
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Lettering, Svg};
use crate::text::{self, Weight};
use crate::theme::{self, Mark, Paint};
use crate::words;

/// What one of these figures shows.
pub(crate) struct Subject {
    name: &'static str,
    heading: &'static str,
    metric: &'static str,
    axis: &'static str,
    note: &'static str,
    /// Why there is nothing to show.
    absent: &'static str,
}

pub(crate) const MIOU: Subject = Subject {
    name: "miou-by-layer",
    heading: "Segmentation quality by layer",
    metric: "miou",
    axis: "mIoU",
    note: "",
    absent: "There is no mIoU yet.",
};

pub(crate) const NMI: Subject = Subject {
    name: "nmi-by-layer",
    heading: "Positional effect by layer",
    metric: "nmi",
    axis: "positional effect (NMI)",
    note: words::NMI_NOTE,
    absent: "There is no positional effect: it is undefined, or not measured yet.",
};

pub(crate) const EXCESS: Subject = Subject {
    name: "excess-by-layer",
    heading: "Positional effect above chance by layer",
    metric: "nmi_excess",
    axis: "excess positional effect (NMI)",
    note: "Excess: NMI on the patch grid minus its mean under random circular shifts of every label map.",
    absent: "Label maps were not resampled (see the setting resamples), so chance is unknown.",
};

pub(crate) const PCK: Subject = Subject {
    name: "pck-by-layer",
    heading: "Correct key points by layer",
    metric: "pck",
    axis: "correct key points (PCK@0.1)",
    note: "PCK@0.1: share of key points matched within a tenth of the longer side of the target's box.",
    absent: "There is no PCK at the threshold 0.1.",
};

/// One course over the layers.
struct Curve<'a> {
    member: &'a Member,
    facet: Facet,
    mark: Mark,
    paint: Paint,
    /// One value per layer of the plot; an undefined one breaks the curve.
    points: Vec<Measured>,
}

/// One chart of the figure.
struct Panel<'a> {
    facet: Facet,
    curves: Vec<Curve<'a>>,
}

/// Everything that is drawn.
struct Plot<'a> {
    layers: Vec<u32>,
    panels: Vec<Panel<'a>>,
    /// Values of the ground truth: runs on the same data share one.
    truths: Vec<Measured>,
    has_intervals: bool,
}

pub(crate) fn draw(members: &[&Member], subject: &Subject) -> Result<Plate, FigureError> {
    let Some(plot) = Plot::select(members, subject.metric) else {
        let has_truth = members.iter().any(|member| member.run.data.has_truth);
        let why = match subject.metric {
            "miou" if !has_truth => "mIoU needs ground truth, and there is none.",
            _ => subject.absent,
        };
        return Ok(sheet::absent(subject.name, subject.heading, why));
    };
    let width = if members.len() == 1 {
        theme::COLUMN_WIDTH
    } else {
        theme::FULL_WIDTH
    };
    let mut sheet = Sheet::new(subject.name, subject.heading, width, members);
    let bottom = if members.len() == 1 {
        plot.draw_one(&mut sheet.svg, subject)
    } else {
        plot.draw_several(&mut sheet.svg, subject, members)
    };
    caption(&mut sheet, members, subject, &plot);
    table(&mut sheet, members, subject.metric, &plot);
    sheet.finish(bottom)
}

impl<'a> Plot<'a> {
    /// The curves that have a value; `None` if none has.
    fn select(members: &[&'a Member], metric: &str) -> Option<Self> {
        let layers = layers_of(members.iter().flat_map(|member| member.run.layers()));
        let several = members.len() > 1;
        let curve = |member: &'a Member, facet: Facet| {
            let points = layers.iter();
            let points = points.map(|&layer| {
                let slot = Slot::Probe(facet, layer);
                member.run.metrics.get(slot, metric)
            });
            Curve {
                member,
                facet,
                mark: if several {
                    member.mark()
                } else {
                    Mark::of(facet)
                },
                paint: if several {
                    member.paint()
                } else {
                    theme::facet(facet)
                },
                points: points.collect(),
            }
        };
        let mut panels: Vec<Panel<'_>> = Facet::ALL
            .into_iter()
            .map(|facet| Panel {
                facet,
                curves: members.iter().map(|member| curve(member, facet)).collect(),
            })
            .collect();
        panels.retain(|panel| panel.curves.iter().any(Curve::has_value));
        if panels.is_empty() {
            return None;
        }
        if !several {
            let curves = panels.drain(..).flat_map(|panel| panel.curves).collect();
            let facet = Facet::Key;
            panels.push(Panel { facet, curves });
        }
        let mut truths: Vec<Measured> = Vec::new();
        for member in members {
            let truth = member.run.metrics.get(Slot::Truth, metric);
            if truth.value.is_some() && truths.iter().all(|other| other.value != truth.value) {
                truths.push(truth);
            }
        }
        let mut points = panels.iter().flat_map(|panel| &panel.curves);
        let has_intervals = points.any(|curve| {
            let mut points = curve.points.iter();
            points.any(|point| point.interval().is_some())
        }) || truths.iter().any(|truth| truth.interval().is_some());
        Some(Self {
            layers,
            panels,
            truths,
            has_intervals,
        })
    }

    fn curves(&self) -> impl Iterator<Item = &Curve<'a>> {
        self.panels.iter().flat_map(|panel| &panel.curves)
    }

    fn scales(&self) -> [Scale; 2] {
        let points = self.curves().flat_map(|curve| &curve.points);
        let values = points
            .chain(&self.truths)
            .flat_map(|measured| measured.ends());
        [
            Scale::Places(self.layers.iter().map(u32::to_string).collect()),
            Scale::linear(values.flatten()),
        ]
    }

    /// One chart with its curves named at their ends; gives the position below.
    fn draw_one(&self, svg: &mut Svg, subject: &Subject) -> f64 {
        const PLACE: [f64; 4] = [62.0, 16.0, 300.0, 240.0];
        let [x, y] = self.scales();
        let frame = Frame {
            place: PLACE,
            x,
            y,
            x_name: "layer",
            y_name: subject.axis,
            labels: [true; 2],
        };
        let mut chart = frame.open(svg);
        let mut names = Vec::new();
        for truth in &self.truths {
            if let Some(interval) = truth.interval() {
                chart.band_across(interval, theme::TRUTH);
            }
            names.extend(reference(&mut chart, truth, "ground truth"));
        }
        for curve in self.curves() {
            chart.bands(&curve.edges(), curve.paint);
        }
        for curve in self.curves() {
            let points = curve.places();
            chart.series(&points, curve.mark, curve.paint);
            names.extend(points.iter().flatten().last().map(|&(x, y)| EndName {
                y: chart.at(x, y)[1],
                name: curve.facet.name(),
                paint: curve.paint,
                mark: Some(curve.mark),
            }));
        }
        end_names(svg, names, PLACE);
        PLACE[1] + PLACE[3] + 52.0
    }

    /// A chart per facet below the runs' names; gives the position below.
    fn draw_several(&self, svg: &mut Svg, subject: &Subject, members: &[&Member]) -> f64 {
        const LEFT: f64 = 66.0;
        const GAP: f64 = 18.0;
        const HEIGHT: f64 = 210.0;
        let count = self.panels.len() as f64;
        let room = theme::FULL_WIDTH - theme::MARGIN - LEFT - (count - 1.0) * GAP;
        let width = (room / count).min(420.0);
        let top = chart::key(svg, LEFT, theme::MARGIN - 4.0, &key_of(members)) + 24.0;
        let [x, y] = self.scales();
        for (column, panel) in self.panels.iter().enumerate() {
            let left = LEFT + column as f64 * (width + GAP);
            svg.text([left, top - 8.0], Lettering::HEAD, panel.facet.name());
            let frame = Frame {
                place: [left, top, width, HEIGHT],
                x: x.clone(),
                y: y.clone(),
                x_name: "layer",
                y_name: subject.axis,
                labels: [true, column == 0],
            };
            let mut chart = frame.open(svg);
            for truth in &self.truths {
                reference(&mut chart, truth, "");
            }
            for curve in &panel.curves {
                for (x, interval) in curve.edges().into_iter().flatten() {
                    chart.interval(x, Some(interval), curve.paint);
                }
                chart.series(&curve.places(), curve.mark, curve.paint);
            }
        }
        top + HEIGHT + 48.0
    }
}

impl Curve<'_> {
    fn has_value(&self) -> bool {
        self.points.iter().any(|point| point.value.is_some())
    }

    /// Its values, by place along the axis of layers.
    fn places(&self) -> Vec<Option<(f64, f64)>> {
        let points = self.points.iter().enumerate();
        points
            .map(|(index, point)| Some((index as f64, point.value?)))
            .collect()
    }

    fn edges(&self) -> Vec<Option<(f64, (f64, f64))>> {
        let points = self.points.iter().enumerate();
        points
            .map(|(index, point)| Some((index as f64, point.interval()?)))
            .collect()
    }
}

/// Ascending, each once.
pub(crate) fn layers_of(layers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut layers: Vec<u32> = layers.collect();
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// The runs' names with their marks.
pub(crate) fn key_of(members: &[&Member]) -> Vec<(String, Mark, Paint)> {
    let members = members.iter();
    members
        .map(|member| (member.label.clone(), member.mark(), member.paint()))
        .collect()
}

/// A dashed line at a value that belongs to no layer, and its name, wanted beside its end.
fn reference(chart: &mut Chart<'_>, measured: &Measured, name: &'static str) -> Option<EndName> {
    let value = measured.value?;
    chart.across(value, theme::TRUTH);
    Some(EndName {
        y: chart.at(0.0, value)[1],
        name,
        paint: theme::TRUTH,
        mark: None,
    })
}

fn caption(sheet: &mut Sheet, members: &[&Member], subject: &Subject, plot: &Plot<'_>) {
    if let [member] = members {
        sheet.note(subject.note);
        if plot.has_intervals {
            sheet.note("Bands: 95 % bootstrap interval over images.");
        }
        sheet.notes(words::token_note(&member.run));
        return;
    }
    sheet.note(words::data_note(members));
    if plot.has_intervals {
        sheet.note(words::INTERVAL_NOTE);
    }
    sheet.note(subject.note);
    if !plot.truths.is_empty() {
        sheet.note("Dashed line: ground truth.");
    }
}

fn table(sheet: &mut Sheet, members: &[&Member], metric: &str, plot: &Plot<'_>) {
    sheet.columns(&["layer", "facet", "metric", "value", "low", "high"]);
    let cells = |slot: Slot, measured: Measured| {
        let mut cells = words::slot_cells(slot).to_vec();
        cells.push(metric.to_owned());
        cells.extend(words::measured_cells(measured));
        cells
    };
    for &member in members {
        let truth = member.run.metrics.get(Slot::Truth, metric);
        if truth.value.is_some() {
            sheet.row(member, cells(Slot::Truth, truth));
        }
        let probes = member.run.probes();
        let own = |curve: &&Curve<'_>| std::ptr::eq(curve.member, member);
        for curve in plot.curves().filter(own) {
            for (&layer, &measured) in plot.layers.iter().zip(&curve.points) {
                if probes.contains(&(curve.facet, layer)) {
                    sheet.row(member, cells(Slot::Probe(curve.facet, layer), measured));
                }
            }
        }
    }
}

/// The name of a line, wanted at the height of its last point.
struct EndName {
    y: f64,
    name: &'static str,
    paint: Paint,
    mark: Option<Mark>,
}

/// Writes names beside the ends of their lines, moved apart where they would overlap.
fn end_names(svg: &mut Svg, mut names: Vec<EndName>, [left, top, width, height]: [f64; 4]) {
    const LEADING: f64 = 19.0;
    let x = left + width + 14.0;
    names.sort_by(|a, b| a.y.total_cmp(&b.y));
    // Names that would overlap become a block, centered on where they are wanted: of each block,
    // how many names it has and the sum of where its first one would then stand.
    let mut blocks: Vec<(usize, f64)> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut block = (1, name.y - LEADING * index as f64);
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
    let last = LEADING * names.len().saturating_sub(1) as f64;
    let places: Vec<f64> = firsts
        .enumerate()
        .map(|(index, first)| first.min(top + height - last).max(top) + LEADING * index as f64)
        .collect();
    for (&y, name) in places.iter().zip(&names) {
        if (y - name.y).abs() > 3.0 {
            svg.line([x - 18.0, name.y], [x + 1.0, y], theme::MUTED, 0.7, "");
        }
        match name.mark {
            Some(mark) => svg.mark([x + 9.0, y], mark, name.paint),
            None => svg.line([x + 1.0, y], [x + 17.0, y], name.paint, 1.6, "6 4"),
        }
        let room = svg.width - theme::MARGIN - (x + 22.0);
        let text = text::fit(name.name, room, Lettering::HEAD.size, Weight::SemiBold);
        svg.text([x + 22.0, y + 5.0], Lettering::HEAD, &text);
    }
}
