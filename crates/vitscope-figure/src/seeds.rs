//! Runs that are alike but for their seed: which they are, and what is shown of several.

use std::collections::{BTreeMap, BTreeSet};

use vitscope_run::{Measured, RunKind, facts};

use crate::run_view::RunView;

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
