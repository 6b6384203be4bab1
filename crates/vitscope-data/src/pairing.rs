//! Which mask belongs to which image, by their names: the same stem, or one that differs only in the
//! case of letters, in the Unicode form of a letter, in zeros before a number, or by an ending or beginning
//! that all of them have. Anything but equal stems is taken only where nothing else is possible, and noted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use crate::findings::Findings;

/// How many ways to part a mask's name into its image's and the rest are tried.
const TRIED: usize = 256;

/// How many keys are looked for in others.
const FIRST: usize = 4;

/// What masks were found for images.
pub(crate) struct Paired {
    /// The mask of each image.
    pub masks: Vec<Option<PathBuf>>,
    /// Masks that no image claims, in the order of their keys.
    pub unclaimed: Vec<PathBuf>,
    /// The key of the mask that each image should have.
    pub expected: Vec<String>,
}

/// Finds the mask of each image; the keys of masks are unique, those of images may not be.
///
/// `place` is what notes call the set of masks.
pub(crate) fn pair(
    images: &[String],
    mut masks: BTreeMap<String, PathBuf>,
    place: &Path,
    findings: &mut Findings,
) -> Paired {
    let mut found: Vec<Option<PathBuf>> = images.iter().map(|key| masks.remove(key)).collect();
    if found.iter().any(Option::is_none) && !masks.is_empty() {
        by_fold(images, &mut masks, &mut found, place, findings);
    }
    let mut expected = images.to_vec();
    if found.iter().all(Option::is_none) && !masks.is_empty() {
        // All of them first, then as many as say how the others would be called: a set whose images do
        // not all have a mask is refused, and the refusal names what is missing.
        for whole in [true, false] {
            for simplify in [folded, unpadded] {
                let mut ending = ByEnding {
                    images,
                    masks: &mut masks,
                    place,
                    findings,
                    simplify,
                };
                if found.iter().all(Option::is_none) {
                    ending.pair(whole, &mut found, &mut expected);
                }
            }
        }
    }
    Paired {
        masks: found,
        unclaimed: masks.into_values().collect(),
        expected,
    }
}

/// A key without what a file system or a program may change in it.
fn folded(key: &str) -> String {
    if key.is_ascii() {
        return key.to_ascii_lowercase();
    }
    composed(key).to_lowercase().nfc().collect()
}

/// A folded key whose numbers have no zeros before them.
fn unpadded(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let key = folded(key);
    let mut characters = key.chars().peekable();
    let mut in_number = false;
    while let Some(c) = characters.next() {
        let digit_follows = characters.peek().is_some_and(char::is_ascii_digit);
        if c == '0' && !in_number && digit_follows {
            continue;
        }
        in_number = c.is_ascii_digit();
        out.push(c);
    }
    out
}

fn composed(key: &str) -> String {
    key.nfc().collect()
}

/// Matches keys that differ in the case of letters or in their Unicode form, each to the only one
/// that it can belong to.
fn by_fold(
    images: &[String],
    masks: &mut BTreeMap<String, PathBuf>,
    found: &mut [Option<PathBuf>],
    place: &Path,
    findings: &mut Findings,
) {
    let mut of_image: BTreeMap<String, usize> = BTreeMap::new();
    for key in images {
        *of_image.entry(folded(key)).or_default() += 1;
    }
    let mut of_mask: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in masks.keys() {
        of_mask.entry(folded(key)).or_default().push(key.clone());
    }
    let (mut by_case, mut by_form) = ((0, None), (0, None));
    for (key, mask) in images.iter().zip(found.iter_mut()) {
        let fold = folded(key);
        if mask.is_some() || of_image.get(&fold) != Some(&1) {
            continue;
        }
        let Some([only]) = of_mask.get(&fold).map(Vec::as_slice) else {
            continue;
        };
        *mask = masks.remove(only);
        let same_letters = composed(key) == composed(only);
        let (count, example) = if same_letters {
            &mut by_form
        } else {
            &mut by_case
        };
        *count += 1;
        example.get_or_insert_with(|| (key.clone(), only.clone()));
    }
    if let (count, Some((image, mask))) = by_case {
        findings.note(format!(
            "{count} masks in {} belong to images whose names differ in the case of letters alone, such as {mask} to {image}.",
            place.display()
        ));
    }
    if let (count, Some((image, _))) = by_form {
        findings.note(format!(
            "{count} masks in {} belong to images whose names differ in their Unicode form alone, such as {image} (composed in one, decomposed in the other, as a Mac writes it).",
            place.display()
        ));
    }
}

/// A way from images' keys to masks': what is taken off the one and put around the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Affixes {
    image: (String, String),
    mask: (String, String),
}

impl Affixes {
    /// The mask key of an image's.
    fn of(&self, image: &str) -> Option<String> {
        let core = image.strip_prefix(self.image.0.as_str())?;
        let core = core.strip_suffix(self.image.1.as_str())?;
        (!core.is_empty()).then(|| format!("{}{core}{}", self.mask.0, self.mask.1))
    }
}

/// Images and masks whose names differ by what all of them have around the rest.
struct ByEnding<'a> {
    images: &'a [String],
    masks: &'a mut BTreeMap<String, PathBuf>,
    place: &'a Path,
    findings: &'a mut Findings,
    /// What is compared of a key.
    simplify: fn(&str) -> String,
}

/// One way to match, and the masks that it gives.
struct Way {
    matched: Vec<Option<String>>,
    affixes: Affixes,
}

impl ByEnding<'_> {
    /// Matches keys by beginnings and endings that all images, and all their masks, have: only if every
    /// image then has a mask of its own (or, unless it is asked for the `whole`, most of them have), and
    /// in one way alone.
    fn pair(&mut self, whole: bool, found: &mut [Option<PathBuf>], expected: &mut [String]) {
        let images: Vec<String> = self.images.iter().map(|key| (self.simplify)(key)).collect();
        let ways = self.ways(&images, whole);
        match &ways[..] {
            [] => {}
            [way] => {
                self.note(way);
                for (at, key) in way.matched.iter().enumerate() {
                    match key {
                        Some(key) => found[at] = self.masks.remove(key),
                        None => expected[at] = way.affixes.of(&images[at]).unwrap_or_default(),
                    }
                }
            }
            [first, second, ..] if whole => self.findings.note(format!(
                "each image has several files in {} that may be its mask (by their names' {} or {}): say which in a TOML file, such as mask_suffix = \"{}\".",
                self.place.display(),
                first.affixes.words(),
                second.affixes.words(),
                first.affixes.mask.1
            )),
            _ => {}
        }
    }

    /// The ways in which all images, or the most, have a mask.
    fn ways(&self, images: &[String], whole: bool) -> Vec<Way> {
        let mut of_mask: BTreeMap<String, Option<String>> = BTreeMap::new();
        for key in self.masks.keys() {
            // Of two masks that are alike, neither is taken.
            let entry = of_mask.entry((self.simplify)(key));
            entry
                .and_modify(|mask| *mask = None)
                .or_insert_with(|| Some(key.clone()));
        }
        let mut ways: Vec<Way> = Vec::new();
        let mut most = if whole {
            images.len()
        } else {
            2.max(images.len().div_ceil(2))
        };
        for affixes in candidates(images, &of_mask) {
            if !affixes.keeps_numbers() {
                continue;
            }
            let matched: Vec<Option<String>> = images
                .iter()
                .map(|key| of_mask.get(&affixes.of(key)?)?.clone())
                .collect();
            let distinct: BTreeSet<&String> = matched.iter().flatten().collect();
            let count = matched.iter().flatten().count();
            let known = ways.iter().any(|way| way.matched == matched);
            if distinct.len() != count || count < most || known {
                continue;
            }
            if count > most {
                most = count;
                ways.clear();
            }
            ways.push(Way { matched, affixes });
        }
        ways
    }

    fn note(&mut self, way: &Way) {
        let pairs = self.images.iter().zip(&way.matched);
        let Some((image, mask)) = pairs
            .clone()
            .find_map(|(image, mask)| Some((image, mask.as_ref()?)))
        else {
            return;
        };
        let count = way.matched.iter().flatten().count();
        let padded = match (self.simplify)(mask) == folded(mask)
            && (self.simplify)(image) == folded(image)
        {
            true => "",
            false => ", zeros before their numbers aside",
        };
        let (place, words) = (self.place.display(), way.affixes.words());
        self.findings.note(if count == self.images.len() {
            format!(
                "the masks in {place} are matched to images by their names' {words}{padded}, such as {mask} to {image}."
            )
        } else {
            let lacking = pairs.filter(|(_, mask)| mask.is_none()).map(|(image, _)| image);
            format!(
                "{count} of {} images have a mask in {place} by their names' {words}{padded}, such as {mask} for {image}; the others, such as {}, have none.",
                self.images.len(),
                lacking.take(1).map(String::as_str).collect::<String>()
            )
        });
    }
}

impl Affixes {
    /// Whether no number is cut or grown: 1 and 2 are not the images of 11 and 12.
    fn keeps_numbers(&self) -> bool {
        let digit = |c: &char| c.is_numeric();
        let last = |text: &str| text.chars().rev().take_while(digit).collect::<String>();
        let first = |text: &str| text.chars().take_while(digit).collect::<String>();
        last(&self.image.0) == last(&self.mask.0) && first(&self.image.1) == first(&self.mask.1)
    }

    /// What it takes and gives, in words.
    fn words(&self) -> String {
        let mut words = Vec::new();
        for (what, image, mask) in [
            ("beginning", &self.image.0, &self.mask.0),
            ("ending", &self.image.1, &self.mask.1),
        ] {
            match (image.as_str(), mask.as_str()) {
                ("", "") => {}
                ("", mask) => words.push(format!("{what} '{mask}'")),
                (image, "") => words.push(format!("{what} '{image}' of images")),
                (image, mask) => {
                    words.push(format!("{what} '{mask}' in place of '{image}'"));
                }
            }
        }
        match words.is_empty() {
            true => "equality".to_owned(),
            false => words.join(" and "),
        }
    }
}

/// Ways that may lead from all images to their masks.
fn candidates(images: &[String], masks: &BTreeMap<String, Option<String>>) -> BTreeSet<Affixes> {
    let mut ways = BTreeSet::new();
    let nothing = || (String::new(), String::new());
    let around = |whole: &str, part: &str| {
        let found = whole.match_indices(part).map(|(at, _)| {
            let (before, after) = (&whole[..at], &whole[at + part.len()..]);
            (before.to_owned(), after.to_owned())
        });
        found.collect::<Vec<_>>()
    };
    // A mask's name is its image's with something around it, or the other way round. The first may be
    // the one that has no partner.
    let inside = |whole: &mut dyn Iterator<Item = &String>, part: &String| {
        let found = whole.flat_map(|key| around(key, part)).take(TRIED);
        found.collect::<Vec<_>>()
    };
    for first in images.iter().filter(|key| !key.is_empty()).take(FIRST) {
        let parts = inside(&mut masks.keys(), first);
        ways.extend(parts.into_iter().map(|mask| Affixes {
            image: nothing(),
            mask,
        }));
    }
    for mask in masks.keys().filter(|key| !key.is_empty()).take(FIRST) {
        let parts = inside(&mut images.iter().take(TRIED), mask);
        ways.extend(parts.into_iter().map(|image| Affixes {
            image,
            mask: nothing(),
        }));
    }
    // Both have something: what all images, and all masks, have in common, whole or up to a
    // separator.
    let of_images = common(images.iter());
    let of_masks = common(masks.keys());
    let few = images.len() < 2;
    for cut in [whole, to_separator] {
        if few {
            break;
        }
        let image = cut(&of_images);
        let mask = cut(&of_masks);
        ways.insert(Affixes { image, mask });
    }
    ways
}

/// The longest common beginning and ending of keys.
fn common<'a>(mut keys: impl Iterator<Item = &'a String>) -> (String, String) {
    let Some(first) = keys.next() else {
        return (String::new(), String::new());
    };
    let (mut start, mut end) = (first.clone(), first.clone());
    for key in keys {
        let same = start.chars().zip(key.chars()).take_while(|(a, b)| a == b);
        start = same.map(|(a, _)| a).collect();
        let same = end.chars().rev().zip(key.chars().rev());
        let same: Vec<char> = same.take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
        end = same.into_iter().rev().collect();
    }
    (start, end)
}

fn whole((start, end): &(String, String)) -> (String, String) {
    (start.clone(), end.clone())
}

/// A beginning up to its last separator, and an ending from its first.
fn to_separator((start, end): &(String, String)) -> (String, String) {
    let separates = |c: char| !c.is_alphanumeric();
    let start = start.rfind(separates).map_or("", |at| {
        let next = start[at..].chars().next().map_or(1, char::len_utf8);
        &start[..at + next]
    });
    let end = end.find(separates).map_or("", |at| &end[at..]);
    (start.to_owned(), end.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs names and gives the masks found, and the notes.
    fn try_pair(images: &[&str], masks: &[&str]) -> (Vec<Option<String>>, Vec<String>, usize) {
        let images: Vec<String> = images.iter().map(|&name| name.to_owned()).collect();
        let masks = masks
            .iter()
            .map(|&name| (name.to_owned(), PathBuf::from(name)));
        let mut findings = Findings::strict();
        let paired = pair(&images, masks.collect(), Path::new("masks"), &mut findings);
        let names = paired.masks.iter();
        let names = names.map(|mask| mask.as_ref().map(|mask| mask.display().to_string()));
        (names.collect(), findings.notes, paired.unclaimed.len())
    }

    fn assert_pairs(images: &[&str], masks: &[&str], expected: &[&str], note: &str) {
        let (found, notes, _) = try_pair(images, masks);
        let found: Vec<&str> = found
            .iter()
            .map(|mask| mask.as_deref().unwrap_or("-"))
            .collect();
        assert_eq!(found, expected, "{notes:?}");
        if note.is_empty() {
            assert!(notes.is_empty(), "{notes:?}");
        } else {
            assert!(notes.iter().any(|text| text.contains(note)), "{notes:?}");
        }
    }

    #[test]
    fn equal_stems_need_no_note() {
        assert_pairs(&["a", "b"], &["a", "b"], &["a", "b"], "");
        assert_pairs(&["a", "A"], &["A", "a"], &["a", "A"], "");
        assert_eq!(try_pair(&["a"], &["a", "b"]).2, 1);
    }

    #[test]
    fn case_and_unicode_form_are_seen_through() {
        assert_pairs(
            &["IMG_1", "x"],
            &["img_1", "x"],
            &["img_1", "x"],
            "case of letters",
        );
        let (composed, decomposed) = ("Stra\u{df}e_\u{e9}", "Stra\u{df}e_e\u{301}");
        assert_pairs(&[composed], &[decomposed], &[decomposed], "Unicode form");
        assert_pairs(&[decomposed], &[composed], &[composed], "Unicode form");
        // Two that could be meant: neither.
        assert_pairs(&["Ab", "aB"], &["ab"], &["-", "-"], "");
        assert_pairs(&["ab"], &["Ab", "aB"], &["-"], "");
    }

    #[test]
    fn endings_and_beginnings_are_found() {
        let note = "matched to images by";
        assert_pairs(
            &["0", "1"],
            &["0_mask", "1_mask"],
            &["0_mask", "1_mask"],
            "ending '_mask'",
        );
        assert_pairs(
            &["0", "10"],
            &["0_L", "10_L", "11_L"],
            &["0_L", "10_L"],
            note,
        );
        assert_pairs(
            &["a1", "a2"],
            &["gt-a1", "gt-a2"],
            &["gt-a1", "gt-a2"],
            "beginning 'gt-'",
        );
        assert_pairs(
            &["0_img", "1_img"],
            &["0_gt", "1_gt"],
            &["0_gt", "1_gt"],
            "'_gt' in place of '_img'",
        );
        assert_pairs(
            &["0_rgb", "1_rgb"],
            &["0", "1"],
            &["0", "1"],
            "ending '_rgb' of images",
        );
        assert_pairs(
            &["photo1", "photo2"],
            &["seg1", "seg2"],
            &["seg1", "seg2"],
            note,
        );
        assert_pairs(
            &["IMG_0", "IMG_1"],
            &["img_0_mask", "img_1_mask"],
            &["img_0_mask", "img_1_mask"],
            note,
        );
        assert_pairs(&["only"], &["only_seg"], &["only_seg"], note);
        assert_pairs(
            &["aachen/x_leftImg8bit", "bonn/y_leftImg8bit"],
            &["aachen/x_labelIds", "bonn/y_labelIds", "bonn/z_labelIds"],
            &["aachen/x_labelIds", "bonn/y_labelIds"],
            note,
        );
    }

    #[test]
    fn what_could_be_otherwise_is_not_guessed() {
        // An image without a mask, masks of other images, two masks each, one without a relation.
        assert_pairs(&["1", "2", "3"], &["2", "3", "4"], &["-", "2", "3"], "");
        assert_pairs(
            &["0", "1"],
            &["0_m", "1_m", "0_e", "1_e"],
            &["-", "-"],
            "several files",
        );
        assert_pairs(&["photo"], &["label"], &["-"], "");
        assert_pairs(&["1", "2"], &["11", "12"], &["-", "-"], "");
        assert_pairs(&["a", "a"], &["a_m"], &["-", "-"], "");
    }

    #[test]
    fn zeros_before_numbers_are_seen_through() {
        assert_pairs(
            &["1", "2", "10"],
            &["001_mask", "002_mask", "010_mask"],
            &["001_mask", "002_mask", "010_mask"],
            "ending '_mask', zeros before their numbers aside",
        );
        assert_pairs(
            &["img_0001", "img_0002"],
            &["img_1", "img_2"],
            &["img_1", "img_2"],
            "equality, zeros before",
        );
        assert_pairs(&["001", "2"], &["1_m", "01_m", "2_m"], &["-", "-"], "");
        for (key, simple) in [
            ("001_a00b010", "1_a0b10"),
            ("0", "0"),
            ("a", "a"),
            ("1000", "1000"),
        ] {
            assert_eq!(unpadded(key), simple);
        }
    }

    #[test]
    fn what_most_images_have_says_what_the_others_lack() {
        let keys = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        for (images, masks, expected) in [
            (["0", "1", "2"], ["0_m", "1_m"], "2_m"),
            (["0", "1", "2"], ["1_m", "2_m"], "0_m"),
            (["a1", "a2", "a3"], ["b2", "b3"], "b1"),
        ] {
            let mut findings = Findings::strict();
            let masks = masks.map(|mask| (mask.to_owned(), PathBuf::from(mask)));
            let paired = pair(
                &keys(&images),
                masks.into(),
                Path::new("masks"),
                &mut findings,
            );
            let lacking = paired.masks.iter().position(Option::is_none).unwrap();
            assert_eq!(paired.masks.iter().flatten().count(), 2);
            assert_eq!(paired.expected[lacking], expected);
            assert!(
                findings.notes[0].starts_with("2 of 3 images"),
                "{:?}",
                findings.notes
            );
        }
    }
}
