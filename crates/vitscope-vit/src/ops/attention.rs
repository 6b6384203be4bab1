//! Softmax attention of one head of one image.

use super::packed::Packed;
use super::product::Mat;
use super::rows::softmax;
use crate::config::Precision;

/// Query rows that are handled together: their scores stay in the second-level cache. A multiple
/// of the rows that a product handles at once (12, or 32 with tile registers).
const ROWS: usize = 96;

/// Buffers of [`attend`], kept from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    keys: Packed,
    values: Packed,
    scores: Vec<f32>,
}

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
    precision: Precision,
    scratch: &mut Scratch,
    mut matrix: Option<&mut [f32]>,
    out: &mut [f32],
) {
    let width = heads * d;
    let stride = 3 * width;
    let part = |which: usize| Mat::rows(&qkv[which * width + head * d..], stride);
    let Scratch {
        keys,
        values,
        scores,
    } = scratch;
    keys.pack(part(1).t(), d, tokens, precision);
    values.pack(part(2), tokens, d, precision);
    scores.resize(ROWS.min(tokens) * tokens, 0.0);
    for start in (0..tokens).step_by(ROWS) {
        let rows = ROWS.min(tokens - start);
        let scores = &mut scores[..rows * tokens];
        let queries = &qkv[start * stride + head * d..];
        keys.times((queries, stride), rows, (scores, tokens), |_, _, _| ());
        softmax(scores, tokens, 1.0 / (d as f32).sqrt());
        if let Some(matrix) = matrix.as_deref_mut() {
            matrix[start * tokens..][..rows * tokens].copy_from_slice(scores);
        }
        let out = &mut out[start * d..(start + rows) * d];
        values.times((scores, tokens), rows, (out, d), |_, _, _| ());
    }
}
