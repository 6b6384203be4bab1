//! Quantiles of a sample.

/// The `level` quantile (0..=1) of a sample sorted by rising value, by linear interpolation between order
/// statistics: the rule of `numpy.quantile`'s default, Hyndman and Fan's type 7.
///
/// `None` for an empty sample.
///
/// ```
/// assert_eq!(vitscope_measure::quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
/// ```
#[must_use]
pub fn quantile(sorted: &[f64], level: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = level.clamp(0.0, 1.0) * last as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(last);
    Some(sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64))
}
