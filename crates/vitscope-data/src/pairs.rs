//! SPair-71k: pairs of photographs of one category with matching key points.
//!
//! The set is laid out as its authors ship it: `Layout/{large,small}/{trn,val,test}.txt` list
//! pairs, `PairAnnotation/{trn,val,test}/*.json` describe them, `JPEGImages/CATEGORY/` holds the
//! photographs. File names of pairs contain a colon, which some systems cannot store; names in
//! which it became `_`, `-`, `%3A` or nothing are found as well.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;
use serde::Deserialize;

use crate::decode;
use crate::error::DataError;
use crate::findings::{Findings, Problems};
use crate::listing;
use crate::rgb_image::RgbImage;
use crate::stamps::Stamps;

/// The categories, in the order of the paper's tables.
pub const CATEGORIES: [&str; 18] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "train",
    "tvmonitor",
];

/// Which pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairSplit {
    /// `trn`: 53,340 pairs, 10,652 in the small layout.
    Train,
    /// `val`: 5,384 pairs, 1,070 in the small layout.
    Val,
    /// `test`: 12,234 pairs, 2,438 in the small layout.
    Test,
}

impl FromStr for PairSplit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "trn" | "train" => Ok(Self::Train),
            "val" => Ok(Self::Val),
            "test" => Ok(Self::Test),
            _ => Err(format!("`{text}` is not one of {}", Self::WORDS.join(", "))),
        }
    }
}

impl PairSplit {
    /// Every word, as it is typed.
    pub const WORDS: &[&'static str] = &["trn", "val", "test"];

    /// The name in the set's directories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "trn",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// Which list of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// All pairs.
    #[default]
    Large,
    /// A subset of about a fifth.
    Small,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "large" => Ok(Self::Large),
            "small" => Ok(Self::Small),
            _ => Err(format!("`{text}` is not one of {}", Self::WORDS.join(", "))),
        }
    }
}

impl Layout {
    /// Every word, as it is typed.
    pub const WORDS: &[&'static str] = &["large", "small"];

    /// The name in the set's directories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }

    /// How many pairs the published list has.
    #[must_use]
    pub fn published(self, split: PairSplit) -> usize {
        match (self, split) {
            (Self::Large, PairSplit::Train) => 53_340,
            (Self::Large, PairSplit::Val) => 5_384,
            (Self::Large, PairSplit::Test) => 12_234,
            (Self::Small, PairSplit::Train) => 10_652,
            (Self::Small, PairSplit::Val) => 1_070,
            (Self::Small, PairSplit::Test) => 2_438,
        }
    }
}

/// One photograph of a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct PairImage {
    /// The photograph.
    pub image: PathBuf,
    /// Its width and height in pixels, as the annotation gives them.
    pub size: (usize, usize),
    /// The object's box in pixels: `[x1, y1, x2, y2]`.
    pub bbox: [f64; 4],
    /// The key points in pixels, `[x, y]`.
    pub points: Vec<[f64; 2]>,
}

impl PairImage {
    /// The longer side of the object's box: what PCK measures distances by (docs/protocol.md section
    /// 10).
    #[must_use]
    pub fn box_side(&self) -> f64 {
        (self.bbox[2] - self.bbox[0]).max(self.bbox[3] - self.bbox[1])
    }

    /// Decodes the photograph.
    ///
    /// # Errors
    /// A photograph that cannot be read or decoded, or is of another size than annotated.
    pub fn open(&self) -> Result<RgbImage, DataError> {
        let image = RgbImage::open(&self.image)?;
        let found = (image.width(), image.height());
        if found == self.size {
            return Ok(image);
        }
        Err(DataError::PhotographSize {
            path: self.image.clone(),
            found,
            expected: self.size,
        })
    }

    /// How many key points lie outside the photograph.
    #[must_use]
    pub fn outside(&self) -> usize {
        let (width, height) = (self.size.0 as f64, self.size.1 as f64);
        let inside = |[x, y]: &[f64; 2]| (0.0..width).contains(x) && (0.0..height).contains(y);
        self.points.iter().filter(|point| !inside(point)).count()
    }
}

/// Two photographs of objects of one category, and the key points that both show.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The pair's name: its annotation file's stem.
    pub name: String,
    /// Index into [`CATEGORIES`].
    pub category: usize,
    /// Where the key points are given.
    pub source: PairImage,
    /// Where they are to be found.
    pub target: PairImage,
    /// Which key point of the category each is; as many as each image has points.
    pub point_ids: Vec<u32>,
}

impl Pair {
    /// The category's name.
    #[must_use]
    pub fn category_name(&self) -> &'static str {
        CATEGORIES.get(self.category).copied().unwrap_or_default()
    }
}

/// The pairs of one split.
#[derive(Debug)]
pub struct PairSet {
    /// The set's directory.
    pub root: PathBuf,
    /// Which split.
    pub split: PairSplit,
    /// Which list.
    pub layout: Layout,
    /// The pairs in the list's order.
    pub pairs: Vec<Pair>,
    notes: Vec<String>,
}

impl PairSet {
    /// What the photographs of the first `count` pairs are now.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn stamps(&self, count: usize) -> Result<Stamps, DataError> {
        let pairs = self.pairs.iter().take(count);
        let photos = pairs.flat_map(|pair| [&pair.source.image, &pair.target.image]);
        Stamps::of(&self.root, photos.cloned().collect())
    }
}

/// A pair's JSON file as it is stored.
#[derive(Deserialize)]
struct StoredPair {
    src_imname: String,
    trg_imname: String,
    src_imsize: Vec<usize>,
    trg_imsize: Vec<usize>,
    src_bndbox: [f64; 4],
    trg_bndbox: [f64; 4],
    category: String,
    src_kps: Vec<[f64; 2]>,
    trg_kps: Vec<[f64; 2]>,
    kps_ids: Vec<String>,
}

impl PairSet {
    /// Opens the pairs of a split: `root` is the set's directory, with or without `spair71k:`
    /// before it.
    ///
    /// # Errors
    /// A directory that is not laid out as SPair-71k, a pair without its annotation, a photograph
    /// that is missing, or an annotation that contradicts itself.
    pub fn open(root: &str, split: PairSplit, layout: Layout) -> Result<Self, DataError> {
        Self::find(root, split, layout, &mut Findings::strict())
    }

    /// As [`open`](Self::open), but goes on after each problem wherever that is possible.
    ///
    /// # Errors
    /// A directory that is not laid out as SPair-71k.
    pub fn survey(
        root: &str,
        split: PairSplit,
        layout: Layout,
    ) -> Result<(Self, Problems), DataError> {
        let mut findings = Findings::collecting();
        let set = Self::find(root, split, layout, &mut findings)?;
        Ok((set, findings.problems))
    }

    /// What a user should know about how the set was read, one sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn find(
        root: &str,
        split: PairSplit,
        layout: Layout,
        findings: &mut Findings,
    ) -> Result<Self, DataError> {
        let root = Path::new(root.strip_prefix("spair71k:").unwrap_or(root));
        // The archive unpacks into a directory of its own.
        let inner = root.join("SPair-71k");
        let root = if inner.join("PairAnnotation").is_dir() {
            inner
        } else {
            root.to_path_buf()
        };
        let annotations = root.join("PairAnnotation").join(split.name());
        listing::need_directory(
            &annotations,
            &format!("the {split} pairs of SPair-71k", split = split.name()),
        )?;
        let list = root
            .join("Layout")
            .join(layout.name())
            .join(format!("{}.txt", split.name()));
        let files = if list.is_file() {
            let mut files = Vec::new();
            for (line, stem) in listing::list_lines(&list, "pair")? {
                let file =
                    annotation_file(&annotations, &stem).ok_or_else(|| DataError::ListLine {
                        path: list.clone(),
                        line,
                        problem: format!(
                            "names {stem}, which has no file in {}",
                            annotations.display()
                        ),
                    });
                files.extend(findings.or_nothing(file.map(Some))?);
            }
            files
        } else if layout == Layout::Small {
            let expected = "the list of the small layout".to_owned();
            return Err(DataError::Missing {
                path: list,
                expected,
            });
        } else {
            findings.note(format!(
                "{} is missing, so every pair of {} is used.",
                list.display(),
                annotations.display()
            ));
            let mut files = listing::files_in(&annotations, findings)?;
            files.retain(|file| {
                file.extension()
                    .is_some_and(|extension| extension == "json")
            });
            files
        };
        let read: Vec<Result<Pair, DataError>> = files
            .par_iter()
            .map(|file| {
                let pair = Pair::parse(&root, file, &decode::read_file(file, "a JSON file")?)?;
                for PairImage { image, .. } in [&pair.source, &pair.target] {
                    if !image.is_file() {
                        return Err(DataError::Missing {
                            path: image.clone(),
                            expected: format!("a photograph of the pair {}", pair.name),
                        });
                    }
                }
                Ok(pair)
            })
            .collect();
        let mut pairs = Vec::with_capacity(read.len());
        for pair in read {
            pairs.extend(findings.or_nothing(pair.map(Some))?);
        }
        let mut set = Self {
            root,
            split,
            layout,
            pairs,
            notes: Vec::new(),
        };
        if let Some(published) = set.published()
            && set.pairs.len() != published
        {
            findings.note(format!(
                "{} pairs are used; SPair-71k's {} list of {} has {published}.",
                set.pairs.len(),
                layout.name(),
                split.name()
            ));
        }
        set.notes = std::mem::take(&mut findings.notes);
        Ok(set)
    }

    /// How many pairs the published list has; `None` for another set in SPair-71k's layout, which
    /// is known by its photographs: SPair-71k's are named as PASCAL VOC's, such as `2008_000585`.
    #[must_use]
    pub fn published(&self) -> Option<usize> {
        let is_voc = |image: &PairImage| {
            let stem = image.image.file_stem().unwrap_or_default();
            let parts = stem.to_string_lossy();
            let parts = parts.split_once('_');
            let is_number = |text: &str, digits| {
                text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
            };
            parts.is_some_and(|(year, number)| is_number(year, 4) && is_number(number, 6))
        };
        let mut images = self
            .pairs
            .iter()
            .flat_map(|pair| [&pair.source, &pair.target]);
        images
            .any(is_voc)
            .then(|| self.layout.published(self.split))
    }
}

/// The annotation file of a listed pair, also where its colon could not be stored.
fn annotation_file(directory: &Path, stem: &str) -> Option<PathBuf> {
    if stem.contains(['/', '\\']) {
        return None;
    }
    [":", "_", "-", "%3A", "\u{f03a}", ""]
        .iter()
        .map(|colon| directory.join(format!("{}.json", stem.replace(':', colon))))
        .find(|path| path.is_file())
}

impl Pair {
    /// Reads a pair's annotation. Whether its photographs exist is not looked at.
    ///
    /// # Errors
    /// [`DataError::Annotation`] if it is no pair, or contradicts itself.
    pub fn parse(root: &Path, path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let wrong = |problem: String| DataError::Annotation {
            path: path.to_path_buf(),
            problem,
        };
        let stored: StoredPair = serde_json::from_slice(bytes)
            .map_err(|error| wrong(format!("is no pair of SPair-71k ({error})")))?;
        let Some(category) = CATEGORIES
            .iter()
            .position(|&category| category == stored.category)
        else {
            let found = stored.category;
            return Err(wrong(format!(
                "has the category '{found}', expected one of SPair-71k's 18"
            )));
        };
        let counts = [
            stored.src_kps.len(),
            stored.trg_kps.len(),
            stored.kps_ids.len(),
        ];
        if counts[0] != counts[1] || counts[0] != counts[2] {
            return Err(wrong(format!(
                "has {} source points, {} target points and {} point ids, expected equal numbers",
                counts[0], counts[1], counts[2]
            )));
        }
        let ids: Result<Vec<u32>, _> = stored.kps_ids.iter().map(|id| id.parse()).collect();
        let point_ids = ids.map_err(|_| {
            wrong("has a point id that is no number, expected numbers as text".to_owned())
        })?;
        let image = |name: &str, size: &[usize], bbox: [f64; 4], points: Vec<[f64; 2]>| {
            if name.is_empty() || name.contains(['/', '\\']) {
                return Err(wrong(format!(
                    "names the photograph '{name}', expected a file name"
                )));
            }
            let (Some(&width), Some(&height)) = (size.first(), size.get(1)) else {
                return Err(wrong(format!(
                    "has no width and height for the photograph {name}"
                )));
            };
            let [x1, y1, x2, y2] = bbox;
            // Also false for what is no number. Pixels of VOC count from 1, so that its boxes may end one behind the last.
            let begins = x1 < x2 && y1 < y2 && x1 >= 0.0 && y1 >= 0.0;
            let fits = begins && x2 <= width as f64 + 1.0 && y2 <= height as f64 + 1.0;
            if !fits || width == 0 || height == 0 {
                return Err(wrong(format!(
                    "has the box {bbox:?} in the {width}x{height} photograph {name}, expected [x1, y1, x2, y2] within it"
                )));
            }
            Ok(PairImage {
                image: root
                    .join("JPEGImages")
                    .join(CATEGORIES[category])
                    .join(name),
                size: (width, height),
                bbox,
                points,
            })
        };
        Ok(Self {
            name: listing::stem(path),
            category,
            source: image(
                &stored.src_imname,
                &stored.src_imsize,
                stored.src_bndbox,
                stored.src_kps,
            )?,
            target: image(
                &stored.trg_imname,
                &stored.trg_imsize,
                stored.trg_bndbox,
                stored.trg_kps,
            )?,
            point_ids,
        })
    }
}
