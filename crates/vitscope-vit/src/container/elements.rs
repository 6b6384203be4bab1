//! Reading the elements of one tensor as f32.

use std::io::Read;

use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::{
    archive::RangeReader,
    contents::Container,
    file::{DataFile, usize_of},
    tensor::{Dtype, StoredTensor, TensorPlace},
};
use crate::error::{VitError, shortened};

/// Elements converted at a time: 4 MB of f32, so that reading needs little beside its result.
const CHUNK: usize = 1 << 20;

impl TensorPlace {
    /// Which of the container's files holds the elements.
    pub fn file(&self) -> usize {
        match self {
            Self::Plain { file, .. } | Self::Strided { file, .. } | Self::Deflated { file, .. } => {
                *file
            }
            Self::Joined(parts) => parts.first().map_or(0, |part| part.place.file()),
        }
    }

    /// Renumbers the file when containers are joined.
    pub fn shift_file(&mut self, by: usize) {
        match self {
            Self::Plain { file, .. } | Self::Strided { file, .. } | Self::Deflated { file, .. } => {
                *file += by;
            }
            Self::Joined(parts) => parts.iter_mut().for_each(|part| part.place.shift_file(by)),
        }
    }
}

impl Container {
    /// All elements of a tensor in row-major order.
    ///
    /// # Errors
    ///
    /// The file cannot be read, the type is not a float, or a value is not finite.
    pub fn read(&self, tensor: &StoredTensor) -> Result<Vec<f32>, VitError> {
        let mut all = Vec::with_capacity(tensor.elements());
        self.stream(tensor, 1, &mut |_, values| all.extend_from_slice(values))?;
        Ok(all)
    }

    /// Hands out the elements of a tensor in row-major order, a bounded number at a time and
    /// always a multiple of `row`: `sink(index of the first, values)`.
    ///
    /// # Errors
    ///
    /// As [`Container::read`].
    pub fn stream(
        &self,
        tensor: &StoredTensor,
        row: usize,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), VitError> {
        let file = &self.files[tensor.place.file()];
        let size = tensor.dtype.size();
        let count = tensor.elements();
        let mut values = Vec::new();
        match &tensor.place {
            TensorPlace::Plain { offset, .. } => {
                let step = (CHUNK / row.max(1)).max(1) * row.max(1);
                let mut bytes = vec![0; step.min(count) * size];
                let mut first = 0;
                while first < count {
                    let take = step.min(count - first);
                    let part = &mut bytes[..take * size];
                    file.read_at(offset + (first * size) as u64, part)?;
                    convert(file, tensor, part, &mut values)?;
                    sink(first, &values);
                    first += take;
                }
            }
            TensorPlace::Strided {
                offset, strides, ..
            } => {
                let mut bytes = vec![0; span(&tensor.shape, strides) * size];
                file.read_at(*offset, &mut bytes)?;
                convert(file, tensor, &bytes, &mut values)?;
                sink(0, &gathered(&values, &tensor.shape, strides));
            }
            TensorPlace::Deflated {
                offset,
                compressed,
                skip,
                strides,
                ..
            } => {
                let mut inflated =
                    flate2::read::DeflateDecoder::new(RangeReader::new(file, *offset, *compressed));
                let mut bytes = Vec::new();
                let wanted = skip + (count * size) as u64;
                (&mut inflated)
                    .take(wanted)
                    .read_to_end(&mut bytes)
                    .map_err(|error| {
                        file.damaged(format!(
                            "{} does not inflate: {error}",
                            shortened(&tensor.name)
                        ))
                    })?;
                if bytes.len() as u64 != wanted {
                    return Err(file.damaged(format!(
                        "{} inflates to fewer bytes than declared",
                        shortened(&tensor.name)
                    )));
                }
                convert(file, tensor, &bytes[usize_of(*skip)..], &mut values)?;
                drop(bytes);
                match strides {
                    None => sink(0, &values),
                    Some(strides) => sink(0, &gathered(&values, &tensor.shape, strides)),
                }
            }
            TensorPlace::Joined(parts) => {
                let mut before = 0;
                for part in parts {
                    self.stream(part, row, &mut |first, values| sink(before + first, values))?;
                    before += part.elements();
                }
            }
        }
        Ok(())
    }
}

/// One past the largest element index that a shape reaches with these strides.
pub(super) fn span(shape: &[usize], strides: &[usize]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    shape
        .iter()
        .zip(strides)
        .fold(1usize, |reach, (&extent, &stride)| {
            reach.saturating_add((extent - 1).saturating_mul(stride))
        })
}

/// Strides of a row-major array.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// Whether strides describe row-major order; those of axes of extent 0 or 1 do not matter.
pub(super) fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    shape
        .iter()
        .zip(strides)
        .zip(row_major(shape))
        .all(|((&extent, &stride), plain)| extent <= 1 || stride == plain)
}

fn gathered(values: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let count: usize = shape.iter().product();
    let mut out = Vec::with_capacity(count);
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..count {
        out.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}

fn convert(
    file: &DataFile,
    tensor: &StoredTensor,
    bytes: &[u8],
    values: &mut Vec<f32>,
) -> Result<(), VitError> {
    values.clear();
    match tensor.dtype {
        Dtype::F32 => values.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        Dtype::F16 => {
            // Converted as a slice, which uses the processor's own conversion where it has one.
            let halves: Vec<f16> = bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b))
                .collect();
            values.resize(halves.len(), 0.0);
            halves.convert_to_f32_slice(values);
        }
        Dtype::Bf16 => values.extend(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32()),
        ),
        Dtype::F64 => values.extend(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b) as f32),
        ),
        Dtype::Other(name, _) => {
            return Err(VitError::Dtype {
                path: file.path.clone(),
                tensor: tensor.full_name(),
                dtype: name.to_owned(),
            });
        }
    }
    if values.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(VitError::NotFinite {
            path: file.path.clone(),
            tensor: tensor.full_name(),
        })
    }
}
