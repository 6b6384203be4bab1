//! Softmax attention of one head of one image.

use super::product::{Mat, product};
use super::rows::softmax;

/// Query rows that are handled together: their scores stay in the second-level cache.
const ROWS: usize = 128;

/// `softmax(q k^T / sqrt(d)) v` for one head.
///
/// `qkv` holds the image's rows of `[queries, keys, values]`, each `heads * d` wide. When
/// `matrix` is given, it receives the `[tokens, tokens]` weights.
///
/// # Shapes
/// `qkv` `[tokens, 3 * heads * d]`, `out` `[tokens, d]`.
pub fn attend(
    qkv: &[f32],
    [tokens, heads, d]: [usize; 3],
    head: usize,
    scores: &mut Vec<f32>,
    mut matrix: Option<&mut [f32]>,
    out: &mut [f32],
) {
    let width = heads * d;
    let stride = 3 * width;
    let part = |which: usize| Mat::rows(&qkv[which * width + head * d..], stride);
    let scale = 1.0 / (d as f32).sqrt();
    scores.resize(ROWS.min(tokens) * tokens, 0.0);
    for start in (0..tokens).step_by(ROWS) {
        let rows = ROWS.min(tokens - start);
        let scores = &mut scores[..rows * tokens];
        let queries = Mat::rows(&qkv[start * stride + head * d..], stride);
        product(
            [rows, d, tokens],
            scale,
            queries,
            part(1).t(),
            scores,
            tokens,
        );
        softmax(scores, tokens);
        if let Some(matrix) = matrix.as_deref_mut() {
            matrix[start * tokens..][..rows * tokens].copy_from_slice(scores);
        }
        let out = &mut out[start * d..(start + rows) * d];
        product(
            [rows, tokens, d],
            1.0,
            Mat::rows(scores, tokens),
            part(2),
            out,
            d,
        );
    }
}
