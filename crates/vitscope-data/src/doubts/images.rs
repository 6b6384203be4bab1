//! Doubts of images: how they are turned, and what of their values reaches the model.

use super::DoubtFinder;
use crate::doubt::Doubt;

impl DoubtFinder<'_> {
    /// Images that EXIF turns, beside masks that it does not.
    pub(super) fn orientation(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        let (path, orientation) = evidence.first_turned.as_ref()?;
        let count = evidence.fits.max(1) as f64;
        let (upright, turned) = (evidence.fit.upright / count, evidence.fit.turned / count);
        let verdict = if evidence.fits == 0 {
            "equal sizes cannot show whether they fit".to_owned()
        } else {
            let numbers = format!(
                "brightness changes {upright:.2} times the mean at the masks' borders as they are, and {turned:.2} times if they are turned as the images were"
            );
            if upright > 1.2 * turned {
                format!("{numbers}, so they seem to fit the upright images")
            } else if turned > 1.2 * upright {
                format!(
                    "{numbers}, so they seem to be drawn on the pixels as stored and DO NOT FIT"
                )
            } else {
                format!("{numbers}, which does not tell whether they fit")
            }
        };
        Some(Doubt {
            sort: "turned images",
            text: format!(
                "{} of {} images with masks are turned by their EXIF orientation (such as {}, orientation {}), and masks never are: {verdict}; look at the examples of a report, and if the masks were drawn on the stored pixels, take the tag away ('exiftool -overwrite_original -Orientation= IMAGES').",
                evidence.turned,
                evidence.headers,
                path.display(),
                orientation.to_exif()
            ),
        })
    }

    /// Masks with an orientation of their own.
    pub(super) fn turned_masks(&self) -> Option<Doubt> {
        let count = self.evidence.turned_masks;
        (count > 0).then(|| Doubt {
            sort: "turned masks",
            text: format!(
                "{count} masks have an EXIF orientation, which is not applied: they are read as stored; store them upright and without the tag."
            ),
        })
    }

    /// Files of several pictures.
    pub(super) fn frames(&self) -> Option<Doubt> {
        let moving = [
            (&self.evidence.moving, "images"),
            (&self.evidence.moving_masks, "masks"),
        ];
        let told = moving.into_iter().filter_map(|(count, what)| {
            let (path, frames) = count.first.as_ref()?;
            Some(format!(
                "{} {what} (such as {}, of {frames} frames)",
                count.files,
                path.display()
            ))
        });
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| Doubt {
            sort: "several frames",
            text: format!(
                "{} hold more than one picture, and the first frame alone is read: store each frame that counts as a file of its own, an image with its mask.",
                told.join(" and ")
            ),
        })
    }

    /// Masks with transparency.
    pub(super) fn transparent_masks(&self) -> Option<Doubt> {
        let path = self.evidence.first_transparent_mask.as_ref()?;
        Some(Doubt {
            sort: "transparent masks",
            text: format!(
                "{} masks have transparent pixels (such as {}), and transparency is dropped: what is stored below it counts as a label; if it means not labeled, store those pixels with a value of their own that is ignored.",
                self.evidence.transparent_masks,
                path.display()
            ),
        })
    }

    /// Images of 16 bits a sample.
    pub(super) fn depth(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        if evidence.deep == 0 {
            return None;
        }
        let (images, most) = (images_that_have(evidence.deep), evidence.deepest);
        let bits = 16 - most.leading_zeros();
        let text = if bits < 16 {
            format!(
                "{images} 16 bits a sample, of which {bits} are used (the largest value is {most} of 65,535), so that the model sees 0 to {} of 255, all but black: multiply their values by {} before.",
                most >> 8,
                1u32 << (16 - bits)
            )
        } else {
            format!(
                "{images} 16 bits a sample, of which the model sees the high 8 (the largest value is {most} of 65,535)."
            )
        };
        let sort = if bits < 16 {
            "unused range"
        } else {
            "reduced depth"
        };
        Some(Doubt { sort, text })
    }

    /// Images of 8 bits that are all but black.
    pub(super) fn darkness(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        let dark = evidence.images > 0 && evidence.deep == 0 && evidence.brightest < 64;
        dark.then(|| Doubt {
            sort: "unused range",
            text: format!(
                "the brightest value of {} images is {} of 255, so that they are all but black to the model: scale their values before, and check that they are photographs and not masks.",
                evidence.images, evidence.brightest
            ),
        })
    }

    /// Images with transparency.
    pub(super) fn transparency(&self) -> Option<Doubt> {
        let path = self.evidence.first_transparent.as_ref()?;
        Some(Doubt {
            sort: "transparency",
            text: format!(
                "{} transparent pixels (such as {}), and transparency is dropped: the model sees the colors stored below it; flatten them on a background if that is not meant.",
                images_that_have(self.evidence.transparent),
                path.display()
            ),
        })
    }
}

/// "1 image has", "2 images have".
fn images_that_have(count: usize) -> String {
    match count {
        1 => "1 image has".to_owned(),
        _ => format!("{count} images have"),
    }
}
