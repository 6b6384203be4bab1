//! `vitscope probe`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use bytesize::ByteSize;
use serde_json::json;
use vitscope_run::decimals;
use vitscope_study::estimate::{Estimate, estimate};
use vitscope_study::model::Model;
use vitscope_study::outcome::{ProbeOutcome, SlotSummary};
use vitscope_study::probe::{Made, ProbeRequest, probe_together, tidy};
use vitscope_study::shard::Shard;

use super::locate::locate;
use super::settled::{layout, settle};
use super::threads::use_threads;
use crate::args::{Cli, Output, ProbeArgs};
use crate::exit::usage;
use crate::progress::Teller;
use crate::stdout::{print, print_exactly};

/// Runs the main job, draws its figures and prints its table.
pub fn run(cli: &Cli, args: &ProbeArgs) -> anyhow::Result<()> {
    let args = args.clone().with_file()?;
    let (settings, mut vary) = args.settings.read()?;
    vary.seeds = args.seeds.map(|seeds| seeds as usize);
    use_threads(settings.threads)?;
    let request = ProbeRequest {
        model: model(cli, &args)?,
        data: args
            .data
            .ok_or_else(|| usage(anyhow!("give a data set with --data")))?,
        out: args.out,
        settings,
        resume: args.resume,
        trained: args.trained,
    };
    let mut teller = Teller::new(cli);
    if args.plan {
        let mut estimate = estimate(&request, &vary, &mut teller)?;
        let drawing = Instant::now();
        for run in &estimate.runs {
            vitscope_figure::draw(run)?;
            tidy(run)?;
        }
        estimate.add_figures(drawing.elapsed().as_secs_f64());
        return print_plan(cli, &estimate);
    }
    let made = probe_together(&request, &vary, &mut teller)?;
    let mut runs = Vec::new();
    let mut shards = Vec::new();
    for made in made {
        match made {
            Made::Run(outcome) => runs.push(draw(*outcome)?),
            Made::Shard { run, shard, images } => shards.push((run, shard, images)),
        }
    }
    // Only now: a run whose unfinished work is gone would begin again with `--resume`.
    for (outcome, _) in &runs {
        tidy(&outcome.run)?;
    }
    match shards.is_empty() {
        true => print_runs(cli, &runs),
        false => print_shards(cli, &shards),
    }
}

/// What is probed.
fn model(cli: &Cli, args: &ProbeArgs) -> anyhow::Result<Model> {
    match (&args.model, &args.features) {
        (Some(model), None) => {
            let layout = layout(cli, &args.settle)?;
            let path = locate(cli, model, layout)?;
            Ok(Model::Checkpoint(path, settle(&args.settle, layout)?))
        }
        (None, Some(_)) if args.settle.dtype.is_some() => Err(usage(anyhow!(
            "--dtype needs a model: features are as they are"
        ))),
        (None, Some(path)) => Ok(Model::Features(path.clone())),
        (Some(_), Some(_)) => Err(usage(anyhow!("give a model or --features, not both"))),
        (None, None) => Err(usage(anyhow!(
            "give a model, or embeddings with --features"
        ))),
    }
}

/// Says what a run will take.
fn print_plan(cli: &Cli, estimate: &Estimate) -> anyhow::Result<()> {
    if cli.output() == Output::Json {
        return print_exactly(&serde_json::to_string(estimate)?);
    }
    let mut text = format!(
        "{:<9} {:>9}  {:>9}  {:>9}\n",
        "", "images", "each", "in all"
    );
    for part in &estimate.parts {
        let (images, each) = match part.images {
            0 => (String::new(), String::new()),
            images => (
                images.to_string(),
                format!("{:.1} ms", part.secs_per_image * 1e3),
            ),
        };
        let in_all = duration(part.secs);
        let _ = writeln!(
            text,
            "{:<9} {images:>9}  {each:>9}  {in_all:>9}",
            part.phase
        );
    }
    let memory = estimate
        .memory
        .map_or("not told by this system".to_owned(), bytes);
    let _ = write!(
        text,
        "time      {}\nmemory    {memory} at most\ndisk      {}",
        duration(estimate.secs),
        bytes(estimate.disk)
    );
    if let Some(cache) = &estimate.cache {
        let _ = write!(text, "\nfacets    ");
        let _ = match (cache.used, cache.secs_without) {
            (true, without) => write!(
                text,
                "kept on disk while it learns: {}; without, {} forward passes in place of {}{}",
                bytes(cache.bytes),
                cache.without,
                cache.with,
                without.map_or(String::new(), |secs| format!(", {} in all", duration(secs)))
            ),
            (false, _) if cache.without < 2 * cache.with => write!(
                text,
                "not kept on disk: start and training see an image {:.1} times",
                cache.without as f64 / cache.with.max(1) as f64
            ),
            (false, _) => write!(
                text,
                "not kept on disk, where they would take {} and save {} of {} forward passes (--cache-budget)",
                bytes(cache.bytes),
                cache.without - cache.with,
                cache.without
            ),
        };
    }
    let _ = writeln!(
        text,
        "\nfrom a rehearsal of {} on this machine as it is now",
        duration(estimate.rehearsal_secs)
    );
    print(&text)
}

pub(super) fn bytes(count: u64) -> String {
    ByteSize(count).display().si().to_string()
}

/// A time in the two units that say most.
pub(super) fn duration(secs: f64) -> String {
    let whole = secs.round() as u64;
    match whole {
        0..10 => format!("{secs:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A finished run with its page.
pub(super) type DrawnRun = (ProbeOutcome, PathBuf);

/// What a run says, as its page says it.
fn verdict(outcome: &ProbeOutcome) -> anyhow::Result<String> {
    Ok(format!("\n{}\n", vitscope_figure::verdict(&outcome.run)?))
}

/// Draws the figures of a run.
pub(super) fn draw(outcome: ProbeOutcome) -> anyhow::Result<DrawnRun> {
    let page = vitscope_figure::draw(&outcome.run)?.page;
    Ok((outcome, page))
}

/// Prints what runs came to.
pub(super) fn print_runs(cli: &Cli, runs: &[DrawnRun]) -> anyhow::Result<()> {
    let runs = || runs.iter().map(|(outcome, page)| (outcome, page));
    match (cli.output(), runs().len()) {
        (Output::Human, 1) => {
            let texts = runs().map(|(o, page)| Ok(table(o, page) + &verdict(o)?));
            print(&texts.collect::<anyhow::Result<String>>()?)
        }
        (Output::Human, _) => {
            let titled = |(outcome, page): (&ProbeOutcome, &PathBuf)| {
                let run = outcome.run.display();
                Ok(format!(
                    "{run}\n{}{}",
                    table(outcome, page),
                    verdict(outcome)?
                ))
            };
            let texts: anyhow::Result<Vec<String>> = runs().map(titled).collect();
            print(&texts?.join("\n"))
        }
        (Output::Json, 1) => {
            let mut objects = runs().map(|(outcome, page)| run_json(outcome, page));
            print_exactly(&serde_json::to_string(&objects.next())?)
        }
        (Output::Json, _) => {
            let objects: Vec<_> = runs().map(|(o, page)| run_json(o, page)).collect();
            print_exactly(&serde_json::to_string(&json!({ "runs": objects }))?)
        }
    }
}

/// Says which parts were counted, and what to do with them.
fn print_shards(cli: &Cli, shards: &[(PathBuf, Shard, usize)]) -> anyhow::Result<()> {
    match cli.output() {
        Output::Human => {
            let line = |(run, shard, images): &(PathBuf, Shard, usize)| {
                format!(
                    "{}: counted shard {shard}, {images} images; when all {} are there: vitscope merge SHARD... --out RUN\n",
                    run.display(),
                    shard.of
                )
            };
            print(&shards.iter().map(line).collect::<String>())
        }
        Output::Json => {
            let object = |(run, shard, images): &(PathBuf, Shard, usize)| json!({ "run": run, "shard": shard, "images": images });
            let objects: Vec<_> = shards.iter().map(object).collect();
            print_exactly(&serde_json::to_string(&json!({ "shards": objects }))?)
        }
    }
}

fn run_json(outcome: &ProbeOutcome, page: &Path) -> serde_json::Value {
    json!({
        "run": outcome.run,
        "page": page,
        "ground_truth_nmi": outcome.truth_nmi,
        "place_alone": outcome.place_alone,
        "selection": outcome.selection,
        "slots": outcome.slots.iter().map(slot_json).collect::<Vec<_>>(),
    })
}

/// What a slot came to, for programs.
pub(super) fn slot_json(summary: &SlotSummary) -> serde_json::Value {
    let (excess, low, high) = summary
        .excess
        .map_or((None, None, None), |(value, low, high)| {
            (Some(value), Some(low), Some(high))
        });
    json!({
        "facet": summary.slot.facet,
        "layer": summary.slot.layer,
        "miou": summary.miou,
        "miou_low": summary.miou_interval.map(|interval| interval.0),
        "miou_high": summary.miou_interval.map(|interval| interval.1),
        "accuracy": summary.accuracy,
        "knn_miou": summary.readers[0],
        "linear_miou": summary.readers[1],
        "nmi": summary.nmi,
        "nmi_excess": excess,
        "nmi_excess_low": low,
        "nmi_excess_high": high,
        "loss": summary.loss,
        "clusters_used": summary.clusters_used,
        "collapsed": summary.collapsed,
    })
}

/// The slots that collapsed into so few clusters that their numbers say little, in one sentence.
fn collapsed(outcome: &ProbeOutcome) -> String {
    let fallen: Vec<_> = outcome.slots.iter().filter(|slot| slot.collapsed).collect();
    let Some(worst) = fallen.iter().min_by(|a, b| {
        let used = |slot: &SlotSummary| slot.clusters_used.unwrap_or(f64::INFINITY);
        used(a).total_cmp(&used(b))
    }) else {
        return String::new();
    };
    format!(
        "{} of {} slots collapsed (clusters used {:.1} of {} in {}): their numbers say little; see clusters_used, common_direction and channel_top3 in metrics.csv\n",
        fallen.len(),
        outcome.slots.len(),
        worst.clusters_used.unwrap_or(0.0),
        outcome.clusters,
        worst.slot
    )
}

/// What readers that are given labels found in the shown layers, where they were asked for.
fn readers(outcome: &ProbeOutcome) -> String {
    let mut text = String::new();
    for (facet, &layer) in &outcome.selection {
        let shown =
            |slot: &&SlotSummary| slot.slot.layer == layer && slot.slot.facet.name() == facet;
        let readers = outcome.slots.iter().find(shown).map(|slot| slot.readers);
        if let Some([Some(knn), Some(linear)]) = readers {
            if text.is_empty() {
                text += "given labels       kNN mIoU  linear mIoU\n";
            }
            let _ = writeln!(text, "{facet:<6} {layer:>5}  {knn:>13.4}  {linear:>11.4}");
        }
    }
    text
}

/// The shown layer of each facet, and where to look.
fn table(outcome: &ProbeOutcome, page: &Path) -> String {
    let number = |value: Option<f64>| value.map_or("undefined".to_owned(), |v| decimals(v, 4));
    let mut text = format!(
        "{:<6} {:>5}  {:>9}  {:>9}  {:>9}  beyond chance [95 % interval]\n",
        "facet", "layer", "mIoU", "accuracy", "NMI"
    );
    for (facet, &layer) in &outcome.selection {
        let shown = outcome
            .slots
            .iter()
            .find(|summary| summary.slot.layer == layer && summary.slot.facet.name() == facet);
        if let Some(summary) = shown {
            let excess = summary
                .excess
                .map_or("undefined".to_owned(), |(value, low, high)| {
                    let [value, low, high] = [value, low, high].map(|value| decimals(value, 4));
                    format!("{value} [{low}, {high}]")
                });
            let _ = writeln!(
                text,
                "{facet:<6} {layer:>5}  {:>9}  {:>9}  {:>9}  {excess}",
                number(summary.miou),
                number(summary.accuracy),
                number(summary.nmi),
            );
        }
    }
    text += &readers(outcome);
    let _ = writeln!(text, "ground truth NMI {}", number(outcome.truth_nmi));
    if outcome.place_alone.is_some() {
        let _ = writeln!(text, "place alone mIoU {}", number(outcome.place_alone));
    }
    text += &collapsed(outcome);
    for note in &outcome.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "page: {}", page.display());
    text
}
