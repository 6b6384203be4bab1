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

/// Looks once more when all is read, so that a run that nothing stopped is held to the same. What was counted of
/// data that changed meanwhile is dropped.
///
/// # Errors
/// Where an image or a mask changed since `before`.
pub fn check_again(run: &Path, before: &Stamps, now: &Stamps) -> Result<(), StudyError> {
    let Some(how) = before.changed(now) else {
        return Ok(());
    };
    files::remove_folder(&state::folder(run))?;
    Err(StudyError::file(
        run,
        format!(
            "its data changed while they were read: {how}; what was counted of them is dropped: continue with `resume`, which begins anew"
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
