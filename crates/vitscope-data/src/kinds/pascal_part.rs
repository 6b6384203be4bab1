//! PASCAL-Part over VOC2010: `Annotations_Part/*.mat` with `JPEGImages/*.jpg`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::class_map::MAX_CLASSES;
use crate::contents::{Class, Contents};
use crate::decode;
use crate::error::DataError;
use crate::findings::Findings;
use crate::labels::LabelTable;
use crate::listing::{self, Item};
use crate::palette::palette;
use crate::parts::{PartSettings, PartTable, Shown};

/// Where VOC2010 may lie relative to the annotations.
const VOC: [&str; 4] = ["", "VOC2010", "VOCdevkit/VOC2010", "../VOCdevkit/VOC2010"];

/// The paper's counts of training and test images.
const PAPER: [usize; 2] = [1077, 1094];

pub(crate) fn open(
    root: &Path,
    settings: &PartSettings,
    findings: &mut Findings,
) -> Result<(PathBuf, Contents), DataError> {
    let annotations = root.join("Annotations_Part");
    listing::need_directory(&annotations, "the .mat annotations of PASCAL-Part")?;
    let places = || VOC.iter().map(|place| root.join(place));
    let Some(voc) = places().find(|place| place.join("JPEGImages").is_dir()) else {
        return Err(DataError::Missing {
            path: root.join("JPEGImages"),
            expected: "the photographs of VOC2010, which PASCAL-Part comes without".to_owned(),
        });
    };
    let images = voc.join("JPEGImages");
    let table = PartTable::new(settings.clone());
    let lists = voc.join("ImageSets").join("Main");
    let list = |own: &Option<PathBuf>, name: &str| match own {
        Some(own) => Some(root.join(own)),
        None => Some(lists.join(name)).filter(|list| list.is_file()),
    };
    let (train, test) = match (
        list(&settings.train, "train.txt"),
        list(&settings.test, "val.txt"),
    ) {
        (Some(train), Some(test)) => {
            let mut split = |list: &Path| {
                let items = listed(list, &annotations, &images, &table, findings);
                findings.or_nothing(items)
            };
            (split(&train)?, split(&test)?)
        }
        (None, None) => {
            findings.note(format!(
                "there is no {}/train.txt with val.txt, so every annotated image serves both splits.",
                lists.display()
            ));
            let stems = annotated(&annotations, findings)?;
            let items = chosen(stems, &annotations, &images, &table, findings)?;
            (items.clone(), items)
        }
        (train, _) => {
            let absent = if train.is_some() { "val" } else { "train" };
            let problem = format!("has no {absent}.txt, expected lists of both splits or none");
            return Err(DataError::layout(&lists, problem, "add the list"));
        }
    };
    let classes = classes(settings);
    if classes.len() > MAX_CLASSES {
        return Err(DataError::TooManyClasses {
            path: root.to_path_buf(),
            count: classes.len(),
        });
    }
    findings.note(format!(
        "{} training and {} test images show an animal with parts and pass the filters; the paper has {} and {}, and how it chose them is not known (the classes are an inference too).",
        train.len(), test.len(), PAPER[0], PAPER[1]
    ));
    Ok((
        root.to_path_buf(),
        Contents {
            classes,
            table: LabelTable::Parts(table),
            train,
            test,
        },
    ))
}

fn classes(settings: &PartSettings) -> Vec<Class> {
    let background = Class {
        name: "background".to_owned(),
        // Dark and colorless, so that the parts stand out and black stays free.
        color: [70, 70, 80],
    };
    let fixed = palette(settings.classes.len());
    let parts = settings.classes.iter().zip(fixed);
    let parts = parts.map(|(class, fallback)| Class {
        name: class.name.clone(),
        color: class.color.unwrap_or(fallback),
    });
    [background].into_iter().chain(parts).collect()
}

/// The stems of all annotations.
fn annotated(annotations: &Path, findings: &mut Findings) -> Result<Vec<String>, DataError> {
    let mut stems = Vec::new();
    for file in listing::files_in(annotations, findings)? {
        let is_mat = file.extension().is_some_and(|extension| extension == "mat");
        // Names of PASCAL images are ASCII; another name is no annotation of it.
        if let (true, Some(stem)) = (is_mat, file.file_stem().and_then(|stem| stem.to_str())) {
            stems.push(stem.to_owned());
        }
    }
    if stems.is_empty() {
        let problem = "holds no annotations, expected .mat files";
        let remedy = "unpack PASCAL-Part's trainval.tar.gz there";
        return Err(DataError::layout(annotations, problem, remedy));
    }
    Ok(stems)
}

/// The images that a list names and the filters keep.
fn listed(
    list: &Path,
    annotations: &Path,
    images: &Path,
    table: &PartTable,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let mut seen = BTreeSet::new();
    let mut stems = Vec::new();
    for (line, text) in listing::list_lines(list, "image")? {
        let stem = text.split_whitespace().next().unwrap_or_default();
        let problem = if stem.contains(['/', '\\']) {
            "names a path, expected the stem of an image"
        } else if !seen.insert(stem.to_owned()) {
            "names an image for the second time, expected each once"
        } else {
            stems.push(stem.to_owned());
            continue;
        };
        findings.problem(DataError::ListLine {
            path: list.to_path_buf(),
            line,
            problem: problem.to_owned(),
        })?;
    }
    chosen(stems, annotations, images, table, findings)
}

/// The images of some stems that the filters keep: every annotation is read, in parallel.
fn chosen(
    stems: Vec<String>,
    annotations: &Path,
    images: &Path,
    table: &PartTable,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let read: Vec<Result<Shown, DataError>> = stems
        .par_iter()
        .map(|stem| {
            let path = annotations.join(format!("{stem}.mat"));
            decode::guarded(&path, || {
                let bytes = decode::read_file(&path, "an annotation")?;
                let painted = table.paint(&path, &bytes)?;
                Ok(painted.map_or_else(Shown::default, |(_, shown)| shown))
            })
        })
        .collect();
    let mut items = Vec::new();
    for (name, shown) in stems.into_iter().zip(read) {
        let Some(shown) = findings.or_nothing(shown.map(Some))? else {
            continue;
        };
        if !table.wants(&shown) {
            continue;
        }
        let image = images.join(format!("{name}.jpg"));
        if !image.is_file() {
            let expected = format!("the photograph of {name}.mat");
            let path = image;
            findings.problem(DataError::Missing { path, expected })?;
            continue;
        }
        let mask = Some(annotations.join(format!("{name}.mat")));
        items.push(Item { name, image, mask });
    }
    Ok(items)
}
