//! Comparisons of many runs: whose pictures, curves and sentences are shown.
//!
//! A reader of 200 runs looks for the few that matter: numbers of all of them stand in one matrix and in
//! the tables, and what takes room is shown of a few that differ in more than their seed. The other runs'
//! pages have the rest.

use std::collections::BTreeSet;

use vitscope_run::{Record, RunKind, Varying};

use crate::run_view::RunView;
use crate::words;

/// Runs up to which everything of all of them is shown: colors and marks tell so many apart.
pub(crate) const MANY: usize = 28;
/// Runs shown with pictures, curves and sentences, where there are more.
pub(crate) const PICTURED: usize = 12;

/// Which of the runs are shown with pictures, in their order: all, or of many and of each command the
/// first of every model, then the first of every combination of settings but the seed, as far as there
/// is room.
pub(crate) fn pictured(runs: &[RunView]) -> BTreeSet<usize> {
    let all = 0..runs.len();
    if runs.len() <= MANY {
        return all.collect();
    }
    let kinds = [RunKind::Probe, RunKind::Attention, RunKind::Correspond];
    let of_kind = |kind| -> Vec<usize> {
        all.clone()
            .filter(|&index| runs[index].kind() == kind)
            .collect()
    };
    kinds
        .into_iter()
        .flat_map(|kind| picked(runs, &of_kind(kind)))
        .collect()
}

/// A few of these runs.
fn picked(runs: &[RunView], among: &[usize]) -> BTreeSet<usize> {
    if among.is_empty() {
        return BTreeSet::new();
    }
    let chosen: Vec<&RunView> = among.iter().map(|&index| &runs[index]).collect();
    let models: Vec<Vec<String>> = chosen
        .iter()
        .map(|run| vec![words::model_name(run).to_owned()])
        .collect();
    let records: Vec<&Record> = chosen.iter().map(|run| &run.record).collect();
    let varying = Varying::of(&records);
    let seed = varying.names.iter().position(|name| name == "seed");
    let apart: Vec<Vec<String>> = varying
        .values
        .iter()
        .map(|own| {
            let rest = own.iter().enumerate();
            let rest = rest.filter(|(place, _)| Some(*place) != seed);
            rest.map(|(_, value)| value.clone()).collect()
        })
        .collect();
    let mut picked: BTreeSet<usize> = BTreeSet::new();
    for keys in [models, apart] {
        let mut known = BTreeSet::new();
        for (key, &index) in keys.into_iter().zip(among) {
            if known.insert(key) && picked.len() < PICTURED {
                picked.insert(index);
            }
        }
    }
    picked
}

/// What a page of many runs says of those that it does not picture.
pub(crate) fn sentence(runs: usize, pictured: usize) -> Option<String> {
    (pictured < runs).then(|| {
        format!(
            "Pictures, curves and sentences are of {pictured} of the {runs} runs, the first of each \
             model and then of each combination of settings; every run's own page has its own, and \
             comparison.csv has every number of all."
        )
    })
}
