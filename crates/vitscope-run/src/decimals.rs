//! Numbers as people read them.

/// A value with so many decimals; what is rounded to zero has no sign.
///
/// ```
/// use vitscope_run::decimals;
///
/// assert_eq!(decimals(-0.0004, 3), "0.000");
/// assert_eq!(decimals(-0.0006, 3), "-0.001");
/// ```
#[must_use]
pub fn decimals(value: f64, count: usize) -> String {
    let text = format!("{value:.count$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| matches!(byte, b'0' | b'.')) => rest.to_owned(),
        _ => text,
    }
}
