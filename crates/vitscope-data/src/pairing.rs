//! Which mask belongs to which image, by their names: the same stem, or one that differs only in the
//! case of letters, in the Unicode form of a letter, or by an ending or beginning that all of them
//! have. Anything but equal stems is taken only where nothing else is possible, and noted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use crate::findings::Findings;

/// How many ways to part a mask's name into its image's and the rest are tried.
const TRIED: usize = 256;

/// What masks were found for images.
pub(crate) struct Paired {
    /// The mask of each image.
    pub masks: Vec<Option<PathBuf>>,
    /// Masks that no image claims, in the order of their keys.
    pub unclaimed: Vec<PathBuf>,
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
    if found.iter().all(Option::is_none) && !masks.is_empty() {
        by_ending(images, &mut masks, &mut found, place, findings);
    }
    Paired {
        masks: found,
        unclaimed: masks.into_values().collect(),
    }
}

/// A key without what a file system or a program may change in it.
fn folded(key: &str) -> String {
    if key.is_ascii() {
        return key.to_ascii_lowercase();
    }
    composed(key).to_lowercase().nfc().collect()
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

/// Matches keys by beginnings and endings that all images, and all their masks, have: only if every
/// image then has a mask of its own, and in one way alone.
fn by_ending(
    images: &[String],
    masks: &mut BTreeMap<String, PathBuf>,
    found: &mut [Option<PathBuf>],
    place: &Path,
    findings: &mut Findings,
) {
    let mut of_mask: BTreeMap<String, Option<String>> = BTreeMap::new();
    for key in masks.keys() {
        // Of two masks that differ in case alone, neither is taken.
        let entry = of_mask.entry(folded(key));
        entry
            .and_modify(|mask| *mask = None)
            .or_insert_with(|| Some(key.clone()));
    }
    let images: Vec<String> = images.iter().map(|key| folded(key)).collect();
    let mut ways: Vec<(Vec<&String>, Affixes)> = Vec::new();
    for affixes in candidates(&images, &of_mask) {
        if !affixes.keeps_numbers() {
            continue;
        }
        let matched: Option<Vec<&String>> = images
            .iter()
            .map(|key| of_mask.get(&affixes.of(key)?)?.as_ref())
            .collect();
        let Some(matched) = matched else { continue };
        let distinct: BTreeSet<&String> = matched.iter().copied().collect();
        if distinct.len() == matched.len() && ways.iter().all(|(other, _)| *other != matched) {
            ways.push((matched, affixes));
        }
    }
    match &ways[..] {
        [] => {}
        [(matched, affixes)] => {
            let (image, mask) = (&images[0], matched[0].clone());
            findings.note(format!(
                "the masks in {} are matched to images by their names' {}, such as {mask} to {image}.",
                place.display(),
                affixes.words()
            ));
            let matched: Vec<String> = matched.iter().map(|&key| key.clone()).collect();
            for (mask, key) in found.iter_mut().zip(&matched) {
                *mask = masks.remove(key);
            }
        }
        [(_, first), (_, second), ..] => findings.note(format!(
            "each image has several files in {} that may be its mask (by their names' {} or {}): say which in a TOML file, such as mask_suffix = \"{}\".",
            place.display(),
            first.words(),
            second.words(),
            first.mask.1
        )),
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
        words.join(" and ")
    }
}

/// Ways that may lead from all images to their masks.
fn candidates(images: &[String], masks: &BTreeMap<String, Option<String>>) -> BTreeSet<Affixes> {
    let mut ways = BTreeSet::new();
    let (Some(first), Some(mask)) = (images.first(), masks.keys().next()) else {
        return ways;
    };
    let nothing = || (String::new(), String::new());
    let around = |whole: &str, part: &str| {
        let found = whole.match_indices(part).map(|(at, _)| {
            let (before, after) = (&whole[..at], &whole[at + part.len()..]);
            (before.to_owned(), after.to_owned())
        });
        found.collect::<Vec<_>>()
    };
    // A mask's name is its image's with something around it, or the other way round.
    for key in masks.keys() {
        if ways.len() > TRIED || first.is_empty() {
            break;
        }
        let parts = around(key, first);
        ways.extend(parts.into_iter().map(|mask| Affixes {
            image: nothing(),
            mask,
        }));
    }
    for key in images.iter().take(TRIED) {
        if mask.is_empty() {
            break;
        }
        let parts = around(key, mask);
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
        assert_pairs(&["0", "1", "2"], &["0_m", "1_m"], &["-", "-", "-"], "");
        assert_pairs(&["1", "2", "3"], &["2", "3", "4"], &["-", "2", "3"], "");
        assert_pairs(
            &["a1", "a2", "a3"],
            &["b2", "b3", "b4"],
            &["-", "-", "-"],
            "",
        );
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
}
