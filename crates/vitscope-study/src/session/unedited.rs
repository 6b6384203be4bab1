//! What a run reads must not change while it is unfinished: its numbers would be of no data set.

use std::path::Path;

use serde::{Deserialize, Serialize};
use vitscope_data::Stamps;

use crate::error::StudyError;
use crate::{files, state};

/// The file that holds what the data were when the run began.
const NAME: &str = "data.json";

#[derive(Serialize, Deserialize)]
struct DataNote {
    sha256: String,
    data: Stamps,
}

/// Notes in a run's state what its data are, or compares them with what they were when it began.
///
/// # Errors
/// Where an image or a mask changed since then, and where what was noted is damaged or lost.
pub fn check(run: &Path, now: &Stamps) -> Result<(), StudyError> {
    let folder = state::folder(run);
    let path = folder.join(NAME);
    let damaged = |problem: &dyn std::fmt::Display| state::damaged(&path, problem);
    let Some(bytes) = files::read_if_there(&path)? else {
        if holds_work(&folder)? {
            return Err(damaged(&"it is missing"));
        }
        let kept = DataNote {
            sha256: now.hash(),
            data: now.clone(),
        };
        let text =
            serde_json::to_vec(&kept).map_err(|error| StudyError::Internal(error.to_string()))?;
        return Ok(files::write(&path, &text)?);
    };
    let kept: DataNote = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
    if kept.sha256 != kept.data.hash() {
        return Err(damaged(&"its content is not what was written"));
    }
    match kept.data.changed(now) {
        None => Ok(()),
        Some(how) => Err(StudyError::file(
            run,
            format!(
                "cannot go on, for its data changed since it began: {how}; put that back, or begin another run with another `out`"
            ),
        )),
    }
}

/// Looks once more when all is read, so that a run that nothing stopped is held to the same. What was computed of
/// data that changed meanwhile is dropped: counts and rows, and the transforms and artifacts that another attempt would take up.
///
/// # Errors
/// Where an image or a mask changed since `before`.
pub fn check_again(run: &Path, before: &Stamps, now: &Stamps) -> Result<(), StudyError> {
    let Some(how) = before.changed(now) else {
        return Ok(());
    };
    vitscope_run::session::undo(run)?;
    Err(StudyError::file(
        run,
        format!(
            "its data changed while they were read: {how}; what was computed of them is dropped: continue with `resume`, which begins anew"
        ),
    ))
}

/// Whether a run has stored anything that was computed.
fn holds_work(folder: &Path) -> Result<bool, StudyError> {
    let list = std::fs::read_dir(folder).map_err(StudyError::io(folder, "list"))?;
    for entry in list {
        let path = entry.map_err(StudyError::io(folder, "list"))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("safetensors" | "f32")) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use vitscope_data::DataSet;

    use super::*;

    #[test]
    fn data_that_changed_end_the_run_until_they_are_put_back() {
        let (data, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let image = data.path().join("a.png");
        std::fs::write(&image, "one").unwrap();
        std::fs::write(data.path().join("b.png"), "two").unwrap();
        let set = DataSet::open(&format!("folder:{}", data.path().display())).unwrap();
        let stamps = || set.stamps(2, 2).unwrap();
        std::fs::create_dir_all(state::folder(run.path())).unwrap();
        let before = stamps();
        check(run.path(), &before).unwrap();
        check(run.path(), &stamps()).unwrap();
        check_again(run.path(), &before, &stamps()).unwrap();
        std::fs::write(&image, "three").unwrap();
        let error = check(run.path(), &stamps()).unwrap_err().to_string();
        assert!(error.contains("its data changed since it began"), "{error}");
        let mine = state::folder(run.path()).join("notes.txt");
        std::fs::write(&mine, "mine").unwrap();
        let work = state::folder(run.path()).join("training.safetensors");
        let beside = run.path().join("transforms.safetensors");
        for path in [&work, &beside] {
            std::fs::write(path, "work").unwrap();
        }
        let error = check_again(run.path(), &before, &stamps()).unwrap_err();
        assert!(error.to_string().contains("is dropped"), "{error}");
        assert!(mine.exists() && !work.exists() && !beside.exists());
        std::fs::remove_file(mine).unwrap();
        check_again(run.path(), &before, &stamps()).unwrap_err();
        assert!(!state::folder(run.path()).exists());
    }

    #[test]
    fn a_note_that_is_lost_beside_work_is_damage() {
        let (data, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(data.path().join("a.png"), "one").unwrap();
        let set = DataSet::open(&format!("folder:{}", data.path().display())).unwrap();
        let folder = state::folder(run.path());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("training.safetensors"), "work").unwrap();
        let error = check(run.path(), &set.stamps(1, 1).unwrap()).unwrap_err();
        assert!(error.to_string().contains("it is missing"), "{error}");
    }
}
