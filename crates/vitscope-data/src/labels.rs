//! Tables from what a mask stores to class indices, and label crops (PROTOCOL.md section 1).

use std::path::Path;

use crate::error::DataError;
use crate::geometry::Geometry;
use crate::mask::{Mask, Values};

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

/// How a data set's masks are coded.
#[derive(Debug)]
pub(crate) enum LabelTable {
    /// The set has no masks.
    Absent,
    /// Masks store ids.
    Ids(IdTable),
    /// Masks store colors.
    Colors(ColorTable),
}

/// An entry that is no class and not ignored.
const UNKNOWN: u16 = 256;

/// Which class each id is.
#[derive(Debug)]
pub(crate) struct IdTable {
    name: String,
    /// Per id: a class, [`IGNORE`] or [`UNKNOWN`].
    entries: Vec<u16>,
    /// What an id past the entries is.
    rest: u16,
}

/// Which class each color is.
#[derive(Debug)]
pub(crate) struct ColorTable {
    name: String,
    /// Sorted by color: a class or [`IGNORE`].
    entries: Vec<([u8; 3], u8)>,
    others_ignored: bool,
}

impl IdTable {
    /// A table from (id, class) pairs and the ignored ids; of an id named twice, the last holds.
    pub(crate) fn new(
        name: impl Into<String>,
        classes: impl IntoIterator<Item = (u16, u8)>,
        ignored: impl IntoIterator<Item = u16>,
        others_ignored: bool,
    ) -> Self {
        let rest = if others_ignored {
            u16::from(IGNORE)
        } else {
            UNKNOWN
        };
        let mut entries = vec![rest; 256];
        let named = classes
            .into_iter()
            .map(|(id, class)| (id, u16::from(class)));
        for (id, entry) in named.chain(ignored.into_iter().map(|id| (id, u16::from(IGNORE)))) {
            let id = usize::from(id);
            if id >= entries.len() {
                entries.resize(id + 1, rest);
            }
            entries[id] = entry;
        }
        Self {
            name: name.into(),
            entries,
            rest,
        }
    }

    /// The table in words: its name and the ids it has, as ranges.
    fn describe(&self) -> String {
        let ranges = |wanted: &dyn Fn(u16) -> bool| {
            let mut ranges: Vec<(usize, usize)> = Vec::new();
            for (id, _) in self.entries.iter().enumerate().filter(|(_, e)| wanted(**e)) {
                match ranges.last_mut() {
                    Some((_, end)) if *end + 1 == id => *end = id,
                    _ => ranges.push((id, id)),
                }
            }
            let words = ranges.iter().map(|(start, end)| match end - start {
                0 => start.to_string(),
                _ => format!("{start}-{end}"),
            });
            words.collect::<Vec<_>>().join(", ")
        };
        let classes = ranges(&|entry| entry < u16::from(IGNORE));
        let ignored = ranges(&|entry| entry == u16::from(IGNORE));
        let ignored = if ignored.is_empty() {
            "none".to_owned()
        } else {
            ignored
        };
        format!("{} (classes {classes}; ignored {ignored})", self.name)
    }

    fn entry(&self, id: u16) -> u16 {
        self.entries
            .get(usize::from(id))
            .copied()
            .unwrap_or(self.rest)
    }

    fn unknown(&self, path: &Path, id: u16) -> DataError {
        DataError::UnknownId {
            path: path.to_path_buf(),
            id: id.into(),
            table: self.describe(),
        }
    }
}

impl ColorTable {
    /// A table from (color, class or [`IGNORE`]) pairs.
    pub(crate) fn new(
        name: impl Into<String>,
        mut entries: Vec<([u8; 3], u8)>,
        others_ignored: bool,
    ) -> Self {
        entries.sort_unstable();
        Self {
            name: name.into(),
            entries,
            others_ignored,
        }
    }

    fn class(&self, path: &Path, color: [u8; 3]) -> Result<u8, DataError> {
        match self.entries.binary_search_by_key(&color, |entry| entry.0) {
            Ok(index) => Ok(self.entries[index].1),
            Err(_) if self.others_ignored => Ok(IGNORE),
            Err(_) => Err(DataError::UnknownColor {
                path: path.to_path_buf(),
                color,
                table: format!("{} ({} colors)", self.name, self.entries.len()),
            }),
        }
    }
}

impl LabelTable {
    /// The mask's labels in the crop: nearest neighbor, to the geometry of the image.
    ///
    /// Every pixel of the mask is checked against the table, whether the crop keeps it or not, so
    /// that what is an error does not depend on the crop.
    pub(crate) fn crop(
        &self,
        path: &Path,
        mask: &Mask,
        geometry: Geometry,
    ) -> Result<LabelCrop, DataError> {
        match (self, &mask.values) {
            (Self::Ids(table), Values::Ids8(ids)) => {
                if let Some(id) = mask
                    .ids()
                    .into_iter()
                    .find(|&id| table.entry(id) == UNKNOWN)
                {
                    return Err(table.unknown(path, id));
                }
                Ok(sample(mask, geometry, ids, |id| {
                    table.entry(u16::from(id)) as u8
                }))
            }
            (Self::Ids(table), Values::Ids16(ids)) => {
                if let Some(id) = mask
                    .ids()
                    .into_iter()
                    .find(|&id| table.entry(id) == UNKNOWN)
                {
                    return Err(table.unknown(path, id));
                }
                Ok(sample(mask, geometry, ids, |id| table.entry(id) as u8))
            }
            (Self::Colors(table), Values::Colors(colors)) => {
                let mut classes = Vec::with_capacity(colors.len());
                // Neighbors mostly share a color, so the last look-up is kept.
                let mut last: Option<([u8; 3], u8)> = None;
                for &color in colors {
                    let class = match last {
                        Some((known, class)) if known == color => class,
                        _ => table.class(path, color)?,
                    };
                    last = Some((color, class));
                    classes.push(class);
                }
                Ok(sample(mask, geometry, &classes, |class| class))
            }
            (Self::Colors(_), _) => Err(DataError::MaskCoding {
                path: path.to_path_buf(),
                found: "a PNG of ids".to_owned(),
                expected: "8-bit RGB colors, as its description gives a color table",
                remedy: "use 'ids' in the description, or convert the mask to RGB",
            }),
            (_, Values::Colors(_)) => Err(DataError::MaskCoding {
                path: path.to_path_buf(),
                found: "an RGB picture".to_owned(),
                expected: "label ids (grey or palette)",
                remedy: "describe its colors in a .toml file with 'rgb', or convert it to ids",
            }),
            (Self::Absent, _) => Ok(LabelCrop {
                size: geometry.size,
                ids: vec![IGNORE; geometry.size * geometry.size],
            }),
        }
    }
}

/// Picks the crop's pixels by nearest neighbor.
fn sample<T: Copy>(
    mask: &Mask,
    geometry: Geometry,
    values: &[T],
    class: impl Fn(T) -> u8,
) -> LabelCrop {
    let place = geometry.place(mask.width, mask.height);
    let columns = geometry.nearest(mask.width, place.width, place.left);
    let rows = geometry.nearest(mask.height, place.height, place.top);
    let mut ids = Vec::with_capacity(geometry.size * geometry.size);
    for row in rows {
        let line = &values[row * mask.width..(row + 1) * mask.width];
        ids.extend(columns.iter().map(|&column| class(line[column])));
    }
    LabelCrop {
        size: geometry.size,
        ids,
    }
}
