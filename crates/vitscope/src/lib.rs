//! The command line: arguments in, the study crate's answers out. No science here.
//!
//! It is a library so that two programs can be it: the binary `vitscope`, and the command of the same name that
//! comes with the Python package.

mod args;
mod commands;
mod exit;
mod progress;
mod stderr;
mod stdout;

use std::ffi::OsString;
#[cfg(unix)]
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches};

/// Does what was typed, the program's name first, and gives the exit code (`exit.rs` lists them). What cannot be
/// typed is told by clap, which ends the process.
pub fn run(typed: impl IntoIterator<Item = OsString>) -> u8 {
    // A file that may not grow is then an error of the write, and not the end of the process.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let mut command = args::Cli::command();
    let matches = match command.try_get_matches_from_mut(typed) {
        Ok(matches) => matches,
        Err(error) => return exit::mistyped(&error),
    };
    let typed = exit::TypedCommand::new(&command, matches.subcommand_name().unwrap_or_default());
    match args::Cli::from_arg_matches(&matches) {
        Ok(cli) => exit::report(commands::dispatch(cli), &typed),
        Err(error) => exit::mistyped(&error),
    }
}
