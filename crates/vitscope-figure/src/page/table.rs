//! The numbers of every slot: the page's table, and the same columns for the explorer.

use crate::figure;
use crate::run_dir::{Run, Slot};

/// The table of all slots: columns that have no value anywhere are left out.
pub(super) struct Table {
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) is_truth: bool,
    pub(super) facet: &'static str,
    pub(super) layer: String,
    pub(super) is_chosen: bool,
    pub(super) cells: Vec<Cell>,
}

pub(super) struct Cell {
    pub(super) text: String,
    /// What sorting compares; empty sorts last.
    pub(super) sort: String,
}

struct Column {
    name: &'static str,
    metric: &'static str,
    part: Part,
}

#[derive(Clone, Copy)]
enum Part {
    Value,
    Interval,
}

const COLUMNS: [Column; 10] = [
    Column::value("mIoU", "miou"),
    Column::interval("mIoU interval", "miou"),
    Column::value("pixel accuracy", "accuracy"),
    Column::value("NMI", "nmi"),
    Column::interval("NMI interval", "nmi"),
    Column::value("NMI on patch grid", "nmi_grid"),
    Column::value("excess", "nmi_excess"),
    Column::interval("excess interval", "nmi_excess"),
    Column::value("z", "nmi_z"),
    Column::value("loss", "loss"),
];

impl Column {
    const fn value(name: &'static str, metric: &'static str) -> Self {
        Self {
            name,
            metric,
            part: Part::Value,
        }
    }

    const fn interval(name: &'static str, metric: &'static str) -> Self {
        Self {
            name,
            metric,
            part: Part::Interval,
        }
    }

    /// The columns that this run has something for.
    fn of(run: &Run) -> impl Iterator<Item = &'static Self> {
        COLUMNS.iter().filter(|column| match column.part {
            Part::Value => run.metrics.has(column.metric),
            Part::Interval => run.metrics.has_interval(column.metric),
        })
    }

    fn cell(&self, run: &Run, slot: Slot) -> Cell {
        let measured = run.metrics.get(slot, self.metric);
        let (text, key) = match (self.part, measured.value, measured.interval()) {
            (Part::Value, Some(value), _) if self.metric == "nmi_z" => {
                (format!("{value:.1}"), Some(value))
            }
            (Part::Value, Some(value), _) => (figure::number(Some(value)), Some(value)),
            (Part::Interval, _, Some((low, high))) => (format!("{low:.3} to {high:.3}"), Some(low)),
            // The ground truth is not measured against itself, nor is it trained.
            _ if slot == Slot::Truth => ("–".to_owned(), None),
            _ => (figure::number(None), None),
        };
        Cell {
            text,
            sort: figure::cell(key),
        }
    }
}

/// Every number of a slot with its name.
pub(super) fn numbers(run: &Run, slot: Slot) -> Vec<(&'static str, String)> {
    Column::of(run)
        .map(|column| (column.name, column.cell(run, slot).text))
        .collect()
}

impl Table {
    pub(super) fn of(run: &Run) -> Self {
        let truth = run.data.has_truth.then_some(Slot::Truth);
        let probes = run
            .probes()
            .into_iter()
            .map(|(facet, layer)| Slot::Probe(facet, layer));
        let chosen = run.best_slots();
        let rows = truth.into_iter().chain(probes).map(|slot| {
            let (facet, layer) = match slot {
                Slot::Truth => ("ground truth", String::new()),
                Slot::Probe(facet, layer) => (facet.name(), layer.to_string()),
            };
            Row {
                is_truth: slot == Slot::Truth,
                facet,
                layer,
                is_chosen: chosen.contains(&slot),
                cells: Column::of(run)
                    .map(|column| column.cell(run, slot))
                    .collect(),
            }
        });
        let rows = if run.probes().is_empty() {
            Vec::new()
        } else {
            rows.collect()
        };
        Self {
            rows,
            columns: Column::of(run).map(|column| column.name).collect(),
        }
    }
}
