//! The top of the page: what each run says, and a grid of its slots by which the page is read.

use vitscope_run::{RunKind, Slot, Subject};

use crate::members::Member;
use crate::run_view::RunView;
use crate::verdict::{self, SlotGrade, Verdict};
use crate::words;

/// Sentences that stand open, of findings and of warnings.
const LEADING: usize = 3;

/// What one run says.
pub(super) struct RunVerdict {
    /// The run's name, where there are several and it is not the one before.
    pub(super) label: String,
    /// Whether another seed of its model stands before it.
    pub(super) is_seed: bool,
    /// The sentences that carry it, and the rest, which is folded.
    pub(super) findings: [String; 2],
    /// Likewise.
    pub(super) warnings: [Vec<String>; 2],
    pub(super) grid: Option<SlotGrid>,
}

impl RunVerdict {
    /// "3 more warnings"
    pub(super) fn more_warnings(&self) -> String {
        words::counted(self.warnings[1].len(), "more warning")
    }
}

/// A row per facet, a column per layer.
pub(super) struct SlotGrid {
    /// The number in the cells.
    pub(super) number: &'static str,
    pub(super) layers: Vec<usize>,
    pub(super) rows: Vec<SlotGridRow>,
}

pub(super) struct SlotGridRow {
    pub(super) facet: &'static str,
    pub(super) cells: Vec<Option<SlotGridCell>>,
}

pub(super) struct SlotGridCell {
    /// The slot as the page's script knows it.
    pub(super) slot: String,
    pub(super) text: String,
    /// The value as a share of the largest, for the cell's shade.
    pub(super) share: String,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// What the runs say, in their order. The explorer counts the runs that have slots.
pub(super) fn of(members: &[&Member]) -> Vec<RunVerdict> {
    let mut explored = 0;
    let mut verdicts = Vec::new();
    let mut told = None;
    for member in members {
        let run = &member.run;
        let grid = (run.kind() == RunKind::Probe && !run.slots().is_empty()).then(|| {
            explored += 1;
            grid(run, explored - 1)
        });
        let alike = |other: &&&Member| other.group == member.group;
        let first = members.iter().find(alike);
        let is_seed = first.is_some_and(|first| !std::ptr::eq(*first, *member));
        let Verdict { findings, warnings } = Verdict::of(run);
        if findings.is_empty() && warnings.is_empty() && grid.is_none() {
            continue;
        }
        verdicts.push(RunVerdict {
            is_seed,
            // What was measured on one model stands under one name.
            label: if is_seed
                || members.len() > 1 && told.replace(&member.label) != Some(&member.label)
            {
                member.label.clone()
            } else {
                String::new()
            },
            findings: folded(findings).map(|sentences| sentences.join(" ")),
            warnings: folded(warnings),
            grid,
        });
    }
    verdicts
}

/// The first of these, and the others.
fn folded(mut sentences: Vec<String>) -> [Vec<String>; 2] {
    let rest = sentences.split_off(LEADING.min(sentences.len()));
    [sentences, rest]
}

fn grid(run: &RunView, explored: usize) -> SlotGrid {
    let (metric, number) = if run.has("miou") {
        ("miou", "mIoU")
    } else {
        ("nmi", "NMI")
    };
    let value = |slot: Slot| run.get(Subject::Slot(slot), metric).value;
    let slots = run.slots();
    let largest = slots.iter().filter_map(|&slot| value(slot));
    let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
    let cell = |slot: Slot| {
        let value = value(slot);
        let standing = verdict::standing(run, slot);
        let says = match standing {
            SlotGrade::Best => ", highest or not to be told apart from it",
            SlotGrade::Below => ", below place alone",
            SlotGrade::Collapsed => ", collapsed",
            SlotGrade::Plain => "",
        };
        let printed = value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.3}"));
        SlotGridCell {
            slot: format!("{explored}/{slot}"),
            text: match (standing, value) {
                (SlotGrade::Collapsed, _) => "×".to_owned(),
                (_, Some(value)) => format!("{value:.2}").trim_start_matches('0').to_owned(),
                (_, None) => "–".to_owned(),
            },
            share: format!("{:.2}", value.unwrap_or(0.0).max(0.0) / largest),
            class: match standing {
                SlotGrade::Best => "best",
                SlotGrade::Below => "below",
                SlotGrade::Collapsed => "collapsed",
                SlotGrade::Plain => "plain",
            },
            title: format!("{}: {number} {printed}{says}", verdict::name(slot)),
        }
    };
    let layers = run.layers();
    let rows = run.facets().into_iter().map(|facet| {
        let cells = layers.iter().map(|&layer| {
            let slot = Slot { facet, layer };
            slots.contains(&slot).then(|| cell(slot))
        });
        SlotGridRow {
            facet: facet.name(),
            cells: cells.collect(),
        }
    });
    SlotGrid {
        number,
        rows: rows.collect(),
        layers: layers.clone(),
    }
}
