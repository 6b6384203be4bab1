//! Lines on standard error.

use std::io::Write;

use vitscope_run::plain;

/// Where a line of what is said may end: before one that is set in, and before the next of several problems. A name that
/// holds a line's end begins no line of its own.
const BREAKS: [&str; 2] = ["\nvitscope: ", "\n "];

/// One line on stderr, in which whatever a stranger's name holds is shown; a closed stderr is no reason to stop.
pub fn say(line: &str) {
    let _ = tell(line);
}

/// [`say`], where a closed stderr is.
pub fn tell(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{}", shown(line, &BREAKS))
}

/// One line that a program reads, as it is.
pub fn say_exactly(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn shown(text: &str, breaks: &[&str]) -> String {
    match breaks {
        [] => plain::line(text).into_owned(),
        [first, rest @ ..] => {
            let parts: Vec<String> = text.split(first).map(|part| shown(part, rest)).collect();
            parts.join(first)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_our_own_begin_one() {
        let told = "vitscope: a\u{1b}\nnote: b\n  missing c\nvitscope: d\u{202e}";
        let wanted = "vitscope: a\\u{1b}\\nnote: b\n  missing c\nvitscope: d\\u{202e}";
        assert_eq!(shown(told, &BREAKS), wanted);
    }
}
