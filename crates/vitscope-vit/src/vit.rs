//! A loaded backbone and its forward pass.
//!
//! [`Vit::forward`] runs a batch once and hands each tapped tensor to the caller the moment it
//! exists; nothing that is not tapped is kept. Blocks beyond the deepest tap are not run. What
//! computes is one of the engines behind the trait `Stages`; the order of things is told here, once.

use std::sync::Arc;

use ndarray::ArrayView4;

use crate::config::{Config, Device, Precision};
use crate::edit::Edit;
#[cfg(feature = "cuda")]
use crate::edit::FromPrefix;
#[cfg(feature = "cuda")]
use crate::engine::cuda;
use crate::engine::{BatchTensor, Input, InputGeometry, Stages, cpu};
use crate::error::DeviceError;
use crate::facet::{TapKind, Taps};
use crate::ops::processor::has_bf16;
use crate::params::Params;
use crate::shapes::{ShapeError, check, cpu_only};
pub use crate::tapped::{AttentionWeights, Rows, Tapped};
/// Attention on a card, and what is added up of it there.
#[cfg(feature = "cuda")]
pub use vitscope_cuda::{AttentionView, WeightTally};

/// A backbone ready to run.
///
/// ```
/// use ndarray::{Array4, Axis};
/// use vitscope_vit::Vit;
/// use vitscope_vit::error::DeviceError;
/// use vitscope_vit::facet::{TapKind, Taps};
/// use vitscope_vit::vit::Tapped;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use vitscope_vit::{checkpoint::Checkpoint, config::Precision, identify::{Family, Settle}};
/// # let file = vitscope_testkit::fixture("dino-timm/model.safetensors");
/// # let settle = Settle { family: Some(Family::Dino), heads: Some(2), ..Settle::default() };
/// # let checkpoint = Checkpoint::open(&file, &settle)?;
/// let vit = Vit::new(checkpoint.config().clone(), checkpoint.params()?, Precision::F32)?;
///
/// // Attention in the last of three blocks, of two images of 2 x 3 patches.
/// let mut taps = Taps::new();
/// taps.add(3, TapKind::Attention);
/// let mut work = vit.workspace([32, 48])?;
/// vit.forward(Array4::zeros((2, 3, 32, 48)).view(), &taps, &mut work, |tapped| {
///     if let Tapped::Attention { layer, weights } = tapped {
///         // [batch, heads, tokens, tokens]: the class token comes before the patches.
///         assert_eq!((layer, weights.shape()), (3, [2, 2, 1 + 6, 1 + 6]));
///         assert!(weights.host()?.sum_axis(Axis(3)).iter().all(|sum| (sum - 1.0).abs() < 1e-5));
///     }
///     Ok::<(), DeviceError>(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Vit {
    config: Config,
    table: Vec<f32>,
    periods: Vec<f32>,
    engine: Engine,
}

/// The weights, where they are multiplied.
#[derive(Debug)]
enum Engine {
    Cpu(Arc<cpu::HostModel>),
    #[cfg(feature = "cuda")]
    Cuda(Arc<cuda::CardModel>),
}

/// What takes the tapped tensors, those that exist at the same time together.
type TapSink<'a, E> = &'a mut dyn FnMut(Vec<Tapped<'_>>) -> Result<(), E>;

/// Buffers of one model for one input size, reused from batch to batch.
#[derive(Debug)]
pub struct Workspace {
    pixels: [usize; 2],
    grid: [usize; 2],
    /// RGB images that were sent, `[batch, height, width, 3]`.
    sent: Vec<u8>,
    stages: Box<dyn Stages>,
}

impl Workspace {
    /// Patches per column and per row of the input.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// Takes RGB images for the next [`Vit::forward_sent`]: `fill` puts them into an empty vector, `[batch, height,
    /// width, 3]`. For a card they are gathered where it copies from by itself, as soon as it has done what was queued
    /// before: who sends a batch before waiting for the results of the last one has the card wait for nothing but that copy.
    ///
    /// # Errors
    /// What the device reports; then nothing was sent.
    ///
    /// # Panics
    /// When these are not whole images of the workspace's size.
    pub fn send(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), DeviceError> {
        self.sent.clear();
        fill(&mut self.sent);
        let size = 3 * self.pixels[0] * self.pixels[1];
        assert!(self.sent.len().is_multiple_of(size), "whole images");
        let sent = self.stages.send(&self.sent);
        if sent.is_err() {
            self.sent.clear();
        }
        sent
    }
}

impl Vit {
    /// Puts a description and its weights together on the CPU.
    ///
    /// # Errors
    /// When a weight's size contradicts the description, or the processor has no products of this
    /// precision.
    pub fn new(config: Config, params: Params, precision: Precision) -> Result<Self, ShapeError> {
        Self::on(Device::Cpu, config, params, precision)
    }

    /// Puts a description and its weights together on a device.
    ///
    /// # Errors
    /// When a weight's size contradicts the description, or the device is not there or has no
    /// products of this precision.
    pub fn on(
        device: Device,
        config: Config,
        mut params: Params,
        precision: Precision,
    ) -> Result<Self, ShapeError> {
        check(&config, &params)?;
        if device == Device::Cuda
            && let Some(what) = cpu_only(&config)
        {
            return Err(ShapeError::CpuOnly { what });
        }
        let table = std::mem::take(&mut params.table);
        let periods = std::mem::take(&mut params.periods);
        let engine = match device {
            Device::Cpu => match precision {
                Precision::Bf16 if !has_bf16() => return Err(ShapeError::NoBf16),
                Precision::F16 => return Err(ShapeError::NoF16),
                _ => Engine::Cpu(Arc::new(cpu::HostModel::new(
                    config.clone(),
                    params,
                    precision,
                ))),
            },
            #[cfg(feature = "cuda")]
            Device::Cuda => {
                let model = cuda::CardModel::new(config.clone(), params, precision);
                Engine::Cuda(Arc::new(model.map_err(DeviceError::from)?))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda => return Err(DeviceError::NotBuilt.into()),
        };
        Ok(Self {
            config,
            table,
            periods,
            engine,
        })
    }

    /// The architecture.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The card that runs the model, if one does.
    #[cfg(feature = "cuda")]
    #[must_use]
    pub fn gpu(&self) -> Option<&Arc<vitscope_cuda::Gpu>> {
        match &self.engine {
            Engine::Cpu(_) => None,
            Engine::Cuda(model) => Some(model.gpu()),
        }
    }

    /// Buffers for images of `[height, width]` pixels; the position table is resized here, once.
    ///
    /// # Errors
    /// When a side is not a positive multiple of the patch size, or the device fails.
    pub fn workspace(&self, pixels: [usize; 2]) -> Result<Workspace, ShapeError> {
        self.workspace_edited(pixels, &Edit::default())
    }

    /// The same for passes in which patches are given other positions than their own, or something else of the class
    /// token and the registers than what they attend to.
    ///
    /// # Errors
    /// As [`workspace`](Self::workspace); when codes are assigned to another number of patches, or of places that are
    /// not there; and for attention that is edited on a GPU.
    pub fn workspace_edited(
        &self,
        pixels: [usize; 2],
        edit: &Edit,
    ) -> Result<Workspace, ShapeError> {
        let patch = self.config.patch;
        if pixels.iter().any(|&side| side == 0 || side % patch != 0) {
            return Err(ShapeError::InputSize {
                height: pixels[0],
                width: pixels[1],
                patch,
            });
        }
        let grid = pixels.map(|side| side / patch);
        #[cfg(feature = "cuda")]
        if edit.from_prefix != FromPrefix::Own && self.gpu().is_some() {
            let what = "passes with edited attention";
            return Err(ShapeError::CpuOnly { what });
        }
        let own = (&self.table[..], &self.periods[..]);
        let geometry =
            InputGeometry::new(&self.config, own, pixels, edit).ok_or(ShapeError::Codes {
                patches: grid[0] * grid[1],
            })?;
        let stages: Box<dyn Stages> = match &self.engine {
            Engine::Cpu(model) => Box::new(cpu::Cpu::new(Arc::clone(model), geometry)),
            #[cfg(feature = "cuda")]
            Engine::Cuda(model) => {
                let stages = cuda::Cuda::new(Arc::clone(model), geometry);
                Box::new(stages.map_err(DeviceError::from)?)
            }
        };
        Ok(Workspace {
            pixels,
            grid,
            sent: Vec::new(),
            stages,
        })
    }

    /// Runs a batch and hands every tapped tensor to `sink`, in order of layer. The workspace is one
    /// of this model's.
    ///
    /// # Shapes
    /// `images` `[batch, 3, height, width]`, normalised, with the workspace's height and width.
    ///
    /// # Errors
    /// Whatever `sink` returns, and what the device reports; the pass stops there.
    ///
    /// # Panics
    /// When the images do not have the workspace's size.
    pub fn forward<E: From<DeviceError>>(
        &self,
        images: ArrayView4<'_, f32>,
        taps: &Taps,
        work: &mut Workspace,
        mut sink: impl FnMut(Tapped<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (_, channels, height, width) = images.dim();
        assert_eq!(
            [channels, height, width],
            [3, work.pixels[0], work.pixels[1]]
        );
        let mut each = |tapped: Vec<Tapped<'_>>| tapped.into_iter().try_for_each(&mut sink);
        self.run(Input::Normalized(images), taps, work, &mut each)
    }

    /// The same for the RGB images that were sent last with [`Workspace::send`], which are used up. They are
    /// normalized where they are run: `levels[channel][byte]` is the number that a byte stands for. Tensors that exist at
    /// the same time, as queries, keys and values of a layer do, are handed out together.
    ///
    /// # Errors
    /// Whatever `sink` returns, and what the device reports; the pass stops there.
    pub fn forward_sent<E: From<DeviceError>>(
        &self,
        levels: &[[f32; 256]; 3],
        taps: &Taps,
        work: &mut Workspace,
        mut sink: impl FnMut(Vec<Tapped<'_>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let sent = std::mem::take(&mut work.sent);
        let input = Input::Sent {
            pixels: &sent,
            levels,
        };
        let ran = self.run(input, taps, work, &mut sink);
        // Its room is used again.
        work.sent = sent;
        work.sent.clear();
        ran
    }

    fn run<E: From<DeviceError>>(
        &self,
        images: Input<'_>,
        taps: &Taps,
        work: &mut Workspace,
        sink: TapSink<'_, E>,
    ) -> Result<(), E> {
        let stages = &mut *work.stages;
        let hand =
            |stages: &dyn Stages, layer, parts: &[(TapKind, BatchTensor)], sink: TapSink<'_, E>| {
                let wanted = parts.iter().filter(|(kind, _)| taps.wants(layer, *kind));
                let tapped = wanted.map(|&(kind, tensor)| {
                    let [prefix, patches] = stages.rows(tensor);
                    Tapped::Rows {
                        layer,
                        kind,
                        prefix,
                        patches,
                    }
                });
                let tapped: Vec<Tapped<'_>> = tapped.collect();
                match tapped.is_empty() {
                    true => Ok(()),
                    false => sink(tapped),
                }
            };

        stages.project_patches(images)?;
        hand(stages, 0, &[(TapKind::Patch, BatchTensor::Patches)], sink)?;
        stages.embed()?;
        let embedded = [(TapKind::Embedding, BatchTensor::Residual)];
        hand(stages, 0, &embedded, sink)?;
        let deepest = taps.deepest();
        for layer in 1..=deepest.min(self.config.depth) {
            let block = layer - 1;
            stages.project(block)?;
            let plain = [
                (TapKind::Query, BatchTensor::Queries),
                (TapKind::Key, BatchTensor::Keys),
                (TapKind::Value, BatchTensor::Values),
            ];
            hand(stages, layer, &plain, sink)?;
            stages.rotate()?;
            let rotated = [
                (TapKind::QueryRotated, BatchTensor::Queries),
                (TapKind::KeyRotated, BatchTensor::Keys),
            ];
            hand(stages, layer, &rotated, sink)?;
            let beyond = [TapKind::Attention, TapKind::Token, TapKind::FinalNorm];
            if layer == deepest && !taps.wants_any(layer, &beyond) {
                break;
            }
            let keep = taps.wants(layer, TapKind::Attention);
            stages.attention(keep)?;
            if keep {
                let weights = stages.weights();
                sink(vec![Tapped::Attention { layer, weights }])?;
            }
            if layer == deepest && !taps.wants_any(layer, &beyond[1..]) {
                break;
            }
            stages.feed_forward(block)?;
            hand(
                stages,
                layer,
                &[(TapKind::Token, BatchTensor::Residual)],
                sink,
            )?;
        }
        if taps.wants(self.config.depth, TapKind::FinalNorm) {
            let last = if self.config.final_norm {
                stages.final_norm()?;
                BatchTensor::Normed
            } else {
                BatchTensor::Residual
            };
            hand(
                stages,
                self.config.depth,
                &[(TapKind::FinalNorm, last)],
                sink,
            )?;
        }
        Ok(())
    }
}
