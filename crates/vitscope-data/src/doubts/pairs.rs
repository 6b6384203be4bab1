//! Doubts of pairs: masks that do not lie on their images, images and masks in each other's place.

use super::DoubtFinder;
use crate::alignment::{Alignment, FitComparison, MaskPlace};
use crate::doubt::Doubt;
use crate::evidence::FEW_COLORS;
use crate::listing::Item;

/// Masks that another place fits are so many times better there. Of 248 right lists of CamVid and COCO masks
/// (all classes, and each against the rest), none is better in another place by more than chance; masks of
/// all classes fit 1.5 to 1.8 as they are, 0.9 to 1.1 turned, 1.0 to 1.1 on another photograph, and 1.1 to 1.2 on
/// the next frame of a film.
const BETTER: f64 = 1.15;

/// What fits changes brightness at its borders at least so many times the mean around them.
const FITS: f64 = 1.2;

/// The share of masks that are better there, at the least, and from which it is said without reserve.
const MOSTLY: f64 = 2.0 / 3.0;
const NEARLY_ALL: f64 = 0.9;

/// Masks, at the least, and standard errors that a mean of so many exceeds with a probability of 0.001 if it
/// is 0 (Student's distribution, of the fewest masks of each step).
const SURE: [(usize, f64); 7] = [
    (5, 7.17),
    (6, 5.89),
    (7, 5.21),
    (8, 4.79),
    (11, 4.14),
    (21, 3.55),
    (61, 3.23),
];

/// Masks that fit less than this by [`CLEAR`] standard errors may be those of other images. Right masks of the single
/// classes of CamVid fit 1.2 to 2.6, shuffled ones of all classes 1.0 to 1.15 (frames of a film are alike).
const POOR: f64 = 1.2;
const CLEAR: f64 = 2.0;

/// Pairs from which it can be told that masks fit no better than others.
const MANY: usize = 16;

/// Standard errors by which they are better as they are, at most.
const ALIKE: f64 = 2.0;

/// What is wrong with masks.
enum Fault {
    /// They fit better in another place.
    Elsewhere(MaskPlace, FitComparison),
    /// They fit no better than their neighbors do.
    Nowhere(FitComparison),
}

/// Standard errors from which a mean of so many masks is no chance; none of too few.
fn sure(count: usize) -> Option<f64> {
    let steps = SURE.iter().rev();
    steps
        .copied()
        .find_map(|(masks, errors)| (count >= masks).then_some(errors))
}

/// What is wrong with the masks of a list.
fn fault(alignment: &Alignment) -> Option<Fault> {
    let better = |found: &FitComparison| {
        let fits = found.other > FITS && found.other > BETTER * found.own;
        let steady = sure(found.count).is_some_and(|errors| found.errors > errors);
        steady && fits && found.better as f64 >= MOSTLY * found.count as f64
    };
    let best = alignment
        .compared()
        .into_iter()
        .filter(|(_, found)| better(found))
        .max_by(|(_, a), (_, b)| a.other.total_cmp(&b.other));
    if let Some((place, found)) = best {
        return Some(Fault::Elsewhere(place, found));
    }
    let found = alignment.neighbors()?;
    let poor = found.own + CLEAR * found.own_error < POOR;
    (found.count >= MANY && poor && found.errors > -ALIKE).then_some(Fault::Nowhere(found))
}

impl DoubtFinder<'_> {
    /// Masks where photographs should be, or the other way round.
    pub(super) fn swapped(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        let nearly_all = |some: usize, all: usize| all >= 2 && some * 10 >= all * 9;
        // Images that are all but black have few colors, and a doubt of their own.
        let dim = evidence.deep > 0 || evidence.brightest < 64;
        let images = nearly_all(evidence.flat, evidence.images);
        let masks = self.masks_are_photographs();
        let (image, mask) = example(&[&self.set.test, &self.set.train]);
        let of_masks = format!(
            "{} of {} masks have as many values as photographs, and hardly two neighbors that are equal",
            evidence.varied, evidence.masks
        );
        let of_images = format!(
            "{} of {} images have at most {FEW_COLORS} colors, as masks have and photographs do not",
            evidence.flat, evidence.images
        );
        let (sort, text) = match (images && evidence.masks > 0, masks) {
            (true, true) => (
                "images like masks",
                format!(
                    "{of_images}, and {of_masks}: images and masks seem to be in each other's place (the image {image} has the mask {mask})."
                ),
            ),
            (true, false) if !dim => (
                "images like masks",
                format!(
                    "{of_images}: check that images and masks are not in each other's place (the image {image} has the mask {mask}); of drawings in few colors it means nothing."
                ),
            ),
            (_, true) => (
                "masks like images",
                format!(
                    "{of_masks}: they seem to be photographs, or colors laid over photographs, and no masks (such as {mask}); take the label images that belong to them."
                ),
            ),
            _ => return None,
        };
        Some(Doubt { sort, text })
    }

    /// Whether nearly all masks look like photographs.
    pub(super) fn masks_are_photographs(&self) -> bool {
        let (varied, masks) = (self.evidence.varied, self.evidence.masks);
        masks >= 2 && varied * 10 >= masks * 9
    }

    /// Masks that fit elsewhere, or not at all: of test images, of training images, or of both together.
    pub(super) fn misplaced(&self) -> [Option<Doubt>; 2] {
        // What EXIF turns has a doubt of its own.
        if self.evidence.first_turned.is_some() {
            return [None, None];
        }
        let [train, test] = &self.evidence.alignment;
        let of = |found: &Fault, items: &[&[Item]], whose: &str| {
            let text = found.told(whose, &example(items));
            let sort = "masks that do not fit";
            Some(Doubt { sort, text })
        };
        let both: [&[Item]; 2] = [&self.set.test, &self.set.train];
        match (fault(test), fault(train)) {
            // One list serves both splits, or one of them has no masks.
            (Some(found), None) if train.is_empty() => [of(&found, &both, ""), None],
            (None, Some(found)) if test.is_empty() => [of(&found, &both, ""), None],
            (None, None) => {
                let found = fault(&test.with(train));
                [found.and_then(|found| of(&found, &both, "")), None]
            }
            (Some(tested), Some(fitted)) if tested.is(&fitted) => {
                let found = fault(&test.with(train)).unwrap_or(tested);
                [of(&found, &both, ""), None]
            }
            (tested, fitted) => {
                let tell = |found: Option<Fault>, items: &[Item], whose| {
                    found.and_then(|found| of(&found, &[items], whose))
                };
                [
                    tell(tested, &self.set.test, " of test images"),
                    tell(fitted, &self.set.train, " of training images"),
                ]
            }
        }
    }
}

impl Fault {
    /// Whether another list has the same fault.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Elsewhere(here, _), Self::Elsewhere(there, _)) => here == there,
            (Self::Nowhere(_), Self::Nowhere(_)) => true,
            _ => false,
        }
    }

    /// It in a sentence, of masks that `whose` names.
    fn told(&self, whose: &str, (image, mask): &(String, String)) -> String {
        match self {
            Self::Elsewhere(place, found) => {
                let (how, remedy) = place.told();
                let not = if found.better as f64 >= NEARLY_ALL * found.count as f64 {
                    "DO NOT FIT"
                } else {
                    "seem not to fit"
                };
                format!(
                    "the masks{whose} {not} their images: brightness changes {:.2} times as much at a mask's borders as around them as they are, and {:.2} times with the mask {how} (more in {} of {} images): {remedy}, and look at the examples of a report (the image {image} has the mask {mask}).",
                    found.own, found.other, found.better, found.count
                )
            }
            Self::Nowhere(found) => format!(
                "the masks{whose} fit their images no better than those of other images do: brightness changes {:.2} times as much at a mask's borders as around them, and {:.2} times with a neighbor's mask ({} compared), where masks of photographs have 1.5 to 2: check that each image has its own mask (the image {image} has the mask {mask}); of scribbles, soft borders, or regions that are not drawn along edges it says nothing.",
                found.own, found.other, found.count
            ),
        }
    }
}

impl MaskPlace {
    /// How a mask lies there, and what to do.
    fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Earlier => (
                "on the image before its own",
                "names and masks seem to be shifted by one",
            ),
            Self::Later => (
                "on the image after its own",
                "names and masks seem to be shifted by one",
            ),
            Self::UpsideDown => (
                "upside down",
                "store the masks with their rows in the other order",
            ),
            Self::Mirrored => (
                "mirrored",
                "store the masks with their columns in the other order",
            ),
            Self::HalfTurned => ("turned by half a circle", "store the masks turned so"),
            Self::Transposed => (
                "with rows as columns",
                "store the masks transposed (width and height were taken for each other)",
            ),
            Self::QuarterTurned => (
                "turned by a quarter of a circle",
                "store the masks turned so",
            ),
        }
    }
}

/// The first image of some lists with a mask, and that.
fn example(lists: &[&[Item]]) -> (String, String) {
    let mut items = lists.iter().copied().flatten();
    let pair = items.find_map(|item| Some((&item.image, item.mask.as_ref()?)));
    pair.map_or_else(Default::default, |(image, mask)| {
        (image.display().to_string(), mask.display().to_string())
    })
}
