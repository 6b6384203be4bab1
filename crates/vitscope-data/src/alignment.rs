//! Whether masks lie on their images: small copies of both, and how well they fit as they are, turned,
//! and with the neighbor's mask.

use crate::class_map::ClassMap;
use crate::rgb_image::RgbImage;

/// Side of the copies. The fit of photographs' masks hardly changes from 64 to 128.
const SIDE: usize = 64;

/// What is around a border: pairs of neighbors up to so many pixels away. Borders that lie elsewhere in a
/// place of much texture then fit no better than any. Over the single classes of CamVid (100 pairs at two
/// sizes), turned masks have 0.7 to 1.2 and right ones 1.2 to 2.6; measured in the mean over the whole image
/// turned ones had 0.5 to 1.9 and right ones from 1.1.
const AROUND: usize = 4;

/// Borders of a mask, in neighbors of its copy, that say something in one image.
const BORDERS: u32 = 16;

/// An image's neighbors in rows or in columns.
#[derive(Debug)]
struct Pairs {
    /// From a pixel to its neighbor.
    step: usize,
    width: usize,
    /// The difference of brightness of each pair.
    changes: Vec<u32>,
    /// Its mean over the pairs around each.
    around: Vec<f64>,
}

/// A small copy of an image's changes of brightness and of its mask, both stretched to a square.
#[derive(Debug)]
pub(crate) struct Thumb {
    pairs: [Pairs; 2],
    labels: Vec<u8>,
    /// The fit of the mask as it is and turned.
    own: Option<f64>,
    turned: [Option<f64>; TURNS],
}

/// The other places of a mask that its own is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaskPlace {
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
const PLACES: [MaskPlace; 8] = [
    MaskPlace::Earlier,
    MaskPlace::Later,
    MaskPlace::UpsideDown,
    MaskPlace::Mirrored,
    MaskPlace::HalfTurned,
    MaskPlace::Transposed,
    MaskPlace::QuarterTurned,
    MaskPlace::QuarterTurned,
];

/// Those in which a mask is turned, after the neighbors.
const TURNS: usize = PLACES.len() - 2;

/// How well masks fit, over images with masks and neighboring twos of them.
#[derive(Debug, Default)]
pub(crate) struct Alignment {
    waiting: Option<Thumb>,
    /// Per place.
    sums: [FitSums; PLACES.len()],
}

/// Sums over masks that have a fit in their own place and in another.
#[derive(Debug, Default, Clone, Copy)]
struct FitSums {
    count: usize,
    better: usize,
    own: f64,
    other: f64,
    own_squares: f64,
    gain_squares: f64,
}

/// The mean fit of masks in two places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FitComparison {
    /// As they are.
    pub own: f64,
    /// In the other place.
    pub other: f64,
    /// The standard error of the mean as they are.
    pub own_error: f64,
    /// The mean of the differences in standard errors.
    pub errors: f64,
    /// Masks that fit better in the other place.
    pub better: usize,
    /// Masks compared.
    pub count: usize,
}

/// The mean brightness of the boxes of a small copy, and the labels at their centers.
fn small(image: &RgbImage, map: &ClassMap) -> (Vec<i32>, Vec<u8>) {
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
    (light, labels)
}

impl Pairs {
    fn of(light: &[i32], step: usize) -> Self {
        let (width, height) = if step == 1 {
            (SIDE - 1, SIDE)
        } else {
            (SIDE, SIDE - 1)
        };
        let change = |at: usize| {
            let from = at / width * SIDE + at % width;
            light[from].abs_diff(light[from + step])
        };
        let changes: Vec<u32> = (0..width * height).map(change).collect();
        // Sums over everything above and to the left, so that a box is four of them.
        let wide = width + 1;
        let mut sums = vec![0i64; wide * (height + 1)];
        for (at, &change) in changes.iter().enumerate() {
            let to = (at / width + 1) * wide + at % width + 1;
            sums[to] = i64::from(change) + sums[to - 1] + sums[to - wide] - sums[to - wide - 1];
        }
        let mean = |at: usize| {
            let bounds = |at: usize, length: usize| {
                (at.saturating_sub(AROUND), (at + AROUND + 1).min(length))
            };
            let (top, bottom) = bounds(at / width, height);
            let (left, right) = bounds(at % width, width);
            let sum = |y: usize, x: usize| sums[y * wide + x];
            let inside = sum(bottom, right) - sum(top, right) - sum(bottom, left) + sum(top, left);
            inside as f64 / ((bottom - top) * (right - left)) as f64
        };
        Self {
            step,
            width,
            around: (0..changes.len()).map(mean).collect(),
            changes,
        }
    }
}

/// The change of brightness across the borders of a mask, in the mean around them; none with few
/// borders, or where nothing changes.
fn fit(pairs: &[Pairs; 2], labels: &[u8]) -> Option<f64> {
    let (mut across, mut around, mut borders) = (0u64, 0.0, 0u32);
    for pairs in pairs {
        for (at, (change, mean)) in pairs.changes.iter().zip(&pairs.around).enumerate() {
            let from = at / pairs.width * SIDE + at % pairs.width;
            if labels[from] != labels[from + pairs.step] {
                across += u64::from(*change);
                around += mean;
                borders += 1;
            }
        }
    }
    (borders >= BORDERS && around > 0.0).then(|| across as f64 / around)
}

/// Labels that stand where `from` says.
fn moved(labels: &[u8], from: impl Fn(usize, usize) -> (usize, usize)) -> Vec<u8> {
    let label = |at: usize| {
        let (row, column) = from(at / SIDE, at % SIDE);
        labels[row * SIDE + column]
    };
    (0..SIDE * SIDE).map(label).collect()
}

impl Thumb {
    pub(crate) fn of(image: &RgbImage, map: &ClassMap) -> Self {
        let (light, labels) = small(image, map);
        let pairs = [Pairs::of(&light, 1), Pairs::of(&light, SIDE)];
        let last = SIDE - 1;
        let turned = [
            moved(&labels, |y, x| (last - y, x)),
            moved(&labels, |y, x| (y, last - x)),
            moved(&labels, |y, x| (last - y, last - x)),
            moved(&labels, |y, x| (x, y)),
            moved(&labels, |y, x| (x, last - y)),
            moved(&labels, |y, x| (last - x, y)),
        ];
        Self {
            own: fit(&pairs, &labels),
            turned: turned.map(|labels| fit(&pairs, &labels)),
            pairs,
            labels,
        }
    }
}

impl Alignment {
    /// Adds the next image of a list and its mask. Every second one is compared with the one before.
    pub(crate) fn add(&mut self, thumb: Thumb) {
        for (sum, turned) in self.sums[2..].iter_mut().zip(thumb.turned) {
            sum.add(thumb.own, turned);
        }
        let Some(first) = self.waiting.take() else {
            self.waiting = Some(thumb);
            return;
        };
        // The mask after an image's own would lie earlier than it does.
        self.sums[0].add(first.own, fit(&first.pairs, &thumb.labels));
        self.sums[1].add(thumb.own, fit(&thumb.pairs, &first.labels));
    }

    /// Whether no mask had a fit in two places.
    pub(crate) fn is_empty(&self) -> bool {
        self.sums.iter().all(|sum| sum.count == 0)
    }

    /// What two lists show as one.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let mut sums = self.sums;
        for (sum, more) in sums.iter_mut().zip(&other.sums) {
            sum.join(more);
        }
        Self {
            waiting: None,
            sums,
        }
    }

    /// How masks fit in every other place, for places of which enough masks tell.
    pub(crate) fn compared(&self) -> Vec<(MaskPlace, FitComparison)> {
        PLACES
            .iter()
            .zip(&self.sums)
            .filter_map(|(&place, sum)| Some((place, sum.compared()?)))
            .collect()
    }

    /// How they fit as they are, and on their neighbors' images.
    pub(crate) fn neighbors(&self) -> Option<FitComparison> {
        let mut both = self.sums[0];
        both.join(&self.sums[1]);
        both.compared()
    }
}

impl FitSums {
    fn add(&mut self, own: Option<f64>, other: Option<f64>) {
        let (Some(own), Some(other)) = (own, other) else {
            return;
        };
        self.count += 1;
        self.better += usize::from(other > own);
        self.own += own;
        self.other += other;
        self.own_squares += own * own;
        self.gain_squares += (other - own).powi(2);
    }

    fn join(&mut self, more: &Self) {
        self.count += more.count;
        self.better += more.better;
        self.own += more.own;
        self.other += more.other;
        self.own_squares += more.own_squares;
        self.gain_squares += more.gain_squares;
    }

    fn compared(&self) -> Option<FitComparison> {
        if self.count < 2 {
            return None;
        }
        let n = self.count as f64;
        let (own, other) = (self.own / n, self.other / n);
        let gain = other - own;
        let error =
            |squares: f64, mean: f64| ((squares - n * mean * mean).max(0.0) / (n - 1.0) / n).sqrt();
        Some(FitComparison {
            own,
            other,
            own_error: error(self.own_squares, own),
            errors: if gain == 0.0 {
                0.0
            } else {
                gain / error(self.gain_squares, gain)
            },
            better: self.better,
            count: self.count,
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
        let (light, labels) = small(&image, &map);
        let (row, column) = (5, 9);
        let mut sum = 0;
        for y in 3 * row..3 * row + 3 {
            for x in 2 * column..2 * column + 2 {
                sum += 3 * i32::from(value(x, y));
            }
        }
        assert_eq!(light[row * SIDE + column], 4 * sum / 6);
        let center = value(2 * column + 1, 3 * row + 1);
        assert_eq!(labels[row * SIDE + column], center);
    }

    #[test]
    fn a_fit_is_the_change_at_borders_in_that_around_them() {
        let light: Vec<i32> = (0..SIDE * SIDE)
            .map(|at| ((at * at * 31 + at * 7) % 1009) as i32)
            .collect();
        let labels: Vec<u8> = (0..SIDE * SIDE)
            .map(|at| u8::from((at / SIDE).abs_diff(20) + (at % SIDE).abs_diff(33) < 9))
            .collect();
        // Every pair of neighbors, and every other one of its direction around it.
        let (mut across, mut around, mut borders) = (0.0, 0.0, 0);
        for (down, right) in [(0, 1), (1, 0)] {
            let change = |y: usize, x: usize| {
                f64::from((light[y * SIDE + x] - light[(y + down) * SIDE + x + right]).abs())
            };
            let inside = |y: usize, x: usize| y + down < SIDE && x + right < SIDE;
            for (y, x) in (0..SIDE * SIDE).map(|at| (at / SIDE, at % SIDE)) {
                let border =
                    inside(y, x) && labels[y * SIDE + x] != labels[(y + down) * SIDE + x + right];
                if !border {
                    continue;
                }
                let near = (0..SIDE * SIDE)
                    .map(|at| (at / SIDE, at % SIDE))
                    .filter(|&(v, u)| inside(v, u) && v.abs_diff(y) <= 4 && u.abs_diff(x) <= 4);
                let near: Vec<f64> = near.map(|(v, u)| change(v, u)).collect();
                across += change(y, x);
                around += near.iter().sum::<f64>() / near.len() as f64;
                borders += 1;
            }
        }
        assert!(borders > 30);
        let pairs = [Pairs::of(&light, 1), Pairs::of(&light, SIDE)];
        let found = fit(&pairs, &labels).unwrap();
        assert!((found - across / around).abs() < 1e-12, "{found}");
        // Without borders, with few of them, and where nothing changes.
        assert!(fit(&pairs, &[1; SIDE * SIDE]).is_none());
        let dot: Vec<u8> = (0..SIDE * SIDE).map(|at| u8::from(at == 999)).collect();
        assert!(fit(&pairs, &dot).is_none());
        let even = [0; SIDE * SIDE];
        let even = [Pairs::of(&even, 1), Pairs::of(&even, SIDE)];
        assert!(fit(&even, &labels).is_none());
    }

    #[test]
    fn the_means_and_their_errors_are_those_of_the_masks() {
        let mut sum = FitSums::default();
        for (own, other) in [(1.0, 2.0), (1.0, 3.0), (2.0, 3.0)] {
            sum.add(Some(own), Some(other));
        }
        sum.add(None, Some(1.0));
        sum.add(Some(1.0), None);
        let mut last = FitSums::default();
        last.add(Some(2.0), Some(6.0));
        assert!(last.compared().is_none());
        sum.join(&last);
        let compared = sum.compared().unwrap();
        // Differences 1, 2, 1, 4: mean 2, variance 2, standard error 0.7071.
        assert_eq!((compared.own, compared.other), (1.5, 3.5));
        assert_eq!((compared.better, compared.count), (4, 4));
        assert!((compared.errors - 2.0 / 0.5f64.sqrt()).abs() < 1e-12);
        // 1, 1, 2, 2: variance 1/3.
        assert!((compared.own_error - (1.0f64 / 12.0).sqrt()).abs() < 1e-12);
    }
}
