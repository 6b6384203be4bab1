//! The figure `relations`: positional effect against segmentation quality and against the locality
//! of attention, every slot a point (the paper's Figure 9).

mod correlations;

use std::cmp::Ordering;

use vitscope_measure::{pearson, spearman};
use vitscope_run::{Facet, Slot, Subject, decimals};

use crate::chart::{self, Chart, Frame};
use crate::error::FigureError;
use crate::locality;
use crate::many::MANY;
use crate::members::Member;
use crate::models;
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Lettering, Svg};
use crate::text;
use crate::theme::{self, Mark, Paint};
use crate::words;

pub(crate) use correlations::Relations;

const NAME: &str = "relations";
const HEADING: &str = "Positional effect, quality and locality";
const LEFT: f64 = 66.0;
const GAP: f64 = 84.0;
const HEIGHT: f64 = 300.0;

/// What a caption can say of correlations.
pub(crate) enum Correlations<'a> {
    /// A single run has none of its own.
    NotMeant,
    /// The comparison's were not computed.
    Absent,
    Read(&'a Relations),
}

/// The number that stands against the positional effect.
type Height<'a> = &'a dyn Fn(&Member, Slot) -> Option<f64>;

/// One slot as a point.
struct Dot<'a> {
    member: &'a Member,
    slot: Slot,
    x: f64,
    y: f64,
}

/// Two numbers against one another.
struct RelationPoints<'a> {
    name: &'static str,
    title: &'static str,
    y_name: &'static str,
    y: Scale,
    dots: Vec<Dot<'a>>,
}

pub(crate) fn draw(
    members: &[&Member],
    correlations: &Correlations<'_>,
) -> Result<Plate, FigureError> {
    let relations = select(members);
    if relations.is_empty() {
        let why = "The positional effect has nothing to stand against: no mIoU, no locality.";
        return Ok(sheet::absent(NAME, HEADING, why));
    }
    // A chart of one relation fills a column, of two the page.
    let full = relations.len() > 1;
    let page = if full {
        theme::FULL_WIDTH
    } else {
        theme::COLUMN_WIDTH
    };
    let mut sheet = Sheet::new(NAME, HEADING, page, members);
    let top = draw_keys(&mut sheet.svg, members, &relations) + 26.0;
    let count = relations.len() as f64;
    let width = (page - theme::MARGIN - LEFT - (count - 1.0) * GAP) / count;
    for (column, relation) in relations.iter().enumerate() {
        let left = LEFT + column as f64 * (width + GAP);
        let place = [left, top, width, HEIGHT];
        relation.draw(&mut sheet.svg, place, members.len());
    }
    for relation in &relations {
        let sentence = match correlations {
            Correlations::Read(stored) => stored.sentence(relation.name),
            Correlations::NotMeant => relation.own_coefficients(),
            Correlations::Absent => None,
        };
        let title = words::capitalized(relation.title);
        sheet.notes(sentence.map(|text| format!("{title}: {text}.")));
    }
    match correlations {
        Correlations::Read(stored) => {
            sheet.notes(stored.note(relations.iter().map(|relation| relation.name)));
        }
        Correlations::Absent => {
            sheet.note("No correlations: relations.csv is not there, so they were not computed.");
        }
        Correlations::NotMeant => sheet.note(correlations::ONE_MODEL),
    }
    if !full {
        sheet.note("Locality of attention was not measured.");
    }
    let mut all = members.iter();
    sheet.note(if all.any(|member| member.run.has_collapsed()) {
        "Every point is one layer and facet; collapsed slots are left out."
    } else {
        "Every point is one layer and facet."
    });
    if members.len() > MANY {
        sheet.note("Shown: each run's chosen layers, in the color of its model; the correlations are over all slots.");
    } else if members.len() > theme::SERIES_COLORS {
        sheet.note("Colors repeat; on the page, pointing at a point names its run.");
    }
    let header = ["relation", "run", "layer", "facet", "nmi", "value"];
    sheet.table(&header, relations.iter().flat_map(RelationPoints::rows));
    sheet.finish(top + HEIGHT + 46.0)
}

/// The relations that have a point.
fn select<'a>(members: &[&'a Member]) -> Vec<RelationPoints<'a>> {
    let is_many = members.len() > MANY;
    let dots = |facets: &[Facet], height: Height<'_>| {
        let mut dots = Vec::new();
        for &member in members {
            for slot in member.run.slots() {
                let is_left_out = is_many && !member.run.selection.contains(&slot);
                if is_left_out || member.run.is_collapsed(slot) {
                    continue;
                }
                let x = member.run.get(Subject::Slot(slot), "nmi").value;
                if let (true, Some(x), Some(y)) =
                    (facets.contains(&slot.facet), x, height(member, slot))
                {
                    dots.push(Dot { member, slot, x, y });
                }
            }
        }
        dots
    };
    let miou = |member: &Member, slot: Slot| {
        let value = member.run.get(Subject::Slot(slot), "miou").value;
        value.filter(|&value| value > 0.0)
    };
    let bias = |member: &Member, slot: Slot| member.locality.get(&slot.layer)?.value;
    let quality = dots(&Facet::ALL, &miou);
    let local = dots(&[Facet::Key, Facet::Query], &bias);
    let mut relations = vec![
        RelationPoints {
            name: "nmi~log_miou",
            title: "all facets",
            y_name: "mIoU (log scale)",
            y: Scale::log(quality.iter().flat_map(|dot| {
                let alone = words::place_alone(&dot.member.run);
                [Some(dot.y), alone].into_iter().flatten()
            })),
            dots: quality,
        },
        RelationPoints {
            name: "nmi~locality",
            title: "keys and queries",
            y_name: locality::AXIS,
            y: Scale::linear(local.iter().map(|dot| dot.y)),
            dots: local,
        },
    ];
    relations.retain(|relation| !relation.dots.is_empty());
    relations
}

/// The color of a run among so many: among many, its model's.
fn paint(member: &Member, runs: usize) -> Paint {
    if runs > MANY {
        theme::series(member.weights_index)
    } else {
        member.paint()
    }
}

/// What marks and colors mean: marks say the facet; colors the facet too, or the model among several.
fn draw_keys(svg: &mut Svg, members: &[&Member], relations: &[RelationPoints<'_>]) -> f64 {
    let several = members.len() > 1;
    let is_shown = |facet: &Facet| {
        let mut dots = relations.iter().flat_map(|relation| &relation.dots);
        dots.any(|dot| dot.slot.facet == *facet)
    };
    let facets = Facet::ALL.into_iter().filter(is_shown);
    let facets: Vec<(String, Mark, Paint)> = facets
        .map(|facet| {
            let paint = if several {
                theme::INK
            } else {
                theme::facet(facet)
            };
            (facet.name().to_owned(), Mark::of(facet), paint)
        })
        .collect();
    let top = chart::key(svg, LEFT, theme::MARGIN - 4.0, &facets);
    if !several {
        return top;
    }
    if members.len() <= MANY {
        let names = models::key_of(members).into_iter();
        let names: Vec<_> = names
            .map(|(name, _, paint)| (name, Mark::Circle, paint))
            .collect();
        return chart::key(svg, LEFT, top, &names);
    }
    let mut names: Vec<(String, Mark, Paint)> = Vec::new();
    for member in members {
        let name = words::model_name(&member.run);
        if names.iter().all(|known| known.0 != name) {
            names.push((name.to_owned(), Mark::Circle, paint(member, members.len())));
        }
    }
    chart::key(svg, LEFT, top, &names)
}

impl RelationPoints<'_> {
    fn draw(&self, svg: &mut Svg, place: [f64; 4], runs: usize) {
        svg.panel([place[0], place[1] - 8.0], theme::FULL_WIDTH, self.title);
        let frame = Frame {
            place,
            x: Scale::Linear(0.0..1.0),
            y: self.y.clone(),
            x_name: "positional effect (NMI)",
            y_name: self.y_name,
            labels: [true; 2],
        };
        let mut chart = frame.open(svg);
        self.draw_lines(&mut chart);
        for dot in &self.dots {
            self.draw_dot(&mut chart, dot, runs);
        }
    }

    /// The data sets' own positional effect and, against mIoU, what the place alone gives.
    fn draw_lines(&self, chart: &mut Chart<'_>) {
        let mut values: Vec<(bool, f64)> = Vec::new();
        for dot in &self.dots {
            let run = &dot.member.run;
            let truth = run.get(Subject::GroundTruth, "nmi").value;
            let alone = words::place_alone(run).filter(|_| self.name == "nmi~log_miou");
            let found = [(true, truth), (false, alone)];
            values.extend(
                found
                    .into_iter()
                    .filter_map(|(up, value)| Some((up, value?))),
            );
        }
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        values.dedup();
        for (is_upright, value) in values {
            let [_, y] = chart.ends();
            if is_upright {
                chart.upright(value, theme::TRUTH, theme::DASHES);
                let [x, top] = chart.at(value, y.end);
                self.line_name(chart, [x + 6.0, top + 12.0], "ground truth", value);
            } else if y.contains(&value) {
                chart.across(value, theme::TRUTH, theme::DASHES);
                let [left, line] = chart.at(0.0, value);
                self.line_name(chart, [left + 6.0, line - 6.0], "place alone", value);
            }
        }
    }

    /// The name of a line on a plate of paper, so that points do not run through it.
    fn line_name(&self, chart: &mut Chart<'_>, [x, y]: [f64; 2], name: &str, value: f64) {
        let name = format!("{name} {value:.3}");
        let style = Lettering::NOTE;
        let width = text::width(&name, style.size, style.weight);
        chart.svg.tag([x + width / 2.0, y], &name);
    }

    fn draw_dot(&self, chart: &mut Chart<'_>, dot: &Dot<'_>, runs: usize) {
        let Slot { facet, layer } = dot.slot;
        let (paint, run) = if runs > 1 {
            (paint(dot.member, runs), format!("{}, ", dot.member.label))
        } else {
            (theme::facet(facet), String::new())
        };
        let name = self.y_name.split(" (").next().unwrap_or_default();
        let title = format!(
            "{run}{} layer {layer}: NMI {:.3}, {name} {:.3}",
            facet.name(),
            dot.x,
            dot.y
        );
        let place = chart.at(dot.x, dot.y);
        let (attribute, name) = dot.member.opens(dot.slot);
        chart.group(attribute, &name, |chart| {
            chart.svg.title(&title);
            chart.svg.mark(place, Mark::of(facet), paint);
        });
    }

    /// The coefficients over these points alone; mIoU enters by its logarithm.
    fn own_coefficients(&self) -> Option<String> {
        let x: Vec<f64> = self.dots.iter().map(|dot| dot.x).collect();
        let y = self.dots.iter().map(|dot| match self.name {
            "nmi~log_miou" => dot.y.ln(),
            _ => dot.y,
        });
        let y: Vec<f64> = y.collect();
        let number = |value: f64| decimals(value, 2).replace('-', "−");
        Some(format!(
            "Pearson {}, Spearman {}, n = {}",
            number(pearson(&x, &y)?),
            number(spearman(&x, &y)?),
            x.len()
        ))
    }

    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.dots.iter().map(|dot| {
            let mut cells = vec![self.name.to_owned(), dot.member.label.clone()];
            cells.extend(words::subject_cells(Subject::Slot(dot.slot)));
            cells.extend([dot.x.to_string(), dot.y.to_string()]);
            cells
        })
    }
}
