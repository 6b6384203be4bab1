//! Whether tokens that are too long lie where the picture is smooth (docs/protocol.md section 17).
//!
//! With `t(p)` the mean cosine of patch `p` with the patches above, below, left and right of it, an image in which `k` of
//! `n` patches are outliers has
//!
//! ```text
//! d = mean of t over outliers - mean of t over the others
//! ```
//!
//! Were the outliers of an image any `k` of its patches, `d` would have the mean 0 and the variance
//! `S n / (k (n - k))`, `S` the variance of `t` over the image (with `n - 1`).

use ndarray::ArrayView2;

use crate::likeness::{dot, unit};

/// Cosines that differ by less are equal: patches of one color are no more alike here than there by rounding.
const EQUAL: f64 = 1e-9;

/// The mean cosine of each patch with those above, below, left and right of it, as far as they lie in the grid; the higher,
/// the smoother the picture is there. `None` for a vector of length zero, and where no neighbor has a length.
///
/// # Shapes
///
/// `rows`: `[N, D]`, patches of a grid (rows, columns), row by row; the cosines are in the same order.
///
/// ```
/// use ndarray::array;
/// // An edge between the second and the third of four patches.
/// let rows = array![[1.0_f32, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]];
/// let cosines = vitscope_measure::neighbor_cosines(rows.view(), (1, 4));
/// assert_eq!(cosines, [Some(1.0), Some(0.5), Some(0.5), Some(1.0)]);
/// ```
#[must_use]
pub fn neighbor_cosines(
    rows: ArrayView2<'_, f32>,
    (height, width): (usize, usize),
) -> Vec<Option<f64>> {
    let units: Vec<Option<Vec<f64>>> = rows.outer_iter().map(unit).collect();
    let cosine = |place: usize| {
        let own = units[place].as_ref()?;
        let (row, column) = (place / width, place % width);
        let near = [
            (row > 0).then(|| place - width),
            (row + 1 < height).then_some(place + width),
            (column > 0).then(|| place - 1),
            (column + 1 < width).then_some(place + 1),
        ];
        let near = near.into_iter().flatten();
        let near: Vec<f64> = near
            .filter_map(|other| Some(dot(own, units.get(other)?.as_ref()?)))
            .collect();
        (!near.is_empty()).then(|| near.iter().sum::<f64>() / near.len() as f64)
    };
    (0..units.len()).map(cosine).collect()
}

/// How much more outliers resemble their neighbors than the other patches of the same image do.
///
/// ```
/// // The two patches of a smooth place are outliers, the three others of one image are not.
/// let cosines = [0.1, 0.9, 0.7, 0.2, 0.3].map(Some);
/// let mut texture = vitscope_measure::OutlierTexture::default();
/// texture.add(&cosines, &[false, true, true, false, false]);
/// let found = texture.per_image()[0].expect("there are both");
/// assert!((found - (0.8 - 0.2)).abs() < 1e-12);
/// assert!(texture.z().expect("cosines differ") > 0.0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct OutlierTexture {
    /// Per image the difference and its variance by chance.
    images: Vec<Option<(f64, f64)>>,
}

impl OutlierTexture {
    /// Adds an image, by the cosines of its patches ([`neighbor_cosines`]) and which of them are outliers. Patches without
    /// a cosine are left out.
    pub fn add(&mut self, cosines: &[Option<f64>], outliers: &[bool]) {
        let both = cosines.iter().zip(outliers);
        let both: Vec<(f64, bool)> = both
            .filter_map(|(cosine, &outlier)| Some(((*cosine)?, outlier)))
            .collect();
        let mean = |of: &dyn Fn(bool) -> bool| {
            let part = both.iter().filter(|(_, outlier)| of(*outlier));
            let (sum, count) = part.fold((0.0, 0.0), |(sum, count), (cosine, _)| {
                (sum + cosine, count + 1.0)
            });
            (count > 0.0).then(|| (sum / count, count))
        };
        let found = || {
            let (out, many) = mean(&|outlier| outlier)?;
            let (rest, others) = mean(&|outlier| !outlier)?;
            let (middle, count) = mean(&|_| true)?;
            let squares: f64 = both
                .iter()
                .map(|(cosine, _)| (cosine - middle).powi(2))
                .sum();
            let variance = squares / (count - 1.0);
            let variance = if variance > EQUAL * EQUAL {
                variance
            } else {
                0.0
            };
            Some((out - rest, variance * count / (many * others)))
        };
        self.images.push(found());
    }

    /// The difference in each image, in the order in which they were added; `None` where none of its patches are
    /// outliers, or all.
    #[must_use]
    pub fn per_image(&self) -> Vec<Option<f64>> {
        let images = self.images.iter();
        images.map(|found| Some((*found)?.0)).collect()
    }

    /// How far the mean over images lies from 0, in standard deviations of what it would be if any other patches of each
    /// image were its outliers. `None` where no image has a difference, and where all patches resemble their neighbors
    /// alike.
    #[must_use]
    pub fn z(&self) -> Option<f64> {
        let images = self.images.iter().flatten();
        let (sum, variance) = images.fold((0.0, 0.0), |(sum, variance), (difference, own)| {
            (sum + difference, variance + own)
        });
        (variance > 0.0).then(|| sum / variance.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn drawn(seed: u64, count: usize) -> impl Iterator<Item = f64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64 / 16_777_216.0 - 0.4
        })
        .take(count)
    }

    /// Every pair of patches by hand.
    #[test]
    fn neighbors_by_brute_force() {
        let (height, width, channels) = (3, 4, 5);
        let mut values = drawn(5, height * width * channels).map(|value| value as f32);
        let mut rows = Array2::from_shape_simple_fn((height * width, channels), || {
            values.next().expect("as many as were drawn")
        });
        rows.row_mut(6).fill(0.0);
        let found = neighbor_cosines(rows.view(), (height, width));
        for (a, &found) in found.iter().enumerate() {
            let mut near = Vec::new();
            for b in 0..height * width {
                let apart = (a / width).abs_diff(b / width) + (a % width).abs_diff(b % width);
                let of = |i: usize, j: usize| -> f64 {
                    let both = rows.row(i).to_vec().into_iter().zip(rows.row(j).to_vec());
                    both.map(|(x, y)| f64::from(x) * f64::from(y)).sum()
                };
                if apart == 1 && of(a, a) > 0.0 && of(b, b) > 0.0 {
                    near.push(of(a, b) / (of(a, a) * of(b, b)).sqrt());
                }
            }
            if a == 6 {
                assert_eq!(found, None);
            } else {
                let mean = near.iter().sum::<f64>() / near.len() as f64;
                assert!((found.unwrap() - mean).abs() < 1e-12, "{a}");
            }
        }
        // Alone, or among patches without a length.
        assert_eq!(neighbor_cosines(rows.view(), (1, 1))[0], None);
    }

    /// Mean and variance over all choices of as many outliers, one by one.
    #[test]
    fn chance_by_brute_force() {
        let images = [(7, 0b10_0100_u32), (5, 0b00001)];
        let mut texture = OutlierTexture::default();
        let (mut observed, mut variances) = (0.0, 0.0);
        for (seed, (count, planted)) in images.into_iter().enumerate() {
            let cosines: Vec<f64> = drawn(seed as u64 + 3, count).collect();
            let difference = |chosen: u32| {
                let mean = |wanted: bool| {
                    let of = (0..count).filter(|place| (chosen >> place & 1 == 1) == wanted);
                    let of: Vec<f64> = of.map(|place| cosines[place]).collect();
                    of.iter().sum::<f64>() / of.len() as f64
                };
                mean(true) - mean(false)
            };
            let choices = (0..1_u32 << count).filter(|c| c.count_ones() == planted.count_ones());
            let all: Vec<f64> = choices.map(difference).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            assert!(mean.abs() < 1e-12);
            variances += all.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / all.len() as f64;
            observed += difference(planted);

            let mut known: Vec<Option<f64>> = cosines.iter().copied().map(Some).collect();
            let mut flags: Vec<bool> = (0..count).map(|p| planted >> p & 1 == 1).collect();
            // One without a cosine has no part.
            known.insert(2, None);
            flags.insert(2, true);
            texture.add(&known, &flags);
            assert!((texture.per_image()[seed].unwrap() - difference(planted)).abs() < 1e-12);
        }
        let z = texture.z().unwrap();
        assert!((z - observed / variances.sqrt()).abs() < 1e-9, "{z}");
    }

    #[test]
    fn images_without_both_kinds_have_no_part() {
        let mut texture = OutlierTexture::default();
        assert_eq!(texture.z(), None);
        let cosines = [0.1, 0.5, 0.2].map(Some);
        texture.add(&cosines, &[false; 3]);
        texture.add(&cosines, &[true; 3]);
        texture.add(&[], &[]);
        assert_eq!(
            (texture.per_image(), texture.z()),
            (vec![None, None, None], None)
        );
        // Patches that resemble their neighbors alike, but for rounding.
        texture.add(&[1.0, 1.0 - 1e-15, 1.0].map(Some), &[true, false, false]);
        assert_eq!(texture.z(), None);
        texture.add(&cosines, &[false, true, false]);
        assert!(texture.z().unwrap() > 0.0);
    }
}
