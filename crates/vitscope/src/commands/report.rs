//! `vitscope report`.

use std::path::PathBuf;

use vitscope_figure::{FigureError, Images};

use super::print;
use crate::args::{Cli, Output};
use crate::exit::usage;

/// Draws figures and pages again and prints where the pages are.
pub fn run(cli: &Cli, runs: &[PathBuf], images: &[String]) -> anyhow::Result<()> {
    let images =
        Images::parse(images).map_err(|problem| usage(anyhow::anyhow!("--images: {problem}")))?;
    for run in runs {
        let drawn = vitscope_figure::draw_with(run, &images).map_err(|error| match error {
            FigureError::Choice { .. } => usage(error),
            other => other.into(),
        })?;
        match cli.output() {
            Output::Human => print(&drawn.page.display().to_string())?,
            Output::Json => print(&serde_json::to_string(&serde_json::json!({
                "page": drawn.page,
                "figures": drawn.figures,
            }))?)?,
        }
    }
    Ok(())
}
