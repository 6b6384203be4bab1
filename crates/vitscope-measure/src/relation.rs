//! Relations between figures over slots and models (docs/protocol.md section 11): correlation and its interval.
//!
//! - [`pearson`]: `r = sum (x - mx)(y - my) / sqrt(sum (x - mx)^2 sum (y - my)^2)`, linear relation.
//! - [`spearman`]: Pearson's `r` of the ranks (ties share the mean of their ranks), monotone relation.
//! - [`bootstrap_interval`]: pairs are drawn with replacement, and the interval runs between quantiles of
//!   the statistic over the replicates (percentile method).

use ndarray::ArrayView1;
use rand::Rng;

use crate::quantile::quantile;
use crate::random;

/// Pearson's correlation coefficient, in `[-1, 1]`; `None` for fewer than two pairs, different lengths, or
/// where one side is constant or not finite.
#[must_use]
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let mean = |values: &[f64]| ArrayView1::from(values).mean();
    let (mean_x, mean_y) = (mean(x)?, mean(y)?);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (&x, &y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    // A constant leaves crumbs of its mean's rounding, no more.
    let crumbs = |mean: f64| x.len() as f64 * (mean * f64::EPSILON).powi(2) * 4.0;
    let constant = xx <= crumbs(mean_x) || yy <= crumbs(mean_y);
    let r = xy / (xx.sqrt() * yy.sqrt());
    (!constant && r.is_finite()).then(|| r.clamp(-1.0, 1.0))
}

/// Spearman's rank correlation, in `[-1, 1]`; `None` as for [`pearson`].
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.iter().chain(y).any(|value| value.is_nan()) {
        return None;
    }
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 1, ties sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        for &index in &order[start..end] {
            ranks[index] = (start + end + 1) as f64 / 2.0;
        }
        start = end;
    }
    ranks
}

/// A percentile interval of the mean of `values`, drawn with replacement, at the given level; `None`
/// without values.
///
/// Values of any unit; a generator in the same state draws the same members for every sample of the same
/// length, so the means of several figures over one set of images are resampled together.
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// let (low, high) = vitscope_measure::mean_interval(&[2.0, 4.0, 3.0, 3.0], 1000, 0.95, &mut rng).unwrap();
/// assert!((2.0..3.0).contains(&low) && (3.0..4.0).contains(&high));
/// ```
pub fn mean_interval(
    values: &[f64],
    replicates: usize,
    level: f64,
    rng: &mut impl Rng,
) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let mut means: Vec<f64> = (0..replicates)
        .map(|_| {
            let drawn = (0..values.len()).map(|_| values[random::index(rng, values.len())]);
            drawn.sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Some((quantile(&means, tail)?, quantile(&means, 1.0 - tail)?))
}

/// A percentile interval of `statistic` over pairs drawn with replacement, at the given level (0.95: from
/// the 2.5 % to the 97.5 % quantile).
///
/// Replicates for which the statistic is undefined are left out; `None` if more than half are.
pub fn bootstrap_interval(
    x: &[f64],
    y: &[f64],
    statistic: impl Fn(&[f64], &[f64]) -> Option<f64>,
    replicates: usize,
    level: f64,
    rng: &mut impl Rng,
) -> Option<(f64, f64)> {
    if x.len() != y.len() || x.is_empty() {
        return None;
    }
    let (mut drawn_x, mut drawn_y) = (vec![0.0; x.len()], vec![0.0; y.len()]);
    let mut values = Vec::with_capacity(replicates);
    for _ in 0..replicates {
        for (to_x, to_y) in drawn_x.iter_mut().zip(&mut drawn_y) {
            let pick = random::index(rng, x.len());
            (*to_x, *to_y) = (x[pick], y[pick]);
        }
        values.extend(statistic(&drawn_x, &drawn_y));
    }
    if values.len() * 2 < replicates.max(1) {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Some((quantile(&values, tail)?, quantile(&values, 1.0 - tail)?))
}
