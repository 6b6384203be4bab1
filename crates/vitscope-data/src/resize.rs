//! Pillow's bilinear resize of 8-bit RGB, bit for bit (docs/protocol.md section 1).
//!
//! Pillow resizes 8-bit data in two passes with 22-bit fixed-point weights, and rounds and clips to
//! 8 bits between the passes. Doing it in float, or with the passes swapped, changes a tenth to a
//! quarter of all values by one. The weights and their bounds below follow Pillow's rules step by
//! step in double precision; every output pixel depends on its own weights only, so the passes
//! compute just the rows and columns that a crop keeps.
//!
//! Which pass comes first depends on Pillow's version: always the horizontal one until 12, and from
//! 13.0.0 the vertical one where the height loses more than twice what the width loses. This is
//! 13.0.0's rule. Where proportions are kept, as in [`Geometry`](crate::Geometry), only images more
//! than about twice as tall as wide come out differently, by at most one.

use crate::geometry::Placement;

pub use crate::rgb_image::RgbImage;

/// Bits after the binary point of a weight: 32 less 8 for the value and 2 for headroom.
const WEIGHT_BITS: u32 = 32 - 8 - 2;

/// Half a unit in the last place of the result, so that the final shift rounds.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// Resizes an image as Pillow's `Image.resize((width, height), BILINEAR)` does, antialiasing
/// included. A side of 0 counts as 1.
///
/// ```
/// use vitscope_data::resize::{RgbImage, pil_resize};
/// let ramp = RgbImage::new(4, 1, vec![0, 0, 0, 10, 10, 10, 20, 20, 20, 250, 250, 250]).unwrap();
/// // Image.fromarray(a).resize((2, 1), Image.BILINEAR), Pillow 13.0.0
/// assert_eq!(pil_resize(&ramp, 2, 1).pixels(), [7, 7, 7, 117, 117, 117]);
/// ```
#[must_use]
pub fn pil_resize(source: &RgbImage, width: usize, height: usize) -> RgbImage {
    let (width, height) = (width.max(1), height.max(1));
    let whole = Placement {
        width,
        height,
        left: 0,
        top: 0,
    };
    RgbImage {
        width,
        height,
        pixels: resize_window(source, &whole, width, height),
    }
}

/// The window of `width` x `height` pixels at `place`'s offset in the image resized to `place`'s
/// size. The window must lie inside the resized image.
pub(crate) fn resize_window(
    source: &RgbImage,
    place: &Placement,
    width: usize,
    height: usize,
) -> Vec<u8> {
    let columns = PassWeights::new(source.width, place.width, place.left, width);
    let rows = PassWeights::new(source.height, place.height, place.top, height);
    // The first pass works only on what the second one reads.
    if vertical_first(source, place) {
        let (first, count) = columns.span();
        let shortened = vertical(&source.pixels, source.width, first, count, &rows, 0);
        horizontal(&shortened, count, 0, height, &columns, first)
    } else {
        let (first, count) = rows.span();
        let narrowed = horizontal(&source.pixels, source.width, first, count, &columns, 0);
        vertical(&narrowed, width, 0, width, &rows, first)
    }
}

/// Pillow 13's choice of the first pass.
fn vertical_first(source: &RgbImage, place: &Placement) -> bool {
    let lost = |before: usize, after: usize| before as i64 - after as i64;
    let lost_height = lost(source.height, place.height);
    lost_height > 0 && lost_height > 2 * lost(source.width, place.width)
}

/// Brings the rows `first_row..first_row + row_count` of an image of `width` columns to the
/// window's columns. The image's first column is column `base` of the source.
fn horizontal(
    pixels: &[u8],
    width: usize,
    first_row: usize,
    row_count: usize,
    columns: &PassWeights,
    base: usize,
) -> Vec<u8> {
    let stride = width * 3;
    let lines = pixels[first_row * stride..]
        .chunks_exact(stride)
        .take(row_count);
    let mut output = Vec::with_capacity(row_count * columns.count * 3);
    if columns.identity {
        let first = (columns.span().0 - base) * 3;
        for line in lines {
            output.extend_from_slice(&line[first..first + columns.count * 3]);
        }
        return output;
    }
    for line in lines {
        for column in 0..columns.count {
            let (first, weights) = columns.of(column);
            let pixels = line[(first - base) * 3..].chunks_exact(3);
            let mut sums = [HALF; 3];
            for (&weight, pixel) in weights.iter().zip(pixels) {
                sums[0] += i32::from(pixel[0]) * weight;
                sums[1] += i32::from(pixel[1]) * weight;
                sums[2] += i32::from(pixel[2]) * weight;
            }
            output.extend_from_slice(&sums.map(clip));
        }
    }
    output
}

/// Brings the columns `first_column..first_column + column_count` of an image of `width` columns to
/// the window's rows. The image's first row is row `base` of the source.
fn vertical(
    pixels: &[u8],
    width: usize,
    first_column: usize,
    column_count: usize,
    rows: &PassWeights,
    base: usize,
) -> Vec<u8> {
    let span = column_count * 3;
    let line = |row: usize| {
        let start = ((row - base) * width + first_column) * 3;
        &pixels[start..start + span]
    };
    let mut output = Vec::with_capacity(span * rows.count);
    let mut sums = vec![0i32; span];
    for row in 0..rows.count {
        let (first, weights) = rows.of(row);
        if rows.identity {
            output.extend_from_slice(line(first));
            continue;
        }
        sums.fill(HALF);
        for (tap, &weight) in weights.iter().enumerate() {
            for (sum, &value) in sums.iter_mut().zip(line(first + tap)) {
                *sum += i32::from(value) * weight;
            }
        }
        output.extend(sums.iter().map(|&sum| clip(sum)));
    }
    output
}

/// A fixed-point sum as an 8-bit value.
fn clip(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// The weights of one pass for the output positions of a window.
struct PassWeights {
    /// How many output positions there are.
    count: usize,
    /// First source position of each.
    first: Vec<usize>,
    /// How many source positions each reads.
    taps: Vec<usize>,
    /// The weights, `stride` to an output position.
    fixed: Vec<i32>,
    stride: usize,
    /// Whether the pass changes nothing, so that copying does.
    identity: bool,
}

impl PassWeights {
    /// Pillow's weights for resizing `source` positions to `resized`, for the outputs
    /// `start..start + count`.
    fn new(source: usize, resized: usize, start: usize, count: usize) -> Self {
        if source == resized {
            // Pillow leaves the pass out; its weights would be exactly one.
            return Self {
                count,
                first: (start..start + count).collect(),
                taps: vec![1; count],
                fixed: vec![1 << WEIGHT_BITS; count],
                stride: 1,
                identity: true,
            };
        }
        let scale = source as f64 / resized as f64;
        let filter_scale = scale.max(1.0);
        // The triangle's half width is one, widened when shrinking: that is the antialiasing.
        let support = filter_scale;
        let stride = support.ceil() as usize * 2 + 1;
        let per_step = 1.0 / filter_scale;
        let mut weights = Self {
            count,
            first: Vec::with_capacity(count),
            taps: Vec::with_capacity(count),
            fixed: vec![0; stride * count],
            stride,
            identity: false,
        };
        let mut exact = vec![0.0f64; stride];
        for (index, fixed) in weights.fixed.chunks_exact_mut(stride).enumerate() {
            let center = ((start + index) as f64 + 0.5) * scale;
            // Casts to integers truncate toward zero as C's do; below zero they stop at zero,
            // which is where Pillow puts them next.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            let taps = end.saturating_sub(first);
            let mut total = 0.0;
            for (tap, weight) in exact[..taps].iter_mut().enumerate() {
                let distance = ((tap + first) as f64 - center + 0.5) * per_step;
                *weight = (1.0 - distance.abs()).max(0.0);
                total += *weight;
            }
            for (fixed, weight) in fixed.iter_mut().zip(&mut exact[..taps]) {
                if total != 0.0 {
                    *weight /= total;
                }
                *fixed = (0.5 + *weight * f64::from(1u32 << WEIGHT_BITS)) as i32;
            }
            weights.first.push(first);
            weights.taps.push(taps);
        }
        weights
    }

    /// First source position and weights of one output position.
    fn of(&self, index: usize) -> (usize, &[i32]) {
        let start = index * self.stride;
        (
            self.first[index],
            &self.fixed[start..start + self.taps[index]],
        )
    }

    /// First source position that any output reads, and how many from there.
    fn span(&self) -> (usize, usize) {
        let first = self.first.first().copied().unwrap_or(0);
        let last = self.count.saturating_sub(1);
        let end = self
            .first
            .get(last)
            .zip(self.taps.get(last))
            .map_or(first, |(f, t)| f + t);
        (first, end - first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Geometry;

    fn picture(width: usize, height: usize, seed: usize) -> RgbImage {
        let value = |index: usize| (index.wrapping_mul(seed * 2 + 1) >> 3 ^ index >> 5) as u8;
        let pixels = (0..width * height * 3).map(value).collect();
        RgbImage::new(width, height, pixels).unwrap()
    }

    proptest! {
        #[test]
        fn a_window_is_cut_from_the_whole(
            width in 1usize..90, height in 1usize..90, size in 1usize..70, seed in 0usize..1000,
        ) {
            let source = picture(width, height, seed);
            let place = Geometry { size }.place(width, height);
            let whole = pil_resize(&source, place.width, place.height);
            let window = resize_window(&source, &place, size, size);
            let cut: Vec<u8> = whole
                .pixels()
                .chunks_exact(place.width * 3)
                .skip(place.top)
                .take(size)
                .flat_map(|line| &line[place.left * 3..(place.left + size) * 3])
                .copied()
                .collect();
            prop_assert_eq!(window, cut);
        }

        #[test]
        fn one_color_stays_itself(
            width in 1usize..60, height in 1usize..60, new_width in 1usize..60, new_height in 1usize..60,
            color: [u8; 3],
        ) {
            let source = RgbImage::new(width, height, color.repeat(width * height)).unwrap();
            let resized = pil_resize(&source, new_width, new_height);
            prop_assert_eq!(resized.into_pixels(), color.repeat(new_width * new_height));
        }
    }

    #[test]
    fn images_of_the_wrong_length_are_refused() {
        assert!(RgbImage::new(2, 2, vec![0; 11]).is_none());
        assert!(RgbImage::new(0, 2, Vec::new()).is_none());
        assert!(RgbImage::new(usize::MAX, 2, Vec::new()).is_none());
    }
}
