//! Data sets that a TOML file describes.
//!
//! ```toml
//! # All keys but `test` are optional. Paths are relative to `root`, and `root` to this file.
//! root = "."
//!
//! # A split's images and masks: a directory, a file, a glob (`*`, `?`, `[a-z]`, `**`), or a list
//! # of these. One split alone serves both. Without any masks there is no ground truth.
//! train = { images = "photos/train", masks = "labels/train" }
//! test = { images = ["photos/day/*.jpg", "photos/night/*.jpg"], masks = "labels/*/*.png" }
//!
//! # A mask belongs to the image of the same stem, once these endings are taken off.
//! image_suffix = "_rgb"
//! mask_suffix = "_gt"
//!
//! # Ids (or colors) that count nowhere; 255 unless given, and no color.
//! ignore = [0, 255]
//! ignore_rgb = [[0, 0, 0]]
//! # Whether an id or color not named anywhere is an "error" (the default) or "ignored".
//! others = "error"
//!
//! # The classes in order. Each has the ids that its masks store, or the colors, not both.
//! [[classes]]
//! name = "road"
//! ids = [7, 8]
//! color = [128, 64, 128] # for figures; a fixed palette fills in what is not given
//!
//! [[classes]]
//! name = "sky"
//! ids = [23]
//! ```
//!
//! Instead of `ids`, a set with color-coded masks gives every class `rgb = [[128, 64, 128], ...]`.
//! A class with `rgb` and no `color` is drawn in the first of them. Unknown keys are errors.
//!
//! A file with `kind = "pascal-part-animals"` holds the settings of that kind instead; see
//! [`parts`](crate::parts).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::class_map::{IGNORE, MAX_CLASSES};
use crate::contents::{Class, Contents};
use crate::decode;
use crate::error::DataError;
use crate::findings::Findings;
use crate::glob_images;
use crate::kind::Kind;
use crate::kinds::pascal_part;
use crate::labels::{ColorTable, IdTable, LabelTable};
use crate::listing::{self, Item};
use crate::pairing;
use crate::palette::palette;
use crate::parts::PartSettings;
use crate::searched::Searched;

/// The file as typed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetDescription {
    root: Option<PathBuf>,
    train: Option<Files>,
    test: Option<Files>,
    #[serde(default)]
    image_suffix: String,
    #[serde(default)]
    mask_suffix: String,
    ignore: Option<Vec<u16>>,
    #[serde(default)]
    ignore_rgb: Vec<[u8; 3]>,
    #[serde(default)]
    others: Others,
    #[serde(default)]
    classes: Vec<ClassEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    images: Patterns,
    masks: Option<Patterns>,
}

/// One path or glob, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a path or glob, or a list of them")]
enum Patterns {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Others {
    #[default]
    Error,
    Ignored,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassEntry {
    name: String,
    #[serde(default)]
    ids: Vec<u16>,
    #[serde(default)]
    rgb: Vec<[u8; 3]>,
    color: Option<[u8; 3]>,
}

/// The key that tells the two forms of the file apart.
#[derive(Debug, Deserialize)]
struct KindKey {
    kind: Option<String>,
}

/// Reads a description and finds its files. Comes back with the kind and root of the set.
pub(crate) fn open(
    path: &Path,
    findings: &mut Findings,
) -> Result<(Kind, PathBuf, Contents), DataError> {
    let bytes = decode::read_up_to(path, decode::LONGEST_TEXT)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| DataError::read(path, io::Error::other("it is not UTF-8 text")))?;
    let wrong = |problem: String| DataError::Description {
        path: path.to_path_buf(),
        problem,
    };
    let description = match parse(path, &text)? {
        Parsed::Parts(settings) => {
            let root = root_of(path, settings.root.as_deref());
            let (root, contents) = pascal_part::open(&root, &settings, findings)?;
            return Ok((Kind::PascalPartAnimals, root, contents));
        }
        Parsed::Files(description) => description,
    };
    let root = root_of(path, description.root.as_deref());
    let mut items = |files: &Option<Files>| {
        files
            .as_ref()
            .map(|files| {
                let items = split(path, &root, &description, files, findings);
                findings.or_nothing(items)
            })
            .transpose()
    };
    let (train, test) = match (items(&description.train)?, items(&description.test)?) {
        (Some(train), Some(test)) => (train, test),
        (Some(items), None) | (None, Some(items)) => (items.clone(), items),
        (None, None) => {
            return Err(wrong(
                "it has neither 'train' nor 'test', expected at least one".to_owned(),
            ));
        }
    };
    let any_masks = train.iter().chain(&test).any(|item| item.mask.is_some());
    let table = if any_masks {
        table(path, &description)?
    } else {
        LabelTable::Absent
    };
    if any_masks && description.classes.is_empty() {
        return Err(wrong(
            "it has masks but no [[classes]], expected one entry per class".to_owned(),
        ));
    }
    let fixed = palette(description.classes.len());
    let classes = description.classes.into_iter().zip(fixed);
    let classes = classes.map(|(class, fallback)| Class {
        color: class
            .color
            .or(class.rgb.first().copied())
            .unwrap_or(fallback),
        name: class.name,
    });
    let classes = if any_masks {
        classes.collect()
    } else {
        Vec::new()
    };
    Ok((
        Kind::Described,
        root,
        Contents {
            classes,
            table,
            train,
            test,
        },
    ))
}

/// The two forms of the file.
enum Parsed {
    Files(Box<SetDescription>),
    Parts(Box<PartSettings>),
}

/// Reads the text of a description. No file that it names is looked at.
fn parse(path: &Path, text: &str) -> Result<Parsed, DataError> {
    let wrong = |problem: String| DataError::Description {
        path: path.to_path_buf(),
        problem,
    };
    let bad = |error: toml::de::Error| wrong(one_line(text, &error));
    let form: KindKey = toml::from_str(text).map_err(bad)?;
    match form.kind.as_deref() {
        None => Ok(Parsed::Files(toml::from_str(text).map_err(bad)?)),
        Some(kind) if kind == Kind::PascalPartAnimals.name() => {
            Ok(Parsed::Parts(toml::from_str(text).map_err(bad)?))
        }
        Some(kind) => Err(wrong(format!(
            "the kind '{kind}' has no settings, expected pascal-part-animals or no 'kind'"
        ))),
    }
}

/// Whether a text is a description whose classes make a table.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check_text(path: &Path, text: &str) -> Result<(), DataError> {
    match parse(path, text)? {
        Parsed::Files(description) => table(path, &description).map(|_| ()),
        Parsed::Parts(_) => Ok(()),
    }
}

/// The root of a set: as its description says, relative to the file, or where the file lies.
fn root_of(path: &Path, stated: Option<&Path>) -> PathBuf {
    let here = path.parent().unwrap_or(Path::new(""));
    let root = here.join(stated.unwrap_or(Path::new("")));
    if root.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        root
    }
}

/// The images of a split with their masks.
fn split(
    path: &Path,
    root: &Path,
    description: &SetDescription,
    files: &Files,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let images = expand(path, root, &files.images, findings)?;
    let Some(masks) = &files.masks else {
        let names = listing::names_below(&listing::common_directory(&images), &images);
        let items = images.into_iter().zip(names);
        let item = |(image, name)| Item {
            name,
            image,
            mask: None,
        };
        return Ok(items.map(item).collect());
    };
    let masks = expand(path, root, masks, findings)?;
    let ending = |key: String, suffix: &str| {
        let stripped = key.strip_suffix(suffix).map(str::to_owned);
        stripped.unwrap_or(key)
    };
    let below = listing::common_directory(&images);
    let names = listing::names_below(&below, &images);
    // Where stems alone would not tell files apart, their folders are part of their names.
    let nested = names
        .iter()
        .zip(&images)
        .any(|(name, image)| *name != listing::stem(image));
    let keys: Vec<String> = if nested {
        images
            .iter()
            .map(|image| listing::key_below(&below, image))
            .collect()
    } else {
        names.clone()
    };
    let keys: Vec<String> = keys
        .into_iter()
        .map(|key| ending(key, &description.image_suffix))
        .collect();
    let masks_below = listing::common_directory(&masks);
    let mask_key = |file: &Path| {
        let key = if nested {
            listing::key_below(&masks_below, file)
        } else {
            listing::stem(file)
        };
        ending(key, &description.mask_suffix)
    };
    let beside = masks
        .first()
        .and_then(|mask| mask.parent())
        .unwrap_or(root)
        .to_path_buf();
    let masks = listing::by_stem(masks, mask_key, findings)?;
    let paired = pairing::pair(&keys, masks, &beside, findings);
    let mut items = Vec::with_capacity(images.len());
    let (mut seen, mut named) = (BTreeSet::new(), BTreeSet::new());
    let images = images.into_iter().zip(names);
    let found = paired.masks.into_iter().zip(paired.expected);
    for (((image, name), (mask, expected)), key) in images.zip(found).zip(keys) {
        // Two images of one name are told of as that, where all names are compared.
        if named.insert(name.clone()) && mask.is_none() {
            findings.problem(if seen.contains(&key) {
                let problem = format!("{} and another image have the stem {key}", image.display());
                DataError::Description {
                    path: path.to_path_buf(),
                    problem,
                }
            } else {
                let image = image.clone();
                let expected = beside.join(format!("{expected}{}.png", description.mask_suffix));
                DataError::NoMask { image, expected }
            })?;
        }
        items.push(Item { name, image, mask });
        seen.insert(key);
    }
    findings.unclaimed(paired.unclaimed.into_iter(), &beside);
    Ok(items)
}

/// The files that paths and globs name: each pattern's in bytewise order, patterns as listed, no
/// file twice.
fn expand(
    path: &Path,
    root: &Path,
    patterns: &Patterns,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, DataError> {
    let patterns = match patterns {
        Patterns::One(pattern) => std::slice::from_ref(pattern),
        Patterns::Many(patterns) => patterns,
    };
    let wrong = |problem: String| DataError::Description {
        path: path.to_path_buf(),
        problem,
    };
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for pattern in patterns {
        let place = root.join(pattern);
        let found = if place.is_dir() {
            findings.searched.insert(Searched {
                folder: place.clone(),
                parts: Vec::new(),
            });
            listing::some_images_in(&place, findings)?
        } else if place.is_file() {
            vec![place]
        } else {
            findings.searched.insert(Searched::by(root, pattern));
            let named = glob_images::images_of(root, pattern).map_err(&wrong)?;
            listing::files_of(named, findings)?
        };
        if found.is_empty() {
            let root = root.display();
            return Err(wrong(format!(
                "'{pattern}' names no image below {root}, expected at least one"
            )));
        }
        files.extend(found.into_iter().filter(|file| seen.insert(file.clone())));
    }
    Ok(files)
}

/// The label table of the classes.
fn table(path: &Path, description: &SetDescription) -> Result<LabelTable, DataError> {
    let wrong = |problem: String| DataError::Description {
        path: path.to_path_buf(),
        problem,
    };
    let classes = &description.classes;
    if classes.len() > MAX_CLASSES {
        return Err(DataError::TooManyClasses {
            path: path.to_path_buf(),
            count: classes.len(),
        });
    }
    for (index, class) in classes.iter().enumerate() {
        let name = &class.name;
        if classes[..index].iter().any(|other| other.name == *name) {
            return Err(wrong(format!(
                "the class '{name}' is named twice, expected once: a class takes several ids or colors"
            )));
        }
        if class.ids.is_empty() == class.rgb.is_empty() {
            return Err(wrong(format!(
                "the class '{name}' needs either 'ids' or 'rgb', not both"
            )));
        }
    }
    let colored = classes.iter().filter(|class| !class.rgb.is_empty()).count();
    if colored != 0 && colored != classes.len() {
        return Err(wrong(
            "some classes have 'ids' and others 'rgb', expected one of them throughout".to_owned(),
        ));
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let others_ignored = description.others == Others::Ignored;
    if colored != 0 {
        let of_classes = classes.iter().zip(0u8..);
        let named =
            of_classes.flat_map(|(class, index)| class.rgb.iter().map(move |&c| (c, index)));
        let entries: Vec<_> = named
            .chain(description.ignore_rgb.iter().map(|&color| (color, IGNORE)))
            .collect();
        let mut seen = BTreeSet::new();
        if let Some((color, _)) = entries.iter().find(|(color, _)| !seen.insert(*color)) {
            return Err(wrong(format!(
                "the color {color:?} is named twice, expected once"
            )));
        }
        return Ok(LabelTable::Colors(ColorTable::new(
            name,
            entries,
            others_ignored,
        )));
    }
    if !description.ignore_rgb.is_empty() {
        return Err(wrong(
            "'ignore_rgb' needs classes with 'rgb', expected 'ignore' here".to_owned(),
        ));
    }
    let of_classes = classes.iter().zip(0u8..);
    let ids: Vec<(u16, u8)> = of_classes
        .flat_map(|(class, index)| class.ids.iter().map(move |&id| (id, index)))
        .collect();
    let ignored = match &description.ignore {
        Some(ignored) => ignored.clone(),
        // The usual ignored id, unless the file makes it a class.
        None => vec![u16::from(IGNORE)]
            .into_iter()
            .filter(|id| ids.iter().all(|(other, _)| other != id))
            .collect(),
    };
    let mut seen = BTreeSet::new();
    let mut all = ids.iter().map(|&(id, _)| id).chain(ignored.iter().copied());
    if let Some(id) = all.find(|&id| !seen.insert(id)) {
        return Err(wrong(format!("the id {id} is named twice, expected once")));
    }
    let table = IdTable::new(name, ids, ignored, others_ignored);
    let named = description.ignore.is_some();
    Ok(LabelTable::Ids(table.with_ignored_named(named)))
}

/// A TOML error as part of one sentence, with its line.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every example of the documentation is a description that can be used.
    #[test]
    fn documented_descriptions_are_read() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/datasets.md");
        let page = std::fs::read_to_string(page).unwrap();
        let examples: Vec<&str> = page
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .collect();
        assert!(examples.len() >= 7);
        for text in examples {
            if let Err(error) = check_text(Path::new("example.toml"), text) {
                panic!("{error}\n{text}");
            }
        }
    }
}
