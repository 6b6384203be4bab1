//! Where the pixels of an image or a mask land in the square crop (docs/protocol.md section 1).

/// The square crop that every image and every mask of a run is brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Side of the crop in pixels, at least 1.
    pub size: usize,
}

/// How an image of one size is resized and cropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Width after the resize, in pixels.
    pub width: usize,
    /// Height after the resize, in pixels.
    pub height: usize,
    /// First column of the crop in the resized image.
    pub left: usize,
    /// First row of the crop in the resized image.
    pub top: usize,
}

impl Geometry {
    /// The crop whose side is the multiple of the patch size nearest to the asked size, at least
    /// one patch: 320 gives 320 for patches of 16 and 8, and 322 for 14. Of two multiples equally
    /// near, the larger.
    #[must_use]
    pub fn for_patch(asked_size: usize, patch: usize) -> Self {
        let patch = patch.max(1);
        let patches = (asked_size / patch) + usize::from(asked_size % patch * 2 >= patch);
        Self {
            size: patches.max(1) * patch,
        }
    }

    /// Where an image of `width` x `height` pixels lands.
    ///
    /// The shorter side becomes `size`, the longer one `trunc(size * long / short)`; the crop
    /// starts at `round((length - size) / 2)`, with halves rounded to even as Python does it.
    /// An image whose shorter side is already `size` keeps its pixels.
    #[must_use]
    pub fn place(&self, width: usize, height: usize) -> Placement {
        let (width, height) = (width.max(1), height.max(1));
        let short = width.min(height);
        // Integer division equals the truncated float quotient that torchvision takes.
        let scaled = |side: usize| {
            if side == short {
                self.size
            } else {
                self.size * side / short
            }
        };
        let (width, height) = (scaled(width), scaled(height));
        let offset = |length: usize| half_to_even(length.saturating_sub(self.size));
        Placement {
            width,
            height,
            left: offset(width),
            top: offset(height),
        }
    }

    /// For each of `size` crop positions along one axis, the source position that a
    /// nearest-neighbor resize of `source` to `resized` pixels reads.
    ///
    /// Pillow's rule, `floor((i + 0.5) * source / resized)`, with Pillow's own arithmetic: it adds
    /// the step up in double precision, which decides the positions where the rule meets an
    /// integer.
    pub(crate) fn nearest(&self, source: usize, resized: usize, first: usize) -> Vec<usize> {
        if source == resized {
            return (first..first + self.size).collect();
        }
        let step = source as f64 / resized as f64;
        let mut position = step * 0.5;
        let mut positions = Vec::with_capacity(self.size);
        for index in 0..first + self.size {
            if index >= first {
                positions.push((position as usize).min(source - 1));
            }
            position += step;
        }
        positions
    }
}

/// `round(n / 2)` with halves rounded to the even neighbor.
fn half_to_even(n: usize) -> usize {
    let half = n / 2;
    half + usize::from(n % 2 == 1 && half % 2 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crop_is_the_nearest_multiple_of_the_patch() {
        for (asked, patch, size) in [
            (320, 16, 320),
            (320, 8, 320),
            (320, 14, 322),
            (224, 14, 224),
            (24, 16, 32),
            (3, 16, 16),
            (1, 1, 1),
        ] {
            assert_eq!(
                Geometry::for_patch(asked, patch).size,
                size,
                "{asked} / {patch}"
            );
        }
    }

    #[test]
    fn offsets_round_halves_to_even() {
        let geometry = Geometry { size: 320 };
        for (long, offset) in [
            (426, 53),
            (427, 54),
            (429, 54),
            (431, 56),
            (320, 0),
            (321, 0),
            (323, 2),
        ] {
            let place = geometry.place(long, 320);
            assert_eq!(
                (place.width, place.height, place.left, place.top),
                (long, 320, offset, 0)
            );
        }
    }

    #[test]
    fn shapes_of_common_images() {
        let geometry = Geometry { size: 320 };
        assert_eq!(
            geometry.place(640, 480),
            Placement {
                width: 426,
                height: 320,
                left: 53,
                top: 0
            }
        );
        assert_eq!(
            geometry.place(480, 640),
            Placement {
                width: 320,
                height: 426,
                left: 0,
                top: 53
            }
        );
        assert_eq!(
            geometry.place(2048, 1024),
            Placement {
                width: 640,
                height: 320,
                left: 160,
                top: 0
            }
        );
        assert_eq!(
            geometry.place(10, 10),
            Placement {
                width: 320,
                height: 320,
                left: 0,
                top: 0
            }
        );
    }
}
