//! How weights lie in memory where wide products read them: in panels of columns, and with bf16 in words of two
//! neighbors of the inner dimension.

/// Columns of a panel: two AVX-512 registers.
pub(super) const PANEL: usize = 32;

/// The bf16 nearest to an f32, ties to even; NaN stays NaN.
#[inline(always)]
fn nearest_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { 0x7fc0 } else { rounded }
}

/// Two neighbors of the inner dimension in one word.
#[inline(always)]
pub(super) fn pair(low: f32, high: f32) -> u32 {
    nearest_bf16(low) | nearest_bf16(high) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_to_bf16_is_to_nearest_even() {
        for (x, want) in [
            (1.0_f32, 0x3f80),
            (-2.0, 0xc000),
            (1.003_906_3, 0x3f80), // exactly between 1 and 1 + 1/128: to even
            (1.011_718_8, 0x3f82), // between 1 + 1/128 and 1 + 2/128: to even
            (1.004, 0x3f81),
            (f32::INFINITY, 0x7f80),
            (f32::MAX, 0x7f80),
        ] {
            assert_eq!(nearest_bf16(x), want, "{x}");
        }
        assert_eq!(nearest_bf16(f32::NAN), 0x7fc0);
    }
}
