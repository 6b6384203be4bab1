//! The stages on an NVIDIA GPU: products by cuBLASLt, what lies between them by kernels.
//!
//! As on the CPU, products multiply numbers of the chosen precision and sum in f32, and the residual
//! stream is f32. Queries, keys and values are handed out as they are multiplied, in the product's
//! precision. What is handed out stays on the card until somebody asks for it on the host.

mod apart;
mod model;

use std::sync::Arc;

use vitscope_cuda::{
    Activation, AttentionView, Buffer, CudaError, Element, Factors, Gpu, ProductTarget, RowsView,
    Staging, WeightKernels,
};

use super::geometry::InputGeometry;
use super::stages::{BatchTensor, Input, Stages};
use crate::config::Mlp;
use crate::error::DeviceError;
use crate::tapped::{AttentionWeights, Rows};
use apart::Apart;
use model::BIAS_INPUTS;
pub(crate) use model::CardModel;

/// Scores of attention that exist at a time, at most: heads beyond that wait for their turn.
const MAX_SCORES: usize = 64 << 20;

/// Numbers that may be absent.
fn optional(gpu: &Gpu, values: &[f32]) -> Result<Option<Buffer<f32>>, CudaError> {
    (!values.is_empty())
        .then(|| Buffer::upload(gpu, values))
        .transpose()
}

/// The stages of one model, with buffers for one input size.
#[derive(Debug)]
pub(crate) struct Cuda {
    model: Arc<CardModel>,
    geometry: InputGeometry,
    table: Option<Buffer<f32>>,
    rotary: Option<[Buffer<f32>; 2]>,
    batch: usize,
    most_scores: usize,
    work: CardBuffers,
}

/// Tensors of the batch that is being run, row-major.
#[derive(Debug)]
struct CardBuffers {
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
    /// What attention weights are made of again, `[batch, heads, tokens, 2]`, where they are kept.
    norms: Buffer<f32>,
    /// What looks at them, from the first time on that they are kept.
    weights: Option<WeightKernels>,
    /// Hidden values of the feed-forward part, and those that were gated.
    hidden: Factors,
    gated: Factors,
    apart: Apart,
}

impl CardBuffers {
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
            norms: floats()?,
            weights: None,
            hidden: factors()?,
            gated: factors()?,
            apart: Apart::new(gpu, element)?,
        })
    }
}

impl Cuda {
    /// Buffers for inputs of one size.
    pub(crate) fn new(model: Arc<CardModel>, geometry: InputGeometry) -> Result<Self, CudaError> {
        let gpu = model.gpu();
        let table = optional(gpu, &geometry.table)?;
        let rotary = match &geometry.rotary {
            Some((cosines, sines)) => {
                Some([Buffer::upload(gpu, cosines)?, Buffer::upload(gpu, sines)?])
            }
            None => None,
        };
        let work = CardBuffers::new(gpu, model.dense.element())?;
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
        let CardModel {
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

    /// Projects the patches of images into `y`.
    fn project_images(&mut self, images: Input<'_>) -> Result<(), CudaError> {
        let model = Arc::clone(&self.model);
        let CardModel {
            config,
            dense,
            patch,
            ..
        } = &*model;
        let (gpu, d) = (dense.gpu(), config.width);
        let area = self.geometry.pixels.iter().product::<usize>();
        self.batch = match images {
            Input::Normalized(images) => images.dim().0,
            Input::Sent { pixels, .. } => pixels.len() / (3 * area),
        };
        let batch = self.batch;
        if let Err(error) = self.reserve() {
            // What fitted goes, so that fewer images can be tried.
            self.work = CardBuffers::new(gpu, dense.element())?;
            return Err(error);
        }
        let patches = self.geometry.patches();
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
            Input::Sent { levels, .. } => {
                work.levels.reserve(gpu, 3 * 256)?;
                work.levels.write(gpu, levels.as_flattened())?;
                let pixels = (&work.bytes, &work.levels);
                dense.patchify_bytes(pixels, shape, side, &mut work.a, inputs)?;
            }
        }
        let CardBuffers { y, a, .. } = work;
        patch.times(gpu, a, batch * patches, ProductTarget::new(y, d))
    }

    /// Makes the residual stream of projected patches.
    fn place_patches(&mut self) -> Result<(), CudaError> {
        let (batch, tokens) = (self.batch, self.tokens());
        let CardModel {
            config,
            dense,
            prefix,
            stem_norm,
            ..
        } = &*self.model;
        let d = config.width;
        let CardBuffers { x, y, .. } = &mut self.work;
        dense.join(y, self.table.as_ref(), prefix, [batch, tokens, d], x)?;
        if let Some(norm) = stem_norm {
            dense.layer_norm_float(x, norm.pair(), config.norm_eps, batch * tokens, y)?;
            std::mem::swap(x, y);
        }
        Ok(())
    }

    fn project_block(&mut self, block: usize) -> Result<(), CudaError> {
        let rows = self.batch * self.tokens();
        let CardModel {
            config,
            dense,
            layers,
            ..
        } = &*self.model;
        let (layer, gpu, d) = (&layers[block], dense.gpu(), config.width);
        let CardBuffers { x, qkv, a, .. } = &mut self.work;
        let to = (&mut *a, layer.qkv.inputs);
        dense.layer_norm(x, layer.norm1.pair(), config.norm_eps, rows, to)?;
        layer
            .qkv
            .times(gpu, a, rows, ProductTarget::factors(qkv, 3 * d))
    }

    /// Mixes the values of every head into `a`.
    fn attend(&mut self, keep: bool) -> Result<(), CudaError> {
        let shape = self.shape();
        let dense = &self.model.dense;
        let CardBuffers {
            qkv,
            a,
            norms,
            weights,
            ..
        } = &mut self.work;
        if keep {
            if weights.is_none() {
                *weights = Some(WeightKernels::new(dense.gpu(), dense.element())?);
            }
            let [batch, tokens, heads, _] = shape;
            norms.reserve(dense.gpu(), 2 * batch * heads * tokens)?;
        }
        if dense.attend(qkv, shape, a, keep.then_some(norms))? {
            return Ok(());
        }
        self.attend_apart(keep)
    }

    /// The same by way of the scores, with room for the norms that are kept.
    fn attend_apart(&mut self, keep: bool) -> Result<(), CudaError> {
        let shape = self.shape();
        let dense = &self.model.dense;
        let CardBuffers {
            qkv,
            a,
            norms,
            apart,
            ..
        } = &mut self.work;
        let norms = keep.then_some(norms);
        apart.attend(dense, qkv, shape, self.most_scores, norms)?;
        dense.merge_heads(&apart.mixed, shape, a)
    }

    fn feed(&mut self, block: usize) -> Result<(), CudaError> {
        let rows = self.batch * self.tokens();
        let CardModel {
            config,
            dense,
            layers,
            ..
        } = &*self.model;
        let (layer, gpu, d) = (&layers[block], dense.gpu(), config.width);
        let CardBuffers {
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
        layer
            .proj
            .times(gpu, a, rows, ProductTarget::new(x, d).added())?;
        let to = (&mut *a, layer.up.inputs);
        dense.layer_norm(x, layer.norm2.pair(), config.norm_eps, rows, to)?;
        let target = ProductTarget::factors(hidden, layer.up.outputs);
        layer.up.times(gpu, a, rows, target)?;
        let hidden = dense.activate(activation, hidden, gated, [rows, config.hidden])?;
        let target = ProductTarget::new(x, d).added();
        layer.down.times(gpu, hidden, rows, target)
    }

    fn norm_last(&mut self) -> Result<(), CudaError> {
        let rows = self.batch * self.tokens();
        let CardModel {
            config,
            dense,
            norm,
            ..
        } = &*self.model;
        let CardBuffers { x, normed, .. } = &mut self.work;
        normed.reserve(dense.gpu(), rows * config.width)?;
        dense.layer_norm_float(x, norm.pair(), config.norm_eps, rows, normed)
    }
}

impl Stages for Cuda {
    /// One stream: the copy comes after whatever still reads the images before.
    fn send(&mut self, pixels: &[u8]) -> Result<(), DeviceError> {
        let gpu = self.model.gpu();
        let CardBuffers { bytes, staging, .. } = &mut self.work;
        bytes.reserve(gpu, pixels.len())?;
        Ok(staging.send(gpu, pixels, bytes)?)
    }

    fn project_patches(&mut self, images: Input<'_>) -> Result<(), DeviceError> {
        Ok(self.project_images(images)?)
    }

    fn embed(&mut self) -> Result<(), DeviceError> {
        Ok(self.place_patches()?)
    }

    fn project(&mut self, block: usize) -> Result<(), DeviceError> {
        Ok(self.project_block(block)?)
    }

    fn rotate(&mut self) -> Result<(), DeviceError> {
        let shape = self.shape();
        let Some([cosines, sines]) = &self.rotary else {
            return Ok(());
        };
        let CardModel { config, dense, .. } = &*self.model;
        let qkv = &mut self.work.qkv;
        Ok(dense.rotate(qkv, [cosines, sines], shape, config.prefix())?)
    }

    fn attention(&mut self, keep: bool) -> Result<(), DeviceError> {
        Ok(self.attend(keep)?)
    }

    fn feed_forward(&mut self, block: usize) -> Result<(), DeviceError> {
        Ok(self.feed(block)?)
    }

    fn final_norm(&mut self) -> Result<(), DeviceError> {
        Ok(self.norm_last()?)
    }

    fn rows(&self, tensor: BatchTensor) -> [Rows<'_>; 2] {
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
                // Side by side, without a prefix.
                BatchTensor::Patches => {
                    let strides = [self.geometry.patches() * d, d];
                    RowsView::new(gpu, &self.work.y, 0, shape, strides)
                }
                BatchTensor::Residual => floats(&self.work.x),
                BatchTensor::Queries => part(0),
                BatchTensor::Keys => part(1),
                BatchTensor::Values => part(2),
                BatchTensor::Normed => floats(&self.work.normed),
            })
        };
        let prefix = self.model.config.prefix();
        let shown = match tensor {
            BatchTensor::Patches => 0,
            _ => prefix,
        };
        [view(0, shown), view(prefix, tokens - prefix)]
    }

    fn weights(&self) -> AttentionWeights<'_> {
        let CardBuffers {
            qkv,
            norms,
            weights,
            ..
        } = &self.work;
        let kernels = weights.as_ref().expect("attention was kept");
        AttentionWeights::Cuda(AttentionView::new(kernels, qkv, norms, self.shape()))
    }
}

#[cfg(test)]
mod tests;
