//! The figure `sensitivity`: runs that differ in one setting, or in the seed alone (the paper's
//! Figure 10).

use std::collections::BTreeMap;

use vitscope_run::{Facet, Measured, Select, Subject, in_order, named_settings};

use crate::chart::{self, Frame};
use crate::error::FigureError;
use crate::many::MANY;
use crate::members::Member;
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::Svg;
use crate::theme::{self, Mark};
use crate::words;

const NAME: &str = "sensitivity";
const HEADING: &str = "Sensitivity to settings and seed";
/// Panels beside one another before they continue below.
const PER_BAND: usize = 4;
const LEFT: f64 = 66.0;
const GAP: f64 = 74.0;
const HEIGHT: f64 = 150.0;
/// What each panel shows, one chart above the other.
const METRICS: [(&str, &str); 2] = [("miou", "mIoU"), ("nmi", "NMI")];

/// Runs of one model that are equal but for one setting, in the order of its values.
struct Variation<'a> {
    model: String,
    setting: String,
    runs: Vec<(String, &'a Member)>,
}

/// What the runs of a variation share: the model, and every other setting with its value.
type Alike = (String, Vec<(String, String)>);

fn variations<'a>(members: &[&'a Member]) -> Vec<Variation<'a>> {
    let all: Vec<(&Member, BTreeMap<String, String>)> = members
        .iter()
        .map(|&member| (member, named_settings(&member.run.record)))
        .collect();
    let settings = all.iter().flat_map(|(_, settings)| settings.keys());
    let mut names: Vec<&String> = settings.collect();
    names.sort_unstable();
    names.dedup();
    let mut variations = Vec::new();
    for name in names {
        let mut groups: BTreeMap<Alike, Vec<(String, &Member)>> = BTreeMap::new();
        for &(member, ref settings) in &all {
            let Some(value) = settings.get(name) else {
                continue;
            };
            let rest = settings.iter().filter(|(other, _)| *other != name);
            let rest = rest.map(|(name, value)| (name.clone(), value.clone()));
            let key = (member.run.record.model.name.clone(), rest.collect());
            groups.entry(key).or_default().push((value.clone(), member));
        }
        for ((model, _), mut runs) in groups {
            runs.sort_by(|a, b| in_order(&a.0, &b.0));
            runs.dedup_by(|a, b| a.0 == b.0);
            if runs.len() > 1 {
                let setting = name.clone();
                variations.push(Variation {
                    model,
                    setting,
                    runs,
                });
            }
        }
    }
    variations
}

fn measured(member: &Member, facet: Facet, metric: &str, select: Select) -> Measured {
    let layer = member.run.selected(facet, select);
    let slot = layer.map(|layer| Subject::slot(facet, layer));
    slot.map(|slot| member.run.get(slot, metric))
        .unwrap_or_default()
}

pub(crate) fn draw(members: &[&Member], select: Select) -> Result<Plate, FigureError> {
    let variations = variations(members);
    if variations.is_empty() {
        let why = "No two runs of one model differ in exactly one setting.";
        return Ok(sheet::absent(NAME, HEADING, why));
    }
    let all = variations.len();
    let shown = if members.len() > MANY {
        few(&variations)
    } else {
        variations.iter().collect()
    };
    let columns = shown.len().min(PER_BAND);
    let page = if columns == 1 {
        theme::COLUMN_WIDTH
    } else {
        theme::FULL_WIDTH
    };
    let mut sheet = Sheet::new(NAME, HEADING, page, members);
    let key = Facet::ALL.map(|facet| {
        let name = facet.name().to_owned();
        (name, Mark::of(facet), theme::facet(facet))
    });
    let mut top = chart::key(&mut sheet.svg, LEFT, theme::MARGIN - 4.0, &key) + 8.0;
    let room = page - theme::MARGIN - LEFT - (columns as f64 - 1.0) * GAP;
    let width = room / columns as f64;
    for band in shown.chunks(columns) {
        for (index, variation) in band.iter().enumerate() {
            let left = LEFT + index as f64 * (width + GAP);
            variation.draw(&mut sheet.svg, [left, top, width], select);
        }
        top += 22.0 + 2.0 * (HEIGHT + 22.0) + 40.0;
    }
    sheet.note("Each panel: runs of one model that are equal but for the setting below it.");
    if shown.len() < all {
        sheet.note(format!("{} of {all} such sets of runs are shown, the first of each setting; the table has all.", shown.len()));
    }
    sheet.note(words::select_note(select));
    let mut members = members.iter();
    if members.any(|member| member.run.has_interval("miou")) {
        sheet.note(words::INTERVAL_NOTE);
    }
    let header = [
        "model", "setting", "value", "run", "layer", "facet", "miou", "nmi",
    ];
    let rows = variations
        .iter()
        .flat_map(|variation| variation.rows(select));
    sheet.table(&header, rows);
    sheet.finish(top - 20.0)
}

/// The first variations of each setting, a band of each.
fn few<'v, 'a>(variations: &'v [Variation<'a>]) -> Vec<&'v Variation<'a>> {
    let mut shown: Vec<&Variation<'_>> = Vec::new();
    for variation in variations {
        let same = shown
            .iter()
            .filter(|other| other.setting == variation.setting);
        if same.count() < PER_BAND {
            shown.push(variation);
        }
    }
    shown
}

impl Variation<'_> {
    /// The charts of its metrics, one above the other.
    fn draw(&self, svg: &mut Svg, [left, top, width]: [f64; 3], select: Select) {
        svg.panel([left, top + 12.0], width, &self.model);
        let setting = self.setting.replace('_', " ");
        for (line, (metric, name)) in METRICS.into_iter().enumerate() {
            let value = |member: &Member, facet| measured(member, facet, metric, select);
            let runs = self.runs.iter();
            let all = runs.flat_map(|(_, member)| Facet::ALL.map(|facet| value(member, facet)));
            let y = top + 22.0 + line as f64 * (HEIGHT + 22.0);
            let frame = Frame {
                place: [left, y, width, HEIGHT],
                x: Scale::Places(self.runs.iter().map(|run| run.0.clone()).collect()),
                y: match metric {
                    "nmi" => Scale::Linear(0.0..1.0),
                    _ => Scale::linear(all.flat_map(words::ends)),
                },
                x_name: &setting,
                y_name: name,
                labels: [line + 1 == METRICS.len(), true],
            };
            let mut chart = frame.open(svg);
            for facet in Facet::ALL {
                let values = self.runs.iter().map(|(_, member)| value(member, facet));
                let values: Vec<Measured> = values.collect();
                for (place, value) in values.iter().enumerate() {
                    chart.interval(place as f64, value.interval, theme::facet(facet));
                }
                let points = values.iter().enumerate();
                let points: Vec<_> = points
                    .map(|(place, value)| Some((place as f64, value.value?)))
                    .collect();
                // Seeds have no order: dots, and no course between them.
                let points: Vec<_> = match self.setting.as_str() {
                    "seed" => points.into_iter().flat_map(|point| [point, None]).collect(),
                    _ => points,
                };
                chart.series(&points, Mark::of(facet), theme::facet(facet));
            }
        }
    }

    fn rows(&self, select: Select) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for (value, member) in &self.runs {
            for facet in Facet::ALL {
                let Some(layer) = member.run.selected(facet, select) else {
                    continue;
                };
                let mut cells = vec![self.model.clone(), self.setting.clone(), value.clone()];
                cells.push(member.label.clone());
                cells.extend(words::subject_cells(Subject::slot(facet, layer)));
                let values = METRICS.map(|(metric, _)| measured(member, facet, metric, select));
                cells.extend(values.map(|measured| words::cell(measured.value)));
                rows.push(cells);
            }
        }
        rows
    }
}
