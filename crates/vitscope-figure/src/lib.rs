//! Figures and the report page, drawn from run directories alone.
//!
//! A run directory holds everything that its figures show, so [`draw`] computes nothing and can
//! be called again at any time, also on a run that is still going: what is not there yet is left
//! out, and the page says what is missing and why. The same run gives the same bytes on every
//! machine: fonts are embedded, and nothing depends on time, locale or hash order.

mod aggregates;
mod attention;
mod chart;
mod class_mi;
mod clusters;
mod compare;
mod correspond;
mod curves;
mod error;
mod examples;
mod figure;
mod files;
mod grid;
mod layers;
mod metrics;
mod page;
mod pen;
mod pixels;
mod relations;
mod run_dir;
mod select;
mod svg;
mod text;
mod theme;

use std::path::{Path, PathBuf};

pub use compare::CompareOptions;
pub use error::FigureError;
pub use select::{Images, Select};

use compare::Member;
use figure::Plate;
use relations::Correlations;
use run_dir::{Kind, Run};

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
    draw_with(run, &Images::All)
}

/// Draws every figure of one run, of whatever command, with the examples that `images` chooses.
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
pub fn draw_with(run: &Path, images: &Images) -> Result<Drawn, FigureError> {
    let root = run;
    let mut run = Run::open(root)?;
    if run.kind == Kind::Probe {
        run.examples = images.of(&run)?;
    }
    let member = Member::alone(run);
    let plates = of_run(&member)?;
    let figures = files::write_plates(&member.run.figures_dir(), &plates)?;
    let page = root.join("report.html");
    files::write(&page, page::of_run(&member, &plates)?.as_bytes())?;
    Ok(Drawn { figures, page })
}

/// The figures of a single run, in the page's order.
fn of_run(member: &Member) -> Result<Vec<Plate>, FigureError> {
    let run = &member.run;
    let mut plates = Vec::new();
    match run.kind {
        Kind::Probe => {
            plates.push(examples::draw(run)?);
            plates.push(clusters::draw(run)?);
            plates.push(aggregates::draw_best(run)?);
            plates.push(curves::draw_miou(run)?);
            plates.push(curves::draw_nmi(run)?);
            plates.push(curves::draw_excess(run)?);
            plates.push(relations::draw(&[member], &Correlations::NotMeant)?);
            plates.push(class_mi::draw(run)?);
            plates.push(aggregates::draw_layers(run)?);
            plates.extend(layers::draw(run)?);
            plates.push(attention::draw_locality(run)?);
            plates.push(attention::draw_matrices(run)?);
        }
        Kind::Attention => {
            plates.push(attention::draw_locality(run)?);
            plates.push(attention::draw_matrices(run)?);
        }
        Kind::Correspond => {
            plates.push(curves::draw_pck(run)?);
            plates.push(correspond::draw_categories(run)?);
            plates.push(correspond::draw_similarity(run)?);
            plates.push(correspond::draw_similarity_by_layer(run)?);
            plates.push(correspond::draw_matches(run)?);
        }
    }
    Ok(plates)
}

/// Draws every comparison figure of several runs into `out/figures` and writes `out/report.html`.
///
/// Runs of any command may stand together: figures of segmentations show `probe` runs, that of
/// correct key points `correspond` runs, that of locality whatever measured attention. Correlations
/// are read from `out/relations.csv`, where that exists.
///
/// # Errors
///
/// If a path is not a run directory or `out` is one, a file is not what the format says, an image
/// that was asked for is not among the first run's examples, or a figure cannot be written.
pub fn compare(
    runs: &[PathBuf],
    out: &Path,
    options: &CompareOptions,
) -> Result<Drawn, FigureError> {
    if out.join("run.json").exists() {
        return Err(FigureError::Choice {
            asked: format!("--out {}", out.display()),
            problem: "this is a run, whose own page would be lost: give another folder".to_owned(),
        });
    }
    let members = compare::open(runs)?;
    let plates = compare::plates(&members, out, options)?;
    let figures = files::write_plates(&out.join("figures"), &plates)?;
    let page = out.join("report.html");
    let text = page::of_comparison(&members, &plates, options)?;
    files::write(&page, text.as_bytes())?;
    Ok(Drawn { figures, page })
}
