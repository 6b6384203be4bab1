//! `vitscope attention`.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;
use vitscope_data::Split;
use vitscope_run::Measured;
use vitscope_study::StudyError;
use vitscope_study::attention::{AttentionOutcome, AttentionRequest, AttentionSettings, attention};

use super::locate::locate;
use super::settled::{layout, settle};
use super::threads::use_threads;
use crate::args::{AttentionArgs, Cli, Output};
use crate::progress::Teller;
use crate::stdout::{print, print_exactly};

/// Measures the locality bias of every layer and prints it.
pub fn run(cli: &Cli, args: &AttentionArgs) -> anyhow::Result<()> {
    let split = args.split;
    let limit = match split {
        Split::Train => args.limit_train,
        Split::Test => args.limit_test,
    };
    let layout = layout(cli, &args.settle)?;
    let request = AttentionRequest {
        model: locate(cli, &args.model, layout)?,
        settle: settle(&args.settle, layout)?,
        data: args.data.clone(),
        out: args.out.clone(),
        resume: args.resume,
        settings: AttentionSettings {
            size: args.size,
            layers: args.layers.clone(),
            split,
            limit,
            queries: args.queries.clone(),
            resamples: args.resamples,
            seed: args.seed,
        },
    };
    use_threads(args.threads)?;
    let outcome = attention(&request, &mut Teller::new(cli))?;
    let page = vitscope_figure::draw(&outcome.run)?.page;
    outcome.session.tidy().map_err(StudyError::from)?;
    match cli.output() {
        Output::Human => print(&table(&outcome, &page)),
        Output::Json => print_exactly(&serde_json::to_string(&json!({
            "run": outcome.run,
            "page": page,
            "layers": outcome.layers.iter().map(|layer| json!({
                "layer": layer.layer,
                "locality": measured_json(layer.whole),
                "heads": layer.heads.iter().map(|&head| measured_json(head)).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        }))?),
    }
}

fn measured_json(measured: Measured) -> serde_json::Value {
    let (low, high) = measured.interval.unzip();
    json!({"value": measured.value, "low": low, "high": high})
}

fn table(outcome: &AttentionOutcome, page: &Path) -> String {
    let number = |value: Option<f64>| value.map_or("undefined".to_owned(), |v| format!("{v:.4}"));
    let mut text =
        "layer   I(K,Q) in nats [95 % interval]   lowest head  highest head\n".to_owned();
    for layer in &outcome.layers {
        let interval = layer.whole.interval.map_or(String::new(), |(low, high)| {
            format!("[{low:.4}, {high:.4}]")
        });
        let heads = layer.heads.iter().filter_map(|head| head.value);
        let _ = writeln!(
            text,
            "{:>5}  {:>9} {interval:<26}  {:>11}  {:>12}",
            layer.layer,
            number(layer.whole.value),
            number(heads.clone().reduce(f64::min)),
            number(heads.reduce(f64::max)),
        );
    }
    let _ = writeln!(text, "page: {}", page.display());
    text
}
