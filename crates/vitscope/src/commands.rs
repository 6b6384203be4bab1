//! One file per command.

mod artifacts;
mod attention;
mod causes;
mod compare;
mod correspond;
mod data;
mod demo;
mod extract;
mod inspect;
mod locate;
mod merge;
mod models;
mod probe;
mod report;
mod sweep;
mod verify;
mod view;

use std::io::Write;

use clap::CommandFactory;

use vitscope_run::Facet;
use vitscope_vit::identify::{Family, Format, Settle};

use crate::args::{Cli, Command, ModelArgs, Output};
use crate::exit::{unsaid, usage};

/// Runs what was typed.
pub fn dispatch(cli: Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Demo(args) => demo::run(&cli, args),
        Command::Probe(args) => probe::run(&cli, args),
        Command::Extract(args) => extract::run(&cli, args),
        Command::Inspect(args) => inspect::run(&cli, args),
        Command::Data(command) => data::run(&cli, command),
        Command::Attention(args) => attention::run(&cli, args),
        Command::Causes(args) => causes::run(&cli, args),
        Command::Correspond(args) => correspond::run(&cli, args),
        Command::Artifacts { run } => artifacts::run(&cli, run),
        Command::Compare(args) => compare::run(&cli, args),
        Command::Models { name } => models::run(&cli, name.as_deref()),
        Command::Merge(args) => merge::run(&cli, args),
        Command::Sweep(args) => sweep::run(&cli, args),
        Command::Verify(args) => verify::run(&cli, args),
        Command::View(args) => view::run(&cli, args),
        Command::Completions { shell } => completions(*shell),
        Command::Report { runs, images, look } => report::run(&cli, runs, images, look),
    }
}

/// Prints the completions of a shell.
fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vitscope", &mut script);
    print(&String::from_utf8(script)?)
}

/// Prints a result.
fn print(text: &str) -> anyhow::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    say(&[text.as_bytes(), end.as_bytes()])
}

/// Writes bytes to standard output.
fn say(parts: &[&[u8]]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut parts = parts.iter();
    let said = parts.try_for_each(|part| out.write_all(part));
    said.and_then(|()| out.flush()).map_err(unsaid)
}

/// Uses so many threads for everything.
fn use_threads(threads: Option<usize>) -> anyhow::Result<()> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()?;
    }
    Ok(())
}

/// Something worth knowing, on stderr.
fn note(cli: &Cli, text: &str) -> anyhow::Result<()> {
    if !cli.quiet && cli.output() == Output::Human {
        writeln!(std::io::stderr(), "note: {text}")?;
    }
    Ok(())
}

/// How the checkpoint is laid out, if that was said.
fn layout(cli: &Cli, args: &ModelArgs) -> anyhow::Result<Option<Format>> {
    let old = cli.old_layout();
    if old.is_some() {
        note(cli, "--format of a checkpoint is now called --layout")?;
    }
    match args.layout.or(old) {
        Some(word) => match word.format() {
            Some(format) => Ok(Some(format)),
            None => Err(usage(anyhow::anyhow!(
                "--layout of a checkpoint is one of official, timm, transformers, open_clip"
            ))),
        },
        None => Ok(None),
    }
}

/// Facets, each once, in the order in which they are listed everywhere.
fn facets(typed: &[Facet]) -> Vec<Facet> {
    let mut list = typed.to_vec();
    list.sort_unstable();
    list.dedup();
    list
}

/// What the user settled about a checkpoint.
fn settle(args: &ModelArgs, format: Option<Format>) -> anyhow::Result<Settle> {
    let family = args.family.as_deref().map(str::parse::<Family>).transpose();
    let settle = Settle {
        family: family.map_err(|problem| usage(anyhow::anyhow!("--family: {problem}")))?,
        format,
        heads: args.heads.map(|heads| heads as usize),
        backbone: args.backbone.clone(),
        mean: channels("--mean", args.mean.as_ref())?,
        std: channels("--std", args.std.as_ref())?,
        name: args.name.clone(),
        numerics: args.numerics.unwrap_or_default(),
        precision: args.dtype.unwrap_or_default(),
        device: args.device.unwrap_or_default(),
    };
    settle.check().map_err(usage)?;
    Ok(settle)
}

/// One value per channel.
fn channels(flag: &str, values: Option<&Vec<f64>>) -> anyhow::Result<Option<[f64; 3]>> {
    let Some(values) = values else {
        return Ok(None);
    };
    let three: Option<[f64; 3]> = values.as_slice().try_into().ok();
    three
        .filter(|three| three.iter().all(|value| value.is_finite()))
        .map(Some)
        .ok_or_else(|| {
            usage(anyhow::anyhow!(
                "{flag} takes three numbers: red, green and blue"
            ))
        })
}
