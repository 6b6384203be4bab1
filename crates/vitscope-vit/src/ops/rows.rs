//! Passes over rows that are still in cache: LayerNorm, biases, activations, residuals.
//!
//! Sums run over sixteen fixed lanes, so their order is the same on every machine.

use pulp::Arch;

use super::scalar::{exp, gelu, sigmoid};

const LANES: usize = 16;

#[inline(always)]
fn lane_sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (body, tail) = row.as_chunks::<LANES>();
    for chunk in body {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(tail) {
        *lane += f(x);
    }
    lanes.iter().sum()
}

/// LayerNorm of every row of `x` into `out`, biased variance.
///
/// # Shapes
/// `x`, `out` `[rows, D]` with `D = weight.len()`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64, out: &mut [f32]) {
    let width = weight.len();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                let mean = lane_sum(row, |v| v) / width as f32;
                let variance = lane_sum(row, |v| (v - mean) * (v - mean)) / width as f32;
                let scale = 1.0 / (f64::from(variance) + eps).sqrt() as f32;
                for (((o, &v), &w), &b) in out.iter_mut().zip(row).zip(weight).zip(bias) {
                    *o = ((v - mean) * scale).mul_add(w, b);
                }
            }
        },
    );
}

/// Adds `bias` to every row; an empty bias adds nothing.
///
/// # Shapes
/// `x` `[rows, bias.len()]`.
pub fn add_bias(x: &mut [f32], bias: &[f32]) {
    if bias.is_empty() {
        return;
    }
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in x.chunks_exact_mut(bias.len()) {
                for (v, &b) in row.iter_mut().zip(bias) {
                    *v += b;
                }
            }
        },
    );
}

/// `x += scale * (y + bias)`, per row; empty `scale` is 1, empty `bias` is 0.
///
/// # Shapes
/// `x`, `y` `[rows, width]`.
pub fn add_residual(x: &mut [f32], y: &[f32], bias: &[f32], scale: &[f32], width: usize) {
    let zeros;
    let bias = if bias.is_empty() {
        zeros = vec![0.0; width];
        &zeros
    } else {
        bias
    };
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
                if scale.is_empty() {
                    for ((x, &y), &b) in x.iter_mut().zip(y).zip(bias) {
                        *x += y + b;
                    }
                } else {
                    for (((x, &y), &b), &s) in x.iter_mut().zip(y).zip(bias).zip(scale) {
                        *x += s * (y + b);
                    }
                }
            }
        },
    );
}

/// `x = gelu(x + bias)` in place (exact erf form).
pub fn bias_gelu(x: &mut [f32], bias: &[f32]) {
    bias_then(x, bias, gelu);
}

/// `x = y * sigmoid(1.702 y)` with `y = x + bias`, in place.
pub fn bias_quick_gelu(x: &mut [f32], bias: &[f32]) {
    bias_then(x, bias, |y| y * sigmoid(1.702 * y));
}

#[inline(always)]
fn bias_then(x: &mut [f32], bias: &[f32], f: impl Fn(f32) -> f32) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in x.chunks_exact_mut(bias.len()) {
                for (v, &b) in row.iter_mut().zip(bias) {
                    *v = f(*v + b);
                }
            }
        },
    );
}

/// SwiGLU: `out = silu(gate) * up`, where a row of `x` is `[gate, up]` before their bias.
///
/// # Shapes
/// `x` `[rows, 2h]`, `bias` `[2h]`, `out` `[rows, h]`.
pub fn bias_swiglu(x: &[f32], bias: &[f32], out: &mut [f32]) {
    let hidden = bias.len() / 2;
    let (gate_bias, up_bias) = bias.split_at(hidden);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, out) in x.chunks_exact(2 * hidden).zip(out.chunks_exact_mut(hidden)) {
                let (gate, up) = row.split_at(hidden);
                for ((((o, &g), &u), &gb), &ub) in
                    out.iter_mut().zip(gate).zip(up).zip(gate_bias).zip(up_bias)
                {
                    let g = g + gb;
                    *o = g * sigmoid(g) * (u + ub);
                }
            }
        },
    );
}

/// Softmax over every row of `x`, in place.
///
/// # Shapes
/// `x` `[rows, width]`.
pub fn softmax(x: &mut [f32], width: usize) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in x.chunks_exact_mut(width) {
                let mut tops = [f32::NEG_INFINITY; LANES];
                for chunk in row.chunks(LANES) {
                    for (top, &v) in tops.iter_mut().zip(chunk) {
                        *top = if v > *top { v } else { *top };
                    }
                }
                let top = tops.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                for v in row.iter_mut() {
                    *v = exp(*v - top);
                }
                let scale = 1.0 / lane_sum(row, |v| v);
                for v in row.iter_mut() {
                    *v *= scale;
                }
            }
        },
    );
}

/// Rotates the two halves of every head of every row: `x cos + [-x2, x1] sin` (DINOv3).
///
/// # Shapes
/// `x`: rows of `heads * d` values, `stride` apart; `cos`, `sin` `[rows, d]`.
pub fn rotate(x: &mut [f32], stride: usize, heads: usize, cos: &[f32], sin: &[f32], d: usize) {
    let half = d / 2;
    let angles = cos.chunks_exact(d).zip(sin.chunks_exact(d));
    for (row, (cos, sin)) in x.chunks_mut(stride).zip(angles) {
        for head in row[..heads * d].chunks_exact_mut(d) {
            let (first, second) = head.split_at_mut(half);
            for (j, (a, b)) in first.iter_mut().zip(second).enumerate() {
                let (x1, x2) = (*a, *b);
                *a = x1 * cos[j] - x2 * sin[j];
                *b = x2 * cos[half + j] + x1 * sin[half + j];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_norm_equals_the_definition_in_f64() {
        let width = 37;
        let x: Vec<f32> = (0..3 * width)
            .map(|i| (i * 29 % 17) as f32 * 0.1 - 0.7)
            .collect();
        let weight: Vec<f32> = (0..width).map(|i| 1.0 + i as f32 * 0.01).collect();
        let bias: Vec<f32> = (0..width).map(|i| i as f32 * 0.02 - 0.3).collect();
        let mut out = vec![0.0; x.len()];
        layer_norm(&x, &weight, &bias, 1e-6, &mut out);
        for (row, got) in x.chunks(width).zip(out.chunks(width)) {
            let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64;
            let var = row
                .iter()
                .map(|&v| (f64::from(v) - mean).powi(2))
                .sum::<f64>()
                / width as f64;
            for j in 0..width {
                let want = (f64::from(row[j]) - mean) / (var + 1e-6).sqrt() * f64::from(weight[j])
                    + f64::from(bias[j]);
                assert!((f64::from(got[j]) - want).abs() < 2e-6);
            }
        }
    }

    #[test]
    fn softmax_rows_sum_to_one_even_for_large_scores() {
        let mut x: Vec<f32> = (0..2 * 21)
            .map(|i| (i % 21) as f32 * 10.0 + 500.0)
            .collect();
        softmax(&mut x, 21);
        for row in x.chunks(21) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!((row[20] - 1.0 / (1.0 + (-10.0_f32).exp())).abs() < 1e-4);
        }
    }
}
