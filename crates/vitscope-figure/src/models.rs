//! Models as figures show them: runs that are alike but for their seed are one model, of which
//! figures show every seed's value, their median and their range.

use std::collections::{BTreeMap, BTreeSet};

use vitscope_run::{Measured, RunKind, facts};

use crate::members::Member;
use crate::run_view::RunView;

/// One run, or several that differ in the seed alone.
pub(crate) struct Model<'a> {
    /// In the order in which they were given.
    pub(crate) runs: Vec<&'a Member>,
}

impl<'a> Model<'a> {
    /// The run that stands for what has no median, such as a label map.
    pub(crate) fn first(&self) -> &'a Member {
        self.runs[0]
    }

    pub(crate) fn name(&self) -> &'a str {
        &self.first().model
    }
}

/// The models of these runs, in the order of their first runs.
pub(crate) fn models<'a>(members: &[&'a Member]) -> Vec<Model<'a>> {
    let mut models: Vec<Model<'a>> = Vec::new();
    for &member in members {
        let alike = |model: &&mut Model<'_>| model.first().group == member.group;
        match models.iter_mut().find(alike) {
            Some(model) => model.runs.push(member),
            None => models.push(Model { runs: vec![member] }),
        }
    }
    models
}

/// Whether any of them has several seeds.
pub(crate) fn has_seeds(models: &[Model<'_>]) -> bool {
    models.iter().any(|model| model.runs.len() > 1)
}

/// What is said of figures that show several seeds as one.
pub(crate) const SEEDS_NOTE: &str = "Runs that differ in the seed alone are one model: small dots are seeds, with their median and, in place of an interval, their range.";

/// What seeds gave: one seed's value with its interval, or the median of several with their range in
/// place of an interval. Undefined values are left out.
pub(crate) fn over_seeds(values: &[Measured]) -> Measured {
    if let [one] = values {
        return *one;
    }
    let mut known: Vec<f64> = values.iter().filter_map(|one| one.value).collect();
    known.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (known.first(), known.last()) else {
        return Measured::default();
    };
    let half = known.len() / 2;
    let median = match known.len() % 2 {
        0 => (known[half - 1] + known[half]) / 2.0,
        _ => known[half],
    };
    Measured {
        value: Some(median),
        interval: Some((low, high)),
    }
}

/// The group of each run: runs of one command on one model with one set of settings but for the
/// seed, under one name where they were given names. Runs of the same seed are no group: nobody
/// knows what tells them apart.
pub(crate) fn groups(runs: &[RunView], given: &[String]) -> Vec<usize> {
    type Alike<'a> = (RunKind, BTreeMap<String, String>, Option<&'a String>);
    let mut known: BTreeMap<Alike<'_>, Vec<usize>> = BTreeMap::new();
    let mut seeds = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let mut facts = facts(&run.record);
        seeds.push(facts.remove("seed"));
        let alike = (run.kind(), facts, given.get(index));
        known.entry(alike).or_default().push(index);
    }
    let mut groups: Vec<usize> = (0..runs.len()).collect();
    for members in known.values() {
        let different: BTreeSet<_> = members.iter().map(|&index| &seeds[index]).collect();
        if different.len() == members.len() {
            for &index in members {
                groups[index] = members[0];
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_have_a_median_and_a_range_and_one_keeps_its_interval() {
        let value = |value: f64| Measured {
            value: Some(value),
            interval: Some((value - 1.0, value + 1.0)),
        };
        let of = |values: &[f64]| {
            let values: Vec<Measured> = values.iter().copied().map(value).collect();
            over_seeds(&values)
        };
        assert_eq!(of(&[2.0]), value(2.0));
        assert_eq!(of(&[4.0, 1.0, 2.0]).value, Some(2.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).value, Some(2.5));
        assert_eq!(of(&[4.0, 1.0, 2.0]).interval, Some((1.0, 4.0)));
        let undefined = [Measured::default(), value(3.0)];
        assert_eq!(over_seeds(&undefined).value, Some(3.0));
        assert_eq!(over_seeds(&[]), Measured::default());
    }
}
