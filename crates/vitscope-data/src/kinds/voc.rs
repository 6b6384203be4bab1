//! PASCAL VOC segmentation: `JPEGImages/`, `SegmentationClass/` (palette PNG) and the lists in
//! `ImageSets/Segmentation/`.

use std::path::{Path, PathBuf};

use crate::class_map::IGNORE;
use crate::contents::{Contents, classes};
use crate::error::DataError;
use crate::findings::Findings;
use crate::labels::{IdTable, LabelTable};
use crate::listing::{self, Item};

pub(super) const CLASSES: [(&str, [u8; 3]); 21] = [
    ("background", [0, 0, 0]),
    ("aeroplane", [128, 0, 0]),
    ("bicycle", [0, 128, 0]),
    ("bird", [128, 128, 0]),
    ("boat", [0, 0, 128]),
    ("bottle", [128, 0, 128]),
    ("bus", [0, 128, 128]),
    ("car", [128, 128, 128]),
    ("cat", [64, 0, 0]),
    ("chair", [192, 0, 0]),
    ("cow", [64, 128, 0]),
    ("diningtable", [192, 128, 0]),
    ("dog", [64, 0, 128]),
    ("horse", [192, 0, 128]),
    ("motorbike", [64, 128, 128]),
    ("person", [192, 128, 128]),
    ("pottedplant", [0, 64, 0]),
    ("sheep", [128, 64, 0]),
    ("sofa", [0, 192, 0]),
    ("train", [128, 192, 0]),
    ("tvmonitor", [0, 64, 128]),
];

/// Where the set may lie inside the directory that its archive unpacks to.
const INNER: [&str; 2] = ["VOC2012", "VOCdevkit/VOC2012"];

/// Files that name the classes of a set that is not VOC's own.
const OWN_NAMES: [&str; 3] = ["class_names.txt", "labelmap.txt", "classes.txt"];

fn is_root(path: &Path) -> bool {
    path.join("JPEGImages").is_dir() && path.join("SegmentationClass").is_dir()
}

pub(super) fn fits(root: &Path) -> bool {
    is_root(&listing::nested(root, &INNER, is_root))
}

pub(super) fn open(root: &Path, findings: &mut Findings) -> Result<(PathBuf, Contents), DataError> {
    let root = listing::nested(root, &INNER, is_root);
    let (images, masks) = (root.join("JPEGImages"), root.join("SegmentationClass"));
    listing::need_directory(&images, "the photographs of a voc data set")?;
    listing::need_directory(&masks, "the masks of a voc data set")?;
    let lists = root.join("ImageSets").join("Segmentation");
    let listed_splits = ["train.txt", "val.txt"].map(|name| lists.join(name));
    let (train, test) = if listed_splits.iter().any(|list| list.exists()) {
        let mut read = |name: &str| {
            let items = listed(&lists.join(name), &images, &masks, findings);
            findings.or_nothing(items)
        };
        (read("train.txt")?, read("val.txt")?)
    } else {
        // CVAT writes one list, default.txt.
        let lacks = match lists.is_dir() {
            true => "ImageSets/Segmentation has neither train.txt nor val.txt",
            false => "there is no ImageSets/Segmentation",
        };
        findings.note(format!(
            "{lacks}, so every image with a mask serves both splits."
        ));
        // Most VOC photographs have no segmentation: here the masks say which images count.
        let mut items = Vec::new();
        for mask in listing::some_images_in(&masks, findings)? {
            let item = with_image(&images, mask).map(Some);
            items.extend(findings.or_nothing(item)?);
        }
        (items.clone(), items)
    };
    // labelme, CVAT and their like export any classes in this layout.
    if let Some(file) = OWN_NAMES.iter().find(|file| root.join(file).is_file()) {
        findings.note(format!(
            "{file} lies in {}, and classes are named as PASCAL VOC's all the same: if they are others, describe the set in a TOML file (docs/datasets.md has examples).",
            root.display()
        ));
    }
    let table = IdTable::new("voc", (0u16..21).zip(0u8..), [u16::from(IGNORE)], false);
    let classes = classes(&CLASSES);
    Ok((
        root,
        Contents {
            classes,
            table: LabelTable::Ids(table),
            train,
            test,
        },
    ))
}

/// The pairs that a list of stems names.
fn listed(
    list: &Path,
    images: &Path,
    masks: &Path,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let mut items = Vec::new();
    for (_, stem) in listing::list_lines(list, "image")? {
        let expected = masks.join(format!("{stem}.png"));
        let item = with_image(images, expected.clone()).map(Some);
        let Some(mut item) = findings.or_nothing(item)? else {
            continue;
        };
        if !expected.is_file() {
            item.mask = None;
            findings.problem(DataError::NoMask {
                image: item.image.clone(),
                expected,
            })?;
        }
        items.push(item);
    }
    Ok(items)
}

/// The photograph of a mask.
fn with_image(images: &Path, mask: PathBuf) -> Result<Item, DataError> {
    let name = listing::stem(&mask);
    let file = Path::new(mask.file_stem().unwrap_or_default());
    let candidates =
        ["jpg", "jpeg", "png"].map(|extension| images.join(file).with_added_extension(extension));
    match candidates.iter().find(|path| path.is_file()) {
        Some(image) => Ok(Item {
            name,
            image: image.clone(),
            mask: Some(mask),
        }),
        None => {
            let [path, ..] = candidates;
            let expected = format!("the photograph of {}", mask.display());
            Err(DataError::Missing { path, expected })
        }
    }
}
