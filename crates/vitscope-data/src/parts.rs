//! PASCAL-Part: masks painted from the original `.mat` annotations.
//!
//! An annotation lists the objects of a photograph, each with its class, its mask and the masks of
//! its parts. [`PartSettings`] say which animals count and which class each part belongs to. A mask
//! is painted object by object, part by part, in the order of the annotation, later ones over
//! earlier ones, as the set's own `mat2map.m` does; parts overlap mostly within one class, so the
//! order rarely shows.
//!
//! # The default is an inference
//!
//! The paper names the set, 6 classes, and 1,077 training and 1,094 test images, and nothing more;
//! no published code states these numbers. The default is the reading that fits the names best:
//! background, head, torso, leg, tail and wing, over images of the VOC2010 lists (train, val) that
//! show at least one bird, cat, cow, dog, horse or sheep with parts. The lists hold more such
//! images than the paper used, so a filter was applied that is not known; those of
//! [`PartSettings`] offer the likely ones. Pixels of an animal that no part covers (up to a quarter
//! of it) are ignored, as in Pascal-Part-58; pixels of other objects are background.
//!
//! # Settings
//!
//! A TOML file in place of the directory:
//!
//! ```toml
//! kind = "pascal-part-animals"
//! root = "."                    # relative to this file
//! animals = ["cow", "horse"]    # which objects count; all six unless given
//! unlabeled = "ignore"          # pixels of an animal without part: "ignore" or "background"
//! others = "background"         # pixels of other objects: "background" or "ignore"
//! animals_alone = false         # leave out images that also show other objects
//! min_animals = 1               # fewer animals (with parts) than this leave an image out
//! max_animals = 1               # and so do more than this
//! min_area = 0.1                # and a share of all animals in the image below this
//! train = "lists/train.txt"     # stems, one per line; VOC2010's lists unless given
//! test = "lists/val.txt"
//!
//! # The classes after the background. A part is named as in the annotations, where it matters
//! # with its animal. Parts that no class names are treated as pixels without part.
//! [[classes]]
//! name = "head"
//! parts = ["head", "leye", "reye", "bird.beak"]
//! color = [220, 80, 60]
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::class_map::{ClassMap, IGNORE};
use crate::error::DataError;
use crate::mat::{self, MatValue, NumericArray};
use crate::refused::check_pixels;

/// What counts in PASCAL-Part, and as which class.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartSettings {
    /// Always `pascal-part-animals`.
    kind: String,
    /// Where the set lies, relative to the file that says so.
    pub root: Option<PathBuf>,
    /// The objects that count.
    pub animals: Vec<String>,
    /// Pixels of an animal that no part covers.
    pub unlabeled: Left,
    /// Pixels of objects that do not count.
    pub others: Left,
    /// Whether images that also show objects that do not count are left out.
    pub animals_alone: bool,
    /// The fewest animals with parts in an image.
    pub min_animals: usize,
    /// The most.
    pub max_animals: usize,
    /// The smallest share of an image that its animals cover.
    pub min_area: f64,
    /// The list of training images; VOC2010's unless set.
    pub train: Option<PathBuf>,
    /// The list of test images; VOC2010's unless set.
    pub test: Option<PathBuf>,
    /// The classes after the background, which is class 0.
    pub classes: Vec<PartClass>,
}

/// What becomes of pixels that have no class of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Left {
    /// They count nowhere.
    Ignore,
    /// They are background.
    Background,
}

/// A class made of parts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartClass {
    /// Its name.
    pub name: String,
    /// Its parts, as `part` or `animal.part`.
    pub parts: Vec<String>,
    /// Its color in figures.
    pub color: Option<[u8; 3]>,
}

/// The classes of the default: name, color and parts.
type PartGroup = (&'static str, [u8; 3], &'static [&'static str]);

#[rustfmt::skip]
const GROUPS: [PartGroup; 5] = [
    ("head", [213, 94, 60], &["head", "leye", "reye", "lear", "rear", "nose", "muzzle", "beak", "lhorn", "rhorn"]),
    ("torso", [240, 190, 70], &["torso", "neck"]),
    ("leg", [0, 114, 178], &[
        "lleg", "rleg", "lfoot", "rfoot",
        "lfleg", "rfleg", "lbleg", "rbleg", "lfpa", "rfpa", "lbpa", "rbpa",
        "lfuleg", "lflleg", "rfuleg", "rflleg", "lbuleg", "lblleg", "rbuleg", "rblleg",
        "lfho", "rfho", "lbho", "rbho",
    ]),
    ("tail", [90, 160, 90], &["tail"]),
    ("wing", [190, 110, 170], &["lwing", "rwing"]),
];

/// The animals of the set.
const ANIMALS: [&str; 6] = ["bird", "cat", "cow", "dog", "horse", "sheep"];

impl Default for PartSettings {
    fn default() -> Self {
        let class = |&(name, color, parts): &PartGroup| PartClass {
            name: name.to_owned(),
            parts: parts.iter().map(|&part| part.to_owned()).collect(),
            color: Some(color),
        };
        Self {
            kind: String::new(),
            root: None,
            animals: ANIMALS.map(str::to_owned).to_vec(),
            unlabeled: Left::Ignore,
            others: Left::Background,
            animals_alone: false,
            min_animals: 1,
            max_animals: usize::MAX,
            min_area: 0.0,
            train: None,
            test: None,
            classes: GROUPS.iter().map(class).collect(),
        }
    }
}

/// Paints masks by settings.
#[derive(Debug)]
pub(crate) struct PartTable {
    settings: PartSettings,
}

/// What an annotation shows, for choosing images.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    /// Animals with parts.
    pub animals: usize,
    /// Other objects.
    pub others: usize,
    /// Share of the image that animals cover.
    pub area: f64,
}

impl PartTable {
    pub fn new(settings: PartSettings) -> Self {
        Self { settings }
    }

    /// Paints the mask of an annotation file.
    pub fn read(&self, path: &Path, bytes: &[u8]) -> Result<ClassMap, DataError> {
        let painted = self.paint(path, bytes)?;
        painted
            .map(|(map, _)| map)
            .ok_or_else(|| DataError::Annotation {
                path: path.to_path_buf(),
                problem: "lists no objects, expected an animal".to_owned(),
            })
    }

    /// Whether an annotation passes the filters.
    pub fn wants(&self, shown: &Shown) -> bool {
        let settings = &self.settings;
        shown.animals >= settings.min_animals.max(1)
            && shown.animals <= settings.max_animals
            && (shown.others == 0 || !settings.animals_alone)
            && shown.area >= settings.min_area
    }

    /// Paints the mask of an annotation file, and says what it shows; nothing where the file lists
    /// no objects, whose masks alone would tell its size.
    pub fn paint(&self, path: &Path, bytes: &[u8]) -> Result<Option<(ClassMap, Shown)>, DataError> {
        let wrong = |problem: String| DataError::Annotation {
            path: path.to_path_buf(),
            problem,
        };
        // The size is checked where the first mask gives it.
        let painted = mat::read(bytes, |variables| {
            let annotation = variables
                .iter()
                .find(|(name, _)| name == "anno")
                .ok_or("has no variable 'anno', expected a PASCAL-Part annotation")?;
            self.paint_annotation(path, &annotation.1)
        });
        painted.map_err(wrong)?
    }

    fn paint_annotation(
        &self,
        path: &Path,
        annotation: &MatValue<'_>,
    ) -> Result<Result<Option<(ClassMap, Shown)>, DataError>, String> {
        let MatValue::Structs(annotation) = annotation else {
            return Err("has an 'anno' that is no structure".to_owned());
        };
        let objects = match annotation.field(0, "objects") {
            Some(MatValue::Structs(objects)) => objects,
            Some(MatValue::Numbers(empty)) if empty.len() == 0 => return Ok(Ok(None)),
            _ => return Err("has no structure 'anno.objects'".to_owned()),
        };
        let mut map: Option<ClassMap> = None;
        let mut shown = Shown::default();
        let mut covered = Vec::new();
        for index in 0..objects.len() {
            let Some(MatValue::Text(class)) = objects.field(index, "class") else {
                return Err(format!("has object {} without a class", index + 1));
            };
            let mask = numbers(objects.field(index, "mask"))
                .ok_or_else(|| format!("has object {} ({class}) without a mask", index + 1))?;
            let (height, width) = mask.shape;
            if map.is_none() {
                if let Err(error) = check_pixels(path, width as u64, height as u64) {
                    return Ok(Err(error));
                }
                covered = vec![false; width * height];
            }
            let map = map.get_or_insert_with(|| ClassMap {
                width,
                height,
                classes: vec![0; width * height],
                unknown: std::collections::BTreeMap::new(),
            });
            let animal = self.settings.animals.iter().any(|animal| animal == class);
            let left = if animal {
                self.settings.unlabeled
            } else {
                self.settings.others
            };
            let ground = match left {
                Left::Ignore => IGNORE,
                Left::Background => 0,
            };
            fill(map, mask, ground)?;
            if !animal {
                shown.others += 1;
                continue;
            }
            for (value, column_major) in mask.nonzero().zip(0..) {
                if value {
                    covered[column_major] = true;
                }
            }
            let mut any = false;
            // Without parts there is an empty array of numbers in their place.
            if let Some(MatValue::Structs(parts)) = objects.field(index, "parts") {
                for part in 0..parts.len() {
                    let Some(MatValue::Text(name)) = parts.field(part, "part_name") else {
                        return Err(format!("has a {class} with part {} unnamed", part + 1));
                    };
                    let mask = numbers(parts.field(part, "mask"))
                        .ok_or_else(|| format!("has a {class} whose {name} has no mask"))?;
                    if let Some(class) = self.class(class, name) {
                        fill(map, mask, class)?;
                        any = true;
                    }
                }
            }
            shown.animals += usize::from(any);
        }
        let pixels = covered.iter().filter(|&&covered| covered).count();
        shown.area = pixels as f64 / covered.len().max(1) as f64;
        Ok(Ok(map.map(|map| (map, shown))))
    }

    /// The class of a part, if a class names it; one named with its animal wins.
    fn class(&self, animal: &str, part: &str) -> Option<u8> {
        let named = |wanted: &dyn Fn(&str) -> bool| {
            let classes = self.settings.classes.iter().zip(1u8..);
            classes
                .into_iter()
                .find(|(class, _)| class.parts.iter().any(|part| wanted(part)))
                .map(|(_, index)| index)
        };
        named(&|name| name.split_once('.') == Some((animal, part)))
            .or_else(|| named(&|name| name == part))
    }
}

fn numbers<'a>(value: Option<&'a MatValue<'a>>) -> Option<&'a NumericArray<'a>> {
    match value {
        Some(MatValue::Numbers(numbers)) => Some(numbers),
        _ => None,
    }
}

/// Sets the pixels of a mask, which is stored column by column.
fn fill(map: &mut ClassMap, mask: &NumericArray<'_>, class: u8) -> Result<(), String> {
    if mask.shape != (map.height, map.width) || mask.len() != map.classes.len() {
        return Err(format!(
            "has masks of {}x{} and {}x{}, expected one size",
            map.width, map.height, mask.shape.1, mask.shape.0
        ));
    }
    let (width, height) = (map.width, map.height);
    for (value, index) in mask.nonzero().zip(0..) {
        if value {
            let (column, row) = (index / height, index % height);
            map.classes[row * width + column] = class;
        }
    }
    Ok(())
}
