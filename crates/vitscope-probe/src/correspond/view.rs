//! How the pixels of an image lie over its grid of patches.

use ndarray::ArrayView2;

use super::lengths::{inner, toward};
use crate::ProbeError;
use crate::error::check;

/// How the pixels of an image lie over its grid of patches.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub(super) rows: ViewAxis,
    pub(super) columns: ViewAxis,
}

/// One axis of a [`View`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ViewAxis {
    /// Patches.
    pub(super) patches: usize,
    /// Neighboring pairs of patches with the pixels between them, in order.
    pub(super) cells: Vec<ViewCell>,
    /// Of every pixel: how far it lies from its cell's first patch to the second, in `[0, 1)`.
    pub(super) fraction: Vec<f64>,
}

/// Two neighboring patches along an axis (at the edge one and the same), and the pixels between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ViewCell {
    pub(super) low: usize,
    pub(super) high: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl ViewAxis {
    /// `pixels` of the original fill `scaled` pixels of the network's input from `offset` on, which has
    /// `patches` patches of `patch` pixels. Pixel `x` lies at
    /// `((x + 1/2) scaled / pixels + offset) / patch - 1/2` in units of patches.
    fn new(pixels: usize, scaled: usize, offset: usize, patch: usize, patches: usize) -> Self {
        // The place is kept as a fraction of integers, so that its cell is exact.
        let denominator = 2 * pixels as i128 * patch as i128;
        let mut cells: Vec<ViewCell> = Vec::new();
        let mut fraction = Vec::with_capacity(pixels);
        for pixel in 0..pixels {
            let numerator = (2 * pixel as i128 + 1) * scaled as i128
                + pixels as i128 * (2 * offset as i128 - patch as i128);
            let place = numerator.max(0);
            let low = ((place / denominator) as usize).min(patches - 1);
            let inside = numerator > 0 && low + 1 < patches;
            // Clamped pixels lie on the outermost patch: a cell whose two patches coincide.
            let high = if inside { low + 1 } else { low };
            fraction.push(if inside {
                (place % denominator) as f64 / denominator as f64
            } else {
                0.0
            });
            match cells.last_mut() {
                Some(cell) if (cell.low, cell.high) == (low, high) => cell.end = pixel + 1,
                _ => cells.push(ViewCell {
                    low,
                    high,
                    start: pixel,
                    end: pixel + 1,
                }),
            }
        }
        Self {
            patches,
            cells,
            fraction,
        }
    }

    /// The fractions of a cell's pixels.
    #[inline(always)]
    pub(super) fn fractions(&self, cell: ViewCell) -> &[f64] {
        &self.fraction[cell.start..cell.end]
    }

    /// The two patches that a pixel lies between, and how far it is on its way to the second.
    fn place(&self, pixel: usize) -> (usize, usize, f64) {
        let cell = self
            .cells
            .partition_point(|cell| cell.end <= pixel)
            .min(self.cells.len() - 1);
        let ViewCell { low, high, .. } = self.cells[cell];
        (low, high, self.fraction[pixel])
    }
}

impl View {
    /// An image of `pixels` (height, width) stretched over the whole of its `grid` (rows, columns).
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] if a size is zero.
    pub fn stretched(pixels: (usize, usize), grid: (usize, usize)) -> Result<Self, ProbeError> {
        Self::placed(pixels, grid, 1, grid, (0, 0))
    }

    /// An image of `pixels` (height, width) that was resized to `scaled` (height, width) and put at
    /// `offset` (top, left) into an input of `grid` patches of `patch x patch` pixels.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] if a size is zero.
    pub fn placed(
        pixels: (usize, usize),
        grid: (usize, usize),
        patch: usize,
        scaled: (usize, usize),
        offset: (usize, usize),
    ) -> Result<Self, ProbeError> {
        for (what, size) in [
            ("height of the image", pixels.0),
            ("width of the image", pixels.1),
            ("rows of patches", grid.0),
            ("columns of patches", grid.1),
            ("pixels along a patch", patch),
            ("height of the resized image", scaled.0),
            ("width of the resized image", scaled.1),
        ] {
            if size == 0 {
                return Err(ProbeError::Shape {
                    what,
                    expected: 1,
                    got: 0,
                });
            }
        }
        Ok(Self {
            rows: ViewAxis::new(pixels.0, scaled.0, offset.0, patch, grid.0),
            columns: ViewAxis::new(pixels.1, scaled.1, offset.1, patch, grid.1),
        })
    }

    /// Height and width of the image in pixels.
    #[must_use]
    pub fn pixels(&self) -> (usize, usize) {
        (self.rows.fraction.len(), self.columns.fraction.len())
    }

    /// Rows and columns of patches.
    #[must_use]
    pub fn grid(&self) -> (usize, usize) {
        (self.rows.patches, self.columns.patches)
    }

    pub(super) fn patches(&self) -> usize {
        self.rows.patches * self.columns.patches
    }

    /// The four patches around a pixel, `a b` over `c d`, and how far it lies down from the upper ones and right of
    /// the left ones. A pixel outside the image is moved to its edge.
    pub(crate) fn around(&self, row: usize, column: usize) -> ([usize; 4], [f64; 2]) {
        let (height, width) = self.pixels();
        let (top, bottom, down) = self.rows.place(row.min(height - 1));
        let (left, right, across) = self.columns.place(column.min(width - 1));
        let patch = |row: usize, column: usize| row * self.columns.patches + column;
        let patches = [
            patch(top, left),
            patch(top, right),
            patch(bottom, left),
            patch(bottom, right),
        ];
        (patches, [down, across])
    }

    /// Rows and columns as a card takes them.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] if an image is longer than 65,535 pixels.
    #[cfg(feature = "cuda")]
    pub(crate) fn axes(&self) -> Result<[vitscope_cuda::AxisCells; 2], ProbeError> {
        let (height, width) = self.pixels();
        let most = usize::from(u16::MAX);
        if height.max(width) > most {
            return Err(ProbeError::Shape {
                what: "pixels along an image, at most",
                expected: most,
                got: height.max(width),
            });
        }
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(
            [&self.rows, &self.columns].map(|axis| vitscope_cuda::AxisCells {
                cells: axis
                    .cells
                    .iter()
                    .map(|cell| [cell.low, cell.high, cell.start, cell.end].map(narrow))
                    .collect(),
                shares: axis.fraction.clone(),
            }),
        )
    }

    /// The embedding at a pixel, as a unit vector in f64; all zeros where it is zero. A pixel outside the
    /// image is moved to its edge.
    ///
    /// # Shapes
    ///
    /// `features`: `[N, D]`, patches row by row; the result has `D` numbers.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`]; [`ProbeError::NonFinite`].
    pub fn sample(
        &self,
        features: ArrayView2<'_, f32>,
        row: usize,
        column: usize,
    ) -> Result<Vec<f64>, ProbeError> {
        check("number of patch vectors", self.patches(), features.nrows())?;
        let (patches, [u, t]) = self.around(row, column);
        let corners = patches.map(|patch| features.row(patch));
        let mut mixed: Vec<f64> = (0..features.ncols())
            .map(|d| {
                let [a, b, c, d] = corners.map(|corner| f64::from(corner[d]));
                toward(toward(a, c, u), toward(b, d, u), t)
            })
            .collect();
        let norm = inner(&mixed, &mixed).sqrt();
        if !norm.is_finite() {
            return Err(ProbeError::NonFinite { image: 0 });
        }
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        for value in &mut mixed {
            *value *= scale;
        }
        Ok(mixed)
    }
}
