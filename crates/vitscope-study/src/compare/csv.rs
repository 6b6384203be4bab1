//! How tables of a comparison are written.

use std::path::PathBuf;

use vitscope_run::{Folder, files, to_csv};

use crate::error::StudyError;

/// A CSV file of some rows.
pub(super) fn write_table(
    folder: &mut Folder,
    name: &str,
    header: &str,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<PathBuf, StudyError> {
    let path = folder.place(name)?;
    files::write(&path, &to_csv(header.split(','), rows))?;
    Ok(path)
}

/// A number as a cell; empty where there is none.
pub(super) fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}
