//! COCO-Stuff with its 27 coarse classes, from the "stuffthingmaps" PNGs.
//!
//! The value of a pixel is the COCO-Stuff id less one, 0 to 181; 255 is unlabeled. The benchmark
//! evaluates a curated list of images where that list is present.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::classes;
use crate::dataset::Contents;
use crate::error::DataError;
use crate::labels::{IGNORE, IdTable, LabelTable};
use crate::listing::{self, Item};

/// Food and furniture occur among the things and among the stuff, so every name says which.
pub(super) const CLASSES: [(&str, [u8; 3]); 27] = [
    ("electronic-things", [0, 0, 0]),
    ("appliance-things", [128, 0, 0]),
    ("food-things", [0, 128, 0]),
    ("furniture-things", [128, 128, 0]),
    ("indoor-things", [0, 0, 128]),
    ("kitchen-things", [128, 0, 128]),
    ("accessory-things", [0, 128, 128]),
    ("animal-things", [128, 128, 128]),
    ("outdoor-things", [64, 0, 0]),
    ("person-things", [192, 0, 0]),
    ("sports-things", [64, 128, 0]),
    ("vehicle-things", [192, 128, 0]),
    ("ceiling-stuff", [64, 0, 128]),
    ("floor-stuff", [192, 0, 128]),
    ("food-stuff", [64, 128, 128]),
    ("furniture-stuff", [192, 128, 128]),
    ("rawmaterial-stuff", [0, 64, 0]),
    ("textile-stuff", [128, 64, 0]),
    ("wall-stuff", [0, 192, 0]),
    ("window-stuff", [128, 192, 0]),
    ("building-stuff", [0, 64, 128]),
    ("ground-stuff", [128, 64, 128]),
    ("plant-stuff", [0, 192, 128]),
    ("sky-stuff", [128, 192, 128]),
    ("solid-stuff", [64, 64, 0]),
    ("structural-stuff", [192, 64, 0]),
    ("water-stuff", [64, 192, 0]),
];

/// The coarse class of each pixel value.
#[rustfmt::skip]
pub(super) const FINE_TO_COARSE: [u8; 182] = [
    9, 11, 11, 11, 11, 11, 11, 11, 11, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6,
    6, 6, 6, 6, 6, 6, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 5, 5, 5, 5, 5, 5, 5, 5, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 4,
    4, 4, 4, 4, 4, 4, 4, 17, 17, 22, 20, 20, 22, 15, 25, 16, 13, 12, 12, 17, 17, 23, 15, 15,
    17, 15, 21, 15, 25, 13, 13, 13, 13, 13, 22, 26, 14, 14, 15, 22, 21, 21, 24, 20, 22, 15,
    17, 16, 15, 22, 24, 21, 17, 25, 16, 21, 17, 22, 16, 21, 21, 25, 21, 26, 21, 24, 20, 17,
    14, 21, 26, 15, 23, 20, 21, 24, 15, 24, 22, 25, 15, 20, 17, 17, 22, 14, 18, 18, 18, 18,
    18, 18, 18, 26, 26, 19, 19, 24,
];

/// The list that PiCIE, STEGO and PriMaPs evaluate on.
const CURATED: &str = "Coco164kFull_Stuff_Coarse_7.txt";

/// The directories of one split's images and masks, for the layouts in use.
fn places(root: &Path, split: &str) -> Option<(PathBuf, PathBuf)> {
    let join = |parts: [&str; 2]| {
        (
            root.join(parts[0]).join(split),
            root.join(parts[1]).join(split),
        )
    };
    // Nested as the benchmarks have it, then as the archives unpack.
    [
        join(["images", "annotations"]),
        join(["", "stuffthingmaps"]),
        join(["images", "stuffthingmaps"]),
    ]
    .into_iter()
    .find(|(images, masks)| images.is_dir() && masks.is_dir())
}

pub(super) fn fits(root: &Path) -> bool {
    places(root, "val2017")
        .or_else(|| places(root, "train2017"))
        .is_some()
}

pub(super) fn open(root: PathBuf) -> Result<(PathBuf, Contents), DataError> {
    let mut notes = Vec::new();
    let train = split(&root, "train2017", &mut notes)?;
    let test = split(&root, "val2017", &mut notes)?;
    let ids = (0u16..).zip(FINE_TO_COARSE);
    let table = IdTable::new("coco-stuff27", ids, [u16::from(IGNORE)], false);
    let (classes, table) = (classes(&CLASSES), LabelTable::Ids(table));
    Ok((
        root,
        Contents {
            classes,
            table,
            train,
            test,
            notes,
        },
    ))
}

fn split(root: &Path, name: &str, notes: &mut Vec<String>) -> Result<Vec<Item>, DataError> {
    let Some((images, masks)) = places(root, name) else {
        let expected = format!("the {name} images, with masks in annotations/{name}");
        return Err(DataError::Missing {
            path: root.join("images").join(name),
            expected,
        });
    };
    let files = listing::some_images_in(&images)?;
    let list = root.join("curated").join(name).join(CURATED);
    if !list.is_file() {
        notes.push(format!(
            "{} is missing, so all {} images of {name} are used instead of the benchmark's curated ones.",
            list.display(),
            files.len()
        ));
        return Ok(listing::paired(files, listing::images_in(&masks)?, &masks)?.0);
    }
    let mut images_of = listing::by_stem(files, listing::stem)?;
    let mut masks_of: BTreeMap<String, PathBuf> =
        listing::by_stem(listing::images_in(&masks)?, listing::stem)?;
    let mut items = Vec::new();
    for (line, stem) in listing::list_lines(&list)? {
        let Some(image) = images_of.remove(&stem) else {
            let problem = format!(
                "names {stem}, which is no image of {} or is named twice",
                images.display()
            );
            return Err(DataError::ListLine {
                path: list,
                line,
                problem,
            });
        };
        let Some(mask) = masks_of.remove(&stem) else {
            let expected = masks.join(format!("{stem}.png"));
            return Err(DataError::NoMask { image, expected });
        };
        items.push(Item {
            name: stem,
            image,
            mask: Some(mask),
        });
    }
    Ok(items)
}
