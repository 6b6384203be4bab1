//! A metric against the layer (the paper's Figures 4, 11 and 15): of one run a chart whose curves
//! are facets, of several a chart per facet whose curves are runs.

use vitscope_run::{Facet, Measured, RunKind, Slot, Subject};

use crate::chart::{self, Chart, Frame};
use crate::cluster_use::ClusterUse;
use crate::end_names::{self, EndName};
use crate::error::FigureError;
use crate::members::Member;
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::theme::{self, Mark, Paint};
use crate::words;

/// What one of these figures shows.
pub(crate) struct LayerMetric {
    name: &'static str,
    heading: &'static str,
    metric: &'static str,
    axis: &'static str,
    note: &'static str,
    /// Why there is nothing to show.
    absent: &'static str,
}

pub(crate) const MIOU: LayerMetric = LayerMetric {
    name: "miou-by-layer",
    heading: "Segmentation quality by layer",
    metric: "miou",
    axis: "mIoU",
    note: "",
    absent: "There is no mIoU yet.",
};

pub(crate) const NMI: LayerMetric = LayerMetric {
    name: "nmi-by-layer",
    heading: "Positional effect by layer",
    metric: "nmi",
    axis: "positional effect (NMI)",
    note: words::NMI_NOTE,
    absent: "There is no positional effect: it is undefined, or not measured yet.",
};

pub(crate) const EXCESS: LayerMetric = LayerMetric {
    name: "excess-by-layer",
    heading: "Positional effect beyond chance by layer",
    metric: "nmi_excess",
    axis: "NMI beyond chance",
    note: "Beyond chance: NMI on the patch grid minus its mean under random circular shifts of every label map.",
    absent: "Label maps were not resampled (see the setting resamples), so chance is unknown.",
};

pub(crate) const PCK: LayerMetric = LayerMetric {
    name: "pck-by-layer",
    heading: "Correct keypoints by layer",
    metric: "pck",
    axis: "correct keypoints (PCK@0.1)",
    note: "PCK@0.1: share of keypoints matched within a tenth of the longer side of the target's box.",
    absent: "There is no PCK at the threshold 0.1.",
};

/// A value that belongs to no slot: the ground truth's own, or what a baseline gives.
struct Reference {
    name: &'static str,
    measured: Measured,
    dashes: &'static str,
}

/// One course over the layers.
struct Curve<'a> {
    member: &'a Member,
    layers: Vec<usize>,
    facet: Facet,
    mark: Mark,
    paint: Paint,
    /// One value per layer of the plot; an undefined one breaks the curve.
    points: Vec<Measured>,
    /// How many of its clusters each slot uses, where that is known.
    uses: Vec<Option<ClusterUse>>,
}

/// One chart of the figure.
struct Panel<'a> {
    facet: Facet,
    curves: Vec<Curve<'a>>,
}

/// Everything that is drawn.
struct Plot<'a> {
    layers: Vec<usize>,
    panels: Vec<Panel<'a>>,
    /// Runs on the same data share them.
    references: Vec<Reference>,
    scale: Scale,
}

pub(crate) fn draw(members: &[&Member], subject: &LayerMetric) -> Result<Plate, FigureError> {
    let Some(plot) = Plot::select(members, subject.metric) else {
        let has_truth = members.iter().any(|member| member.run.has_truth());
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
        let mut panels: Vec<Panel<'_>> = Facet::ALL
            .into_iter()
            .map(|facet| {
                let curves = members.iter();
                let curves =
                    curves.map(|member| Curve::new(member, facet, metric, &layers, several));
                let curves = curves.collect();
                Panel { facet, curves }
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
        let references = references(members, metric);
        let points = panels.iter().flat_map(|panel| &panel.curves);
        let points = points.flat_map(|curve| curve.points.iter().copied());
        let values = points.chain(references.iter().map(|reference| reference.measured));
        let scale = match metric {
            // What is compared has one scale everywhere.
            "nmi" => Scale::Linear(0.0..1.0),
            _ => Scale::linear(values.flat_map(words::ends)),
        };
        Some(Self {
            layers,
            panels,
            references,
            scale,
        })
    }

    fn curves(&self) -> impl Iterator<Item = &Curve<'a>> {
        self.panels.iter().flat_map(|panel| &panel.curves)
    }

    fn has_intervals(&self) -> bool {
        let points = self.curves().flat_map(|curve| &curve.points);
        let references = self.references.iter().map(|reference| &reference.measured);
        let mut all = points.chain(references);
        all.any(|measured| measured.interval.is_some())
    }

    fn places(&self) -> Scale {
        Scale::Places(self.layers.iter().map(usize::to_string).collect())
    }

    /// One chart with its curves named at their ends; gives the position below.
    fn draw_one(&self, svg: &mut Svg, subject: &LayerMetric) -> f64 {
        const PLACE: [f64; 4] = [62.0, 16.0, 300.0, 240.0];
        let frame = Frame {
            place: PLACE,
            x: self.places(),
            y: self.scale.clone(),
            x_name: "layer",
            y_name: subject.axis,
            labels: [true; 2],
        };
        let mut chart = frame.open(svg);
        let mut names = Vec::new();
        for reference in &self.references {
            if let Some(interval) = reference.measured.interval {
                chart.band_across(interval, theme::TRUTH);
            }
            names.extend(reference.draw(&mut chart));
        }
        for curve in self.curves() {
            chart.bands(&curve.edges(), curve.paint);
        }
        for curve in self.curves() {
            let points = curve.places();
            curve.draw(&mut chart);
            names.extend(points.iter().flatten().last().map(|&(x, y)| EndName {
                y: chart.at(x, y)[1],
                name: curve.facet.name(),
                paint: curve.paint,
                mark: Some(curve.mark),
                dashes: "",
            }));
        }
        end_names::write(svg, names, PLACE);
        PLACE[1] + PLACE[3] + 52.0
    }

    /// A chart per facet below the runs' names; gives the position below.
    fn draw_several(&self, svg: &mut Svg, subject: &LayerMetric, members: &[&Member]) -> f64 {
        const LEFT: f64 = 66.0;
        const GAP: f64 = 18.0;
        const HEIGHT: f64 = 210.0;
        let count = self.panels.len() as f64;
        let room = theme::FULL_WIDTH - theme::MARGIN - LEFT - (count - 1.0) * GAP;
        let width = (room / count).min(420.0);
        let top = chart::key(svg, LEFT, theme::MARGIN - 4.0, &key_of(members)) + 24.0;
        for (column, panel) in self.panels.iter().enumerate() {
            let left = LEFT + column as f64 * (width + GAP);
            svg.panel([left, top - 8.0], panel.facet.name());
            let frame = Frame {
                place: [left, top, width, HEIGHT],
                x: self.places(),
                y: self.scale.clone(),
                x_name: "layer",
                y_name: subject.axis,
                labels: [true, column == 0],
            };
            let mut chart = frame.open(svg);
            for reference in &self.references {
                reference.draw(&mut chart);
            }
            for curve in &panel.curves {
                for (x, interval) in curve.edges().into_iter().flatten() {
                    chart.interval(x, Some(interval), curve.paint);
                }
                curve.draw(&mut chart);
            }
        }
        top + HEIGHT + 48.0
    }
}

impl<'a> Curve<'a> {
    fn new(
        member: &'a Member,
        facet: Facet,
        metric: &str,
        layers: &[usize],
        several: bool,
    ) -> Self {
        let slots = layers.iter().map(|&layer| Slot { facet, layer });
        let (mark, paint) = if several {
            (member.mark(), member.paint())
        } else {
            (Mark::of(facet), theme::facet(facet))
        };
        Self {
            member,
            layers: layers.to_vec(),
            facet,
            mark,
            paint,
            points: slots
                .clone()
                .map(|slot| member.run.get(Subject::Slot(slot), metric))
                .collect(),
            uses: slots.map(|slot| member.run.cluster_use(slot)).collect(),
        }
    }

    fn has_value(&self) -> bool {
        self.points.iter().any(|point| point.value.is_some())
    }

    /// Whether the slot of the layer with this place is collapsed.
    fn is_collapsed(&self, place: usize) -> bool {
        self.uses[place].is_some_and(ClusterUse::is_collapsed)
    }

    /// Its values, by place along the axis of layers, without those of collapsed slots.
    fn places(&self) -> Vec<Option<(f64, f64)>> {
        let points = self.points.iter().enumerate();
        points
            .map(|(place, point)| Some((place as f64, point.value?)))
            .map(|point| point.filter(|point| !self.is_collapsed(point.0 as usize)))
            .collect()
    }

    fn edges(&self) -> Vec<Option<(f64, (f64, f64))>> {
        let points = self.points.iter().enumerate();
        points
            .map(|(place, point)| Some((place as f64, point.interval?)))
            .map(|edge| edge.filter(|edge| !self.is_collapsed(edge.0 as usize)))
            .collect()
    }

    /// Line and marks; collapsed slots are crosses without a line through them. Slots that use less
    /// than half of their clusters say how many.
    fn draw(&self, chart: &mut Chart<'_>) {
        chart.course(&self.places(), self.paint);
        for (x, y) in self.places().into_iter().flatten() {
            let at = chart.at(x, y);
            self.open_slot(chart, x as usize, |chart| {
                chart.svg.mark(at, self.mark, self.paint)
            });
        }
        for (place, (point, used)) in self.points.iter().zip(&self.uses).enumerate() {
            let (Some(value), Some(used)) = (point.value, used) else {
                continue;
            };
            let at = (place as f64, value);
            if used.is_collapsed() {
                let cross = chart.at(at.0, at.1);
                self.open_slot(chart, place, |chart| chart.svg.crossed(cross, self.paint));
            }
            if used.is_thin() {
                let style = Lettering::NOTE
                    .anchor(Anchor::Middle)
                    .paint(theme::readable(self.paint));
                chart.text(at, [0.0, -8.0], style, &used.label());
            }
        }
    }

    /// What `draw` draws opens the slot in the page's explorer, which has the slots of probes.
    fn open_slot(&self, chart: &mut Chart<'_>, place: usize, draw: impl FnOnce(&mut Chart<'_>)) {
        if self.member.run.kind() != RunKind::Probe {
            return draw(chart);
        }
        let slot = Slot {
            facet: self.facet,
            layer: self.layers[place],
        };
        let run = match &self.member.label {
            label if self.member.is_compared => format!("{label}, "),
            _ => String::new(),
        };
        let value = words::number(self.points[place].value);
        let (attribute, name) = self.member.opens(slot);
        chart.group(attribute, &name, |chart| {
            let title = format!("{run}{} layer {}: {value}", slot.facet, slot.layer);
            chart.svg.title(&title);
            draw(chart);
        });
    }

    fn has_thin(&self) -> bool {
        let mut points = self.points.iter().zip(&self.uses);
        points.any(|(point, used)| point.value.is_some() && used.is_some_and(ClusterUse::is_thin))
    }
}

/// Ascending, each once.
pub(crate) fn layers_of(layers: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut layers: Vec<usize> = layers.collect();
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

/// What stands beside every slot, with its name and dashes: the ground truth's own value, or the
/// baselines of mIoU.
fn beside(metric: &str) -> Vec<(&str, &'static str, &'static str)> {
    match metric {
        "miou" => vec![
            ("place_alone", "place alone", theme::DASHES),
            ("one_class", "one class", theme::DOTS),
        ],
        metric => vec![(metric, "ground truth", theme::DASHES)],
    }
}

fn references(members: &[&Member], metric: &str) -> Vec<Reference> {
    let mut references: Vec<Reference> = Vec::new();
    for member in members {
        for (metric, name, dashes) in beside(metric) {
            let measured = member.run.get(Subject::GroundTruth, metric);
            let is_new =
                |other: &Reference| (other.name, other.measured.value) != (name, measured.value);
            if measured.value.is_some() && references.iter().all(is_new) {
                references.push(Reference {
                    name,
                    measured,
                    dashes,
                });
            }
        }
    }
    references
}

impl Reference {
    /// A line across the chart; gives its name, wanted beside its end.
    fn draw(&self, chart: &mut Chart<'_>) -> Option<EndName> {
        let value = self.measured.value?;
        chart.across(value, theme::TRUTH, self.dashes);
        Some(EndName {
            y: chart.at(0.0, value)[1],
            name: self.name,
            paint: theme::TRUTH,
            mark: None,
            dashes: self.dashes,
        })
    }
}

fn caption(sheet: &mut Sheet, members: &[&Member], subject: &LayerMetric, plot: &Plot<'_>) {
    if let [member] = members {
        sheet.note(subject.note);
        if plot.has_intervals() {
            sheet.note("Bands: 95 % bootstrap interval over images.");
        }
        sheet.notes(words::token_note(&member.run));
    } else {
        sheet.note(words::data_note(members));
        if plot.has_intervals() {
            sheet.note(words::INTERVAL_NOTE);
        }
        sheet.note(subject.note);
        for (name, dashes) in [
            ("ground truth", "Dashed"),
            ("place alone", "Dashed"),
            ("one class", "Dotted"),
        ] {
            if plot
                .references
                .iter()
                .any(|reference| reference.name == name)
            {
                sheet.note(format!("{dashes} line: {name}."));
            }
        }
    }
    if subject.metric == "miou" {
        sheet.notes(words::baseline_notes(members));
    }
    if plot.curves().any(Curve::has_thin) {
        sheet.note(words::USE_NOTE);
    }
}

fn table(sheet: &mut Sheet, members: &[&Member], metric: &str, plot: &Plot<'_>) {
    sheet.columns(&["layer", "facet", "metric", "value", "low", "high"]);
    let cells = |subject: Subject, metric: &str, measured: Measured| {
        let mut cells = words::subject_cells(subject).to_vec();
        cells.push(metric.to_owned());
        cells.extend(words::measured_cells(measured));
        cells
    };
    for &member in members {
        for (metric, ..) in beside(metric) {
            let measured = member.run.get(Subject::GroundTruth, metric);
            if measured.value.is_some() {
                sheet.row(member, cells(Subject::GroundTruth, metric, measured));
            }
        }
        let slots = member.run.slots();
        let own = |curve: &&Curve<'_>| std::ptr::eq(curve.member, member);
        for curve in plot.curves().filter(own) {
            for (&layer, &measured) in plot.layers.iter().zip(&curve.points) {
                if slots.contains(&Slot {
                    facet: curve.facet,
                    layer,
                }) {
                    sheet.row(
                        member,
                        cells(Subject::slot(curve.facet, layer), metric, measured),
                    );
                }
            }
        }
    }
}
