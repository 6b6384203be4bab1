//! `vitscope attention`.

use std::fmt::Write;
use std::path::Path;

use anyhow::anyhow;
use serde_json::json;
use vitscope_data::Split;
use vitscope_study::attention::{Figure, Outcome, Query, Request, Settings, attention};
use vitscope_study::layers::Layers;

use super::locate::locate;
use super::{print, settle, use_threads};
use crate::args::{AttentionArgs, Cli, Output, word};
use crate::exit::usage;
use crate::progress::Teller;

/// Measures the locality bias of every layer and prints it.
pub fn run(cli: &Cli, args: &AttentionArgs) -> anyhow::Result<()> {
    let queries = args
        .queries
        .iter()
        .map(|text| text.parse::<Query>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|problem| usage(anyhow!("--queries: {problem}")))?;
    let (split, limit) = match args.split.as_str() {
        "train" => (Split::Train, args.limit_train),
        "test" => (Split::Test, args.limit_test),
        other => {
            return Err(usage(anyhow!(
                "--split: `{other}` is not one of train, test"
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
            split,
            limit,
            queries,
            resamples: args.resamples,
            seed: args.seed,
        },
    };
    use_threads(args.threads)?;
    let outcome = attention(&request, &mut Teller::new(cli))?;
    let page = vitscope_figure::draw(&outcome.run)?.page;
    match cli.output() {
        Output::Human => print(&table(&outcome, &page)),
        Output::Json => print(&serde_json::to_string(&json!({
            "run": outcome.run,
            "page": page,
            "layers": outcome.layers.iter().map(|layer| json!({
                "layer": layer.layer,
                "locality": figure_json(layer.whole),
                "heads": layer.heads.iter().map(|&head| figure_json(head)).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        }))?),
    }
}

fn figure_json(figure: Figure) -> serde_json::Value {
    let (low, high) = figure.interval.unzip();
    json!({"value": figure.mean, "low": low, "high": high})
}

fn table(outcome: &Outcome, page: &Path) -> String {
    let number = |value: Option<f64>| value.map_or("undefined".to_owned(), |v| format!("{v:.4}"));
    let mut text =
        "layer   I(K,Q) in nats [95 % interval]   lowest head  highest head\n".to_owned();
    for layer in &outcome.layers {
        let interval = layer.whole.interval.map_or(String::new(), |(low, high)| {
            format!("[{low:.4}, {high:.4}]")
        });
        let heads = layer.heads.iter().filter_map(|head| head.mean);
        let _ = writeln!(
            text,
            "{:>5}  {:>9} {interval:<26}  {:>11}  {:>12}",
            layer.layer,
            number(layer.whole.mean),
            number(heads.clone().reduce(f64::min)),
            number(heads.reduce(f64::max)),
        );
    }
    let _ = writeln!(text, "page: {}", page.display());
    text
}
