//! Writing a feature directory: one split, image by image, in shards of bounded length.

use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayView3;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use vitscope_probe::ProbeError;
use vitscope_run::{Slot, files};

use crate::error::StudyError;

/// Shards are at most this long, in bytes.
const SHARD_BYTES: u64 = 4 << 30;

/// Writes one split of a feature directory, image by image.
pub struct SplitWriter {
    root: PathBuf,
    split: &'static str,
    slots: Vec<(Slot, usize)>,
    grid: [usize; 2],
    half: bool,
    count: usize,
    per_shard: usize,
    current: Option<Current>,
    shard: usize,
}

struct Current {
    file: tempfile::NamedTempFile,
    /// Where each slot's tensor begins.
    starts: Vec<u64>,
    first: usize,
    count: usize,
}

impl SplitWriter {
    /// Prepares to write `count` images of the given slots (with their widths).
    #[must_use]
    pub fn new(
        root: &Path,
        split: &'static str,
        slots: Vec<(Slot, usize)>,
        grid: [usize; 2],
        half: bool,
        count: usize,
    ) -> Self {
        let scalar = if half { 2 } else { 4 };
        let image: usize = slots
            .iter()
            .map(|(_, width)| width * grid[0] * grid[1] * scalar)
            .sum();
        let per_shard = (SHARD_BYTES / image.max(1) as u64).max(1) as usize;
        Self {
            root: root.to_owned(),
            split,
            slots,
            grid,
            half,
            count,
            per_shard: per_shard.min(count.max(1)),
            current: None,
            shard: 0,
        }
    }

    fn shards(&self) -> usize {
        self.count.div_ceil(self.per_shard).max(1)
    }

    fn path(&self, shard: usize) -> PathBuf {
        let name = match self.shards() {
            1 => format!("{}.safetensors", self.split),
            n => format!("{}-{:05}-of-{n:05}.safetensors", self.split, shard + 1),
        };
        self.root.join(name)
    }

    /// Every file of the split.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        (0..self.shards()).map(|shard| self.path(shard)).collect()
    }

    /// The split's images in order, in groups that do not cross the end of a file.
    #[must_use]
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let images: Vec<usize> = (0..self.count).collect();
        images
            .chunks(self.per_shard)
            .map(<[usize]>::to_vec)
            .collect()
    }

    fn image_bytes(&self, slot: usize) -> u64 {
        let scalar = if self.half { 2 } else { 4 };
        (self.slots[slot].1 * self.grid[0] * self.grid[1] * scalar) as u64
    }

    fn start_shard(&self) -> Result<Current, StudyError> {
        let first = self.shard * self.per_shard;
        let count = self.per_shard.min(self.count - first);
        let mut end = 0;
        let mut infos = Vec::new();
        let mut starts = Vec::new();
        for (index, &(slot, width)) in self.slots.iter().enumerate() {
            starts.push(end);
            let begin = end;
            end += self.image_bytes(index) * count as u64;
            infos.push((
                slot.to_string(),
                TensorInfo {
                    dtype: if self.half { Dtype::F16 } else { Dtype::F32 },
                    shape: vec![count, self.grid[0], self.grid[1], width],
                    data_offsets: (begin as usize, end as usize),
                },
            ));
        }
        let path = self.path(self.shard);
        let metadata = Metadata::new(None, infos)
            .map_err(|error| StudyError::file(&path, format!("cannot be written: {error}")))?;
        let mut header = serde_json::to_vec(&metadata)
            .map_err(|error| StudyError::file(&path, format!("cannot be written: {error}")))?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let file = files::temporary(&self.root, &path)?;
        let mut writer = BufWriter::new(file.as_file());
        writer
            .write_all(&(header.len() as u64).to_le_bytes())
            .and_then(|()| writer.write_all(&header))
            .and_then(|()| writer.flush())
            .map_err(StudyError::io(&path, "write"))?;
        drop(writer);
        let data = header.len() as u64 + 8;
        starts.iter_mut().for_each(|start| *start += data);
        Ok(Current {
            file,
            starts,
            first,
            count,
        })
    }

    /// Writes one slot of images `first..`, in order.
    ///
    /// # Errors
    /// When the disk refuses, and for values that are not finite, or would not be as f16.
    pub fn write(
        &mut self,
        slot: usize,
        first: usize,
        rows: ArrayView3<'_, f32>,
    ) -> Result<(), StudyError> {
        let image_bytes = self.image_bytes(slot);
        let mut bytes = Vec::with_capacity(image_bytes as usize);
        for (image, rows) in (first..).zip(rows.outer_iter()) {
            let name = self.slots[slot].0;
            if rows.iter().any(|value| !value.is_finite()) {
                let image = image - first;
                return Err(StudyError::Probe {
                    slot: name.to_string(),
                    source: ProbeError::NonFinite { image },
                });
            }
            if self.half {
                beyond_half(rows.iter(), &name.to_string(), &self.path(self.shard))?;
            }
            if self.current.is_none() {
                self.current = Some(self.start_shard()?);
            }
            bytes.clear();
            for &value in rows {
                if self.half {
                    bytes.extend_from_slice(&half::f16::from_f32(value).to_le_bytes());
                } else {
                    bytes.extend_from_slice(&value.to_le_bytes());
                }
            }
            let path = self.path(self.shard);
            let current = self.current.as_mut().expect("started above");
            let at = current.starts[slot] + (image - current.first) as u64 * image_bytes;
            let file = current.file.as_file_mut();
            file.seek(SeekFrom::Start(at))
                .and_then(|_| file.write_all(&bytes))
                .map_err(StudyError::io(&path, "write"))?;
        }
        Ok(())
    }

    /// Says that images up to `done` are complete; finishes a shard that is full.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn advance(&mut self, done: usize) -> Result<(), StudyError> {
        let full = self
            .current
            .as_ref()
            .is_some_and(|c| c.first + c.count == done);
        if full {
            let path = self.path(self.shard);
            if let Some(current) = self.current.take() {
                files::put(current.file, &path)?;
            }
            self.shard += 1;
        }
        Ok(())
    }
}

/// Refuses values that f16 does not have.
///
/// # Errors
/// A sentence with the first of them.
pub fn beyond_half<'a>(
    mut values: impl Iterator<Item = &'a f32>,
    name: &str,
    path: &Path,
) -> Result<(), StudyError> {
    match values.find(|&&value| !half::f16::from_f32(value).is_finite()) {
        None => Ok(()),
        Some(value) => Err(StudyError::file(
            path,
            format!(
                "would hold {value} in {name}, and numbers of 16 bits end at 65504: use `store` f32"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use vitscope_run::Facet;

    use super::*;

    #[test]
    fn what_numbers_of_16_bits_do_not_reach_is_refused() {
        let path = Path::new("train.safetensors");
        assert!(beyond_half([1.0, -65_504.0].iter(), "key.1", path).is_ok());
        let error = beyond_half([1.0, 70_000.0].iter(), "key.1", path).unwrap_err();
        let said = "train.safetensors: would hold 70000 in key.1, and numbers of 16 bits end at 65504: use `store` f32";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn a_split_is_cut_into_files_that_no_group_crosses() {
        let folder = tempfile::tempdir().unwrap();
        let slot = Slot {
            facet: Facet::Key,
            layer: 1,
        };
        // One image takes 4 * 2 * 2 * 8 bytes.
        let name = |writer: &SplitWriter| -> Vec<String> {
            let names = writer.paths().into_iter();
            let names = names.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
            names.collect()
        };
        let writer = SplitWriter::new(folder.path(), "train", vec![(slot, 8)], [2, 2], false, 5);
        assert_eq!(writer.image_bytes(0), 128);
        assert_eq!(name(&writer), ["train.safetensors"]);
        assert_eq!(writer.groups(), [vec![0, 1, 2, 3, 4]]);
        let writer = SplitWriter {
            per_shard: 2,
            ..writer
        };
        let of = |shard: usize| format!("train-0000{shard}-of-00003.safetensors");
        assert_eq!(name(&writer), [of(1), of(2), of(3)]);
        assert_eq!(writer.groups(), [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
