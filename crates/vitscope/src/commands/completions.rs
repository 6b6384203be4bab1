//! `vitscope completions`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::stdout::print_exactly;

/// Prints the completions of a shell.
pub fn run(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vitscope", &mut script);
    print_exactly(&String::from_utf8(script)?)
}
