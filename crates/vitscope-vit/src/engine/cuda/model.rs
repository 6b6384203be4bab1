//! A backbone's weights on a card, in the form that its products take.

use std::borrow::Cow;
use std::sync::Arc;

use vitscope_cuda::{
    Buffer, CudaError, Dense, Element, Factors, Gpu, Matrix, Product, ProductTarget, ROW_UNIT,
};

use crate::config::{Config, Precision};
use crate::params::{Block, Linear, Norm, Params};

/// Inputs that a product has more where its bias is among its weights: the bias and what its rounding
/// leaves, each times one, and zeros up to the next unit.
pub(super) const BIAS_INPUTS: usize = ROW_UNIT;

/// A backbone's weights on the card.
#[derive(Debug)]
pub(crate) struct CardModel {
    pub(super) config: Config,
    pub(super) dense: Dense,
    pub(super) patch: CardMap,
    pub(super) prefix: Buffer<f32>,
    pub(super) stem_norm: Option<NormPair>,
    pub(super) layers: Vec<CardLayer>,
    pub(super) norm: NormPair,
}

#[derive(Debug)]
pub(super) struct CardMap {
    pub(super) weight: Factors,
    /// Of the type of what the product writes.
    pub(super) bias: Option<Factors>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

#[derive(Debug)]
pub(super) struct NormPair {
    pub(super) weight: Buffer<f32>,
    pub(super) bias: Buffer<f32>,
}

#[derive(Debug)]
pub(super) struct CardLayer {
    pub(super) norm1: NormPair,
    pub(super) qkv: CardMap,
    pub(super) proj: CardMap,
    pub(super) norm2: NormPair,
    pub(super) up: CardMap,
    pub(super) down: CardMap,
}

impl CardMap {
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
    pub(super) fn times(
        &self,
        gpu: &Gpu,
        a: &Factors,
        rows: usize,
        target: ProductTarget<'_>,
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

    pub(super) fn pair(&self) -> [&Buffer<f32>; 2] {
        [&self.weight, &self.bias]
    }
}

impl CardLayer {
    fn new(dense: &Dense, block: &Block) -> Result<Self, CudaError> {
        let gpu = dense.gpu();
        // Widths are multiples of the unit in every released model.
        let added = |linear: &Linear, scale: &[f32]| {
            CardMap::new(dense, linear, linear.inputs, scale, Element::F32)
        };
        Ok(Self {
            norm1: NormPair::new(gpu, &block.norm1)?,
            qkv: CardMap::behind_norm(dense, &block.qkv)?,
            proj: added(&block.proj, &block.scale1)?,
            norm2: NormPair::new(gpu, &block.norm2)?,
            up: CardMap::behind_norm(dense, &block.up)?,
            down: added(&block.down, &block.scale2)?,
        })
    }
}

impl CardModel {
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
            patch: CardMap::new(&dense, &params.patch, patch_inputs, &[], Element::F32)?,
            prefix: Buffer::upload(&gpu, &params.prefix)?,
            stem_norm,
            layers: blocks
                .map(|block| CardLayer::new(&dense, &block))
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
