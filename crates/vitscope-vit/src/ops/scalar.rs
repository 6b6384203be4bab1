//! Scalar functions written so that a loop over them becomes SIMD code.

/// `e^x` to about 2 units in the last place; underflows to 0 below -87, saturates above 88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r, |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to an integer in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    // Cephes' polynomial for expf on that interval.
    let mut p = 1.987_569_1e-4_f32;
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = p.mul_add(r, c);
    }
    let y = (p * r).mul_add(r, r) + 1.0;
    y * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// The error function to about one unit in the last place: a polynomial near zero, `1 - e^p(|x|)`
/// beyond, with N. Juffa's minimax coefficients. Both are computed and one is chosen, so that the
/// function stays free of branches.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let (t, s) = (x.abs(), x * x);
    let mut near = -5.967_617e-4_f32;
    for c in [
        4.991_194e-3,
        -2.676_813_5e-2,
        1.128_199_25e-1,
        -3.761_253_4e-1,
        1.283_791_7e-1,
    ] {
        near = near.mul_add(s, c);
    }
    let near = near.mul_add(x, x);
    let high = (-1.728_534_7e-5_f32).mul_add(t, 3.831_971_3e-4);
    let low = (-3.883_964_4e-3_f32).mul_add(t, 2.425_462_2e-2);
    let mut far = high.mul_add(s, low);
    for c in [-1.067_778_8e-1, -6.348_467e-1, -1.287_175_1e-1] {
        far = far.mul_add(t, c);
    }
    let far = (1.0 - exp(far.mul_add(t, -t))).copysign(x);
    if t > 0.927_734_4 { far } else { near }
}

/// The exact (erf) GELU.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let want = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - want).abs() / want);
        }
        assert!(worst < 2.4e-7, "{worst:e}");
    }

    /// erf by its series, which converges fast enough below 4.
    fn erf_f64(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn erf_is_within_1e_7() {
        let mut worst = 0.0_f64;
        for i in -40_000..=40_000 {
            let x = i as f32 * 1e-4;
            worst = worst.max((f64::from(erf(x)) - erf_f64(f64::from(x))).abs());
        }
        assert!(worst < 1e-7, "{worst:e}");
        assert!((erf(30.0) - 1.0).abs() < 1e-7 && (erf(-30.0) + 1.0).abs() < 1e-7);
        assert!((erf(1e4) - 1.0).abs() < 1e-7 && erf(0.0) == 0.0);
    }
}
