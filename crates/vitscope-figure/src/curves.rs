//! A metric against the layer (the paper's Figures 4, 11 and 15): of one run a chart whose curves
//! are facets, of several a chart per facet whose curves are runs.

use vitscope_run::{Facet, Measured, RunKind, Slot, Subject};

use crate::captions;
use crate::chart::{self, Chart, Frame};
use crate::cluster_use::ClusterUse;
use crate::end_names::{self, EndName};
use crate::error::FigureError;
use crate::layer_metric::LayerMetric;
use crate::members::Member;
use crate::models;
use crate::references::{Reference, beside, references};
use crate::scale::Scale;
use crate::seeds;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::theme::{self, Mark, Paint};
use crate::words;

/// One run's values over the layers of the plot.
struct Course<'a> {
    member: &'a Member,
    /// An undefined one breaks the curve.
    points: Vec<Measured>,
    /// How many of its clusters each slot uses, where that is known.
    uses: Vec<Option<ClusterUse>>,
}

/// One curve over the layers: a run, or the seeds of a model.
struct Curve<'a> {
    courses: Vec<Course<'a>>,
    layers: Vec<usize>,
    facet: Facet,
    mark: Mark,
    paint: Paint,
    /// What the line goes through: the run's values or the seeds' median and range, without those of
    /// collapsed slots.
    points: Vec<Measured>,
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
        let models = models::models(members);
        let mut panels: Vec<Panel<'_>> = Facet::ALL
            .into_iter()
            .map(|facet| {
                let curves = models.iter().map(|model| {
                    let courses = model.runs.iter();
                    let courses =
                        courses.map(|&member| Course::new(member, facet, metric, &layers));
                    Curve::new(courses.collect(), facet, &layers, several)
                });
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
        let courses = panels.iter().flat_map(|panel| &panel.curves);
        let courses = courses.flat_map(|curve| &curve.courses);
        let points = courses.flat_map(|course| course.points.iter().copied());
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
        // The range of several seeds is no interval.
        let single = self.curves().filter(|curve| curve.courses.len() == 1);
        let points = single.flat_map(|curve| &curve.points);
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
        let top = chart::key(svg, LEFT, theme::MARGIN - 4.0, &models::key_of(members)) + 24.0;
        for (column, panel) in self.panels.iter().enumerate() {
            let left = LEFT + column as f64 * (width + GAP);
            svg.panel([left, top - 8.0], theme::FULL_WIDTH, panel.facet.name());
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

impl<'a> Course<'a> {
    fn new(member: &'a Member, facet: Facet, metric: &str, layers: &[usize]) -> Self {
        let slots = layers.iter().map(|&layer| Slot { facet, layer });
        Self {
            member,
            points: slots
                .clone()
                .map(|slot| member.run.get(Subject::Slot(slot), metric))
                .collect(),
            uses: slots.map(|slot| member.run.cluster_use(slot)).collect(),
        }
    }

    /// The value at a place along the axis of layers, if it means something.
    fn sound(&self, place: usize) -> Option<Measured> {
        let is_collapsed = self.uses[place].is_some_and(ClusterUse::is_collapsed);
        (!is_collapsed).then_some(self.points[place])
    }
}

impl<'a> Curve<'a> {
    fn new(courses: Vec<Course<'a>>, facet: Facet, layers: &[usize], several: bool) -> Self {
        let first = courses[0].member;
        let (mark, paint) = if several {
            (first.mark(), first.paint())
        } else {
            (Mark::of(facet), theme::facet(facet))
        };
        let points = (0..layers.len()).map(|place| {
            let sound = courses.iter().filter_map(|course| course.sound(place));
            seeds::over_seeds(&sound.collect::<Vec<_>>())
        });
        Self {
            points: points.collect(),
            courses,
            layers: layers.to_vec(),
            facet,
            mark,
            paint,
        }
    }

    fn has_value(&self) -> bool {
        let mut points = self.courses.iter().flat_map(|course| &course.points);
        points.any(|point| point.value.is_some())
    }

    /// Its values, by place along the axis of layers.
    fn places(&self) -> Vec<Option<(f64, f64)>> {
        let points = self.points.iter().enumerate();
        let value = |(place, point): (usize, &Measured)| Some((place as f64, point.value?));
        points.map(value).collect()
    }

    fn edges(&self) -> Vec<Option<(f64, (f64, f64))>> {
        let points = self.points.iter().enumerate();
        let edge = |(place, point): (usize, &Measured)| Some((place as f64, point.interval?));
        points.map(edge).collect()
    }

    /// Line and marks, of seeds also dots; collapsed slots are crosses without a line through them.
    /// Slots that use less than half of their clusters say how many.
    fn draw(&self, chart: &mut Chart<'_>) {
        chart.course(&self.places(), self.paint);
        let is_one = self.courses.len() == 1;
        for (x, y) in self.places().into_iter().flatten() {
            let at = chart.at(x, y);
            if is_one {
                self.open_slot(chart, &self.courses[0], x as usize, |chart| {
                    chart.svg.mark(at, self.mark, self.paint)
                });
            } else {
                chart.svg.mark(at, self.mark, self.paint);
            }
        }
        for course in &self.courses {
            for place in 0..self.layers.len() {
                self.draw_seed(chart, course, place, is_one);
            }
        }
    }

    /// What a run adds to its model's curve at a layer.
    fn draw_seed(&self, chart: &mut Chart<'_>, course: &Course<'_>, place: usize, is_one: bool) {
        let Some(value) = course.points[place].value else {
            return;
        };
        let at = chart.at(place as f64, value);
        let used = course.uses[place];
        if used.is_some_and(ClusterUse::is_collapsed) {
            self.open_slot(chart, course, place, |chart| {
                chart.svg.crossed(at, self.paint);
            });
        } else if !is_one {
            self.open_slot(chart, course, place, |chart| {
                chart.svg.speck(at, self.paint);
            });
        }
        if let Some(used) = used.filter(|used| used.is_thin()) {
            // The colors of facets and runs are too pale for small letters.
            let style = Lettering::NOTE.anchor(Anchor::Middle).paint(theme::INK);
            chart.text((place as f64, value), [0.0, -8.0], style, &used.label());
        }
    }

    /// What `draw` draws opens the slot in the page's explorer, which has the slots of probes.
    fn open_slot(
        &self,
        chart: &mut Chart<'_>,
        course: &Course<'_>,
        place: usize,
        draw: impl FnOnce(&mut Chart<'_>),
    ) {
        let member = course.member;
        if member.run.kind() != RunKind::Probe {
            return draw(chart);
        }
        let slot = Slot {
            facet: self.facet,
            layer: self.layers[place],
        };
        let run = match &member.label {
            label if member.is_compared => format!("{label}, "),
            _ => String::new(),
        };
        let value = words::number(course.points[place].value);
        let (attribute, name) = member.opens(slot);
        chart.group(attribute, &name, |chart| {
            let title = format!("{run}{} layer {}: {value}", slot.facet, slot.layer);
            chart.svg.title(&title);
            draw(chart);
        });
    }

    fn has_thin(&self) -> bool {
        let mut points = self
            .courses
            .iter()
            .flat_map(|course| course.points.iter().zip(&course.uses));
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

fn caption(sheet: &mut Sheet, members: &[&Member], subject: &LayerMetric, plot: &Plot<'_>) {
    if let [member] = members {
        sheet.note(subject.note);
        if plot.has_intervals() {
            sheet.note("Bands: 95 % bootstrap interval over images.");
        }
        sheet.notes(words::token_note(&member.run));
    } else {
        sheet.note(captions::data_note(members));
        if plot.has_intervals() {
            sheet.note(words::INTERVAL_NOTE);
        }
        if plot.curves().any(|curve| curve.courses.len() > 1) {
            sheet.note(seeds::SEEDS_NOTE);
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
        sheet.notes(captions::baseline_notes(members));
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
        let courses = plot.curves().flat_map(|curve| {
            let courses = curve.courses.iter();
            courses.map(|course| (curve.facet, course))
        });
        let own = courses.filter(|(_, course)| std::ptr::eq(course.member, member));
        for (facet, course) in own {
            for (&layer, &measured) in plot.layers.iter().zip(&course.points) {
                let slot = Slot { facet, layer };
                if slots.contains(&slot) {
                    sheet.row(member, cells(Subject::Slot(slot), metric, measured));
                }
            }
        }
    }
}
