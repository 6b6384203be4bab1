//! Attention that writes its scores, for heads that no kernel fuses and where the weights are kept.

use vitscope_cuda::{
    Buffer, CudaError, Dense, Element, Factors, Gpu, Matrix, Product, ProductTarget, ROW_UNIT,
};

/// What attention needs where it writes its scores.
#[derive(Debug)]
pub(super) struct Apart {
    /// `[3, batch, heads, tokens, D / heads]`
    heads: Factors,
    /// Scores of some heads of some images, `[pairs, tokens, padded tokens]`.
    scores: Buffer<f32>,
    /// The same after softmax.
    weights: Factors,
    /// `[batch, heads, tokens, D / heads]`
    pub(super) mixed: Buffer<f32>,
    /// Attention weights, where they are kept, `[batch, heads, tokens, tokens]`.
    pub(super) matrices: Buffer<f32>,
    /// The same on the host.
    pub(super) host: Vec<f32>,
}

impl Apart {
    /// Nothing yet.
    pub(super) fn new(gpu: &Gpu, element: Element) -> Result<Self, CudaError> {
        Ok(Self {
            heads: Factors::new(gpu, element, 0)?,
            scores: Buffer::new(gpu, 0)?,
            weights: Factors::new(gpu, element, 0)?,
            mixed: Buffer::new(gpu, 0)?,
            matrices: Buffer::new(gpu, 0)?,
            host: Vec::new(),
        })
    }

    /// Attention by way of its scores, for every width of a head and where its weights are wanted.
    pub(super) fn attend(
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
            let target = ProductTarget::new(scores, stride).batch(tokens * stride);
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
            let target = ProductTarget::new(mixed, d).at(first * head).batch(head);
            gpu.product(product, left, part(2), target, None)?;
        }
        Ok(())
    }
}
