//! The figures `layers-key` and so on: one facet across the layers, its aggregate map under each.

use vitscope_run::{Facet, Slot, Subject};

use crate::error::FigureError;
use crate::grid::{label_map, missing, photo_or_missing};
use crate::legend::legend;
use crate::members::Member;
use crate::run_view::RunView;
use crate::sheet::{Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::theme;
use crate::words;

/// Layers beside one another before they continue below.
const PER_BAND: usize = 12;
/// Examples shown: more would leave no room for the eye to compare layers.
const EXAMPLES: usize = 3;
const GAP: f64 = 3.0;
const METRICS: [(&str, &str); 2] = [("nmi", "NMI"), ("miou", "mIoU")];

/// What is drawn: guides (image and ground truth) at the left, then the layers.
struct LayerStrip<'a> {
    run: &'a RunView,
    facet: Facet,
    stems: &'a [String],
    guides: usize,
    pitch: f64,
    /// How many pictures there were.
    pictures: usize,
    /// Which classes the label maps show.
    seen: [bool; 256],
}

pub(crate) fn draw(member: &Member) -> Result<Vec<Plate>, FigureError> {
    let facets = member.run.facets().into_iter();
    facets.map(|facet| draw_facet(member, facet)).collect()
}

fn draw_facet(member: &Member, facet: Facet) -> Result<Plate, FigureError> {
    let run = &member.run;
    let name = format!("layers-{}", facet.name());
    let heading = format!("From layer to layer: {}", facet.name());
    let mut sheet = Sheet::new(&name, heading, theme::FULL_WIDTH, &[member]);
    let slots = run.slots().into_iter();
    let slots = slots.filter(|slot| slot.facet == facet);
    let layers: Vec<usize> = slots.map(|slot| slot.layer).collect();
    let columns = layers.len().clamp(1, PER_BAND);
    let mut course = LayerStrip::new(run, facet, columns);
    let mut top = theme::MARGIN;
    for band in layers.chunks(columns) {
        top = course.draw_heads(&mut sheet.svg, band, top);
        top = course.draw_examples(&mut sheet.svg, band, top)? + 6.0;
        top = course.draw_aggregates(&mut sheet.svg, band, top)?;
    }
    if course.pictures == 0 {
        return Ok(sheet.absent("The run stored no label maps and no aggregate maps."));
    }
    let bottom = legend(&mut sheet.svg, run, top - 6.0, Some(&course.seen));
    sheet.note(words::aggregate_note(run));
    sheet.note("In bold: the facet's chosen layer.");
    sheet.notes(words::earned_note(run));
    sheet.notes(words::cluster_note(run));
    if facet == Facet::Token {
        sheet.notes(words::token_note(run));
    }
    sheet.columns(&["layer", "facet", "examples", "nmi", "miou"]);
    for layer in layers {
        let slot = Subject::slot(facet, layer);
        let mut cells = words::subject_cells(slot).to_vec();
        cells.push(course.stems.join(" "));
        let values = METRICS.map(|(metric, _)| run.get(slot, metric).value);
        cells.extend(values.map(words::cell));
        sheet.row(member, cells);
    }
    sheet.finish(bottom + 2.0)
}

impl<'a> LayerStrip<'a> {
    fn new(run: &'a RunView, facet: Facet, columns: usize) -> Self {
        let guides = 1 + usize::from(run.has_truth());
        let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - 10.0;
        Self {
            run,
            facet,
            stems: &run.examples[..run.examples.len().min(EXAMPLES)],
            guides,
            pitch: (room / (columns + guides) as f64).min(150.0).floor(),
            pictures: 0,
            seen: [false; 256],
        }
    }

    fn side(&self) -> f64 {
        self.pitch - GAP
    }

    fn guide(&self, column: usize) -> f64 {
        theme::MARGIN + column as f64 * self.pitch
    }

    fn column(&self, index: usize) -> f64 {
        theme::MARGIN + 10.0 + (self.guides + index) as f64 * self.pitch
    }

    /// The slots that have a cell in a row, and where: the ground truth, if there is one, and layers.
    fn subjects(&self, band: &[usize]) -> Vec<(f64, Subject)> {
        let truth = (self.guides > 1).then(|| (self.guide(1), Subject::GroundTruth));
        let layers = band.iter().enumerate();
        let layers =
            layers.map(|(index, &layer)| (self.column(index), Subject::slot(self.facet, layer)));
        truth.into_iter().chain(layers).collect()
    }

    fn draw_heads(&self, svg: &mut Svg, band: &[usize], top: f64) -> f64 {
        let style = Lettering::LABEL.anchor(Anchor::Middle);
        let middle = |left: f64| [left + self.side() / 2.0, top + 12.0];
        svg.text(middle(self.guide(0)), style, "image");
        if self.guides > 1 {
            svg.text(middle(self.guide(1)), style, "truth");
        }
        for (index, &layer) in band.iter().enumerate() {
            let facet = self.facet;
            let is_chosen = self.run.selection.contains(&Slot { facet, layer });
            let style = if is_chosen {
                Lettering::HEAD.anchor(Anchor::Middle)
            } else {
                style
            };
            let name = if index == 0 {
                format!("layer {layer}")
            } else {
                layer.to_string()
            };
            svg.text(middle(self.column(index)), style, &name);
        }
        top + 20.0
    }

    fn draw_examples(
        &mut self,
        svg: &mut Svg,
        band: &[usize],
        mut top: f64,
    ) -> Result<f64, FigureError> {
        let side = self.side();
        for stem in self.stems {
            let image = self.run.image(stem)?;
            let place = [self.guide(0), top, side, side];
            photo_or_missing(svg, place, image.as_ref(), &format!("image {stem}"))?;
            for (left, slot) in self.subjects(band) {
                let place = [left, top, side, side];
                let Some(map) = self.run.labels(slot, stem)? else {
                    missing(svg, place);
                    continue;
                };
                self.pictures += 1;
                if slot == Subject::GroundTruth || self.run.labels_are_classes() {
                    for &index in &map.indices {
                        self.seen[usize::from(index)] = true;
                    }
                }
                label_map(svg, place, &map, &format!("{slot}, {stem}"))?;
            }
            top += self.pitch;
        }
        Ok(top)
    }

    fn draw_aggregates(
        &mut self,
        svg: &mut Svg,
        band: &[usize],
        top: f64,
    ) -> Result<f64, FigureError> {
        let side = self.side();
        let place = [theme::MARGIN, top + side / 2.0 + 5.0];
        svg.text(place, Lettering::NOTE, "aggregate");
        for (left, slot) in self.subjects(band) {
            let map = self.run.aggregate(slot)?;
            self.pictures += usize::from(map.is_some());
            let label = format!("aggregate map of {slot}");
            let cell = [left, top, side, side];
            photo_or_missing(svg, cell, map.as_ref(), &label)?;
            if let (Some(used), Subject::Slot(slot)) = (words::thin_label(self.run, slot), slot) {
                if self.run.is_collapsed(slot) {
                    svg.void(cell);
                }
                let place = [left + side / 2.0, top + side - 6.0];
                svg.tag(place, used.trim_end_matches(" used"));
            }
            for (line, (metric, _)) in METRICS.into_iter().enumerate() {
                if let Some(value) = self.run.get(slot, metric).value {
                    let place = [left + side / 2.0, top + side + 15.0 + 15.0 * line as f64];
                    let style = Lettering::NOTE.anchor(Anchor::Middle);
                    svg.text(place, style, &format!("{value:.3}"));
                }
            }
        }
        for (line, (metric, name)) in METRICS.into_iter().enumerate() {
            if self.run.has(metric) {
                let place = [theme::MARGIN, top + side + 15.0 + 15.0 * line as f64];
                svg.text(place, Lettering::NOTE, name);
            }
        }
        Ok(top + side + 46.0)
    }
}
