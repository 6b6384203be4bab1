//! The gap in mIoU between two models, and the share of it that goes away with an edit.

use serde::Serialize;
use vitscope_measure::{BeforeAfter, Difference, GapShare, gap_share};
use vitscope_run::{Facet, Select, Slot};

use super::groups::{TransformGroup, is_edit};
use crate::compare::paired::are_paired;

/// The share of a gap between two models that goes away with an edit.
#[derive(Clone, Debug, Serialize)]
pub struct Gap {
    /// The models, first less second.
    pub models: [String; 2],
    /// The facet, each model's at its shown layer.
    pub facet: String,
    /// The layers.
    pub layers: [usize; 2],
    /// The edit.
    pub transform: String,
    /// The seed.
    pub seed: u64,
    /// The gap without a transform, with its interval.
    pub before: [f64; 3],
    /// The gap with the edit.
    pub after: [f64; 3],
    /// The share with its interval; absent where the gap before may be none.
    pub share: Option<[f64; 3]>,
    /// One sentence.
    pub sentence: String,
}

/// The share of the gap between two models that each edit which both have takes away, facet by facet.
pub(super) fn gaps(
    first: &TransformGroup<'_>,
    second: &TransformGroup<'_>,
    select: Select,
) -> Vec<Gap> {
    let mut found = Vec::new();
    let labels = first.labels();
    let edits = labels.iter().filter(|(_, transform)| is_edit(*transform));
    for &(label, _) in edits {
        for seed in first.seeds(label) {
            if !second.seeds(label).contains(&seed) {
                continue;
            }
            for facet in Facet::ALL {
                let one = side(first, label, seed, facet, select);
                let other = side(second, label, seed, facet, select);
                if let (Some((layer, a)), Some((other_layer, b))) = (one, other)
                    && first.is_paired(second, seed)
                    && let Some(share) = gap_share(a, b)
                {
                    let models = [first.model.clone(), second.model.clone()];
                    found.push(gap(
                        models,
                        facet,
                        [layer, other_layer],
                        (label, seed),
                        [a.values, b.values],
                        share,
                    ));
                }
            }
        }
    }
    found
}

/// A facet of a group at the layer that its plain run shows.
fn side<'b>(
    group: &'b TransformGroup<'_>,
    label: &str,
    seed: u64,
    facet: Facet,
    select: Select,
) -> Option<(usize, BeforeAfter<'b>)> {
    let (none, edit) = (group.find("none", seed)?, group.find(label, seed)?);
    let layer = none.run.run.selected(facet, select)?;
    let slot = Slot { facet, layer };
    if none.is_collapsed(slot) || edit.is_collapsed(slot) {
        return None;
    }
    let of = BeforeAfter {
        values: [none.value(slot, "miou")?, edit.value(slot, "miou")?],
        samples: [none.samples.get(&slot)?, edit.samples.get(&slot)?],
    };
    Some((layer, of))
}

impl TransformGroup<'_> {
    /// Whether the samples of two groups are of the same images.
    fn is_paired(&self, other: &Self, seed: u64) -> bool {
        let runs = self.find("none", seed).zip(other.find("none", seed));
        runs.is_some_and(|(own, other)| are_paired(own.run, other.run))
    }
}

/// What a share of a gap means, of mIoU before and after of both models.
fn verdict(share: Option<[f64; 3]>, [first, second]: [[f64; 2]; 2]) -> String {
    let Some(share) = share else {
        return "The gap may be none, so that no share of it can be given.".to_owned();
    };
    let [value, low, high] = share.map(|share| 100.0 * share);
    if low <= 0.0 && high >= 0.0 {
        return format!(
            "Whether it changes is not shown: {value:.0} % of the gap goes away [{low:.0}, {high:.0}]."
        );
    }
    if value < 0.0 {
        return format!(
            "The gap grows by {:.0} % [{:.0}, {:.0}].",
            -value, -high, -low
        );
    }
    let mut said = format!("{value:.0} % of the gap goes away [{low:.0}, {high:.0}]");
    if low > 100.0 {
        said += ", which turns it around";
    }
    let lower = if first[0] < second[0] { first } else { second };
    if lower[1] <= lower[0] {
        said += ", and not by a rise of the lower model";
    }
    said + "."
}

fn gap(
    models: [String; 2],
    facet: Facet,
    layers: [usize; 2],
    (label, seed): (&str, u64),
    values: [[f64; 2]; 2],
    share: GapShare,
) -> Gap {
    let three = |difference: Difference| {
        [
            difference.value,
            difference.interval.0,
            difference.interval.1,
        ]
    };
    let of = share.share.map(|(value, (low, high))| [value, low, high]);
    let verdict = verdict(of, values);
    let [before, after] = [three(share.before), three(share.after)];
    Gap {
        sentence: format!(
            "{facet}, {label}, seed {seed}: mIoU of {} (layer {}) goes from {:.3} to {:.3}, of {} (layer {}) from {:.3} to {:.3}: the gap is {:+.3} [{:+.3}, {:+.3}], and {:+.3} [{:+.3}, {:+.3}] with the edit. {verdict}",
            models[0],
            layers[0],
            values[0][0],
            values[0][1],
            models[1],
            layers[1],
            values[1][0],
            values[1][1],
            before[0],
            before[1],
            before[2],
            after[0],
            after[1],
            after[2],
        ),
        models,
        facet: facet.to_string(),
        layers,
        transform: label.to_owned(),
        seed,
        before,
        after,
        share: of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(share: Option<(f64, (f64, f64))>) -> Gap {
        let difference = |value: f64| Difference {
            value,
            interval: (value - 0.01, value + 0.01),
        };
        let share = GapShare {
            before: difference(0.1),
            after: difference(0.04),
            share,
        };
        let models = ["big".to_owned(), "small".to_owned()];
        let values = [[0.5, 0.46], [0.4, 0.42]];
        gap(models, Facet::Key, [8, 7], ("mean", 3), values, share)
    }

    #[test]
    fn a_share_is_told_in_percent_with_its_interval() {
        let told = of(Some((0.6, (0.4, 0.75)))).sentence;
        assert!(
            told.contains("60 % of the gap goes away [40, 75]"),
            "{told}"
        );
        assert!(
            told.contains("big (layer 8) goes from 0.500 to 0.460, of small (layer 7) from 0.400 to 0.420: the gap is +0.100"),
            "{told}"
        );
    }

    #[test]
    fn a_gap_that_may_be_none_has_no_share() {
        let gap = of(None);
        assert_eq!(gap.share, None);
        assert!(
            gap.sentence.contains("no share of it can be given"),
            "{}",
            gap.sentence
        );
    }

    #[test]
    fn a_share_says_how_the_gap_went() {
        let said = |share, values| verdict(share, values);
        assert!(said(None, [[0.2, 0.3], [0.1, 0.3]]).contains("may be none"));
        let closes = said(Some([0.5, 0.4, 0.6]), [[0.1, 0.15], [0.2, 0.2]]);
        assert_eq!(closes, "50 % of the gap goes away [40, 60].");
        // It closes because the higher model falls.
        let falls = said(Some([0.5, 0.4, 0.6]), [[0.1, 0.1], [0.2, 0.15]]);
        assert_eq!(
            falls,
            "50 % of the gap goes away [40, 60], and not by a rise of the lower model."
        );
        let turns = said(Some([1.5, 1.2, 1.8]), [[0.2, 0.1], [0.1, 0.15]]);
        assert!(turns.contains("turns it around"), "{turns}");
        let unclear = said(Some([-0.5, -0.9, 0.1]), [[0.2, 0.3], [0.1, 0.15]]);
        assert!(
            unclear.starts_with("Whether it changes is not shown"),
            "{unclear}"
        );
        let grows = said(Some([-0.5, -0.9, -0.1]), [[0.2, 0.3], [0.1, 0.15]]);
        assert_eq!(grows, "The gap grows by 50 % [10, 90].");
    }
}
