//! The index of a zip archive, checked before anything in it is believed.

use std::io::{self, Read};

use zip::{CompressionMethod, ZipArchive};

use super::{DataFile, file::usize_of};
use crate::error::{VitError, shortened};

/// More entries than any checkpoint with its optimizer has.
const ENTRY_LIMIT: usize = 200_000;

/// An entry that inflates to more than this is checked for its ratio.
const RATIO_FREE: u64 = 1 << 24;

/// Floats hardly compress; only constant tensors do, and those are small.
const RATIO_LIMIT: u64 = 64;

/// One entry of an archive.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its name, with `/` between folders.
    pub name: String,
    /// First byte of its data in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub stored: u64,
    /// Bytes after inflating; equal to `stored` unless deflated.
    pub size: u64,
    /// Whether it is deflated.
    pub deflated: bool,
}

impl Entry {
    /// The entry's bytes; refused beyond `limit`.
    pub fn read(&self, file: &DataFile, limit: u64) -> Result<Vec<u8>, VitError> {
        if self.size > limit {
            return Err(file.damaged(format!(
                "its entry {} claims {} bytes where at most {limit} are reasonable",
                shortened(&self.name),
                self.size
            )));
        }
        self.read_start(file, self.size)
    }

    /// The entry's first `count` bytes, or all where it is shorter.
    pub fn read_start(&self, file: &DataFile, count: u64) -> Result<Vec<u8>, VitError> {
        let count = count.min(self.size);
        if !self.deflated {
            let mut bytes = vec![0; usize_of(count)];
            file.read_at(self.offset, &mut bytes)?;
            return Ok(bytes);
        }
        let mut bytes = Vec::new();
        flate2::read::DeflateDecoder::new(RangeReader::new(file, self.offset, self.stored))
            .take(count)
            .read_to_end(&mut bytes)
            .map_err(|error| {
                file.damaged(format!(
                    "its entry {} does not inflate: {error}",
                    shortened(&self.name)
                ))
            })?;
        if bytes.len() as u64 != count {
            return Err(file.damaged(format!(
                "its entry {} inflates to fewer bytes than declared",
                shortened(&self.name)
            )));
        }
        Ok(bytes)
    }
}

/// Lists the entries of a zip file, each inside the file and none over another.
pub(super) fn entries(file: &DataFile) -> Result<Vec<Entry>, VitError> {
    let broken = |error: &dyn std::fmt::Display| {
        file.damaged(format!("its zip index cannot be read: {error}"))
    };
    let mut archive = ZipArchive::new(file.handle()).map_err(|error| broken(&error))?;
    if archive.len() > ENTRY_LIMIT {
        return Err(file.damaged(format!(
            "its zip index lists {} entries, more than any checkpoint has",
            archive.len()
        )));
    }
    let mut entries = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let raw = archive.by_index_raw(index).map_err(|error| broken(&error))?;
        let name = raw.name().map_err(|error| broken(&error))?.into_owned();
        let shown = shortened(&name);
        if is_trick(&name) {
            return Err(file.damaged(format!("its entry {shown} is not a plain relative path")));
        }
        if raw.encrypted() {
            return Err(file.damaged(format!("its entry {shown} is encrypted")));
        }
        let deflated = match raw.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            other => {
                return Err(file.damaged(format!(
                    "its entry {shown} is compressed by {other}, which no checkpoint writer uses"
                )));
            }
        };
        let (stored, size) = (raw.compressed_size(), raw.size());
        let offset = raw
            .data_start()
            .ok_or_else(|| file.damaged(format!("its entry {shown} has no data")))?;
        if offset.checked_add(stored).is_none_or(|end| end > file.len) {
            return Err(file.damaged(format!(
                "its entry {shown} reaches beyond the end of the file"
            )));
        }
        if !deflated && stored != size {
            return Err(file.damaged(format!(
                "its entry {shown} is stored in {stored} bytes but claims {size}"
            )));
        }
        if size > RATIO_FREE && size / RATIO_LIMIT > stored {
            return Err(file.damaged(format!(
                "its entry {shown} would inflate {stored} bytes to {size}, as weights never do"
            )));
        }
        entries.push(Entry {
            name,
            offset,
            stored,
            size,
            deflated,
        });
    }
    let total = entries
        .iter()
        .fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    if total > RATIO_FREE && total / RATIO_LIMIT > file.len {
        return Err(file.damaged(format!(
            "its entries would inflate {} bytes to {total}, as weights never do",
            file.len
        )));
    }
    let mut by_place: Vec<&Entry> = entries.iter().filter(|entry| entry.stored > 0).collect();
    by_place.sort_by_key(|entry| entry.offset);
    for pair in by_place.windows(2) {
        if pair[0].offset + pair[0].stored > pair[1].offset {
            return Err(file.damaged(format!(
                "its entries {} and {} overlap",
                shortened(&pair[0].name),
                shortened(&pair[1].name)
            )));
        }
    }
    Ok(entries)
}

/// Whether a name could leave a folder if it were ever unpacked.
pub(super) fn is_trick(name: &str) -> bool {
    name.starts_with('/')
        || name.contains(['\\', '\0'])
        || name.split('/').any(|part| part == "..")
        || name.as_bytes().get(1) == Some(&b':')
}

/// A window of a file as a sequential reader.
pub(super) struct RangeReader<'a> {
    file: &'a DataFile,
    at: u64,
    end: u64,
}

impl<'a> RangeReader<'a> {
    /// Bytes `offset .. offset + length` of a file.
    pub fn new(file: &'a DataFile, offset: u64, length: u64) -> Self {
        Self {
            file,
            at: offset,
            end: offset.saturating_add(length),
        }
    }
}

impl Read for RangeReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = usize_of(self.end - self.at).min(bytes.len());
        self.file
            .read_at(self.at, &mut bytes[..count])
            .map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}
