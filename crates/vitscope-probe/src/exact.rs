//! Sums of patch vectors that are the same to the bit in whatever order and parts images come: what several processes
//! sum up merges into exactly what one would have.
//!
//! Each image's own sums are made in f64, in one fixed order, and enter as whole numbers of 2^-56, which add up
//! exactly in 128 bits. What is read off them is that of [`Moments`] and [`PlaceMoments`], whose products are made in
//! f32: the numbers agree to about 1e-5.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};
use ndarray::{Array2, ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;

use crate::error::check;
use crate::moments::Moments;
use crate::transform::{PlaceMoments, unit_rows};
use crate::{ProbeError, rows};

/// What one is as a whole number.
const ONE: f64 = (1_u64 << 56) as f64;

/// The largest sum of one image that is taken: images in any number stay within 128 bits.
const MOST: f64 = 1e15;

/// Sums of vectors and of their products over images, as whole numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WholeSums {
    sum: Vec<i128>,
    /// The lower triangle of the sum of outer products, row by row.
    products: Vec<i128>,
}

/// What is summed of some images' patch vectors, as they are and at unit length: what there is to say of outliers,
/// channels and position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactSums {
    dim: usize,
    places: usize,
    /// Images, which alternate between the two halves that chance is told by.
    images: u64,
    plain: WholeSums,
    unit: WholeSums,
    /// Per half: the sum of unit vectors at each place, `[N, D]`.
    at_places: [Vec<i128>; 2],
}

/// What one image adds.
struct ImageSums {
    plain: (Vec<f64>, Mat<f64>),
    unit: (Vec<f64>, Mat<f64>),
    rows: Vec<f32>,
}

impl ExactSums {
    /// Of no images yet, with vectors of a width at so many places.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] for a width of zero.
    pub fn new(places: usize, dim: usize) -> Result<Self, ProbeError> {
        if dim == 0 {
            return Err(ProbeError::Shape {
                what: "width of the patch vectors",
                expected: 1,
                got: 0,
            });
        }
        let whole = || WholeSums {
            sum: vec![0; dim],
            products: vec![0; dim * (dim + 1) / 2],
        };
        Ok(Self {
            dim,
            places,
            images: 0,
            plain: whole(),
            unit: whole(),
            at_places: [vec![0; places * dim], vec![0; places * dim]],
        })
    }

    /// Images added.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Places of an image and the width of a vector.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.places, self.dim)
    }

    /// Adds images.
    ///
    /// # Shapes
    ///
    /// `images`: `[B, N, D]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`] for values that are not finite or whose squares sum up beyond
    /// 1e15 in an image. Nothing is added then.
    pub fn add(&mut self, images: ArrayView3<'_, f32>) -> Result<(), ProbeError> {
        let (_, places, dim) = images.dim();
        check("width of the patch vectors", self.dim, dim)?;
        check("places of an image", self.places, places)?;
        let unit = unit_rows(images)?;
        // So many at once that every core is busy, and no more are held.
        let group = rayon::current_num_threads().max(1) * 2;
        let mut added = self.clone();
        for start in (0..images.dim().0).step_by(group) {
            let end = (start + group).min(images.dim().0);
            let sums: Vec<ImageSums> = (start..end)
                .into_par_iter()
                .map(|image| {
                    let plain = images.index_axis(Axis(0), image);
                    let unit = unit.index_axis(Axis(0), image);
                    ImageSums {
                        plain: sums_of(plain),
                        unit: sums_of(unit),
                        rows: unit.iter().copied().collect(),
                    }
                })
                .collect();
            for (index, sums) in sums.iter().enumerate() {
                let square = |products: &Mat<f64>| (0..dim).map(|d| products[(d, d)]).sum::<f64>();
                if square(&sums.plain.1) > MOST || !square(&sums.plain.1).is_finite() {
                    return Err(ProbeError::NonFinite {
                        image: start + index,
                    });
                }
                added.plain.add(&sums.plain);
                added.unit.add(&sums.unit);
                let half = &mut added.at_places[(added.images % 2) as usize];
                for (total, &value) in half.iter_mut().zip(&sums.rows) {
                    *total += whole(f64::from(value));
                }
                added.images += 1;
            }
        }
        *self = added;
        Ok(())
    }

    /// Adds what another has summed, as if its images had followed.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`].
    pub fn merge(&mut self, other: &Self) -> Result<(), ProbeError> {
        check("width of the patch vectors", self.dim, other.dim)?;
        check("places of an image", self.places, other.places)?;
        self.plain.merge(&other.plain);
        self.unit.merge(&other.unit);
        for (half, sums) in other.at_places.iter().enumerate() {
            // After an odd number of images, the other's first image is of the second half.
            let own = (half + (self.images % 2) as usize) % 2;
            for (total, &value) in self.at_places[own].iter_mut().zip(sums) {
                *total += value;
            }
        }
        self.images += other.images;
        Ok(())
    }

    /// All sums, one after the other, for storing.
    #[must_use]
    pub fn to_numbers(&self) -> Vec<i128> {
        let parts = [&self.plain, &self.unit].map(|whole| [&whole.sum, &whole.products]);
        let parts = parts.as_flattened().iter().copied();
        let parts = parts.chain(&self.at_places);
        parts.flatten().copied().collect()
    }

    /// The inverse of [`to_numbers`](Self::to_numbers), for so many images.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] where the numbers are not those of these sizes.
    pub fn from_numbers(
        places: usize,
        dim: usize,
        images: u64,
        numbers: &[i128],
    ) -> Result<Self, ProbeError> {
        let mut sums = Self::new(places, dim)?;
        sums.images = images;
        let expected = sums.to_numbers().len();
        check("numbers of stored sums", expected, numbers.len())?;
        let [first, second] = &mut sums.at_places;
        let mut rest = numbers;
        for part in [
            &mut sums.plain.sum,
            &mut sums.plain.products,
            &mut sums.unit.sum,
            &mut sums.unit.products,
            first,
            second,
        ] {
            let (own, after) = rest.split_at(part.len());
            part.copy_from_slice(own);
            rest = after;
        }
        Ok(sums)
    }

    /// The moments of the vectors as they are; of no vectors where there are none.
    #[must_use]
    pub fn moments(&self) -> Moments {
        let count = self.images * self.places as u64;
        self.plain.moments(self.dim, count, Some(&self.unit.sum))
    }

    /// Sums of unit vectors at every place.
    #[must_use]
    pub fn place_moments(&self) -> PlaceMoments {
        let count = self.images * self.places as u64;
        let moments = self.unit.moments(self.dim, count, None);
        let sums = self.at_places.each_ref().map(|half| {
            let mut sums = Array2::zeros((self.places, self.dim));
            for (to, &from) in sums.iter_mut().zip(half) {
                *to = real(from);
            }
            sums
        });
        PlaceMoments::from_sums(moments, sums, [self.images.div_ceil(2), self.images / 2])
    }
}

impl WholeSums {
    fn add(&mut self, (sum, products): &(Vec<f64>, Mat<f64>)) {
        for (total, &value) in self.sum.iter_mut().zip(sum) {
            *total += whole(value);
        }
        let mut totals = self.products.iter_mut();
        for row in 0..sum.len() {
            for (column, total) in (0..=row).zip(totals.by_ref()) {
                *total += whole(products[(row, column)]);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        let sums = self.sum.iter_mut().zip(&other.sum);
        for (total, &value) in sums.chain(self.products.iter_mut().zip(&other.products)) {
            *total += value;
        }
    }

    /// Moments about the mean, rounded to f32.
    fn moments(&self, dim: usize, count: u64, unit: Option<&[i128]>) -> Moments {
        let sum: Vec<f64> = self.sum.iter().map(|&total| real(total)).collect();
        let scale = 1.0 / count.max(1) as f64;
        let shift: Vec<f32> = sum.iter().map(|total| (total * scale) as f32).collect();
        let number = count as f64;
        let at = |row: usize, column: usize| {
            let (s, t) = (f64::from(shift[row]), f64::from(shift[column]));
            let product = real(self.products[row * (row + 1) / 2 + column]);
            product - s * sum[column] - t * sum[row] + number * s * t
        };
        let shifted = sum.iter().zip(&shift);
        let shifted: Vec<f64> = shifted
            .map(|(sum, &s)| sum - number * f64::from(s))
            .collect();
        let unit = unit.map(|unit| unit.iter().map(|&total| real(total)).collect());
        Moments::from_products(count, shift.clone(), shifted, unit, dim, at)
    }
}

/// Sum and products of the vectors of one image; of the products the lower triangle.
fn sums_of(image: ArrayView2<'_, f32>) -> (Vec<f64>, Mat<f64>) {
    let (places, dim) = image.dim();
    let mut values = vec![0.0_f64; places * dim];
    let mut sum = vec![0.0_f64; dim];
    let mut row = vec![0.0_f32; dim];
    for (from, to) in image.rows().into_iter().zip(values.chunks_exact_mut(dim)) {
        rows::copy(from, &mut row);
        for ((total, to), &value) in sum.iter_mut().zip(to).zip(&row) {
            *to = f64::from(value);
            *total += *to;
        }
    }
    let vectors = MatRef::from_row_major_slice(&values, places, dim);
    let mut products = Mat::zeros(dim, dim);
    triangular::matmul(
        products.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        vectors.transpose(),
        BlockStructure::Rectangular,
        vectors,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    (sum, products)
}

/// The nearest whole number of 2^-56.
fn whole(value: f64) -> i128 {
    (value * ONE).round() as i128
}

fn real(value: i128) -> f64 {
    value as f64 / ONE
}
