//! `vitscope report`.

use std::path::PathBuf;

use vitscope_figure::{DrawOptions, FigureError, Images};

use super::print;
use crate::args::{Cli, Output};
use crate::exit::usage;

/// Draws figures and pages again and prints where the pages are.
pub fn run(cli: &Cli, runs: &[PathBuf], words: &[String]) -> anyhow::Result<()> {
    let options = DrawOptions {
        images: images(words)?,
        ..DrawOptions::default()
    };
    for run in runs {
        let drawn = vitscope_figure::draw_with(run, &options).map_err(choice)?;
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

/// What `--images` means.
pub fn images(words: &[String]) -> anyhow::Result<Images> {
    Images::parse(words).map_err(|problem| usage(anyhow::anyhow!("--images: {problem}")))
}

/// A choice of images or layers that a run cannot meet is the user's to change.
pub fn choice(error: FigureError) -> anyhow::Error {
    match error {
        FigureError::Choice { .. } => usage(error),
        other => other.into(),
    }
}
