//! COCO-Stuff with its 27 coarse classes, from the "stuffthingmaps" PNGs or, where those are
//! absent, from COCO's panoptic annotations.
//!
//! In the former the value of a pixel is the COCO-Stuff id less one, 0 to 181; 255 is unlabeled. The
//! latter hold the same things and 53 merged kinds of stuff, which fall into the same 27 classes,
//! but were drawn anew, so figures on them are not those of the benchmark.
//!
//! The benchmark uses curated lists of images. Where they are absent the rule that made them is
//! applied to the masks: both sides at least 360 pixels, and at least three quarters of the pixels
//! in the 15 classes of stuff.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::class_map::{ClassMap, IGNORE};
use crate::coco_classes::{CLASSES, FINE_TO_COARSE};
use crate::contents::{Contents, classes};
use crate::decode;
use crate::error::DataError;
use crate::findings::Findings;
use crate::labels::{IdTable, LabelTable};
use crate::listing::{self, Item};
use crate::panoptic::PanopticTable;

/// The list that PiCIE, STEGO and PriMaPs evaluate on.
const CURATED: &str = "Coco164kFull_Stuff_Coarse_7.txt";

/// How many images the published lists have, by split.
const PUBLISHED: [(&str, &str); 2] = [("train2017", "49,629"), ("val2017", "2,175")];

/// The first of the 15 classes of stuff.
const FIRST_STUFF: u8 = 12;

/// Curated images are at least this wide and high, in pixels.
const CURATED_SIDE: usize = 360;

/// The images and masks of one split.
struct SplitPlaces {
    images: PathBuf,
    masks: PathBuf,
    /// The JSON file, for panoptic masks.
    panoptic: Option<PathBuf>,
}

/// The places of one split's images and masks, for the layouts in use.
fn places(root: &Path, split: &str) -> Option<SplitPlaces> {
    let panoptic = format!("panoptic_{split}");
    // Nested as the benchmarks have it, then as the archives unpack; panoptic annotations last.
    let candidates = [
        ("images", root.join("annotations").join(split), false),
        ("", root.join("stuffthingmaps").join(split), false),
        ("images", root.join("stuffthingmaps").join(split), false),
        ("", root.join("annotations").join(&panoptic), true),
        ("images", root.join("annotations").join(&panoptic), true),
        ("", root.join(&panoptic), true),
        ("images", root.join(&panoptic), true),
    ];
    candidates.into_iter().find_map(|(above, masks, panoptic)| {
        let images = root.join(above).join(split);
        let json = masks.with_extension("json");
        let fits = images.is_dir() && masks.is_dir() && (!panoptic || json.is_file());
        fits.then_some(SplitPlaces {
            images,
            masks,
            panoptic: panoptic.then_some(json),
        })
    })
}

pub(super) fn fits(root: &Path) -> bool {
    places(root, "val2017")
        .or_else(|| places(root, "train2017"))
        .is_some()
}

pub(super) fn open(
    root: PathBuf,
    findings: &mut Findings,
) -> Result<(PathBuf, Contents), DataError> {
    let of = |split: &str| {
        places(&root, split).ok_or_else(|| DataError::Missing {
            path: root.join("images").join(split),
            expected: format!("the {split} images, with masks in annotations/{split}"),
        })
    };
    let mut found = Vec::new();
    for split in ["train2017", "val2017"] {
        found.extend(findings.or_nothing(of(split).map(Some))?);
    }
    let panoptic = found
        .iter()
        .filter(|place| place.panoptic.is_some())
        .count();
    if panoptic != 0 && panoptic != found.len() {
        let problem = "has panoptic masks for one split and stuffthingmaps for the other, expected one form for both";
        return Err(DataError::layout(&root, problem, "move one of them away"));
    }
    let table = if panoptic == 0 {
        let ids = (0u16..).zip(FINE_TO_COARSE);
        LabelTable::Ids(IdTable::new(
            "coco-stuff27",
            ids,
            [u16::from(IGNORE)],
            false,
        ))
    } else {
        findings.note("the labels come from COCO's panoptic annotations, so figures are not those of the COCO-Stuff benchmark.");
        let mut table = PanopticTable::default();
        for place in &found {
            if let Some(json) = &place.panoptic {
                let read = table.add(json, &place.masks);
                findings.or_nothing(read)?;
            }
        }
        LabelTable::Panoptic(table)
    };
    let mut splits = [Vec::new(), Vec::new()];
    for place in &found {
        let items = split(&root, place, &table, findings);
        let is_train = place.images.ends_with("train2017");
        splits[usize::from(!is_train)] = findings.or_nothing(items)?;
    }
    let [train, test] = splits;
    let classes = classes(&CLASSES);
    Ok((
        root,
        Contents {
            classes,
            table,
            train,
            test,
        },
    ))
}

fn split(
    root: &Path,
    place: &SplitPlaces,
    table: &LabelTable,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let SplitPlaces { images, masks, .. } = place;
    let name = images.file_name().unwrap_or_default();
    let files = listing::some_images_in(images, findings)?;
    let mask_files = listing::images_in(masks, findings)?;
    let list = root.join("curated").join(name).join(CURATED);
    if !list.is_file() {
        let items = listing::paired(files, mask_files, masks, findings)?;
        return by_rule(&list, items, table, findings);
    }
    let mut images_of = listing::by_stem(files, listing::stem, findings)?;
    let mut masks_of = listing::by_stem(mask_files, listing::stem, findings)?;
    let mut items = Vec::new();
    for (line, stem) in listing::list_lines(&list, "image")? {
        let Some(image) = images_of.remove(&stem) else {
            let problem = format!(
                "names {stem}, which is no image of {} or is named twice",
                images.display()
            );
            findings.problem(DataError::ListLine {
                path: list.clone(),
                line,
                problem,
            })?;
            continue;
        };
        let mask = masks_of.remove(&stem);
        if mask.is_none() {
            findings.problem(DataError::NoMask {
                image: image.clone(),
                expected: masks.join(format!("{stem}.png")),
            })?;
        }
        items.push(Item {
            name: stem,
            image,
            mask,
        });
    }
    Ok(items)
}

/// The images that the rule behind the curated lists keeps: every mask is read, in parallel.
fn by_rule(
    list: &Path,
    items: Vec<Item>,
    table: &LabelTable,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let all = items.len();
    let wanted: Vec<Result<bool, DataError>> = items
        .par_iter()
        .map(|item| match &item.mask {
            Some(mask) => decode::guarded(mask, || Ok(is_curated(&table.read(mask)?))),
            None => Ok(true),
        })
        .collect();
    let mut kept = Vec::new();
    for (item, wanted) in items.into_iter().zip(wanted) {
        // A survey keeps what cannot be read, and tells of it when it looks at the image.
        match wanted {
            Ok(true) => kept.push(item),
            Ok(false) => {}
            Err(error) if findings.is_strict() => return Err(error),
            Err(_) => kept.push(item),
        }
    }
    let split = list.parent().and_then(Path::file_name).unwrap_or_default();
    let published = PUBLISHED.iter().find(|(name, _)| *name == split);
    findings.note(format!(
        "{} is missing, so the rule that made it was applied: {} of {all} images of {} are kept (the published list has {}).",
        list.display(),
        kept.len(),
        split.display(),
        published.map_or("another number", |(_, count)| count),
    ));
    if kept.is_empty() {
        let problem = format!(
            "is missing, and none of the {all} images passes the rule that made it (both sides at least {CURATED_SIDE} pixels, three quarters stuff)"
        );
        let remedy = "add the list, with the stem of one image per line";
        return Err(DataError::layout(list, problem, remedy));
    }
    Ok(kept)
}

/// Whether the rule keeps an image with this mask.
fn is_curated(map: &ClassMap) -> bool {
    let is_stuff = |class: &&u8| (FIRST_STUFF..IGNORE).contains(class);
    let stuff = map.classes.iter().filter(is_stuff).count();
    map.width.min(map.height) >= CURATED_SIDE && 4 * stuff >= 3 * map.classes.len()
}
