//! The pixel of an image that is most like a key point of another image (docs/protocol.md section 10, Eq. 4).
//!
//! # What
//!
//! Patch embeddings `f` lie on a grid; an image's pixels lie over that grid as its [`View`] says. At every
//! pixel `p` of the target image the embedding is upsampled bilinearly (half-pixel centers, edges clamped;
//! PyTorch's `align_corners=False`), and the match of a key point with embedding `s` is
//!
//! ```text
//! argmax_p  f(p).s / (|f(p)| |s|)           the first pixel in row-major order on ties
//! ```
//!
//! # Without upsampling `D` numbers per pixel
//!
//! In a cell between four patch centers `a b` over `c d`, at fractions `t` to the right and `u` down, the
//! numerator is the bilinear mix of the four patches' own products `f.s`. With `l = a + u (c - a)` and
//! `r = b + u (d - b)` the denominator is
//!
//! ```text
//! |f(p)|^2 = |l|^2 + t (2 (l.r - |l|^2) + t (|l|^2 - 2 l.r + |r|^2))
//! ```
//!
//! where `|l|^2`, `l.r` and `|r|^2` follow in the same way from inner products of neighboring patches,
//! which are computed once per image. So a pixel costs a dozen operations whatever `D` is. Everything is
//! f64; the differences are written such that equal corners give equal pixels, bit for bit, and a constant
//! map is one tie.
//!
//! # Without looking at most pixels
//!
//! Let `n_i = |f_i|` and `c_i = f_i.s / n_i` at the corners, with weights `w_i >= 0`. Then
//!
//! ```text
//! f(p).s / |f(p)| = sum w_i n_i c_i / |sum w_i f_i|  <=  max c_i * (sum w_i n_i / |sum w_i f_i|)
//! ```
//!
//! and the last factor, at least 1, depends on the target alone: its largest value in each cell is computed
//! once. (Where `max c_i` is negative the factor counts as 1.) A cell is passed over if its bound lies below
//! the best cosine so far by more than 1e-9, a row of a cell if none of its pixels comes within 1e-9 of the
//! best, which `x |x| >= y |y|` tells without root or division. In cells where `|f(p)|^2` falls below 1e-4
//! of the largest corner's, that is where rounding could amount to more, every pixel is looked at, and its
//! length is taken from the upsampled embedding itself. So the match is the one that looking at every pixel
//! finds ([`TargetImage::best_plain`]), ties included.
//!
//! Where `|f(p)|` is below 1e-7 of `sum w_i n_i`, opposite patches cancel and what is left is rounding;
//! such an embedding counts as zero, and the cosine with a zero vector counts as 0.

mod lengths;
mod view;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::ArrayView2;

use crate::ProbeError;
use crate::error::check;
use crate::rows;

use lengths::{FRAGILE, Gram, LengthLine, inner, largest_ratio, toward};
use view::ViewCell;

pub use view::View;

/// A pixel this far below the best so far cannot be the match, whatever the roundings.
const SLACK: f64 = 1e-9;

/// Below this share of what its corners contribute, an embedding counts as zero.
const FLOOR: f64 = 1e-7;

/// The best match of a key point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Row of the pixel, from 0 at the top.
    pub row: usize,
    /// Column of the pixel, from 0 at the left.
    pub column: usize,
    /// Its cosine with the key point, in `[-1, 1]` but for rounding.
    pub cosine: f64,
}

/// The cosine, from the product with a unit vector and the squared length.
#[inline(always)]
fn cosine(product: f64, square: f64) -> f64 {
    if square == 0.0 {
        0.0
    } else {
        product / square.sqrt()
    }
}

/// A target image that key points are looked for in.
#[derive(Debug, Clone)]
pub struct TargetImage<'a> {
    view: &'a View,
    dim: usize,
    /// `[N, D]`.
    features: Vec<f64>,
    /// `1 / |f|` of each patch, 0 for a zero vector.
    inverse_norms: Vec<f64>,
    /// Per cell, row by row.
    grams: Vec<Gram>,
    /// Per cell: the largest `sum w_i n_i / |sum w_i f_i|` of its pixels; infinite where bounds are not
    /// trusted.
    ratios: Vec<f64>,
}

/// Buffers that [`TargetImage::best`] uses again from one key point to the next. Start with `default()`.
#[derive(Debug, Clone, Default)]
pub struct Search {
    cosines: Vec<f64>,
    bounds: Vec<f64>,
}

impl<'a> TargetImage<'a> {
    /// Prepares the embeddings of a target image.
    ///
    /// # Shapes
    ///
    /// `features`: `[N, D]`, patches row by row.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`].
    pub fn new(features: ArrayView2<'_, f32>, view: &'a View) -> Result<Self, ProbeError> {
        let (patches, dim) = features.dim();
        check("number of patch vectors", view.patches(), patches)?;
        let features: Vec<f64> = features.iter().map(|&value| f64::from(value)).collect();
        let mut target = Self {
            view,
            dim,
            features,
            inverse_norms: Vec::new(),
            grams: Vec::new(),
            ratios: Vec::new(),
        };
        rows::vectorized(
            #[inline(always)]
            || target.prepare(),
        );
        if target.grams.iter().all(|gram| gram.peak().is_finite()) {
            Ok(target)
        } else {
            Err(ProbeError::NonFinite { image: 0 })
        }
    }

    #[inline(always)]
    fn prepare(&mut self) {
        let (rows, columns) = self.view.grid();
        let patch = |at: usize| &self.features[at * self.dim..(at + 1) * self.dim];
        // Each patch with itself, its right, lower, lower right and (from its right) lower left neighbor.
        let mut own = vec![0.0; rows * columns];
        let mut neighbors = vec![[0.0_f64; 4]; rows * columns];
        for row in 0..rows {
            for column in 0..columns {
                let at = row * columns + column;
                let (right, below) = (column + 1 < columns, row + 1 < rows);
                own[at] = inner(patch(at), patch(at));
                if right {
                    neighbors[at][0] = inner(patch(at), patch(at + 1));
                }
                if below {
                    neighbors[at][1] = inner(patch(at), patch(at + columns));
                }
                if right && below {
                    neighbors[at][2] = inner(patch(at), patch(at + columns + 1));
                    neighbors[at][3] = inner(patch(at + 1), patch(at + columns));
                }
            }
        }
        // A NaN would hide in a maximum: it is made infinite, which is told.
        for square in &mut own {
            if square.is_nan() {
                *square = f64::INFINITY;
            }
        }
        let norms: Vec<f64> = own.iter().map(|square| square.sqrt()).collect();
        self.inverse_norms = norms
            .iter()
            .map(|&norm| if norm > 0.0 { 1.0 / norm } else { 0.0 })
            .collect();
        for rows in &self.view.rows.cells {
            for cols in &self.view.columns.cells {
                let a = rows.low * columns + cols.low;
                let c = rows.high * columns + cols.low;
                let b = rows.low * columns + cols.high;
                let d = rows.high * columns + cols.high;
                let across = |at: usize| {
                    if cols.high > cols.low {
                        neighbors[at][0]
                    } else {
                        own[at]
                    }
                };
                let down = |at: usize| {
                    if rows.high > rows.low {
                        neighbors[at][1]
                    } else {
                        own[at]
                    }
                };
                let (ad, bc) = match (rows.high > rows.low, cols.high > cols.low) {
                    (true, true) => (neighbors[a][2], neighbors[a][3]),
                    (true, false) => (down(a), down(a)),
                    (false, _) => (across(a), across(a)),
                };
                let gram = Gram {
                    aa: own[a],
                    bb: own[b],
                    cc: own[c],
                    dd: own[d],
                    ab: across(a),
                    cd: across(c),
                    ac: down(a),
                    bd: down(b),
                    ad,
                    bc,
                };
                self.grams.push(gram);
                let corners = [a, b, c, d].map(|at| norms[at]);
                let fractions = [
                    self.view.rows.fractions(*rows),
                    self.view.columns.fractions(*cols),
                ];
                self.ratios.push(largest_ratio(&gram, corners, fractions));
            }
        }
    }

    /// The products of key points with every patch.
    ///
    /// # Shapes
    ///
    /// `sources`: `[K, D]` unit vectors, one after the other; the result is `[K, N]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`].
    pub fn products(&self, sources: &[f64]) -> Result<Vec<f64>, ProbeError> {
        let patches = self.view.patches();
        let points = sources.len() / self.dim.max(1);
        check(
            "numbers of the key points",
            points * self.dim,
            sources.len(),
        )?;
        let mut products = vec![0.0; points * patches];
        matmul(
            MatMut::from_column_major_slice_mut(&mut products, patches, points),
            Accum::Replace,
            MatRef::from_row_major_slice(&self.features, patches, self.dim),
            MatRef::from_column_major_slice(sources, self.dim, points),
            1.0,
            Par::Seq,
        );
        Ok(products)
    }

    /// The match of one key point, from its products with the `N` patches.
    ///
    /// # Panics
    ///
    /// When there are fewer products than patches.
    #[must_use]
    pub fn best(&self, products: &[f64], search: &mut Search) -> Match {
        rows::vectorized(
            #[inline(always)]
            || self.pruned(products, search),
        )
    }

    /// As [`best`](Self::best), but looks at every pixel: the yardstick.
    #[must_use]
    pub fn best_plain(&self, products: &[f64]) -> Match {
        let mut best = Best::none();
        let columns = self.view.columns.cells.len();
        for (r, rows) in self.view.rows.cells.iter().enumerate() {
            for (c, cols) in self.view.columns.cells.iter().enumerate() {
                let place = (r * columns + c, *rows, *cols);
                for row in rows.start..rows.end {
                    self.look(place, products, row, |cosine, pixel| {
                        best.offer(cosine, pixel)
                    });
                }
            }
        }
        best.found(self.view)
    }

    /// The cosine at every pixel, `[H, W]` row by row.
    #[must_use]
    pub fn map(&self, products: &[f64]) -> Vec<f32> {
        let (height, width) = self.view.pixels();
        let mut map = vec![0.0; height * width];
        let columns = self.view.columns.cells.len();
        for (r, rows) in self.view.rows.cells.iter().enumerate() {
            for (c, cols) in self.view.columns.cells.iter().enumerate() {
                let place = (r * columns + c, *rows, *cols);
                for row in rows.start..rows.end {
                    self.look(place, products, row, |cosine, pixel| {
                        map[pixel] = cosine as f32
                    });
                }
            }
        }
        map
    }

    /// The cosine at every patch, `[N]`.
    #[must_use]
    pub fn patch_map(&self, products: &[f64]) -> Vec<f32> {
        let cosines = products.iter().zip(&self.inverse_norms);
        cosines
            .map(|(product, inverse)| (product * inverse) as f32)
            .collect()
    }

    #[inline(always)]
    fn corners(&self, products: &[f64], rows: ViewCell, cols: ViewCell) -> [f64; 4] {
        let columns = self.view.columns.patches;
        [
            products[rows.low * columns + cols.low],
            products[rows.low * columns + cols.high],
            products[rows.high * columns + cols.low],
            products[rows.high * columns + cols.high],
        ]
    }

    /// Looks at every pixel of one row of a cell (its number, its rows and its columns).
    #[inline(always)]
    fn look(
        &self,
        (cell, rows, cols): (usize, ViewCell, ViewCell),
        products: &[f64],
        row: usize,
        mut offer: impl FnMut(f64, usize),
    ) {
        let gram = &self.grams[cell];
        let u = self.view.rows.fraction[row];
        let line = LengthLine::new(gram, self.corners(products, rows, cols), u);
        let width = self.view.columns.fraction.len();
        let fragile = if self.fragile(cell) {
            FRAGILE * gram.peak()
        } else {
            f64::NEG_INFINITY
        };
        for column in cols.start..cols.end {
            let t = self.view.columns.fraction[column];
            let mut square = line.length.at(t);
            if square <= fragile {
                square = self.length(rows, cols, u, t);
            }
            let product = toward(line.left, line.right, t);
            offer(cosine(product, square), row * width + column);
        }
    }

    /// Whether a cell has pixels where only the upsampled embedding itself tells its length.
    #[inline(always)]
    fn fragile(&self, cell: usize) -> bool {
        self.ratios[cell] == f64::INFINITY
    }

    /// `|f(p)|^2` from the upsampled embedding; 0 where only rounding is left of its corners.
    fn length(&self, rows: ViewCell, cols: ViewCell, u: f64, t: f64) -> f64 {
        let columns = self.view.columns.patches;
        let patch = |row: usize, column: usize| {
            let at = row * columns + column;
            &self.features[at * self.dim..][..self.dim]
        };
        let corners = [
            patch(rows.low, cols.low),
            patch(rows.low, cols.high),
            patch(rows.high, cols.low),
            patch(rows.high, cols.high),
        ];
        let mix = |[a, b, c, d]: [f64; 4]| toward(toward(a, c, u), toward(b, d, u), t);
        let mixed: Vec<f64> = (0..self.dim)
            .map(|i| mix(corners.map(|corner| corner[i])))
            .collect();
        let square = inner(&mixed, &mixed);
        let contributed = mix(corners.map(|corner| inner(corner, corner).sqrt()));
        if square.sqrt() <= FLOOR * contributed {
            0.0
        } else {
            square
        }
    }

    #[inline(always)]
    fn pruned(&self, products: &[f64], search: &mut Search) -> Match {
        let Search { cosines, bounds } = search;
        cosines.clear();
        cosines.extend(
            products
                .iter()
                .zip(&self.inverse_norms)
                .map(|(product, inverse)| product * inverse),
        );
        bounds.clear();
        let cells = &self.view.columns.cells;
        let grid_columns = self.view.columns.patches;
        for (r, rows) in self.view.rows.cells.iter().enumerate() {
            let top = &cosines[rows.low * grid_columns..][..grid_columns];
            let bottom = &cosines[rows.high * grid_columns..][..grid_columns];
            let ratios = &self.ratios[r * cells.len()..][..cells.len()];
            for (cols, &ratio) in cells.iter().zip(ratios) {
                let left = top[cols.low].max(bottom[cols.low]);
                let right = top[cols.high].max(bottom[cols.high]);
                let largest = left.max(right);
                bounds.push(if largest > 0.0 || ratio == f64::INFINITY {
                    // Infinite times a negative number would be no bound.
                    largest.max(f64::MIN_POSITIVE) * ratio
                } else {
                    largest
                });
            }
        }
        // The most promising cell first: it lets most of the others be passed over.
        let mut first = 0;
        for (cell, &bound) in bounds.iter().enumerate() {
            if bound > bounds[first] {
                first = cell;
            }
        }
        let mut best = Best::none();
        self.search_cell(first, products, &mut best);
        for (cell, &bound) in bounds.iter().enumerate() {
            if bound + SLACK >= best.cosine && cell != first {
                self.search_cell(cell, products, &mut best);
            }
        }
        best.found(self.view)
    }

    #[inline(always)]
    fn search_cell(&self, cell: usize, products: &[f64], best: &mut Best) {
        let columns = self.view.columns.cells.len();
        let rows = self.view.rows.cells[cell / columns];
        let cols = self.view.columns.cells[cell % columns];
        let corners = self.corners(products, rows, cols);
        let fragile = self.fragile(cell);
        let fractions = self.view.columns.fractions(cols);
        for row in rows.start..rows.end {
            let line = LengthLine::new(&self.grams[cell], corners, self.view.rows.fraction[row]);
            if fragile || line.reaches(best.cosine - SLACK, fractions) {
                self.look((cell, rows, cols), products, row, |cosine, pixel| {
                    best.offer(cosine, pixel);
                });
            }
        }
    }
}

/// The best pixel so far.
#[derive(Clone, Copy)]
struct Best {
    cosine: f64,
    pixel: usize,
}

impl Best {
    fn none() -> Self {
        Self {
            cosine: f64::NEG_INFINITY,
            pixel: 0,
        }
    }

    #[inline(always)]
    fn offer(&mut self, cosine: f64, pixel: usize) {
        if cosine > self.cosine || (cosine == self.cosine && pixel < self.pixel) {
            *self = Self { cosine, pixel };
        }
    }

    fn found(self, view: &View) -> Match {
        let width = view.columns.fraction.len();
        Match {
            row: self.pixel / width,
            column: self.pixel % width,
            cosine: self.cosine,
        }
    }
}
