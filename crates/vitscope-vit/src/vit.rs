//! A loaded backbone and its forward pass.
//!
//! [`Vit::forward`] runs a batch once and hands each tapped tensor to the caller the moment it
//! exists; nothing that is not tapped is kept. Blocks beyond the deepest tap are not run.
//!
//! Work is split by image, by fixed chunks of an image's rows and by head, and every piece is
//! computed serially: an image's tensors are the same bytes whatever the number of threads and
//! whichever images share its batch.

use std::cell::RefCell;

use ndarray::{ArrayView3, ArrayView4, ShapeBuilder};
use rayon::prelude::*;

use crate::config::{Config, Mlp, Positions, Precision};
use crate::facet::{Kind, Taps};
use crate::ops::attention::{self, attend};
use crate::ops::packed::{Packed, has_bf16, padded};
use crate::ops::patches::patchify;
use crate::ops::positions::{resize_table, rotary_angles};
use crate::ops::rows;
use crate::params::{Block, Linear, Norm, Params};

/// The most rows of one image that one task handles: enough to pay for packing the weights,
/// few enough that long sequences keep every core busy.
const MAX_ROWS: usize = 512;

/// Why a backbone cannot be put together, or cannot run on an image of some size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A side of the input is no multiple of the patch.
    #[error(
        "an input of {height} x {width} pixels cannot be cut into patches of {patch}: \
         choose a size whose sides are positive multiples of {patch}"
    )]
    InputSize {
        /// Pixels.
        height: usize,
        /// Pixels.
        width: usize,
        /// Pixels.
        patch: usize,
    },
    /// A weight contradicts the architecture.
    #[error("{name} has {found} values where the architecture needs {expected}")]
    ParamSize {
        /// Which weight.
        name: String,
        /// Values that the architecture needs.
        expected: usize,
        /// Values that are there.
        found: usize,
    },
    /// Products in bf16 on a processor without them.
    #[error(
        "products in bf16 need a processor with AVX-512 BF16 (AMD since Zen 4, Intel since Cooper \
         Lake), which this one is not: use --dtype f32"
    )]
    NoBf16,
}

/// A backbone ready to run.
#[derive(Debug)]
pub struct Vit {
    config: Config,
    precision: Precision,
    patch: Map,
    prefix: Vec<f32>,
    table: Vec<f32>,
    periods: Vec<f32>,
    stem_norm: Norm,
    layers: Vec<Layer>,
    norm: Norm,
}

/// A linear map, laid out for its product.
#[derive(Debug)]
struct Map {
    weight: Packed,
    bias: Vec<f32>,
}

impl Map {
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
struct Layer {
    norm1: Norm,
    qkv: Map,
    proj: Map,
    scale1: Vec<f32>,
    norm2: Norm,
    up: Map,
    down: Map,
    scale2: Vec<f32>,
}

impl Layer {
    fn new(block: Block, precision: Precision) -> Self {
        Self {
            norm1: block.norm1,
            qkv: Map::new(block.qkv, precision),
            proj: Map::new(block.proj, precision),
            scale1: block.scale1,
            norm2: block.norm2,
            up: Map::new(block.up, precision),
            down: Map::new(block.down, precision),
            scale2: block.scale2,
        }
    }
}

/// A tensor handed out by [`Vit::forward`].
#[derive(Debug)]
pub enum Tapped<'a> {
    /// Rows of one kind from one layer (1 is the first block).
    Rows {
        /// Layer, from 1; 0 for the embedding.
        layer: usize,
        /// Which tensor.
        kind: Kind,
        /// `[batch, 1 + registers, D]`.
        prefix: ArrayView3<'a, f32>,
        /// `[batch, patches, D]`, patches row by row.
        patches: ArrayView3<'a, f32>,
    },
    /// Attention weights of one layer.
    Attention {
        /// Layer, from 1.
        layer: usize,
        /// `[batch, heads, tokens, tokens]`, rows are queries; class and registers first.
        weights: ArrayView4<'a, f32>,
    },
}

/// Buffers for one input size, reused from batch to batch.
#[derive(Debug)]
pub struct Workspace {
    pixels: [usize; 2],
    grid: [usize; 2],
    table: Vec<f32>,
    rotary: Option<(Vec<f32>, Vec<f32>)>,
    x: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    normed: Vec<f32>,
    matrices: Vec<f32>,
}

impl Workspace {
    /// Patches per column and per row of the input.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }
}

thread_local! {
    static ATTENTION: RefCell<attention::Scratch> = RefCell::default();
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
fn chunk_rows(tokens: usize) -> usize {
    tokens.div_ceil(tokens.div_ceil(MAX_ROWS))
}

impl Vit {
    /// Puts a description and its weights together.
    ///
    /// # Errors
    /// When a weight's size contradicts the description, or the processor has no bf16 products.
    pub fn new(config: Config, params: Params, precision: Precision) -> Result<Self, ShapeError> {
        check(&config, &params)?;
        if precision == Precision::Bf16 && !has_bf16() {
            return Err(ShapeError::NoBf16);
        }
        // One block at a time gives up its weights for their new layout.
        let blocks = params.blocks.into_iter();
        Ok(Self {
            config,
            precision,
            patch: Map::new(params.patch, precision),
            prefix: params.prefix,
            table: params.table,
            periods: params.periods,
            stem_norm: params.stem_norm,
            layers: blocks.map(|block| Layer::new(block, precision)).collect(),
            norm: params.norm,
        })
    }

    /// The architecture.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Buffers for images of `[height, width]` pixels; the position table is resized here, once.
    ///
    /// # Errors
    /// When a side is not a positive multiple of the patch size.
    pub fn workspace(&self, pixels: [usize; 2]) -> Result<Workspace, ShapeError> {
        let patch = self.config.patch;
        if pixels.iter().any(|&side| side == 0 || side % patch != 0) {
            return Err(ShapeError::InputSize {
                height: pixels[0],
                width: pixels[1],
                patch,
            });
        }
        let grid = pixels.map(|side| side / patch);
        let (table, rotary) = match self.config.positions {
            Positions::Table { grid: from, resize } => (
                resize_table(&self.table, self.config.width, from, grid, resize),
                None,
            ),
            Positions::Rotary => (Vec::new(), Some(rotary_angles(&self.periods, grid))),
        };
        Ok(Workspace {
            pixels,
            grid,
            table,
            rotary,
            x: Vec::new(),
            qkv: Vec::new(),
            mixed: Vec::new(),
            normed: Vec::new(),
            matrices: Vec::new(),
        })
    }

    /// Runs a batch and hands every tapped tensor to `sink`, in order of layer.
    ///
    /// # Shapes
    /// `images` `[batch, 3, height, width]`, normalised, with the workspace's height and width.
    ///
    /// # Errors
    /// Whatever `sink` returns; the pass stops there.
    ///
    /// # Panics
    /// When the images do not have the workspace's size.
    pub fn forward<E>(
        &self,
        images: ArrayView4<'_, f32>,
        taps: &Taps,
        work: &mut Workspace,
        mut sink: impl FnMut(Tapped<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (batch, channels, height, width) = images.dim();
        assert_eq!(
            [channels, height, width],
            [3, work.pixels[0], work.pixels[1]]
        );
        let d = self.config.width;
        let patches = work.grid[0] * work.grid[1];
        let tokens = self.config.prefix() + patches;
        work.x.resize(batch * tokens * d, 0.0);
        work.qkv.resize(batch * tokens * 3 * d, 0.0);
        work.mixed.resize(batch * tokens * d, 0.0);
        let images = images.as_standard_layout();
        let images = images.as_slice().expect("standard layout is contiguous");
        self.embed(images, work);

        let prefix = self.config.prefix();
        let hand = |layer,
                    kind,
                    data: &[f32],
                    offset,
                    stride,
                    sink: &mut dyn FnMut(Tapped<'_>) -> Result<(), E>| {
            let view = |from: usize, count: usize| {
                ArrayView3::from_shape(
                    (batch, count, d).strides((tokens * stride, stride, 1)),
                    data.get(from * stride + offset..).unwrap_or_default(),
                )
                .expect("the buffer holds every row of the batch")
            };
            sink(Tapped::Rows {
                layer,
                kind,
                prefix: view(0, prefix),
                patches: view(prefix, patches),
            })
        };

        if taps.wants(0, Kind::Embedding) {
            hand(0, Kind::Embedding, &work.x, 0, d, &mut sink)?;
        }
        let deepest = taps.deepest();
        for (block, layer) in self.layers.iter().zip(1..=deepest) {
            self.project(block, work, tokens);
            for (part, kind) in [Kind::Query, Kind::Key, Kind::Value]
                .into_iter()
                .enumerate()
            {
                if taps.wants(layer, kind) {
                    hand(layer, kind, &work.qkv, part * d, 3 * d, &mut sink)?;
                }
            }
            self.rotate(work, tokens);
            for (part, kind) in [Kind::QueryRotated, Kind::KeyRotated]
                .into_iter()
                .enumerate()
            {
                if taps.wants(layer, kind) {
                    hand(layer, kind, &work.qkv, part * d, 3 * d, &mut sink)?;
                }
            }
            let beyond = [Kind::Attention, Kind::Token, Kind::FinalNorm];
            if layer == deepest && !taps.wants_any(layer, &beyond) {
                break;
            }
            let keep_matrices = taps.wants(layer, Kind::Attention);
            self.attention(work, tokens, keep_matrices);
            if keep_matrices {
                let weights = ArrayView4::from_shape(
                    (batch, self.config.heads, tokens, tokens),
                    &work.matrices,
                )
                .expect("one matrix per image and head");
                sink(Tapped::Attention { layer, weights })?;
            }
            if layer == deepest && !taps.wants_any(layer, &beyond[1..]) {
                break;
            }
            self.feed_forward(block, work, tokens);
            if taps.wants(layer, Kind::Token) {
                hand(layer, Kind::Token, &work.x, 0, d, &mut sink)?;
            }
        }
        if taps.wants(self.config.depth, Kind::FinalNorm) {
            work.normed.resize(batch * tokens * d, 0.0);
            let norm = &self.norm;
            work.normed
                .par_chunks_mut(tokens * d)
                .zip(work.x.par_chunks(tokens * d))
                .for_each(|(out, x)| {
                    let eps = self.config.norm_eps;
                    rows::layer_norm(x, &norm.weight, &norm.bias, eps, (out, d));
                });
            hand(
                self.config.depth,
                Kind::FinalNorm,
                &work.normed,
                0,
                d,
                &mut sink,
            )?;
        }
        Ok(())
    }

    /// Patches, class token, registers and positions; `x` becomes the first block's input.
    fn embed(&self, images: &[f32], work: &mut Workspace) {
        let d = self.config.width;
        let prefix = self.config.prefix();
        let Workspace {
            pixels,
            grid,
            table,
            x,
            ..
        } = work;
        let patches = grid[0] * grid[1];
        let inputs = self.patch.weight.inputs();
        let stride = padded(inputs);
        x.par_chunks_mut((prefix + patches) * d)
            .zip(images.par_chunks(3 * pixels[0] * pixels[1]))
            .for_each(|(x, image)| {
                let (head, body) = x.split_at_mut(prefix * d);
                head.copy_from_slice(&self.prefix);
                with_scratch([patches * stride, 0, 0], |[flat, ..]| {
                    patchify(image, *pixels, self.config.patch, (flat, stride));
                    self.patch.weight.times(
                        (flat, stride),
                        patches,
                        (body, d),
                        #[inline(always)]
                        |row, column, values| {
                            rows::add(values, self.patch.bias(column, values.len()));
                            rows::add(values, stretch(table, row * d + column, values.len()));
                        },
                    );
                });
                if self.config.stem_norm {
                    let norm = &self.stem_norm;
                    with_scratch([x.len(), 0, 0], |[copy, ..]| {
                        copy.copy_from_slice(x);
                        let eps = self.config.norm_eps;
                        rows::layer_norm(copy, &norm.weight, &norm.bias, eps, (x, d));
                    });
                }
            });
    }

    /// LayerNorm, then queries, keys and values with their bias.
    fn project(&self, block: &Layer, work: &mut Workspace, tokens: usize) {
        let d = self.config.width;
        let chunk = chunk_rows(tokens);
        let stride = padded(d);
        let Workspace { x, qkv, .. } = work;
        qkv.par_chunks_mut(tokens * 3 * d)
            .zip(x.par_chunks(tokens * d))
            .for_each(|(qkv, x)| {
                qkv.par_chunks_mut(chunk * 3 * d)
                    .zip(x.par_chunks(chunk * d))
                    .for_each(|(qkv, x)| {
                        let count = x.len() / d;
                        with_scratch([count * stride, 0, 0], |[normed, ..]| {
                            let norm = &block.norm1;
                            let eps = self.config.norm_eps;
                            rows::layer_norm(x, &norm.weight, &norm.bias, eps, (normed, stride));
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

    /// Rotates the queries and keys of the patches, in rotary models.
    fn rotate(&self, work: &mut Workspace, tokens: usize) {
        let d = self.config.width;
        let Workspace { rotary, qkv, .. } = work;
        let Some((cos, sin)) = rotary else { return };
        let heads = self.config.heads;
        let head_width = self.config.head_width();
        qkv.par_chunks_mut(tokens * 3 * d).for_each(|qkv| {
            let rows = &mut qkv[self.config.prefix() * 3 * d..];
            rows::rotate(rows, 3 * d, heads, cos, sin, head_width);
            rows::rotate(&mut rows[d..], 3 * d, heads, cos, sin, head_width);
        });
    }

    /// Attention of every head into `mixed` `[batch, heads, tokens, d]`.
    fn attention(&self, work: &mut Workspace, tokens: usize, keep_matrices: bool) {
        let d = self.config.width;
        let heads = self.config.heads;
        let head_width = self.config.head_width();
        let Workspace {
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
            let shape = [tokens, heads, head_width];
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

    /// The attention's output projection and the feed-forward part, each added to `x`.
    fn feed_forward(&self, block: &Layer, work: &mut Workspace, tokens: usize) {
        let d = self.config.width;
        let chunk = chunk_rows(tokens);
        let Workspace { x, mixed, .. } = work;
        x.par_chunks_mut(tokens * d)
            .zip(mixed.par_chunks(tokens * d))
            .for_each(|(x, mixed)| {
                x.par_chunks_mut(chunk * d)
                    .enumerate()
                    .for_each(|(index, x)| self.feed_rows(block, x, mixed, index * chunk, tokens));
            });
    }

    /// [`Self::feed_forward`] for some rows of one image, from row `first` on.
    ///
    /// # Shapes
    /// `x` `[rows, D]`, `mixed` `[heads, tokens, D / heads]`.
    fn feed_rows(&self, block: &Layer, x: &mut [f32], mixed: &[f32], first: usize, tokens: usize) {
        let d = self.config.width;
        let head_width = self.config.head_width();
        let count = x.len() / d;
        let (stride, hidden_stride) = (padded(d), padded(block.up.weight.outputs()));
        with_scratch(
            [count * stride, count * d, count * hidden_stride],
            |[a, y, hidden]| {
                for (head, source) in mixed.chunks_exact(tokens * head_width).enumerate() {
                    let source = source[first * head_width..].chunks_exact(head_width);
                    for (row, source) in a.chunks_exact_mut(stride).zip(source) {
                        row[head * head_width..][..head_width].copy_from_slice(source);
                    }
                }
                let add_to =
                    |x: &mut [f32], map: &Map, scale: &[f32], a: (&[f32], usize), y: &mut [f32]| {
                        map.weight.times(
                            a,
                            count,
                            (y, d),
                            #[inline(always)]
                            |row, column, values| {
                                let n = values.len();
                                let x = &mut x[row * d + column..][..n];
                                let scale = stretch(scale, column, n);
                                rows::add_branch(x, values, map.bias(column, n), scale);
                            },
                        );
                    };
                add_to(x, &block.proj, &block.scale1, (a, stride), &mut *y);
                let (norm, eps) = (&block.norm2, self.config.norm_eps);
                rows::layer_norm(x, &norm.weight, &norm.bias, eps, (&mut *a, stride));
                let up = (&mut *hidden, hidden_stride);
                match self.config.mlp {
                    Mlp::Gelu => block.up.weight.times(
                        (a, stride),
                        count,
                        up,
                        #[inline(always)]
                        |_, column, values| {
                            rows::bias_gelu(values, block.up.bias(column, values.len()));
                        },
                    ),
                    Mlp::QuickGelu => block.up.weight.times(
                        (a, stride),
                        count,
                        up,
                        #[inline(always)]
                        |_, column, values| {
                            rows::bias_quick_gelu(values, block.up.bias(column, values.len()));
                        },
                    ),
                    Mlp::SwiGlu => {
                        block.up.weight.times(
                            (a, stride),
                            count,
                            up,
                            #[inline(always)]
                            |_, column, values| {
                                rows::add(values, block.up.bias(column, values.len()));
                            },
                        );
                        rows::swiglu(hidden, self.config.hidden, hidden_stride);
                    }
                }
                add_to(x, &block.down, &block.scale2, (hidden, hidden_stride), y);
            },
        );
    }
}

/// Every weight has the size that the description gives it.
fn check(config: &Config, params: &Params) -> Result<(), ShapeError> {
    let d = config.width;
    let mut problem = None;
    let mut expect = |name: String, found: usize, expected: usize| {
        if found != expected && problem.is_none() {
            problem = Some(ShapeError::ParamSize {
                name,
                expected,
                found,
            });
        }
    };
    let optional = |length: usize, present: bool| if present { length } else { 0 };
    expect("width modulo heads".into(), d % config.heads.max(1), 0);
    expect("blocks".into(), params.blocks.len(), config.depth);
    expect("prefix".into(), params.prefix.len(), config.prefix() * d);
    expect(
        "stem norm".into(),
        params.stem_norm.weight.len(),
        optional(d, config.stem_norm),
    );
    expect("final norm".into(), params.norm.weight.len(), d);
    match config.positions {
        Positions::Table { grid, .. } => {
            expect(
                "position table".into(),
                params.table.len(),
                grid[0] * grid[1] * d,
            );
        }
        Positions::Rotary => {
            expect(
                "rotary periods".into(),
                params.periods.len() * 4,
                config.head_width(),
            );
        }
    }
    let mut linear =
        |name: String, l: &Linear, inputs: usize, outputs: usize, bias: Option<bool>| {
            expect(format!("{name} inputs"), l.inputs, inputs);
            expect(format!("{name} outputs"), l.outputs, outputs);
            expect(format!("{name} weight"), l.weight.len(), inputs * outputs);
            let present = bias.unwrap_or(!l.bias.is_empty());
            expect(
                format!("{name} bias"),
                l.bias.len(),
                optional(outputs, present),
            );
        };
    linear(
        "patch embedding".into(),
        &params.patch,
        3 * config.patch * config.patch,
        d,
        None,
    );
    for (i, block) in params.blocks.iter().enumerate() {
        let widen = if config.mlp == Mlp::SwiGlu { 2 } else { 1 };
        linear(format!("block {i} qkv"), &block.qkv, d, 3 * d, None);
        linear(format!("block {i} proj"), &block.proj, d, d, None);
        // The activation is fused with this bias, so it must be there (zeros if need be).
        linear(
            format!("block {i} up"),
            &block.up,
            d,
            widen * config.hidden,
            Some(true),
        );
        linear(
            format!("block {i} down"),
            &block.down,
            config.hidden,
            d,
            None,
        );
    }
    for (i, block) in params.blocks.iter().enumerate() {
        for (name, scale) in [("scale1", &block.scale1), ("scale2", &block.scale2)] {
            expect(
                format!("block {i} {name}"),
                scale.len(),
                optional(d, config.layer_scale),
            );
        }
        for (name, norm) in [("norm1", &block.norm1), ("norm2", &block.norm2)] {
            expect(format!("block {i} {name} weight"), norm.weight.len(), d);
            expect(format!("block {i} {name} bias"), norm.bias.len(), d);
        }
    }
    problem.map_or(Ok(()), Err)
}
