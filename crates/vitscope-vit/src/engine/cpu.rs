//! The stages on the CPU: fused loops over chunks of rows that stay in cache.
//!
//! Work is split by image, by fixed chunks of an image's rows and by head, and every piece is
//! computed serially: an image's tensors are the same bytes whatever the number of threads and
//! whichever images share its batch.

mod feed;

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use ndarray::{ArrayView3, ArrayView4, ShapeBuilder};
use rayon::prelude::*;

use super::geometry::InputGeometry;
use super::stages::{BatchTensor, Input, Stages};
use crate::config::{Config, PositionEncoding, Precision};
use crate::edit::FromPrefix;
use crate::error::DeviceError;
use crate::ops::attention::{self, attend};
use crate::ops::packed::{Packed, padded};
use crate::ops::patches::patchify;
use crate::ops::positions::relative_table;
use crate::ops::rows;
use crate::params::{Block, Linear, Norm, Params};
use crate::tapped::{AttentionWeights, Rows};

/// A backbone's weights, laid out for the CPU.
#[derive(Debug)]
pub(crate) struct HostModel {
    config: Config,
    precision: Precision,
    patch: HostMap,
    prefix: Vec<f32>,
    stem_norm: Norm,
    layers: Vec<HostLayer>,
    norm: Norm,
}

/// A linear map, laid out for its product.
#[derive(Debug)]
struct HostMap {
    weight: Packed,
    bias: Vec<f32>,
}

impl HostMap {
    /// Lays out a map, whose weights are given up for it.
    fn new(linear: Linear, precision: Precision) -> Self {
        Self {
            weight: Packed::from_rows(&linear.weight, linear.inputs, linear.outputs, precision),
            bias: linear.bias,
        }
    }

    /// The bias of `count` outputs from `column` on; empty where the map has none.
    #[inline(always)]
    fn bias(&self, column: usize, count: usize) -> &[f32] {
        stretch(&self.bias, column, count)
    }
}

/// A part of a vector that may be absent.
#[inline(always)]
fn stretch(values: &[f32], from: usize, count: usize) -> &[f32] {
    if values.is_empty() {
        values
    } else {
        &values[from..from + count]
    }
}

/// A block with its maps laid out.
#[derive(Debug)]
struct HostLayer {
    norm1: Norm,
    qkv: HostMap,
    relative: Vec<f32>,
    proj: HostMap,
    scale1: Vec<f32>,
    norm2: Norm,
    up: HostMap,
    hidden_norm: Norm,
    down: HostMap,
    scale2: Vec<f32>,
}

impl HostLayer {
    fn new(block: Block, precision: Precision) -> Self {
        Self {
            norm1: block.norm1,
            qkv: HostMap::new(block.qkv, precision),
            relative: block.relative,
            proj: HostMap::new(block.proj, precision),
            scale1: block.scale1,
            norm2: block.norm2,
            up: HostMap::new(block.up, precision),
            hidden_norm: block.hidden_norm,
            down: HostMap::new(block.down, precision),
            scale2: block.scale2,
        }
    }
}

/// The stages of one model, with buffers for one input size.
#[derive(Debug)]
pub(crate) struct Cpu {
    model: Arc<HostModel>,
    geometry: InputGeometry,
    /// Per block, its table of relative positions at the input's grid, `[heads, rows]`; or nothing.
    relative: Vec<Vec<f32>>,
    /// The block whose queries and keys were computed last.
    block: usize,
    work: HostBuffers,
}

/// Tensors of the batch that is being run, row-major.
#[derive(Debug, Default)]
struct HostBuffers {
    /// `[batch, tokens, D]`: the residual stream.
    x: Vec<f32>,
    /// `[batch, tokens, 3D]`
    qkv: Vec<f32>,
    /// `[batch, heads, tokens, D / heads]`
    mixed: Vec<f32>,
    /// `[batch, tokens, D]`: after the final LayerNorm.
    normed: Vec<f32>,
    /// `[batch, heads, tokens, tokens]`, or nothing.
    matrices: Vec<f32>,
}

/// The most rows of one image that one task handles: enough to pay for packing the weights,
/// few enough that long sequences keep every core busy.
const MAX_ROWS: usize = 512;

/// The same with bf16 factors, whose products are so fast that rows should stay near.
const MAX_ROWS_BF16: usize = 224;

thread_local! {
    static ATTENTION: RefCell<attention::AttentionScratch> = RefCell::default();
    static SCRATCH: RefCell<[Vec<f32>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// Runs `f` with this thread's buffers, each grown to the asked length.
fn with_scratch<T>(lengths: [usize; 3], f: impl FnOnce([&mut [f32]; 3]) -> T) -> T {
    SCRATCH.with_borrow_mut(|buffers| {
        for (buffer, &length) in buffers.iter_mut().zip(&lengths) {
            if buffer.len() < length {
                buffer.resize(length, 0.0);
            }
        }
        let [a, b, c] = buffers;
        f([
            &mut a[..lengths[0]],
            &mut b[..lengths[1]],
            &mut c[..lengths[2]],
        ])
    })
}

/// Rows per task for an image of `tokens` rows: equal chunks of at most [`MAX_ROWS`].
fn chunk_rows(tokens: usize, precision: Precision) -> usize {
    let most = match precision {
        Precision::Bf16 => MAX_ROWS_BF16,
        _ => MAX_ROWS,
    };
    tokens.div_ceil(tokens.div_ceil(most))
}

impl HostModel {
    /// Lays out weights that [`crate::vit`] has checked.
    pub(crate) fn new(config: Config, params: Params, precision: Precision) -> Self {
        // One block at a time gives up its weights for their new layout.
        let blocks = params.blocks.into_iter();
        Self {
            config,
            precision,
            patch: HostMap::new(params.patch, precision),
            prefix: params.prefix,
            stem_norm: params.stem_norm,
            layers: blocks
                .map(|block| HostLayer::new(block, precision))
                .collect(),
            norm: params.norm,
        }
    }

    /// The patches of every image, projected to where they stay in `x`.
    fn project_patches(&self, images: &[f32], geometry: &InputGeometry, x: &mut [f32]) {
        let d = self.config.width;
        let prefix = self.config.prefix();
        let pixels = geometry.pixels;
        let patches = geometry.patches();
        let stride = padded(self.patch.weight.inputs());
        x.par_chunks_mut((prefix + patches) * d)
            .zip(images.par_chunks(3 * pixels[0] * pixels[1]))
            .for_each(|(x, image)| {
                with_scratch([patches * stride, 0, 0], |[flat, ..]| {
                    patchify(image, pixels, self.config.patch, (flat, stride));
                    self.patch.weight.times(
                        (flat, stride),
                        patches,
                        (&mut x[prefix * d..], d),
                        #[inline(always)]
                        |_, column, values| {
                            rows::add(values, self.patch.bias(column, values.len()));
                        },
                    );
                });
            });
    }

    /// Class token, registers and positions; `x` becomes the first block's input.
    fn embed(&self, geometry: &InputGeometry, x: &mut [f32]) {
        let d = self.config.width;
        let prefix = self.config.prefix();
        x.par_chunks_mut((prefix + geometry.patches()) * d)
            .for_each(|x| {
                let (head, body) = x.split_at_mut(prefix * d);
                head.copy_from_slice(&self.prefix);
                rows::add(body, &geometry.table);
                if self.config.stem_norm {
                    with_scratch([x.len(), 0, 0], |[copy, ..]| {
                        copy.copy_from_slice(x);
                        self.normalize(copy, &self.stem_norm, (x, d));
                    });
                }
            });
    }

    /// LayerNorm, then queries, keys and values with their bias.
    fn project(&self, block: &HostLayer, work: &mut HostBuffers, tokens: usize) {
        let d = self.config.width;
        let chunk = chunk_rows(tokens, self.precision);
        let stride = padded(d);
        let HostBuffers { x, qkv, .. } = work;
        qkv.par_chunks_mut(tokens * 3 * d)
            .zip(x.par_chunks(tokens * d))
            .for_each(|(qkv, x)| {
                qkv.par_chunks_mut(chunk * 3 * d)
                    .zip(x.par_chunks(chunk * d))
                    .for_each(|(qkv, x)| {
                        let count = x.len() / d;
                        with_scratch([count * stride, 0, 0], |[normed, ..]| {
                            self.normalize(x, &block.norm1, (normed, stride));
                            block.qkv.weight.times(
                                (normed, stride),
                                count,
                                (qkv, 3 * d),
                                #[inline(always)]
                                |_, column, values| {
                                    rows::add(values, block.qkv.bias(column, values.len()));
                                },
                            );
                        });
                    });
            });
    }

    /// The norm that the model has.
    fn normalize(&self, x: &[f32], norm: &Norm, out: (&mut [f32], usize)) {
        let normalize = match self.config.rms_norm {
            true => rows::rms_norm,
            false => rows::layer_norm,
        };
        normalize(x, &norm.weight, &norm.bias, self.config.norm_eps, out);
    }

    /// Rotates the queries and keys of the tokens that have a place, in rotary models.
    fn rotate(&self, geometry: &InputGeometry, qkv: &mut [f32], tokens: usize) {
        let d = self.config.width;
        let Some((cos, sin)) = &geometry.rotary else {
            return;
        };
        let heads = self.config.heads;
        let head_width = self.config.head_width();
        qkv.par_chunks_mut(tokens * 3 * d).for_each(|qkv| {
            // As many of the last tokens as there are angles.
            let turning = cos.len() / head_width;
            let rows = &mut qkv[(tokens - turning) * 3 * d..];
            let rotate = match self.config.positions {
                PositionEncoding::Both { .. } => rows::rotate_pairs,
                _ => rows::rotate,
            };
            rotate(rows, 3 * d, heads, cos, sin, head_width);
            rotate(&mut rows[d..], 3 * d, heads, cos, sin, head_width);
        });
    }

    /// Attention of every head into `mixed` `[batch, heads, tokens, d]`; `relative` is the block's table for every head and
    /// which of its numbers each query and key are given.
    fn attention(
        &self,
        work: &mut HostBuffers,
        (tokens, from_prefix): (usize, FromPrefix),
        relative: Option<(&[f32], &[u32])>,
        keep_matrices: bool,
    ) {
        let d = self.config.width;
        let heads = self.config.heads;
        let head_width = self.config.head_width();
        let HostBuffers {
            qkv,
            mixed,
            matrices,
            ..
        } = work;
        let batch = qkv.len() / (tokens * 3 * d);
        let matrix_len = if keep_matrices { tokens * tokens } else { 0 };
        matrices.resize(batch * heads * matrix_len, 0.0);
        let run = |index: usize, out: &mut [f32], matrix: Option<&mut [f32]>| {
            let (image, head) = (index / heads, index % heads);
            let qkv = &qkv[image * tokens * 3 * d..][..tokens * 3 * d];
            let relative = relative.map(|(tables, index)| {
                let rows = tables.len() / heads;
                let table = &tables[head * rows..][..rows];
                attention::Relative { table, index }
            });
            let shape = attention::AttentionShape {
                tokens,
                heads,
                width: head_width,
                prefix: self.config.prefix(),
                from_prefix,
                relative,
            };
            ATTENTION.with_borrow_mut(|scratch| {
                attend(qkv, shape, head, self.precision, scratch, matrix, out);
            });
        };
        let outs = mixed.par_chunks_mut(tokens * head_width).enumerate();
        if keep_matrices {
            outs.zip(matrices.par_chunks_mut(matrix_len))
                .for_each(|((index, out), matrix)| run(index, out, Some(matrix)));
        } else {
            outs.for_each(|(index, out)| run(index, out, None));
        }
    }
}

impl Cpu {
    /// Buffers for inputs of one size.
    pub(crate) fn new(model: Arc<HostModel>, geometry: InputGeometry) -> Self {
        let tables = model.layers.iter();
        let relative = match model.config.positions {
            PositionEncoding::Relative { grid } => tables
                .map(|layer| {
                    relative_table(&layer.relative, model.config.heads, grid, geometry.grid)
                })
                .collect(),
            _ => Vec::new(),
        };
        Self {
            model,
            geometry,
            relative,
            block: 0,
            work: HostBuffers::default(),
        }
    }

    fn tokens(&self) -> usize {
        self.model.config.prefix() + self.geometry.patches()
    }
}

/// RGB images of `area` pixels each as three planes of the numbers that their bytes stand for.
fn normalized(pixels: &[u8], area: usize, levels: &[[f32; 256]; 3]) -> Vec<f32> {
    let mut out = Vec::with_capacity(pixels.len());
    for image in pixels.chunks_exact(3 * area) {
        let (image, _) = image.as_chunks::<3>();
        for (channel, levels) in levels.iter().enumerate() {
            out.extend(
                image
                    .iter()
                    .map(|pixel| levels[usize::from(pixel[channel])]),
            );
        }
    }
    out
}

impl Stages for Cpu {
    fn send(&mut self, _: &[u8]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn project_patches(&mut self, images: Input<'_>) -> Result<(), DeviceError> {
        let size = 3 * self.geometry.pixels[0] * self.geometry.pixels[1];
        let images: Cow<'_, [f32]> = match images {
            Input::Normalized(images) => match images.to_slice() {
                Some(images) => Cow::Borrowed(images),
                None => Cow::Owned(images.iter().copied().collect()),
            },
            Input::Sent { pixels, levels } => Cow::Owned(normalized(pixels, size / 3, levels)),
        };
        let rows = images.len() / size * self.tokens();
        let d = self.model.config.width;
        self.work.x.resize(rows * d, 0.0);
        self.work.qkv.resize(rows * 3 * d, 0.0);
        self.work.mixed.resize(rows * d, 0.0);
        self.model
            .project_patches(&images, &self.geometry, &mut self.work.x);
        Ok(())
    }

    fn embed(&mut self) -> Result<(), DeviceError> {
        self.model.embed(&self.geometry, &mut self.work.x);
        Ok(())
    }

    fn project(&mut self, block: usize) -> Result<(), DeviceError> {
        let tokens = self.tokens();
        let layer = &self.model.layers[block];
        self.block = block;
        self.model.project(layer, &mut self.work, tokens);
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), DeviceError> {
        let tokens = self.tokens();
        self.model
            .rotate(&self.geometry, &mut self.work.qkv, tokens);
        Ok(())
    }

    fn attention(&mut self, keep: bool) -> Result<(), DeviceError> {
        let tokens = self.tokens();
        let from_prefix = self.geometry.from_prefix;
        let table = self.relative.get(self.block).map(Vec::as_slice);
        let relative = table.zip(self.geometry.relative.as_deref());
        self.model
            .attention(&mut self.work, (tokens, from_prefix), relative, keep);
        Ok(())
    }

    fn feed_forward(&mut self, block: usize) -> Result<(), DeviceError> {
        let tokens = self.tokens();
        let layer = &self.model.layers[block];
        self.model.feed_forward(layer, &mut self.work, tokens);
        Ok(())
    }

    fn final_norm(&mut self) -> Result<(), DeviceError> {
        let tokens = self.tokens();
        let model = &self.model;
        let d = model.config.width;
        let HostBuffers { x, normed, .. } = &mut self.work;
        normed.resize(x.len(), 0.0);
        normed
            .par_chunks_mut(tokens * d)
            .zip(x.par_chunks(tokens * d))
            .for_each(|(out, x)| {
                model.normalize(x, &model.norm, (out, d));
            });
        Ok(())
    }

    fn rows(&self, tensor: BatchTensor) -> [Rows<'_>; 2] {
        let d = self.model.config.width;
        let (data, offset, stride) = match tensor {
            BatchTensor::Patches | BatchTensor::Residual => (&self.work.x, 0, d),
            BatchTensor::Queries => (&self.work.qkv, 0, 3 * d),
            BatchTensor::Keys => (&self.work.qkv, d, 3 * d),
            BatchTensor::Values => (&self.work.qkv, 2 * d, 3 * d),
            BatchTensor::Normed => (&self.work.normed, 0, d),
        };
        let tokens = self.tokens();
        let batch = data.len() / (tokens * stride);
        let view = |from: usize, count: usize| {
            let view = ArrayView3::from_shape(
                (batch, count, d).strides((tokens * stride, stride, 1)),
                data.get(from * stride + offset..).unwrap_or_default(),
            );
            Rows::Host(view.expect("the buffer holds every row of the batch"))
        };
        let prefix = self.model.config.prefix();
        let shown = match tensor {
            BatchTensor::Patches => 0,
            _ => prefix,
        };
        [view(0, shown), view(prefix, tokens - prefix)]
    }

    fn weights(&self) -> AttentionWeights<'_> {
        let tokens = self.tokens();
        let heads = self.model.config.heads;
        let matrices = &self.work.matrices;
        let batch = matrices.len() / (heads * tokens * tokens);
        let shape = (batch, heads, tokens, tokens);
        let view = ArrayView4::from_shape(shape, matrices);
        AttentionWeights::Host(view.expect("one matrix per image and head"))
    }
}
