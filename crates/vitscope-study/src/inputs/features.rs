//! Feature directories: facets on disk, one tensor `"{facet}.{layer}"` `[n, Hp, Wp, D]` per slot,
//! f32 or f16, images in the data set's order. Written by `extract` or by any other program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ndarray::Array3;
use safetensors::tensor::{Dtype, TensorInfo};
use serde::{Deserialize, Serialize};
use vitscope_data::Split;
use vitscope_run::tensors::read_header;
use vitscope_run::{Slot, limits};

use crate::error::StudyError;
use crate::files;

mod writer;

pub use writer::{SplitWriter, beyond_half};

/// What `features.json` tells about where the features come from. Every field may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Side of a patch in pixels.
    pub patch: Option<usize>,
    /// Side of the crop in pixels.
    pub size: Option<usize>,
    /// The model's name.
    pub model: Option<String>,
    /// The model's family.
    pub family: Option<String>,
    /// The model's size name.
    pub model_size: Option<String>,
    /// Number of blocks.
    pub depth: Option<usize>,
}

impl About {
    /// Refuses what no run has, before anything is allocated by it.
    fn check(&self, json: &Path) -> Result<(), StudyError> {
        for (what, found, most) in [
            ("patch", self.patch, limits::SIDE),
            ("size", self.size, limits::SIDE),
            ("depth", self.depth, limits::LAYERS),
        ] {
            if let Some(found) = found.filter(|&found| found == 0 || found > most) {
                let sentence = format!("says {what} {found}, expected 1 to {most}: correct it");
                return Err(StudyError::file(json, sentence));
            }
        }
        Ok(())
    }
}

/// One file of a split.
#[derive(Debug)]
struct FeatureFile {
    path: PathBuf,
    file: File,
    /// Where the tensors begin.
    data: u64,
    first: usize,
    count: usize,
    tensors: BTreeMap<Slot, (Dtype, u64)>,
}

/// A feature directory, opened and checked.
#[derive(Debug)]
pub struct FeatureDir {
    root: PathBuf,
    /// What its `features.json` tells.
    pub about: About,
    /// Patches per column and row.
    pub grid: [usize; 2],
    widths: BTreeMap<Slot, usize>,
    train: Vec<FeatureFile>,
    test: Vec<FeatureFile>,
    bytes: Vec<u8>,
}

impl FeatureDir {
    /// Opens a feature directory and checks that its files agree with one another.
    ///
    /// # Errors
    /// One sentence naming the file and tensor.
    pub fn open(root: &Path) -> Result<Self, StudyError> {
        let json = root.join("features.json");
        let about = match files::read_up_to(&json, limits::JSON_BYTES)? {
            Some(text) => serde_json::from_slice(&text)
                .map_err(|error| StudyError::file(&json, format!("is not as expected: {error}")))?,
            None => About::default(),
        };
        about.check(&json)?;
        let mut dir = Self {
            root: root.to_owned(),
            about,
            grid: [0, 0],
            widths: BTreeMap::new(),
            train: Vec::new(),
            test: Vec::new(),
            bytes: Vec::new(),
        };
        dir.train = dir.open_split("train")?;
        dir.test = dir.open_split("test")?;
        let deepest = dir.widths.keys().max_by_key(|slot| slot.layer);
        if let (Some(depth), Some(slot)) = (dir.about.depth, deepest)
            && slot.layer > depth
        {
            let sentence = format!("says depth {depth}, and there is a {slot}: correct it");
            return Err(StudyError::file(&json, sentence));
        }
        Ok(dir)
    }

    /// The slots that every file has, ordered by layer, then facet.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.widths.keys().copied().collect();
        slots.sort_by_key(|slot| (slot.layer, slot.facet));
        slots
    }

    /// Embedding width of a slot.
    #[must_use]
    pub fn width(&self, slot: Slot) -> usize {
        self.widths.get(&slot).copied().unwrap_or(0)
    }

    /// Images of a split.
    #[must_use]
    pub fn count(&self, split: Split) -> usize {
        self.shards(split).iter().map(|shard| shard.count).sum()
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every file, in order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.train
            .iter()
            .chain(&self.test)
            .map(|shard| shard.path.clone())
            .collect()
    }

    /// The file that holds an image of a split, and the image's number in that file.
    pub(crate) fn file_of(&self, split: Split, image: usize) -> Option<(PathBuf, usize)> {
        self.shards(split)
            .iter()
            .find(|shard| (shard.first..shard.first + shard.count).contains(&image))
            .map(|shard| (shard.path.clone(), image - shard.first))
    }

    fn shards(&self, split: Split) -> &[FeatureFile] {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }

    /// Reads one slot of some images into `out`, resized to `[images, patches, D]`.
    ///
    /// # Errors
    /// When the file ends early or cannot be read.
    pub fn read(
        &mut self,
        split: Split,
        slot: Slot,
        images: &[usize],
        out: &mut Array3<f32>,
    ) -> Result<(), StudyError> {
        let patches = self.grid[0] * self.grid[1];
        let width = self.width(slot);
        let shape = (images.len(), patches, width);
        if out.dim() != shape {
            *out = Array3::zeros(shape);
        }
        let Self {
            train, test, bytes, ..
        } = self;
        let shards = match split {
            Split::Train => train,
            Split::Test => test,
        };
        let flat = out.as_slice_mut().expect("a fresh array is contiguous");
        for (&image, out) in images.iter().zip(flat.chunks_exact_mut(patches * width)) {
            let shard = shards
                .iter_mut()
                .find(|shard| (shard.first..shard.first + shard.count).contains(&image))
                .expect("the caller asks for images that the split has");
            let (dtype, offset) = shard.tensors[&slot];
            let length = patches * width * if dtype == Dtype::F16 { 2 } else { 4 };
            bytes.resize(length, 0);
            let at = shard.data + offset + ((image - shard.first) * length) as u64;
            shard
                .file
                .seek(SeekFrom::Start(at))
                .and_then(|_| shard.file.read_exact(bytes))
                .map_err(StudyError::io(&shard.path, "read"))?;
            if dtype == Dtype::F16 {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *o = half::f16::from_le_bytes(*b).to_f32();
                }
            } else {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *o = f32::from_le_bytes(*b);
                }
            }
        }
        Ok(())
    }

    fn open_split(&mut self, split: &str) -> Result<Vec<FeatureFile>, StudyError> {
        let mut shards = Vec::new();
        let mut first = 0;
        for path in split_files(&self.root, split)? {
            let shard = self.open_shard(&path, first)?;
            first += shard.count;
            shards.push(shard);
        }
        Ok(shards)
    }

    fn open_shard(&mut self, path: &Path, first: usize) -> Result<FeatureFile, StudyError> {
        let wrong = |problem: String| StudyError::file(path, problem);
        let mut file = files::open(path).map_err(StudyError::io(path, "open"))?;
        let other = |problem: &dyn std::fmt::Display| {
            StudyError::file(path, format!("is no safetensors file: {problem}"))
        };
        let (data, metadata) = read_header(path, &mut file, other)?;
        let length = file.metadata().map_err(StudyError::io(path, "read"))?.len();
        let mut tensors = BTreeMap::new();
        let mut count = None;
        let infos: BTreeMap<String, &TensorInfo> = metadata.tensors().into_iter().collect();
        for (name, info) in &infos {
            let slot: Slot = name.parse().map_err(&wrong)?;
            let [n, rows, columns, width] = info.shape[..] else {
                return Err(wrong(format!(
                    "tensor {name} has shape {:?}: expected [images, rows, columns, D]",
                    info.shape
                )));
            };
            if !matches!(info.dtype, Dtype::F32 | Dtype::F16) {
                return Err(wrong(format!(
                    "tensor {name} is {:?}: expected F32 or F16",
                    info.dtype
                )));
            }
            let scalar = if info.dtype == Dtype::F16 { 2 } else { 4 };
            let bytes = info
                .shape
                .iter()
                .try_fold(scalar, |product: usize, &side| product.checked_mul(side));
            let (begin, end) = info.data_offsets;
            if rows.min(columns).min(width) == 0
                || bytes.is_none()
                || bytes != end.checked_sub(begin)
            {
                return Err(wrong(format!(
                    "tensor {name} of shape {:?} does not fit its {begin}..{end} bytes: the header is damaged",
                    info.shape
                )));
            }
            if *count.get_or_insert(n) != n {
                return Err(wrong(format!(
                    "tensor {name} holds {n} images where the others hold {}: every slot needs the same images",
                    count.unwrap_or(0)
                )));
            }
            if self.grid == [0, 0] {
                self.grid = [rows, columns];
            }
            if self.grid != [rows, columns] {
                return Err(wrong(format!(
                    "tensor {name} has {rows} x {columns} patches where the others have {} x {}: one grid serves a whole directory",
                    self.grid[0], self.grid[1]
                )));
            }
            if *self.widths.entry(slot).or_insert(width) != width {
                return Err(wrong(format!(
                    "tensor {name} is {width} wide where another file has {}",
                    self.width(slot)
                )));
            }
            if end as u64 > length - data {
                return Err(wrong(format!(
                    "the file ends before tensor {name} does ({length} bytes): write or copy it again"
                )));
            }
            tensors.insert(slot, (info.dtype, info.data_offsets.0 as u64));
        }
        if let Some(slot) = self.widths.keys().find(|slot| !tensors.contains_key(slot)) {
            return Err(wrong(format!(
                "tensor {slot} is missing, though another file of the directory has it"
            )));
        }
        Ok(FeatureFile {
            path: path.to_owned(),
            file,
            data,
            first,
            count: count.unwrap_or(0),
            tensors,
        })
    }
}

/// The files of a split: one, or all of its numbered shards in order.
fn split_files(root: &Path, split: &str) -> Result<Vec<PathBuf>, StudyError> {
    let single = root.join(format!("{split}.safetensors"));
    let listing = std::fs::read_dir(root).map_err(StudyError::io(root, "list"))?;
    let mut shards = BTreeMap::new();
    let mut total = None;
    for entry in listing {
        let entry = entry.map_err(StudyError::io(root, "list"))?;
        let name = entry.file_name();
        let Some(numbers) = name
            .to_str()
            .and_then(|name| name.strip_prefix(split)?.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".safetensors")?.split_once("-of-"))
        else {
            continue;
        };
        if let (Ok(index), Ok(of)) = (numbers.0.parse::<usize>(), numbers.1.parse::<usize>()) {
            if *total.get_or_insert(of) != of {
                return Err(StudyError::file(
                    &entry.path(),
                    "belongs to another set of shards than its neighbors: keep one set",
                ));
            }
            shards.insert(index, entry.path());
        }
    }
    if single.exists() {
        // Which of the two is meant would be a guess.
        return match shards.first_key_value() {
            None => Ok(vec![single]),
            Some((_, shard)) => Err(StudyError::file(
                shard,
                format!("lies beside {split}.safetensors: keep the shards or the single file"),
            )),
        };
    }
    let Some(total) = total else {
        return Err(StudyError::file(
            root,
            format!(
                "holds no {split}.safetensors and no {split}-00001-of-0000N.safetensors: it is no feature directory"
            ),
        ));
    };
    match (1..=total).find(|index| !shards.contains_key(index)) {
        Some(missing) => Err(StudyError::file(
            root,
            format!("lacks {split}-{missing:05}-of-{total:05}.safetensors, one of {total} shards"),
        )),
        None => Ok(shards.into_values().collect()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use vitscope_run::Facet;

    use super::*;

    fn write(root: &Path, half: bool) -> (Slot, Array3<f32>) {
        let slot = Slot {
            facet: Facet::Key,
            layer: 2,
        };
        let rows =
            Array3::from_shape_fn((3, 4, 5), |(b, n, d)| (b * 100 + n * 10 + d) as f32 / 8.0);
        for split in ["train", "test"] {
            let mut writer = SplitWriter::new(root, split, vec![(slot, 5)], [2, 2], half, 3);
            writer.write(0, 0, rows.view()).unwrap();
            writer.advance(3).unwrap();
        }
        (slot, rows)
    }

    #[test]
    fn what_is_written_is_read_back_in_any_order() {
        for half in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let (slot, rows) = write(root.path(), half);
            let mut dir = FeatureDir::open(root.path()).unwrap();
            assert_eq!(
                (dir.slots(), dir.grid, dir.count(Split::Test)),
                (vec![slot], [2, 2], 3)
            );
            let mut out = Array3::zeros((0, 0, 0));
            dir.read(Split::Train, slot, &[2, 0], &mut out).unwrap();
            assert_eq!(
                out.index_axis(ndarray::Axis(0), 0),
                rows.index_axis(ndarray::Axis(0), 2)
            );
            assert_eq!(
                out.index_axis(ndarray::Axis(0), 1),
                rows.index_axis(ndarray::Axis(0), 0)
            );
        }
    }

    #[test]
    fn broken_directories_are_named_in_one_sentence() {
        let root = tempfile::tempdir().unwrap();
        let error = FeatureDir::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("no train.safetensors"), "{error}");
        write(root.path(), false);
        let json = root.path().join("features.json");
        let kept = std::fs::read_to_string(&json).ok();
        for (field, value) in [("patch", 99_999_999_999_u64), ("size", 0), ("depth", 1001)] {
            std::fs::write(&json, format!("{{\"{field}\": {value}}}")).unwrap();
            let error = FeatureDir::open(root.path()).unwrap_err().to_string();
            assert!(
                error.contains(&format!(
                    "features.json: says {field} {value}, expected 1 to"
                )),
                "{error}"
            );
        }
        match kept {
            Some(text) => std::fs::write(&json, text).unwrap(),
            None => std::fs::remove_file(&json).unwrap(),
        }
        let test = root.path().join("test.safetensors");
        let bytes = std::fs::read(&test).unwrap();
        std::fs::write(&test, &bytes[..bytes.len() - 7]).unwrap();
        let error = FeatureDir::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("ends before tensor key.2"), "{error}");
        std::fs::write(&test, &bytes[..5]).unwrap();
        assert!(FeatureDir::open(root.path()).is_err());
        std::fs::write(&test, [0xff; 64]).unwrap();
        assert!(FeatureDir::open(root.path()).is_err());
        std::fs::write(root.path().join("test-00001-of-00001.safetensors"), &bytes).unwrap();
        let error = FeatureDir::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("keep the shards or the single"), "{error}");
        std::fs::remove_file(root.path().join("test-00001-of-00001.safetensors")).unwrap();
        std::fs::rename(&test, root.path().join("test-00002-of-00002.safetensors")).unwrap();
        let error = FeatureDir::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("test-00001-of-00002"), "{error}");
    }
}
