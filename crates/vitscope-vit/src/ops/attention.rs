//! Softmax attention of one head of one image.

use super::packed::Packed;
use super::product::Mat;
use super::rows::softmax;
use crate::config::Precision;
use crate::edit::FromPrefix;

/// Query rows that are handled together: their scores stay in the second-level cache. A multiple
/// of the rows that a product handles at once (12, or 32 with tile registers).
const ROWS: usize = 96;

/// The sizes of an image's attention, and what is not the same in all models and passes.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape<'a> {
    /// Tokens of an image, the patches last.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Width of one.
    pub width: usize,
    /// Tokens before the patches.
    pub prefix: usize,
    /// What patches are given of those.
    pub from_prefix: FromPrefix,
    /// What is added to the scores of the head, in models with relative positions.
    pub relative: Option<Relative<'a>>,
}

/// What scores are given for how far apart query and key lie.
#[derive(Clone, Copy, Debug)]
pub struct Relative<'a> {
    /// Numbers of one head.
    pub table: &'a [f32],
    /// Which of them, `[tokens, tokens]`.
    pub index: &'a [u32],
}

impl Relative<'_> {
    /// Scales scores of rows from token `start` on, and adds what they are given.
    fn add(&self, scores: &mut [f32], start: usize, tokens: usize, scale: f32) {
        for (score, &at) in scores.iter_mut().zip(&self.index[start * tokens..]) {
            *score = *score * scale + self.table[at as usize];
        }
    }
}

/// Buffers of [`attend`], kept from call to call.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    keys: Packed,
    values: Packed,
    scores: Vec<f32>,
    prefix: Prefix,
}

/// `softmax(q k^T / sqrt(d)) v` for one head, with what the shape says is added to the scores.
///
/// `qkv` holds the image's rows of `[queries, keys, values]`, each `heads * d` wide. When
/// `matrix` is given, it receives the `[tokens, tokens]` weights.
///
/// # Shapes
/// `qkv` `[tokens, 3 * heads * d]`, `out` `[tokens, d]`.
pub fn attend(
    qkv: &[f32],
    shape: AttentionShape<'_>,
    head: usize,
    precision: Precision,
    scratch: &mut AttentionScratch,
    mut matrix: Option<&mut [f32]>,
    out: &mut [f32],
) {
    let AttentionShape {
        tokens,
        heads,
        width: d,
        ..
    } = shape;
    let width = heads * d;
    let stride = 3 * width;
    let part = |which: usize| Mat::rows(&qkv[which * width + head * d..], stride);
    let AttentionScratch {
        keys,
        values,
        scores,
        prefix,
    } = scratch;
    prefix.begin(&shape);
    keys.pack(part(1).t(), d, tokens, precision);
    values.pack(part(2), tokens, d, precision);
    scores.resize(ROWS.min(tokens) * tokens, 0.0);
    for start in (0..tokens).step_by(ROWS) {
        let rows = ROWS.min(tokens - start);
        let scores = &mut scores[..rows * tokens];
        let queries = &qkv[start * stride + head * d..];
        keys.times((queries, stride), rows, (scores, tokens), |_, _, _| ());
        let mut scale = 1.0 / (d as f32).sqrt();
        if let Some(relative) = shape.relative {
            relative.add(scores, start, tokens, scale);
            scale = 1.0;
        }
        match shape.from_prefix {
            FromPrefix::Own => softmax(scores, tokens, scale),
            _ => prefix.cut(scores, start, scale),
        }
        if let Some(matrix) = matrix.as_deref_mut() {
            matrix[start * tokens..][..rows * tokens].copy_from_slice(scores);
        }
        let out = &mut out[start * d..(start + rows) * d];
        values.times((scores, tokens), rows, (out, d), |_, _, _| ());
    }
    if shape.from_prefix == FromPrefix::Mean {
        let value = |token: usize| &qkv[token * stride + 2 * width + head * d..][..d];
        prefix.give_mean(value, matrix, out);
    }
}

/// Attention of patches to the tokens before them, taken away.
#[derive(Debug, Default)]
struct Prefix {
    tokens: usize,
    prefix: usize,
    /// Sums over the patches that were cut of their weights to each token before them, `[prefix]`.
    weights: Vec<f64>,
    /// Scores of one row among patches.
    row: Vec<f32>,
}

impl Prefix {
    fn begin(&mut self, shape: &AttentionShape<'_>) {
        (self.tokens, self.prefix) = (shape.tokens, shape.prefix);
        self.weights.clear();
        self.weights.resize(shape.prefix, 0.0);
    }

    /// Makes weights of the scores of some rows from token `start` on. Those of a patch are a softmax over patches alone.
    fn cut(&mut self, scores: &mut [f32], start: usize, scale: f32) {
        for (token, row) in (start..).zip(scores.chunks_exact_mut(self.tokens)) {
            self.row.clear();
            self.row.extend(&row[self.prefix..]);
            softmax(row, self.tokens, scale);
            if token >= self.prefix {
                let (before, patches) = row.split_at_mut(self.prefix);
                for (sum, weight) in self.weights.iter_mut().zip(before) {
                    *sum += f64::from(std::mem::take(weight));
                }
                softmax(&mut self.row, patches.len(), scale);
                patches.copy_from_slice(&self.row);
            }
        }
    }

    /// Gives every patch the mean of what was taken from all.
    fn give_mean<'a>(
        &self,
        value: impl Fn(usize) -> &'a [f32],
        matrix: Option<&mut [f32]>,
        out: &mut [f32],
    ) {
        let d = out.len() / self.tokens;
        let patches = (self.tokens - self.prefix) as f64;
        let weights: Vec<f64> = self.weights.iter().map(|sum| sum / patches).collect();
        let rest = 1.0 - weights.iter().sum::<f64>();
        let mut given = vec![0.0_f64; d];
        for (token, weight) in weights.iter().enumerate() {
            for (sum, &value) in given.iter_mut().zip(value(token)) {
                *sum += weight * f64::from(value);
            }
        }
        for row in out.chunks_exact_mut(d).skip(self.prefix) {
            for (value, given) in row.iter_mut().zip(&given) {
                *value = (rest * f64::from(*value) + given) as f32;
            }
        }
        let rows = matrix.map(|matrix| matrix.chunks_exact_mut(self.tokens));
        for row in rows.into_iter().flatten().skip(self.prefix) {
            let (before, patches) = row.split_at_mut(self.prefix);
            for (to, &weight) in before.iter_mut().zip(&weights) {
                *to = weight as f32;
            }
            for weight in patches {
                *weight = (rest * f64::from(*weight)) as f32;
            }
        }
    }
}
