//! Passes over rows that are still in cache: LayerNorm, biases, activations, residuals.
//!
//! Sums run over sixteen fixed lanes, so their order is the same on every machine.

use super::scalar::{exp, gelu, gelu_tanh, sigmoid};

const LANES: usize = 16;

/// Runs `work` compiled for the widest vector instructions that the machine has; `work` has to be
/// inlined to profit.
#[inline(always)]
pub fn vectorized<R>(work: impl FnMut() -> R) -> R {
    // Called through `FnMut`: a closure called through `FnOnce`, as `dispatch` does by itself, goes
    // through a shim that is not always inlined, and then runs as code for the oldest processor,
    // where one `mul_add` is a function call. It cost two thirds of a pass before it was found.
    struct Vectorized<F>(F);
    impl<R, F: FnMut() -> R> pulp::NullaryFnOnce for Vectorized<F> {
        type Output = R;

        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Vectorized(work))
}

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
/// `x`, `out` `[rows, D]` with `D = weight.len()`; rows of `out` are `stride` apart.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64, out: (&mut [f32], usize)) {
    normalize(
        x,
        [weight, bias],
        eps,
        out,
        #[inline(always)]
        |row| lane_sum(row, |v| v) / row.len() as f32,
    );
}

/// Every row of `x` over the root of its mean square into `out` (RMSNorm).
///
/// # Shapes
/// As [`layer_norm`].
pub fn rms_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64, out: (&mut [f32], usize)) {
    normalize(
        x,
        [weight, bias],
        eps,
        out,
        #[inline(always)]
        |_| 0.0,
    );
}

/// Rows about their `middle`, over the root of the mean square about it.
#[inline(always)]
fn normalize(
    x: &[f32],
    [weight, bias]: [&[f32]; 2],
    eps: f64,
    (out, stride): (&mut [f32], usize),
    middle: impl Fn(&[f32]) -> f32,
) {
    let width = weight.len();
    vectorized(
        #[inline(always)]
        || {
            for (row, out) in x.chunks_exact(width).zip(out.chunks_mut(stride)) {
                let middle = middle(row);
                let variance = lane_sum(row, |v| (v - middle) * (v - middle)) / width as f32;
                let scale = 1.0 / (f64::from(variance) + eps).sqrt() as f32;
                for (((o, &v), &w), &b) in out.iter_mut().zip(row).zip(weight).zip(bias) {
                    *o = ((v - middle) * scale).mul_add(w, b);
                }
            }
        },
    );
}

/// `x += y`; an empty `y` adds nothing.
#[inline(always)]
pub fn add(x: &mut [f32], y: &[f32]) {
    let (wide, rest) = x.as_chunks_mut::<LANES>();
    let (wide_y, rest_y) = y.as_chunks::<LANES>();
    for (x, y) in wide.iter_mut().zip(wide_y) {
        // All are read before any is written: otherwise every one of them might be the next one's
        // other operand, and the compiler would take them one by one.
        let (a, b) = (*x, *y);
        *x = std::array::from_fn(|lane| a[lane] + b[lane]);
    }
    for (x, &y) in rest.iter_mut().zip(rest_y) {
        *x += y;
    }
}

/// `x += scale * (y + bias)`; an empty `scale` is 1, an empty `bias` is 0.
#[inline(always)]
pub fn add_branch(x: &mut [f32], y: &mut [f32], bias: &[f32], scale: &[f32]) {
    add(y, bias);
    if scale.is_empty() {
        add(x, y);
    } else {
        for (y, &s) in y.iter_mut().zip(scale) {
            *y *= s;
        }
        add(x, y);
    }
}

/// `x = gelu(x + bias)` (exact erf form).
#[inline(always)]
pub fn bias_gelu(x: &mut [f32], bias: &[f32]) {
    for (v, &b) in x.iter_mut().zip(bias) {
        *v = gelu(*v + b);
    }
}

/// `x = gelu(x + bias)` by the hyperbolic tangent.
#[inline(always)]
pub fn bias_gelu_tanh(x: &mut [f32], bias: &[f32]) {
    for (v, &b) in x.iter_mut().zip(bias) {
        *v = gelu_tanh(*v + b);
    }
}

/// `x = y * sigmoid(1.702 y)` with `y = x + bias`.
#[inline(always)]
pub fn bias_quick_gelu(x: &mut [f32], bias: &[f32]) {
    for (v, &b) in x.iter_mut().zip(bias) {
        let y = *v + b;
        *v = y * sigmoid(1.702 * y);
    }
}

/// SwiGLU: `silu(gate) * up` of every row `[gate, up]` of `x`, in place of the gate.
///
/// # Shapes
/// `x` `[rows, 2h]`, rows `stride` apart.
pub fn swiglu(x: &mut [f32], hidden: usize, stride: usize) {
    vectorized(
        #[inline(always)]
        || {
            for row in x.chunks_mut(stride) {
                let (gate, up) = row.split_at_mut(hidden);
                for (g, &u) in gate.iter_mut().zip(&*up) {
                    *g = *g * sigmoid(*g) * u;
                }
            }
        },
    );
}

/// Softmax over every row of `scale * x`, in place; `scale` is positive.
///
/// # Shapes
/// `x` `[rows, width]`.
pub fn softmax(x: &mut [f32], width: usize, scale: f32) {
    vectorized(
        #[inline(always)]
        || {
            for row in x.chunks_exact_mut(width) {
                let larger = |a: f32, b: f32| if a > b { a } else { b };
                let (body, tail) = row.as_chunks::<LANES>();
                let mut tops = [f32::NEG_INFINITY; LANES];
                for chunk in body {
                    // By value, so that the largest stay in a register.
                    tops = std::array::from_fn(|lane| larger(chunk[lane], tops[lane]));
                }
                let top = tops
                    .iter()
                    .chain(tail)
                    .fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                for v in row.iter_mut() {
                    *v = exp((*v - top) * scale);
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

/// Turns neighboring channels of every head of every row: `x cos + [-x1, x0, -x3, x2, ...] sin`
/// (EVA-02, Perception Encoder).
///
/// # Shapes
/// As [`rotate`].
pub fn rotate_pairs(
    x: &mut [f32],
    stride: usize,
    heads: usize,
    cos: &[f32],
    sin: &[f32],
    d: usize,
) {
    let angles = cos.chunks_exact(d).zip(sin.chunks_exact(d));
    for (row, (cos, sin)) in x.chunks_mut(stride).zip(angles) {
        for head in row[..heads * d].chunks_exact_mut(d) {
            for (j, pair) in head.chunks_exact_mut(2).enumerate() {
                let (x0, x1) = (pair[0], pair[1]);
                pair[0] = x0 * cos[2 * j] - x1 * sin[2 * j];
                pair[1] = x1 * cos[2 * j + 1] + x0 * sin[2 * j + 1];
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
        layer_norm(&x, &weight, &bias, 1e-6, (&mut out, width));
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
        softmax(&mut x, 21, 1.0);
        for row in x.chunks(21) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!((row[20] - 1.0 / (1.0 + (-10.0_f32).exp())).abs() < 1e-4);
        }
    }
}
