//! Figures and the report page, drawn from run directories alone.
//!
//! A run directory holds everything that its figures show, so [`draw`] computes nothing and can
//! be called again at any time, also on a run that is still going: what is not there yet is left
//! out, and the page says what is missing and why. The same run gives the same bytes on every
//! machine: fonts are embedded, and nothing depends on time, locale or hash order.

mod aggregates;
mod class_mi;
mod curves;
mod error;
mod examples;
mod figure;
mod metrics;
mod page;
mod pixels;
mod run_dir;
mod svg;
mod text;
mod theme;

use std::fs;
use std::path::{Path, PathBuf};

pub use error::FigureError;

use figure::Plate;
use run_dir::Run;

/// The files that [`draw`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// SVG, PNG and CSV of every figure, in the order in which the page shows them.
    pub figures: Vec<PathBuf>,
    /// The self-contained page.
    pub page: PathBuf,
}

/// Draws every figure of one run into `run/figures` and writes `run/report.html`.
///
/// Each file is written beside its place and renamed, so a reader never sees half a file.
/// A figure that the run has no material for is left out, and its files of an earlier call are
/// removed, so that `figures` never shows what the run no longer says.
///
/// # Errors
///
/// If `run` is not a run directory, a file in it is not what the format says, or a figure cannot
/// be written. Missing files other than `run.json` are no error.
pub fn draw(run: &Path) -> Result<Drawn, FigureError> {
    let run = Run::open(run)?;
    let plates = [
        examples::draw(&run)?,
        aggregates::draw_best(&run)?,
        curves::draw_miou(&run)?,
        curves::draw_nmi(&run)?,
        curves::draw_excess(&run)?,
        class_mi::draw(&run)?,
        aggregates::draw_layers(&run)?,
    ];
    let folder = run.figures_dir();
    fs::create_dir_all(&folder).map_err(|source| FigureError::Write {
        path: folder.clone(),
        source,
    })?;
    let mut figures = Vec::new();
    for plate in &plates {
        match plate {
            Plate::Drawn(figure) => {
                let files = [
                    ("svg", figure.drawing.file().into_bytes()),
                    ("png", figure.drawing.png()?),
                    ("csv", figure.csv.clone().into_bytes()),
                ];
                for (extension, bytes) in files {
                    let path = folder.join(format!("{}.{extension}", figure.name));
                    write(&path, &bytes)?;
                    figures.push(path);
                }
            }
            Plate::Absent { name, .. } => {
                for extension in ["svg", "png", "csv"] {
                    remove(&folder.join(format!("{name}.{extension}")))?;
                }
            }
        }
    }
    let page = run.page_path();
    write(&page, page::render(&run, &plates)?.as_bytes())?;
    Ok(Drawn { figures, page })
}

/// Writes beside the file's place, then renames.
fn write(path: &Path, bytes: &[u8]) -> Result<(), FigureError> {
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
