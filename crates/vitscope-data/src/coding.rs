//! What the masks of the two splits hold, mask by mask, and how alike the splits are: as they are, and
//! with the values of one of them renamed.

use std::collections::{BTreeMap, BTreeSet};

use crate::class_map::IGNORE;
use crate::dataset::DataSet;
use crate::labels::LabelTable;

/// Values of one mask that are kept; what has more holds no classes.
const VALUES: usize = 256;

/// A renaming is taken before a simpler one only if that does less than this share of what it does.
const MOST_OF: f64 = 0.75;

/// Shares of codes, by code.
pub(crate) type CodeShares = BTreeMap<u32, f64>;

/// The values of one split's masks.
#[derive(Debug, Default)]
pub(crate) struct Coding {
    masks: Vec<MaskPixels>,
}

/// Of one mask: pixels of its stored ids, and of its classes.
#[derive(Debug)]
struct MaskPixels {
    ids: Vec<(u32, u64)>,
    classes: Vec<(u32, u64)>,
}

impl Coding {
    /// Adds a mask with the pixels of each id that it stores and of each class.
    pub(crate) fn add(&mut self, ids: impl Iterator<Item = (u32, u64)>, classes: &[u64]) {
        let classes = (0..).zip(classes.iter().copied());
        self.masks.push(MaskPixels {
            ids: ids.take(VALUES).collect(),
            classes: classes.filter(|(_, pixels)| *pixels > 0).collect(),
        });
    }

    /// The masks of a split under codes of the set. Where masks store ids, a code is the lowest id of a
    /// class, or an id that counts nowhere; elsewhere it is a class.
    pub(crate) fn coded(&self, set: &DataSet) -> Coded {
        let by_ids = matches!(*set.table, LabelTable::Ids(_));
        let code = |id: u32| {
            let class = u16::try_from(id).ok().and_then(|id| set.table.class_of(id));
            let lowest =
                |class| (0..=id as u16).find(|&low| set.table.class_of(low) == Some(class));
            class.and_then(lowest).map_or(id, u32::from)
        };
        let ids = self.masks.iter().flat_map(|mask| &mask.ids);
        let ids: BTreeSet<u32> = ids.map(|&(id, _)| id).collect();
        let codes: BTreeMap<u32, u32> = ids.into_iter().map(|id| (id, code(id))).collect();
        let shares = |mask: &MaskPixels| {
            let values = if by_ids { &mask.ids } else { &mask.classes };
            let all: u64 = values.iter().map(|value| value.1).sum();
            let mut shares = CodeShares::new();
            for &(value, pixels) in values {
                let code = if by_ids { codes.get(&value) } else { None };
                *shares.entry(*code.unwrap_or(&value)).or_insert(0.0) += pixels as f64 / all as f64;
            }
            shares
        };
        Coded {
            masks: self.masks.iter().map(shares).collect(),
        }
    }
}

/// The shares of codes of each mask of a split.
#[derive(Debug)]
pub(crate) struct Coded {
    masks: Vec<CodeShares>,
}

impl Coded {
    /// How many masks there are.
    pub(crate) fn count(&self) -> usize {
        self.masks.len()
    }

    /// How many masks hold each code.
    pub(crate) fn masks_with(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for code in self.masks.iter().flat_map(BTreeMap::keys) {
            *counts.entry(*code).or_insert(0) += 1;
        }
        counts
    }

    /// The mean share of each code.
    pub(crate) fn mean(&self) -> CodeShares {
        mean(&self.masks)
    }

    /// How far the means of the first and of the second half of the masks are apart, as [`apart`] says: what chance, and
    /// neighbors that are alike, do to means of this many.
    pub(crate) fn unsteady(&self) -> f64 {
        let (first, second) = self.masks.split_at(self.masks.len() / 2);
        apart(&mean(first), &mean(second))
    }
}

fn mean(masks: &[CodeShares]) -> CodeShares {
    let mut sums = CodeShares::new();
    for (&code, share) in masks.iter().flatten() {
        *sums.entry(code).or_insert(0.0) += share / masks.len() as f64;
    }
    sums
}

/// The share of pixels by which two sets of shares differ: half the sum of the differences, 0 to 1.
pub(crate) fn apart(a: &CodeShares, b: &CodeShares) -> f64 {
    let codes: BTreeSet<&u32> = a.keys().chain(b.keys()).collect();
    let of = |shares: &CodeShares, code: &u32| shares.get(code).copied().unwrap_or(0.0);
    0.5 * codes
        .into_iter()
        .map(|code| (of(a, code) - of(b, code)).abs())
        .sum::<f64>()
}

/// How the codes of one split could be those of the other under other values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Renaming {
    /// Test codes are training codes and this number.
    Offset(i64),
    /// The codes of both in rising order are each other's: training code, test code.
    InOrder(Vec<(u32, u32)>),
    /// Codes in the order of their shares are each other's.
    ByShare(Vec<(u32, u32)>),
}

/// The renaming that brings the shares of two splits nearest, and how far apart it leaves them.
pub(crate) fn nearest(train: &CodeShares, test: &CodeShares) -> Option<(Renaming, f64)> {
    let white = u32::from(IGNORE);
    let most = train
        .keys()
        .chain(test.keys())
        .filter(|&&code| code != white)
        .max();
    let most = i64::from(*most?).min(i64::from(white));
    let shifted = |by: i64| -> CodeShares {
        let moved = |(&code, &share): (&u32, &f64)| {
            let to = u32::try_from(i64::from(code) - by).ok();
            // What has no place below 0, and 255, stays apart.
            (
                if code == white {
                    code
                } else {
                    to.unwrap_or(u32::MAX - code)
                },
                share,
            )
        };
        test.iter().map(moved).collect()
    };
    let offsets = (-most..=most).filter(|by| *by != 0);
    let mut found: Vec<(Renaming, f64)> = offsets
        .map(|by| (Renaming::Offset(by), apart(train, &shifted(by))))
        .collect();
    let left = |pairs: &[(u32, u32)]| {
        let renamed = pairs
            .iter()
            .filter_map(|(to, from)| Some((*to, *test.get(from)?)));
        apart(train, &renamed.collect())
    };
    if train.len() == test.len() {
        let pairs: Vec<(u32, u32)> = train.keys().copied().zip(test.keys().copied()).collect();
        if pairs.iter().any(|(a, b)| a != b) {
            let left = left(&pairs);
            found.push((Renaming::InOrder(pairs), left));
        }
        let pairs: Vec<(u32, u32)> = by_share(train).into_iter().zip(by_share(test)).collect();
        if pairs.iter().any(|(a, b)| a != b) {
            let left = left(&pairs);
            found.push((Renaming::ByShare(pairs), left));
        }
    }
    // The simplest of equals: a smaller offset, then the others in turn.
    let simple = |renaming: &Renaming| match renaming {
        Renaming::Offset(by) => by.unsigned_abs(),
        Renaming::InOrder(_) => 1 << 20,
        Renaming::ByShare(_) => 1 << 21,
    };
    found.sort_by_key(|(renaming, _)| simple(renaming));
    // The simplest that does most of what the best does: chance makes many values fit a little better in some order.
    let best = found.iter().map(|(_, left)| *left).min_by(f64::total_cmp)?;
    let now = apart(train, test);
    found
        .into_iter()
        .find(|(_, left)| now - left >= MOST_OF * (now - best))
}

fn by_share(shares: &CodeShares) -> Vec<u32> {
    let mut codes: Vec<(u32, f64)> = shares.iter().map(|(&code, &share)| (code, share)).collect();
    codes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    codes.into_iter().map(|(code, _)| code).collect()
}

/// The probability that things which `some` of all images show lie in one split alone, of `here` images,
/// if images were dealt to both at random.
pub(crate) fn chance_of_one_side(some: usize, here: usize, there: usize) -> f64 {
    let factor = |at: usize| (here - at) as f64 / (here + there - at) as f64;
    (0..some.min(here)).map(factor).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(of: &[(u32, f64)]) -> CodeShares {
        of.iter().copied().collect()
    }

    #[test]
    fn renamings_are_found() {
        let train = shares(&[(0, 0.6), (1, 0.3), (2, 0.1)]);
        let (how, left) = nearest(&train, &shares(&[(1, 0.6), (2, 0.3), (3, 0.1)])).unwrap();
        assert_eq!((how, left), (Renaming::Offset(1), 0.0));
        let (how, left) = nearest(&train, &shares(&[(0, 0.6), (127, 0.3), (255, 0.1)])).unwrap();
        assert_eq!(how, Renaming::InOrder(vec![(0, 0), (1, 127), (2, 255)]));
        assert!(left < 1e-12);
        let (how, left) = nearest(&train, &shares(&[(0, 0.1), (1, 0.3), (2, 0.6)])).unwrap();
        assert_eq!(how, Renaming::ByShare(vec![(0, 2), (1, 1), (2, 0)]));
        assert!(left < 1e-12);
        assert_eq!(apart(&train, &shares(&[(0, 0.6), (5, 0.4)])), 0.4);
    }

    #[test]
    fn the_chance_of_one_side_is_counted_out() {
        // Of C(8, 4) = 70 ways to deal 4 of 8, one puts them all on one side of 4.
        assert!((chance_of_one_side(4, 4, 4) - 1.0 / 70.0).abs() < 1e-15);
        assert_eq!(chance_of_one_side(0, 4, 4), 1.0);
        assert!((chance_of_one_side(1, 3, 9) - 0.25).abs() < 1e-15);
    }
}
