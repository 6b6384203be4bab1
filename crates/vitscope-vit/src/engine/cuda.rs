//! The stages on an NVIDIA GPU: products by cuBLASLt, what lies between them by kernels.
//!
//! As on the CPU, products multiply numbers of the chosen precision and sum in f32, and the residual
//! stream is f32. Queries, keys and values are handed out as they are multiplied, in the product's
//! precision. What is handed out stays on the card until somebody asks for it on the host.

use std::borrow::Cow;
use std::sync::Arc;

use ndarray::ArrayView4;
use vitscope_cuda::{
    Activation, Buffer, CudaError, Dense, Element, Factors, Gpu, Matrix, Product, RowsView,
    Staging, Target,
};

use super::{Geometry, Input, Stages, Tensor};
use crate::config::{Config, Mlp, Precision};
use crate::error::DeviceError;
use crate::params::{Block, Linear, Norm, Params};
use crate::vit::Rows;

/// Scores of attention that exist at a time, at most: heads beyond that wait for their turn.
const MAX_SCORES: usize = 64 << 20;

/// Rows of score matrices and of patches begin at multiples of so many numbers, which is what fast
/// products of 16-bit factors need.
const ROW_UNIT: usize = 16;

/// Inputs that a product has more where its bias is among its weights: the bias and what its rounding
/// leaves, each times one, and zeros up to the next unit.
const BIAS_INPUTS: usize = ROW_UNIT;

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
    /// Of the type of what the product writes.
    bias: Option<Factors>,
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
    norm2: NormPair,
    up: Map,
    down: Map,
}

/// Numbers that may be absent.
fn optional(gpu: &Gpu, values: &[f32]) -> Result<Option<Buffer<f32>>, CudaError> {
    (!values.is_empty())
        .then(|| Buffer::upload(gpu, values))
        .transpose()
}

impl Map {
    /// Uploads a map. Inputs that its product is padded with are multiplied by zero; a scale per output
    /// (an empty one is 1) becomes part of weights and bias, which are of the type of what is written.
    fn new(
        dense: &Dense,
        linear: &Linear,
        inputs: usize,
        scale: &[f32],
        written: Element,
    ) -> Result<Self, CudaError> {
        let gpu = dense.gpu();
        let mut weight = Cow::Borrowed(&linear.weight);
        let mut bias = Cow::Borrowed(&linear.bias);
        if !scale.is_empty() {
            let rows = weight.to_mut().chunks_exact_mut(linear.outputs);
            for row in rows.chain(bias.to_mut().chunks_exact_mut(linear.outputs)) {
                row.iter_mut().zip(scale).for_each(|(w, scale)| *w *= scale);
            }
        }
        if inputs > linear.inputs {
            weight.to_mut().resize(inputs * linear.outputs, 0.0);
        }
        let bias = match bias.is_empty() {
            true => None,
            false => Some(Factors::upload(gpu, written, &bias)?),
        };
        Ok(Self {
            weight: Factors::upload(gpu, dense.element(), &weight)?,
            bias,
            inputs,
            outputs: linear.outputs,
        })
    }

    /// The same of a map behind a LayerNorm, whose product is rounded. cuBLASLt adds only a bias of the
    /// type that it writes. In f16, where that would double the error of queries with a large bias, the
    /// bias becomes two rows of weights, which [`Dense::layer_norm`] gives ones for.
    fn behind_norm(dense: &Dense, linear: &Linear) -> Result<Self, CudaError> {
        let element = dense.element();
        if element != Element::F16 || linear.bias.is_empty() {
            return Self::new(dense, linear, linear.inputs, &[], element);
        }
        let bias = linear.bias.iter();
        let rounded: Vec<f32> = bias.map(|&bias| element.round(bias)).collect();
        let rest = linear.bias.iter().zip(&rounded);
        let rest: Vec<f32> = rest.map(|(bias, rounded)| bias - rounded).collect();
        let linear = Linear {
            weight: [&linear.weight[..], &rounded, &rest].concat(),
            bias: Vec::new(),
            inputs: linear.inputs + 2,
            outputs: linear.outputs,
        };
        let inputs = linear.inputs - 2 + BIAS_INPUTS;
        Self::new(dense, &linear, inputs, &[], element)
    }

    /// `target = a x weight + bias`, or this added to it.
    fn times(
        &self,
        gpu: &Gpu,
        a: &Factors,
        rows: usize,
        target: Target<'_>,
    ) -> Result<(), CudaError> {
        let product = Product {
            rows,
            inputs: self.inputs,
            outputs: self.outputs,
            batch: 1,
        };
        let left = Matrix::factors(a, 0, self.inputs);
        let right = Matrix::factors(&self.weight, 0, self.outputs);
        gpu.product(product, left, right, target, self.bias.as_ref())
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
        let added = |linear: &Linear, scale: &[f32]| {
            Map::new(dense, linear, linear.inputs, scale, Element::F32)
        };
        Ok(Self {
            norm1: NormPair::new(gpu, &block.norm1)?,
            qkv: Map::behind_norm(dense, &block.qkv)?,
            proj: added(&block.proj, &block.scale1)?,
            norm2: NormPair::new(gpu, &block.norm2)?,
            up: Map::behind_norm(dense, &block.up)?,
            down: added(&block.down, &block.scale2)?,
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
            patch: Map::new(&dense, &params.patch, patch_inputs, &[], Element::F32)?,
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
    /// RGB images, how they get to the card, and what their numbers stand for.
    bytes: Buffer<u8>,
    staging: Staging,
    levels: Buffer<f32>,
    /// `[batch, tokens, D]`: the residual stream.
    x: Buffer<f32>,
    /// `[batch, tokens, 3D]`
    qkv: Factors,
    /// `[batch, tokens, D]`: after the final LayerNorm.
    normed: Buffer<f32>,
    /// The left factor of a product, `[batch, tokens, D]`; at first the patches.
    a: Factors,
    /// Embedded patches without their positions.
    y: Buffer<f32>,
    /// Hidden values of the feed-forward part, and those that were gated.
    hidden: Factors,
    gated: Factors,
    apart: Apart,
}

/// What attention needs where it writes its scores.
#[derive(Debug)]
struct Apart {
    /// `[3, batch, heads, tokens, D / heads]`
    heads: Factors,
    /// Scores of some heads of some images, `[pairs, tokens, padded tokens]`.
    scores: Buffer<f32>,
    /// The same after softmax.
    weights: Factors,
    /// `[batch, heads, tokens, D / heads]`
    mixed: Buffer<f32>,
    /// Attention weights, where they are kept, `[batch, heads, tokens, tokens]`.
    matrices: Buffer<f32>,
    /// The same on the host.
    host: Vec<f32>,
}

impl Work {
    fn new(gpu: &Gpu, element: Element) -> Result<Self, CudaError> {
        let floats = || Buffer::new(gpu, 0);
        let factors = || Factors::new(gpu, element, 0);
        Ok(Self {
            images: floats()?,
            bytes: Buffer::new(gpu, 0)?,
            staging: Staging::default(),
            levels: floats()?,
            x: floats()?,
            qkv: factors()?,
            normed: floats()?,
            a: factors()?,
            y: floats()?,
            hidden: factors()?,
            gated: factors()?,
            apart: Apart {
                heads: factors()?,
                scores: floats()?,
                weights: factors()?,
                mixed: floats()?,
                matrices: floats()?,
                host: Vec::new(),
            },
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

    /// Makes room for everything that a batch needs but for what attention by way of its scores does.
    fn reserve(&mut self) -> Result<(), CudaError> {
        let (batch, tokens, patches) = (self.batch, self.tokens(), self.geometry.patches());
        let Model {
            config,
            dense,
            patch,
            layers,
            ..
        } = &*self.model;
        let (gpu, rows, d) = (dense.gpu(), batch * tokens, config.width);
        let work = &mut self.work;
        work.x.reserve(gpu, rows * d)?;
        work.y.reserve(gpu, rows * d)?;
        work.a.reserve(
            gpu,
            (batch * patches * patch.inputs).max(rows * (d + BIAS_INPUTS)),
        )?;
        work.qkv.reserve(gpu, rows * 3 * d)?;
        let hidden = layers.first().map_or(0, |layer| layer.up.outputs);
        work.hidden.reserve(gpu, rows * hidden)?;
        if config.mlp == Mlp::SwiGlu {
            work.gated.reserve(gpu, rows * config.hidden)?;
        }
        Ok(())
    }

    fn embed_images(&mut self, images: Input<'_>) -> Result<(), CudaError> {
        let model = Arc::clone(&self.model);
        let Model {
            config,
            dense,
            patch,
            prefix,
            stem_norm,
            ..
        } = &*model;
        let (gpu, d) = (dense.gpu(), config.width);
        let area = self.geometry.pixels.iter().product::<usize>();
        self.batch = match images {
            Input::Normalized(images) => images.dim().0,
            Input::Bytes { pixels, .. } => pixels.len() / (3 * area),
        };
        let batch = self.batch;
        if let Err(error) = self.reserve() {
            // What fitted goes, so that fewer images can be tried.
            self.work = Work::new(gpu, dense.element())?;
            return Err(error);
        }
        let (tokens, patches) = (self.tokens(), self.geometry.patches());
        let [height, width] = self.geometry.pixels;
        let work = &mut self.work;
        let shape = [batch, height, width];
        let (side, inputs) = (config.patch, patch.inputs);
        match images {
            Input::Normalized(images) => {
                let images = images.as_standard_layout();
                let images = images.as_slice().expect("standard layout is contiguous");
                work.images.reserve(gpu, images.len())?;
                work.images.write(gpu, images)?;
                dense.patchify(&work.images, shape, side, &mut work.a, inputs)?;
            }
            Input::Bytes { pixels, levels } => {
                work.bytes.reserve(gpu, pixels.len())?;
                work.staging.send(gpu, pixels, &mut work.bytes)?;
                work.levels.reserve(gpu, 3 * 256)?;
                work.levels.write(gpu, levels.as_flattened())?;
                let pixels = (&work.bytes, &work.levels);
                dense.patchify_bytes(pixels, shape, side, &mut work.a, inputs)?;
            }
        }
        let Work { x, y, a, .. } = work;
        patch.times(gpu, a, batch * patches, Target::new(y, d))?;
        dense.join(y, self.table.as_ref(), prefix, [batch, tokens, d], x)?;
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
        let to = (&mut *a, layer.qkv.inputs);
        dense.layer_norm(x, layer.norm1.pair(), config.norm_eps, rows, to)?;
        layer.qkv.times(gpu, a, rows, Target::factors(qkv, 3 * d))
    }

    /// Mixes the values of every head into `a`.
    fn attend(&mut self, keep_matrices: bool) -> Result<(), CudaError> {
        let shape = self.shape();
        let dense = &self.model.dense;
        let Work { qkv, a, apart, .. } = &mut self.work;
        if !keep_matrices && dense.attend(qkv, shape, a)? {
            return Ok(());
        }
        apart.attend(dense, qkv, shape, self.most_scores, keep_matrices)?;
        dense.merge_heads(&apart.mixed, shape, a)
    }

    fn feed(&mut self, block: usize) -> Result<(), CudaError> {
        let rows = self.batch * self.tokens();
        let Model {
            config,
            dense,
            layers,
            ..
        } = &*self.model;
        let (layer, gpu, d) = (&layers[block], dense.gpu(), config.width);
        let Work {
            x,
            a,
            hidden,
            gated,
            ..
        } = &mut self.work;
        let activation = match config.mlp {
            Mlp::Gelu => Activation::Gelu,
            Mlp::QuickGelu => Activation::QuickGelu,
            Mlp::SwiGlu => Activation::SwiGlu,
            Mlp::GeluTanh => unreachable!("refused before its weights are uploaded"),
        };
        layer.proj.times(gpu, a, rows, Target::new(x, d).added())?;
        let to = (&mut *a, layer.up.inputs);
        dense.layer_norm(x, layer.norm2.pair(), config.norm_eps, rows, to)?;
        let target = Target::factors(hidden, layer.up.outputs);
        layer.up.times(gpu, a, rows, target)?;
        let hidden = dense.activate(activation, hidden, gated, [rows, config.hidden])?;
        let target = Target::new(x, d).added();
        layer.down.times(gpu, hidden, rows, target)
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

impl Apart {
    /// Attention by way of its scores, for every width of a head and where its weights are wanted.
    fn attend(
        &mut self,
        dense: &Dense,
        qkv: &Factors,
        shape: [usize; 4],
        most_scores: usize,
        keep_matrices: bool,
    ) -> Result<(), CudaError> {
        let [batch, tokens, heads, d] = shape;
        let gpu = dense.gpu();
        let Self {
            heads: split,
            scores,
            weights,
            mixed,
            matrices,
            ..
        } = self;
        let pairs = batch * heads;
        let stride = tokens.next_multiple_of(ROW_UNIT);
        let at_a_time = (most_scores / (tokens * stride)).clamp(1, pairs.max(1));
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
}

impl Stages for Cuda {
    fn embed(&mut self, images: Input<'_>) -> Result<(), DeviceError> {
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
        let (gpu, tokens) = (self.model.gpu(), self.tokens());
        let view = |from: usize, count: usize| {
            let shape = [self.batch, count, d];
            let floats = |data| RowsView::new(gpu, data, from * d, shape, [tokens * d, d]);
            let part = |part: usize| {
                let (start, strides) = ((3 * from + part) * d, [tokens * 3 * d, 3 * d]);
                RowsView::factors(gpu, &self.work.qkv, start, shape, strides)
            };
            Rows::Cuda(match tensor {
                Tensor::Residual => floats(&self.work.x),
                Tensor::Queries => part(0),
                Tensor::Keys => part(1),
                Tensor::Values => part(2),
                Tensor::Normed => floats(&self.work.normed),
            })
        };
        let prefix = self.model.config.prefix();
        [view(0, prefix), view(prefix, tokens - prefix)]
    }

    fn matrices(&mut self) -> Result<ArrayView4<'_, f32>, DeviceError> {
        let [batch, tokens, heads, _] = self.shape();
        let Apart { matrices, host, .. } = &mut self.work.apart;
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

    fn norm(d: usize) -> Norm {
        Norm {
            weight: numbers(d, 3),
            bias: numbers(d, 4),
        }
    }

    /// One block of a width on 12 x 12 pixels, which are nine patches.
    fn model(d: usize, heads: usize, precision: Precision) -> (Arc<Model>, Geometry) {
        let params = Params {
            patch: linear(3 * 4 * 4, d, 5),
            prefix: numbers(d, 6),
            table: numbers(9 * d, 7),
            blocks: vec![Block {
                norm1: norm(d),
                qkv: linear(d, 3 * d, 8),
                proj: linear(d, d, 9),
                scale1: numbers(d, 13),
                norm2: norm(d),
                up: linear(d, 2 * d, 10),
                down: linear(2 * d, d, 11),
                scale2: numbers(d, 14),
                ..Block::default()
            }],
            norm: norm(d),
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
            heads,
            patch: 4,
            registers: 0,
            mlp: Mlp::Gelu,
            hidden: 2 * d,
            norm_eps: 1e-6,
            stem_norm: false,
            class: true,
            final_norm: true,
            hidden_norm: false,
            layer_scale: true,
            positions: Positions::Table {
                grid: [3, 3],
                resize: Resize::Plain,
            },
        };
        let model = Model::new(config, params, precision).expect("it fits");
        (Arc::new(model), geometry)
    }

    fn rows(stages: &Cuda, tensor: Tensor) -> ndarray::Array3<f32> {
        let [_, rows] = stages.rows(tensor);
        rows.host().expect("it works").into_owned()
    }

    /// Heads that have to wait for room give the same bytes as all heads together.
    #[test]
    fn attention_in_pieces_is_attention() {
        if let Err(error) = Gpu::open() {
            println!("not run: {error}");
            return;
        }
        let (model, geometry) = model(16, 4, Precision::Bf16);
        let images = numbers(2 * 3 * 12 * 12, 12);
        let images = Array4::from_shape_vec((2, 3, 12, 12), images).expect("two images");
        let mut outcomes = Vec::new();
        // All 8 pairs of image and head, 3 at a time, and one at a time even where there is no room.
        for most_scores in [MAX_SCORES, 3 * 10 * 16, 1] {
            let mut stages = Cuda::new(Arc::clone(&model), geometry.clone()).expect("it fits");
            stages.most_scores = most_scores;
            stages
                .embed(Input::Normalized(images.view()))
                .expect("it works");
            stages.project(0).expect("it works");
            stages.attention(true).expect("it works");
            let matrices = stages.matrices().expect("it works").to_owned();
            stages.feed_forward(0).expect("it works");
            outcomes.push((matrices, rows(&stages, Tensor::Residual)));
        }
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
        let sum = outcomes[0].0.sum() / (2 * 4 * 10) as f32;
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }

    /// Heads of 64, whose scores are never written, against the way by the scores.
    #[test]
    fn attention_without_scores_is_attention() {
        if let Err(error) = Gpu::open() {
            println!("not run: {error}");
            return;
        }
        let bounds = [
            (Precision::F32, 2e-6),
            (Precision::F16, 2e-3),
            (Precision::Bf16, 2e-2),
        ];
        for (precision, bound) in bounds {
            let (model, geometry) = model(128, 2, precision);
            let images = numbers(2 * 3 * 12 * 12, 12);
            let images = Array4::from_shape_vec((2, 3, 12, 12), images).expect("two images");
            let mut outcomes = Vec::new();
            for by_scores in [true, false] {
                let mut stages = Cuda::new(Arc::clone(&model), geometry.clone()).expect("it fits");
                stages
                    .embed(Input::Normalized(images.view()))
                    .expect("it works");
                stages.project(0).expect("it works");
                stages.attention(by_scores).expect("it works");
                stages.feed_forward(0).expect("it works");
                outcomes.push(rows(&stages, Tensor::Residual));
            }
            let largest = outcomes[0]
                .iter()
                .fold(0.0_f32, |most, v| most.max(v.abs()));
            let off = (&outcomes[0] - &outcomes[1])
                .iter()
                .fold(0.0_f32, |most, v| most.max(v.abs()));
            println!("{precision:?}: off by {off:.1e} of {largest:.1e}");
            assert!(off <= bound * largest, "{precision:?}: {off} of {largest}");
        }
    }

    /// Bytes on the card are the numbers that they stand for.
    #[test]
    fn bytes_are_normalized_on_the_card() {
        if let Err(error) = Gpu::open() {
            println!("not run: {error}");
            return;
        }
        let (model, geometry) = model(16, 4, Precision::F32);
        let bytes: Vec<u8> = (0..2 * 12 * 12 * 3).map(|i| (i * 89 % 256) as u8).collect();
        let levels: [[f32; 256]; 3] = std::array::from_fn(|channel| {
            std::array::from_fn(|byte| (byte as f32 - 100.0) * 0.01 * (channel + 1) as f32)
        });
        let image = |(image, channel, y, x): (usize, usize, usize, usize)| {
            levels[channel][usize::from(bytes[((image * 12 + y) * 12 + x) * 3 + channel])]
        };
        let images = Array4::from_shape_fn((2, 3, 12, 12), image);
        let inputs = [
            Input::Normalized(images.view()),
            Input::Bytes {
                pixels: &bytes,
                levels: &levels,
            },
        ];
        let [one, other] = inputs.map(|input| {
            let mut stages = Cuda::new(Arc::clone(&model), geometry.clone()).expect("it fits");
            // Twice, so that both halves of the host's memory are used.
            stages.embed(input).expect("it works");
            stages.embed(input).expect("it works");
            rows(&stages, Tensor::Residual)
        });
        assert_eq!(one, other);
    }
}
