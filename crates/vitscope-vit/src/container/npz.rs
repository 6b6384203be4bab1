//! NumPy archives: a zip of `.npy` arrays (the JAX releases of supervised ViTs).

use super::{
    archive::ArchiveEntry,
    contents::{Container, ContainerKind},
    elements::{is_row_major, span},
    file::DataFile,
    tensor::{Dtype, StoredTensor, TensorPlace, checked_elements},
};
use crate::error::{VitError, shortened};

/// No array of a checkpoint needs a longer description.
const HEADER_LIMIT: u64 = 1 << 16;

/// Lists the arrays of an archive.
pub(super) fn open(file: DataFile, entries: Vec<ArchiveEntry>) -> Result<Container, VitError> {
    let mut tensors = Vec::new();
    for entry in entries {
        let Some(name) = entry.name.strip_suffix(".npy") else {
            continue;
        };
        let start = entry.read_start(&file, HEADER_LIMIT)?;
        let shown = shortened(&entry.name);
        let (header, skip) = header(&start)
            .ok_or_else(|| file.damaged(format!("its entry {shown} is not a .npy array")))?;
        let array = Array::parse(header).ok_or_else(|| {
            file.damaged(format!(
                "the description of its array {shown} cannot be understood"
            ))
        })?;
        let bytes = checked_elements(&array.shape)
            .and_then(|count| count.checked_mul(array.dtype.size()))
            .ok_or_else(|| file.damaged(format!("its array {shown} is too large to address")))?;
        let strides = array.fortran.then(|| column_major(&array.shape));
        let strides = strides.filter(|strides| !is_row_major(&array.shape, strides));
        if skip.checked_add(bytes as u64) != Some(entry.size)
            || strides
                .as_ref()
                .is_some_and(|strides| span(&array.shape, strides) * array.dtype.size() > bytes)
        {
            return Err(file.damaged(format!(
                "its array {shown} describes {bytes} bytes, but its entry holds {}",
                entry.size.saturating_sub(skip)
            )));
        }
        let place = match (entry.deflated, strides) {
            (true, strides) => TensorPlace::Deflated {
                file: 0,
                offset: entry.offset,
                compressed: entry.stored,
                skip,
                strides,
            },
            (false, None) => TensorPlace::Plain {
                file: 0,
                offset: entry.offset + skip,
            },
            (false, Some(strides)) => TensorPlace::Strided {
                file: 0,
                offset: entry.offset + skip,
                strides,
            },
        };
        tensors.push(StoredTensor {
            group: String::new(),
            name: name.to_owned(),
            shape: array.shape,
            dtype: array.dtype,
            place,
        });
    }
    Ok(Container {
        kind: ContainerKind::Npz,
        files: vec![file],
        tensors,
        root: Vec::new(),
    })
}

/// The text of a `.npy` header, and where the elements begin.
fn header(start: &[u8]) -> Option<(&str, u64)> {
    let rest = start.strip_prefix(b"\x93NUMPY")?;
    let (length, text) = match rest.first()? {
        1 => (
            usize::from(u16::from_le_bytes(*rest.get(2..)?.first_chunk()?)),
            10,
        ),
        2 | 3 => (
            usize::try_from(u32::from_le_bytes(*rest.get(2..)?.first_chunk()?)).ok()?,
            12,
        ),
        _ => return None,
    };
    let end = length.checked_add(text)?;
    let header = std::str::from_utf8(start.get(text..end)?).ok()?;
    Some((header, end as u64))
}

struct Array {
    shape: Vec<usize>,
    dtype: Dtype,
    fortran: bool,
}

impl Array {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(header: &str) -> Option<Self> {
        let value = |key: &str| -> Option<&str> {
            let after = &header[header.find(&format!("'{key}'"))? + key.len() + 2..];
            Some(after.trim_start().strip_prefix(':')?.trim_start())
        };
        let descr = value("descr")?.strip_prefix('\'')?;
        let dtype = match &descr[..descr.find('\'')?] {
            "<f8" => Dtype::F64,
            "<f4" => Dtype::F32,
            "<f2" => Dtype::F16,
            "<i8" => Dtype::Other("i64", 8),
            "<u8" => Dtype::Other("u64", 8),
            "<i4" => Dtype::Other("i32", 4),
            "<u4" => Dtype::Other("u32", 4),
            "|i1" => Dtype::Other("i8", 1),
            "|u1" => Dtype::Other("u8", 1),
            "|b1" => Dtype::Other("bool", 1),
            _ => return None,
        };
        let fortran = value("fortran_order")?.starts_with("True");
        let shape = value("shape")?.strip_prefix('(')?;
        let shape = shape[..shape.find(')')?]
            .split(',')
            .map(str::trim)
            .filter(|extent| !extent.is_empty())
            .map(|extent| extent.parse().ok())
            .collect::<Option<Vec<usize>>>()?;
        Some(Self {
            shape,
            dtype,
            fortran,
        })
    }
}

fn column_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1].saturating_mul(shape[axis - 1]);
    }
    strides
}
