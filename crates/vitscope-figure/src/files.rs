//! Writing what was drawn: each file beside its place, then renamed.

use std::fs;
use std::path::Path;

use crate::error::FigureError;

/// Writes beside the file's place, then renames.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FigureError> {
    let failed = |source| FigureError::Write {
        path: path.to_owned(),
        source,
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    fs::write(&beside, bytes).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

pub(crate) fn remove(path: &Path) -> Result<(), FigureError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(FigureError::Write {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
