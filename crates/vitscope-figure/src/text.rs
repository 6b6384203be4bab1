//! The embedded font: how wide text is, and the copies that figures carry.
//!
//! Figures never look at the fonts of the machine, so their bytes are the same everywhere.

use std::sync::{Arc, LazyLock};

use resvg::usvg::fontdb;
use ttf_parser::Face;

use crate::encoding::base64;

static REGULAR: &[u8] = include_bytes!("../assets/Inter-Regular.subset.otf");
static SEMIBOLD: &[u8] = include_bytes!("../assets/Inter-SemiBold.subset.otf");
static REGULAR_WOFF2: &[u8] = include_bytes!("../assets/Inter-Regular.subset.woff2");
static SEMIBOLD_WOFF2: &[u8] = include_bytes!("../assets/Inter-SemiBold.subset.woff2");

/// The two weights that figures use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    SemiBold,
}

/// The only fonts that figures are rendered with.
pub(crate) static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(REGULAR.to_vec());
    fonts.load_font_data(SEMIBOLD.to_vec());
    Arc::new(fonts)
});

/// The style sheet that embeds both weights, for SVG files and the page.
pub(crate) static FONT_FACES: LazyLock<String> = LazyLock::new(|| {
    [(400, REGULAR_WOFF2), (600, SEMIBOLD_WOFF2)]
        .map(|(weight, bytes)| {
            let data = base64(bytes);
            format!("@font-face{{font-family:Inter;font-weight:{weight};src:url(data:font/woff2;base64,{data})format(\"woff2\")}}\n")
        })
        .concat()
});

/// Width of a line of text, in the unit of `size`.
pub(crate) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    static FACES: LazyLock<[Option<Face<'static>>; 2]> =
        LazyLock::new(|| [Face::parse(REGULAR, 0).ok(), Face::parse(SEMIBOLD, 0).ok()]);
    let Some(face) = &FACES[usize::from(weight == Weight::SemiBold)] else {
        return text.chars().count() as f64 * size * 0.6;
    };
    // A character that the subset lacks is drawn by the viewer's fallback font, about this wide.
    let missing = face.units_per_em() * 6 / 10;
    let advance = |letter| {
        face.glyph_index(letter)
            .and_then(|glyph| face.glyph_hor_advance(glyph))
    };
    let units: f64 = text
        .chars()
        .map(|letter| f64::from(advance(letter).unwrap_or(missing)))
        .sum();
    units * size / f64::from(face.units_per_em())
}

/// The text, shortened with an ellipsis so that it is at most `room` wide.
pub(crate) fn fit(text: &str, room: f64, size: f64, weight: Weight) -> String {
    // No letter is narrower than a hundredth of its height: what lies beyond is never looked at.
    let most = (100.0 * room.max(0.0) / size) as usize + 1;
    let letters: Vec<char> = text.chars().take(most + 1).collect();
    if letters.len() <= most && width(text, size, weight) <= room {
        return text.to_owned();
    }
    let cut = |count: usize| {
        let start: String = letters[..count].iter().collect();
        format!("{}…", start.trim_end())
    };
    let is_room = |count: usize| width(&cut(count), size, weight) <= room;
    // The widths only grow, so that the longest start that fits is found by halving.
    let (mut fits, mut fails) = (0, letters.len());
    if fails == 0 || !is_room(0) {
        return String::new();
    }
    while fails - fits > 1 {
        let middle = fits.midpoint(fails);
        match is_room(middle) {
            true => fits = middle,
            false => fails = middle,
        }
    }
    cut(fits)
}

/// The text broken into lines of at most `room`: between words, and in a word that is too long for a
/// line after its separators. What follows the line after `most` of them is left out.
fn wrap(text: &str, room: f64, size: f64, most: usize) -> Vec<String> {
    let is_room = |line: &str| width(line, size, Weight::Regular) <= room;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        if lines.len() > most {
            break;
        }
        let mut begins = true;
        let parts: Vec<&str> = if is_room(word) {
            vec![word]
        } else {
            word.split_inclusive(['_', '-', '.', '/']).collect()
        };
        for part in parts {
            if lines.len() > most {
                break;
            }
            let space = if begins { " " } else { "" };
            begins = false;
            match lines.last_mut() {
                Some(line) if is_room(&format!("{line}{space}{part}")) => {
                    line.push_str(space);
                    line.push_str(part);
                }
                _ => lines.push(part.to_owned()),
            }
        }
    }
    lines
}

/// [`wrap`] into at most so many lines; what does not fit ends in an ellipsis.
pub(crate) fn wrap_in(text: &str, room: f64, size: f64, most: usize) -> Vec<String> {
    let mut lines = wrap(text, room, size, most);
    if lines.len() > most {
        let rest = lines.split_off(most.saturating_sub(1)).join(" ");
        lines.push(fit(&rest, room, size, Weight::Regular));
    }
    lines
        .iter()
        .map(|line| fit(line, room, size, Weight::Regular))
        .collect()
}

/// Whether lines that [`wrap_in`] made show all of a text.
pub(crate) fn is_whole(lines: &[String], text: &str) -> bool {
    let letters = |letter: &char| !letter.is_whitespace();
    let shown = lines.iter().flat_map(|line| line.chars());
    shown.filter(letters).eq(text.chars().filter(letters))
}

/// Room for names of rows at the left: as much as the widest needs, up to `most`.
pub(crate) fn widest<'a>(names: impl Iterator<Item = &'a str>, size: f64, most: f64) -> f64 {
    let widths = names.map(|name| width(name, size, Weight::Regular));
    widths.fold(0.0, f64::max).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_letters_and_heavy_ones_take_more_room() {
        assert!(width("mmm", 14.0, Weight::Regular) > width("iii", 14.0, Weight::Regular));
        assert!(width("key", 14.0, Weight::SemiBold) > width("key", 14.0, Weight::Regular));
        assert_eq!(width("", 14.0, Weight::Regular), 0.0);
    }

    #[test]
    fn text_is_shortened_to_its_room() {
        let short = fit("a very long class name", 60.0, 14.0, Weight::Regular);
        assert!(
            short.ends_with('…') && width(&short, 14.0, Weight::Regular) <= 60.0,
            "{short}"
        );
        assert_eq!(fit("sky", 60.0, 14.0, Weight::Regular), "sky");
        assert_eq!(fit("sky", 1.0, 14.0, Weight::Regular), "");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 50.0, 12.0, 9), ["one two", "three"]);
        assert_eq!(wrap("indivisible", 5.0, 12.0, 9), ["indivisible"]);
        assert_eq!(wrap("vit_base_x", 45.0, 12.0, 9), ["vit_", "base_x"]);
        assert_eq!(wrap(&"word ".repeat(1_000_000), 50.0, 12.0, 3).len(), 4);
        assert_eq!(wrap_in("one two three", 30.0, 12.0, 2), ["one", "tw…"]);
    }
}
