//! `vitscope report`.

use std::path::PathBuf;

use vitscope_figure::{DrawOptions, FigureError, ImageChoice, Look};

use crate::args::{Cli, LookArgs, Output};
use crate::exit::usage;
use crate::stdout::{print, print_exactly};

/// Draws figures and pages again and prints where the pages are.
pub fn run(cli: &Cli, runs: &[PathBuf], words: &[String], asked: &LookArgs) -> anyhow::Result<()> {
    let all = look(asked, runs.len())?;
    let images = images(words)?;
    for (index, run) in runs.iter().enumerate() {
        let options = DrawOptions {
            images: images.clone(),
            look: Look {
                labels: all.labels.get(index).cloned().into_iter().collect(),
                ..all.clone()
            },
        };
        let drawn = vitscope_figure::draw_with(run, &options).map_err(choice)?;
        match cli.output() {
            Output::Human => print(&drawn.page.display().to_string())?,
            Output::Json => print_exactly(&serde_json::to_string(&serde_json::json!({
                "page": drawn.page,
                "figures": drawn.figures,
            }))?)?,
        }
    }
    Ok(())
}

/// What `--label`, `--no-caption` and `--letters` mean for so many runs.
pub fn look(args: &LookArgs, runs: usize) -> anyhow::Result<Look> {
    let labels = args.labels.clone();
    if !labels.is_empty() && labels.len() != runs {
        let problem = format!(
            "--label: {} given, {runs} wanted: give it once for each run",
            labels.len()
        );
        return Err(usage(anyhow::anyhow!(problem)));
    }
    Ok(Look {
        labels,
        no_caption: args.no_caption,
        letters: args.letters,
    })
}

/// What `--images` means.
pub fn images(words: &[String]) -> anyhow::Result<ImageChoice> {
    ImageChoice::parse(words).map_err(|problem| usage(anyhow::anyhow!("--images: {problem}")))
}

/// A choice of images or layers that a run cannot meet is the user's to change.
pub fn choice(error: FigureError) -> anyhow::Error {
    match error {
        FigureError::Choice { .. } => usage(error),
        other => other.into(),
    }
}
