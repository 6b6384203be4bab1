//! The runs that figures show, under the names by which figures call them. A single run is a
//! comparison of one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use vitscope_run::{Measured, Part, RunKind, Slot, named_settings};

use crate::error::FigureError;
use crate::run_view::RunView;
use crate::theme::{self, Mark, Paint};
use crate::words;
use crate::{many, seeds};

/// A run under the name by which figures call it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) label: String,
    /// Whether it stands in a comparison, whose tables name runs.
    pub(crate) is_compared: bool,
    pub(crate) run: RunView,
    /// The name of its model: its own without the seed, where runs of other seeds stand beside it.
    pub(crate) model: String,
    /// What runs that differ in the seed alone have in common.
    pub(crate) group: usize,
    /// The place of its model's name among those of all, which gives its color and mark: what was
    /// measured on one model looks the same in every figure.
    pub(crate) index: usize,
    /// Whether pictures, curves and sentences of it are shown: of all, unless there are many.
    pub(crate) is_pictured: bool,
    /// The place of its weights' name among those of all.
    pub(crate) weights_index: usize,
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
            model: run.record.model.name.clone(),
            group: 0,
            run,
            index: 0,
            is_pictured: true,
            weights_index: 0,
            explored: Some(0),
            locality,
        }
    }
}

/// Opens the runs and names them.
pub(crate) fn open(paths: &[PathBuf], given: &[String]) -> Result<Vec<Member>, FigureError> {
    let open = |path: &PathBuf| match RunView::open(path) {
        Ok(run) if run.kind() == RunKind::Causes => Err(FigureError::Choice {
            asked: path.display().to_string(),
            problem: "a run of causes is not compared with others: its own page has its figures"
                .to_owned(),
        }),
        opened => opened,
    };
    let runs = paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let groups = seeds::groups(&runs, given);
    let mut models = model_labels(&runs, paths, &groups);
    let mut labels = labels(&runs, paths);
    for names in [&mut labels, &mut models] {
        for (label, given) in names.iter_mut().zip(given) {
            label.clone_from(given);
        }
    }
    let localities: Vec<_> = runs
        .iter()
        .map(|run| {
            let values = run.of_layers("locality", Part::Whole);
            (same_weights(run), run.record.clone(), values)
        })
        .collect();
    let pictured = many::pictured(&runs);
    let (mut known, mut named): (Vec<String>, Vec<String>) = Default::default();
    let mut explorable = 0..;
    let members = runs.into_iter().zip(labels).zip(models).zip(groups);
    Ok(members
        .enumerate()
        .map(|(place, (((run, label), model), group))| {
            let is_pictured = pictured.contains(&place);
            let weights_index = place_of(&mut named, words::model_name(&run));
            // Colors and marks are those of what is drawn as a curve.
            let index = if is_pictured {
                place_of(&mut known, &model)
            } else {
                0
            };
            let explored = is_pictured && run.kind() == RunKind::Probe && !run.slots().is_empty();
            let own = run.of_layers("locality", Part::Whole);
            let weights = same_weights(&run);
            let other = || {
                localities.iter().find(|(other, record, values)| {
                    *other == weights && !values.is_empty() && record.is_same_attention(&run.record)
                })
            };
            let locality = if own.is_empty() {
                other().map(|found| found.2.clone()).unwrap_or_default()
            } else {
                own
            };
            Member {
                label,
                is_compared: true,
                model,
                group,
                run,
                index,
                is_pictured,
                weights_index,
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
pub(crate) fn same_weights(run: &RunView) -> (String, String) {
    let model = &run.record.model;
    (model.sha256.clone(), model.name.clone())
}

/// The names of the runs' models: without the seed for those that stand with runs of other seeds,
/// unless that would give two models one name.
fn model_labels(runs: &[RunView], paths: &[PathBuf], groups: &[usize]) -> Vec<String> {
    let whole = labels(runs, paths);
    let short = names(runs, |setting| setting != "seed");
    let is_alone = |index: usize| {
        let mut others = groups.iter().filter(|&&group| group == groups[index]);
        others.nth(1).is_none()
    };
    let is_taken = |index: usize| {
        (0..runs.len()).any(|other| {
            groups[other] != groups[index]
                && runs[other].kind() == runs[index].kind()
                && (short[other] == short[index] || whole[other] == short[index])
        })
    };
    (0..runs.len())
        .map(|index| match (is_alone(index), is_taken(index)) {
            (true, _) => whole[index].clone(),
            (false, true) => whole[groups[index]].clone(),
            (false, false) => short[index].clone(),
        })
        .collect()
}

/// The model's name; runs of one name also say in which settings they differ, and where even that
/// is the same, which folder they lie in.
fn labels(runs: &[RunView], paths: &[PathBuf]) -> Vec<String> {
    let mut labels = names(runs, |_| true);
    let given: Vec<(String, RunKind)> = labels
        .iter()
        .cloned()
        .zip(runs.iter().map(RunView::kind))
        .collect();
    for (index, label) in labels.iter_mut().enumerate() {
        if given.iter().filter(|other| **other == given[index]).count() > 1 {
            let folder = paths[index].file_name().unwrap_or_default();
            *label = format!("{label} ({})", folder.to_string_lossy());
        }
    }
    labels
}

/// The model's name; runs of one name also say in which of these settings they differ.
fn names(runs: &[RunView], counts: impl Fn(&str) -> bool) -> Vec<String> {
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
            .filter(|name| counts(name))
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
    }
    labels
}
