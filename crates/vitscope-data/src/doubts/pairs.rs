//! Doubts of pairs: masks that do not lie on their images, images and masks in each other's place.

use super::{Doubt, Judge};
use crate::alignment::{Compared, Place};
use crate::evidence::{FEW_COLORS, MANY_VALUES};

/// Masks that another place fits are so many times better there. Masks of photographs (CamVid, COCO,
/// ADE20K) fit 2.5 to 3 as they are, 0.8 to 1.4 turned, 1.0 to 1.1 on another photograph, and 1.4 to 1.7
/// on the next frame of a film.
const BETTER: f64 = 1.25;

/// What fits changes brightness at its borders at least so many times the mean.
const FITS: f64 = 1.5;

/// Standard errors by which they are better.
const SURE: f64 = 3.0;

/// Masks that say where they belong, at the least.
const ENOUGH: usize = 4;

/// Masks that fit less than this may be those of other images.
const POOR: f64 = 1.15;

/// Pairs from which it can be told that masks fit no better than others.
const MANY: usize = 16;

impl Judge<'_> {
    /// Masks where photographs should be, and the other way round.
    pub(super) fn swapped(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        let images_are_flat = evidence.images >= 2 && evidence.flat * 10 >= evidence.images * 9;
        if evidence.masks == 0 || !images_are_flat {
            return None;
        }
        let also = match evidence.varied {
            0 => String::new(),
            many => format!(", and {many} masks have {MANY_VALUES} values or more"),
        };
        Some(Doubt {
            sort: "images like masks",
            text: format!(
                "{} of {} images have at most {FEW_COLORS} colors, as masks have and photographs do not{also}: check that images and masks are not in each other's place (the image {} has the mask {}); of drawings in few colors it means nothing.",
                evidence.flat,
                evidence.images,
                self.example().0,
                self.example().1
            ),
        })
    }

    /// Masks that fit elsewhere, or not at all.
    pub(super) fn misplaced(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        // What EXIF turns has a doubt of its own.
        if evidence.first_turned.is_some() {
            return None;
        }
        let better = |found: &Compared| {
            let fits = found.other > FITS && found.other > BETTER * found.own;
            found.count >= ENOUGH && found.errors > SURE && fits
        };
        let compared = evidence.alignment.compared();
        let best = compared
            .into_iter()
            .filter(|(_, found)| better(found))
            .max_by(|(_, a), (_, b)| a.other.total_cmp(&b.other));
        let (image, mask) = self.example();
        let text = match best {
            Some((place, found)) => {
                let (how, remedy) = match place {
                    Place::Earlier => (
                        "on the image before its own",
                        "names and masks seem to be shifted by one",
                    ),
                    Place::Later => (
                        "on the image after its own",
                        "names and masks seem to be shifted by one",
                    ),
                    Place::UpsideDown => (
                        "upside down",
                        "store the masks with their rows in the other order",
                    ),
                    Place::Mirrored => (
                        "mirrored",
                        "store the masks with their columns in the other order",
                    ),
                    Place::HalfTurned => ("turned by half a circle", "store the masks turned so"),
                    Place::Transposed => (
                        "with rows as columns",
                        "store the masks transposed (width and height were taken for each other)",
                    ),
                    Place::QuarterTurned => (
                        "turned by a quarter of a circle",
                        "store the masks turned so",
                    ),
                };
                format!(
                    "the masks DO NOT FIT their images: brightness changes {:.2} times the mean at a mask's borders as they are, and {:.2} times with the mask {how} ({} compared): {remedy}, and look at the examples of a report (the image {image} has the mask {mask}).",
                    found.own, found.other, found.count
                )
            }
            None => {
                let found = evidence.alignment.neighbors()?;
                let as_others = found.count >= MANY && found.own < POOR && found.errors > -2.0;
                if !as_others {
                    return None;
                }
                format!(
                    "the masks fit their images no better than those of other images do: brightness changes {:.2} times the mean at a mask's borders, and {:.2} times with a neighbor's mask ({} compared), where masks of photographs have 2 to 3: check that each image has its own mask (the image {image} has the mask {mask}).",
                    found.own, found.other, found.count
                )
            }
        };
        Some(Doubt {
            sort: "masks that do not fit",
            text,
        })
    }

    /// The first image with a mask, and that.
    fn example(&self) -> (String, String) {
        let mut items = self.set.test.iter().chain(&self.set.train);
        let pair = items.find_map(|item| Some((&item.image, item.mask.as_ref()?)));
        pair.map_or_else(Default::default, |(image, mask)| {
            (image.display().to_string(), mask.display().to_string())
        })
    }
}
