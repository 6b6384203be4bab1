//! What is said of an edit, in words.

use vitscope_measure::{Cause, Difference};
use vitscope_probe::Transform;
use vitscope_run::{Slot, Subject};

use super::TransformGroup;

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

/// The lowest and the highest of some values.
fn range(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values[..] {
        [] => "undefined".to_owned(),
        [one] => format!("{one:.3}"),
        [low, .., high] if format!("{low:.3}") == format!("{high:.3}") => format!("{low:.3}"),
        [low, .., high] => format!("{low:.3}-{high:.3}"),
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
            "mIoU does not change beyond its interval in every seed: no effect of position on it is seen.".to_owned()
        }
        Cause::Collapsed => {
            "The clusters are collapsed before or after: mIoU says little. Compare standardize or center.".to_owned()
        }
        Cause::NothingToTakeOut => {
            "There is no positional effect beyond the ground truth's to take out.".to_owned()
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
