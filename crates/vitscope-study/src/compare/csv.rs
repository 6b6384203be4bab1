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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_header_and_its_rows_with_empty_cells_for_what_is_undefined() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut folder = Folder::claim(&out, "compare", &[]).unwrap();
        let rows = [Some(0.1 + 0.2), None].map(|value| vec!["a,b".to_owned(), number(value)]);
        let path = write_table(&mut folder, "t.csv", "name,value", rows).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "name,value\n\"a,b\",0.30000000000000004\n\"a,b\",\n");
        folder.finish().unwrap();
    }
}
