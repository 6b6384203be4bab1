//! From sums over training images to transforms, and to what they say of position.

use std::f64::consts::{PI, TAU};

use ndarray::{Array1, Array2, ArrayView2, ArrayView3, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Transform;
use super::apply::{FittedTransform, TransformParts};
use super::leace::leace;
use super::linear::{eigen, left_singular, orthonormal, solve};
use super::places::{PlaceMoments, unit_rows};
use crate::error::check;
use crate::{ProbeError, random};

/// The ridge of position readers, as a part of the mean variance of a channel.
const RIDGE: f64 = 1e-6;

/// How the energy of the mean map is spread over spatial orders, each in `[0, 1]` with a sum of 1: shares of the
/// squared coefficients of a 2-D cosine transform over places. The order of a coefficient is the larger of its two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapShares {
    /// Order 1: ramps.
    pub ramp: f64,
    /// Orders 2 and 3.
    pub low: f64,
    /// Between low and high.
    pub mid: f64,
    /// Waves of less than four patches in either direction, which is above half of the highest frequency of a grid (the
    /// order above half of the patches on its side): a pattern from patch to patch.
    pub high: f64,
}

/// What was summed of a slot, ready to fit transforms to.
#[derive(Clone, Debug)]
pub struct Fitting {
    grid: (usize, usize),
    images: u64,
    mean: Vec<f64>,
    /// `[N, D]`, `M(p) - m`.
    map: Array2<f64>,
    /// The same of each half of the images; absent where a half is empty.
    halves: Option<[Array2<f64>; 2]>,
    /// `[D, D]`.
    covariance: Array2<f64>,
    /// What rounding leaves open of a variance.
    floor: f64,
}

impl Fitting {
    /// What was summed, at the places of a grid (rows, columns), row by row.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] if the grid has another number of places; [`ProbeError::TooFewImages`] without images.
    pub fn new(sums: &PlaceMoments, grid: (usize, usize)) -> Result<Self, ProbeError> {
        let (places, width) = sums.sums[0].dim();
        check("places of an image", grid.0 * grid.1, places)?;
        let images = sums.images();
        if images == 0 {
            return Err(ProbeError::TooFewImages {
                transform: Transform::Mean,
                needed: Transform::Mean.fewest_images(grid, width),
                images: 0,
            });
        }
        let (map, mean) = centered((&sums.sums[0] + &sums.sums[1]) / images as f64);
        let halves = (sums.images[0].min(sums.images[1]) > 0)
            .then(|| [0, 1].map(|half| centered(&sums.sums[half] / sums.images[half] as f64).0));
        let lower = sums.moments.covariance();
        let covariance =
            Array2::from_shape_fn((width, width), |(i, j)| lower[(i.max(j), i.min(j))]);
        let trace = covariance.diag().sum();
        Ok(Self {
            grid,
            images,
            mean,
            map,
            halves,
            covariance,
            floor: 2.0 * (width as f64).sqrt() * f64::from(f32::EPSILON) * trace / width as f64,
        })
    }

    /// A transform; `draw` (a seed, and a stream of it) makes the directions of `random`, and `blank` `[1, N, D]` are the
    /// vectors of one black image, for `blank`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Rank`], [`ProbeError::TooFewImages`], [`ProbeError::Eigen`], [`ProbeError::Shape`].
    pub fn fit(
        &self,
        transform: Transform,
        draw: (u64, u64),
        blank: Option<ArrayView3<'_, f32>>,
    ) -> Result<FittedTransform, ProbeError> {
        let (places, width) = self.map.dim();
        transform.allowed(self.grid, width)?;
        let needed = transform.fewest_images(self.grid, width);
        if self.images < needed as u64 {
            return Err(ProbeError::TooFewImages {
                transform,
                needed,
                images: self.images,
            });
        }
        let basis = match transform {
            Transform::Svd(rank) => Some(top(self.map.t(), rank)?),
            Transform::Content(rank) => {
                let content = &self.covariance - &self.between();
                let (_, vectors) = eigen(content.view())?;
                Some(vectors.slice_move(ndarray::s![.., ..rank]))
            }
            Transform::Rasa(rounds) => Some(self.readers(rounds)?),
            Transform::Random(rank, number) => Some(random_directions(rank, width, draw, number)),
            Transform::Blank(rank) => {
                let needs = || ProbeError::Shape {
                    what: "black images for `blank`",
                    expected: 1,
                    got: 0,
                };
                let rows = unit_rows(blank.ok_or_else(needs)?)?;
                check("places of a black image", places, rows.dim().1)?;
                let (map, _) = centered(rows.index_axis_move(Axis(0), 0).mapv(f64::from));
                Some(top(map.t(), rank)?)
            }
            _ => None,
        };
        let mut parts = TransformParts {
            basis: basis.map(standard),
            ..TransformParts::default()
        };
        let mean = || Some(Array1::from(self.mean.clone()));
        match transform {
            Transform::Center => parts.mean = mean(),
            Transform::Standardize => {
                parts.mean = mean();
                // A channel that does not vary says nothing.
                let scale = |&variance: &f64| match variance > 0.0 {
                    true => 1.0 / variance.sqrt(),
                    false => 0.0,
                };
                parts.scale = Some(self.covariance.diag().iter().map(scale).collect());
            }
            Transform::Mean => parts.map = Some(self.map.mapv(|value| value as f32)),
            Transform::Leace(order) => {
                let found = leace(
                    self.covariance.view(),
                    self.with_places(&cosines(self.grid, order)).view(),
                    self.floor,
                )?;
                parts.mean = mean();
                parts.basis = Some(standard(found.left));
                parts.dual = Some(standard(found.right));
            }
            _ => {}
        }
        FittedTransform::new(transform, parts, places, width)
    }

    /// Share of the variance that lies between places, `tr G / tr S`, with chance taken out: `G` is the product of
    /// the maps of two halves of the images, whose noise is independent, so that its mean is 0 where position does
    /// nothing. `None` with fewer than two images.
    #[must_use]
    pub fn position_share(&self) -> Option<f64> {
        let [a, b] = self.halves.as_ref()?;
        let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        let trace = self.covariance.diag().sum();
        (trace > 0.0).then(|| product / a.nrows() as f64 / trace)
    }

    /// How well a linear reader finds row and column: `tr(S_zx (S_xx + ridge)^-1 S_xz) / tr S_zz` on the images
    /// that were summed, in `[0, 1]`; `None` where it is not defined, and where vectors are so few
    /// (channels and one more) that a reader finds anything of them.
    #[must_use]
    pub fn position_r2(&self) -> Option<f64> {
        self.r2(&self.map, &self.covariance)
    }

    /// What a transform leaves of a linear reader of row and column, as [`position_r2`](Self::position_r2).
    #[must_use]
    pub fn position_r2_after(&self, fitted: &FittedTransform) -> Option<f64> {
        let (map, covariance) = self.after(fitted);
        self.r2(&map, &covariance)
    }

    /// Share of the variance that a transform takes out, in `[0, 1]`; `None` for one that scales.
    #[must_use]
    pub fn removed(&self, fitted: &FittedTransform) -> Option<f64> {
        let trace = self.covariance.diag().sum();
        let defined = trace > 0.0 && fitted.transform() != Transform::Standardize;
        defined.then(|| 1.0 - self.after(fitted).1.diag().sum() / trace)
    }

    /// What a transform takes out of the mean map: the length of the change of `M(p) - m` at each place, row by
    /// row. For a transform that scales, the length of the map itself.
    #[must_use]
    pub fn removed_map(&self, fitted: &FittedTransform) -> Vec<f64> {
        let change = match fitted.transform() {
            Transform::Standardize => self.map.clone(),
            _ => &self.map - &self.after(fitted).0,
        };
        let rows = change.rows().into_iter();
        rows.map(|row| row.dot(&row).sqrt()).collect()
    }

    /// How the mean map is spread over spatial orders, with chance taken out as in
    /// [`position_share`](Self::position_share); `None` where nothing is left.
    #[must_use]
    pub fn map_shares(&self) -> Option<MapShares> {
        let [a, b] = self.halves.as_ref()?;
        let [a, b] = [a, b].map(|map| cosine_transform(self.grid, map));
        let (rows, columns) = self.grid;
        let mut bands = [0.0_f64; 4];
        for (place, (a, b)) in a.rows().into_iter().zip(b.rows()).enumerate().skip(1) {
            let (u, v) = (place / columns, place % columns);
            let order = u.max(v);
            let band = if 2 * u > rows || 2 * v > columns {
                3
            } else {
                match order {
                    1 => 0,
                    2 | 3 => 1,
                    _ => 2,
                }
            };
            bands[band] += a.dot(&b);
        }
        let bands = bands.map(|energy| energy.max(0.0));
        let total: f64 = bands.iter().sum();
        let [ramp, low, mid, high] = bands.map(|energy| energy / total);
        (total > 0.0).then_some(MapShares {
            ramp,
            low,
            mid,
            high,
        })
    }

    /// `G`, the covariance between places.
    fn between(&self) -> Array2<f64> {
        self.map.t().dot(&self.map) / self.map.nrows() as f64
    }

    /// `S_xz` for numbers `[N, Z]` of each place whose mean is zero.
    fn with_places(&self, numbers: &Array2<f64>) -> Array2<f64> {
        self.map.t().dot(numbers) / self.map.nrows() as f64
    }

    /// The directions that readers of row and column use, two a round.
    fn readers(&self, rounds: usize) -> Result<Array2<f64>, ProbeError> {
        let width = self.mean.len();
        let ridge = self.ridge();
        let with_places = self.with_places(&coordinates(self.grid));
        let mut found: Vec<Vec<f64>> = Vec::new();
        for _ in 0..rounds {
            let out = columns(width, &found);
            let mut covariance =
                project_out(&project_out(&self.covariance, &out).t().to_owned(), &out);
            covariance.diag_mut().mapv_inplace(|value| value + ridge);
            let readers = solve(covariance.view(), project_out(&with_places, &out).view())?;
            found.extend(orthonormal(readers.view(), &found));
        }
        Ok(columns(width, &found))
    }

    fn ridge(&self) -> f64 {
        let mean = self.covariance.diag().sum() / self.mean.len() as f64;
        (RIDGE * mean).max(f64::MIN_POSITIVE)
    }

    fn r2(&self, map: &Array2<f64>, covariance: &Array2<f64>) -> Option<f64> {
        let (patches, width) = self.map.dim();
        if self.images.saturating_mul(patches as u64) <= width as u64 + 1 {
            return None;
        }
        let places = coordinates(self.grid);
        let spread: f64 = places.iter().map(|z| z * z).sum::<f64>() / places.nrows() as f64;
        let with = map.t().dot(&places) / places.nrows() as f64;
        let mut ridged = covariance.clone();
        let ridge = self.ridge();
        ridged.diag_mut().mapv_inplace(|value| value + ridge);
        let read = solve(ridged.view(), with.view()).ok()?;
        let explained: f64 = with.iter().zip(&read).map(|(a, b)| a * b).sum();
        // No reader explains more than there is; sums that are rounded may say so.
        (spread > 0.0).then(|| (explained / spread).clamp(0.0, 1.0))
    }

    /// Mean map and covariance after a transform.
    fn after(&self, fitted: &FittedTransform) -> (Array2<f64>, Array2<f64>) {
        let parts = fitted.parts();
        if parts.map.is_some() {
            return (
                Array2::zeros(self.map.dim()),
                &self.covariance - &self.between(),
            );
        }
        if let Some(scale) = &parts.scale {
            let covariance = &self.covariance * scale;
            let covariance = covariance.t().to_owned() * scale;
            return (&self.map * scale, covariance);
        }
        let Some(basis) = &parts.basis else {
            return (self.map.clone(), self.covariance.clone());
        };
        let right = match &parts.dual {
            Some(dual) => dual.view(),
            None => basis.t(),
        };
        let edit = |rows: &Array2<f64>| rows - &rows.dot(&right.t()).dot(&basis.t());
        let half = edit(&self.covariance);
        (edit(&self.map), edit(&half.t().to_owned()))
    }
}

/// A map less its mean over places, and the mean.
fn centered(mut map: Array2<f64>) -> (Array2<f64>, Vec<f64>) {
    let mean = map.sum_axis(Axis(0)) / map.nrows().max(1) as f64;
    map -= &mean;
    (map, mean.to_vec())
}

/// Random orthonormal directions, of a seed, a stream of its own and a draw of them, from 1.
fn random_directions(
    rank: usize,
    width: usize,
    (seed, stream): (u64, u64),
    number: usize,
) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1 << 62 | (number as u64 - 1) << 32 | stream);
    let drawn = Array2::from_shape_simple_fn((rank, width), || normal(&mut rng));
    columns(width, &orthonormal(drawn.t(), &[]))
}

/// The top left singular vectors of `[D, N]`.
fn top(map: ArrayView2<'_, f64>, rank: usize) -> Result<Array2<f64>, ProbeError> {
    let (vectors, _) = left_singular(map)?;
    Ok(vectors.slice_move(ndarray::s![.., ..rank]))
}

/// Row and column of every place, centered, `[N, 2]`.
fn coordinates((rows, columns): (usize, usize)) -> Array2<f64> {
    let centered = |at: usize, count: usize| at as f64 - (count as f64 - 1.0) / 2.0;
    Array2::from_shape_fn((rows * columns, 2), |(place, axis)| match axis {
        0 => centered(place / columns, rows) / rows as f64,
        _ => centered(place % columns, columns) / columns as f64,
    })
}

/// The 2-D cosines of order below `order` but for the constant, each of variance 1: `[N, order^2 - 1]`.
fn cosines((rows, columns): (usize, usize), order: usize) -> Array2<f64> {
    let wave = |at: usize, count: usize, frequency: usize| match frequency {
        0 => 1.0,
        _ => 2.0_f64.sqrt() * (PI * (at as f64 + 0.5) * frequency as f64 / count as f64).cos(),
    };
    Array2::from_shape_fn((rows * columns, order * order - 1), |(place, index)| {
        let (u, v) = ((index + 1) / order, (index + 1) % order);
        wave(place / columns, rows, u) * wave(place % columns, columns, v)
    })
}

/// The orthonormal 2-D cosine transform of every column over places, `[N, D]`.
fn cosine_transform((rows, columns): (usize, usize), map: &Array2<f64>) -> Array2<f64> {
    let matrix = |count: usize| {
        Array2::from_shape_fn((count, count), |(u, at)| {
            let scale = if u == 0 { 1.0 } else { 2.0_f64.sqrt() };
            let angle = PI * (at as f64 + 0.5) * u as f64 / count as f64;
            scale * angle.cos() / (count as f64).sqrt()
        })
    };
    let width = map.ncols();
    let along = matrix(columns);
    let mut first = Array2::zeros(map.dim());
    for row in 0..rows {
        let range = ndarray::s![row * columns..(row + 1) * columns, ..];
        first.slice_mut(range).assign(&along.dot(&map.slice(range)));
    }
    let flat = first
        .into_shape_with_order((rows, columns * width))
        .expect("the same elements");
    matrix(rows)
        .dot(&flat)
        .into_shape_with_order((rows * columns, width))
        .expect("the same elements")
}

/// A standard normal number (Box and Muller).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * random::positive_unit(rng).ln()).sqrt();
    radius * (TAU * random::unit(rng)).cos()
}

/// `rows - out out' rows` of columns of length `D`.
fn project_out(matrix: &Array2<f64>, out: &Array2<f64>) -> Array2<f64> {
    matrix - &out.dot(&out.t().dot(matrix))
}

fn columns(width: usize, found: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((width, found.len()), |(d, index)| found[index][d])
}

/// The same, row by row in memory.
fn standard(matrix: Array2<f64>) -> Array2<f64> {
    matrix.as_standard_layout().into_owned()
}
