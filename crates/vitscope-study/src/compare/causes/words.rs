//! What is said of an edit, in words.

use vitscope_measure::{Cause, Difference, NEAR_TRUTH, SeedEvidence};
use vitscope_probe::Transform;
use vitscope_run::{Slot, Subject, decimals};

use super::groups::TransformGroup;

impl TransformGroup<'_> {
    /// The numbers of an edit in words.
    pub(super) fn numbers(&self, slot: Slot, label: &str, seeds: &[u64]) -> String {
        let over = |label: &str, metric: &str| {
            let values = seeds
                .iter()
                .filter_map(|&seed| self.find(label, seed)?.value(slot, metric));
            range(values.collect())
        };
        let differences = seeds.iter().filter_map(|&seed| {
            let (edit, none) = (self.find(label, seed)?, self.find("none", seed)?);
            edit.less(none, slot)
        });
        let differences: Vec<Difference> = differences.collect();
        let low = differences
            .iter()
            .map(|d| d.interval.0)
            .fold(f64::INFINITY, f64::min);
        let high = differences
            .iter()
            .map(|d| d.interval.1)
            .fold(f64::NEG_INFINITY, f64::max);
        let interval = match differences.is_empty() {
            true => String::new(),
            false => {
                format!(" (difference {low:+.3} to {high:+.3} with 95 % intervals over images)")
            }
        };
        let truth = seeds
            .first()
            .and_then(|&seed| self.find("none", seed)?.effect_of(Subject::GroundTruth));
        let truth = truth.map_or(String::new(), |truth| {
            format!(", ground truth {:.3}", truth.value)
        });
        let count = match seeds.len() {
            1 => "1 seed".to_owned(),
            count => format!("{count} seeds"),
        };
        format!(
            "mIoU {} to {}{interval}, NMI beyond chance {} to {}{truth}, {count}. ",
            over("none", "miou"),
            over(label, "miou"),
            over("none", "nmi_excess"),
            over(label, "nmi_excess"),
        )
    }
}

impl TransformGroup<'_> {
    /// What has to be added to a verdict; `random` are the controls of random directions that it was held against.
    pub(super) fn reserve(
        &self,
        cause: Cause,
        evidence: &[SeedEvidence],
        seeds: &[u64],
        random: &[&str],
    ) -> String {
        let mut added = String::new();
        if tells_of_edit(cause) && overshoots(evidence) {
            added += TOO_MUCH;
        }
        let run = |label: &str, seed: u64| self.find(label, seed).is_some();
        let of_label = |label: &&str| seeds.iter().filter(|&&seed| run(label, seed)).count();
        let draws: usize = random.iter().map(of_label).sum();
        if matches!(cause, Cause::Lowers | Cause::Carries) && draws < DRAWS {
            added += &few_draws(draws);
        }
        added
    }
}

/// Draws of random directions that an edit should be held against.
const DRAWS: usize = 5;

/// Whether a verdict is about what an edit did, so that what else it did matters.
fn tells_of_edit(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::RisesAsControl(_) | Cause::Carries | Cause::FallsAsControl(_) | Cause::NoDifference
    )
}

/// Whether an edit leaves less of the positional effect than the labels themselves have, in every seed beyond the intervals.
fn overshoots(evidence: &[SeedEvidence]) -> bool {
    let less = |seed: &SeedEvidence| {
        let ends = seed.effects[1].zip(seed.truth);
        ends.is_some_and(|(after, truth)| {
            after.interval.1 < truth.interval.0.min(truth.value - NEAR_TRUTH)
        })
    };
    !evidence.is_empty() && evidence.iter().all(less)
}

/// What is added where an edit leaves less of position than the labels themselves have.
const TOO_MUCH: &str = " It leaves less of the positional effect than the ground truth has: true layout may have gone with it, which would lower mIoU by itself.";

/// What is added where random directions were drawn a few times only.
fn few_draws(draws: usize) -> String {
    let times = match draws {
        1 => "once".to_owned(),
        draws => format!("{draws} times"),
    };
    format!(
        " Random directions were drawn {times}; five draws are a surer control: random:Rx5, or more seeds."
    )
}

/// The lowest and the highest of some values.
fn range(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values[..] {
        [] => "undefined".to_owned(),
        [one] => decimals(one, 3),
        [low, .., high] => match [low, high].map(|value| decimals(value, 3)) {
            [low, high] if low == high => low,
            [low, high] if low.starts_with('-') || high.starts_with('-') => {
                format!("{low}..{high}")
            }
            [low, high] => format!("{low}-{high}"),
        },
    }
}

/// One word for it.
pub(super) fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Lowers => "lowers",
        Cause::RisesAsControl(_) => "rises-as-control",
        Cause::Carries => "carries",
        Cause::FallsAsControl(_) => "falls-as-control",
        Cause::NoDifference => "no-difference",
        Cause::Collapsed => "collapsed",
        Cause::NothingToTakeOut => "nothing-to-take-out",
        Cause::StillThere => "still-there",
        Cause::Unknown => "unknown",
    }
}

/// What it means, in a sentence.
pub(super) fn verdict(cause: Cause, labels: &[(&str, Transform)], kinds: &[Vec<usize>]) -> String {
    let names: Vec<&str> = kinds
        .concat()
        .iter()
        .map(|&number| labels[number].0)
        .collect();
    match cause {
        Cause::Lowers => format!(
            "Position lowers mIoU here: in every seed, mIoU rises over the plain probe and over {} beyond the intervals.",
            names.join(", ")
        ),
        Cause::RisesAsControl(control) => format!(
            "mIoU rises, but not beyond the interval over {} in every seed: this does not show that position lowers it.",
            labels[control].0
        ),
        Cause::Carries => format!(
            "mIoU falls, and more than under {}: what was taken out with position carried classes.",
            names.join(", ")
        ),
        Cause::FallsAsControl(control) => format!(
            "mIoU falls, and under {} about as much: this says nothing of position.",
            labels[control].0
        ),
        Cause::NoDifference => {
            "mIoU does not change one way beyond its interval in every seed: no effect of position on it is shown.".to_owned()
        }
        Cause::Collapsed => {
            "The clusters are collapsed before or after: mIoU says little. Compare standardize or center.".to_owned()
        }
        Cause::NothingToTakeOut => {
            "The positional effect does not lie beyond the ground truth's in every seed: what there is to take out may be the labels' own.".to_owned()
        }
        Cause::StillThere => {
            "The positional effect did not fall to the ground truth's: this edit does not test it.".to_owned()
        }
        Cause::Unknown => "Nothing can be said.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_rounds_to_one_number_is_one() {
        assert_eq!(range(Vec::new()), "undefined");
        assert_eq!(range(vec![0.25]), "0.250");
        assert_eq!(range(vec![0.2503, 0.2501, 0.2498]), "0.250");
        assert_eq!(range(vec![0.3, 0.1, 0.2]), "0.100-0.300");
    }

    #[test]
    fn a_verdict_names_what_it_was_held_against() {
        let labels = [("none", Transform::None), ("center", Transform::Center)];
        let lowers = verdict(Cause::Lowers, &labels, &[vec![1]]);
        assert!(lowers.starts_with("Position lowers mIoU here"), "{lowers}");
        assert!(lowers.contains("center"), "{lowers}");
        let control = verdict(Cause::RisesAsControl(1), &labels, &[vec![1]]);
        assert!(control.contains("does not show"), "{control}");
    }
}
