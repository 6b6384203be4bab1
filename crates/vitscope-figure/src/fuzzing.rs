//! Everything that is read and laid out of run directories, without the files that come of it: for the target
//! under `fuzz/` and for the short run of mutations below, which is part of the ordinary tests. What matters is
//! that each call returns.

use std::path::{Path, PathBuf};

use crate::error::FigureError;
use crate::members::{self, Member};
use crate::run_view::RunView;
use crate::{CompareOptions, page, plates, verdict};

/// The figures and the page of one run, and what is said of it.
///
/// # Errors
/// As [`draw`](crate::draw), as far as nothing is written.
pub fn draw(root: &Path) -> Result<(), FigureError> {
    let run = RunView::open(root)?;
    let member = Member::alone(run, None);
    let plates = plates::of_run(&member)?;
    page::of_run(&member, &plates)?;
    verdict(root).map(|_| ())
}

/// The figures and the page of several.
///
/// # Errors
/// As [`compare`](crate::compare), as far as nothing is written.
pub fn compare(runs: &[PathBuf], out: &Path) -> Result<(), FigureError> {
    let options = CompareOptions::default();
    let members = members::open(runs, &[])?;
    let plates = plates::of_comparison(&members, out, &options)?;
    page::of_comparison(&members, &plates, &options, Vec::new()).map(|_| ())
}
