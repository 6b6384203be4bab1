//! What a data set is worth before any model is run on it: what is wrong with its files, how its
//! labels are distributed, and how much position alone tells of them (paper 3.1.1).

mod left_out;
mod look;
pub mod pairs;
mod position;
mod report;
mod request;

use std::collections::BTreeMap;
use std::path::Path;

use vitscope_data::{DataError, DataSet, Evidence, Geometry, Split, Survey};

use crate::error::StudyError;
use crate::observer::{self, Observer};
use crate::{picture, settings};

use look::SetLooker;
use position::SetCounts;
pub use position::{AccuraciesFrom, PositionCheck};
pub use report::{
    ClassCheck, FORMAT, OffTable, PathList, Problem, ProblemList, SetCheck, SplitCheck, Warning,
};
pub use request::Request;

/// Looks at every image and mask of a data set.
///
/// # Errors
/// An argument that names no data set, or a directory or description of which nothing can be made;
/// what is wrong with single files is in the result.
pub fn check(request: &Request, observer: &mut dyn Observer) -> Result<SetCheck, StudyError> {
    for (name, value) in [("size", request.size), ("patch", request.patch)] {
        if value == 0 || value > 4096 {
            return Err(StudyError::setting(format!(
                "`{name}` must be 1 to 4096 pixels"
            )));
        }
    }
    settings::check_resamples(request.resamples)?;
    let Survey {
        set,
        mut problems,
        unclaimed,
    } = match (DataSet::survey(&request.data), &request.draft) {
        (Err(error), Some(path)) => return Err(begin_draft(&request.data, path, error)?),
        (survey, _) => survey?,
    };
    // Before every image is decoded.
    let folder = request.out.as_ref().map(|out| {
        let inputs = set.folders(&vitscope_run::whole(out));
        vitscope_run::Folder::claim(out, "data check", &inputs)
    });
    let folder = folder.transpose()?;
    let geometry = Geometry::for_patch(request.size, request.patch);
    let one_list = set.train == set.test && !set.test.is_empty();
    let mut looker = SetLooker {
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
        looker.look(Split::Train, &set.train, counts.as_mut())?
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
    let aggregate = match folder {
        Some(folder) => write(folder, &set, geometry, picture.as_deref())?,
        None => None,
    };
    let mut notes = set.notes().to_vec();
    notes.extend(remarks(&set, &train, &test, one_list));
    let doubts = evidence.doubts(&set);
    let draft = match &request.draft {
        Some(path) => Some(write_draft(path, &set, &evidence)?),
        None => None,
    };
    Ok(SetCheck {
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
    mut folder: vitscope_run::Folder,
    set: &DataSet,
    geometry: Geometry,
    picture: Option<&[u8]>,
) -> Result<Option<String>, StudyError> {
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
    // A link that leads nowhere is somebody's, too.
    if path.symlink_metadata().is_ok() {
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
    let batch = settings::Settings::default().batch;
    // A split with nothing in it stops a run, and is told as that.
    if (1..batch).contains(&train.images) {
        notes.push(format!(
            "the training split has {0} images, fewer than a batch of {batch}: a run needs --batch {0} or less.",
            train.images,
        ));
    }
    if !set.has_truth() && test.images > 0 {
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
