//! CamVid as the SegNet tutorial ships it: `train/` with `trainannot/`, `test/` with `testannot/`,
//! perhaps `val/` with `valannot/`, and lists of path pairs.

use std::path::{Path, PathBuf};

use crate::contents::{Contents, classes};
use crate::error::DataError;
use crate::findings::Findings;
use crate::labels::{IdTable, LabelTable};
use crate::listing::{self, Item};

pub(super) const CLASSES: [(&str, [u8; 3]); 11] = [
    ("Sky", [128, 128, 128]),
    ("Building", [128, 0, 0]),
    ("Pole", [192, 192, 128]),
    ("Road", [128, 64, 128]),
    ("Pavement", [60, 40, 222]),
    ("Tree", [128, 128, 0]),
    ("SignSymbol", [192, 128, 128]),
    ("Fence", [64, 64, 128]),
    ("Car", [64, 0, 128]),
    ("Pedestrian", [64, 64, 0]),
    ("Bicyclist", [0, 128, 192]),
];

/// The id of pixels without a class.
const VOID: u16 = 11;

pub(super) fn open(root: &Path, findings: &mut Findings) -> Result<Contents, DataError> {
    let train = split(root, "train", findings);
    let train = findings.or_nothing(train)?;
    let exists =
        |name: &str| root.join(name).is_dir() || root.join(format!("{name}.txt")).is_file();
    let name = if !exists("test") && exists("val") {
        findings.note("there is no test split, so the val split is evaluated.");
        "val"
    } else {
        "test"
    };
    let test = split(root, name, findings);
    let test = findings.or_nothing(test)?;
    let table = IdTable::new("camvid", (0u16..11).zip(0u8..), [VOID], false);
    let table = LabelTable::Ids(table);
    Ok(Contents {
        classes: classes(&CLASSES),
        table,
        train,
        test,
    })
}

/// One split, from its list where there is one.
fn split(root: &Path, name: &str, findings: &mut Findings) -> Result<Vec<Item>, DataError> {
    let list = root.join(format!("{name}.txt"));
    if list.is_file() {
        let mut items = Vec::new();
        for (line, text) in listing::list_lines(&list, "image")? {
            let item = listed(root, &list, line, &text).map(Some);
            items.extend(findings.or_nothing(item)?);
        }
        return Ok(items);
    }
    let (images, masks) = (root.join(name), root.join(format!("{name}annot")));
    listing::need_directory(&images, &format!("the images of camvid's {name} split"))?;
    listing::need_directory(&masks, &format!("the masks of camvid's {name} split"))?;
    let files = listing::some_images_in(&images, findings)?;
    let mask_files = listing::images_in(&masks, findings)?;
    listing::paired(files, mask_files, &masks, findings)
}

/// A line of a list: an image, and its mask if the line has two columns.
fn listed(root: &Path, list: &Path, line: usize, text: &str) -> Result<Item, DataError> {
    let wrong = |problem: String| DataError::ListLine {
        path: list.to_path_buf(),
        line,
        problem,
    };
    let find = |text: &str| {
        find(root, Path::new(text))
            .ok_or_else(|| wrong(format!("names {text}, which is not in {}", root.display())))
    };
    let columns: Vec<&str> = text.split_whitespace().collect();
    let (image, mask) = match columns[..] {
        [image] => {
            let image = find(image)?;
            let expected = annotation_of(&image);
            let mask = expected.clone().filter(|mask| mask.is_file());
            let expected = expected.unwrap_or_else(|| root.to_path_buf());
            (
                image.clone(),
                mask.ok_or(DataError::NoMask { image, expected })?,
            )
        }
        [image, mask] => (find(image)?, find(mask)?),
        _ => {
            let count = columns.len();
            return Err(wrong(format!(
                "has {count} columns, expected an image and its mask"
            )));
        }
    };
    Ok(Item {
        name: listing::stem(&image),
        image,
        mask: Some(mask),
    })
}

/// A listed path: relative to the root, or, as SegNet's lists carry the paths of their maker's
/// machine, its last two parts under the root.
fn find(root: &Path, listed: &Path) -> Option<PathBuf> {
    let directory = listed
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default();
    let moved = root.join(directory).join(listed.file_name()?);
    // Joining an absolute path gives that path, which comes last: the set at hand is the one meant.
    let candidates = if listed.is_absolute() {
        [moved, listed.to_path_buf()]
    } else {
        [root.join(listed), moved]
    };
    candidates.into_iter().find(|path| path.is_file())
}

/// `split/x.png` to `splitannot/x.png`.
fn annotation_of(image: &Path) -> Option<PathBuf> {
    let directory = image.parent()?;
    let mut name = directory.file_name()?.to_owned();
    name.push("annot");
    Some(
        directory
            .with_file_name(name)
            .join(image.file_name()?)
            .with_extension("png"),
    )
}
