//! `vitscope correspond`.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;
use vitscope_data::pairs::Layout;
use vitscope_study::StudyError;
use vitscope_study::correspond::{
    CorrespondOutcome, CorrespondRequest, CorrespondSettings, correspond,
};

use super::locate::locate;
use super::note::note;
use super::settled::{layout, settle};
use super::threads::use_threads;
use crate::args::{Cli, CorrespondArgs, LayoutWord, Output};
use crate::progress::Teller;
use crate::stdout::{print, print_exactly};

/// Compares keypoints and prints the best layer of each facet.
pub fn run(cli: &Cli, args: &CorrespondArgs) -> anyhow::Result<()> {
    let list = match args.settle.layout {
        // An earlier version called it so.
        Some(LayoutWord::Large) => Layout::Large,
        Some(LayoutWord::Small) => Layout::Small,
        _ => args.list,
    };
    let layout = match args.settle.layout {
        Some(LayoutWord::Large | LayoutWord::Small) => {
            note(cli, "--layout of pairs is now called --list")?;
            cli.old_layout().and_then(LayoutWord::format)
        }
        _ => layout(cli, &args.settle)?,
    };
    let request = CorrespondRequest {
        model: locate(cli, &args.model, layout)?,
        settle: settle(&args.settle, layout)?,
        data: args.data.clone(),
        out: args.out.clone(),
        resume: args.resume,
        settings: CorrespondSettings {
            size: args.size,
            layers: args.slots.layers.clone(),
            facets: args.slots.each_facet(),
            token_norm: args.slots.token_norm,
            rope: args.slots.rope,
            fit: args.fit,
            split: args.split,
            layout: list,
            limit_pairs: args.limit_pairs,
            alphas: args.alpha.clone(),
            examples: args.examples,
            memory: args.memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
        },
    };
    use_threads(args.threads)?;
    let outcome = correspond(&request, &mut Teller::new(cli))?;
    let page = vitscope_figure::draw(&outcome.run)?.page;
    outcome.session.tidy().map_err(StudyError::from)?;
    match cli.output() {
        Output::Human => print(&table(&outcome, &page)),
        Output::Json => print_exactly(&serde_json::to_string(&json!({
            "run": outcome.run,
            "page": page,
            "pairs": outcome.counts[0],
            "points": outcome.counts[1],
            "selection": outcome.selection,
            "slots": outcome.slots.iter().map(|summary| json!({
                "facet": summary.slot.facet,
                "layer": summary.slot.layer,
                "pck": summary.pck.per_point,
                "pck_image": summary.pck.per_pair,
            })).collect::<Vec<_>>(),
        }))?),
    }
}

fn table(outcome: &CorrespondOutcome, page: &Path) -> String {
    let number = |value: Option<f64>| value.map_or("undefined".to_owned(), |v| format!("{v:.4}"));
    let mut text = "facet  layer  PCK per point  per image\n".to_owned();
    for (facet, &layer) in &outcome.selection {
        let shown = outcome
            .slots
            .iter()
            .find(|summary| summary.slot.layer == layer && summary.slot.facet.name() == facet);
        if let Some(summary) = shown {
            let _ = writeln!(
                text,
                "{facet:<6} {layer:>5}  {:>13}  {:>9}",
                number(summary.pck.per_point),
                number(summary.pck.per_pair),
            );
        }
    }
    let [pairs, points] = outcome.counts;
    let of =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(text, "{} of {}", of(points, "keypoint"), of(pairs, "pair"));
    let _ = writeln!(text, "page: {}", page.display());
    text
}
