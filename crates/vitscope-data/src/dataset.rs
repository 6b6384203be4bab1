//! A data set: its classes, its images, and one image or label map at a time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::class_map::{ClassMap, LabelCrop, MAX_CLASSES};
use crate::contents::{Class, Contents};
use crate::decode;
use crate::description;
use crate::doubt::Doubt;
use crate::error::DataError;
use crate::findings::Findings;
use crate::geometry::Geometry;
use crate::kind::Kind;
use crate::kinds;
use crate::labels::LabelTable;
use crate::listing::Item;
use crate::resize::resize_window;
use crate::rgb_image::RgbImage;
use crate::searched::Searched;
use crate::split::Split;

/// The images of a data set with their classes and splits.
///
/// Training images fit the probes; test images are evaluated, each once, in the order of `test`.
#[derive(Debug)]
pub struct DataSet {
    /// What kind of data set this is.
    pub kind: Kind,
    /// The directory that its paths are relative to.
    pub root: PathBuf,
    /// The classes in the order of their indices; empty without ground truth.
    pub classes: Vec<Class>,
    /// The training images, in file order.
    pub train: Vec<Item>,
    /// The test images, in file order.
    pub test: Vec<Item>,
    pub(crate) table: Arc<LabelTable>,
    /// The DATA argument that it was opened by.
    pub(crate) spec: String,
    pub(crate) notes: Vec<String>,
    /// Where its description has images and masks looked for.
    pub(crate) searched: BTreeSet<Searched>,
    /// What [`doubts`](Self::doubts) found, as several parts of a run ask for it.
    pub(crate) doubted: OnceLock<Vec<Doubt>>,
}

/// The pixels of one square crop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbCrop {
    /// Side in pixels.
    pub size: usize,
    /// `[size, size, 3]` row-major, RGB, 0 to 255.
    pub pixels: Vec<u8>,
}

impl DataSet {
    /// Opens a data set: `kind:root`, a directory whose kind is recognized, or a `.toml` file that
    /// describes one (see [`description`]).
    ///
    /// Reads listings, lists and tables. It does not decode images; of a `folder` without
    /// `classes.txt` it decodes the masks, in parallel, to learn which ids occur.
    ///
    /// # Errors
    /// An argument that names no data set, a directory that is not laid out as its kind says, an
    /// image without its mask, or two files with one stem.
    pub fn open(spec: &str) -> Result<Self, DataError> {
        let mut findings = Findings::strict();
        let mut set = Self::find(spec, &mut findings)?;
        set.notes = findings.notes;
        set.searched = findings.searched;
        Ok(set)
    }

    /// Opens a data set; what is wrong with it goes to `findings`.
    pub(crate) fn find(spec: &str, findings: &mut Findings) -> Result<Self, DataError> {
        let (kind, root) = kinds::parse(spec)?;
        let (kind, root, contents) = if kind == Kind::Described {
            description::open(&root, findings)?
        } else {
            let (root, contents) = kinds::open(kind, root, findings)?;
            (kind, root, contents)
        };
        let Contents {
            classes,
            table,
            mut train,
            test,
        } = contents;
        if classes.len() > MAX_CLASSES {
            return Err(DataError::TooManyClasses {
                path: root,
                count: classes.len(),
            });
        }
        name_apart(&mut train, &test, findings)?;
        Ok(Self {
            kind,
            root,
            classes,
            train,
            test,
            table: Arc::new(table),
            spec: spec.to_owned(),
            notes: Vec::new(),
            searched: BTreeSet::new(),
            doubted: OnceLock::new(),
        })
    }

    /// This set without the images of a split at some indices, which need not be in order.
    ///
    /// A set whose one list serves both splits keeps two lists, and loses the images of `split`
    /// alone.
    #[must_use]
    pub fn without(mut self, split: Split, indices: &[usize]) -> Self {
        let items = match split {
            Split::Train => &mut self.train,
            Split::Test => &mut self.test,
        };
        self.doubted = OnceLock::new();
        let left_out: BTreeSet<usize> = indices.iter().copied().collect();
        let mut index = 0;
        items.retain(|_| {
            index += 1;
            !left_out.contains(&(index - 1))
        });
        self
    }

    /// The images of a split.
    #[must_use]
    pub fn split(&self, split: Split) -> &[Item] {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }

    /// The folders in which an output may not lie, each once, since it could become one of the images or masks: every folder in
    /// which one of its images lies, its root, or, of a set that is described, where the description would find what lies in
    /// `out`, a path without links: the description itself often lies where all work of a user does.
    #[must_use]
    pub fn folders(&self, out: &Path) -> Vec<PathBuf> {
        let items = self.train.iter().chain(&self.test);
        let lies_in = items.filter_map(|item| item.image.parent());
        let read: BTreeSet<&Path> = lies_in
            .chain((self.kind != Kind::Described).then_some(self.root.as_path()))
            .collect();
        let reached = self.searched.iter();
        let reached = reached.filter_map(|searched| searched.reaches(out));
        let read = read.into_iter().map(Path::to_owned);
        read.chain(reached.collect::<BTreeSet<_>>()).collect()
    }

    /// Whether the test images have masks.
    #[must_use]
    pub fn has_truth(&self) -> bool {
        !matches!(*self.table, LabelTable::Absent) && self.test.iter().any(|i| i.mask.is_some())
    }

    /// What a user should know about how the set was read, one sentence each: an optional list
    /// that is missing, masks that no image claims.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// SHA-256, in hexadecimal, of the kind and of the images' paths relative to the root, split
    /// by split and in order: equal for equal lists wherever the set lies.
    #[must_use]
    pub fn list_hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.kind.name());
        for (split, items) in [("\ntrain\n", &self.train), ("\ntest\n", &self.test)] {
            hash.update(split);
            for item in items {
                let relative = item.image.strip_prefix(&self.root).unwrap_or(&item.image);
                for part in relative {
                    hash.update(part.as_encoded_bytes());
                    hash.update(b"/");
                }
                hash.update(b"\n");
            }
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The crop of one image: decoded to 8-bit RGB, EXIF orientation applied, resized and cropped
    /// as docs/protocol.md section 1 says.
    ///
    /// # Errors
    /// A file that cannot be read or is no readable image.
    pub fn image(&self, item: &Item, geometry: &Geometry) -> Result<RgbCrop, DataError> {
        Ok(load(&self.table, item, *geometry, false)?.0)
    }

    /// The labels of one image's crop, or `None` where it has no mask.
    ///
    /// # Errors
    /// A mask or image that cannot be read, a mask of another size than its image, or a value that
    /// the set's table does not have.
    pub fn label(&self, item: &Item, geometry: &Geometry) -> Result<Option<LabelCrop>, DataError> {
        let Some(path) = &item.mask else {
            return Ok(None);
        };
        decode::guarded(path, || {
            let bytes = decode::read_file(&item.image, "an image")?;
            let extent = decode::extent(&item.image, &bytes)?;
            label_crop(&self.table, item, path, extent, *geometry).map(Some)
        })
    }
}

/// Decodes one image, and its labels if wanted, reading the image file once.
pub(crate) fn load(
    table: &LabelTable,
    item: &Item,
    geometry: Geometry,
    want_label: bool,
) -> Result<(RgbCrop, Option<LabelCrop>), DataError> {
    let decoded = decode::guarded(&item.image, || {
        decode::decode(&item.image, &decode::read_file(&item.image, "an image")?)
    })?;
    let label = match &item.mask {
        Some(path) if want_label => {
            let label = || label_crop(table, item, path, decoded.extent(), geometry);
            Some(decode::guarded(path, label)?)
        }
        _ => None,
    };
    Ok((RgbCrop::of(&decoded.image, &geometry), label))
}

impl RgbCrop {
    /// The crop of a decoded image: its shorter side resized to the crop's side as Pillow does it,
    /// then the center cut out (docs/protocol.md section 1).
    #[must_use]
    pub fn of(image: &RgbImage, geometry: &Geometry) -> Self {
        let size = geometry.size;
        let place = geometry.place(image.width(), image.height());
        Self {
            size,
            pixels: resize_window(image, &place, size, size),
        }
    }

    /// The mean brightness of each patch (Rec. 601), row by row.
    ///
    /// # Shapes
    /// `grid`: rows and columns of patches; gives as many numbers, from 0 to 255.
    #[must_use]
    pub fn brightness(&self, grid: [usize; 2]) -> Vec<f64> {
        let patch = self.size / grid[0].max(1);
        let of_place = |place: usize| {
            let (top, left) = (place / grid[1] * patch, place % grid[1] * patch);
            let mut sum = 0.0;
            for row in top..top + patch {
                let start = 3 * (row * self.size + left);
                for pixel in self.pixels[start..start + 3 * patch].chunks_exact(3) {
                    let [r, g, b] = [0, 1, 2].map(|channel: usize| f64::from(pixel[channel]));
                    sum += 0.299 * r + 0.587 * g + 0.114 * b;
                }
            }
            sum / (patch * patch).max(1) as f64
        };
        (0..grid[0] * grid[1]).map(of_place).collect()
    }
}

fn label_crop(
    table: &LabelTable,
    item: &Item,
    path: &Path,
    extent: decode::Extent,
    geometry: Geometry,
) -> Result<LabelCrop, DataError> {
    let map = table.read(path)?;
    if let Some(error) = size_error(item, path, &map, &extent) {
        return Err(error);
    }
    match map.unknown.first_key_value() {
        Some((&value, _)) => Err(table.unknown(path, value)),
        None => Ok(map.crop(geometry)),
    }
}

/// The error of a mask of another size than its image, if it is one.
pub(crate) fn size_error(
    item: &Item,
    path: &Path,
    map: &ClassMap,
    extent: &decode::Extent,
) -> Option<DataError> {
    if (map.width, map.height) == extent.size {
        return None;
    }
    Some(DataError::MaskSize {
        mask: path.to_path_buf(),
        mask_size: (map.width, map.height),
        image: item.image.clone(),
        image_size: extent.size,
        note: if extent.turned() {
            " once turned by its EXIF orientation, which is never applied to masks"
        } else {
            ""
        },
    })
}

/// Makes item names unique: within a split two equal names are an error; a training image that
/// only shares its name with another image of the test split is named `train.NAME`.
fn name_apart(train: &mut [Item], test: &[Item], findings: &mut Findings) -> Result<(), DataError> {
    let in_test = unique_names(test.iter(), findings)?;
    // One list for both splits is told of once.
    if train == test {
        return Ok(());
    }
    let in_train = unique_names(train.iter(), findings)?;
    // What shares its name with one of these was told just now.
    let mut firsts: BTreeSet<PathBuf> =
        in_train.values().map(|image| image.to_path_buf()).collect();
    for item in train.iter_mut() {
        if in_test
            .get(item.name.as_str())
            .is_some_and(|other| **other != item.image)
        {
            item.name = format!("train.{}", item.name);
        }
    }
    let firsts = train.iter().filter(|item| firsts.remove(&item.image));
    for (name, image) in unique_names(firsts, findings)? {
        if let Some(other) = in_test.get(name).filter(|other| **other != image) {
            let (first, second) = (image.to_path_buf(), other.to_path_buf());
            findings.problem(DataError::DuplicateStem { first, second })?;
        }
    }
    Ok(())
}

/// The first item of each name, and an error for each other one.
fn unique_names<'a>(
    items: impl Iterator<Item = &'a Item>,
    findings: &mut Findings,
) -> Result<BTreeMap<&'a str, &'a Path>, DataError> {
    let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
    for item in items {
        match names.entry(&item.name) {
            Entry::Vacant(entry) => {
                entry.insert(&item.image);
            }
            Entry::Occupied(first) => findings.problem(DataError::DuplicateStem {
                first: first.get().to_path_buf(),
                second: item.image.clone(),
            })?,
        }
    }
    Ok(names)
}
