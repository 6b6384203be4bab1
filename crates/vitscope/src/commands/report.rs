//! `vitscope report`.

use std::path::PathBuf;

use super::print;
use crate::args::{Cli, Output};

/// Draws figures and pages again and prints where the pages are.
pub fn run(cli: &Cli, runs: &[PathBuf]) -> anyhow::Result<()> {
    for run in runs {
        let drawn = vitscope_figure::draw(run)?;
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
