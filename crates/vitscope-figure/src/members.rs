//! The runs that figures show, under the names by which figures call them. A single run is a
//! comparison of one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use vitscope_run::{Measured, Part, RunKind, Slot, named_settings};

use crate::error::FigureError;
use crate::many;
use crate::run_view::RunView;
use crate::theme::{self, Mark, Paint};
use crate::words;

/// A run under the name by which figures call it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) label: String,
    /// Whether it stands in a comparison, whose tables name runs.
    pub(crate) is_compared: bool,
    pub(crate) run: RunView,
    /// The place of its label among the runs' labels, which gives its color and mark: what was
    /// measured on one model looks the same in every figure.
    pub(crate) index: usize,
    /// Whether pictures, curves and sentences of it are shown: of all, unless there are many.
    pub(crate) is_pictured: bool,
    /// The place of its model among the models.
    pub(crate) model: usize,
    /// Its place among the runs of the page's explorer, where it is one of them.
    pub(crate) explored: Option<usize>,
    /// The locality bias of its layers: its own, or that of a run of the same weights.
    pub(crate) locality: BTreeMap<usize, Measured>,
}

impl Member {
    pub(crate) fn paint(&self) -> Paint {
        theme::series(self.index)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark::series(self.index)
    }

    /// The attribute and value of a group by which the page's script opens a slot, where it can.
    pub(crate) fn opens(&self, slot: Slot) -> (&'static str, String) {
        match self.explored {
            Some(explored) => ("slot", format!("{explored}/{slot}")),
            None => ("run", self.label.clone()),
        }
    }

    /// A single run, which needs no name beside others.
    pub(crate) fn alone(mut run: RunView, label: Option<&String>) -> Self {
        run.label = label.cloned();
        let locality = run.of_layers("locality", Part::Whole);
        Self {
            label: run.record.model.name.clone(),
            is_compared: false,
            run,
            index: 0,
            is_pictured: true,
            model: 0,
            explored: Some(0),
            locality,
        }
    }
}

/// Opens the runs and names them.
pub(crate) fn open(paths: &[PathBuf], given: &[String]) -> Result<Vec<Member>, FigureError> {
    let runs = paths
        .iter()
        .map(|path| RunView::open(path))
        .collect::<Result<Vec<_>, _>>()?;
    let mut labels = labels(&runs, paths);
    for (label, given) in labels.iter_mut().zip(given) {
        label.clone_from(given);
    }
    let localities: Vec<_> = runs
        .iter()
        .map(|run| (same_weights(run), run.of_layers("locality", Part::Whole)))
        .collect();
    let pictured = many::pictured(&runs);
    let (mut known, mut models): (Vec<String>, Vec<String>) = Default::default();
    let mut explorable = 0..;
    let members = runs.into_iter().zip(labels).enumerate();
    Ok(members
        .map(|(place, (run, label))| {
            let is_pictured = pictured.contains(&place);
            let model = place_of(&mut models, words::model_name(&run));
            // Colors and marks are those of what is drawn as a curve.
            let index = if is_pictured {
                place_of(&mut known, &label)
            } else {
                0
            };
            let explored = is_pictured && run.kind() == RunKind::Probe && !run.slots().is_empty();
            let own = run.of_layers("locality", Part::Whole);
            let weights = same_weights(&run);
            let other = || {
                localities
                    .iter()
                    .find(|(other, values)| *other == weights && !values.is_empty())
            };
            let locality = if own.is_empty() {
                other().map(|found| found.1.clone()).unwrap_or_default()
            } else {
                own
            };
            Member {
                label,
                is_compared: true,
                run,
                index,
                is_pictured,
                model,
                explored: explored.then(|| explorable.next()).flatten(),
                locality,
            }
        })
        .collect())
}

/// The place of a name among those known, to which a new one is added.
fn place_of(known: &mut Vec<String>, name: &str) -> usize {
    known
        .iter()
        .position(|other| other == name)
        .unwrap_or_else(|| {
            known.push(name.to_owned());
            known.len() - 1
        })
}

/// What two runs of one model share, whatever was measured on it.
fn same_weights(run: &RunView) -> (String, String) {
    let model = &run.record.model;
    (model.sha256.clone(), model.name.clone())
}

/// The model's name; runs of one name also say in which settings they differ, and where even that
/// is the same, which folder they lie in.
fn labels(runs: &[RunView], paths: &[PathBuf]) -> Vec<String> {
    let base = |run: &RunView| words::model_name(run).to_owned();
    // Runs of different commands do not stand beside one another in a figure.
    let mut by_kind: BTreeMap<(String, RunKind), Vec<usize>> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        by_kind
            .entry((base(run), run.kind()))
            .or_default()
            .push(index);
    }
    let mut labels: Vec<String> = runs.iter().map(base).collect();
    for group in by_kind.values().filter(|group| group.len() > 1) {
        let all: Vec<_> = group
            .iter()
            .map(|&index| named_settings(&runs[index].record))
            .collect();
        let names: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
        let differing: Vec<&String> = names
            .into_iter()
            .filter(|&name| all.iter().any(|other| other.get(name) != all[0].get(name)))
            .collect();
        for (&index, settings) in group.iter().zip(&all) {
            let parts = differing.iter().filter_map(|&name| {
                let value = settings.get(name)?;
                Some(format!("{} {value}", name.replace('_', " ")))
            });
            let parts: Vec<String> = parts.collect();
            if !parts.is_empty() {
                labels[index] = format!("{}, {}", labels[index], parts.join(", "));
            }
        }
        let given: Vec<String> = group.iter().map(|&index| labels[index].clone()).collect();
        for (&index, label) in group.iter().zip(&given) {
            if given.iter().filter(|other| *other == label).count() > 1 {
                let folder = paths[index].file_name().unwrap_or_default();
                labels[index] = format!("{label} ({})", folder.to_string_lossy());
            }
        }
    }
    labels
}
