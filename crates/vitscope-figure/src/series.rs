//! The figure `series`: numbers over the steps of one training, a curve per facet, as the comparison's
//! `series.csv` has them.

use std::collections::BTreeMap;
use std::path::Path;

use vitscope_run::{Facet, Measured};

use crate::chart::{self, Frame};
use crate::compared::{Compared, field};
use crate::error::FigureError;
use crate::members::Member;
use crate::scale::Scale;
use crate::sheet::{Plate, Sheet};
use crate::theme::{self, Mark};
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

/// Values of a number by facet and step.
type Panel = BTreeMap<Facet, BTreeMap<u64, Measured>>;

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
    let mut panels: Vec<(&str, Panel)> = Vec::new();
    for (metric, name) in METRICS {
        let mut panel = Panel::new();
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
            sheet.absent("No facet has a number that a series shows; series.csv has those of attention as a whole."),
        ));
    }
    let key = Facet::ALL.map(|facet| {
        let name = facet.name().to_owned();
        (name, Mark::of(facet), theme::facet(facet))
    });
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
        "Each facet at the layer at which the last step shows it; steps stand at equal distances.",
    );
    sheet.note(words::INTERVAL_NOTE);
    if rows.iter().any(|row| row.metric == "dse") {
        sheet.note("DSE ranks these steps only: its parts are weighed by how they vary over them.");
    }
    let rows = rows.into_iter().map(|row| {
        let mut cells = vec![row.step.to_string(), row.facet.to_string(), row.metric];
        cells.extend(words::measured_cells(row.measured));
        cells
    });
    sheet.table(&["step", "facet", "metric", "value", "low", "high"], rows);
    sheet.finish(top - 6.0).map(Some)
}

fn draw_panel(sheet: &mut Sheet, name: &str, panel: &Panel, steps: &[u64], place: [f64; 3]) {
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
    for (&facet, values) in panel {
        let measured = |step| values.get(step).copied().unwrap_or_default();
        let points = steps.iter().enumerate();
        let points = points.map(|(place, step)| (place as f64, measured(step)));
        let points: Vec<(f64, Measured)> = points.collect();
        for &(place, value) in &points {
            chart.interval(place, value.interval, theme::facet(facet));
        }
        let points = points
            .iter()
            .map(|&(place, value)| Some((place, value.value?)));
        let points: Vec<_> = points.collect();
        chart.series(&points, Mark::of(facet), theme::facet(facet));
    }
}

/// One row of the table that has a facet.
struct SeriesRow {
    step: u64,
    facet: Facet,
    metric: String,
    measured: Measured,
}

/// Reads the table; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<SeriesRow>>, FigureError> {
    let Some(table) = Compared::read(path)? else {
        return Ok(None);
    };
    let [step, facet, metric] = ["step", "facet", "metric"].map(|name| table.column(name));
    let (step, facet, metric) = (step?, facet?, metric?);
    let number = table.columns("value", ["low", "high"])?;
    let mut rows = Vec::new();
    for row in table.rows() {
        // Attention as a whole has no facet, and no curve here.
        let Ok(facet) = field(row, facet).parse() else {
            continue;
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
