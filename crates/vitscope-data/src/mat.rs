//! MATLAB files of version 5: the part of the format that annotations use.
//!
//! Structures, text and real numeric arrays are read, compressed or not, in either byte order;
//! cells, objects, sparse and complex arrays become [`MatValue::Other`]. Every length is checked
//! against what is there before it is used, nesting is bounded, and so are the values and the text
//! of a file; one that unpacks to more than [`MAX_BYTES`] is refused.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// The most bytes that a file may unpack to. The largest annotations of a crowd take a quarter.
const MAX_BYTES: u64 = 1 << 29;

/// The deepest nesting of structures.
const MAX_DEPTH: usize = 16;

/// The most fields of a structure, and bytes of a field's name: MATLAB's own names take 64 with their end.
const MAX_FIELDS: usize = 4096;
const MAX_FIELD_NAME: usize = 1024;

/// What a file may still come to in memory, where a value is larger than its 8 bytes in the file.
struct Allowance {
    /// Values in structures.
    values: usize,
    /// Bytes of text and of names.
    text: usize,
}

impl Allowance {
    /// Of a whole file: a thousand times what the annotation of a crowd holds.
    fn whole() -> Self {
        Self {
            values: 1 << 20,
            text: 1 << 24,
        }
    }

    fn values(&mut self, count: usize) -> Result<(), String> {
        let left = self.values.checked_sub(count);
        self.values =
            left.ok_or("has structures of more than 1,048,576 values, expected an annotation")?;
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.text.checked_sub(bytes);
        self.text = left.ok_or("has more than 16 MiB of text, expected an annotation")?;
        Ok(())
    }
}

/// What a variable or a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MatValue<'a> {
    /// Characters.
    Text(String),
    /// A real numeric array.
    Numbers(NumericArray<'a>),
    /// A structure array.
    Structs(Structs<'a>),
    /// Something that is not read.
    Other,
}

/// A real numeric array, column by column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NumericArray<'a> {
    /// Rows and columns; arrays of more axes have them folded into the columns.
    pub shape: (usize, usize),
    /// As stored.
    data: &'a [u8],
    stored: MatArray,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MatArray {
    kind: u32,
    big_endian: bool,
}

/// A structure array: every element has the same fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Structs<'a> {
    fields: Vec<String>,
    /// Element by element, the fields in order.
    values: Vec<MatValue<'a>>,
}

/// The data types of the format.
mod kind {
    pub const INT8: u32 = 1;
    pub const UINT8: u32 = 2;
    pub const INT16: u32 = 3;
    pub const UINT16: u32 = 4;
    pub const INT32: u32 = 5;
    pub const UINT32: u32 = 6;
    pub const SINGLE: u32 = 7;
    pub const DOUBLE: u32 = 9;
    pub const INT64: u32 = 12;
    pub const UINT64: u32 = 13;
    pub const MATRIX: u32 = 14;
    pub const COMPRESSED: u32 = 15;
    pub const UTF8: u32 = 16;
    pub const UTF16: u32 = 17;
    pub const UTF32: u32 = 18;
}

impl Structs<'_> {
    /// How many elements.
    pub fn len(&self) -> usize {
        self.values.len() / self.fields.len().max(1)
    }

    /// A field of an element.
    pub fn field(&self, element: usize, name: &str) -> Option<&MatValue<'_>> {
        let field = self.fields.iter().position(|field| field == name)?;
        self.values.get(element * self.fields.len() + field)
    }
}

impl NumericArray<'_> {
    /// Bytes of one number.
    fn width(&self) -> usize {
        width(self.stored.kind).unwrap_or(1)
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.data.len() / self.width()
    }

    /// Which values are not zero, column by column.
    pub fn nonzero(&self) -> impl Iterator<Item = bool> {
        self.data
            .chunks_exact(self.width())
            .map(|bytes| bytes.iter().any(|&byte| byte != 0))
    }
}

/// Reads the variables of a file, in order, and hands them to `look`.
///
/// The values borrow from the unpacked file, which is why they are looked at here.
pub(crate) fn read<T>(
    bytes: &[u8],
    look: impl FnOnce(&[(String, MatValue<'_>)]) -> Result<T, String>,
) -> Result<T, String> {
    let header = bytes
        .get(..128)
        .ok_or("ends within the header of a MATLAB file")?;
    let big_endian = match &header[126..] {
        b"IM" => false,
        b"MI" => true,
        _ if bytes.starts_with(b"\x89HDF") || header.starts_with(b"MATLAB 7.3") => {
            return Err("is a MATLAB 7.3 (HDF5) file, expected version 5".to_owned());
        }
        _ => return Err("is no MATLAB file of version 5 by its content".to_owned()),
    };
    let mut left = MAX_BYTES;
    let mut unpacked = Vec::new();
    let mut rest = MatReader {
        bytes: &bytes[128..],
        big_endian,
    };
    while !rest.bytes.is_empty() {
        let (kind, data) = rest.element()?;
        if kind == kind::COMPRESSED {
            let mut content = Vec::new();
            ZlibDecoder::new(data)
                .take(left + 1)
                .read_to_end(&mut content)
                .map_err(|error| format!("cannot be unpacked ({error})"))?;
            left = left
                .checked_sub(content.len() as u64)
                .ok_or("unpacks to more than 512 MiB, expected an annotation")?;
            unpacked.push(Cow::Owned(content));
        } else {
            // A whole element again, so that both forms are read alike.
            let length = data.len() as u32;
            let length = if big_endian {
                length.to_be_bytes()
            } else {
                length.to_le_bytes()
            };
            let kind = if big_endian {
                kind.to_be_bytes()
            } else {
                kind.to_le_bytes()
            };
            left = left
                .checked_sub(data.len() as u64)
                .ok_or("is larger than 512 MiB, expected an annotation")?;
            unpacked.push(Cow::Owned([&kind, &length, data].concat()));
        }
    }
    let mut variables = Vec::new();
    let mut allowance = Allowance::whole();
    for content in &unpacked {
        let mut reader = MatReader {
            bytes: content,
            big_endian,
        };
        let (kind, data) = reader.element()?;
        if kind == kind::MATRIX {
            variables.push(matrix(data, big_endian, 0, &mut allowance)?);
        }
    }
    look(&variables)
}

/// Elements one after the other.
struct MatReader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> MatReader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(|| {
            format!(
                "ends early: {count} bytes are announced and {} are left",
                self.bytes.len()
            )
        })?;
        self.bytes = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?.try_into().unwrap_or_default();
        Ok(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// The next element: its type and its data.
    fn element(&mut self) -> Result<(u32, &'a [u8]), String> {
        let tag = self.word()?;
        let small = (tag >> 16) as usize;
        if small > 0 {
            if small > 4 {
                return Err(format!("has an element of {small} bytes in a place for 4"));
            }
            return Ok((tag & 0xffff, &self.take(4)?[..small]));
        }
        let length = self.word()? as usize;
        let data = self.take(length)?;
        // Elements begin at multiples of 8; the last may lack its padding, and compressed ones
        // have none.
        if tag != kind::COMPRESSED {
            let padding = length.next_multiple_of(8) - length;
            self.take(padding.min(self.bytes.len()))?;
        }
        Ok((tag, data))
    }
}

/// Bytes of one value of a numeric type.
fn width(kind: u32) -> Option<usize> {
    match kind {
        kind::INT8 | kind::UINT8 | kind::UTF8 => Some(1),
        kind::INT16 | kind::UINT16 | kind::UTF16 => Some(2),
        kind::INT32 | kind::UINT32 | kind::SINGLE | kind::UTF32 => Some(4),
        kind::DOUBLE | kind::INT64 | kind::UINT64 => Some(8),
        _ => None,
    }
}

/// A matrix element's name and value.
fn matrix<'a>(
    data: &'a [u8],
    big_endian: bool,
    depth: usize,
    allowance: &mut Allowance,
) -> Result<(String, MatValue<'a>), String> {
    if data.is_empty() {
        return Ok((String::new(), MatValue::Other));
    }
    if depth > MAX_DEPTH {
        return Err(format!("nests structures more than {MAX_DEPTH} deep"));
    }
    let mut reader = MatReader {
        bytes: data,
        big_endian,
    };
    let (_, flags) = reader.element()?;
    let mut flags = MatReader {
        bytes: flags,
        big_endian,
    };
    let flags = flags.word()?;
    let (class, complex) = (flags & 0xff, flags & 0x800 != 0);
    let (_, axes) = reader.element()?;
    let mut sizes = MatReader {
        bytes: axes,
        big_endian,
    };
    let mut shape = (1usize, 1usize);
    for axis in 0..axes.len() / 4 {
        let size = sizes.word()? as usize;
        if axis == 0 {
            shape.0 = size;
        } else {
            let columns = shape.1.checked_mul(size);
            shape.1 = columns.ok_or("has an array of impossible size")?;
        }
    }
    let count = shape
        .0
        .checked_mul(shape.1)
        .ok_or("has an array of impossible size")?;
    let (_, name) = reader.element()?;
    allowance.text(name.len())?;
    let name = String::from_utf8_lossy(name).into_owned();
    let value = match class {
        2 => structs(&mut reader, count, depth, allowance)?,
        4 => MatValue::Text(text(&mut reader, allowance)?),
        6..=15 if !complex => {
            let (kind, data) = reader.element()?;
            let width = width(kind).ok_or_else(|| format!("stores numbers as type {kind}"))?;
            if count.checked_mul(width) != Some(data.len()) {
                return Err(format!(
                    "has an array of {}x{} in {} bytes",
                    shape.0,
                    shape.1,
                    data.len()
                ));
            }
            MatValue::Numbers(NumericArray {
                shape,
                data,
                stored: MatArray { kind, big_endian },
            })
        }
        _ => MatValue::Other,
    };
    Ok((name, value))
}

fn text(reader: &mut MatReader<'_>, allowance: &mut Allowance) -> Result<String, String> {
    let big_endian = reader.big_endian;
    let (kind, data) = reader.element()?;
    allowance.text(data.len())?;
    Ok(match width(kind) {
        Some(2) => {
            let units = data.chunks_exact(2).map(|pair| {
                let pair = [pair[0], pair[1]];
                if big_endian {
                    u16::from_be_bytes(pair)
                } else {
                    u16::from_le_bytes(pair)
                }
            });
            String::from_utf16_lossy(&units.collect::<Vec<_>>())
        }
        Some(1) => String::from_utf8_lossy(data).into_owned(),
        _ => return Err(format!("stores text as type {kind}")),
    })
}

fn structs<'a>(
    reader: &mut MatReader<'a>,
    count: usize,
    depth: usize,
    allowance: &mut Allowance,
) -> Result<MatValue<'a>, String> {
    let big_endian = reader.big_endian;
    let (_, length) = reader.element()?;
    let length = MatReader {
        bytes: length,
        big_endian,
    }
    .word()? as usize;
    let (_, names) = reader.element()?;
    if length == 0 || !names.len().is_multiple_of(length) {
        return Err("has a structure whose field names do not fit".to_owned());
    }
    if length > MAX_FIELD_NAME || names.len() / length > MAX_FIELDS {
        return Err(format!(
            "has a structure of {} fields with names of up to {length} bytes, expected at most {MAX_FIELDS} of {MAX_FIELD_NAME}",
            names.len() / length
        ));
    }
    let fields: Vec<String> = names
        .chunks_exact(length)
        .map(|name| {
            let end = name.iter().position(|&byte| byte == 0);
            String::from_utf8_lossy(&name[..end.unwrap_or(length)]).into_owned()
        })
        .collect();
    let total = count
        .checked_mul(fields.len())
        // Every value takes at least the 8 bytes of its tag.
        .filter(|&total| total <= reader.bytes.len() / 8)
        .ok_or("has a structure of more fields than fit into it")?;
    allowance.values(total)?;
    let mut values = Vec::with_capacity(total);
    for _ in 0..total {
        let (kind, data) = reader.element()?;
        values.push(if kind == kind::MATRIX {
            matrix(data, big_endian, depth + 1, allowance)?.1
        } else {
            MatValue::Other
        });
    }
    Ok(MatValue::Structs(Structs { fields, values }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element of little-endian bytes, padded.
    fn element(kind: u32, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let mut bytes = [kind.to_le_bytes(), length.to_le_bytes()].concat();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// A matrix of a class, `[1, count]`, with what follows its name.
    fn matrix_of(class: u32, count: u32, name: &[u8], rest: &[u8]) -> Vec<u8> {
        let head = [
            element(kind::UINT32, &words(&[class, 0])),
            element(kind::INT32, &words(&[1, count])),
            element(kind::INT8, name),
            rest.to_vec(),
        ];
        element(kind::MATRIX, &head.concat())
    }

    fn structs_of(count: u32, length: u32, names: &[u8], values: &[u8]) -> Vec<u8> {
        let rest = [
            element(kind::INT32, &words(&[length])),
            element(kind::INT8, names),
            values.to_vec(),
        ];
        matrix_of(2, count, b"anno", &rest.concat())
    }

    fn said(content: &[u8]) -> Result<usize, String> {
        let mut bytes = vec![b' '; 126];
        bytes.extend(b"IM");
        bytes.extend(content);
        read(&bytes, |variables| Ok(variables.len()))
    }

    #[test]
    fn what_a_file_comes_to_in_memory_is_bounded() {
        let text =
            |letters: usize| matrix_of(4, 1, b"t", &element(kind::UTF8, &vec![b'x'; letters]));
        assert_eq!(said(&structs_of(1, 8, b"objects\0", &text(3))), Ok(1));
        // A hundred million fields of one letter, and none of a structure without elements, need no value at all.
        for (names, length) in [(vec![b'a'; 5000], 1), (vec![b'a'; 4096], 2048)] {
            let refused = said(&structs_of(0, length, &names, b"")).unwrap_err();
            assert!(refused.starts_with("has a structure of "), "{refused}");
        }
        let refused = said(&structs_of(1 << 21, 1, b"a", &vec![0; 8 << 21])).unwrap_err();
        assert!(refused.contains("1,048,576 values"), "{refused}");
        for content in [
            text((1 << 24) + 1),
            [text(1 << 23), text(1 << 23), text(1)].concat(),
            matrix_of(4, 1, &vec![b'x'; 1 << 25], b""),
        ] {
            let refused = said(&content).unwrap_err();
            assert!(refused.contains("16 MiB of text"), "{refused}");
        }
    }
}
