//! From assigned tensors to [`Params`]: converts to f32 and puts every linear map as
//! `[inputs, outputs]`.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{
    Naming, WeightOrder,
    assignment::Assignment,
    lora::Changes,
    sizes::{PositionTable, Sizes},
};
use crate::{
    container::{Container, StoredTensor},
    error::VitError,
    params::{Block, Linear, Norm, Params},
};

/// Side of the square tiles in which a matrix is transposed, so that both sides stay in cache.
const TILE: usize = 16;

/// Reads the weights of a backbone.
pub(crate) fn params(
    container: &Container,
    assigned: &Assignment,
    sizes: &Sizes,
    periods: Option<Vec<f32>>,
) -> Result<Params, VitError> {
    let reader = Reader {
        changes: &assigned.changes,
        container,
        naming: &assigned.naming,
        sizes,
    };
    let stem = &assigned.stem;
    let width = sizes.width;

    let mut prefix = reader.vector(stem, "class")?;
    let mut table = reader.vector(stem, "positions")?;
    if sizes.registers > 0 {
        prefix.extend(reader.vector(stem, "registers")?);
    }
    if let Some(PositionTable { slots, .. }) = sizes.table {
        let own = slots * width;
        for (token, position) in prefix[..own].iter_mut().zip(&table) {
            *token += position;
        }
        table.drain(..own);
    }
    // Blocks are read in parallel; each reads with a small buffer, so memory stays bounded.
    let blocks = assigned
        .blocks
        .par_iter()
        .map(|parts| reader.block(parts, stem))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Params {
        patch: reader.patch(stem)?,
        prefix,
        table,
        periods: match periods {
            Some(periods) => periods,
            None => reader.angles(assigned)?,
        },
        stem_norm: reader.norm(stem, "stem_norm")?,
        blocks,
        norm: match assigned.naming.rms_norm && !stem.contains_key("norm.weight") {
            true => Norm {
                weight: vec![1.0; width],
                bias: vec![0.0; width],
            },
            false => reader.norm(stem, "norm")?,
        },
    })
}

type PartIndices = BTreeMap<&'static str, usize>;

struct Reader<'a> {
    changes: &'a Changes,
    container: &'a Container,
    naming: &'a Naming,
    sizes: &'a Sizes,
}

impl Reader<'_> {
    fn find(&self, parts: &PartIndices, part: &str) -> Option<&StoredTensor> {
        parts.get(part).map(|&index| &self.container.tensors[index])
    }

    /// All elements of a part; empty where the file has none.
    fn vector(&self, parts: &PartIndices, part: &str) -> Result<Vec<f32>, VitError> {
        self.find(parts, part)
            .map_or(Ok(Vec::new()), |tensor| self.container.read(tensor))
    }

    /// Rotary periods of the backbone, or the frequencies that every block repeats.
    fn angles(&self, assigned: &Assignment) -> Result<Vec<f32>, VitError> {
        let Some(first) = self.find(&assigned.blocks[0], "frequencies") else {
            return self.vector(&assigned.stem, "periods");
        };
        let angles = self.container.read(first)?;
        for parts in &assigned.blocks[1..] {
            if self.vector(parts, "frequencies")? != angles {
                return Err(VitError::Contradiction {
                    path: self.container.files[first.place.file()].path.clone(),
                    claim: "its first block turns queries and keys by other frequencies than a later one".to_owned(),
                    fact: "its authors keep them alike in all blocks, and only that is known here: give embeddings that you make yourself with `features`".to_owned(),
                });
            }
        }
        Ok(angles)
    }

    fn norm(&self, parts: &PartIndices, name: &str) -> Result<Norm, VitError> {
        let weight = self.vector(parts, &format!("{name}.weight"))?;
        let mut bias = self.vector(parts, &format!("{name}.bias"))?;
        // A norm without a shift, which only own models have.
        bias.resize(weight.len(), 0.0);
        Ok(Norm { weight, bias })
    }

    /// Places a stored map at columns `from ..` of `[inputs, total]`.
    fn place(
        &self,
        tensor: &StoredTensor,
        layout: WeightOrder,
        inputs: usize,
        out: &mut [f32],
        total: usize,
        from: usize,
    ) -> Result<(), VitError> {
        let outputs = tensor.elements() / inputs.max(1);
        match layout {
            WeightOrder::OutIn => self.container.stream(tensor, inputs, &mut |first, values| {
                transpose(values, inputs, out, total, from + first / inputs);
            }),
            WeightOrder::InOut => self
                .container
                .stream(tensor, outputs, &mut |first, values| {
                    for (row, values) in values.chunks_exact(outputs).enumerate() {
                        let at = (first / outputs + row) * total + from;
                        out[at..at + outputs].copy_from_slice(values);
                    }
                }),
        }
    }

    /// Adds what an adapter changes of the weight with this index, at columns `from ..`.
    fn change(
        &self,
        weight: usize,
        inputs: usize,
        out: &mut [f32],
        total: usize,
        from: usize,
    ) -> Result<(), VitError> {
        let (Some(change), Some(scale)) = (self.changes.of.get(&weight), &self.changes.scale)
        else {
            return Ok(());
        };
        let down = self.container.read(&self.container.tensors[change.down])?;
        let up = self.container.read(&self.container.tensors[change.up])?;
        let rank = down.len() / inputs.max(1);
        for (output, factors) in up.chunks_exact(rank).enumerate() {
            for (factor, row) in factors.iter().zip(down.chunks_exact(inputs)) {
                for (input, value) in row.iter().enumerate() {
                    out[input * total + from + output] += scale.value * factor * value;
                }
            }
        }
        Ok(())
    }

    /// One map of several stored side by side; an absent bias is zero where another is present.
    fn linear(
        &self,
        parts: &PartIndices,
        names: &[(&str, usize)],
        inputs: usize,
    ) -> Result<Linear, VitError> {
        let outputs: usize = names.iter().map(|(_, outputs)| outputs).sum();
        let mut weight = vec![0.0; inputs * outputs];
        let mut bias = Vec::new();
        let mut from = 0;
        for (name, count) in names {
            let part = format!("{name}.weight");
            if let Some(tensor) = self.find(parts, &part) {
                let layout = self.naming.layout_of(&part);
                self.place(tensor, layout, inputs, &mut weight, outputs, from)?;
                self.change(parts[part.as_str()], inputs, &mut weight, outputs, from)?;
            }
            let part = self.vector(parts, &format!("{name}.bias"))?;
            if !part.is_empty() {
                bias.resize(outputs, 0.0);
                bias[from..from + count].copy_from_slice(&part);
            }
            from += count;
        }
        Ok(Linear {
            weight,
            bias,
            inputs,
            outputs,
        })
    }

    fn patch(&self, stem: &PartIndices) -> Result<Linear, VitError> {
        let Sizes { width, patch, .. } = *self.sizes;
        let inputs = 3 * patch * patch;
        let mut map = self.linear(stem, &[("patch", width)], inputs)?;
        if self.sizes.linear_patch || self.naming.layout_of("patch.weight") == WeightOrder::InOut {
            // Rows are (row, column, channel); a patch is flattened (channel, row, column).
            let mut weight = vec![0.0; map.weight.len()];
            for (index, values) in map.weight.chunks_exact(width).enumerate() {
                let (pixel, channel) = (index / 3, index % 3);
                let at = (channel * patch * patch + pixel) * width;
                weight[at..at + width].copy_from_slice(values);
            }
            map.weight = weight;
        }
        Ok(map)
    }

    fn block(&self, parts: &PartIndices, stem: &PartIndices) -> Result<Block, VitError> {
        let Sizes { width, hidden, .. } = *self.sizes;
        let mut qkv = if parts.contains_key("qkv.weight") {
            self.linear(parts, &[("qkv", 3 * width)], width)?
        } else {
            self.linear(
                parts,
                &[("query", width), ("key", width), ("value", width)],
                width,
            )?
        };
        if parts.contains_key("qkv.weight") && qkv.bias.is_empty() {
            // timm's DINOv3 keeps the biases apart from the joint weight.
            for (at, name) in ["query.bias", "key.bias", "value.bias"].iter().enumerate() {
                let part = self.vector(parts, name)?;
                if !part.is_empty() {
                    qkv.bias.resize(3 * width, 0.0);
                    qkv.bias[at * width..(at + 1) * width].copy_from_slice(&part);
                }
            }
        }
        for (bias, mask) in qkv.bias.iter_mut().zip(self.vector(parts, "qkv.mask")?) {
            *bias *= mask;
        }
        let mut up = if parts.contains_key("gate.weight") {
            self.linear(parts, &[("gate", hidden), ("up", hidden)], width)?
        } else {
            let outputs = if self.sizes.packed {
                2 * hidden
            } else {
                hidden
            };
            self.linear(parts, &[("up", outputs)], width)?
        };
        // The activation is fused with this bias, which only own models may lack.
        up.bias.resize(up.outputs, 0.0);
        Ok(Block {
            norm1: self.norm(parts, "norm1")?,
            qkv,
            // One table may serve all blocks.
            relative: match parts.contains_key("relative") {
                true => self.vector(parts, "relative")?,
                false => self.vector(stem, "relative")?,
            },
            proj: self.linear(parts, &[("proj", width)], width)?,
            scale1: self.vector(parts, "scale1")?,
            norm2: self.norm(parts, "norm2")?,
            up,
            hidden_norm: self.norm(parts, "hidden_norm")?,
            down: self.linear(parts, &[("down", width)], hidden)?,
            scale2: self.vector(parts, "scale2")?,
        })
    }
}

/// Writes rows of `columns` values as columns `from ..` of a matrix with `total` columns.
fn transpose(values: &[f32], columns: usize, out: &mut [f32], total: usize, from: usize) {
    let rows = values.len() / columns;
    for row0 in (0..rows).step_by(TILE) {
        let row1 = (row0 + TILE).min(rows);
        for column0 in (0..columns).step_by(TILE) {
            for column in column0..(column0 + TILE).min(columns) {
                let line = &mut out[column * total + from + row0..column * total + from + row1];
                for (value, row) in line.iter_mut().zip(row0..row1) {
                    *value = values[row * columns + column];
                }
            }
        }
    }
}
