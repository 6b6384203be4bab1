//! Doubts of the two splits beside each other: masks that are coded differently, images that are in both.

use super::{DoubtFinder, quoted, some};
use crate::class_map::IGNORE;
use crate::coding::{Coded, Renaming, apart, chance_of_one_side, nearest};
use crate::dataset::DataSet;
use crate::doubt::Doubt;
use crate::evidence::Evidence;
use crate::looks::{Likeness, exchanged, stays};

/// A code that so large a share of one split's masks hold, and none of the other's, was renamed or shows
/// something else.
const COMMON: f64 = 0.5;

/// The chance, of images dealt at random, below which it is no chance that one split has a code alone and
/// the other another.
const UNLIKELY: f64 = 1e-3;

/// Shares of pixels so far apart are doubted if a renaming brings them near.
const FAR: f64 = 0.2;

/// So far if the renaming changes the order of codes, for which chance has more ways.
const VERY_FAR: f64 = 0.4;

/// What a renaming leaves of the distance, at most; and if it changes the order of codes.
const LEFT: f64 = 0.5;
const LITTLE_LEFT: f64 = 0.25;

/// A renaming brings splits nearer by more than so many times what halves of a split differ by.
const STEADY: f64 = 3.0;

/// Masks of two splits that seem to be coded differently.
struct Recoding {
    /// What shows it.
    why: String,
    /// What brings them near, and how far apart it leaves them.
    renaming: Option<(Renaming, f64)>,
    /// How far apart they are.
    distance: f64,
    /// Whether shares of pixels are all that shows it.
    by_shares: bool,
}

/// Whether no value of the one split is one of the other's.
fn are_apart(pairs: &[(u32, u32)]) -> bool {
    pairs.iter().all(|(a, _)| pairs.iter().all(|(_, b)| a != b))
}

impl Evidence {
    /// Ids of training masks with those of test masks that stand for the same class.
    pub(crate) fn same_classes(&self, set: &DataSet) -> Vec<(u32, u32)> {
        DoubtFinder::new(self, set).same_classes()
    }
}

impl DoubtFinder<'_> {
    /// Masks that have one code in training and another in test.
    pub(super) fn recoded(&self) -> Option<Doubt> {
        let Recoding {
            why,
            renaming,
            distance,
            by_shares: _,
        } = match self.recoding() {
            Some(found) if found.by_shares && self.looks_say_otherwise(&found) => {
                return self.exchanged();
            }
            Some(found) => found,
            None => return self.exchanged(),
        };
        let how = match &renaming {
            Some((renaming, left)) => self.renamed(renaming, distance, *left),
            None => format!(
                "; if the same things have other values there, store the masks of one split again with the values of the other, or name both values in one class of a TOML file, 'ids = [A, B]' ('vitscope data check {} --draft set.toml' begins it); if the splits show different things, nothing fitted to one can be right on the other",
                quoted(&self.set.spec)
            ),
        };
        Some(Doubt {
            sort: "splits coded differently",
            text: format!(
                "the masks of training and test images seem to be coded differently: {why}{how}."
            ),
        })
    }

    /// Whether shares of pixels differ by what the splits show: classes whose values another order of values would change look
    /// and lie as they are named, or like others than those.
    fn looks_say_otherwise(&self, found: &Recoding) -> bool {
        let [train, test] = &self.evidence.looks;
        let class = |code: u32| match self.by_ids {
            true => self.set.table.class_of(u16::try_from(code).ok()?),
            false => u8::try_from(code).ok(),
        };
        let pairs: &[(u32, u32)] = match &found.renaming {
            Some((Renaming::InOrder(pairs) | Renaming::ByShare(pairs), _)) => pairs,
            _ => &[],
        };
        let changed = pairs.iter().filter(|(a, b)| a != b);
        let changed = changed.filter_map(|&(a, b)| Some((class(a)?.into(), class(b)?.into())));
        let changed: Vec<(usize, usize)> = changed.collect();
        let looks = exchanged(train, test);
        if !looks.is_empty() {
            let is_said = |alike: &Likeness| changed.contains(&(alike.train, alike.test));
            return !looks.iter().all(is_said);
        }
        let known = changed
            .iter()
            .filter_map(|&(own, other)| stays(train, test, own, other));
        let known: Vec<bool> = known.collect();
        !known.is_empty() && known.iter().all(|stays| *stays)
    }

    /// Classes that look and lie like other ones in test, where the shares of pixels say nothing.
    fn exchanged(&self) -> Option<Doubt> {
        let [train, test] = &self.evidence.looks;
        let found = exchanged(train, test);
        let name = |class: usize| Some(format!("'{}'", self.set.classes.get(class)?.name));
        let shown = found.iter().filter_map(|alike| {
            Some(format!(
                "{} like {} of test ({:.1} standard deviations between images away, and {:.1} from its own)",
                name(alike.train)?,
                name(alike.test)?,
                alike.other,
                alike.own
            ))
        });
        let shown: Vec<String> = shown.collect();
        // Masks that lie turned have other things below them, which is said elsewhere.
        let sound = self.misplaced().iter().all(Option::is_none);
        (self.plain && sound && !shown.is_empty()).then(|| Doubt {
            sort: "splits coded differently",
            text: format!(
                "classes seem to have other values in training masks than in test masks: by mean color and height in the image, what is called so in training is {}; look at the examples of a report, and if so, store the masks of one split again with the values of the other.",
                some(&shown)
            ),
        })
    }

    fn recoding(&self) -> Option<Recoding> {
        let [train, test] = &self.evidence.coding;
        // What is no mask of classes has a doubt that says more.
        let other = self.masks_are_photographs() || self.instances().is_some();
        if !self.plain || other {
            return None;
        }
        let (train, test) = (train.coded(self.set), test.coded(self.set));
        if train.count() < 2 || test.count() < 2 {
            return None;
        }
        let (fit, tested) = (train.mean(), test.mean());
        let distance = apart(&fit, &tested);
        let noise = train.unsteady().max(test.unsteady());
        let one_sided = self.one_sided(&train, &test);
        let renaming = nearest(&fit, &tested).filter(|(renaming, left)| {
            let (far, most) = match renaming {
                // Values that only one split has have shown it already.
                _ if one_sided.is_some() => (0.0, LEFT),
                Renaming::ByShare(_) => (VERY_FAR, LITTLE_LEFT),
                Renaming::InOrder(pairs) if pairs.iter().all(|(a, _)| tested.contains_key(a)) => {
                    (VERY_FAR, LITTLE_LEFT)
                }
                _ => (FAR, LEFT),
            };
            distance > far && *left < most * distance
        });
        let sure = |left: f64| distance - left > STEADY * noise;
        let by_shares = one_sided.is_none();
        let why = match (one_sided, &renaming) {
            (Some(words), _) => words,
            (None, Some((_, left))) if sure(*left) => format!(
                "the shares of pixels per class differ by {:.0} % of the pixels between {} training and {} test masks ({:.0} % between halves of one split)",
                100.0 * distance,
                train.count(),
                test.count(),
                100.0 * noise
            ),
            _ => return None,
        };
        Some(Recoding {
            why,
            renaming,
            distance,
            by_shares,
        })
    }

    /// Ids of training and of test that stand for one class, where both can be named in one.
    fn same_classes(&self) -> Vec<(u32, u32)> {
        let renaming = self.recoding().and_then(|found| found.renaming);
        match renaming {
            Some((Renaming::InOrder(pairs) | Renaming::ByShare(pairs), _)) if self.by_ids => {
                let differ: Vec<(u32, u32)> = pairs.into_iter().filter(|(a, b)| a != b).collect();
                if are_apart(&differ) {
                    differ
                } else {
                    Vec::new()
                }
            }
            _ => Vec::new(),
        }
    }

    /// What renaming the codes of test masks does, and the way there.
    fn renamed(&self, renaming: &Renaming, distance: f64, left: f64) -> String {
        let numbers = format!(
            "shares of pixels per class differ by {:.0} % instead of {:.0} %",
            100.0 * left,
            100.0 * distance
        );
        match renaming {
            Renaming::Offset(by) => {
                let (done, undo) = if *by > 0 {
                    ("taken from", "-")
                } else {
                    ("added to", "+")
                };
                let by = by.unsigned_abs();
                format!(
                    "; with {by} {done} the ids of test masks, {numbers}, so store the masks of one split again with the ids of the other (with numpy, 'mask {undo} {by}' for test)"
                )
            }
            Renaming::InOrder(pairs) | Renaming::ByShare(pairs) => {
                let pairs: Vec<(u32, u32)> =
                    pairs.iter().copied().filter(|(a, b)| a != b).collect();
                let shown: Vec<String> = pairs
                    .iter()
                    .map(|(a, b)| format!("{} for {}", self.code(*b), self.code(*a)))
                    .collect();
                let apart = are_apart(&pairs);
                let way = match pairs.first() {
                    Some((a, b)) if apart && self.by_ids => {
                        let white = u32::from(IGNORE);
                        let ignore = if pairs.iter().any(|pair| pair.0 == white || pair.1 == white)
                        {
                            "'ignore = []' and "
                        } else {
                            ""
                        };
                        format!(
                            "describe the set in a TOML file with {ignore}both ids in one class, 'ids = [{}, {}]' ({})",
                            a.min(b),
                            a.max(b),
                            self.draft()
                        )
                    }
                    _ => {
                        "store the masks of one split again with the values of the other".to_owned()
                    }
                };
                format!("; if test masks have {}, {numbers}, so {way}", some(&shown))
            }
        }
    }

    /// Values that are common in one split and missing in the other, in both directions.
    fn one_sided(&self, train: &Coded, test: &Coded) -> Option<String> {
        let (in_train, in_test) = (train.masks_with(), test.masks_with());
        let alone = |here: &Coded, there: &Coded| {
            let (mine, others) = (here.masks_with(), there.masks_with());
            let mine = mine
                .into_iter()
                .filter(|(code, _)| !others.contains_key(code));
            let most = mine.max_by_key(|&(code, masks)| (masks, std::cmp::Reverse(code)))?;
            let common = most.1 as f64 >= COMMON * here.count() as f64;
            common.then(|| {
                (
                    most,
                    chance_of_one_side(most.1, here.count(), there.count()),
                )
            })
        };
        let ((lost, masks), chance) = alone(train, test)?;
        let ((won, tests), other) = alone(test, train)?;
        let both = in_train
            .keys()
            .filter(|code| in_test.contains_key(code))
            .count();
        (chance * other < UNLIKELY).then(|| {
            format!(
                "{} of {} training masks hold {} and no test mask does, while {tests} of {} test masks hold {} and no training mask does (of {} values in training and {} in test, {both} are the same)",
                masks,
                train.count(),
                self.code(lost),
                test.count(),
                self.code(won),
                in_train.len(),
                in_test.len()
            )
        })
    }

    /// A code in words.
    fn code(&self, code: u32) -> String {
        match self.set.classes.get(code as usize) {
            Some(class) if !self.by_ids => format!("'{}'", class.name),
            _ => format!("the id {code}"),
        }
    }

    /// Test images that are training images.
    pub(super) fn shared(&self) -> Option<Doubt> {
        let twins = self.evidence.twins.as_ref()?;
        let (count, looked) = (twins.listed + twins.copied, twins.looked);
        if count == 0 {
            return None;
        }
        let all = if count == looked { "all " } else { "" };
        let of = if count == looked {
            String::new()
        } else {
            format!(" of {looked}")
        };
        let how = match &twins.first {
            Some((image, other)) => format!(
                "{} by name and {} byte for byte, such as {} and {}",
                twins.listed,
                twins.copied,
                image.display(),
                other.display()
            ),
            None => "in both lists".to_owned(),
        };
        Some(Doubt {
            sort: "shared images",
            text: format!(
                "{all}{count}{of} test images are training images too ({how}): numbers are then of images that probes and readers are fitted to, which flatters them; take them out of one of the splits."
            ),
        })
    }

    /// Test images that show what a training image shows.
    pub(super) fn alike(&self) -> Option<Doubt> {
        let alike = &self.evidence.twins.as_ref()?.alike;
        let (image, other) = alike.first.as_ref()?;
        let [train, test] = alike.looked;
        Some(Doubt {
            sort: "images saved again",
            text: format!(
                "{} of {test} test images that were compared with {train} training images seem to show the same picture as one of those, saved again with other compression or at another size, or taken by a camera that stands still (such as {} and {}: the mean gray values of 16 x 16 cells are equal within 4 of 255, and the detail in them correlates by 0.9 or more): numbers are then of images that probes and readers are fitted to, which flatters them; take them out of one of the splits.",
                alike.count,
                image.display(),
                other.display()
            ),
        })
    }
}
