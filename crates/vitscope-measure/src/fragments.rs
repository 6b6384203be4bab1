//! Into how many pieces labels fall (docs/protocol.md section 17).
//!
//! On the patch grid, with neighbors above, below, left and right: the connected pieces of each image, how many of them are a
//! single patch, and how often neighbors have the same label. The null of the last shuffles the labels of each image among its
//! labeled patches; its mean and variance over all shuffles are known in closed form (Cliff and Ord's join counts).

use crate::error::check;
use crate::{IGNORED, MeasureError};

/// What was counted over images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fragments {
    /// Pieces of each image, in the order in which they were added.
    pieces: Vec<u64>,
    /// Pieces of one patch.
    single: u64,
    /// Pairs of labeled neighbors, and those of one label.
    pairs: u64,
    alike: u64,
    /// Mean and variance of `alike` over shuffles.
    expected: f64,
    variance: f64,
}

impl Fragments {
    /// Adds an image's labels; 255 is no label, and an image without any has no part.
    ///
    /// # Shapes
    ///
    /// `labels`: one per patch of a grid (rows, columns), row by row.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`].
    ///
    /// ```
    /// let mut fragments = vitscope_measure::Fragments::default();
    /// fragments.add(&[0, 0, 1, 1, 0, 0], (2, 3))?;
    /// assert_eq!((fragments.per_image(), fragments.single_share()), (vec![3.0], Some(2.0 / 3.0)));
    /// # Ok::<(), vitscope_measure::MeasureError>(())
    /// ```
    pub fn add(&mut self, labels: &[u8], grid: (usize, usize)) -> Result<(), MeasureError> {
        check("patches of an image", grid.0 * grid.1, labels.len())?;
        let joins = joins(labels, grid);
        let sizes = pieces(labels, &joins);
        if sizes.is_empty() {
            return Ok(());
        }
        self.pieces.push(sizes.len() as u64);
        self.single += sizes.iter().filter(|&&size| size == 1).count() as u64;
        self.pairs += joins.len() as u64;
        let alike = joins.iter().filter(|&&(a, b)| labels[a] == labels[b]);
        self.alike += alike.count() as u64;
        let (mean, variance) = shuffled(labels, &joins);
        self.expected += mean;
        self.variance += variance;
        Ok(())
    }

    /// Connected pieces of each image that has labels.
    #[must_use]
    pub fn per_image(&self) -> Vec<f64> {
        self.pieces.iter().map(|&pieces| pieces as f64).collect()
    }

    /// Share of the pieces that are a single patch; `None` without any.
    #[must_use]
    pub fn single_share(&self) -> Option<f64> {
        let pieces: u64 = self.pieces.iter().sum();
        (pieces > 0).then(|| self.single as f64 / pieces as f64)
    }

    /// Share of neighbors that have the same label; `None` where there are none.
    #[must_use]
    pub fn alike_share(&self) -> Option<f64> {
        (self.pairs > 0).then(|| self.alike as f64 / self.pairs as f64)
    }

    /// The same in the mean over shuffles of each image's labels.
    #[must_use]
    pub fn alike_null(&self) -> Option<f64> {
        (self.pairs > 0).then(|| self.expected / self.pairs as f64)
    }

    /// How far the two lie apart, in standard deviations of shuffles; `None` where shuffles change nothing.
    #[must_use]
    pub fn alike_z(&self) -> Option<f64> {
        // A variance that is 0 leaves crumbs of rounding.
        (self.variance > 1e-9).then(|| (self.alike as f64 - self.expected) / self.variance.sqrt())
    }
}

/// The label of most pixels of each patch, 255 among them; the lowest of several.
///
/// # Shapes
///
/// `labels`: `H * W` pixels of a grid (rows, columns) of `patch x patch` pixels; the result has a label per patch.
///
/// # Errors
///
/// [`MeasureError::Shape`].
///
/// ```
/// let labels = [1, 1, 4, 255, 1, 0, 255, 255];
/// assert_eq!(vitscope_measure::patch_labels(&labels, (1, 2), 2)?, [1, 255]);
/// # Ok::<(), vitscope_measure::MeasureError>(())
/// ```
pub fn patch_labels(
    labels: &[u8],
    (rows, columns): (usize, usize),
    patch: usize,
) -> Result<Vec<u8>, MeasureError> {
    let width = columns * patch;
    check("number of labels", rows * patch * width, labels.len())?;
    let label = |place: usize| {
        let mut counts = [0_u32; 256];
        for y in 0..patch {
            let start = (place / columns * patch + y) * width + place % columns * patch;
            for &label in &labels[start..start + patch] {
                counts[usize::from(label)] += 1;
            }
        }
        let most = counts.iter().max().copied().unwrap_or(0);
        let first = counts.iter().position(|&count| count == most);
        first.map_or(IGNORED, |label| label as u8)
    };
    Ok((0..rows * columns).map(label).collect())
}

/// Pairs of labeled neighbors.
fn joins(labels: &[u8], (rows, columns): (usize, usize)) -> Vec<(usize, usize)> {
    let mut joins = Vec::with_capacity(2 * labels.len());
    for place in (0..rows * columns).filter(|&place| labels[place] != IGNORED) {
        let right = (place % columns + 1 < columns).then_some(place + 1);
        let below = (place / columns + 1 < rows).then_some(place + columns);
        let others = [right, below].into_iter().flatten();
        let labeled = others.filter(|&other| labels[other] != IGNORED);
        joins.extend(labeled.map(|other| (place, other)));
    }
    joins
}

/// The size of every connected piece.
fn pieces(labels: &[u8], joins: &[(usize, usize)]) -> Vec<u64> {
    let mut parent: Vec<usize> = (0..labels.len()).collect();
    fn root(parent: &mut [usize], mut place: usize) -> usize {
        while parent[place] != place {
            parent[place] = parent[parent[place]];
            place = parent[place];
        }
        place
    }
    for &(a, b) in joins.iter().filter(|&&(a, b)| labels[a] == labels[b]) {
        let (a, b) = (root(&mut parent, a), root(&mut parent, b));
        parent[a.max(b)] = a.min(b);
    }
    let mut sizes = vec![0_u64; labels.len()];
    for place in (0..labels.len()).filter(|&place| labels[place] != IGNORED) {
        sizes[root(&mut parent, place)] += 1;
    }
    sizes.retain(|&size| size > 0);
    sizes
}

/// Mean and variance, over all shuffles of the labels among the labeled patches, of the joins of one label.
///
/// With `n_c` patches of label `c` of `n`, `x^(k) = x (x-1) ... (x-k+1)`, `m` joins and `s` ordered pairs of two joins that share
/// a patch, two joins are both of one label with chance `sum_c n_c^(3) / n^(3)` where they share a patch, and
/// `(sum_c n_c^(4) + (sum_c n_c^(2))^2 - sum_c (n_c^(2))^2) / n^(4)` where they do not.
fn shuffled(labels: &[u8], joins: &[(usize, usize)]) -> (f64, f64) {
    let mut counts = [0_u64; 256];
    let mut degrees = vec![0_u64; labels.len()];
    labels
        .iter()
        .for_each(|&label| counts[usize::from(label)] += 1);
    for &(a, b) in joins {
        degrees[a] += 1;
        degrees[b] += 1;
    }
    let of_class = &counts[..usize::from(IGNORED)];
    let patches: u64 = of_class.iter().sum();
    let falling = |from: u64, factors: u64| -> f64 {
        (0..factors).map(|less| from as f64 - less as f64).product()
    };
    let sum = |of: &dyn Fn(u64) -> f64| of_class.iter().map(|&count| of(count)).sum::<f64>();
    // Too few patches for so many places have no such pairs of joins.
    let chance = |ways: f64, places: u64| {
        if patches >= places {
            ways / falling(patches, places)
        } else {
            0.0
        }
    };
    let (edges, shared) = (
        joins.len() as f64,
        degrees
            .iter()
            .map(|&d| (d * d.saturating_sub(1)) as f64)
            .sum::<f64>(),
    );
    let two = sum(&|count| falling(count, 2));
    let one_pair = chance(two, 2);
    let sharing = chance(sum(&|count| falling(count, 3)), 3);
    let apart =
        sum(&|count| falling(count, 4)) + two * two - sum(&|count| falling(count, 2).powi(2));
    let apart = chance(apart, 4);
    let mean = edges * one_pair;
    let square = edges * one_pair + shared * sharing + (edges * edges - edges - shared) * apart;
    (mean, (square - mean * mean).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order of some labels.
    fn orders(labels: &[u8]) -> Vec<Vec<u8>> {
        if labels.len() < 2 {
            return vec![labels.to_vec()];
        }
        let mut all = Vec::new();
        for first in 0..labels.len() {
            let mut rest = labels.to_vec();
            let label = rest.remove(first);
            for mut order in orders(&rest) {
                order.insert(0, label);
                all.push(order);
            }
        }
        all
    }

    /// Mean and variance over all shuffles, one after the other.
    #[test]
    fn shuffles_by_brute_force() {
        let cases: [(&[u8], (usize, usize)); 5] = [
            (&[0, 0, 1, 1, 2, 2, 2, 0], (2, 4)),
            (&[0, 1, 0, 1, 1, 1, 0], (1, 7)),
            (&[3, 3, 3, 3], (2, 2)),
            (&[0, 1, 2], (1, 3)),
            (&[0, 0], (1, 2)),
        ];
        for (labels, grid) in cases {
            let joins = joins(labels, grid);
            let counts: Vec<f64> = orders(labels)
                .iter()
                .map(|order| joins.iter().filter(|&&(a, b)| order[a] == order[b]).count() as f64)
                .collect();
            let mean = counts.iter().sum::<f64>() / counts.len() as f64;
            let square = counts
                .iter()
                .map(|count| (count - mean).powi(2))
                .sum::<f64>();
            let (found, variance) = shuffled(labels, &joins);
            assert!((found - mean).abs() < 1e-12, "{labels:?}: {found}, {mean}");
            let expected = square / counts.len() as f64;
            assert!(
                (variance - expected).abs() < 1e-9,
                "{labels:?}: {variance}, {expected}"
            );
        }
    }

    #[test]
    fn pieces_are_connected_and_of_one_label() {
        let no = IGNORED;
        let mut fragments = Fragments::default();
        let labels = [
            0, 0, 1, //
            1, 0, no, //
            1, 1, 1,
        ];
        fragments.add(&labels, (3, 3)).unwrap();
        assert_eq!(fragments.per_image(), [3.0]);
        assert_eq!(fragments.single_share(), Some(1.0 / 3.0));
        // Of 9 pairs of labeled neighbors, 5 are alike.
        assert_eq!(fragments.alike_share(), Some(5.0 / 9.0));
        // Nothing labeled: no part. One label: shuffles change nothing.
        fragments.add(&[no; 9], (3, 3)).unwrap();
        assert_eq!(fragments.per_image(), [3.0]);
        let mut one = Fragments::default();
        one.add(&[4; 9], (3, 3)).unwrap();
        assert_eq!((one.alike_null(), one.alike_z()), (Some(1.0), None));
        assert!(fragments.add(&[0; 8], (3, 3)).is_err());
        assert_eq!(Fragments::default().alike_share(), None);
    }

    /// Halves are far from shuffled, and a chessboard is far the other way.
    #[test]
    fn halves_and_chessboards() {
        let z = |of: fn(usize) -> u8| {
            let mut fragments = Fragments::default();
            let labels: Vec<u8> = (0..64).map(of).collect();
            fragments.add(&labels, (8, 8)).unwrap();
            fragments.alike_z().unwrap()
        };
        assert!(z(|place| u8::from(place % 8 < 4)) > 8.0);
        assert!(z(|place| ((place / 8 + place % 8) % 2) as u8) < -8.0);
    }
}
