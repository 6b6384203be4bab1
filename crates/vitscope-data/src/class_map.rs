//! The classes of a mask, at its own size and in a crop (docs/protocol.md section 1).

use std::collections::BTreeMap;

use crate::geometry::Geometry;

/// The label of a pixel that counts nowhere.
pub const IGNORE: u8 = 255;

/// The most classes a label map can hold, as 255 means ignored.
pub(crate) const MAX_CLASSES: usize = 255;

/// The labels of one square crop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelCrop {
    /// Side in pixels.
    pub size: usize,
    /// `[size, size]` row-major: the class index, `0..C`, or [`IGNORE`].
    pub ids: Vec<u8>,
}

/// The classes of a mask at its own size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClassMap {
    pub width: usize,
    pub height: usize,
    /// `[height, width]` row-major: a class index or [`IGNORE`].
    pub classes: Vec<u8>,
    /// Values that the table does not have, with the number of their pixels, which are
    /// [`IGNORE`] in `classes`.
    pub unknown: BTreeMap<u32, u64>,
}

impl ClassMap {
    /// The crop's labels by nearest neighbor, to the geometry of the image.
    pub(crate) fn crop(&self, geometry: Geometry) -> LabelCrop {
        let place = geometry.place(self.width, self.height);
        let columns = geometry.nearest(self.width, place.width, place.left);
        let rows = geometry.nearest(self.height, place.height, place.top);
        let mut ids = Vec::with_capacity(geometry.size * geometry.size);
        for row in rows {
            let line = &self.classes[row * self.width..(row + 1) * self.width];
            ids.extend(columns.iter().map(|&column| line[column]));
        }
        LabelCrop {
            size: geometry.size,
            ids,
        }
    }
}
