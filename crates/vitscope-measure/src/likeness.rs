//! How patch vectors of an image resemble their neighbors, and its class token (docs/protocol.md section 17).

use ndarray::{ArrayView1, ArrayView2};

/// The vector at unit length; `None` for one of length zero.
pub(crate) fn unit(vector: ArrayView1<'_, f32>) -> Option<Vec<f64>> {
    let square: f64 = vector.iter().map(|&value| f64::from(value).powi(2)).sum();
    let scale = square.sqrt().recip();
    (square > 0.0).then(|| {
        vector
            .iter()
            .map(|&value| f64::from(value) * scale)
            .collect()
    })
}

/// Their scalar product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The sum of vectors of a width.
fn sum<'a>(vectors: impl Iterator<Item = &'a Vec<f64>>, width: usize) -> Vec<f64> {
    let mut total = vec![0.0; width];
    for vector in vectors {
        for (sum, value) in total.iter_mut().zip(vector) {
            *sum += value;
        }
    }
    total
}

/// The mean cosine of patches that lie side by side (above, below, left, right), less that of any two patches of the
/// image, in `[-2, 2]`. It is 0 in the mean over shuffles of the patches. Vectors of length zero are left out; `None`
/// where no two are neighbors.
///
/// # Shapes
///
/// `rows`: `[N, D]`, patches of a grid (rows, columns), row by row.
///
/// ```
/// use ndarray::array;
/// // The left half one way, the right half another.
/// let rows = array![[1.0_f32, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]];
/// let nearer = vitscope_measure::neighbor_cosine(rows.view(), (1, 4)).expect("there are neighbors");
/// assert!((nearer - (2.0 / 3.0 - 2.0 / 6.0)).abs() < 1e-12);
/// ```
#[must_use]
pub fn neighbor_cosine(rows: ArrayView2<'_, f32>, (height, width): (usize, usize)) -> Option<f64> {
    let units: Vec<Option<Vec<f64>>> = rows.outer_iter().map(unit).collect();
    let mut near = 0.0;
    let mut pairs = 0_u64;
    for (place, own) in units.iter().enumerate().take(height * width) {
        let right = (place % width + 1 < width).then_some(place + 1);
        let below = (place / width + 1 < height).then_some(place + width);
        for other in [right, below].into_iter().flatten() {
            if let (Some(own), Some(Some(other))) = (own, units.get(other)) {
                near += dot(own, other);
                pairs += 1;
            }
        }
    }
    let count = units.iter().flatten().count() as f64;
    let total = sum(units.iter().flatten(), rows.ncols());
    let any = (dot(&total, &total) - count) / (count * (count - 1.0));
    (pairs > 0).then(|| near / pairs as f64 - any)
}

/// Class tokens of images beside their patches.
#[derive(Clone, Debug, Default)]
pub struct ClassLikeness {
    /// Per image: the class token at unit length and the mean of the patches at unit length.
    images: Vec<(Vec<f64>, Vec<f64>)>,
}

impl ClassLikeness {
    /// Adds an image. One whose class token or patches all have length zero has no cosine and is left out.
    ///
    /// # Shapes
    ///
    /// `class`: `D`; `rows`: `[N, D]`.
    pub fn add(&mut self, class: ArrayView1<'_, f32>, rows: ArrayView2<'_, f32>) {
        let units: Vec<Vec<f64>> = rows.outer_iter().filter_map(unit).collect();
        if let Some(class) = unit(class).filter(|_| !units.is_empty()) {
            let mut mean = sum(units.iter(), class.len());
            mean.iter_mut()
                .for_each(|value| *value /= units.len() as f64);
            self.images.push((class, mean));
        }
    }

    /// The mean cosine of the class token and the patches of each image, in the order in which they were added.
    #[must_use]
    pub fn own(&self) -> Vec<f64> {
        let images = self.images.iter();
        images.map(|(class, mean)| dot(class, mean)).collect()
    }

    /// The same of the class token of each other image, in the mean: what is alike in all images. `None` with fewer than
    /// two images.
    #[must_use]
    pub fn of_others(&self) -> Option<f64> {
        let count = self.images.len();
        let width = self.images.first()?.0.len();
        let classes = sum(self.images.iter().map(|(class, _)| class), width);
        let means = sum(self.images.iter().map(|(_, mean)| mean), width);
        let own: f64 = self.own().iter().sum();
        let pairs = (count * (count - 1)) as f64;
        (count > 1).then(|| (dot(&classes, &means) - own) / pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    fn rows(seed: u64, count: usize, width: usize) -> Array2<f32> {
        let mut state = seed;
        Array2::from_shape_simple_fn((count, width), || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / 16_777_216.0 - 0.4
        })
    }

    fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
        let of = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        of(a, b) / (of(a, a) * of(b, b)).sqrt()
    }

    /// Every pair by hand.
    #[test]
    fn neighbors_by_brute_force() {
        let (height, width) = (3, 4);
        let rows = rows(5, height * width, 6);
        let (mut near, mut any) = (Vec::new(), Vec::new());
        for a in 0..height * width {
            for b in 0..a {
                let apart = (a / width).abs_diff(b / width) + (a % width).abs_diff(b % width);
                let cosine = cosine(rows.row(a), rows.row(b));
                any.push(cosine);
                if apart == 1 {
                    near.push(cosine);
                }
            }
        }
        assert_eq!(near.len(), 17);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let found = neighbor_cosine(rows.view(), (height, width)).unwrap();
        assert!((found - (mean(&near) - mean(&any))).abs() < 1e-12);
    }

    #[test]
    fn vectors_without_length_are_left_out() {
        let mut rows = rows(9, 4, 3);
        let whole = neighbor_cosine(rows.slice(s![..3, ..]), (1, 3)).unwrap();
        rows.row_mut(3).fill(0.0);
        assert!((neighbor_cosine(rows.view(), (1, 4)).unwrap() - whole).abs() < 1e-15);
        rows.fill(0.0);
        assert_eq!(neighbor_cosine(rows.view(), (1, 4)), None);
        assert_eq!(neighbor_cosine(rows.slice(s![..1, ..]), (1, 1)), None);
    }

    /// Every class token with every image's patches, by hand.
    #[test]
    fn class_tokens_by_brute_force() {
        let images: Vec<(Array2<f32>, Array2<f32>)> = (0..4)
            .map(|image| (rows(image + 20, 1, 5), rows(image + 40, 7, 5)))
            .collect();
        let mut likeness = ClassLikeness::default();
        assert_eq!(likeness.of_others(), None);
        for (class, patches) in &images {
            likeness.add(class.row(0), patches.view());
        }
        let mean = |class: usize, image: usize| -> f64 {
            let patches = images[image].1.outer_iter();
            patches
                .map(|row| cosine(images[class].0.row(0), row))
                .sum::<f64>()
                / 7.0
        };
        for (image, own) in likeness.own().into_iter().enumerate() {
            assert!((own - mean(image, image)).abs() < 1e-12);
        }
        let mut others = 0.0;
        for class in 0..4 {
            others += (0..4)
                .filter(|&image| image != class)
                .map(|image| mean(class, image))
                .sum::<f64>();
        }
        assert!((likeness.of_others().unwrap() - others / 12.0).abs() < 1e-12);
    }
}
