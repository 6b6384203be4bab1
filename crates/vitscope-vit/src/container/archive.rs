//! The index of a zip archive, checked before anything in it is believed.

use std::io::{self, Read};

use super::{DataFile, file::usize_of};
use crate::error::{VitError, shortened};

/// More entries than any checkpoint with its optimizer has.
const ENTRY_LIMIT: u64 = 200_000;

/// A longer index does not belong to a checkpoint.
const INDEX_LIMIT: u64 = 64 << 20;

/// An entry that inflates to more than this is checked for its ratio.
const RATIO_FREE: u64 = 1 << 24;

/// Floats hardly compress; only constant tensors do, and those are small.
const RATIO_LIMIT: u64 = 64;

/// One entry of an archive.
#[derive(Clone, Debug)]
pub(super) struct ArchiveEntry {
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

impl ArchiveEntry {
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
///
/// Read here rather than by a general zip library, because everything that such a library is
/// lenient about (trailing data, repeated names, local headers that disagree with the index) is
/// what a checkpoint never has and an attack does.
pub(super) fn entries(file: &DataFile) -> Result<Vec<ArchiveEntry>, VitError> {
    let index = Index::find(file)?;
    let bytes = index.read(file)?;
    let mut fields = Fields { bytes: &bytes };
    let mut entries = Vec::new();
    for _ in 0..index.count {
        let entry = fields
            .entry()
            .ok_or_else(|| file.damaged("an entry of its zip index is malformed"))?;
        entries.push(checked(file, entry)?);
    }
    if !fields.bytes.is_empty() {
        return Err(file.damaged("its zip index has more bytes than entries"));
    }
    let mut by_name: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    by_name.sort_unstable();
    if let Some(pair) = by_name.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(file.damaged(format!("its entry {} is there twice", shortened(pair[0]))));
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
    let mut by_place: Vec<&ArchiveEntry> =
        entries.iter().filter(|entry| entry.stored > 0).collect();
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

/// Where the index of an archive is.
struct Index {
    offset: u64,
    length: u64,
    count: u64,
}

impl Index {
    /// Finds the index from the record at the end of the file.
    fn find(file: &DataFile) -> Result<Self, VitError> {
        const RECORD: u64 = 22;
        const LONGEST_COMMENT: u64 = 0xffff;
        let start = file.len.saturating_sub(RECORD + LONGEST_COMMENT);
        let mut tail = vec![0; usize_of(file.len - start)];
        file.read_at(start, &mut tail)?;
        let missing = || {
            file.damaged("it is a zip archive without its index at its end, so probably cut short or followed by other data")
        };
        let at = (0..tail.len().saturating_sub(21))
            .rev()
            .find(|&at| {
                tail[at..].starts_with(b"PK\x05\x06")
                    && usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]))
                        == tail.len() - at - 22
            })
            .ok_or_else(missing)?;
        let end = start + at as u64;
        let mut record = Fields {
            bytes: &tail[at + 8..],
        };
        let mut read = || -> Option<(u64, u64, u64)> {
            record.take(2)?;
            Some((
                record.u16()?.into(),
                record.u32()?.into(),
                record.u32()?.into(),
            ))
        };
        let (mut count, mut length, mut offset) = read().ok_or_else(missing)?;
        if count == 0xffff || length == 0xffff_ffff || offset == 0xffff_ffff {
            // The wider record stands before its locator, which stands before this one.
            let mut locator = [0; 20];
            let place = end.checked_sub(20).ok_or_else(missing)?;
            file.read_at(place, &mut locator)?;
            let mut wide = [0; 56];
            let mut fields = Fields {
                bytes: locator.strip_prefix(b"PK\x06\x07").ok_or_else(missing)?,
            };
            let mut pointer = || -> Option<u64> {
                fields.take(4)?;
                fields.u64()
            };
            let place = pointer()
                .filter(|place| place.checked_add(56).is_some_and(|after| after <= end))
                .ok_or_else(missing)?;
            file.read_at(place, &mut wide)?;
            let mut fields = Fields {
                bytes: wide.strip_prefix(b"PK\x06\x06").ok_or_else(missing)?,
            };
            let mut read = || -> Option<(u64, u64, u64)> {
                fields.take(28)?;
                Some((fields.u64()?, fields.u64()?, fields.u64()?))
            };
            (count, length, offset) = read().ok_or_else(missing)?;
        }
        if offset.checked_add(length).is_none_or(|after| after > end) {
            return Err(file.damaged("its zip index reaches beyond the end of the file"));
        }
        if count > ENTRY_LIMIT || length > INDEX_LIMIT {
            return Err(file.damaged(format!(
                "its zip index lists {count} entries in {length} bytes, more than any checkpoint has"
            )));
        }
        Ok(Self {
            offset,
            length,
            count,
        })
    }

    fn read(&self, file: &DataFile) -> Result<Vec<u8>, VitError> {
        let mut bytes = vec![0; usize_of(self.length)];
        file.read_at(self.offset, &mut bytes)?;
        Ok(bytes)
    }
}

/// An entry as the index describes it.
struct ListedEntry<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    stored: u64,
    size: u64,
    header: u64,
}

/// Little-endian fields, taken one after another.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(part)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(*self.take(2)?.first_chunk()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn entry(&mut self) -> Option<ListedEntry<'a>> {
        if self.take(4)? != b"PK\x01\x02" {
            return None;
        }
        self.take(4)?;
        let (flags, method) = (self.u16()?, self.u16()?);
        self.take(8)?;
        let (mut stored, mut size) = (u64::from(self.u32()?), u64::from(self.u32()?));
        let (name, extra, comment) = (self.u16()?, self.u16()?, self.u16()?);
        self.take(8)?;
        let mut header = u64::from(self.u32()?);
        let name = self.take(name.into())?;
        let mut extra = Fields {
            bytes: self.take(extra.into())?,
        };
        self.take(comment.into())?;
        while let (Some(kind), Some(length)) = (extra.u16(), extra.u16()) {
            let mut wide = Fields {
                bytes: extra.take(length.into())?,
            };
            if kind == 1 {
                for value in [&mut size, &mut stored, &mut header] {
                    if *value == 0xffff_ffff {
                        *value = wide.u64()?;
                    }
                }
            }
        }
        Some(ListedEntry {
            name,
            flags,
            method,
            stored,
            size,
            header,
        })
    }
}

/// Checks one entry against the file.
fn checked(file: &DataFile, listed: ListedEntry<'_>) -> Result<ArchiveEntry, VitError> {
    let name = std::str::from_utf8(listed.name)
        .map_err(|_| file.damaged("an entry of its zip index has a name that is not UTF-8"))?;
    let shown = shortened(name);
    if is_trick(name) {
        return Err(file.damaged(format!("its entry {shown} is not a plain relative path")));
    }
    if listed.flags & 1 != 0 {
        return Err(file.damaged(format!("its entry {shown} is encrypted")));
    }
    let deflated = match listed.method {
        0 => false,
        8 => true,
        other => {
            return Err(file.damaged(format!(
                "its entry {shown} is compressed by method {other}, which no checkpoint writer uses"
            )));
        }
    };
    // The local header repeats the name; what follows it is of a length that only it tells.
    let mut header = vec![0; 30 + listed.name.len()];
    let fixed = header.len() as u64;
    if listed
        .header
        .checked_add(fixed)
        .is_none_or(|end| end > file.len)
    {
        return Err(file.damaged(format!(
            "its entry {shown} begins beyond the end of the file"
        )));
    }
    file.read_at(listed.header, &mut header)?;
    let lengths = (
        u16::from_le_bytes([header[26], header[27]]),
        u16::from_le_bytes([header[28], header[29]]),
    );
    if !header.starts_with(b"PK\x03\x04")
        || usize::from(lengths.0) != listed.name.len()
        || &header[30..] != listed.name
    {
        return Err(file.damaged(format!("its entry {shown} is not where its zip index says")));
    }
    let (stored, size) = (listed.stored, listed.size);
    let offset = listed.header + fixed + u64::from(lengths.1);
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
    Ok(ArchiveEntry {
        name: name.to_owned(),
        offset,
        stored,
        size,
        deflated,
    })
}

/// Whether a name could leave a folder if it were ever unpacked.
pub(crate) fn is_trick(name: &str) -> bool {
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
