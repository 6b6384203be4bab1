//! Lines on standard error.

use std::io::Write;

/// One line on stderr; a closed stderr is no reason to stop.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
