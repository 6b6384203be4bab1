//! The form for anyone's own images: `images/{train,test}` with `masks/{train,test}`, or `images/`
//! with `masks/`, or a plain directory of images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::dataset::{Class, Contents};
use crate::decode;
use crate::error::DataError;
use crate::findings::Findings;
use crate::labels::{IGNORE, IdTable, LabelTable, MAX_CLASSES};
use crate::listing::{self, Item};
use crate::mask::{self, Values};
use crate::palette::palette;

/// Whether there is an `images/` directory, or an image.
pub(super) fn fits(root: &Path) -> Result<bool, DataError> {
    let findings = &mut Findings::collecting();
    Ok(root.join("images").is_dir() || !listing::images_in(root, findings)?.is_empty())
}

pub(super) fn open(root: &Path, findings: &mut Findings) -> Result<Contents, DataError> {
    let (images, masks) = (root.join("images"), root.join("masks"));
    let masks = masks.is_dir().then_some(masks);
    if !images.is_dir() {
        if masks.is_some() {
            let problem = "has masks/ but no images/, expected both";
            return Err(DataError::layout(
                root,
                problem,
                "put the images in images/",
            ));
        }
        let items = listing::without_masks(listing::some_images_in(root, findings)?);
        return Ok(unlabeled(items.clone(), items));
    }
    let (train, test) = (images.join("train"), images.join("test"));
    let (train, test) = match (train.is_dir(), test.is_dir()) {
        (true, true) => {
            let loose = listing::images_in(&images, findings)?.len();
            if loose > 0 {
                let place = images.display();
                findings.note(format!("{loose} images directly in {place} are left out, as train/ and test/ hold the set."));
            }
            let of = |split: &str| masks.as_ref().map(|masks| masks.join(split));
            let train = items(&train, of("train"), findings);
            let train = findings.or_nothing(train)?;
            let test = items(&test, of("test"), findings);
            (train, findings.or_nothing(test)?)
        }
        (false, false) => {
            let items = items(&images, masks.clone(), findings)?;
            (items.clone(), items)
        }
        (has_train, _) => {
            let (present, absent) = if has_train {
                ("train", "test")
            } else {
                ("test", "train")
            };
            let problem = format!("has {present}/ but no {absent}/, expected both or neither");
            let remedy = format!("add {absent}/, or move the images up to use them for both");
            return Err(DataError::layout(&images, problem, remedy));
        }
    };
    if train.iter().chain(&test).all(|item| item.mask.is_none()) {
        return Ok(unlabeled(train, test));
    }
    let names = root.join("classes.txt");
    let (names, ids) = if names.is_file() {
        named_ids(&names)?
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

/// The images of one directory with their masks, if the directory for those exists.
fn items(
    images: &Path,
    masks: Option<PathBuf>,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let files = listing::some_images_in(images, findings)?;
    let Some(masks) = masks else {
        return Ok(listing::without_masks(files));
    };
    if !masks.is_dir() {
        findings.note(format!(
            "{} does not exist, so those images have no masks.",
            masks.display()
        ));
        return Ok(listing::without_masks(files));
    }
    let mask_files = listing::images_in(&masks, findings)?;
    listing::paired(files, mask_files, &masks, findings)
}

/// The lines of `classes.txt`: line `n`, from 0, names id `n`.
fn named_ids(path: &Path) -> Result<(Vec<String>, Vec<u16>), DataError> {
    let lines = listing::list_lines(path)?;
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
    let ids = (0..lines.len() as u16).collect();
    Ok((lines.into_iter().map(|(_, name)| name).collect(), ids))
}

/// The ids that occur in the masks, 255 left out, in rising order.
fn occurring_ids(
    root: &Path,
    train: &[Item],
    test: &[Item],
    findings: &Findings,
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
    // In file order, so that of several bad masks the same one is always named. A survey looks at
    // every mask once more and tells of the bad ones then.
    for seen in found {
        match seen {
            Ok(seen) => ids.extend(seen),
            Err(error) if findings.is_strict() => return Err(error),
            Err(_) => {}
        }
    }
    ids.remove(&u16::from(IGNORE));
    if ids.len() > MAX_CLASSES {
        return Err(DataError::TooManyClasses {
            path: root.to_path_buf(),
            count: ids.len(),
        });
    }
    if ids.is_empty() && findings.is_strict() {
        let problem = "has masks that hold nothing but 255 (ignored), expected at least one class";
        return Err(DataError::layout(
            root,
            problem,
            "label some pixels, or remove masks/",
        ));
    }
    Ok(ids.into_iter().collect())
}

/// The ids in one mask.
fn ids_of(path: &Path) -> Result<BTreeSet<u16>, DataError> {
    let mask = mask::decode(path, &decode::read_file(path, "a mask")?)?;
    if let Values::Colors(_) = mask.values {
        return Err(DataError::MaskCoding {
            path: path.to_path_buf(),
            found: "an RGB picture".to_owned(),
            expected: "label ids (grey or palette)",
            remedy: "describe its colors in a .toml file with 'rgb', or convert it to ids",
        });
    }
    Ok(mask.ids())
}
