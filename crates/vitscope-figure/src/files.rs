//! Writing what was drawn: each file beside its place, then renamed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::FigureError;
use crate::figure::Plate;

const FORMS: [&str; 4] = ["svg", "png", "pdf", "csv"];

/// Writes every figure in all its forms; removes the files of figures that are absent.
pub(crate) fn write_plates(folder: &Path, plates: &[Plate]) -> Result<Vec<PathBuf>, FigureError> {
    fs::create_dir_all(folder).map_err(|source| FigureError::Write {
        path: folder.to_owned(),
        source,
    })?;
    let mut figures = Vec::new();
    for plate in plates {
        match plate {
            Plate::Drawn(figure) => {
                let bytes = [
                    figure.drawing.file().into_bytes(),
                    figure.drawing.png()?,
                    figure.drawing.pdf()?,
                    figure.csv.clone().into_bytes(),
                ];
                for (form, bytes) in FORMS.into_iter().zip(bytes) {
                    let path = folder.join(format!("{}.{form}", figure.name));
                    write(&path, &bytes)?;
                    figures.push(path);
                }
            }
            Plate::Absent { name, .. } => {
                for form in FORMS {
                    remove(&folder.join(format!("{name}.{form}")))?;
                }
            }
        }
    }
    Ok(figures)
}

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

fn remove(path: &Path) -> Result<(), FigureError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(FigureError::Write {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
