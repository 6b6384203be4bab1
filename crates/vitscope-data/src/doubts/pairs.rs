//! Doubts of pairs: masks that do not lie on their images, images and masks in each other's place.

use super::{Doubt, Judge};
use crate::alignment::{Compared, Place};
use crate::evidence::FEW_COLORS;

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
    /// Masks where photographs should be, or the other way round.
    pub(super) fn swapped(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        let nearly_all = |some: usize, all: usize| all >= 2 && some * 10 >= all * 9;
        // Images that are all but black have few colors, and a doubt of their own.
        let dim = evidence.deep > 0 || evidence.brightest < 64;
        let images = nearly_all(evidence.flat, evidence.images);
        let masks = self.masks_are_photographs();
        let (image, mask) = self.example();
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
                    "the masks fit their images no better than those of other images do: brightness changes {:.2} times the mean at a mask's borders, and {:.2} times with a neighbor's mask ({} compared), where masks of photographs have 2 to 3: check that each image has its own mask (the image {image} has the mask {mask}); of scribbles, soft borders, or regions that are not drawn along edges it says nothing.",
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
