//! The form for anyone's own images: `images/{train,test}` with `masks/{train,test}`, or `images/`
//! with `masks/`, or a plain directory of images, and what people have in their place
//! ([`layout`](super::layout)).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::class_map::{IGNORE, MAX_CLASSES};
use crate::contents::{Class, Contents};
use crate::decode;
use crate::error::DataError;
use crate::findings::Findings;
use crate::labels::{IdTable, LabelTable};
use crate::listing::{self, Item};
use crate::mask::{self, StoredValues};
use crate::palette::palette;

use super::beside::{self, SplitWord};
use super::layout::{self, FilePlace, FolderLayout};

/// Whether there is a directory of images, or an image.
pub(super) fn fits(root: &Path) -> Result<bool, DataError> {
    layout::fits(root)
}

pub(super) fn open(root: &Path, findings: &mut Findings) -> Result<Contents, DataError> {
    let (train, test) = match layout::find(root, findings)? {
        FolderLayout::One(place) => {
            let items = items(&place, findings)?;
            (items.clone(), items)
        }
        FolderLayout::Two { train, test } => {
            let train = items(&train, findings);
            let train = findings.or_nothing(train)?;
            let test = items(&test, findings);
            (train, findings.or_nothing(test)?)
        }
    };
    if train.iter().chain(&test).all(|item| item.mask.is_none()) {
        return Ok(unlabeled(train, test));
    }
    let names = root.join("classes.txt");
    let (names, ids) = if names.is_file() {
        named_ids(&names, findings)?
    } else {
        let ids = occurring_ids(root, &train, &test, findings)?;
        (ids.iter().map(u16::to_string).collect(), ids)
    };
    let classes = names.into_iter().zip(palette(ids.len()));
    let classes = classes.map(|(name, color)| Class { name, color }).collect();
    let table = IdTable::new(
        "folder",
        ids.into_iter().zip(0u8..),
        [u16::from(IGNORE)],
        false,
    );
    Ok(Contents {
        classes,
        table: LabelTable::Ids(table),
        train,
        test,
    })
}

fn unlabeled(train: Vec<Item>, test: Vec<Item>) -> Contents {
    Contents {
        classes: Vec::new(),
        table: LabelTable::Absent,
        train,
        test,
    }
}

/// The images of one split with their masks, if the directory for those exists.
fn items(place: &FilePlace, findings: &mut Findings) -> Result<Vec<Item>, DataError> {
    let images = &place.images;
    let (mut files, nested) = pictures(images, findings)?;
    if files.is_empty() {
        files = listing::some_images_in(images, &mut Findings::collecting())?;
    }
    let masks = place.masks.as_ref();
    if !nested {
        on_one_level(images, files.len(), masks, findings)?;
    }
    if let Some(masks) = masks.filter(|masks| !masks.is_dir()) {
        findings.note(format!(
            "{} does not exist, so those images have no masks.",
            masks.display()
        ));
    }
    let Some(masks) = masks.filter(|masks| masks.is_dir()) else {
        if nested {
            let names = listing::names_below(images, &files);
            let named = files.into_iter().zip(names);
            let item = |(image, name)| Item {
                name,
                image,
                mask: None,
            };
            return Ok(named.map(item).collect());
        }
        return match beside::split(images, files, findings)? {
            SplitWord::Images(files) => Ok(listing::without_masks(files)),
            SplitWord::Pairs(items) => Ok(items),
        };
    };
    let (mask_files, nested_masks) = pictures(masks, findings)?;
    let direct = !nested_masks;
    if direct {
        on_one_level(masks, mask_files.len(), None, findings)?;
    }
    if direct && !nested {
        return listing::paired(files, mask_files, masks, findings);
    }
    if mask_files.is_empty()
        && let Some((ending, count)) = listing::other_ending(masks)?
    {
        findings.problem(DataError::layout(
            masks,
            format!("holds no pictures but {count} files of type {ending}, expected a PNG of label ids for each image"),
            "save each as PNG under its image's name (an array of ids: 'Image.fromarray(ids.astype(\"uint8\")).save(PNG)' with Pillow), or take the folder away to go without masks",
        ))?;
        return Ok(listing::without_masks(files));
    }
    // Where both lie in folders, the folders are part of what they are matched by.
    let flat = direct || !nested;
    let key = |root: &Path, file: &Path| {
        if flat {
            listing::stem(file)
        } else {
            listing::key_below(root, file)
        }
    };
    let names = listing::names_below(images, &files);
    let keys: Vec<String> = files.iter().map(|file| key(images, file)).collect();
    let of_masks = listing::by_stem(mask_files, |file| key(masks, file), findings)?;
    listing::with_masks(&names, &keys, files, of_masks, masks, findings)
}

/// The pictures in a directory, or those below it where there are none; and whether it is these.
fn pictures(directory: &Path, findings: &mut Findings) -> Result<(Vec<PathBuf>, bool), DataError> {
    // What is no file is told once: by the listing that is taken.
    let nested = listing::images_in(directory, &mut Findings::collecting())?.is_empty();
    let files = match nested {
        true => listing::images_below(directory, findings)?,
        false => listing::images_in(directory, findings)?,
    };
    Ok((files, nested))
}

/// Tells of pictures that lie below those that are taken of a directory. Where they are the more of the two, which of
/// them are meant is not guessed.
fn on_one_level(
    directory: &Path,
    taken: usize,
    others: Option<&PathBuf>,
    findings: &mut Findings,
) -> Result<(), DataError> {
    let all = listing::images_below(directory, &mut Findings::collecting())?;
    let level = directory.components().count() + 1;
    let is_below = |file: &&PathBuf| {
        file.components().count() > level && others.is_none_or(|others| !file.starts_with(others))
    };
    let below = all.iter().filter(is_below).count();
    if below == 0 {
        return Ok(());
    }
    if below <= taken || others.is_some_and(|others| others.starts_with(directory)) {
        findings.note(format!(
            "pictures in folders below {} are left alone ({below}), because there are some in it itself ({taken}).",
            directory.display()
        ));
        return Ok(());
    }
    findings.problem(DataError::layout(
        directory,
        format!("holds pictures itself ({taken}) and more of them in folders below it ({below}), expected all on one level"),
        "take those away that do not belong to the set, or describe it in a TOML file, where 'images/**/*' is all of a \
         folder (docs/datasets.md has examples)",
    ))
}

/// Ids and names of lines that all begin with a number of their own, as in `0: sky`.
fn numbered(lines: &[(usize, String)]) -> Option<(Vec<String>, Vec<u16>)> {
    let mut seen = BTreeSet::new();
    let mut one = |(_, line): &(usize, String)| {
        let digits = line.find(|c: char| !c.is_ascii_digit())?;
        let id: u16 = line[..digits].parse().ok().filter(|&id| seen.insert(id))?;
        let rest = &line[digits..];
        let name = rest.trim_start_matches([':', ',', ';', '=', '.', '\t', ' ']);
        (name.len() < rest.len() && !name.is_empty()).then(|| (name.to_owned(), id))
    };
    let found: Vec<_> = lines.iter().map(&mut one).collect::<Option<_>>()?;
    (found.len() > 1).then(|| found.into_iter().unzip())
}

/// The lines of `classes.txt`: line `n`, from 0, names id `n`, unless all of them give an id themselves.
fn named_ids(path: &Path, findings: &mut Findings) -> Result<(Vec<String>, Vec<u16>), DataError> {
    let lines = listing::list_lines(path, "class name")?;
    if let Some((line, _)) = lines
        .iter()
        .zip(1..)
        .map(|((line, _), n)| (*line, n))
        .find(|(l, n)| l != n)
    {
        return Err(DataError::ListLine {
            path: path.to_path_buf(),
            line: line - 1,
            problem: "is blank, expected a class name on every line because line n names id n-1"
                .to_owned(),
        });
    }
    if lines.len() > MAX_CLASSES {
        return Err(DataError::TooManyClasses {
            path: path.to_path_buf(),
            count: lines.len(),
        });
    }
    if let Some((names, ids)) = numbered(&lines) {
        // Where they count the lines from 0, they say what the lines say.
        if ids.iter().zip(0..).any(|(id, line)| *id != line) {
            findings.note(format!(
                "every line of {} begins with a number, which is taken for the id that it names (line 1: id {}, '{}'); take the numbers away if line n names id n-1.",
                path.display(),
                ids[0],
                names[0]
            ));
        }
        named_once(path, &names, findings)?;
        return Ok((names, ids));
    }
    let ids = (0..lines.len() as u16).collect();
    let names: Vec<String> = lines.into_iter().map(|(_, name)| name).collect();
    named_once(path, &names, findings)?;
    Ok((names, ids))
}

/// Refuses a name that two lines give: no table or figure would tell the two classes apart.
fn named_once(path: &Path, names: &[String], findings: &mut Findings) -> Result<(), DataError> {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, line) in names.iter().zip(1..) {
        let before = *first.entry(name).or_insert(line);
        if before != line {
            findings.problem(DataError::ListLine {
                path: path.to_path_buf(),
                line,
                problem: format!(
                    "names '{name}', as line {before} does, expected each class once (to make one class of two ids, \
                     describe the set in a TOML file with 'ids = [...]' for it)"
                ),
            })?;
        }
    }
    Ok(())
}

/// The ids that occur in the masks, 255 left out, in rising order.
fn occurring_ids(
    root: &Path,
    train: &[Item],
    test: &[Item],
    findings: &mut Findings,
) -> Result<Vec<u16>, DataError> {
    let masks: BTreeSet<&PathBuf> = train
        .iter()
        .chain(test)
        .filter_map(|item| item.mask.as_ref())
        .collect();
    let masks: Vec<&PathBuf> = masks.into_iter().collect();
    let found: Vec<Result<BTreeSet<u16>, DataError>> = masks
        .into_par_iter()
        .map(|path| decode::guarded(path, || ids_of(path)))
        .collect();
    let mut ids = BTreeSet::new();
    let mut unread = 0;
    // In file order, so that of several bad masks the same one is always named. A survey looks at
    // every mask once more and tells of the bad ones then.
    for seen in found {
        match seen {
            Ok(seen) => ids.extend(seen),
            Err(error) if findings.is_strict() => return Err(error),
            Err(_) => unread += 1,
        }
    }
    ids.remove(&u16::from(IGNORE));
    if ids.len() > MAX_CLASSES {
        // A survey goes on, as the masks may show why there are so many.
        findings.problem(DataError::TooManyClasses {
            path: root.to_path_buf(),
            count: ids.len(),
        })?;
        ids = ids.into_iter().take(MAX_CLASSES).collect();
    }
    // Masks that cannot be read may hold others.
    if ids.is_empty() && unread == 0 {
        let problem = "has masks that hold nothing but 255 (ignored), expected at least one class";
        findings.problem(DataError::layout(
            root,
            problem,
            "label some pixels, remove masks/, or if 255 is a class describe the set in a TOML file \
             with 'ignore = []' and 'ids = [255]' ('vitscope data check DATA --draft set.toml' writes it)",
        ))?;
    }
    Ok(ids.into_iter().collect())
}

/// The ids in one mask.
fn ids_of(path: &Path) -> Result<BTreeSet<u16>, DataError> {
    let mask = mask::decode(path, &decode::read_file(path, "a mask")?)?;
    if let StoredValues::Colors(colors) = &mask.values {
        return Err(mask::colored(path, colors));
    }
    Ok(mask.ids())
}
