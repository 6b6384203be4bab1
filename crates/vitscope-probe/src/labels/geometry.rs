//! Where the pixels of an image lie between its patches, and how four patches are mixed into a pixel.

/// Pixels that are mixed at a time.
pub(super) const LANES: usize = 16;

/// Patches, pixels, and the weights of a cell's corners.
#[derive(Debug, Clone)]
pub(super) struct LabelGrid {
    pub(super) patch: usize,
    pub(super) grid: (usize, usize),
    pub(super) rows: Vec<PixelCell>,
    pub(super) cols: Vec<PixelCell>,
    /// Weights of the two corners at each pixel of an inner cell, padded to whole lanes.
    inner: (Vec<f32>, Vec<f32>),
    /// The same for a cell along the edge, where the two corners coincide.
    edge: (Vec<f32>, Vec<f32>),
}

/// One cell along one axis: the two patches it lies between and its pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct PixelCell {
    pub(super) low: usize,
    pub(super) high: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl LabelGrid {
    pub(super) fn new(grid: (usize, usize), patch: usize) -> Self {
        let padded = patch.next_multiple_of(LANES);
        let mut inner = (vec![0.0; padded], vec![0.0; padded]);
        for phase in 0..patch {
            // An odd patch has a pixel at its very center; an even one has its center between two.
            let twice = 2 * phase + 1 - patch % 2;
            let weight = twice as f64 / (2 * patch) as f64;
            inner.0[phase] = (1.0 - weight) as f32;
            inner.1[phase] = weight as f32;
        }
        let edge = (vec![1.0; padded], vec![0.0; padded]);
        Self {
            patch,
            grid,
            rows: cells(grid.0, patch),
            cols: cells(grid.1, patch),
            inner,
            edge,
        }
    }

    pub(super) fn weights(&self, cell: PixelCell) -> (&[f32], &[f32]) {
        let (first, second) = if cell.low == cell.high {
            &self.edge
        } else {
            &self.inner
        };
        (first, second)
    }

    pub(super) fn patches(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    pub(super) fn pixels(&self) -> usize {
        self.patches() * self.patch * self.patch
    }
}

/// The `n + 1` cells of an axis of `n` patches.
fn cells(n: usize, patch: usize) -> Vec<PixelCell> {
    let start = |cell: usize| {
        if cell == 0 {
            0
        } else {
            patch * (cell - 1) + patch / 2
        }
    };
    (0..=n)
        .map(|cell| PixelCell {
            low: cell.saturating_sub(1),
            high: cell.min(n - 1),
            start: start(cell),
            end: if cell == n {
                n * patch
            } else {
                start(cell + 1)
            },
        })
        .collect()
}

/// One mix of two numbers: the arithmetic that every label goes through.
#[inline(always)]
pub(super) fn mix(weight0: f32, value0: f32, weight1: f32, value1: f32) -> f32 {
    weight0 * value0 + weight1 * value1
}

/// The two patches that a pixel lies between along one axis, and their weights: the pixel's center is
/// at `(2 p + 1 - P) / (2 P)` in units of patches.
pub(crate) fn source(pixel: usize, n: usize, patch: usize) -> (usize, usize, f32, f32) {
    let twice = 2 * pixel + 1;
    if twice < patch {
        return (0, 0, 1.0, 0.0);
    }
    let low = (twice - patch) / (2 * patch);
    if low >= n - 1 {
        return (n - 1, n - 1, 1.0, 0.0);
    }
    let weight = ((twice - patch) % (2 * patch)) as f64 / (2 * patch) as f64;
    (low, low + 1, (1.0 - weight) as f32, weight as f32)
}
