//! The command line: arguments in, the study crate's answers out. No science here.

mod args;
mod commands;
mod exit;
mod progress;

use clap::{CommandFactory, FromArgMatches};

fn main() -> std::process::ExitCode {
    let mut command = args::Cli::command();
    let matches = match command.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) => return exit::mistyped(&error),
    };
    let typed = exit::Typed::new(&command, matches.subcommand_name().unwrap_or_default());
    match args::Cli::from_arg_matches(&matches) {
        Ok(cli) => exit::report(commands::dispatch(cli), &typed),
        Err(error) => exit::mistyped(&error),
    }
}
