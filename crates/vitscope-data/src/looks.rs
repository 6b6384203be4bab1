//! What the things of each class look like and where they lie, in training and in test: whether a class of one split
//! is another one of the other.

use crate::class_map::{ClassMap, IGNORE};
use crate::rgb_image::RgbImage;

/// Pixels that are looked at, along each side.
const SIDE: usize = 64;

/// A class with fewer of those in an image says nothing there.
const ENOUGH: usize = 8;

/// Numbers of a look: mean red, green and blue, and mean row, of 1.
const NUMBERS: usize = 4;

/// Masks of a split that a class is in, at the least, to be compared.
const MASKS: usize = 8;

/// Squared standard deviations by which a class of training images is away from the test class of its own code, at
/// the least, to be another one; and the share of it that is left to the class that it is like, at most.
const AWAY: f64 = 2.0;
const NEAR: f64 = 0.25;

/// The looks of the classes of one image: class, and [`NUMBERS`].
#[derive(Debug, Default)]
pub(crate) struct Looks(Vec<(u8, [f64; NUMBERS])>);

impl Looks {
    /// Those of an upright image and a mask of its size.
    pub(crate) fn of(image: &RgbImage, map: &ClassMap) -> Self {
        let (width, height) = (image.width(), image.height());
        let mut sums = vec![([0u64; NUMBERS], 0u64); IGNORE as usize];
        for y in 0..SIDE.min(height) {
            let row = (2 * y + 1) * height / (2 * SIDE.min(height));
            for x in 0..SIDE.min(width) {
                let column = (2 * x + 1) * width / (2 * SIDE.min(width));
                let at = row * width + column;
                let Some((sum, count)) = sums.get_mut(usize::from(map.classes[at])) else {
                    continue;
                };
                let place = (255 * row / height) as u64;
                let color = image.pixels()[3 * at..3 * at + 3]
                    .iter()
                    .map(|&value| u64::from(value));
                for (sum, value) in sum.iter_mut().zip(color.chain([place])) {
                    *sum += value;
                }
                *count += 1;
            }
        }
        let mean = |(class, (sum, count)): (usize, ([u64; NUMBERS], u64))| {
            let mean = sum.map(|sum| sum as f64 / (255.0 * count as f64));
            (count >= ENOUGH as u64).then_some((class as u8, mean))
        };
        Self(sums.into_iter().enumerate().filter_map(mean).collect())
    }
}

/// Means of looks over the masks of one split.
#[derive(Debug, Default)]
pub(crate) struct ClassLooks {
    /// Per class: masks, sums and sums of squares.
    sums: Vec<(usize, [f64; NUMBERS], [f64; NUMBERS])>,
}

impl ClassLooks {
    /// Adds the looks of an image.
    pub(crate) fn add(&mut self, looks: &Looks) {
        for (class, look) in &looks.0 {
            let class = usize::from(*class);
            if self.sums.len() <= class {
                self.sums.resize(class + 1, Default::default());
            }
            let (masks, sums, squares) = &mut self.sums[class];
            *masks += 1;
            for (at, value) in look.iter().enumerate() {
                sums[at] += value;
                squares[at] += value * value;
            }
        }
    }

    /// Classes in enough masks, with their mean look.
    fn means(&self) -> Vec<(usize, [f64; NUMBERS])> {
        let classes = self.sums.iter().enumerate();
        let enough = classes.filter(|(_, (masks, ..))| *masks >= MASKS);
        enough
            .map(|(class, (masks, sums, _))| (class, sums.map(|sum| sum / *masks as f64)))
            .collect()
    }

    /// Squares of what looks differ by from their class's mean, summed, and of how many masks.
    fn spread(&self) -> ([f64; NUMBERS], f64) {
        let mut spread = [0.0; NUMBERS];
        let mut count = 0.0;
        for (masks, sums, squares) in self.sums.iter().filter(|(masks, ..)| *masks >= MASKS) {
            for at in 0..NUMBERS {
                spread[at] += squares[at] - sums[at] * sums[at] / *masks as f64;
            }
            count += *masks as f64 - 1.0;
        }
        (spread, count)
    }
}

/// A class of training images that looks and lies like another class of test images, and how far it is from that one
/// and from its own, in standard deviations between images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Likeness {
    pub train: usize,
    pub test: usize,
    pub other: f64,
    pub own: f64,
}

/// How far two looks are apart, in variances between images; none where there is no spread, and so nothing is told by it.
fn measure(
    train: &ClassLooks,
    test: &ClassLooks,
) -> Option<impl Fn(&[f64; NUMBERS], &[f64; NUMBERS]) -> f64> {
    let ((spread, count), (other, more)) = (train.spread(), test.spread());
    let variance: [f64; NUMBERS] =
        std::array::from_fn(|at| (spread[at] + other[at]) / (count + more));
    if count + more < 1.0 || variance.iter().any(|value| *value <= 1e-6) {
        return None;
    }
    Some(move |a: &[f64; NUMBERS], b: &[f64; NUMBERS]| {
        let squares = (0..NUMBERS).map(|at| (a[at] - b[at]).powi(2) / variance[at]);
        squares.sum::<f64>() / NUMBERS as f64
    })
}

/// Whether a class looks and lies in test as it does in training, and not as another one there does; none where that is
/// not known.
pub(crate) fn stays(
    train: &ClassLooks,
    test: &ClassLooks,
    class: usize,
    other: usize,
) -> Option<bool> {
    let apart = measure(train, test)?;
    let find = |looks: &ClassLooks, class| looks.means().into_iter().find(|(own, _)| *own == class);
    let (here, own, other) = (
        find(train, class)?.1,
        find(test, class)?.1,
        find(test, other)?.1,
    );
    Some(apart(&here, &own) <= AWAY && apart(&here, &other) > AWAY)
}

/// Classes that have changed places in test; each the nearest of the other's, of those that are away from their own.
pub(crate) fn exchanged(train: &ClassLooks, test: &ClassLooks) -> Vec<Likeness> {
    let Some(apart) = measure(train, test) else {
        return Vec::new();
    };
    let (mut here, mut there) = (train.means(), test.means());
    // What is like its own class has not changed: it is no other class's, however alike (buildings and trees).
    let away = |(class, look): &&(usize, [f64; NUMBERS])| {
        let own = there.iter().find(|(other, _)| other == class);
        own.is_some_and(|(_, own)| apart(look, own) > AWAY)
    };
    let changed: Vec<usize> = here.iter().filter(away).map(|(class, _)| *class).collect();
    here.retain(|(class, _)| changed.contains(class));
    there.retain(|(class, _)| changed.contains(class));
    let nearest = |look: &[f64; NUMBERS], among: &[(usize, [f64; NUMBERS])]| {
        let all = among
            .iter()
            .map(|(class, other)| (*class, apart(look, other)));
        all.min_by(|a, b| a.1.total_cmp(&b.1))
    };
    let found = here.iter().filter_map(|(class, look)| {
        let own = &there.iter().find(|(other, _)| other == class)?.1;
        let (other, left) = nearest(look, &there)?;
        let back = &there.iter().find(|(class, _)| *class == other)?.1;
        let mutual = nearest(back, &here)?.0 == *class;
        let own = apart(look, own);
        (other != *class && mutual && left < NEAR * own).then_some(Likeness {
            train: *class,
            test: other,
            other: left.sqrt(),
            own: own.sqrt(),
        })
    });
    let found: Vec<Likeness> = found.collect();
    // What has changed its look is like some other class; what has changed its value is like one that has done so, too.
    let mut kept = found;
    loop {
        let closed = |alike: &Likeness| {
            kept.iter().any(|other| other.test == alike.train)
                && kept.iter().any(|other| other.train == alike.test)
        };
        let next: Vec<Likeness> = kept.iter().copied().filter(closed).collect();
        if next.len() == kept.len() {
            return kept;
        }
        kept = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve images of three classes, of which the first two look and lie alike; values as `coded` says.
    fn of(coded: impl Fn(u8) -> u8) -> ClassLooks {
        let mut looks = ClassLooks::default();
        for image in 0..12 {
            let by = |step: usize| ((image * step) % 5) as f64 * 0.02;
            let look =
                |light: f64, row: f64| [light + by(1), light + by(2), light + by(3), row + by(4)];
            let classes = [look(0.40, 0.30), look(0.35, 0.33), look(0.30, 0.80)];
            let coded = (0..3).map(&coded).zip(classes);
            looks.add(&Looks(coded.collect()));
        }
        looks
    }

    #[test]
    fn a_class_that_another_one_is_like_is_found_in_its_new_value() {
        assert!(exchanged(&of(|class| class), &of(|class| class)).is_empty());
        let (same, turned) = (|class| class, |class: u8| 2 - class);
        let found = |coded: fn(u8) -> u8, other| stays(&of(same), &of(coded), 0, other);
        assert_eq!(found(same, 2), Some(true));
        assert_eq!(found(turned, 2), Some(false));
        assert_eq!(found(same, 3), None);
        for (a, b) in [(1, 2), (0, 2)] {
            let swapped = of(|class| match class {
                _ if class == a => b,
                _ if class == b => a,
                _ => class,
            });
            let found = exchanged(&of(|class| class), &swapped);
            let pairs: Vec<(usize, usize)> =
                found.iter().map(|one| (one.train, one.test)).collect();
            let (a, b) = (usize::from(a), usize::from(b));
            assert_eq!(pairs, [(a, b), (b, a)]);
        }
    }
}
