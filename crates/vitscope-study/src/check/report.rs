//! What a check of a data set found, as it is told and stored.

use std::collections::BTreeMap;

use serde::Serialize;
use vitscope_data::{DataError, Doubt, Listed, Problems};

use super::position::PositionCheck;

/// The version of the report's form.
pub const FORMAT: u32 = 1;

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct SetCheck {
    /// Version of this form.
    pub format: u32,
    /// Whether a run can use the set: there are no problems.
    pub usable: bool,
    /// The kind of data set.
    pub kind: &'static str,
    /// Its directory.
    pub root: String,
    /// SHA-256 of the lists of images, as in `run.json`.
    pub list_hash: String,
    /// Side of the crop in pixels.
    pub size: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Whether one list of images serves both splits.
    pub one_list: bool,
    /// The training images.
    pub train: SplitCheck,
    /// The test images.
    pub test: SplitCheck,
    /// What would stop a run.
    pub problems: ProblemList,
    /// Label values that the set's table does not have, by value.
    pub off_the_table: Vec<OffTable>,
    /// Masks that no image claims; they stop nothing.
    pub unclaimed_masks: PathList,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// What there is to doubt of the images and masks, the gravest first; it stops nothing.
    pub warnings: Vec<Warning>,
    /// How much position tells of the test labels; absent without ground truth.
    pub position: Option<PositionCheck>,
    /// Where the aggregate map was written.
    pub aggregate: Option<String>,
    /// Where a description of the set was written.
    pub draft: Option<String>,
}

/// One split.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SplitCheck {
    /// Images listed.
    pub images: usize,
    /// Of those, with a mask.
    pub masks: usize,
    /// Of those, without anything wrong.
    pub sound: usize,
    /// Width and height in pixels of the smallest and of the largest image, by area.
    pub smallest: Option<[usize; 2]>,
    /// See [`smallest`](Self::smallest).
    pub largest: Option<[usize; 2]>,
    /// Images whose shorter side is below the crop's, which are enlarged.
    pub enlarged: usize,
    /// Pixels of all masks with a class, at the masks' own sizes.
    pub labeled_pixels: u64,
    /// Pixels of all masks that count nowhere.
    pub ignored_pixels: u64,
    /// How many classes occur. With fewer than two, no score says anything.
    pub classes_present: usize,
    /// The classes in order.
    pub classes: Vec<ClassCheck>,
}

/// One class in one split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassCheck {
    /// Its index.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Pixels at the masks' own sizes.
    pub pixels: u64,
    /// Share of the labeled pixels, 0 to 1.
    pub share: f64,
    /// Images that show it.
    pub images: usize,
}

/// Problems: counted in full, listed up to a bound.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProblemList {
    /// How many.
    pub count: usize,
    /// How many of each sort.
    pub sorts: BTreeMap<&'static str, usize>,
    /// The first 1000.
    pub listed: Vec<Problem>,
}

impl ProblemList {
    pub(crate) fn new(problems: &Problems) -> Self {
        let listed = |error: &DataError| Problem {
            sort: error.sort(),
            path: error.path().map(|path| path.display().to_string()),
            message: error.to_string(),
        };
        Self {
            count: problems.count(),
            sorts: problems.counts().clone(),
            listed: problems.kept().iter().map(listed).collect(),
        }
    }
}

/// One doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Its sort, such as `ignored class`.
    pub sort: &'static str,
    /// One sentence with its evidence and the way out.
    pub message: String,
}

impl From<Doubt> for Warning {
    fn from(doubt: Doubt) -> Self {
        Self {
            sort: doubt.sort,
            message: doubt.text,
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its sort.
    pub sort: &'static str,
    /// The file at fault.
    pub path: Option<String>,
    /// One sentence.
    pub message: String,
}

/// A label value that the table does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OffTable {
    /// The id, or the color as `#rrggbb`.
    pub value: String,
    /// Masks that have it.
    pub images: usize,
    /// Its pixels.
    pub pixels: u64,
}

/// Paths: counted in full, listed up to 1000.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PathList {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub listed: Vec<String>,
}

impl PathList {
    pub(super) fn new(paths: &Listed) -> Self {
        let shown = paths.first.iter().map(|path| path.display().to_string());
        Self {
            count: paths.count,
            listed: shown.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn problems_are_counted_by_sort_and_listed_with_their_sentence() {
        let mut problems = Problems::default();
        for index in 0..2 {
            problems.push(DataError::NoSuchImage { index, count: 1 });
        }
        let list = ProblemList::new(&problems);
        assert_eq!((list.count, list.listed.len()), (2, 2));
        assert_eq!(list.sorts[list.listed[0].sort], 2);
        assert_eq!(list.listed[0].path, None);
        assert!(list.listed[0].message.contains('0'), "{:?}", list.listed[0]);
    }

    #[test]
    fn lists_say_how_many_there_are_beyond_those_shown() {
        let paths = Listed {
            count: 5,
            first: vec![PathBuf::from("a"), PathBuf::from("b")],
        };
        let list = PathList::new(&paths);
        assert_eq!(
            (list.count, list.listed),
            (5, vec!["a".to_owned(), "b".to_owned()])
        );
        let doubt = Doubt {
            sort: "few masks",
            text: "One.".to_owned(),
        };
        let warning = Warning::from(doubt);
        assert_eq!((warning.sort, &warning.message[..]), ("few masks", "One."));
    }
}
