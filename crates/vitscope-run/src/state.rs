//! What of the folder [`names::STATE`](crate::names::STATE) is ours: unfinished work, and nothing that anyone
//! else has put beside it.

use std::path::Path;

use crate::error::RunError;
use crate::slot::Slot;
use crate::{files, names};

/// The stems of what is stored as tensors: a probe's, attention's, a correspondence's, and the unfinished work of `causes`.
const STORED: [&str; 7] = [
    "training",
    "evaluation",
    "locality",
    "attention",
    "matches",
    "centroids",
    "views",
];

/// Where label maps wait, a folder for every slot.
const LABELS: &str = "labels";

/// Where patch vectors of examples wait, a file for every image.
const PATCHES: &str = "patches";

/// Whether a file of the folder, by its path in it with `/`, is one that a run writes there.
fn is_ours(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["lock" | "data.json"] => true,
        [.., name] if files::is_ours(name) => true,
        [name] => {
            let stored = name.strip_suffix(".safetensors");
            names::is_kept_facets(name) || stored.is_some_and(|stem| STORED.contains(&stem))
        }
        // An image's name may have folders of its own.
        [LABELS, slot, .., name] => slot.parse::<Slot>().is_ok() && name.ends_with(".png"),
        [PATCHES, .., name] => name.ends_with(".safetensors"),
        _ => false,
    }
}

/// What is done with a file or an empty folder, by its path in the state.
type Each<'a> = dyn FnMut(&Path, &str, bool) -> Result<(), RunError> + 'a;

/// Goes through all files, and then through the folders that hold them, innermost first.
fn walk(folder: &Path, inside: &str, each: &mut Each<'_>) -> Result<(), RunError> {
    let list = match std::fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if files::is_absent(&error) => return Ok(()),
        Err(error) => return Err(RunError::io(folder, "list")(error)),
    };
    for entry in list {
        let entry = entry.map_err(RunError::io(folder, "list"))?;
        let (path, name) = (entry.path(), entry.file_name());
        let inside = match inside {
            "" => name.to_string_lossy().into_owned(),
            folder => format!("{folder}/{}", name.to_string_lossy()),
        };
        let kind = entry.file_type().map_err(RunError::io(&path, "look at"))?;
        if kind.is_dir() {
            walk(&path, &inside, each)?;
        }
        each(&path, &inside, kind.is_dir())?;
    }
    Ok(())
}

/// Whether there is a file in it that no run has written.
pub(crate) fn holds_foreign(state: &Path) -> Result<bool, RunError> {
    let mut found = false;
    walk(state, "", &mut |_, name, is_folder| {
        found |= !is_folder && !is_ours(name);
        Ok(())
    })?;
    Ok(found)
}

/// Whether there is a file in it that a run has written.
pub(crate) fn holds_ours(state: &Path) -> Result<bool, RunError> {
    let mut found = false;
    walk(state, "", &mut |_, name, is_folder| {
        found |= !is_folder && is_ours(name);
        Ok(())
    })?;
    Ok(found)
}

/// Removes what a run has written, and the folders that are empty then.
pub(crate) fn clear(state: &Path) -> Result<(), RunError> {
    walk(state, "", &mut |path, name, is_folder| {
        if is_folder {
            // One that still holds something stays.
            files::step();
            let _ = std::fs::remove_dir(path);
        } else if is_ours(name) {
            files::remove_if_there(path)?;
        }
        Ok(())
    })
}
