//! What a data set is worth before any model is run on it: what is wrong with its files, how its
//! labels are distributed, and how much position alone tells of them (paper 3.1.1).

mod look;
pub mod pairs;
mod position;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use vitscope_data::{
    DataError, DataSet, Doubt, Evidence, Geometry, Listed, Problems, Split, Survey,
};

use crate::error::StudyError;
use crate::observer::{self, Observer};
use crate::picture;

use look::Looker;
pub use position::PositionCheck;
use position::SetCounts;

/// The version of the report's form.
pub const FORMAT: u32 = 1;

/// What to look at.
#[derive(Clone, Debug)]
pub struct Request {
    /// The data set, as the user names it.
    pub data: String,
    /// Asked side of the square crop in pixels.
    pub size: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Random shifts for the null of the positional effect, and bootstrap samples for its
    /// interval; none for 0.
    pub resamples: usize,
    /// Their seed.
    pub seed: u64,
    /// Where the aggregate map and the lists of image paths go.
    pub out: Option<PathBuf>,
    /// Where a description of the set goes, a TOML file.
    pub draft: Option<PathBuf>,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
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
    fn new(paths: &Listed) -> Self {
        let shown = paths.first.iter().map(|path| path.display().to_string());
        Self {
            count: paths.count,
            listed: shown.collect(),
        }
    }
}

/// Looks at every image and mask of a data set.
///
/// # Errors
/// An argument that names no data set, or a directory or description of which nothing can be made;
/// what is wrong with single files is in the result.
pub fn check(request: &Request, observer: &mut dyn Observer) -> Result<Check, StudyError> {
    for (name, value) in [("size", request.size), ("patch", request.patch)] {
        if value == 0 || value > 4096 {
            return Err(StudyError::setting(format!(
                "`{name}` must be 1 to 4096 pixels"
            )));
        }
    }
    if request.resamples == 1 {
        return Err(StudyError::setting("`resamples` must be 0, or at least 2"));
    }
    let Survey {
        set,
        mut problems,
        unclaimed,
    } = match (DataSet::survey(&request.data), &request.draft) {
        (Err(error), Some(path)) => return Err(begin_draft(&request.data, path, error)?),
        (survey, _) => survey?,
    };
    let geometry = Geometry::for_patch(request.size, request.patch);
    let one_list = set.train == set.test;
    let mut looker = Looker {
        set: &set,
        geometry,
        problems: &mut problems,
        off_the_table: BTreeMap::new(),
        evidence: Evidence::default(),
        observer,
    };
    let total = set.test.len() + if one_list { 0 } else { set.train.len() };
    looker.observer.begin(observer::CHECK, 0, total as u64);
    let mut counts = SetCounts::new(&set, geometry, request)?;
    let test = looker.look(Split::Test, &set.test, counts.as_mut())?;
    let train = if one_list {
        test.clone()
    } else {
        looker.look(Split::Train, &set.train, None)?
    };
    looker.observer.end();
    let off_the_table = looker.off_the_table.into_values().collect();
    let mut evidence = looker.evidence;
    evidence.compare_images(&set, usize::MAX);
    let (position, picture) = match counts {
        Some(counts) if counts.tally.images() > 0 => {
            let (position, picture) = counts.finish(&set)?;
            (Some(position), Some(picture))
        }
        _ => (None, None),
    };
    let aggregate = match &request.out {
        Some(out) => write(out, &set, geometry, picture.as_deref())?,
        None => None,
    };
    let mut notes = set.notes().to_vec();
    notes.extend(remarks(&set, &train, &test, one_list));
    let doubts = evidence.doubts(&set);
    let draft = match &request.draft {
        Some(path) => Some(write_draft(path, &set, &evidence)?),
        None => None,
    };
    Ok(Check {
        format: FORMAT,
        usable: problems.count() == 0 && !set.train.is_empty() && !set.test.is_empty(),
        kind: set.kind.name(),
        root: set.root.display().to_string(),
        list_hash: set.list_hash(),
        size: geometry.size,
        patch: request.patch,
        one_list,
        train,
        test,
        problems: ProblemList::new(&problems),
        off_the_table,
        unclaimed_masks: PathList::new(&unclaimed),
        notes,
        warnings: doubts.into_iter().map(Warning::from).collect(),
        position,
        aggregate,
        draft,
    })
}

/// What a sample of a set gives reason to doubt, as a run says it before it begins: see
/// [`DataSet::doubts`], which decodes at most 64 images of each split.
#[must_use]
pub fn warnings(set: &DataSet) -> Vec<String> {
    set.doubts()
        .iter()
        .map(|doubt| doubt.text.clone())
        .collect()
}

/// Writes the aggregate map and the lists of images; comes back with the map's path.
fn write(
    out: &Path,
    set: &DataSet,
    geometry: Geometry,
    picture: Option<&[u8]>,
) -> Result<Option<String>, StudyError> {
    let mut folder = vitscope_run::Folder::claim(out, "data check", &[&set.root])?;
    let mut aggregate = None;
    if let Some(picture) = picture {
        let path = folder.place("ground_truth.png")?;
        picture::write_rgb(&path, [geometry.size; 2], picture)?;
        aggregate = Some(path.display().to_string());
    }
    for (name, items) in [("train.txt", &set.train), ("test.txt", &set.test)] {
        let mut lines = Vec::new();
        for item in items {
            // A path's own bytes, which need not be UTF-8.
            lines.extend_from_slice(item.image.as_os_str().as_encoded_bytes());
            lines.push(b'\n');
        }
        crate::files::write(&folder.place(name)?, &lines)?;
    }
    folder.finish()?;
    Ok(aggregate)
}

/// Begins a description of what does not open; comes back with the error that says both.
fn begin_draft(data: &str, path: &Path, error: DataError) -> Result<StudyError, StudyError> {
    let Some(text) = DataSet::begin_draft(data, path)? else {
        return Ok(error.into());
    };
    nothing_there(path)?;
    crate::files::write(path, text.as_bytes())?;
    Ok(StudyError::Begun {
        source: error,
        draft: path.to_owned(),
    })
}

/// A draft replaces nothing.
fn nothing_there(path: &Path) -> Result<(), StudyError> {
    if path.exists() {
        return Err(StudyError::setting(format!(
            "{}: exists already, and a draft replaces nothing: choose another file for `draft`",
            path.display()
        )));
    }
    Ok(())
}

/// Writes a description of the set, which must not be there yet; comes back with its path.
fn write_draft(path: &Path, set: &DataSet, evidence: &Evidence) -> Result<String, StudyError> {
    nothing_there(path)?;
    let text = set.draft(evidence, path)?;
    crate::files::write(path, text.as_bytes())?;
    Ok(path.display().to_string())
}

/// What a user should think of before a run.
fn remarks(set: &DataSet, train: &SplitCheck, test: &SplitCheck, one_list: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if one_list {
        notes.push("one list of images serves both splits: numbers are of the very images that the probes are fitted to.".to_owned());
    }
    let batch = crate::settings::Settings::default().batch;
    if train.images < batch {
        notes.push(format!(
            "the training split has {} images, fewer than a batch of {batch}: a run needs --batch {} or less.",
            train.images,
            train.images.max(1)
        ));
    }
    if !set.has_truth() {
        notes.push(
            "there is no ground truth: clusters are shown, and nothing is matched or scored."
                .to_owned(),
        );
    }
    for (name, split) in [("training", train), ("test", test)] {
        if split.enlarged > 0 {
            notes.push(format!(
                "{} {name} images are smaller than the crop and are enlarged.",
                split.enlarged
            ));
        }
        if one_list {
            break;
        }
    }
    notes
}
