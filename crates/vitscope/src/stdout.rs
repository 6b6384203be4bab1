//! Results on standard output.

use std::io::Write;

use vitscope_run::plain;

use crate::exit::unsaid;

/// Prints a result for people, in which whatever a stranger's name holds is shown, with a line's end behind it.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_exactly(&plain::lines(text))
}

/// Prints what a program reads, as it is, with a line's end behind it.
pub fn print_exactly(text: &str) -> anyhow::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let mut out = std::io::stdout().lock();
    let mut parts = [text, end].into_iter();
    let said = parts.try_for_each(|part| out.write_all(part.as_bytes()));
    said.and_then(|()| out.flush()).map_err(unsaid)
}
