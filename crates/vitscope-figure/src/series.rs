//! The figure `series`: numbers over the steps of one training, a curve per facet, as the comparison's
//! `series.csv` has them.

use std::collections::BTreeMap;
use std::path::Path;

use vitscope_run::{Facet, Measured};

use crate::chart::{self, Frame};
use crate::compared::{ComparedTable, field};
use crate::error::FigureError;
use crate::members::Member;
use crate::scale::Scale;
use crate::sheet::{Plate, Sheet};
use crate::theme::{self, Mark, Paint};
use crate::words;

const NAME: &str = "series";
const HEADING: &str = "Over training";
const PER_BAND: usize = 2;
const LEFT: f64 = 66.0;
const GAP: f64 = 84.0;
const HEIGHT: f64 = 190.0;

/// Names of numbers as axes show them, in the order of panels.
const METRICS: [(&str, &str); 9] = [
    ("miou", "mIoU"),
    ("nmi_excess", "NMI beyond chance"),
    ("locality", "locality bias I(K,Q) (nats)"),
    ("effective_rank", "effective rank"),
    ("dse", "DSE"),
    ("participation", "channels in use"),
    ("clusters_used", "clusters used"),
    ("loss", "loss"),
    ("pck", "PCK@0.1"),
];

/// What a curve is of: a facet, or the attention of a layer as a whole.
type Of = Option<Facet>;

/// Values of a number by facet and step.
type PanelValues = BTreeMap<Of, BTreeMap<u64, Measured>>;

fn look(of: Of) -> (&'static str, Mark, Paint) {
    match of {
        Some(facet) => (facet.name(), Mark::of(facet), theme::facet(facet)),
        None => ("attention", Mark::Circle, theme::INK),
    }
}

/// The figure; `None` where the runs are no series.
pub(crate) fn draw(members: &[&Member], out: &Path) -> Result<Option<Plate>, FigureError> {
    let Some(rows) = read(&out.join("series.csv"))? else {
        return Ok(None);
    };
    let steps: Vec<u64> = {
        let mut steps: Vec<u64> = rows.iter().map(|row| row.step).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    };
    let mut panels: Vec<(&str, PanelValues)> = Vec::new();
    for (metric, name) in METRICS {
        let mut panel = PanelValues::new();
        for row in rows.iter().filter(|row| row.metric == metric) {
            let facet = panel.entry(row.facet).or_default();
            facet.insert(row.step, row.measured);
        }
        if !panel.is_empty() {
            panels.push((name, panel));
        }
    }
    let mut sheet = Sheet::new(NAME, HEADING, theme::FULL_WIDTH, members);
    if panels.is_empty() {
        return Ok(Some(
            sheet.absent("No run has a number that a series shows."),
        ));
    }
    let all = Facet::ALL.map(Some).into_iter().chain([None]);
    let shown = all.filter(|of| rows.iter().any(|row| row.facet == *of));
    let key = shown.map(|of| {
        let (name, mark, paint) = look(of);
        (name.to_owned(), mark, paint)
    });
    let key: Vec<_> = key.collect();
    let mut top = chart::key(&mut sheet.svg, LEFT, theme::MARGIN - 4.0, &key) + 10.0;
    let count = PER_BAND as f64;
    let width = (theme::FULL_WIDTH - theme::MARGIN - LEFT - (count - 1.0) * GAP) / count;
    for band in panels.chunks(PER_BAND) {
        for (column, (name, panel)) in band.iter().enumerate() {
            let left = LEFT + column as f64 * (width + GAP);
            draw_panel(&mut sheet, name, panel, &steps, [left, top, width]);
        }
        top += HEIGHT + 62.0;
    }
    sheet.note(
        "Each curve at the layer at which the last step shows it; steps stand at equal distances.",
    );
    sheet.note(words::INTERVAL_NOTE);
    if rows.iter().any(|row| row.metric == "dse") {
        sheet.note("DSE ranks these steps only: its parts are weighed by how they vary over them.");
    }
    let rows = rows.into_iter().map(|row| {
        let facet = row.facet.map_or("", Facet::name);
        let mut cells = vec![row.step.to_string(), facet.to_owned(), row.metric];
        cells.extend(words::measured_cells(row.measured));
        cells
    });
    sheet.table(&["step", "facet", "metric", "value", "low", "high"], rows);
    sheet.finish(top - 6.0).map(Some)
}

fn draw_panel(sheet: &mut Sheet, name: &str, panel: &PanelValues, steps: &[u64], place: [f64; 3]) {
    let [left, top, width] = place;
    let values = panel.values().flat_map(BTreeMap::values);
    let frame = Frame {
        place: [left, top, width, HEIGHT],
        x: Scale::Places(steps.iter().map(u64::to_string).collect()),
        y: Scale::linear(values.flat_map(|&value| words::ends(value))),
        x_name: "step",
        y_name: name,
        labels: [true; 2],
    };
    let mut chart = frame.open(&mut sheet.svg);
    for (&of, values) in panel {
        let (_, mark, paint) = look(of);
        let measured = |step| values.get(step).copied().unwrap_or_default();
        let points = steps.iter().enumerate();
        let points = points.map(|(place, step)| (place as f64, measured(step)));
        let points: Vec<(f64, Measured)> = points.collect();
        for &(place, value) in &points {
            chart.interval(place, value.interval, paint);
        }
        let points = points
            .iter()
            .map(|&(place, value)| Some((place, value.value?)));
        let points: Vec<_> = points.collect();
        chart.series(&points, mark, paint);
    }
}

/// One row of the table.
struct SeriesRow {
    step: u64,
    facet: Of,
    metric: String,
    measured: Measured,
}

/// Reads the table; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<SeriesRow>>, FigureError> {
    let Some(table) = ComparedTable::read(path)? else {
        return Ok(None);
    };
    let [step, facet, metric] = ["step", "facet", "metric"].map(|name| table.column(name));
    let (step, facet, metric) = (step?, facet?, metric?);
    let number = table.columns("value", ["low", "high"])?;
    let mut rows = Vec::new();
    for row in table.rows() {
        let facet = match field(row, facet) {
            "" => None,
            name => Some(name.parse().map_err(|problem: String| table.bad(problem))?),
        };
        let step = field(row, step);
        let wrong = || table.bad(format!("has {step:?} where a step was expected"));
        rows.push(SeriesRow {
            step: step.parse().map_err(|_| wrong())?,
            facet,
            metric: field(row, metric).to_owned(),
            measured: table.measured(row, number)?,
        });
    }
    Ok(Some(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_as_a_whole_is_a_curve_too() {
        let dir = tempfile::tempdir().unwrap();
        let table = "step,run,facet,layer,metric,value,low,high\n\
                     1,a,,12,locality,1.5,1.4,1.6\n\
                     2,b,,12,locality,1.2,1.1,1.3\n";
        std::fs::write(dir.path().join("series.csv"), table).unwrap();
        let Some(Plate::Drawn(picture)) = draw(&[], dir.path()).unwrap() else {
            panic!("no figure");
        };
        assert!(
            picture.csv.contains("1,,locality,1.5,1.4,1.6"),
            "{}",
            picture.csv
        );
        std::fs::write(
            dir.path().join("series.csv"),
            table.replace(",,12", ",keys,12"),
        )
        .unwrap();
        assert!(draw(&[], dir.path()).is_err());
    }
}
