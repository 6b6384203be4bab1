//! The runs that figures show, under the names by which figures call them. A single run is a
//! comparison of one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::error::FigureError;
use crate::metrics::Measured;
use crate::run_dir::{Kind, Run};
use crate::theme::{self, Mark, Paint};
use crate::words;

/// A run under the name by which figures call it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) label: String,
    pub(crate) run: Run,
    /// The place of its label among the runs' labels, which gives its color and mark: what was
    /// measured on one model looks the same in every figure.
    pub(crate) index: usize,
    /// The locality bias of its layers: its own, or that of a run of the same weights.
    pub(crate) locality: BTreeMap<u32, Measured>,
}

impl Member {
    pub(crate) fn paint(&self) -> Paint {
        theme::series(self.index)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark::series(self.index)
    }

    /// A single run, which needs no name beside others.
    pub(crate) fn alone(run: Run) -> Self {
        let locality = run.metrics.of_layers("locality", "");
        Self {
            label: run.model.name.clone(),
            run,
            index: 0,
            locality,
        }
    }
}

/// Opens the runs and names them.
pub(crate) fn open(paths: &[PathBuf]) -> Result<Vec<Member>, FigureError> {
    let runs = paths
        .iter()
        .map(|path| Run::open(path))
        .collect::<Result<Vec<_>, _>>()?;
    let labels = labels(&runs, paths);
    let localities: Vec<_> = runs
        .iter()
        .map(|run| (same_weights(run), run.metrics.of_layers("locality", "")))
        .collect();
    let mut known: Vec<String> = Vec::new();
    let members = runs.into_iter().zip(labels);
    Ok(members
        .map(|(run, label)| {
            if !known.contains(&label) {
                known.push(label.clone());
            }
            let index = known.iter().position(|other| *other == label);
            let index = index.unwrap_or_default();
            let own = run.metrics.of_layers("locality", "");
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
                run,
                index,
                locality,
            }
        })
        .collect())
}

/// What two runs of one model share, whatever was measured on it.
fn same_weights(run: &Run) -> (Option<String>, String) {
    let sum = run.model.sha256.clone().filter(|sum| !sum.is_empty());
    (sum, run.model.name.clone())
}

/// The settings that can change a number, with seed, data and clusters, as text.
pub(crate) fn settings(run: &Run) -> BTreeMap<String, String> {
    const IDLE: [&str; 7] = [
        "threads",
        "save_labels",
        "save_counts",
        "examples",
        "queries",
        "device",
        "memory",
    ];
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(values) => {
            let texts = values.iter();
            let texts = texts.map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let mut settings: BTreeMap<String, String> = run
        .settings
        .iter()
        .filter(|(name, _)| !IDLE.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect();
    settings
        .entry("seed".to_owned())
        .or_insert_with(|| run.seed.unwrap_or(0).to_string());
    settings.insert("data".to_owned(), run.data.kind.clone());
    settings
}

/// The model's name; runs of one name also say in which settings they differ, and where even that
/// is the same, which folder they lie in.
fn labels(runs: &[Run], paths: &[PathBuf]) -> Vec<String> {
    let base = |run: &Run| words::model_name(run).to_owned();
    // Runs of different commands do not stand beside one another in a figure.
    let mut by_kind: BTreeMap<(String, Kind), Vec<usize>> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        by_kind
            .entry((base(run), run.kind))
            .or_default()
            .push(index);
    }
    let mut labels: Vec<String> = runs.iter().map(base).collect();
    for group in by_kind.values().filter(|group| group.len() > 1) {
        let all: Vec<_> = group.iter().map(|&index| settings(&runs[index])).collect();
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
