//! The stages on an NVIDIA GPU: products by cuBLASLt, what lies between them by kernels.
//!
//! As on the CPU, products multiply numbers of the chosen precision and sum in f32; the residual
//! stream and everything that is handed out is f32. What is handed out stays on the card until
//! somebody asks for it on the host.

use std::borrow::Cow;
use std::sync::Arc;

use ndarray::ArrayView4;
use vitscope_cuda::{
    Activation, Buffer, CudaError, Dense, Element, Factors, Gpu, Matrix, Product, RowsView, Target,
};

use super::{Geometry, Stages, Tensor};
use crate::config::{Config, Mlp, Precision};
use crate::error::DeviceError;
use crate::params::{Block, Linear, Norm, Params};
use crate::vit::Rows;

/// Scores of attention that exist at a time, at most: heads beyond that wait for their turn.
const MAX_SCORES: usize = 64 << 20;

/// Rows of score matrices and of patches begin at multiples of so many numbers, which is what fast
/// products of 16-bit factors need.
const ROW_UNIT: usize = 16;

/// A backbone's weights on the card.
#[derive(Debug)]
pub(crate) struct Model {
    config: Config,
    dense: Dense,
    patch: Map,
    prefix: Buffer<f32>,
    stem_norm: Option<NormPair>,
    layers: Vec<Layer>,
    norm: NormPair,
}

#[derive(Debug)]
struct Map {
    weight: Factors,
    bias: Option<Buffer<f32>>,
    inputs: usize,
    outputs: usize,
}

#[derive(Debug)]
struct NormPair {
    weight: Buffer<f32>,
    bias: Buffer<f32>,
}

#[derive(Debug)]
struct Layer {
    norm1: NormPair,
    qkv: Map,
    proj: Map,
    scale1: Option<Buffer<f32>>,
    norm2: NormPair,
    up: Map,
    down: Map,
    scale2: Option<Buffer<f32>>,
}

/// Numbers that may be absent.
fn optional(gpu: &Gpu, values: &[f32]) -> Result<Option<Buffer<f32>>, CudaError> {
    (!values.is_empty())
        .then(|| Buffer::upload(gpu, values))
        .transpose()
}

impl Map {
    /// Uploads a map; inputs that its product is padded with are multiplied by zero.
    fn new(dense: &Dense, linear: &Linear, inputs: usize) -> Result<Self, CudaError> {
        let gpu = dense.gpu();
        let mut weight = Cow::Borrowed(&linear.weight);
        if inputs > linear.inputs {
            weight.to_mut().resize(inputs * linear.outputs, 0.0);
        }
        Ok(Self {
            weight: Factors::upload(gpu, dense.element(), &weight)?,
            bias: optional(gpu, &linear.bias)?,
            inputs,
            outputs: linear.outputs,
        })
    }

    /// `out = a x weight`, the bias added where `with_bias` says so.
    fn times(
        &self,
        gpu: &Gpu,
        a: &Factors,
        rows: usize,
        with_bias: bool,
        out: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        let product = Product {
            rows,
            inputs: self.inputs,
            outputs: self.outputs,
            batch: 1,
        };
        let left = Matrix::factors(a, 0, self.inputs);
        let right = Matrix::factors(&self.weight, 0, self.outputs);
        let target = Target::new(out, self.outputs);
        let bias = self.bias.as_ref().filter(|_| with_bias);
        gpu.product(product, left, right, target, bias)
    }
}

impl NormPair {
    fn new(gpu: &Gpu, norm: &Norm) -> Result<Self, CudaError> {
        Ok(Self {
            weight: Buffer::upload(gpu, &norm.weight)?,
            bias: Buffer::upload(gpu, &norm.bias)?,
        })
    }

    fn pair(&self) -> [&Buffer<f32>; 2] {
        [&self.weight, &self.bias]
    }
}

impl Layer {
    fn new(dense: &Dense, block: &Block) -> Result<Self, CudaError> {
        let gpu = dense.gpu();
        // Widths are multiples of the unit in every released model.
        let map = |linear: &Linear| Map::new(dense, linear, linear.inputs);
        Ok(Self {
            norm1: NormPair::new(gpu, &block.norm1)?,
            qkv: map(&block.qkv)?,
            proj: map(&block.proj)?,
            scale1: optional(gpu, &block.scale1)?,
            norm2: NormPair::new(gpu, &block.norm2)?,
            up: map(&block.up)?,
            down: map(&block.down)?,
            scale2: optional(gpu, &block.scale2)?,
        })
    }
}

impl Model {
    /// Uploads weights that [`crate::vit`] has checked, to the first GPU.
    pub(crate) fn new(
        config: Config,
        params: Params,
        precision: Precision,
    ) -> Result<Self, CudaError> {
        let element = match precision {
            Precision::F32 => Element::F32,
            Precision::Bf16 => Element::Bf16,
            Precision::F16 => Element::F16,
        };
        let gpu = Gpu::open()?;
        let dense = Dense::new(&gpu, element)?;
        let stem_norm = config
            .stem_norm
            .then(|| NormPair::new(&gpu, &params.stem_norm))
            .transpose()?;
        let patch_inputs = params.patch.inputs.next_multiple_of(ROW_UNIT);
        // One block at a time gives up its weights on the host.
        let blocks = params.blocks.into_iter();
        Ok(Self {
            patch: Map::new(&dense, &params.patch, patch_inputs)?,
            prefix: Buffer::upload(&gpu, &params.prefix)?,
            stem_norm,
            layers: blocks
                .map(|block| Layer::new(&dense, &block))
                .collect::<Result<_, _>>()?,
            norm: NormPair::new(&gpu, &params.norm)?,
            config,
            dense,
        })
    }

    /// The card.
    pub(crate) fn gpu(&self) -> &Arc<Gpu> {
        self.dense.gpu()
    }
}

/// The stages of one model, with buffers for one input size.
#[derive(Debug)]
pub(crate) struct Cuda {
    model: Arc<Model>,
    geometry: Geometry,
    table: Option<Buffer<f32>>,
    rotary: Option<[Buffer<f32>; 2]>,
    batch: usize,
    most_scores: usize,
    work: Work,
}

/// Tensors of the batch that is being run, row-major.
#[derive(Debug)]
struct Work {
    images: Buffer<f32>,
    /// `[batch, tokens, D]`: the residual stream.
    x: Buffer<f32>,
    /// `[batch, tokens, 3D]`
    qkv: Buffer<f32>,
    /// `[batch, heads, tokens, D / heads]`
    mixed: Buffer<f32>,
    /// `[batch, tokens, D]`: after the final LayerNorm.
    normed: Buffer<f32>,
    /// Attention weights, where they are kept, `[batch, heads, tokens, tokens]`.
    matrices: Buffer<f32>,
    /// The same on the host.
    host: Vec<f32>,
    /// Scores of some heads of some images, `[pairs, tokens, padded tokens]`.
    scores: Buffer<f32>,
    /// The same after softmax.
    weights: Factors,
    /// `[3, batch, heads, tokens, D / heads]`
    heads: Factors,
    /// The left factor of a product.
    a: Factors,
    /// The result of a product whose bias is still to come.
    y: Buffer<f32>,
    /// Hidden values of the feed-forward part.
    hidden: Factors,
}

impl Work {
    fn new(gpu: &Gpu, element: Element) -> Result<Self, CudaError> {
        let floats = || Buffer::new(gpu, 0);
        let factors = || Factors::new(gpu, element, 0);
        Ok(Self {
            images: floats()?,
            x: floats()?,
            qkv: floats()?,
            mixed: floats()?,
            normed: floats()?,
            matrices: floats()?,
            host: Vec::new(),
            scores: floats()?,
            weights: factors()?,
            heads: factors()?,
            a: factors()?,
            y: floats()?,
            hidden: factors()?,
        })
    }
}

impl Cuda {
    /// Buffers for inputs of one size.
    pub(crate) fn new(model: Arc<Model>, geometry: Geometry) -> Result<Self, CudaError> {
        let gpu = model.gpu();
        let table = optional(gpu, &geometry.table)?;
        let rotary = match &geometry.rotary {
            Some((cosines, sines)) => {
                Some([Buffer::upload(gpu, cosines)?, Buffer::upload(gpu, sines)?])
            }
            None => None,
        };
        let work = Work::new(gpu, model.dense.element())?;
        Ok(Self {
            model,
            geometry,
            table,
            rotary,
            batch: 0,
            most_scores: MAX_SCORES,
            work,
        })
    }

    fn tokens(&self) -> usize {
        self.model.config.prefix() + self.geometry.patches()
    }

    /// Batch, tokens, heads and the width of one.
    fn shape(&self) -> [usize; 4] {
        let config = &self.model.config;
        [self.batch, self.tokens(), config.heads, config.head_width()]
    }

    fn embed_images(&mut self, images: ArrayView4<'_, f32>) -> Result<(), CudaError> {
        let Model {
            config,
            dense,
            patch,
            prefix,
            stem_norm,
            ..
        } = &*self.model;
        let gpu = dense.gpu();
        let (batch, d) = (images.dim().0, config.width);
        self.batch = batch;
        let (tokens, patches) = (self.tokens(), self.geometry.patches());
        let (height, width) = (self.geometry.pixels[0], self.geometry.pixels[1]);
        let Work {
            images: pixels,
            x,
            a,
            y,
            ..
        } = &mut self.work;
        let images = images.as_standard_layout();
        let images = images.as_slice().expect("standard layout is contiguous");
        pixels.reserve(gpu, images.len())?;
        pixels.write(gpu, images)?;
        x.reserve(gpu, batch * tokens * d)?;
        y.reserve(gpu, batch * tokens * d)?;
        a.reserve(
            gpu,
            (batch * patches * patch.inputs).max(batch * tokens * d),
        )?;
        let shape = [batch, height, width];
        dense.patchify(pixels, shape, config.patch, a, patch.inputs)?;
        patch.times(gpu, a, batch * patches, false, y)?;
        let (bias, table) = (patch.bias.as_ref(), self.table.as_ref());
        dense.join(y, bias, table, prefix, [batch, tokens, d], x)?;
        if let Some(norm) = stem_norm {
            dense.layer_norm_float(x, norm.pair(), config.norm_eps, batch * tokens, y)?;
            std::mem::swap(x, y);
        }
        Ok(())
    }

    fn project_block(&mut self, block: usize) -> Result<(), CudaError> {
        let rows = self.batch * self.tokens();
        let Model {
            config,
            dense,
            layers,
            ..
        } = &*self.model;
        let (layer, gpu, d) = (&layers[block], dense.gpu(), config.width);
        let Work { x, qkv, a, .. } = &mut self.work;
        a.reserve(gpu, rows * d)?;
        qkv.reserve(gpu, rows * 3 * d)?;
        dense.layer_norm(x, layer.norm1.pair(), config.norm_eps, rows, a)?;
        layer.qkv.times(gpu, a, rows, true, qkv)
    }

    fn attend(&mut self, keep_matrices: bool) -> Result<(), CudaError> {
        let shape @ [batch, tokens, heads, d] = self.shape();
        let dense = &self.model.dense;
        let gpu = dense.gpu();
        let Work {
            qkv,
            mixed,
            matrices,
            scores,
            weights,
            heads: split,
            ..
        } = &mut self.work;
        let pairs = batch * heads;
        let stride = tokens.next_multiple_of(ROW_UNIT);
        let at_a_time = (self.most_scores / (tokens * stride)).clamp(1, pairs.max(1));
        split.reserve(gpu, 3 * pairs * tokens * d)?;
        mixed.reserve(gpu, pairs * tokens * d)?;
        scores.reserve(gpu, at_a_time * tokens * stride)?;
        weights.reserve(gpu, at_a_time * tokens * stride)?;
        if keep_matrices {
            matrices.reserve(gpu, pairs * tokens * tokens)?;
        }
        dense.split_heads(qkv, shape, split)?;
        let head = tokens * d;
        for first in (0..pairs).step_by(at_a_time) {
            let count = at_a_time.min(pairs - first);
            let part = |which: usize| {
                Matrix::factors(split, (which * pairs + first) * head, d).batch(head)
            };
            let product = Product {
                rows: tokens,
                inputs: d,
                outputs: tokens,
                batch: count,
            };
            let target = Target::new(scores, stride).batch(tokens * stride);
            gpu.product(product, part(0), part(1).transposed(), target, None)?;
            let rows = [count * tokens, tokens, stride];
            let scale = 1.0 / (d as f32).sqrt();
            dense.softmax(scores, rows, scale, keep_matrices, weights)?;
            if keep_matrices {
                dense.unpad(scores, rows, matrices, first * tokens * tokens)?;
            }
            let product = Product {
                rows: tokens,
                inputs: tokens,
                outputs: d,
                batch: count,
            };
            let left = Matrix::factors(weights, 0, stride).batch(tokens * stride);
            let target = Target::new(mixed, d).at(first * head).batch(head);
            gpu.product(product, left, part(2), target, None)?;
        }
        Ok(())
    }

    fn feed(&mut self, block: usize) -> Result<(), CudaError> {
        let shape @ [batch, tokens, ..] = self.shape();
        let rows = batch * tokens;
        let Model {
            config,
            dense,
            layers,
            ..
        } = &*self.model;
        let (layer, gpu, d) = (&layers[block], dense.gpu(), config.width);
        let Work {
            x,
            mixed,
            a,
            y,
            hidden,
            ..
        } = &mut self.work;
        a.reserve(gpu, rows * d)?;
        y.reserve(gpu, rows * layer.up.outputs.max(d))?;
        hidden.reserve(gpu, rows * config.hidden)?;
        dense.merge_heads(mixed, shape, a)?;
        layer.proj.times(gpu, a, rows, false, y)?;
        let branch = [layer.proj.bias.as_ref(), layer.scale1.as_ref()];
        dense.add_branch(x, y, branch, [rows, d])?;
        dense.layer_norm(x, layer.norm2.pair(), config.norm_eps, rows, a)?;
        layer.up.times(gpu, a, rows, false, y)?;
        let activation = match config.mlp {
            Mlp::Gelu => Activation::Gelu,
            Mlp::QuickGelu => Activation::QuickGelu,
            Mlp::SwiGlu => Activation::SwiGlu,
            Mlp::GeluTanh => unreachable!("refused before its weights are uploaded"),
        };
        let bias = layer
            .up
            .bias
            .as_ref()
            .expect("checked when the model was made");
        dense.activate(activation, y, bias, [rows, config.hidden], hidden)?;
        layer.down.times(gpu, hidden, rows, false, y)?;
        let branch = [layer.down.bias.as_ref(), layer.scale2.as_ref()];
        dense.add_branch(x, y, branch, [rows, d])
    }

    fn norm_last(&mut self) -> Result<(), CudaError> {
        let rows = self.batch * self.tokens();
        let Model {
            config,
            dense,
            norm,
            ..
        } = &*self.model;
        let Work { x, normed, .. } = &mut self.work;
        normed.reserve(dense.gpu(), rows * config.width)?;
        dense.layer_norm_float(x, norm.pair(), config.norm_eps, rows, normed)
    }
}

impl Stages for Cuda {
    fn embed(&mut self, images: ArrayView4<'_, f32>) -> Result<(), DeviceError> {
        Ok(self.embed_images(images)?)
    }

    fn project(&mut self, block: usize) -> Result<(), DeviceError> {
        Ok(self.project_block(block)?)
    }

    fn rotate(&mut self) -> Result<(), DeviceError> {
        let shape = self.shape();
        let Some([cosines, sines]) = &self.rotary else {
            return Ok(());
        };
        let Model { config, dense, .. } = &*self.model;
        let qkv = &mut self.work.qkv;
        Ok(dense.rotate(qkv, [cosines, sines], shape, config.prefix())?)
    }

    fn attention(&mut self, keep_matrices: bool) -> Result<(), DeviceError> {
        Ok(self.attend(keep_matrices)?)
    }

    fn feed_forward(&mut self, block: usize) -> Result<(), DeviceError> {
        Ok(self.feed(block)?)
    }

    fn final_norm(&mut self) -> Result<(), DeviceError> {
        Ok(self.norm_last()?)
    }

    fn rows(&self, tensor: Tensor) -> [Rows<'_>; 2] {
        let d = self.model.config.width;
        let (data, offset, stride) = match tensor {
            Tensor::Residual => (&self.work.x, 0, d),
            Tensor::Queries => (&self.work.qkv, 0, 3 * d),
            Tensor::Keys => (&self.work.qkv, d, 3 * d),
            Tensor::Values => (&self.work.qkv, 2 * d, 3 * d),
            Tensor::Normed => (&self.work.normed, 0, d),
        };
        let tokens = self.tokens();
        let view = |from: usize, count: usize| {
            Rows::Cuda(RowsView::new(
                self.model.gpu(),
                data,
                from * stride + offset,
                [self.batch, count, d],
                [tokens * stride, stride],
            ))
        };
        let prefix = self.model.config.prefix();
        [view(0, prefix), view(prefix, tokens - prefix)]
    }

    fn matrices(&mut self) -> Result<ArrayView4<'_, f32>, DeviceError> {
        let [batch, tokens, heads, _] = self.shape();
        let Work { matrices, host, .. } = &mut self.work;
        host.resize(batch * heads * tokens * tokens, 0.0);
        matrices.read(self.model.dense.gpu(), host)?;
        let shape = (batch, heads, tokens, tokens);
        Ok(ArrayView4::from_shape(shape, host).expect("one matrix per image and head"))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;
    use crate::config::{Positions, Resize};
    use crate::params::Params;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 37 + seed * 11) % 29) as f32 * 0.02 - 0.28;
        (0..count).map(number).collect()
    }

    fn linear(inputs: usize, outputs: usize, seed: usize) -> Linear {
        Linear {
            weight: numbers(inputs * outputs, seed),
            bias: numbers(outputs, seed + 1),
            inputs,
            outputs,
        }
    }

    /// Heads that have to wait for room give the same bytes as all heads together.
    #[test]
    fn attention_in_pieces_is_attention() {
        if let Err(error) = Gpu::open() {
            println!("not run: {error}");
            return;
        }
        let d = 16;
        let norm = || Norm {
            weight: numbers(d, 3),
            bias: numbers(d, 4),
        };
        let params = Params {
            patch: linear(3 * 4 * 4, d, 5),
            prefix: numbers(d, 6),
            table: numbers(9 * d, 7),
            blocks: vec![Block {
                norm1: norm(),
                qkv: linear(d, 3 * d, 8),
                proj: linear(d, d, 9),
                norm2: norm(),
                up: linear(d, 2 * d, 10),
                down: linear(2 * d, d, 11),
                ..Block::default()
            }],
            norm: norm(),
            ..Params::default()
        };
        let geometry = Geometry {
            pixels: [12, 12],
            grid: [3, 3],
            table: params.table.clone(),
            rotary: None,
        };
        let config = Config {
            width: d,
            depth: 1,
            heads: 4,
            patch: 4,
            registers: 0,
            mlp: Mlp::Gelu,
            hidden: 2 * d,
            norm_eps: 1e-6,
            stem_norm: false,
            class: true,
            final_norm: true,
            hidden_norm: false,
            layer_scale: false,
            positions: Positions::Table {
                grid: [3, 3],
                resize: Resize::Plain,
            },
        };
        let model = Arc::new(Model::new(config, params, Precision::Bf16).expect("it fits"));
        let images = numbers(2 * 3 * 12 * 12, 12);
        let images = Array4::from_shape_vec((2, 3, 12, 12), images).expect("two images");
        let mut outcomes = Vec::new();
        // All 8 pairs of image and head, 3 at a time, and one at a time even where there is no room.
        for most_scores in [MAX_SCORES, 3 * 10 * 16, 1] {
            let mut stages = Cuda::new(Arc::clone(&model), geometry.clone()).expect("it fits");
            stages.most_scores = most_scores;
            stages.embed(images.view()).expect("it works");
            stages.project(0).expect("it works");
            stages.attention(true).expect("it works");
            let matrices = stages.matrices().expect("it works").to_owned();
            stages.feed_forward(0).expect("it works");
            let [_, rows] = stages.rows(Tensor::Residual);
            outcomes.push((matrices, rows.host().expect("it works").to_owned()));
        }
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
        let sum = outcomes[0].0.sum() / (2 * 4 * 10) as f32;
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }
}
