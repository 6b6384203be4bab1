//! Whether masks lie on their images: small copies of both, and how well they fit as they are, turned,
//! and with the neighbor's mask.

use crate::labels::ClassMap;
use crate::resize::RgbImage;

/// Side of the copies. The fit of photographs' masks hardly changes from 64 to 128.
const SIDE: usize = 64;

/// Pairs of neighbors that are compared, so that memory stays bounded.
const COUPLES: usize = 32;

/// A small copy of an image's brightness and of its mask, `[SIDE, SIDE]` each, both stretched to a
/// square.
#[derive(Debug)]
pub(crate) struct Thumb {
    light: Vec<i32>,
    labels: Vec<u8>,
}

/// The other places of a mask that its own is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the image before its own.
    Earlier,
    /// On the image after its own.
    Later,
    /// Its rows in the other order.
    UpsideDown,
    /// Its columns in the other order.
    Mirrored,
    /// Turned by half a circle.
    HalfTurned,
    /// Rows as columns.
    Transposed,
    /// Turned by a quarter, either way.
    QuarterTurned,
}

/// Every other place of a mask; the last one stands for both ways.
const PLACES: [Place; 8] = [
    Place::Earlier,
    Place::Later,
    Place::UpsideDown,
    Place::Mirrored,
    Place::HalfTurned,
    Place::Transposed,
    Place::QuarterTurned,
    Place::QuarterTurned,
];

/// How well masks fit, over neighboring pairs of image and mask.
#[derive(Debug, Default)]
pub(crate) struct Alignment {
    waiting: Option<Thumb>,
    couples: usize,
    /// Per place, the fit of a mask in its own place and there.
    fits: [Vec<(f64, f64)>; PLACES.len()],
}

/// The mean fit of masks in two places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compared {
    /// As they are.
    pub own: f64,
    /// In the other place.
    pub other: f64,
    /// The mean of the differences in standard errors.
    pub errors: f64,
    /// Masks compared.
    pub count: usize,
}

impl Thumb {
    pub(crate) fn of(image: &RgbImage, map: &ClassMap) -> Self {
        let (width, height) = (image.width(), image.height());
        let bounds = |length: usize, at: usize| {
            let first = at * length / SIDE;
            (first, ((at + 1) * length / SIDE).clamp(first + 1, length))
        };
        let pixels = image.pixels();
        let mut light = Vec::with_capacity(SIDE * SIDE);
        let mut labels = Vec::with_capacity(SIDE * SIDE);
        let center = |length: usize, at: usize| (2 * at + 1) * length / (2 * SIDE);
        for row in 0..SIDE {
            let (top, bottom) = bounds(height, row);
            let line = &map.classes[center(map.height, row) * map.width..][..map.width];
            for column in 0..SIDE {
                let (left, right) = bounds(width, column);
                let mut sum = 0u64;
                for y in top..bottom {
                    let values = &pixels[3 * (y * width + left)..3 * (y * width + right)];
                    sum += values.iter().map(|&value| u64::from(value)).sum::<u64>();
                }
                let count = ((bottom - top) * (right - left)) as u64;
                // At most 4 * 765, so that a quarter of a step of brightness is kept.
                light.push((4 * sum / count) as i32);
                labels.push(line[center(map.width, column)]);
            }
        }
        Self { light, labels }
    }

    /// The fit of this image to labels read in another order.
    fn fit(&self, labels: &[u8], from: impl Fn(usize, usize) -> (usize, usize)) -> Option<f64> {
        let turned: Vec<u8> = (0..SIDE * SIDE)
            .map(|at| {
                let (row, column) = from(at / SIDE, at % SIDE);
                labels[row * SIDE + column]
            })
            .collect();
        contrast(&self.light, &turned, SIDE)
    }
}

impl Alignment {
    /// Adds the next image of a list and its mask. Every second one is compared with the one before.
    pub(crate) fn add(&mut self, thumb: Thumb) {
        if self.couples >= COUPLES {
            return;
        }
        let Some(first) = self.waiting.take() else {
            self.waiting = Some(thumb);
            return;
        };
        self.couples += 1;
        let last = SIDE - 1;
        let mut compare = |image: &Thumb, other: &Thumb, neighbor: usize| {
            let labels = &image.labels;
            let Some(own) = contrast(&image.light, labels, SIDE) else {
                return;
            };
            let fits = [
                (neighbor, image.fit(&other.labels, |y, x| (y, x))),
                (2, image.fit(labels, |y, x| (last - y, x))),
                (3, image.fit(labels, |y, x| (y, last - x))),
                (4, image.fit(labels, |y, x| (last - y, last - x))),
                (5, image.fit(labels, |y, x| (x, y))),
                (6, image.fit(labels, |y, x| (x, last - y))),
                (7, image.fit(labels, |y, x| (last - x, y))),
            ];
            for (place, fit) in fits {
                if let Some(fit) = fit {
                    self.fits[place].push((own, fit));
                }
            }
        };
        // The mask after an image's own would lie earlier than it does.
        compare(&first, &thumb, 0);
        compare(&thumb, &first, 1);
    }

    /// How masks fit in every other place, for places of which enough masks tell.
    pub(crate) fn compared(&self) -> Vec<(Place, Compared)> {
        PLACES
            .iter()
            .zip(&self.fits)
            .filter_map(|(&place, fits)| Some((place, Compared::of(fits)?)))
            .collect()
    }

    /// How they fit as they are, and on their neighbors' images.
    pub(crate) fn neighbors(&self) -> Option<Compared> {
        let both: Vec<(f64, f64)> = self.fits[..2].iter().flatten().copied().collect();
        Compared::of(&both)
    }
}

impl Compared {
    fn of(fits: &[(f64, f64)]) -> Option<Self> {
        let count = fits.len();
        if count < 2 {
            return None;
        }
        let n = count as f64;
        let mean = |value: &dyn Fn(&(f64, f64)) -> f64| fits.iter().map(value).sum::<f64>() / n;
        let (own, other) = (mean(&|fit| fit.0), mean(&|fit| fit.1));
        let gain = other - own;
        let squares: f64 = fits.iter().map(|fit| (fit.1 - fit.0 - gain).powi(2)).sum();
        let error = (squares / (n - 1.0) / n).sqrt();
        Some(Self {
            own,
            other,
            errors: if gain == 0.0 { 0.0 } else { gain / error },
            count,
        })
    }
}

/// The mean difference of brightness across the borders of a mask, in that of all neighbors; none
/// without borders or differences. About 1 for a mask of another image, 2 to 3 for masks of photographs.
pub(crate) fn contrast(light: &[i32], labels: &[u8], width: usize) -> Option<f64> {
    let (mut across, mut borders, mut all, mut pairs) = (0u64, 0u64, 0u64, 0u64);
    let mut pair = |a: usize, b: usize| {
        let difference = u64::from(light[a].abs_diff(light[b]));
        all += difference;
        pairs += 1;
        if labels[a] != labels[b] {
            across += difference;
            borders += 1;
        }
    };
    for at in 0..labels.len() {
        if at % width + 1 < width {
            pair(at, at + 1);
        }
        if at + width < labels.len() {
            pair(at, at + width);
        }
    }
    (borders > 0 && all > 0).then(|| across as f64 / borders as f64 / (all as f64 / pairs as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_mean_of_its_boxes_and_the_label_at_its_center() {
        let (width, height) = (2 * SIDE, 3 * SIDE);
        let value = |x: usize, y: usize| ((x * 7 + y * 13) % 256) as u8;
        let pixels = (0..width * height).flat_map(|at| [value(at % width, at / width); 3]);
        let image = RgbImage::new(width, height, pixels.collect()).unwrap();
        let map = ClassMap {
            width,
            height,
            classes: (0..width * height)
                .map(|at| value(at % width, at / width))
                .collect(),
            unknown: std::collections::BTreeMap::new(),
        };
        let thumb = Thumb::of(&image, &map);
        let (row, column) = (5, 9);
        let mut sum = 0;
        for y in 3 * row..3 * row + 3 {
            for x in 2 * column..2 * column + 2 {
                sum += 3 * i32::from(value(x, y));
            }
        }
        assert_eq!(thumb.light[row * SIDE + column], 4 * sum / 6);
        assert_eq!(
            thumb.labels[row * SIDE + column],
            value(2 * column + 1, 3 * row + 1)
        );
    }

    #[test]
    fn the_mean_and_its_error_are_those_of_the_differences() {
        let compared = Compared::of(&[(1.0, 2.0), (1.0, 3.0), (2.0, 3.0), (2.0, 6.0)]).unwrap();
        // Differences 1, 2, 1, 4: mean 2, variance 2, standard error 0.7071.
        assert_eq!((compared.own, compared.other), (1.5, 3.5));
        assert!((compared.errors - 2.0 / 0.5f64.sqrt()).abs() < 1e-12);
        assert!(Compared::of(&[(1.0, 2.0)]).is_none());
    }
}
