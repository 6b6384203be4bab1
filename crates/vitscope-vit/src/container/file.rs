//! A file read at given positions.
//!
//! Weights are read with positioned reads rather than through a memory map: a file that shrinks
//! or a network file system that fails while reading then gives an error instead of a signal, and
//! resident memory stays at the converted weights.

use std::{
    fs::{File, Metadata},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::error::VitError;

/// What tells a file from another one, and from itself after a change.
#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    len: u64,
    changed: Option<SystemTime>,
    /// Device and number, where there are such.
    place: Option<(u64, u64)>,
}

impl FileStamp {
    fn of(meta: &Metadata) -> Self {
        #[cfg(unix)]
        let place = {
            use std::os::unix::fs::MetadataExt;
            Some((meta.dev(), meta.ino()))
        };
        #[cfg(not(unix))]
        let place = None;
        Self {
            len: meta.len(),
            changed: meta.modified().ok(),
            place,
        }
    }
}

/// An open file and its length in bytes.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// Where it was opened.
    pub path: PathBuf,
    /// Length in bytes when opened.
    pub len: u64,
    file: File,
    stamp: FileStamp,
}

impl DataFile {
    /// Opens a regular file for reading.
    pub fn open(path: &Path) -> Result<Self, VitError> {
        let io = |source| VitError::Io {
            path: path.to_owned(),
            source,
        };
        // Asked before opening, because opening a named pipe would wait for its writer.
        let meta = std::fs::metadata(path).map_err(io)?;
        if !meta.is_file() {
            return Err(VitError::UnknownContainer {
                path: path.to_owned(),
                found: "it is not a regular file".to_owned(),
            });
        }
        let file = File::open(path).map_err(io)?;
        let stamp = FileStamp::of(&file.metadata().map_err(io)?);
        Ok(Self {
            path: path.to_owned(),
            len: stamp.len,
            file,
            stamp,
        })
    }

    /// Refuses a file that was written to, replaced or removed since it was opened: what was read of it, and what
    /// its hash was taken of, need not be one file.
    pub fn unchanged(&self) -> Result<(), VitError> {
        let own = self.file.metadata();
        let there = std::fs::metadata(&self.path);
        let same = [own, there]
            .into_iter()
            .all(|meta| meta.is_ok_and(|meta| FileStamp::of(&meta) == self.stamp));
        match same {
            true => Ok(()),
            false => Err(self.unusable(
                "it was written to, replaced or removed while it was read: repeat the command once it stays as it is",
            )),
        }
    }

    /// Fills `bytes` from `offset`.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), VitError> {
        positioned(&self.file, offset, bytes).map_err(|source| VitError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// The first `count` bytes, or all where the file is shorter.
    pub fn head(&self, count: u64) -> Result<Vec<u8>, VitError> {
        let mut bytes = vec![0; usize_of(count.min(self.len))];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// A [`VitError::Unusable`] about this file.
    pub fn unusable(&self, what: impl Into<String>) -> VitError {
        VitError::Unusable {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    /// A [`VitError::Damaged`] about this file.
    pub fn damaged(&self, what: impl Into<String>) -> VitError {
        VitError::Damaged {
            path: self.path.clone(),
            what: what.into(),
        }
    }
}

/// A length that is known to be bounded by something already in memory or by a checked limit.
pub(crate) fn usize_of(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(unix)]
fn positioned(file: &File, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn positioned(file: &File, mut offset: u64, mut bytes: &mut [u8]) -> std::io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        let count = file.seek_read(bytes, offset)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[count..];
        offset += count as u64;
    }
    Ok(())
}
