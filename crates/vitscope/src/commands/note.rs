//! What is worth knowing beside a result.

use std::io::Write;

use crate::args::{Cli, Output};

/// Something worth knowing, on stderr.
pub fn note(cli: &Cli, text: &str) -> anyhow::Result<()> {
    if !cli.quiet && cli.output() == Output::Human {
        writeln!(std::io::stderr(), "note: {text}")?;
    }
    Ok(())
}
