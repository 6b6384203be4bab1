//! Text as people are shown it: a name may be a stranger's, and hold what steers a terminal or turns the order of letters.

use std::borrow::Cow;

/// Whether a letter is not shown by itself: controls, line ends among them, and what turns the direction of writing.
fn is_hidden(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn without(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_hidden(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// A name or a sentence in one line, in which what would not be shown by itself is, as `\u{1b}` or `\n`.
///
/// ```
/// assert_eq!(vitscope_run::plain::line("sky\u{1b}[31m\n"), "sky\\u{1b}[31m\\n");
/// assert_eq!(vitscope_run::plain::line("Straße"), "Straße");
/// ```
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    without(text, is_hidden)
}

/// [`line()`] of every line of a text, whose lines stay apart.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    without(text, |letter| letter != '\n' && is_hidden(letter))
}

/// JSON to be read by a page, whose texts then are shown as by [`lines`].
#[must_use]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => shown.push_str(&escaped(&mut rest)),
            // Behind a backslash of the text's own.
            _ if letter != '\n' && is_hidden(letter) => {
                shown.push('\\');
                shown.extend(letter.escape_default());
            }
            _ => shown.push(letter),
        }
    }
    shown
}

/// What stands behind a backslash in JSON, with it; a control of which only its number is written comes as text.
fn escaped(rest: &mut std::str::Chars<'_>) -> String {
    let Some(kind) = rest.next() else {
        return "\\".to_owned();
    };
    let control = match kind {
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'u' => {
            let digits: String = rest.as_str().chars().take(4).collect();
            let letter = u32::from_str_radix(&digits, 16)
                .ok()
                .and_then(char::from_u32);
            letter.filter(|&letter| is_hidden(letter)).inspect(|_| {
                rest.nth(3);
            })
        }
        _ => None,
    };
    match control {
        Some(letter) => format!("\\{}", letter.escape_default()),
        None => format!("\\{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\u{1b}[31m\u{7}\u{9b}\u{202e}b\u{2066}\u{2028}\u{7f}\r\n\tc";

    #[test]
    fn what_steers_a_terminal_is_shown() {
        let shown = "a\\u{1b}[31m\\u{7}\\u{9b}\\u{202e}b\\u{2066}\\u{2028}\\u{7f}\\r\\n\\tc";
        assert_eq!(line(EVIL), shown);
        assert_eq!(lines(EVIL), shown.replace("\\n", "\n"));
        // Names in any language, and letters that are joined of several, stay.
        for name in [
            "Straße",
            "שמיים",
            "السماء",
            "空",
            "👩\u{200d}🌾",
            "e\u{301}",
            "",
        ] {
            assert!(matches!(line(name), Cow::Borrowed(same) if same == name));
        }
    }

    #[test]
    fn json_stays_json_and_its_texts_are_shown() {
        for text in [EVIL, "back\\u001bslash \\\\ \" \u{8}\u{c}", "plain ß"] {
            let value = serde_json::json!({ text: [text, 1] });
            let shown: serde_json::Value = serde_json::from_str(&json(&value.to_string())).unwrap();
            let wanted: String = text
                .chars()
                .map(|letter| match letter {
                    '\n' | '\r' | '\t' => letter.to_string(),
                    _ => line(letter.encode_utf8(&mut [0; 4])).into_owned(),
                })
                .collect();
            assert_eq!(shown, serde_json::json!({ wanted.as_str(): [wanted, 1] }));
        }
    }
}
