//! How much of the positional effect is the border (docs/protocol.md section 17)?
//!
//! The ring of a place is its distance to the nearest edge; it is a function of the place, and so are row and column.
//! By the chain rule of mutual information
//!
//! ```text
//! I(P;C) = I(ring;C) + I(P;C | ring)
//! ```
//!
//! and the share `I(ring;C) / I(P;C)` says how much of what a label tells of its place is how far it lies from the
//! border. Row and column alike (their two shares need not add up to 1).

use ndarray::{Array2, ArrayView3};

use crate::positional::positional;

/// The positional effect split by one coarser reading of place, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BorderSplit {
    /// `I(R;C)`, what the coarser reading tells.
    pub coarse: f64,
    /// `I(P;C | R)`, what the place tells beyond it.
    pub within: f64,
}

impl BorderSplit {
    /// The share of the coarser reading; `None` where there is no effect.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let whole = self.coarse + self.within;
        (whole > 0.0).then(|| (self.coarse / whole).clamp(0.0, 1.0))
    }
}

/// The positional effect split by ring, by row and by column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Border {
    /// By distance to the nearest edge.
    pub ring: BorderSplit,
    /// By row.
    pub row: BorderSplit,
    /// By column.
    pub column: BorderSplit,
}

/// Splits the positional effect of counts on a grid.
///
/// # Shapes
///
/// `counts`: `[K, rows, columns]`.
///
/// ```
/// use ndarray::array;
/// // Class 0 in the upper row, class 1 in the lower: all of it is the row's.
/// let border = vitscope_measure::border(array![[[3_u32, 3], [0, 0]], [[0, 0], [3, 3]]].view());
/// assert_eq!((border.row.share(), border.column.share()), (Some(1.0), Some(0.0)));
/// ```
#[must_use]
pub fn border(counts: ArrayView3<'_, u32>) -> Border {
    let (_, rows, columns) = counts.dim();
    let ring = |row: usize, column: usize| {
        row.min(rows - 1 - row)
            .min(column)
            .min(columns - 1 - column)
    };
    let rings = rows.min(columns).div_ceil(2);
    Border {
        ring: split(counts, rings, ring),
        row: split(counts, rows, |row, _| row),
        column: split(counts, columns, |_, column| column),
    }
}

/// Splits by a reading of place with so many values.
fn split(
    counts: ArrayView3<'_, u32>,
    values: usize,
    of: impl Fn(usize, usize) -> usize,
) -> BorderSplit {
    let (classes, rows, columns) = counts.dim();
    let places: Vec<usize> = (0..rows * columns)
        .map(|place| of(place / columns, place % columns))
        .collect();
    let mut coarse = Array2::<u64>::zeros((classes, values));
    for ((class, row, column), &count) in counts.indexed_iter() {
        coarse[(class, places[row * columns + column])] += u64::from(count);
    }
    let total = coarse.sum();
    let mut within = 0.0;
    for value in 0..values {
        let own: Vec<usize> = (0..places.len())
            .filter(|&place| places[place] == value)
            .collect();
        let inside = Array2::from_shape_fn((classes, own.len()), |(class, index)| {
            counts[(class, own[index] / columns, own[index] % columns)]
        });
        let share = coarse.column(value).sum() as f64 / total.max(1) as f64;
        within += share * positional(inside.view()).mi;
    }
    BorderSplit {
        coarse: positional(coarse.view()).mi,
        within,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    /// The chain rule to 1e-12, on counts with zeros, of grids of all shapes.
    #[test]
    fn parts_add_up_to_the_whole() {
        let mut state = 7_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 40
        };
        for (classes, rows, columns) in [(3, 5, 5), (7, 4, 9), (2, 1, 6), (5, 6, 2), (4, 1, 1)] {
            let counts = Array3::from_shape_simple_fn((classes, rows, columns), || {
                (next() % 50).saturating_sub(15) as u32
            });
            let flat = counts.to_shape((classes, rows * columns)).unwrap();
            let whole = positional(flat.view()).mi;
            let border = border(counts.view());
            for part in [border.ring, border.row, border.column] {
                assert!(
                    (part.coarse + part.within - whole).abs() < 1e-12,
                    "{part:?} {whole}"
                );
                assert!(part.coarse >= -1e-15 && part.within >= -1e-15);
            }
        }
    }

    /// A frame of one class around another: all of it is the ring's.
    #[test]
    fn a_frame_is_all_ring() {
        let counts = Array3::from_shape_fn((2, 6, 6), |(class, row, column)| {
            let edge = row == 0 || column == 0 || row == 5 || column == 5;
            4 * u32::from(edge == (class == 0))
        });
        let border = border(counts.view());
        assert!(border.ring.share().unwrap() > 1.0 - 1e-12);
        assert!(border.row.share().unwrap() < 0.7);
    }
}
