//! A few numbers a patch that keep cosines (docs/protocol.md section 19), small enough for a page to hold.
//!
//! Unit vectors `u` are written in an orthonormal basis `b_1 ... b_r` that a sample of vectors leaves least outside of,
//! and rounded to 32nds:
//!
//! ```text
//! q_j(u) = round(32 b_j . u)
//! c(u, v) = sum_j q_j(u) q_j(v) / 32^2                 what the basis holds of the cosine
//! r(u, v) = sqrt((1 - c(u, u)) (1 - c(v, v))) (c(u, v) / sqrt(c(u, u) c(v, v)))^3
//! cosine of u and v  ~  c(u, v) + s r(u, v)
//! ```
//!
//! `r` stands for what lies outside of the basis: vectors that are alike inside are alike there, too, and the less so the
//! less they are. How much of it there is, `s`, is fitted to pairs of whole vectors. Without it patches that are alike
//! would all seem less so than they are.
//!
//! Inside that basis, directions are turned so that the sample varies most along the first, which makes the first
//! three the principal components that colors are made of.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use crate::ProbeError;
use crate::transform::eigen;

/// Directions at most.
pub const DIRECTIONS: usize = 40;
/// Parts of 1 that coordinates are rounded to.
pub const PARTS: f64 = 32.0;
/// Vectors of an image whose cosines with all others of it are held against those of their sketches.
const CHECKED: usize = 16;
/// A share of the largest moment that rounding could make.
const NOISE: f64 = 1e-10;

/// The basis of a slot.
#[derive(Clone, Debug)]
pub struct SketchBasis {
    /// `[r, D]`, orthonormal.
    directions: Array2<f64>,
}

/// The vectors of an image, written in a basis.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    /// `[N, r]`, rounded coordinates; zeros for a vector of length 0.
    pub codes: Array2<i8>,
    /// Cosines of some of them against those of whole vectors.
    pub fit: CosineFit,
}

/// Sums over pairs of vectors, of `d = cosine - c` and `r`, from which `s` follows, and by how much cosines are off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CosineFit {
    /// `sum d^2`
    pub squares: f64,
    /// `sum d r`
    pub along: f64,
    /// `sum r^2`
    pub rests: f64,
    /// How many pairs.
    pub pairs: f64,
}

impl CosineFit {
    /// The same sums over other pairs, too.
    pub fn add(&mut self, other: Self) {
        self.squares += other.squares;
        self.along += other.along;
        self.rests += other.rests;
        self.pairs += other.pairs;
    }

    /// `s` by least squares among 0 to 1, since no cosine of what lies outside is above 1; 0 where nothing does.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.rests > 0.0 {
            (self.along / self.rests).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// The root of the mean square of the differences that `s` leaves; none without pairs.
    #[must_use]
    pub fn error(&self) -> Option<f64> {
        let share = self.share();
        let left = self.squares - 2.0 * share * self.along + share * share * self.rests;
        let left = left.max(0.0);
        (self.pairs > 0.0).then(|| (left / self.pairs).sqrt())
    }
}

/// `r` of two vectors, of which the basis holds `own` and `other` of the squared lengths, and `both` of the product.
fn rest(both: f64, own: f64, other: f64) -> f64 {
    if own == 0.0 || other == 0.0 {
        return 0.0;
    }
    let outside = (1.0 - own).max(0.0) * (1.0 - other).max(0.0);
    outside.sqrt() * (both / (own * other).sqrt()).powi(3)
}

impl SketchBasis {
    /// The directions that leave least of the sample's unit vectors outside, at most [`DIRECTIONS`], turned among themselves
    /// so that the variance along them falls. Vectors of length 0 are left out; without any others there is no direction.
    ///
    /// # Shapes
    /// `sample`: `[n, D]`.
    ///
    /// # Errors
    /// [`ProbeError::Eigen`] where values are not finite or no directions are found.
    pub fn of(sample: ArrayView2<'_, f32>) -> Result<Self, ProbeError> {
        let unit = units(sample);
        let kept: Vec<usize> = (0..unit.nrows())
            .filter(|&row| unit.row(row).iter().any(|&value| value != 0.0))
            .collect();
        let unit = unit.select(Axis(0), &kept);
        if unit.is_empty() {
            let directions = Array2::zeros((0, sample.ncols()));
            return Ok(Self { directions });
        }
        // Of the two products the smaller one: both have the same moments.
        let span = if unit.nrows() < unit.ncols() {
            let (moments, vectors) = largest(&unit.dot(&unit.t()))?;
            let mut span = vectors.dot(&unit);
            for (mut direction, moment) in span.rows_mut().into_iter().zip(moments) {
                direction.mapv_inplace(|entry| entry / moment.sqrt());
            }
            span
        } else {
            largest(&unit.t().dot(&unit))?.1
        };
        let mut coordinates = unit.dot(&span.t());
        let mean = coordinates.mean_axis(Axis(0));
        coordinates -= &mean.unwrap_or_else(|| Array1::zeros(span.nrows()));
        let (_, turn) = eigen(coordinates.t().dot(&coordinates).view())?;
        Ok(Self {
            directions: turn.t().dot(&span),
        })
    }

    /// How many directions it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.directions.nrows()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the vectors of an image in this basis, and holds some of their cosines against those of the whole vectors.
    ///
    /// # Shapes
    /// `rows`: `[N, D]`.
    ///
    /// # Panics
    /// When the width is not the sample's.
    #[must_use]
    pub fn sketch(&self, rows: ArrayView2<'_, f32>) -> Sketch {
        let unit = units(rows);
        let rounded = unit
            .dot(&self.directions.t())
            .mapv(|value| (PARTS * value).round());
        let count = unit.nrows();
        let checked: Vec<usize> = match count {
            0 => Vec::new(),
            _ => (0..count).step_by(count.div_ceil(CHECKED)).collect(),
        };
        let cosines = unit.select(Axis(0), &checked).dot(&unit.t());
        let sketched = rounded.select(Axis(0), &checked).dot(&rounded.t()) / PARTS.powi(2);
        let held: Vec<f64> = rounded
            .rows()
            .into_iter()
            .map(|row| row.dot(&row) / PARTS.powi(2))
            .collect();
        let mut fit = CosineFit::default();
        for (row, &own) in checked.iter().enumerate() {
            for other in (0..count).filter(|&other| other != own) {
                let both = sketched[[row, other]];
                let missing = cosines[[row, other]] - both;
                let rest = rest(both, held[own], held[other]);
                fit.add(CosineFit {
                    squares: missing * missing,
                    along: missing * rest,
                    rests: rest * rest,
                    pairs: 1.0,
                });
            }
        }
        Sketch {
            codes: rounded.mapv(|value| value as i8),
            fit,
        }
    }
}

/// Vectors brought to length 1; those of length 0 stay.
fn units(rows: ArrayView2<'_, f32>) -> Array2<f64> {
    let mut unit = rows.mapv(f64::from);
    for mut row in unit.rows_mut() {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row.mapv_inplace(|value| value / length);
        }
    }
    unit
}

/// The largest eigenvalues of a symmetric matrix, falling, with their vectors as rows: at most [`DIRECTIONS`], and none that
/// rounding could have made.
fn largest(matrix: &Array2<f64>) -> Result<(Vec<f64>, Array2<f64>), ProbeError> {
    let (mut values, vectors) = eigen(matrix.view())?;
    let most = values.first().copied().unwrap_or(0.0);
    values.retain(|&value| value > NOISE * most);
    values.truncate(DIRECTIONS);
    let vectors = vectors.slice(s![.., ..values.len()]).t().to_owned();
    Ok((values, vectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors in three directions of `D` dimensions, and a little of all others.
    fn rows(count: usize, dim: usize, noise: f32) -> Array2<f32> {
        let mut state = 3_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        Array2::from_shape_fn((count, dim), |(row, d)| {
            let strong = [4.0, 3.0 * ((row % 7) as f32 - 3.0), (row % 5) as f32 - 2.0];
            strong.get(d * 3 / dim).map_or(
                0.0,
                |&value| {
                    if d % (dim / 3) == 0 { value } else { 0.0 }
                },
            ) + noise * random()
        })
    }

    fn cosine(rows: &Array2<f32>, a: usize, b: usize) -> f64 {
        let unit = units(rows.view());
        unit.row(a).dot(&unit.row(b))
    }

    #[test]
    fn cosines_of_vectors_within_the_basis_are_kept_but_for_rounding() {
        // More vectors than numbers, and fewer: the two products.
        for (count, dim) in [(40, 12), (20, 90)] {
            let rows = rows(count, dim, 0.0);
            let basis = SketchBasis::of(rows.view()).unwrap();
            assert_eq!(basis.len(), 3);
            let sketch = basis.sketch(rows.view());
            for (a, b) in [(0, 1), (3, 17), (5, 5), (2, 19)] {
                let of = |row: usize| sketch.codes.row(row).mapv(|code| f64::from(code) / PARTS);
                let found = of(a).dot(&of(b));
                // Three coordinates of either, each off by half a part at most.
                let bound = 2.0 * 3.0_f64.sqrt() * 0.5 / PARTS + 3.0 * 0.25 / PARTS.powi(2);
                assert!((found - cosine(&rows, a, b)).abs() < bound, "{a} {b}");
            }
        }
    }

    #[test]
    fn what_lies_outside_is_told() {
        let rows = rows(200, 90, 0.8);
        let basis = SketchBasis::of(rows.slice(s![..100, ..])).unwrap();
        assert_eq!(basis.len(), DIRECTIONS);
        let sketch = basis.sketch(rows.view());
        // By brute force, over the vectors that were looked at: every 13th.
        let held = |a: usize, b: usize| {
            let codes = [a, b].map(|row| sketch.codes.row(row));
            let products = codes[0].iter().zip(codes[1]);
            let sum: f64 = products.map(|(&p, &q)| f64::from(p) * f64::from(q)).sum();
            sum / PARTS.powi(2)
        };
        let mut found = Vec::new();
        for a in (0..200).step_by(13) {
            for b in (0..200).filter(|&b| b != a) {
                let [own, other] = [held(a, a), held(b, b)];
                let alike = held(a, b) / (own * other).sqrt();
                let outside = (1.0 - own).max(0.0) * (1.0 - other).max(0.0);
                let outside = outside.sqrt() * alike.powi(3);
                found.push((cosine(&rows, a, b) - held(a, b), outside));
            }
        }
        let off = |share: f64| {
            let squares = found
                .iter()
                .map(|(missing, outside)| (missing - share * outside).powi(2));
            (squares.sum::<f64>() / found.len() as f64).sqrt()
        };
        let fit = sketch.fit;
        assert_eq!(fit.pairs, found.len() as f64);
        let error = fit.error().unwrap();
        assert!((error - off(fit.share())).abs() < 1e-9, "{error}");
        // No other share is better, and it is better than none.
        for share in [0.0, fit.share() - 0.01, fit.share() + 0.01] {
            assert!(error < off(share), "{share}");
        }
        // Beyond 0 and 1 there is none, whatever fits.
        for (along, share) in [(-3.0, 0.0), (1.0, 0.5), (5.0, 1.0)] {
            let fit = CosineFit {
                squares: 16.0,
                along,
                rests: 2.0,
                pairs: 4.0,
            };
            let left: f64 = 16.0 - 2.0 * share * along + 2.0 * share * share;
            assert_eq!(
                (fit.share(), fit.error()),
                (share, Some((left / 4.0).sqrt()))
            );
        }
        assert!((0.005..0.2).contains(&error), "{error}");
    }

    #[test]
    fn the_first_coordinates_are_principal_components() {
        let rows = rows(60, 90, 0.05);
        let basis = SketchBasis::of(rows.view()).unwrap();
        let unit = units(rows.view());
        let centered = &unit - &unit.mean_axis(Axis(0)).unwrap();
        let (_, principal) = eigen(centered.t().dot(&centered).view()).unwrap();
        for component in 0..2 {
            let along = basis
                .directions
                .row(component)
                .dot(&principal.column(component));
            assert!(along.abs() > 0.999, "{component}: {along}");
        }
        // An orthonormal basis.
        let products = basis.directions.dot(&basis.directions.t());
        for ((a, b), product) in products.indexed_iter() {
            let expected = if a == b { 1.0 } else { 0.0 };
            assert!((product - expected).abs() < 1e-9, "{a} {b} {product}");
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        let zeros = Array2::<f32>::zeros((4, 6));
        let basis = SketchBasis::of(zeros.view()).unwrap();
        assert!(basis.is_empty());
        let sketch = basis.sketch(zeros.view());
        assert_eq!((sketch.codes.dim(), sketch.fit.squares), ((4, 0), 0.0));
        assert_eq!(
            (sketch.fit.share(), CosineFit::default().error()),
            (0.0, None)
        );
        let mut broken = zeros;
        broken[[0, 0]] = f32::INFINITY;
        assert!(matches!(
            SketchBasis::of(broken.view()),
            Err(ProbeError::Eigen)
        ));
        let one = Array2::from_elem((1, 6), 2.0_f32);
        let basis = SketchBasis::of(one.view()).unwrap();
        assert_eq!((basis.len(), basis.sketch(one.view()).fit.pairs), (1, 0.0));
    }
}
