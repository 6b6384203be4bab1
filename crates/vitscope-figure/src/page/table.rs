//! The numbers of every slot: the page's table, and the same columns for the explorer.

use crate::members::Member;
use crate::run_dir::{Kind, Run, Slot};
use crate::words;

/// The table of all slots: columns that have no value anywhere are left out.
pub(super) struct Table {
    /// Whether several runs stand in it, which then have a column.
    pub(super) has_runs: bool,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) run: String,
    pub(super) is_truth: bool,
    pub(super) facet: &'static str,
    pub(super) layer: String,
    /// The slot as the script knows it; empty where the explorer has none.
    pub(super) slot: String,
    pub(super) is_chosen: bool,
    pub(super) cells: Vec<Cell>,
}

pub(super) struct Cell {
    pub(super) text: String,
    /// What sorting compares; empty sorts last.
    pub(super) sort: String,
}

/// What a row is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Slot(Slot),
    /// The attention of a layer.
    Attention(u32),
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

const COLUMNS: [Column; 14] = [
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
    Column::value("PCK@0.1", "pck"),
    Column::value("PCK@0.1 per image", "pck_image"),
    Column::value("I(K,Q) in nats", "locality"),
    Column::interval("I(K,Q) interval", "locality"),
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

    /// The columns that these runs have something for.
    fn of<'a>(runs: &'a [&'a Run]) -> impl Iterator<Item = &'static Self> + 'a {
        COLUMNS.iter().filter(move |column| {
            runs.iter().any(|run| {
                let mut layers = run.metrics.of_layers(column.metric, "").into_values();
                match column.part {
                    Part::Value => {
                        run.metrics.has(column.metric)
                            || layers.any(|measured| measured.value.is_some())
                    }
                    Part::Interval => {
                        run.metrics.has_interval(column.metric)
                            || layers.any(|measured| measured.interval().is_some())
                    }
                }
            })
        })
    }

    fn cell(&self, run: &Run, subject: Subject) -> Cell {
        let is_of_layers = self.metric == "locality";
        let measured = match subject {
            Subject::Slot(slot) => run.metrics.get(slot, self.metric),
            Subject::Attention(layer) => {
                let values = run.metrics.of_layers(self.metric, "");
                values.get(&layer).copied().unwrap_or_default()
            }
        };
        let (text, key) = match (self.part, measured.value, measured.interval()) {
            (Part::Value, Some(value), _) if self.metric == "nmi_z" => {
                (format!("{value:.1}"), Some(value))
            }
            (Part::Value, Some(value), _) => (words::number(Some(value)), Some(value)),
            (Part::Interval, _, Some((low, high))) => (format!("{low:.3} to {high:.3}"), Some(low)),
            // The ground truth is not measured against itself, nor is it trained; facets have no
            // locality, and attention nothing else.
            _ if subject == Subject::Slot(Slot::Truth)
                || is_of_layers != matches!(subject, Subject::Attention(_)) =>
            {
                ("–".to_owned(), None)
            }
            _ => (words::number(None), None),
        };
        Cell {
            text,
            sort: words::cell(key),
        }
    }
}

/// Every number of a slot with its name.
pub(super) fn numbers(run: &Run, slot: Slot) -> Vec<(&'static str, String)> {
    Column::of(&[run])
        .filter(|column| column.metric != "locality")
        .map(|column| (column.name, column.cell(run, Subject::Slot(slot)).text))
        .collect()
}

impl Table {
    /// `chosen` says which slots of a run are marked.
    pub(super) fn of(members: &[&Member], chosen: impl Fn(&Run) -> Vec<Slot>) -> Self {
        let runs: Vec<&Run> = members.iter().map(|member| &member.run).collect();
        let columns: Vec<&Column> = Column::of(&runs).collect();
        let mut rows = Vec::new();
        // The place of a run among those that the explorer has.
        let mut explored = 0;
        for member in members {
            let run = &member.run;
            let is_probe = run.kind == Kind::Probe;
            let probes = run.probes();
            let truth = (is_probe && run.data.has_truth && !probes.is_empty())
                .then_some(Subject::Slot(Slot::Truth));
            let attention = run.metrics.of_layers("locality", "").into_keys();
            let attention = attention.map(Subject::Attention);
            let slots = probes.iter();
            let slots = slots.map(|&(facet, layer)| Subject::Slot(Slot::Probe(facet, layer)));
            let chosen = chosen(run);
            rows.extend(truth.into_iter().chain(slots).chain(attention).map(|subject| {
                let (facet, layer) = match subject {
                    Subject::Slot(Slot::Truth) => ("ground truth", String::new()),
                    Subject::Slot(Slot::Probe(facet, layer)) => (facet.name(), layer.to_string()),
                    Subject::Attention(layer) => ("attention", layer.to_string()),
                };
                let slot = match subject {
                    Subject::Slot(slot @ Slot::Probe(..)) if is_probe => {
                        format!("{explored}/{slot}")
                    }
                    _ => String::new(),
                };
                Row {
                    run: member.label.clone(),
                    is_truth: subject == Subject::Slot(Slot::Truth),
                    facet,
                    layer,
                    slot,
                    is_chosen: matches!(subject, Subject::Slot(slot) if chosen.contains(&slot)),
                    cells: columns
                        .iter()
                        .map(|column| column.cell(run, subject))
                        .collect(),
                }
            }));
            explored += usize::from(is_probe && !probes.is_empty());
        }
        Self {
            has_runs: members.len() > 1,
            rows,
            columns: columns.iter().map(|column| column.name).collect(),
        }
    }
}
