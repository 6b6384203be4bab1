//! Does position lower the quality of a segmentation? What can be said when it was taken out (docs/protocol.md
//! section 15).
//!
//! For each seed there is a probe without a transform, one with an *edit* that takes position out, and *controls* that
//! take out as much but not position (`random`, `content`) or only the mean (`center`). All are measured on the
//! same images, so that their mIoU differs by a number with a paired interval. From those, [`judge`] says no more than
//! all seeds agree on:
//!
//! ```text
//! position lowers mIoU   the positional effect fell to the ground truth's, and in every seed mIoU rose beyond the
//!                        interval, over the probe without a transform and over every control
//! ```

use crate::paired_interval;

/// A positional effect this far above the ground truth's is as good as the ground truth's.
pub const NEAR_TRUTH: f64 = 0.01;

/// A difference of mIoU of two runs over the same images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The first less the second.
    pub value: f64,
    /// 95 % interval over images.
    pub interval: (f64, f64),
}

impl Difference {
    /// Of two values with their bootstrap samples; `None` where they cannot be paired.
    #[must_use]
    pub fn new(
        (a, b): (f64, f64),
        (samples_a, samples_b): (&[Option<f64>], &[Option<f64>]),
    ) -> Option<Self> {
        Some(Self {
            value: a - b,
            interval: paired_interval(samples_a, samples_b)?,
        })
    }

    /// Whether it is above 0 beyond its interval.
    #[must_use]
    pub fn rises(&self) -> bool {
        self.value > 0.0 && self.interval.0 > 0.0
    }

    /// Whether it is below 0 beyond its interval.
    #[must_use]
    pub fn falls(&self) -> bool {
        self.value < 0.0 && self.interval.1 < 0.0
    }
}

/// A positional effect beyond chance, with its 95 % interval over images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlaceEffect {
    /// The effect.
    pub value: f64,
    /// Its interval.
    pub interval: (f64, f64),
}

/// What one seed says of an edit.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedEvidence {
    /// Whether the slot is collapsed without a transform, and with the edit.
    pub collapsed: [bool; 2],
    /// The positional effect without a transform, and with the edit; `None` where undefined.
    pub effects: [Option<PlaceEffect>; 2],
    /// The ground truth's.
    pub truth: Option<PlaceEffect>,
    /// mIoU with the edit less that without a transform.
    pub rise: Option<Difference>,
    /// mIoU with the edit less that with each control, by the control's number. One that is collapsed has less
    /// than it might and is left out.
    pub over: Vec<(usize, Difference)>,
}

/// What can be said of an edit in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Position lowers mIoU here.
    Lowers,
    /// mIoU rises, and over this control not beyond the interval.
    RisesAsControl(usize),
    /// Taking position out lowers mIoU, more than the controls do: what went carried classes.
    Carries,
    /// mIoU falls, and below this control not beyond the interval.
    FallsAsControl(usize),
    /// mIoU does not differ beyond the interval in every seed.
    NoDifference,
    /// The slot is collapsed before or after: its mIoU says little.
    Collapsed,
    /// There was no positional effect beyond the ground truth's to take out.
    NothingToTakeOut,
    /// The edit did not bring the positional effect down to the ground truth's.
    StillThere,
    /// A number is undefined or was not kept, or a control is missing or collapsed: nothing can be said.
    Unknown,
}

/// Judges an edit by all of its seeds. `kinds` has, for every kind of control that there must be, the numbers of the
/// controls of that kind; all that were run count, and of each kind at least one must have been.
#[must_use]
pub fn judge(seeds: &[SeedEvidence], kinds: &[Vec<usize>]) -> Cause {
    if seeds.is_empty() {
        return Cause::Unknown;
    }
    if seeds.iter().any(|seed| seed.collapsed.contains(&true)) {
        return Cause::Collapsed;
    }
    let effects = |seed: &SeedEvidence| Some((seed.effects[0]?, seed.effects[1]?, seed.truth?));
    let Some(effects) = seeds.iter().map(effects).collect::<Option<Vec<_>>>() else {
        return Cause::Unknown;
    };
    let above = |before: PlaceEffect, truth: PlaceEffect| {
        before.interval.0 > truth.interval.1.max(truth.value + NEAR_TRUTH)
    };
    if !effects
        .iter()
        .all(|&(before, _, truth)| above(before, truth))
    {
        return Cause::NothingToTakeOut;
    }
    let near = |after: PlaceEffect, truth: PlaceEffect| {
        after.value <= truth.interval.1.max(truth.value + NEAR_TRUTH)
    };
    if !effects.iter().all(|&(_, after, truth)| near(after, truth)) {
        return Cause::StillThere;
    }
    let Some(rises) = seeds
        .iter()
        .map(|seed| seed.rise)
        .collect::<Option<Vec<_>>>()
    else {
        return Cause::Unknown;
    };
    let over = |seed: &SeedEvidence, control: usize| {
        let found = seed.over.iter().find(|(own, _)| *own == control);
        found.map(|found| found.1)
    };
    // A kind is covered where one of its controls was measured in every seed.
    let in_all = |control: &usize| seeds.iter().all(|seed| over(seed, *control).is_some());
    if !kinds.iter().all(|kind| kind.iter().any(in_all)) {
        return Cause::Unknown;
    }
    let controls: Vec<usize> = kinds.concat();
    let fails = |beyond: fn(&Difference) -> bool| {
        let holds = |control: usize| {
            let mut all = seeds.iter().filter_map(|seed| over(seed, control));
            all.all(|difference| beyond(&difference))
        };
        controls.iter().copied().find(|&control| !holds(control))
    };
    if rises.iter().all(Difference::rises) {
        return fails(Difference::rises).map_or(Cause::Lowers, Cause::RisesAsControl);
    }
    if rises.iter().all(Difference::falls) {
        return fails(Difference::falls).map_or(Cause::Carries, Cause::FallsAsControl);
    }
    Cause::NoDifference
}

/// mIoU of one model of a pair, with its bootstrap samples: without a transform and with the edit.
#[derive(Clone, Copy, Debug)]
pub struct BeforeAfter<'a> {
    /// Without, and with.
    pub values: [f64; 2],
    /// Their samples, of the same images.
    pub samples: [&'a [Option<f64>]; 2],
}

/// The share of a gap in mIoU between two models that goes away with an edit, `1 - after / before`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GapShare {
    /// The gap without a transform, first less second.
    pub before: Difference,
    /// The gap with the edit.
    pub after: Difference,
    /// The share, with its 95 % interval; `None` where the interval of the gap before holds 0.
    pub share: Option<(f64, (f64, f64))>,
}

/// The share of the gap between two models that goes away; `None` where their images cannot be paired.
#[must_use]
pub fn gap_share(first: BeforeAfter<'_>, second: BeforeAfter<'_>) -> Option<GapShare> {
    let gap = |side: usize| {
        let samples = (first.samples[side], second.samples[side]);
        Difference::new((first.values[side], second.values[side]), samples)
    };
    let (before, after) = (gap(0)?, gap(1)?);
    let mut share = None;
    if before.rises() || before.falls() {
        let sides = |side: usize| {
            let pairs = first.samples[side].iter().zip(second.samples[side]);
            pairs.map(|(a, b)| Some((*a)? - (*b)?)).collect::<Vec<_>>()
        };
        let one_less: Vec<Option<f64>> = sides(0)
            .into_iter()
            .zip(sides(1))
            .map(|(before, after)| {
                let before = before.filter(|&before| before != 0.0)?;
                Some(1.0 - after? / before)
            })
            .collect();
        let interval = crate::sample_interval(&one_less);
        share = interval.map(|interval| (1.0 - after.value / before.value, interval));
    }
    Some(GapShare {
        before,
        after,
        share,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(value: f64) -> Option<PlaceEffect> {
        Some(PlaceEffect {
            value,
            interval: (value - 0.005, value + 0.005),
        })
    }

    fn difference(value: f64) -> Difference {
        Difference {
            value,
            interval: (value - 0.01, value + 0.01),
        }
    }

    /// Position goes from 0.5 to 0.03, where the ground truth has 0.03; mIoU rises by 0.05, and is above controls 0 to
    /// 2 by as much.
    fn seed() -> SeedEvidence {
        SeedEvidence {
            collapsed: [false; 2],
            effects: [effect(0.5), effect(0.03)],
            truth: effect(0.03),
            rise: Some(difference(0.05)),
            over: (0..3).map(|control| (control, difference(0.05))).collect(),
        }
    }

    fn judged(change: impl Fn(&mut SeedEvidence)) -> Cause {
        let mut one = seed();
        change(&mut one);
        judge(&[seed(), one], &[vec![0], vec![1], vec![2]])
    }

    /// Each rule turns the verdict by itself, and one seed that does not agree is enough.
    #[test]
    fn no_more_is_said_than_every_seed_supports() {
        assert_eq!(judged(|_| ()), Cause::Lowers);
        assert_eq!(judged(|s| s.collapsed[0] = true), Cause::Collapsed);
        assert_eq!(judged(|s| s.collapsed[1] = true), Cause::Collapsed);
        assert_eq!(
            judged(|s| s.effects[0] = effect(0.04)),
            Cause::NothingToTakeOut
        );
        assert_eq!(judged(|s| s.effects[1] = effect(0.2)), Cause::StillThere);
        assert_eq!(judged(|s| s.effects[1] = effect(0.039)), Cause::Lowers);
        assert_eq!(judged(|s| s.effects[1] = None), Cause::Unknown);
        assert_eq!(judged(|s| s.truth = None), Cause::Unknown);
        assert_eq!(judged(|s| s.rise = None), Cause::Unknown);
        assert_eq!(
            judged(|s| s.rise = Some(difference(0.005))),
            Cause::NoDifference
        );
        assert_eq!(
            judged(|s| s.rise = Some(difference(-0.05))),
            Cause::NoDifference
        );
        for control in 0..3 {
            let as_good = |s: &mut SeedEvidence| s.over[control].1 = difference(0.0);
            assert_eq!(judged(as_good), Cause::RisesAsControl(control));
            let missing = |s: &mut SeedEvidence| s.over.retain(|over| over.0 != control);
            assert_eq!(judged(missing), Cause::Unknown);
        }
        assert_eq!(judge(&[], &[]), Cause::Unknown);
    }

    #[test]
    fn a_fall_needs_its_controls_as_well() {
        let mut fall = seed();
        fall.rise = Some(difference(-0.05));
        fall.over
            .iter_mut()
            .for_each(|over| over.1 = difference(-0.04));
        let needed = [vec![0], vec![1], vec![2]];
        assert_eq!(judge(&[fall.clone()], &needed), Cause::Carries);
        fall.over[1].1 = difference(0.02);
        assert_eq!(judge(&[fall], &needed), Cause::FallsAsControl(1));
    }

    /// Of a kind with several controls one may be missing; all that are there must be beaten.
    #[test]
    fn every_control_that_there_is_counts() {
        let needed = [vec![0, 7], vec![1], vec![2]];
        assert_eq!(judge(&[seed()], &needed), Cause::Lowers);
        let mut more = seed();
        more.over.push((7, difference(0.0)));
        assert_eq!(judge(&[more], &needed), Cause::RisesAsControl(7));
    }

    #[test]
    fn a_gap_that_may_be_none_has_no_share() {
        let samples = |base: f64, slope: f64| -> Vec<Option<f64>> {
            (0..101)
                .map(|i| Some(base + slope * (f64::from(i) / 100.0 - 0.5)))
                .collect()
        };
        // Gap before 0.2 and after 0.05, in every sample: three quarters go away.
        let (a, b, c) = (samples(0.5, 0.1), samples(0.3, 0.1), samples(0.45, 0.1));
        let pair = |before: f64, after: f64, samples: [&'static [Option<f64>]; 2]| BeforeAfter {
            values: [before, after],
            samples,
        };
        let leak = |v: Vec<Option<f64>>| -> &'static [Option<f64>] { v.leak() };
        let (a, b, c) = (leak(a), leak(b), leak(c));
        let found = gap_share(pair(0.5, 0.5, [a, a]), pair(0.3, 0.45, [b, c])).unwrap();
        let (share, (low, high)) = found.share.unwrap();
        assert!(
            (share - 0.75).abs() < 1e-12 && (high - low).abs() < 1e-9,
            "{found:?}"
        );
        // A gap whose samples lie on both sides of 0.
        let wide = leak(samples(0.5, 1.0));
        let found = gap_share(pair(0.5, 0.5, [wide, wide]), pair(0.3, 0.45, [b, c])).unwrap();
        assert_eq!(found.share, None);
        assert_eq!(
            gap_share(pair(0.5, 0.5, [a, a]), pair(0.3, 0.4, [&b[1..], c])),
            None
        );
    }
}
