//! Images and masks in one directory, told apart by their names or formats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::decode::{self, PictureFormat};
use crate::error::DataError;
use crate::findings::Findings;
use crate::listing::{self, Item};

/// What the files of a directory turn out to be.
pub(super) enum SplitWord {
    /// Images all of them.
    Images(Vec<PathBuf>),
    /// Images with their masks.
    Pairs(Vec<Item>),
}

/// Words that end, or begin, the names of masks.
const WORDS: [&str; 14] = [
    "mask",
    "masks",
    "gt",
    "label",
    "labels",
    "labelids",
    "seg",
    "segmentation",
    "annotation",
    "annot",
    "anno",
    "groundtruth",
    "ground_truth",
    "matte",
];

/// Tells the masks from the images: a PNG whose name is an image's with a word for masks, or a PNG
/// beside a JPEG of the same stem. They are taken for masks only if every image then has one.
pub(super) fn split(
    directory: &Path,
    files: Vec<PathBuf>,
    findings: &mut Findings,
) -> Result<SplitWord, DataError> {
    let mut masks = BTreeMap::new();
    let mut images = Vec::new();
    let stems: BTreeMap<String, usize> = files.iter().fold(BTreeMap::new(), |mut stems, file| {
        *stems.entry(listing::stem(file)).or_insert(0) += 1;
        stems
    });
    let mut by_word = 0;
    for file in files {
        let stem = listing::stem(&file);
        let core = without_word(&stem).filter(|core| image_of(core, &stems).is_some());
        let key = match core.and_then(|core| image_of(core, &stems)) {
            Some(key) if is_png(&file) => {
                by_word += 1;
                Some(key)
            }
            // Two files of one stem, of which the PNG can alone be the mask.
            None if stems.get(&stem) == Some(&2) && is_png(&file) => Some(stem),
            _ => None,
        };
        match key {
            Some(key) if !masks.contains_key(&key) => {
                masks.insert(key, file);
            }
            _ => images.push(file),
        }
    }
    let has_mask = |file: &&PathBuf| masks.contains_key(&listing::stem(file));
    let with = images.iter().filter(has_mask).count();
    if masks.is_empty() || with == 0 {
        images.extend(masks.into_values());
        listing::sort(&mut images);
        return Ok(SplitWord::Images(images));
    }
    let example = masks.values().next().map(|mask| listing::stem(mask));
    let example = example.unwrap_or_default();
    if with < images.len() || with < masks.len() {
        let lacking = images.iter().find(|file| !has_mask(file)).map(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            format!(" ({name} has none)")
        });
        findings.note(format!(
            "{} files in {} look like masks by their names (such as {example}), but not every image has one{}, so that all are taken for images: if they are masks, add what is missing or describe the set in a TOML file with 'test = {{ images = [...], masks = [...] }}' (docs/datasets.md).",
            masks.len(),
            directory.display(),
            lacking.unwrap_or_default()
        ));
        images.extend(masks.into_values());
        listing::sort(&mut images);
        return Ok(SplitWord::Images(images));
    }
    let how = if by_word > 0 {
        format!("their names (such as {example})")
    } else {
        "being PNGs beside JPEGs of the same names".to_owned()
    };
    findings.note(format!(
        "{} files in {} are taken for the masks of the others, by {how}.",
        masks.len(),
        directory.display()
    ));
    let item = |image: PathBuf| {
        let name = listing::stem(&image);
        let mask = masks.get(&name).cloned();
        Item { name, image, mask }
    };
    Ok(SplitWord::Pairs(images.into_iter().map(item).collect()))
}

/// A mask's stem without the word for masks that ends or begins it.
fn without_word(stem: &str) -> Option<&str> {
    let lower = stem.to_ascii_lowercase();
    let separators: &[char] = &['_', '-', '.', ' '];
    let mut words = WORDS.iter();
    words.find_map(|word| {
        if let Some(core) = lower.strip_suffix(word)
            && core.ends_with(separators)
        {
            return stem.get(..core.len() - 1);
        }
        let core = lower.strip_prefix(word)?;
        core.starts_with(separators)
            .then(|| stem.get(word.len() + 1..))
            .flatten()
    })
}

/// The stem of the image of a mask: that of its core, or of its core with a word for images.
fn image_of(core: &str, stems: &BTreeMap<String, usize>) -> Option<String> {
    let candidates = ["", "_img", "_image", "_rgb", "-img", "-image"];
    let mut candidates = candidates.iter().map(|ending| format!("{core}{ending}"));
    candidates.find(|stem| stems.contains_key(stem))
}

/// Whether a file is a PNG that stores ids or colors without JPEG's changes.
fn is_png(path: &Path) -> bool {
    let bytes = decode::read_file(path, "an image").unwrap_or_default();
    decode::sniff(&bytes) == Some(PictureFormat::Png)
}
