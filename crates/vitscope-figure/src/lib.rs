//! Figures and the report page, drawn from run directories alone.
//!
//! A run directory holds everything that its figures show, so [`draw`] computes nothing and can
//! be called again at any time, also on a run that is still going: what is not there yet is left
//! out, and the page says what is missing and why. The same run gives the same bytes on every
//! machine: fonts are embedded, and nothing depends on time, locale or hash order.
//!
//! Every figure takes one way: select what is shown, lay it out, draw it on a `Sheet`, say in its
//! caption what must be said, fill its table; the sheet writes it in four forms.

mod aggregates;
mod attention;
mod bands;
mod best;
mod captions;
mod causes;
mod chart;
mod class_bars;
mod cluster_use;
mod compared;
mod correspond;
mod curves;
mod drawing;
mod encoding;
mod end_names;
mod error;
mod figure_names;
mod followed;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod grid;
mod images;
mod layer_metric;
mod layers;
mod legend;
mod lengths;
mod locality;
mod locked;
mod look;
mod many;
mod matching;
mod matrix;
mod members;
mod models;
mod options;
mod page;
mod pixels;
mod plates;
mod position_locked;
mod positions;
mod references;
mod relations;
mod run_view;
mod scale;
mod seeds;
mod segmentations;
mod sensitivity;
mod series;
mod sheet;
mod soft;
mod svg;
mod text;
mod theme;
mod verdict;
mod words;

use std::path::{Path, PathBuf};

pub use error::FigureError;
pub use figure_names::figure_names;
pub use images::ImageChoice;
pub use look::Look;
pub use options::{CompareOptions, DrawOptions};
pub use verdict::{Verdict, verdict};
pub use vitscope_run::Select;

use members::Member;
use run_view::RunView;
use sheet::Destination;
use vitscope_run::{Folder, RunKind, files, names};

/// The files that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// SVG, PNG, PDF and CSV of every figure, in the order in which the page shows them.
    pub figures: Vec<PathBuf>,
    /// The self-contained page.
    pub page: PathBuf,
}

/// Draws every figure of one run into `run/figures` and writes `run/report.html`, with all the
/// examples that the run stored. See [`draw_with`].
///
/// # Errors
///
/// As [`draw_with`].
pub fn draw(run: &Path) -> Result<Drawn, FigureError> {
    draw_with(run, &DrawOptions::default())
}

/// Draws every figure of one run, of whatever command.
///
/// Each file is written beside its place and renamed, so a reader never sees half a file.
/// A figure that the run has no material for is left out, and its files of an earlier call are
/// removed, so that `figures` never shows what the run no longer says.
///
/// # Errors
///
/// If `run` is not a run directory, a file in it is not what the format says, an image that was
/// asked for is not among its examples, or a figure cannot be written. Missing files other than
/// `run.json` are no error.
pub fn draw_with(run: &Path, options: &DrawOptions) -> Result<Drawn, FigureError> {
    let root = run;
    let mut run = RunView::open(root)?;
    // What an earlier call was writing when it was killed.
    files::sweep_left(root, usize::MAX)?;
    if run.kind() == RunKind::Probe {
        run.examples = options.images.of(&run)?;
    }
    let member = Member::alone(run, options.look.labels.first());
    let plates = plates::of_run(&member)?;
    let text = page::of_run(&member, &plates)?;
    write(Destination::Run(root), &plates, &text, &options.look)
}

/// Draws every comparison figure of several runs into `out/figures` and writes `out/report.html`.
///
/// Runs of any command may stand together: figures of segmentations show `probe` runs, that of
/// correct keypoints `correspond` runs, that of locality whatever measured attention. Correlations
/// are read from `out/relations.csv`, where that exists.
///
/// # Errors
///
/// If a path is not a run directory or `out` is one or a folder of others, a file is not what the format
/// says, an image that was asked for is not among the first run's examples, or a figure cannot be written.
pub fn compare(
    runs: &[PathBuf],
    out: &Path,
    options: &CompareOptions,
) -> Result<Drawn, FigureError> {
    if out.join("run.json").exists() {
        return Err(FigureError::Choice {
            asked: format!("`out` {}", out.display()),
            problem: "this is a run, whose own page would be lost: give another folder".to_owned(),
        });
    }
    // Ours, or new: what others have put there is neither replaced nor removed.
    let destination = Destination::Folder(Folder::claim(out, "compare", &[])?);
    let members = members::open(runs, &options.look.labels)?;
    let plates = plates::of_comparison(&members, out, options)?;
    let said = causes::Causes::read(&out.join("causes.json"))?;
    let said = said.map_or(Vec::new(), |causes| causes.sentences());
    let text = page::of_comparison(&members, &plates, options, said)?;
    write(destination, &plates, &text, &options.look)
}

fn write(
    mut destination: Destination<'_>,
    plates: &[sheet::Plate],
    text: &str,
    look: &Look,
) -> Result<Drawn, FigureError> {
    let figures = sheet::write(&mut destination, plates, look)?;
    destination.reserve(&[names::PAGE.to_owned()])?;
    let page = destination.path(names::PAGE);
    files::write(&page, text.as_bytes())?;
    destination.finish()?;
    Ok(Drawn { figures, page })
}
