//! Position tables at another grid, and rotary angles.
//!
//! The kernels are those of PyTorch's `interpolate`, without and with antialiasing
//! (MODELS facts: they differ even when enlarging). Weights are computed in f64.

use crate::config::{PairRotary, Resize};

/// The cubic convolution kernel with parameter `a`.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

/// The `[to, from]` weights of one axis.
fn axis_weights(from: usize, to: usize, rule: Resize) -> Vec<f64> {
    let mut weights = vec![0.0; to * from];
    let last = from as i64 - 1;
    for (i, row) in weights.chunks_exact_mut(from).enumerate() {
        match rule {
            Resize::Plain | Resize::PlainOffset => {
                let offset = if rule == Resize::PlainOffset {
                    0.1
                } else {
                    0.0
                };
                let step = from as f64 / (to as f64 + offset);
                let source = (i as f64 + 0.5) * step - 0.5;
                let floor = source.floor() as i64;
                for tap in floor - 1..=floor + 2 {
                    row[tap.clamp(0, last) as usize] += cubic(source - tap as f64, -0.75);
                }
            }
            Resize::Antialias | Resize::AntialiasLinear => {
                let step = from as f64 / to as f64;
                let widen = step.max(1.0);
                let center = (i as f64 + 0.5) * step;
                let linear = rule == Resize::AntialiasLinear;
                let reach = if linear { widen } else { 2.0 * widen };
                let low = ((center - reach + 0.5) as i64).max(0) as usize;
                let high = ((center + reach + 0.5) as usize).min(from);
                for (j, weight) in row.iter_mut().enumerate().take(high).skip(low) {
                    let at = (j as f64 - center + 0.5) / widen;
                    *weight = match linear {
                        true => (1.0 - at.abs()).max(0.0),
                        false => cubic(at, -0.5),
                    };
                }
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|w| *w /= sum);
            }
        }
    }
    weights
}

/// A position table resampled from grid `from` to grid `to`; untouched when they are equal.
///
/// # Shapes
/// `table` `[from[0] * from[1], width]`, result `[to[0] * to[1], width]`.
#[must_use]
pub fn resize_table(
    table: &[f32],
    width: usize,
    from: [usize; 2],
    to: [usize; 2],
    rule: Resize,
) -> Vec<f32> {
    if from == to {
        return table.to_vec();
    }
    let weights = [0, 1].map(|axis| axis_weights(from[axis], to[axis], rule));
    resample(table, width, from, to, &weights)
}

/// A table resampled by the `[to, from]` weights of its rows and of its columns.
fn resample(
    table: &[f32],
    width: usize,
    from: [usize; 2],
    to: [usize; 2],
    [vertical, horizontal]: &[Vec<f64>; 2],
) -> Vec<f32> {
    let mut wide = vec![0.0_f64; from[0] * to[1] * width];
    for y in 0..from[0] {
        for x in 0..to[1] {
            let out = &mut wide[(y * to[1] + x) * width..][..width];
            for (b, &weight) in horizontal[x * from[1]..][..from[1]].iter().enumerate() {
                if weight != 0.0 {
                    let source = &table[(y * from[1] + b) * width..][..width];
                    for (o, &s) in out.iter_mut().zip(source) {
                        *o += weight * f64::from(s);
                    }
                }
            }
        }
    }
    let mut sum = vec![0.0_f64; width];
    let mut out = Vec::with_capacity(to[0] * to[1] * width);
    for y in 0..to[0] {
        for x in 0..to[1] {
            sum.fill(0.0);
            for (a, &weight) in vertical[y * from[0]..][..from[0]].iter().enumerate() {
                if weight != 0.0 {
                    let source = &wide[(a * to[1] + x) * width..][..width];
                    for (o, &s) in sum.iter_mut().zip(source) {
                        *o += weight * s;
                    }
                }
            }
            out.extend(sum.iter().map(|&v| v as f32));
        }
    }
    out
}

/// Rows of a table of relative positions: one for each pair of distances along rows and columns, and three
/// for those of the class token.
#[must_use]
pub fn relative_rows(grid: [usize; 2]) -> usize {
    distances(grid).iter().product::<usize>() + 3
}

/// Distances between rows and between columns of a grid, from all below zero to all above.
fn distances(grid: [usize; 2]) -> [usize; 2] {
    grid.map(|side| (2 * side).saturating_sub(1))
}

/// A table of relative positions at another grid, bilinear as transformers does it (no antialiasing); the rows of
/// the class token stay. One row of numbers for each head, as attention reads them.
///
/// # Shapes
/// `table` `[relative_rows(from), heads]`, result `[heads, relative_rows(to)]`.
#[must_use]
pub fn relative_table(table: &[f32], heads: usize, from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let (old, new) = (distances(from), distances(to));
    let (patches, class) = table.split_at(old[0] * old[1] * heads);
    let mut rows = match from == to {
        true => patches.to_vec(),
        false => {
            let weights = [0, 1].map(|axis| linear_weights(old[axis], new[axis]));
            resample(patches, heads, old, new, &weights)
        }
    };
    rows.extend(class);
    let count = relative_rows(to);
    let head = |head: usize| rows.iter().skip(head).step_by(heads).take(count).copied();
    (0..heads).flat_map(head).collect()
}

/// The `[to, from]` weights of one axis by the two nearest places.
fn linear_weights(from: usize, to: usize) -> Vec<f64> {
    let mut weights = vec![0.0; to * from];
    for (i, row) in weights.chunks_exact_mut(from).enumerate() {
        let source = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let below = (source.floor() as usize).min(from - 1);
        let share = source - below as f64;
        row[below] += 1.0 - share;
        row[(below + 1).min(from - 1)] += share;
    }
    weights
}

/// For every query and key, the class token first, the row of a table of relative positions; patch `p` lies at
/// place `place(p)` of the grid.
///
/// # Shapes
/// The result is `[1 + rows * columns, 1 + rows * columns]`.
#[must_use]
pub fn relative_index(grid: [usize; 2], place: impl Fn(usize) -> usize) -> Vec<u32> {
    let [rows, columns] = grid;
    let count = relative_rows(grid);
    let tokens = 1 + rows * columns;
    let mut index = Vec::with_capacity(tokens * tokens);
    let at = |patch: usize| (place(patch) / columns, place(patch) % columns);
    for query in 0..tokens {
        for key in 0..tokens {
            let row = match (query, key) {
                (0, 0) => count - 1,
                (0, _) => count - 3,
                (_, 0) => count - 2,
                _ => {
                    let (query, key) = (at(query - 1), at(key - 1));
                    let down = query.0 + rows - 1 - key.0;
                    let right = query.1 + columns - 1 - key.1;
                    down * (2 * columns - 1) + right
                }
            };
            index.push(row as u32);
        }
    }
    index
}

/// Where patches lie for rotary positions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PatchPlaces {
    /// Each at its own place.
    #[default]
    Own,
    /// Each so many rows and columns from its own place.
    Moved([f64; 2]),
    /// All in the middle of the image.
    Middle,
}

impl PatchPlaces {
    /// The index along an axis (0: rows, 1: columns) of `count` patches at which patch `index` is taken to lie.
    fn index(self, axis: usize, index: usize, count: usize) -> f64 {
        match self {
            Self::Own => index as f64,
            Self::Moved(by) => index as f64 + by[axis],
            Self::Middle => (count as f64 - 1.0) / 2.0,
        }
    }
}

/// Cosines and sines of the angles by which neighboring channels of every patch turn (EVA-02,
/// Perception Encoder); both channels of a pair have the same.
///
/// # Shapes
/// Both results `[rows * columns, head_width]`.
#[must_use]
pub fn pair_angles(
    rotary: PairRotary,
    head_width: usize,
    [rows, columns]: [usize; 2],
    places: PatchPlaces,
) -> (Vec<f32>, Vec<f32>) {
    let quarter = head_width / 4;
    // In f32, as the code that trained with it computes them.
    let place = |axis: usize, index: usize, count: usize| {
        let index = places.index(axis, index, count) + rotary.offset as f64;
        index as f32 / count as f32 * rotary.reference[axis] as f32
    };
    let bands: Vec<f32> = (0..quarter)
        .map(|j| 1.0 / (rotary.base as f32).powf(j as f32 / quarter as f32))
        .collect();
    let mut cos = Vec::with_capacity(rows * columns * head_width);
    let mut sin = Vec::with_capacity(rows * columns * head_width);
    for y in 0..rows {
        for x in 0..columns {
            let row = place(0, y, rows);
            let column = place(1, x, columns);
            let coordinates = if rotary.columns_first {
                [column, row]
            } else {
                [row, column]
            };
            for place in coordinates {
                for &band in &bands {
                    let angle = place * band;
                    cos.extend([angle.cos(); 2]);
                    sin.extend([angle.sin(); 2]);
                }
            }
        }
    }
    (cos, sin)
}

/// Cosines and sines of the angles by which every token turns whose coordinates run from 0 to 1
/// (CAPI): first those of `around` tokens that stand evenly around the edge of the grid, a quarter on
/// each side, then the patches. Only patches can lie elsewhere than at their own `places`.
///
/// # Shapes
/// `frequencies` `[2, d]`, angles per row and per column; both results `[around + rows * columns, d]`.
#[must_use]
pub fn edged_angles(
    frequencies: &[f32],
    around: usize,
    [rows, columns]: [usize; 2],
    places: PatchPlaces,
) -> (Vec<f32>, Vec<f32>) {
    let (by_row, by_column) = frequencies.split_at(frequencies.len() / 2);
    // In f32 and from both ends, as the authors' code has them.
    let step = |count: usize| 1.0 / count.saturating_sub(1).max(1) as f32;
    let place = |axis: usize, index: usize, count: usize| {
        let at = places.index(axis, index, count);
        match at < (count / 2) as f64 || count == 1 {
            true => at as f32 * step(count),
            false => 1.0 - ((count - 1) as f64 - at) as f32 * step(count),
        }
    };
    // A single row is where it begins.
    let along = |share: f32, count: usize| if count > 1 { share } else { 0.0 };
    let side = around / 4;
    let edge = (0..around).map(|token| {
        let share = (token % side) as f32 / side as f32;
        let (row, column) = match token / side {
            0 => (share, 0.0),
            1 => (1.0, share),
            2 => (1.0 - share, 1.0),
            _ => (0.0, 1.0 - share),
        };
        (along(row, rows), along(column, columns))
    });
    let inside = (0..rows)
        .flat_map(|y| (0..columns).map(move |x| (y, x)))
        .map(|(y, x)| (place(0, y, rows), place(1, x, columns)));
    edge.chain(inside)
        .flat_map(|(row, column)| {
            let angles = by_row.iter().zip(by_column);
            angles.map(move |(a, b)| (row * a + column * b).sin_cos())
        })
        .map(|(sin, cos)| (cos, sin))
        .unzip()
}

/// Cosines and sines of the rotary angles of every patch (DINOv3): rows first, then columns,
/// then the whole vector again. Coordinates run from -1 to 1 along each axis separately.
///
/// # Shapes
/// `periods` `[d / 4]`; both results `[rows * columns, d]`.
#[must_use]
pub fn rotary_angles(
    periods: &[f32],
    [rows, columns]: [usize; 2],
    places: PatchPlaces,
) -> (Vec<f32>, Vec<f32>) {
    let d = periods.len() * 4;
    let mut cos = Vec::with_capacity(rows * columns * d);
    let mut sin = Vec::with_capacity(rows * columns * d);
    for y in 0..rows {
        for x in 0..columns {
            let at = |axis: usize, i: usize, n: usize| {
                2.0 * (places.index(axis, i, n) + 0.5) / n as f64 - 1.0
            };
            for _ in 0..2 {
                for place in [at(0, y, rows), at(1, x, columns)] {
                    for &period in periods {
                        let angle = std::f64::consts::TAU * place / f64::from(period);
                        cos.push(angle.cos() as f32);
                        sin.push(angle.sin() as f32);
                    }
                }
            }
        }
    }
    (cos, sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_rows_are_those_of_the_distances() {
        // One row of two patches: distances -1, 0 and 1, then class to patch, patch to class, class to class.
        assert_eq!(relative_rows([1, 2]), 6);
        let own = relative_index([1, 2], |patch| patch);
        assert_eq!(own, [5, 3, 3, 4, 1, 0, 4, 2, 1]);
        // In each other's place, and all in one.
        let swapped = relative_index([1, 2], |patch| 1 - patch);
        assert_eq!(swapped, [5, 3, 3, 4, 1, 2, 4, 0, 1]);
        let one = relative_index([1, 2], |_| 0);
        assert_eq!(one, [5, 3, 3, 4, 1, 1, 4, 1, 1]);
    }

    #[test]
    fn relative_tables_keep_the_rows_of_the_class_token() {
        // Two heads; distances -1, 0 and 1 become -2 to 2: at -0.2, 0.4, 1, 1.6 and 2.2 of the old ones, the first
        // clamped and the last between an end and itself.
        let table: Vec<f32> = [0.0, 5.0, 10.0, 7.0, 8.0, 9.0]
            .iter()
            .flat_map(|&v| [v, -v])
            .collect();
        let wider = relative_table(&table, 2, [1, 2], [1, 3]);
        let expected = [0.0, 2.0, 5.0, 8.0, 10.0, 7.0, 8.0, 9.0];
        assert_eq!(wider.len(), 16);
        for (at, value) in expected.into_iter().enumerate() {
            assert!(
                (wider[at] - value).abs() < 1e-6 && (wider[8 + at] + value).abs() < 1e-6,
                "{at}"
            );
        }
        let same = relative_table(&table, 2, [1, 2], [1, 2]);
        assert_eq!(same[..6], [0.0, 5.0, 10.0, 7.0, 8.0, 9.0]);
    }
}
