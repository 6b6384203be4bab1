//! What can be had of an image's labels from those of all others, without looking at it: of a set whose training
//! images have no labels, or are the test images.

use ndarray::{ArrayView1, ArrayView3, Axis};
use vitscope_measure::IGNORED;

/// What counts of positions do not say: how much each image has of each class, and whose a pixel is that one image
/// alone labels.
pub(super) struct LeftOut {
    classes: usize,
    /// Pixels of each class, for every image.
    images: Vec<Vec<u64>>,
    /// The last image that labels a pixel.
    last: Vec<u32>,
}

/// Shares of pixels that are named rightly, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct UnseenAccuracies {
    pub(super) by_position: f64,
    pub(super) by_one_class: f64,
}

impl LeftOut {
    pub(super) fn new(classes: usize, pixels: usize) -> Self {
        Self {
            classes,
            images: Vec::new(),
            last: vec![0; pixels],
        }
    }

    /// Adds an image's labels, each a class or 255.
    pub(super) fn add(&mut self, labels: &[u8]) {
        let mut own = vec![0; self.classes];
        for (last, &label) in self.last.iter_mut().zip(labels) {
            if label != IGNORED {
                own[usize::from(label)] += 1;
                *last = self.images.len() as u32;
            }
        }
        self.images.push(own);
    }

    /// Every image is named by the class most frequent at each pixel in all others, and by the class most frequent
    /// overall in all others; ties to the lowest class, and a pixel that no other image labels takes the class most
    /// frequent overall. `None` where some image's labels are the only ones.
    ///
    /// The counts say this exactly: an image adds one to a pixel, so that of its images only those can be named
    /// rightly that have the most frequent class there, and all of them are where it leads without one of them.
    ///
    /// # Shapes
    ///
    /// `counts`: `[C, H, W]`, how often each pixel has each class in the images that were added.
    pub(super) fn finish(&self, counts: ArrayView3<'_, u32>) -> Option<UnseenAccuracies> {
        let mut totals = vec![0; self.classes];
        for own in &self.images {
            for (total, own) in totals.iter_mut().zip(own) {
                *total += own;
            }
        }
        let commonest = |own: &Vec<u64>| {
            let others = totals.iter().zip(own).map(|(total, own)| total - own);
            first_largest(others)
        };
        let commonest: Vec<usize> = self.images.iter().map(commonest).collect::<Option<_>>()?;
        let all: u64 = totals.iter().sum();
        let own = self.images.iter().zip(&commonest);
        let by_one_class: u64 = own.map(|(own, &class)| own[class]).sum();
        let lanes = counts.lanes(Axis(0)).into_iter().zip(&self.last);
        let by_position: u64 = lanes
            .map(|(lane, &last)| u64::from(named(lane, commonest.get(last as usize).copied())))
            .sum();
        (all > 0).then(|| UnseenAccuracies {
            by_position: by_position as f64 / all as f64,
            by_one_class: by_one_class as f64 / all as f64,
        })
    }
}

/// The first of the largest, if that is more than nothing.
fn first_largest(counts: impl Iterator<Item = u64>) -> Option<usize> {
    let mut best = (0, 0);
    for (class, count) in counts.enumerate() {
        if count > best.1 {
            best = (class, count);
        }
    }
    (best.1 > 0).then_some(best.0)
}

/// How many images a pixel of these counts is named rightly in; `alone` is what it is named where one image alone
/// labels it.
fn named(counts: ArrayView1<'_, u32>, alone: Option<usize>) -> u32 {
    let Some(class) = first_largest(counts.iter().map(|&count| count.into())) else {
        return 0;
    };
    let most = counts[class];
    if counts.sum() == 1 {
        return u32::from(alone == Some(class));
    }
    let leads = counts.iter().enumerate().all(|(other, &count)| {
        other == class || count < most - 1 || count == most - 1 && other > class
    });
    if leads { most } else { 0 }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    const CLASSES: usize = 4;

    /// The same by leaving out each image and counting all others.
    fn by_hand(images: &[Vec<u8>]) -> Option<UnseenAccuracies> {
        let (mut position, mut one, mut all) = (0, 0, 0);
        for (index, image) in images.iter().enumerate() {
            let others = || {
                let others = images.iter().enumerate();
                others.filter(|(other, _)| *other != index)
            };
            let most = |labels: &mut dyn Iterator<Item = u8>| {
                let mut counts = [0; CLASSES];
                labels
                    .filter(|&label| label != IGNORED)
                    .for_each(|label| counts[usize::from(label)] += 1);
                first_largest(counts.into_iter())
            };
            let overall = most(&mut others().flat_map(|(_, other)| other.iter().copied()))?;
            for (pixel, &label) in image.iter().enumerate() {
                if label == IGNORED {
                    continue;
                }
                let here = most(&mut others().map(|(_, other)| other[pixel])).unwrap_or(overall);
                position += u64::from(here == usize::from(label));
                one += u64::from(overall == usize::from(label));
                all += 1;
            }
        }
        (all > 0).then(|| UnseenAccuracies {
            by_position: position as f64 / all as f64,
            by_one_class: one as f64 / all as f64,
        })
    }

    fn counted(images: &[Vec<u8>]) -> Option<UnseenAccuracies> {
        let pixels = images[0].len();
        let mut left_out = LeftOut::new(CLASSES, pixels);
        let mut counts = Array3::<u32>::zeros((CLASSES, 1, pixels));
        for image in images {
            left_out.add(image);
            for (pixel, &label) in image.iter().enumerate() {
                if label != IGNORED {
                    counts[(usize::from(label), 0, pixel)] += 1;
                }
            }
        }
        left_out.finish(counts.view())
    }

    #[test]
    fn counts_say_what_leaving_out_each_image_says() {
        let mut seed = 1_u64;
        let mut draw = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut defined = 0;
        for round in 0..2_000 {
            let (images, pixels) = (1 + draw(6) as usize, 1 + draw(5) as usize);
            // Mostly ignored in every other round, so that pixels are labeled by one image alone.
            let ignored = if round % 2 == 0 { 1 } else { 9 };
            let mut label = || match draw(CLASSES as u64 + ignored) {
                label if label < CLASSES as u64 => label as u8,
                _ => IGNORED,
            };
            let image = (0..images).map(|_| (0..pixels).map(|_| label()).collect());
            let images: Vec<Vec<u8>> = image.collect();
            assert_eq!(counted(&images), by_hand(&images), "{images:?}");
            defined += usize::from(counted(&images).is_some());
        }
        assert!(defined > 1_000, "{defined}");
    }

    #[test]
    fn one_image_alone_says_nothing() {
        assert_eq!(counted(&[vec![0, 1, 1]]), None);
        assert_eq!(counted(&[vec![IGNORED; 3], vec![IGNORED; 3]]), None);
    }
}
