//! A block's second half on the CPU: the attention's output projection and the feed-forward part.

use rayon::prelude::*;

use super::{HostBuffers, HostLayer, HostMap, HostModel, chunk_rows, stretch, with_scratch};
use crate::config::Mlp;
use crate::ops::packed::{padded, put_words};
use crate::ops::rows;

/// What a branch of a block adds to `x` `[rows, D]`: `values` of `row` from `column` on, with the map's
/// bias, scaled.
#[inline(always)]
fn add_branch(
    x: &mut [f32],
    d: usize,
    map: &HostMap,
    scale: &[f32],
    at: (usize, usize),
    values: &mut [f32],
) {
    let (row, column) = at;
    let n = values.len();
    let x = &mut x[row * d + column..][..n];
    rows::add_branch(x, values, map.bias(column, n), stretch(scale, column, n));
}

impl HostModel {
    /// The attention's output projection and the feed-forward part, each added to `x`.
    pub(super) fn feed_forward(&self, block: &HostLayer, work: &mut HostBuffers, tokens: usize) {
        let d = self.config.width;
        let chunk = chunk_rows(tokens, self.precision);
        let HostBuffers { x, mixed, .. } = work;
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
    fn feed_rows(
        &self,
        block: &HostLayer,
        x: &mut [f32],
        mixed: &[f32],
        first: usize,
        tokens: usize,
    ) {
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
                block.proj.weight.pass(
                    (a, stride),
                    count,
                    (&mut *y, d),
                    #[inline(always)]
                    |row, column, values| {
                        add_branch(x, d, &block.proj, &block.scale1, (row, column), values);
                    },
                );
                self.normalize(x, &block.norm2, (&mut *a, stride));
                let fused = matches!(self.config.mlp, Mlp::Gelu | Mlp::QuickGelu);
                if block.down.weight.takes_words() && fused && !self.config.hidden_norm {
                    self.feed_words(block, x, a, hidden);
                    return;
                }
                self.hidden(block, count, a, hidden);
                block.down.weight.pass(
                    (hidden, hidden_stride),
                    count,
                    (y, d),
                    #[inline(always)]
                    |row, column, values| {
                        add_branch(x, d, &block.down, &block.scale2, (row, column), values);
                    },
                );
            },
        );
    }

    /// The feed-forward part of normalized rows `a` where the hidden numbers are only ever factors in
    /// bf16: they are rounded where they are made.
    fn feed_words(&self, block: &HostLayer, x: &mut [f32], a: &[f32], hidden: &mut [f32]) {
        let d = self.config.width;
        let count = x.len() / d;
        let (stride, hidden_stride) = (padded(d), padded(block.up.weight.outputs()));
        let words: &mut [u32] = bytemuck::cast_slice_mut(hidden);
        let word_stride = block.down.weight.word_stride();
        let quick = self.config.mlp == Mlp::QuickGelu;
        block.up.weight.pass(
            (a, stride),
            count,
            (&mut [], hidden_stride),
            #[inline(always)]
            |row, column, values| {
                let bias = block.up.bias(column, values.len());
                if quick {
                    rows::bias_quick_gelu(values, bias);
                } else {
                    rows::bias_gelu(values, bias);
                }
                put_words(values, &mut words[row * word_stride + column / 2..]);
            },
        );
        block.down.weight.pass_words(
            words,
            count,
            #[inline(always)]
            |row, column, values| {
                add_branch(x, d, &block.down, &block.scale2, (row, column), values);
            },
        );
    }

    /// The hidden numbers of normalized rows `a`: the first map, its activation, and the norm of models that
    /// have one here.
    fn hidden(&self, block: &HostLayer, count: usize, a: &[f32], hidden: &mut [f32]) {
        let (stride, hidden_stride) =
            (padded(self.config.width), padded(block.up.weight.outputs()));
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
            Mlp::GeluTanh => block.up.weight.times(
                (a, stride),
                count,
                up,
                #[inline(always)]
                |_, column, values| {
                    rows::bias_gelu_tanh(values, block.up.bias(column, values.len()));
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
        if self.config.hidden_norm {
            let width = self.config.hidden;
            let mut normed = vec![0.0; width];
            for row in hidden.chunks_exact_mut(hidden_stride).take(count) {
                let row = &mut row[..width];
                self.normalize(row, &block.hidden_norm, (&mut normed, width));
                row.copy_from_slice(&normed);
            }
        }
    }
}
