//! What a set of image pairs is worth before `correspond` runs on it: which splits and categories are
//! there, and what is wrong with their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use vitscope_data::pairs::{CATEGORIES, Layout, PairImage, PairSplit};
use vitscope_data::{Pair, PairSet, Problems};

use crate::check::{FORMAT, ProblemList};
use crate::error::StudyError;
use crate::observer::{self, Observer};

/// Photographs decoded per thread between two looks at whether to stop.
const PER_THREAD: usize = 16;

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct PairCheck {
    /// Version of this form.
    pub format: u32,
    /// Whether `correspond` can use every split that is there.
    pub usable: bool,
    /// `spair71k`.
    pub kind: &'static str,
    /// The set's directory.
    pub root: String,
    /// The splits that are there.
    pub splits: Vec<PairSplitCheck>,
    /// What would stop a run.
    pub problems: ProblemList,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// One split in the large layout.
#[derive(Clone, Debug, Serialize)]
pub struct PairSplitCheck {
    /// `trn`, `val` or `test`.
    pub split: &'static str,
    /// Pairs whose annotation and photographs are there.
    pub pairs: usize,
    /// Pairs of the published list; none where the set is not SPair-71k itself.
    pub published: Option<usize>,
    /// Pairs of the small layout; none without its list.
    pub small: Option<usize>,
    /// Photographs that the pairs show.
    pub photographs: usize,
    /// Key points to be found.
    pub points: usize,
    /// The categories that occur, in the order of the paper's tables.
    pub categories: Vec<CategoryCheck>,
}

/// One category in one split.
#[derive(Clone, Debug, Serialize)]
pub struct CategoryCheck {
    /// Its name.
    pub name: &'static str,
    /// Its pairs.
    pub pairs: usize,
    /// Photographs that they show.
    pub photographs: usize,
    /// Key points to be found.
    pub points: usize,
}

/// What happens to key points outside of their photographs.
fn outside(pairs: &[Pair], split: &str) -> Vec<String> {
    let told = |count: usize, what: &str| {
        Some(match count {
            0 => return None,
            1 => format!("1 key point of {split} lies outside its photograph: {what}."),
            _ => format!("{count} key points of {split} lie outside their photographs: {what}."),
        })
    };
    let given = pairs.iter().map(|pair| pair.source.outside()).sum();
    let wanted = pairs.iter().map(|pair| pair.target.outside()).sum();
    let given = told(given, "what is looked for is the embedding at the edge");
    let wanted = told(
        wanted,
        "a match can only be near, and distances are to where the annotation has them",
    );
    given.into_iter().chain(wanted).collect()
}

/// Reads every annotation and decodes every photograph of a set of pairs.
///
/// # Errors
/// A directory that holds no split of SPair-71k; what is wrong with single files is in the result.
pub fn check_pairs(data: &str, observer: &mut dyn Observer) -> Result<PairCheck, StudyError> {
    let mut problems = Problems::default();
    let mut notes = Vec::new();
    let mut splits = Vec::new();
    let mut root = String::new();
    let mut missing = None;
    let mut photographs: BTreeMap<PathBuf, PairImage> = BTreeMap::new();
    for split in [PairSplit::Train, PairSplit::Val, PairSplit::Test] {
        let (set, found) = match PairSet::survey(data, split, Layout::Large) {
            Ok(found) => found,
            Err(error) => {
                missing.get_or_insert(error);
                continue;
            }
        };
        root = set.root.display().to_string();
        problems.extend(found);
        notes.extend(set.notes().iter().cloned());
        let small = PairSet::survey(data, split, Layout::Small);
        splits.push(describe(
            &set,
            small.ok().map(|(small, _)| small.pairs.len()),
        ));
        notes.extend(outside(&set.pairs, split.name()));
        for pair in set.pairs {
            for image in [pair.source, pair.target] {
                photographs.entry(image.image.clone()).or_insert(image);
            }
        }
    }
    if splits.is_empty() {
        return Err(match missing {
            Some(error) => error.into(),
            None => StudyError::file(Path::new(data), "holds no pairs"),
        });
    }
    let photographs: Vec<PairImage> = photographs.into_values().collect();
    observer.begin(observer::CHECK, 0, photographs.len() as u64);
    for some in photographs.chunks(PER_THREAD * rayon::current_num_threads()) {
        let opened: Vec<_> = some.par_iter().map(|image| image.open().err()).collect();
        for problem in opened.into_iter().flatten() {
            problems.push(problem);
        }
        observer.advance(some.len() as u64, None);
        if observer.stop() {
            return Err(StudyError::StoppedEarly);
        }
    }
    observer.end();
    let usable = problems.count() == 0 && splits.iter().all(|split| split.pairs > 0);
    Ok(PairCheck {
        format: FORMAT,
        usable,
        kind: "spair71k",
        root,
        splits,
        problems: ProblemList::new(&problems),
        notes,
    })
}

fn describe(set: &PairSet, small: Option<usize>) -> PairSplitCheck {
    let mut categories = Vec::new();
    let mut all = BTreeSet::new();
    for (index, name) in CATEGORIES.into_iter().enumerate() {
        let pairs = set.pairs.iter().filter(|pair| pair.category == index);
        let mut shown = BTreeSet::new();
        let (mut count, mut points) = (0, 0);
        for pair in pairs {
            shown.extend([&pair.source.image, &pair.target.image]);
            points += pair.target.points.len();
            count += 1;
        }
        if count > 0 {
            categories.push(CategoryCheck {
                name,
                pairs: count,
                photographs: shown.len(),
                points,
            });
        }
        all.extend(shown);
    }
    PairSplitCheck {
        split: set.split.name(),
        pairs: set.pairs.len(),
        published: set.published(),
        small,
        photographs: all.len(),
        points: categories.iter().map(|category| category.points).sum(),
        categories,
    }
}
