//! `vitscope correspond`.

use std::fmt::Write;
use std::path::Path;

use anyhow::anyhow;
use serde_json::json;
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_study::correspond::{Fit, Outcome, Request, Settings, correspond};
use vitscope_study::layers::Layers;
use vitscope_study::settings::Side;

use super::locate::locate;
use super::{print, settle, use_threads};
use crate::args::{Cli, CorrespondArgs, Output, facets, word};
use crate::exit::usage;
use crate::progress::Teller;

/// Compares key points and prints the best layer of each facet.
pub fn run(cli: &Cli, args: &CorrespondArgs) -> anyhow::Result<()> {
    let split = match args.split.as_str() {
        "train" | "trn" => PairSplit::Train,
        "val" => PairSplit::Val,
        "test" => PairSplit::Test,
        other => {
            return Err(usage(anyhow!(
                "--split: `{other}` is not one of trn, val, test"
            )));
        }
    };
    let layout = match args.layout.as_str() {
        "large" => Layout::Large,
        "small" => Layout::Small,
        other => {
            return Err(usage(anyhow!(
                "--layout: `{other}` is not one of large, small"
            )));
        }
    };
    let request = Request {
        model: locate(cli, &args.model, cli.checkpoint_format())?,
        settle: settle(&args.settle, cli.checkpoint_format())?,
        data: args.data.clone(),
        out: args.out.clone(),
        resume: args.resume,
        settings: Settings {
            size: args.size,
            layers: word("--layers", Some(&args.layers), Layers::All)?,
            facets: facets(&args.facets)?,
            token_norm: word("--token-norm", Some(&args.token_norm), Side::After)?,
            rope: word("--rope", Some(&args.rope), Side::Before)?,
            fit: word("--fit", Some(&args.fit), Fit::Stretch)?,
            split,
            layout,
            limit: args.limit_pairs,
            alphas: args.alpha.clone(),
            examples: args.examples,
            memory: args.memory_mib.saturating_mul(1 << 20),
        },
    };
    use_threads(args.threads)?;
    let outcome = correspond(&request, &mut Teller::new(cli))?;
    let page = vitscope_figure::draw(&outcome.run)?.page;
    match cli.output() {
        Output::Human => print(&table(&outcome, &page)),
        Output::Json => print(&serde_json::to_string(&json!({
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

fn table(outcome: &Outcome, page: &Path) -> String {
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
    let _ = writeln!(text, "{points} key points of {pairs} pairs");
    let _ = writeln!(text, "page: {}", page.display());
    text
}
