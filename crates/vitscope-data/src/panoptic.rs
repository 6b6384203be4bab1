//! COCO panoptic annotations as 27-class labels.
//!
//! A mask is an RGB PNG whose pixels are segment ids, `R + 256 G + 65536 B`, 0 for none; a JSON
//! file gives the category of each segment of each mask. Categories up to 182 are COCO's and
//! COCO-Stuff's own; 183 to 200 are the merged kinds of stuff.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::class_map::{ClassMap, IGNORE};
use crate::coco_classes::FINE_TO_COARSE;
use crate::decode;
use crate::error::DataError;
use crate::mask::{self, StoredValues};

/// The class of the merged categories 183 to 200, 255 where a number is not in use.
#[rustfmt::skip]
const MERGED: [u8; 18] = [
    IGNORE, // 183, not in use
    22,     // tree
    25,     // fence
    12,     // ceiling
    23,     // sky
    15,     // cabinet
    15,     // table
    13,     // floor
    21,     // pavement
    24,     // mountain
    22,     // grass
    21,     // dirt
    16,     // paper
    14,     // food
    20,     // building
    24,     // rock
    18,     // wall
    17,     // rug
];

/// The coarse class of a panoptic category.
fn class_of(category: u32) -> Option<u8> {
    let index = usize::try_from(category).ok()?.checked_sub(1)?;
    let merged = index.checked_sub(FINE_TO_COARSE.len());
    let class = match merged {
        None => FINE_TO_COARSE.get(index),
        Some(merged) => MERGED.get(merged),
    };
    class.copied().filter(|&class| class != IGNORE)
}

/// The segments of every mask.
#[derive(Debug, Default)]
pub(crate) struct PanopticTable {
    /// By mask.
    segments: BTreeMap<PathBuf, Segments>,
}

/// The part of the JSON file that is read.
#[derive(Deserialize)]
struct Document {
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Annotation {
    file_name: String,
    segments_info: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    id: u32,
    category_id: u32,
}

/// The segments of one mask: ids, rising, with their classes.
type Segments = Box<[(u32, u8)]>;

/// Annotations condensed one by one as they are read: the whole file takes several hundred MB.
struct Annotations(Vec<(String, Segments)>);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Condense;

        impl<'de> Visitor<'de> for Condense {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of annotations")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Annotations, A::Error> {
                let mut all = Vec::new();
                while let Some(annotation) = list.next_element::<Annotation>()? {
                    let name = annotation.file_name;
                    let mut segments = Vec::with_capacity(annotation.segments_info.len());
                    for Segment { id, category_id } in annotation.segments_info {
                        let class = class_of(category_id).ok_or_else(|| {
                            serde::de::Error::custom(format!(
                                "{name} has a segment of category {category_id}, expected one of COCO's 1 to 200"
                            ))
                        })?;
                        segments.push((id, class));
                    }
                    segments.sort_unstable();
                    // The same twice is the same.
                    segments.dedup();
                    if let Some(pair) = segments.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                        return Err(serde::de::Error::custom(format!(
                            "{name} has the segment {} twice, of two classes, expected one",
                            pair[0].0
                        )));
                    }
                    all.push((name, segments.into_boxed_slice()));
                }
                Ok(Annotations(all))
            }
        }

        deserializer.deserialize_seq(Condense)
    }
}

impl PanopticTable {
    /// Adds the annotations of a JSON file, whose masks lie in `masks`.
    pub fn add(&mut self, json: &Path, masks: &Path) -> Result<(), DataError> {
        let file = decode::open_file(json)?;
        self.add_from(json, BufReader::with_capacity(1 << 20, file), masks)
    }

    /// [`add`](Self::add) from any reader.
    pub fn add_from(
        &mut self,
        json: &Path,
        reader: impl std::io::Read,
        masks: &Path,
    ) -> Result<(), DataError> {
        let document: Document =
            serde_json::from_reader(reader).map_err(|error| DataError::Annotation {
                path: json.to_path_buf(),
                problem: format!("is no panoptic annotation ({error})"),
            })?;
        for (name, segments) in document.annotations.0 {
            let earlier = self.segments.entry(masks.join(&name));
            if *earlier.or_insert_with(|| segments.clone()) != segments {
                return Err(DataError::Annotation {
                    path: json.to_path_buf(),
                    problem: format!("has two entries for {name} that differ, expected one"),
                });
            }
        }
        Ok(())
    }

    /// The classes of a mask. Ids that its annotation does not list are unknown.
    pub fn read(&self, path: &Path, bytes: &[u8]) -> Result<ClassMap, DataError> {
        let segments = self
            .segments
            .get(path)
            .ok_or_else(|| DataError::Annotation {
                path: path.to_path_buf(),
                problem: "has no entry in its JSON file, expected its segments there".to_owned(),
            })?;
        let mask = mask::decode(path, bytes)?;
        let StoredValues::Colors(colors) = mask.values else {
            return Err(DataError::MaskCoding {
                path: path.to_path_buf(),
                found: "a PNG of grey or palette values".to_owned(),
                expected: "the 8-bit RGB of a panoptic mask",
                remedy: "use the masks of panoptic_annotations_trainval2017.zip as they are",
            });
        };
        let mut unknown = BTreeMap::new();
        let mut classes = Vec::with_capacity(colors.len());
        let mut last = (0, Some(IGNORE));
        for [red, green, blue] in colors {
            let id = u32::from_le_bytes([red, green, blue, 0]);
            if id != last.0 {
                let found = segments.binary_search_by_key(&id, |&(id, _)| id);
                let class = match found {
                    Ok(index) => Some(segments[index].1),
                    Err(_) if id == 0 => Some(IGNORE),
                    Err(_) => None,
                };
                last = (id, class);
            }
            if last.1.is_none() {
                *unknown.entry(id).or_insert(0) += 1;
            }
            classes.push(last.1.unwrap_or(IGNORE));
        }
        Ok(ClassMap {
            width: mask.width,
            height: mask.height,
            classes,
            unknown,
        })
    }
}
