//! One file per command.

mod artifacts;
mod attention;
mod causes;
mod compare;
mod completions;
mod correspond;
mod data;
mod demo;
mod extract;
mod inspect;
mod locate;
mod merge;
mod models;
mod note;
mod probe;
mod report;
mod settled;
mod sweep;
mod threads;
mod verify;
mod view;

use crate::args::{Cli, Command};

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
        Command::Completions { shell } => completions::run(*shell),
        Command::Report { runs, images, look } => report::run(&cli, runs, images, look),
    }
}
