//! The command line: arguments in, the study crate's answers out. No science here.

mod args;
mod commands;
mod exit;
mod progress;

use clap::Parser;

fn main() -> std::process::ExitCode {
    exit::report(commands::dispatch(args::Cli::parse()))
}
