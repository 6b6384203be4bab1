//! Tokens that are far longer than the rest (docs/protocol.md section 17).
//!
//! With `l` the logarithms of the lengths of patch vectors, before the final norm, a token is an *outlier* where
//!
//! ```text
//! l > median(l) + 6 * 1.4826 * MAD        MAD = median(|l - median(l)|)
//! ```
//!
//! 1.4826 MAD is the standard deviation where `l` is normal, so lengths that are lognormal have a share of
//! [`OUTLIERS_OF_LOGNORMAL`] beyond it: one in a thousand million.

use crate::quantile;

/// Standard deviations of a lognormal length beyond which a token is an outlier.
const FAR: f64 = 6.0;
/// Standard deviations of a normal distribution in its median absolute deviation.
const DEVIATIONS: f64 = 1.4826;
/// Lengths that differ by less than this part are equal: vectors of one length have no outliers by rounding.
const EQUAL: f64 = 1e-3;

/// Share of outliers where lengths are lognormal: that of a normal distribution beyond six standard deviations.
pub const OUTLIERS_OF_LOGNORMAL: f64 = 9.87e-10;

/// The length above which a token is an outlier among others; `None` where all lengths are zero.
///
/// Vectors of length zero have no logarithm and are left out.
///
/// ```
/// let lengths = [1.0_f32, 1.1, 0.9, 1.05, 0.95, 1.0, 40.0];
/// let bound = vitscope_measure::outlier_bound(&lengths).expect("there are lengths");
/// assert!(bound > 1.1 && bound < 40.0);
/// ```
#[must_use]
pub fn outlier_bound(lengths: &[f32]) -> Option<f64> {
    let lengths = lengths.iter().filter(|length| **length > 0.0);
    let mut logs: Vec<f64> = lengths.map(|&length| f64::from(length).ln()).collect();
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        quantile(values, 0.5)
    };
    let center = median(&mut logs)?;
    let mut apart: Vec<f64> = logs.iter().map(|log| (log - center).abs()).collect();
    let spread = median(&mut apart)?.max(EQUAL);
    Some((center + FAR * DEVIATIONS * spread).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::index;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Lengths that are lognormal have none, and what is planted among them is found, all of it and nothing else.
    #[test]
    fn what_is_planted_is_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // The sum of twelve uniform numbers is nearly normal, of standard deviation 1.
        let mut normal = || {
            (0..12)
                .map(|_| index(&mut rng, 1000) as f64 / 1000.0)
                .sum::<f64>()
                - 6.0
        };
        let mut lengths: Vec<f32> = (0..5000)
            .map(|_| (3.0 + 0.2 * normal()).exp() as f32)
            .collect();
        let above = |lengths: &[f32]| {
            let bound = outlier_bound(lengths).unwrap();
            let count = lengths.iter().filter(|length| f64::from(**length) > bound);
            (bound, count.count())
        };
        let (bound, found) = above(&lengths);
        assert_eq!(found, 0);
        // exp(3 + 6 * 0.2), as the spread was planted.
        assert!((bound.ln() - 4.2).abs() < 0.05, "{bound}");
        for length in lengths.iter_mut().step_by(50) {
            *length = 150.0;
        }
        assert_eq!(above(&lengths).1, 100);
    }

    #[test]
    fn equal_lengths_have_none_by_rounding() {
        let mut lengths = vec![1.0_f32, 1.0 + 1e-6, 1.0 - 1e-6, 1.0, 0.0];
        assert!(outlier_bound(&lengths).unwrap() > 1.000_01);
        lengths.push(30.0);
        assert!(outlier_bound(&lengths).unwrap() < 1.1);
        assert_eq!(outlier_bound(&[0.0, 0.0]), None);
    }
}
