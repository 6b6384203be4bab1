//! MATLAB files of version 5: the part of the format that annotations use.
//!
//! Structures, text and real numeric arrays are read, compressed or not, in either byte order;
//! cells, objects, sparse and complex arrays become [`MatValue::Other`]. Every length is checked
//! against what is there before it is used, nesting is bounded, and a file that unpacks to more
//! than [`MAX_BYTES`] is refused.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// The most bytes that a file may unpack to. The largest annotations of a crowd take a quarter.
const MAX_BYTES: u64 = 1 << 29;

/// The deepest nesting of structures.
const MAX_DEPTH: usize = 16;

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
    for content in &unpacked {
        let mut reader = MatReader {
            bytes: content,
            big_endian,
        };
        let (kind, data) = reader.element()?;
        if kind == kind::MATRIX {
            variables.push(matrix(data, big_endian, 0)?);
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
fn matrix(data: &[u8], big_endian: bool, depth: usize) -> Result<(String, MatValue<'_>), String> {
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
    let name = String::from_utf8_lossy(name).into_owned();
    let value = match class {
        2 => structs(&mut reader, count, depth)?,
        4 => MatValue::Text(text(&mut reader)?),
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

fn text(reader: &mut MatReader<'_>) -> Result<String, String> {
    let big_endian = reader.big_endian;
    let (kind, data) = reader.element()?;
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
    let mut values = Vec::with_capacity(total);
    for _ in 0..total {
        let (kind, data) = reader.element()?;
        values.push(if kind == kind::MATRIX {
            matrix(data, big_endian, depth + 1)?.1
        } else {
            MatValue::Other
        });
    }
    Ok(MatValue::Structs(Structs { fields, values }))
}
