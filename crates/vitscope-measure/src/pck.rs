//! Share of correct key points (PCK) in zero-shot correspondence (docs/protocol.md section 10; paper 0.A.7).
//!
//! A match counts if it lies within `alpha * max(height, width)` of the target object's box of the true
//! point. Distance and box are in pixels of one and the same image scale. Three averages are in use:
//! over all points (the protocol's figure), over images (pairs) of their share, and per category over its
//! points.

use crate::MeasureError;
use crate::error::check;

/// Shares of correct key points, in `[0, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pck {
    /// Over all points; `None` without points.
    pub per_point: Option<f64>,
    /// Mean over pairs of each pair's share; `None` without points.
    pub per_pair: Option<f64>,
    /// Over the points of each category; `None` for a category without points.
    pub per_category: Vec<Option<f64>>,
}

/// PCK from the distance of each match to its true point.
///
/// # Shapes
///
/// One entry per point in each slice: `distances_px` and `thresholds_px` (`alpha * max(height, width)`),
/// `pairs` (any number that is the same for the points of one pair), `categories` (below
/// `category_count`).
///
/// # Errors
///
/// [`MeasureError::Shape`]; [`MeasureError::Value`] if a distance or threshold is negative or not finite.
///
/// ```
/// let pck = vitscope_measure::pck(&[1.0, 9.0, 2.0], &[5.0, 5.0, 2.0], &[0, 0, 1], &[0, 0, 1], 3)?;
/// assert_eq!(pck.per_point, Some(2.0 / 3.0));
/// assert_eq!(pck.per_pair, Some(0.75));
/// assert_eq!(pck.per_category, [Some(0.5), Some(1.0), None]);
/// # Ok::<(), vitscope_measure::MeasureError>(())
/// ```
pub fn pck(
    distances_px: &[f64],
    thresholds_px: &[f64],
    pairs: &[usize],
    categories: &[usize],
    category_count: usize,
) -> Result<Pck, MeasureError> {
    let points = distances_px.len();
    check("number of thresholds", points, thresholds_px.len())?;
    check("number of pair indices", points, pairs.len())?;
    check("number of category indices", points, categories.len())?;
    if !distances_px
        .iter()
        .chain(thresholds_px)
        .all(|value| value.is_finite() && *value >= 0.0)
    {
        return Err(MeasureError::Value {
            what: "distances and thresholds",
        });
    }
    if let Some(&category) = categories
        .iter()
        .find(|&&category| category >= category_count)
    {
        return Err(MeasureError::Shape {
            what: "number of categories",
            expected: category + 1,
            got: category_count,
        });
    }
    let mut by_pair = std::collections::BTreeMap::<usize, (usize, usize)>::new();
    let mut by_category = vec![(0_usize, 0_usize); category_count];
    for point in 0..points {
        let hit = usize::from(distances_px[point] <= thresholds_px[point]);
        let pair = by_pair.entry(pairs[point]).or_default();
        *pair = (pair.0 + hit, pair.1 + 1);
        let category = &mut by_category[categories[point]];
        *category = (category.0 + hit, category.1 + 1);
    }
    let share = |(hits, all): (usize, usize)| (all > 0).then(|| hits as f64 / all as f64);
    let all = by_category
        .iter()
        .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    let shares: Vec<f64> = by_pair.into_values().filter_map(share).collect();
    Ok(Pck {
        per_point: share(all),
        per_pair: (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64),
        per_category: by_category.into_iter().map(share).collect(),
    })
}
