//! Attention that writes its scores, for heads that no kernel fuses.

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
}

impl Apart {
    /// Nothing yet.
    pub(super) fn new(gpu: &Gpu, element: Element) -> Result<Self, CudaError> {
        Ok(Self {
            heads: Factors::new(gpu, element, 0)?,
            scores: Buffer::new(gpu, 0)?,
            weights: Factors::new(gpu, element, 0)?,
            mixed: Buffer::new(gpu, 0)?,
        })
    }

    /// Attention by way of its scores, for every width of a head; `norms` as for [`Dense::attend`].
    pub(super) fn attend(
        &mut self,
        dense: &Dense,
        qkv: &Factors,
        shape: [usize; 4],
        most_scores: usize,
        mut norms: Option<&mut Buffer<f32>>,
    ) -> Result<(), CudaError> {
        let [batch, tokens, heads, d] = shape;
        let gpu = dense.gpu();
        let Self {
            heads: split,
            scores,
            weights,
            mixed,
        } = self;
        let pairs = batch * heads;
        let stride = tokens.next_multiple_of(ROW_UNIT);
        let at_a_time = (most_scores / (tokens * stride)).clamp(1, pairs.max(1));
        split.reserve(gpu, 3 * pairs * tokens * d)?;
        mixed.reserve(gpu, pairs * tokens * d)?;
        scores.reserve(gpu, at_a_time * tokens * stride)?;
        weights.reserve(gpu, at_a_time * tokens * stride)?;
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
            let norms = norms.as_deref_mut().map(|norms| (norms, first * tokens));
            dense.softmax(scores, rows, scale, weights, norms)?;
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
