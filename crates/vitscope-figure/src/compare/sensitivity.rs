//! The figure `sensitivity`: runs that differ in one setting, or in the seed alone (the paper's
//! Figure 10).

use std::collections::BTreeMap;

use super::{Member, curves, settings};
use crate::chart::{self, Frame, Scale};
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::run_dir::{Facet, Slot};
use crate::select::Select;
use crate::svg::{Svg, Type};
use crate::text;
use crate::theme::{self, Mark};

const NAME: &str = "sensitivity";
const HEADING: &str = "Sensitivity to settings and seed";
/// Panels beside one another before they continue below.
const PER_BAND: usize = 4;

/// Runs of one model that are equal but for one setting, in the order of its values.
struct Family<'a> {
    model: String,
    setting: String,
    runs: Vec<(String, &'a Member)>,
}

/// What the runs of a family share: the model, and every other setting with its value.
type Alike = (String, Vec<(String, String)>);

fn families<'a>(members: &[&'a Member]) -> Vec<Family<'a>> {
    let all: Vec<(&Member, BTreeMap<String, String>)> = members
        .iter()
        .map(|&member| (member, settings(&member.run)))
        .collect();
    let mut names: Vec<&String> = all
        .iter()
        .flat_map(|(_, settings)| settings.keys())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut families = Vec::new();
    for name in names {
        let mut groups: BTreeMap<Alike, Vec<(String, &Member)>> = BTreeMap::new();
        for &(member, ref settings) in &all {
            let Some(value) = settings.get(name) else {
                continue;
            };
            let rest = settings.iter().filter(|(other, _)| *other != name);
            let rest = rest.map(|(name, value)| (name.clone(), value.clone()));
            let key = (member.run.model.name.clone(), rest.collect());
            groups.entry(key).or_default().push((value.clone(), member));
        }
        for ((model, _), mut runs) in groups {
            let number = |text: &str| text.parse::<f64>().unwrap_or(f64::INFINITY);
            runs.sort_by(|a, b| number(&a.0).total_cmp(&number(&b.0)).then(a.0.cmp(&b.0)));
            runs.dedup_by(|a, b| a.0 == b.0);
            if runs.len() > 1 {
                let setting = name.clone();
                families.push(Family {
                    model,
                    setting,
                    runs,
                });
            }
        }
    }
    families
}

pub(super) fn draw(members: &[&Member], select: Select) -> Result<Plate, FigureError> {
    const LEFT: f64 = 66.0;
    const GAP: f64 = 74.0;
    const HEIGHT: f64 = 150.0;
    let families = families(members);
    if families.is_empty() {
        let why = "No two runs of one model differ in exactly one setting.";
        return Ok(figure::absent(NAME, HEADING, why));
    }
    let metrics = [("miou", "mIoU"), ("nmi", "NMI")];
    let value = |member: &Member, facet: Facet, metric: &str| {
        let slot = select
            .layer(&member.run, facet)
            .map(|layer| Slot::Probe(facet, layer));
        let measured = slot.map(|slot| member.run.metrics.get(slot, metric));
        measured.unwrap_or_default()
    };
    let columns = families.len().min(PER_BAND);
    let page = if columns == 1 {
        theme::COLUMN_WIDTH
    } else {
        theme::FULL_WIDTH
    };
    let mut svg = Svg::new(NAME, page);
    let key = Facet::ALL.map(|facet| {
        let name = facet.name().to_owned();
        (name, Mark::of(facet), theme::facet(facet))
    });
    let mut top = chart::key(&mut svg, LEFT, theme::MARGIN - 4.0, &key) + 8.0;
    let room = page - theme::MARGIN - LEFT - (columns as f64 - 1.0) * GAP;
    let width = room / columns as f64;
    let mut rows = Vec::new();
    for band in families.chunks(columns) {
        for (index, family) in band.iter().enumerate() {
            let left = LEFT + index as f64 * (width + GAP);
            let title = text::fit(&family.model, width, Type::HEAD.size, Type::HEAD.weight);
            svg.text([left, top + 12.0], Type::HEAD, &title);
            let places: Vec<String> = family.runs.iter().map(|run| run.0.clone()).collect();
            let setting = family.setting.replace('_', " ");
            for (line, (metric, name)) in metrics.into_iter().enumerate() {
                let all = family
                    .runs
                    .iter()
                    .flat_map(|(_, member)| Facet::ALL.map(|facet| value(member, facet, metric)));
                let is_last = line + 1 == metrics.len();
                let frame = Frame {
                    place: [
                        left,
                        top + 22.0 + line as f64 * (HEIGHT + 22.0),
                        width,
                        HEIGHT,
                    ],
                    x: Scale::Places(places.clone()),
                    y: Scale::linear(all.flat_map(|measured| measured.ends()).flatten()),
                    x_name: &setting,
                    y_name: name,
                    labels: [is_last, true],
                };
                let chart = frame.open(&mut svg)?;
                for facet in Facet::ALL {
                    let points = family.runs.iter().enumerate().map(|(place, (_, member))| {
                        Some((place as f64, value(member, facet, metric).value?))
                    });
                    let points: Vec<Option<(f64, f64)>> = points.collect();
                    for (place, (_, member)) in family.runs.iter().enumerate() {
                        let interval = value(member, facet, metric).interval();
                        chart.interval(place as f64, interval, theme::facet(facet))?;
                    }
                    chart.series(&points, Mark::of(facet), theme::facet(facet))?;
                }
            }
            for (value_of, member) in &family.runs {
                for facet in Facet::ALL {
                    let Some(layer) = select.layer(&member.run, facet) else {
                        continue;
                    };
                    let mut cells = vec![
                        family.model.clone(),
                        family.setting.clone(),
                        value_of.clone(),
                        member.label.clone(),
                    ];
                    cells.extend(figure::slot_cells(Slot::Probe(facet, layer)));
                    cells.extend(
                        metrics.map(|(metric, _)| figure::cell(value(member, facet, metric).value)),
                    );
                    rows.push(cells);
                }
            }
        }
        top += 22.0 + 2.0 * (HEIGHT + 22.0) + 40.0;
    }
    let mut notes = vec![
        "Each panel: runs of one model that are equal but for the setting below it.".to_owned(),
        select.note(),
    ];
    if curves::has_intervals(members, "miou") {
        notes.push(figure::INTERVAL_NOTE.to_owned());
    }
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, top - 20.0, std::slice::from_ref(&caption));
    let header = [
        "model", "setting", "value", "run", "layer", "facet", "miou", "nmi",
    ];
    let csv = figure::table(&header, rows)?;
    let drawing = svg.finish(height, HEADING.to_owned(), caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}
