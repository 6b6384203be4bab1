//! Arithmetic of colors.

/// Red, green and blue, 0 to 255; out of range until an image is made of it.
pub(crate) type Color = [f64; 3];

/// `a` at 0, `b` at 1.
pub(crate) fn mix(a: Color, b: Color, t: f64) -> Color {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}

/// Brighter or darker.
pub(crate) fn scale(color: Color, by: f64) -> Color {
    color.map(|value| value * by)
}
