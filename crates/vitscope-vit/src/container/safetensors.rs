//! safetensors: a JSON header, then the elements of every tensor without gaps.

use safetensors::tensor::{Dtype as Type, Metadata};

use super::{
    contents::{Container, ContainerKind},
    file::{DataFile, usize_of},
    tensor::{Dtype, StoredTensor, TensorPlace, checked_elements},
};
use crate::error::VitError;

/// The longest header that the format allows.
const HEADER_LIMIT: u64 = 100_000_000;

/// Whether a file can be safetensors, from its first bytes and its length.
pub(super) fn is_safetensors(head: &[u8], len: u64) -> bool {
    // A header that is cut short is still best reported as damaged safetensors.
    head.get(8) == Some(&b'{') && header_length(head).is_some_and(|n| n <= HEADER_LIMIT || n <= len)
}

fn header_length(head: &[u8]) -> Option<u64> {
    head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Lists the tensors of one safetensors file.
pub(super) fn open(file: DataFile) -> Result<Container, VitError> {
    let head = file.head(8)?;
    let length = header_length(&head).unwrap_or(u64::MAX);
    let start = length.saturating_add(8);
    if start > file.len {
        return Err(file.damaged(format!(
            "its header claims {length} bytes, but the file has {}",
            file.len
        )));
    }
    if length > HEADER_LIMIT {
        return Err(file.damaged(format!(
            "its header has {length} bytes, and at most {HEADER_LIMIT} are read"
        )));
    }
    let mut header = vec![0; usize_of(length)];
    file.read_at(8, &mut header)?;
    // Checks that offsets neither overlap nor leave gaps and that sizes match shapes.
    let meta: Metadata = serde_json::from_slice(&header)
        .map_err(|error| file.damaged(format!("its safetensors header is wrong: {error}")))?;
    drop(header);
    let needed = start.saturating_add(meta.data_len() as u64);
    if needed != file.len {
        return Err(file.damaged(format!(
            "its header describes {needed} bytes, but the file has {}, so it is {}",
            file.len,
            if needed > file.len {
                "cut short"
            } else {
                "followed by other data"
            }
        )));
    }
    let mut tensors = Vec::new();
    for name in meta.offset_keys() {
        let Some(info) = meta.info(&name) else {
            continue;
        };
        if checked_elements(&info.shape).is_none() {
            return Err(file.damaged(format!("tensor {name} is too large to address")));
        }
        tensors.push(StoredTensor {
            group: String::new(),
            shape: info.shape.clone(),
            dtype: dtype(info.dtype),
            place: TensorPlace::Plain {
                file: 0,
                offset: start + info.data_offsets.0 as u64,
            },
            name,
        });
    }
    Ok(Container {
        kind: ContainerKind::Safetensors,
        files: vec![file],
        tensors,
        root: Vec::new(),
    })
}

fn dtype(stored: Type) -> Dtype {
    match stored {
        Type::F64 => Dtype::F64,
        Type::F32 => Dtype::F32,
        Type::F16 => Dtype::F16,
        Type::BF16 => Dtype::Bf16,
        Type::I64 => Dtype::Other("i64", 8),
        Type::U64 => Dtype::Other("u64", 8),
        Type::I32 => Dtype::Other("i32", 4),
        Type::U32 => Dtype::Other("u32", 4),
        Type::I16 => Dtype::Other("i16", 2),
        Type::U16 => Dtype::Other("u16", 2),
        Type::I8 => Dtype::Other("i8", 1),
        Type::U8 => Dtype::Other("u8", 1),
        Type::BOOL => Dtype::Other("bool", 1),
        Type::F8_E4M3 => Dtype::Other("fp8 (e4m3)", 1),
        Type::F8_E5M2 => Dtype::Other("fp8 (e5m2)", 1),
        _ => Dtype::Other("a narrow or complex type", 1),
    }
}
