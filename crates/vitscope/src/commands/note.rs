//! What is worth knowing beside a result.

use crate::args::{Cli, Output};
use crate::stderr::tell;

/// Something worth knowing, on stderr.
pub fn note(cli: &Cli, text: &str) -> anyhow::Result<()> {
    if !cli.quiet && cli.output() == Output::Human {
        tell(&format!("note: {text}"))?;
    }
    Ok(())
}
