//! Whether two files show one picture, saved again with other compression or at another size: by the mean gray
//! values of a few cells, and by the detail inside them.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use crate::decode;
use crate::rgb_image::RgbImage;

/// Cells of a miniature, and of the finer one that detail is taken from, along each side.
const CELLS: usize = 16;
const FINE: usize = 4 * CELLS;

/// Levels of 255 by which a cell of one picture may differ between two files. JPEGs of quality 50 and more, and halves
/// of photographs, differ by at most 4 (CamVid and COCO; quality 30 by 5); frames of CamVid of a car that stands still, a
/// second apart, by at least 12 in some cell.
const MOST: u8 = 4;

/// The correlation of detail in two files of one picture, at the least. Files that were saved again have 0.92 to 1
/// (down to a quarter of the size), things that are lined up alike before one camera have their own.
const LEAST: f64 = 0.9;

/// Detail, in levels of 255 (root of the mean square), below which there is none to compare. Photographs have 7 and more.
const FAINT: f64 = 2.0;

/// The mean gray values of an image's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Miniature([u8; CELLS * CELLS]);

impl Miniature {
    /// That of an upright image, stretched to a square.
    pub(crate) fn of(image: &RgbImage) -> Self {
        let cells = cell_means(image, CELLS);
        Self(std::array::from_fn(|at| cells[at].round() as u8))
    }

    fn is_near(&self, other: &Self) -> bool {
        let mut both = self.0.iter().zip(&other.0);
        both.all(|(a, b)| a.abs_diff(*b) <= MOST)
    }
}

/// For each of `tested`, the first of `fitted` that shows the same picture. Both are files with their miniatures;
/// only those whose miniatures are near are opened.
pub(crate) fn same_pictures<'a>(
    tested: &[&(&'a Path, Miniature)],
    fitted: &[(&'a Path, Miniature)],
) -> Vec<Option<&'a Path>> {
    let find = |(path, own): &&(&'a Path, Miniature)| {
        let mut near = fitted.iter().filter(|(_, other)| own.is_near(other));
        // Most have none, so that nothing is opened for them.
        let first = near.next()?;
        let detail = Detail::of(path)?;
        let mut near = std::iter::once(first).chain(near);
        near.find(|(other, _)| Detail::of(other).is_some_and(|other| detail.is_like(&other)))
            .map(|(other, _)| *other)
    };
    tested.par_iter().map(find).collect()
}

/// What the cells of a miniature hold beyond a plane: light that falls off over the field is that of the camera.
struct Detail(Vec<f64>);

impl Detail {
    /// That of a file; none where it cannot be read, or where there is hardly any.
    fn of(path: &Path) -> Option<Self> {
        let read = || RgbImage::open(path);
        let mut detail = cell_means(&decode::guarded(path, read).ok()?, FINE);
        let side = FINE / CELLS;
        for row in (0..FINE).step_by(side) {
            for column in (0..FINE).step_by(side) {
                let cell = |at: usize| (row + at / side) * FINE + column + at % side;
                // Orthogonal over the cell, so that each is taken out by itself.
                let middle = (side - 1) as f64 / 2.0;
                let level = |_: usize| 1.0;
                let across = |at: usize| (at % side) as f64 - middle;
                let down = |at: usize| (at / side) as f64 - middle;
                for part in [&level as &dyn Fn(usize) -> f64, &across, &down] {
                    let product: f64 = (0..side * side).map(|at| detail[cell(at)] * part(at)).sum();
                    let square: f64 = (0..side * side).map(|at| part(at) * part(at)).sum();
                    (0..side * side).for_each(|at| detail[cell(at)] -= product / square * part(at));
                }
            }
        }
        let squares: f64 = detail.iter().map(|value| value * value).sum();
        (squares >= FAINT * FAINT * detail.len() as f64).then_some(Self(detail))
    }

    fn is_like(&self, other: &Self) -> bool {
        let product = |a: &Self, b: &Self| -> f64 {
            let both = a.0.iter().zip(&b.0);
            both.map(|(a, b)| a * b).sum()
        };
        product(self, other) >= LEAST * (product(self, self) * product(other, other)).sqrt()
    }
}

/// The mean gray value of each of `side` by `side` cells, 0 to 255. A pixel that a border cuts counts in both cells by its
/// share in each, so that the same picture at another size has the same means.
fn cell_means(image: &RgbImage, side: usize) -> Vec<f64> {
    let (width, height) = (image.width(), image.height());
    let across: Vec<Range<usize>> = (0..side).map(|cell| reach(cell, side, width)).collect();
    let mut sums = vec![0u64; side * side];
    let mut line = vec![0u64; side];
    for (row, pixels) in image.pixels().chunks_exact(3 * width).enumerate() {
        for ((column, value), reach) in line.iter_mut().enumerate().zip(&across) {
            let pixels = pixels[3 * reach.start..3 * reach.end].chunks_exact(3);
            let shared = reach.clone().zip(pixels).map(|(at, pixel)| {
                // Rec. 601, as pictures are made gray.
                let light: u64 = pixel
                    .iter()
                    .zip([299, 587, 114])
                    .map(|(&value, weight)| weight * u64::from(value))
                    .sum();
                share(at, column, width, side) * light
            });
            *value = shared.sum();
        }
        for cell in reach(row, height, side) {
            let share = share(row, cell, height, side);
            for (sum, value) in sums[cell * side..][..side].iter_mut().zip(&line) {
                *sum += share * value;
            }
        }
    }
    // A cell is as large as the image in units of 1 / side of a pixel.
    let whole = (1000 * width * height) as f64;
    sums.into_iter().map(|sum| sum as f64 / whole).collect()
}

/// Of `others` equal parts of a length, those that part `at` of `parts` equal ones of it touches: the cells of a pixel,
/// and the pixels of a cell.
fn reach(at: usize, parts: usize, others: usize) -> Range<usize> {
    at * others / parts..((at + 1) * others).div_ceil(parts)
}

/// How much of pixel `at` of `length` lies in a cell of `side`, in units of `1 / side` of a pixel.
fn share(at: usize, cell: usize, length: usize, side: usize) -> u64 {
    let from = (at * side).max(cell * length);
    let to = ((at + 1) * side).min((cell + 1) * length);
    to.saturating_sub(from) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_means_of_their_pixels() {
        // Columns 0, 10, 20, ... of 7 by 5 pixels: cut by hand into 2 by 2 cells of 3.5 by 2.5 pixels.
        let pixels = (0..7 * 5).flat_map(|at| [(at % 7 * 10) as u8; 3]).collect();
        let image = RgbImage::new(7, 5, pixels).unwrap();
        let (left, right) = (
            (10.0 + 20.0 + 15.0) / 3.5,
            (15.0 + 40.0 + 50.0 + 60.0) / 3.5,
        );
        for (found, wanted) in cell_means(&image, 2)
            .into_iter()
            .zip([left, right, left, right])
        {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
        // More cells than pixels, and cells of whole pixels.
        let image = RgbImage::new(1, 1, vec![10, 20, 60]).unwrap();
        assert_eq!(cell_means(&image, 16), [21.57; 256]);
        let image = RgbImage::new(2, 1, vec![0, 0, 0, 90, 90, 90]).unwrap();
        assert_eq!(cell_means(&image, 2), [0.0, 90.0, 0.0, 90.0]);
    }

    /// Every pixel falls apart into cells without a rest, whichever of them is the larger.
    #[test]
    fn pixels_and_cells_share_all_of_each_other() {
        for (length, side) in [(1, 16), (7, 16), (16, 16), (17, 16), (1000, 64), (1, 1)] {
            let whole = |at: usize| -> u64 {
                let cells = reach(at, length, side);
                cells.map(|cell| share(at, cell, length, side)).sum()
            };
            assert!((0..length).all(|at| whole(at) == side as u64), "{length}");
            let pixels = |cell: usize| -> u64 {
                let pixels = reach(cell, side, length);
                pixels.map(|at| share(at, cell, length, side)).sum()
            };
            assert!(
                (0..side).all(|cell| pixels(cell) == length as u64),
                "{length}"
            );
        }
    }

    #[test]
    fn miniatures_are_near_up_to_some_levels() {
        let of = |value: u8| Miniature([value; CELLS * CELLS]);
        assert!(of(100).is_near(&of(104)) && of(104).is_near(&of(100)));
        assert!(!of(100).is_near(&of(105)));
        let mut one = of(100);
        one.0[77] = 105;
        assert!(!of(100).is_near(&one));
    }
}
