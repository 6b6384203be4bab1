//! Tables from what a mask stores to class indices (docs/protocol.md section 1).

use std::collections::BTreeMap;
use std::path::Path;

use crate::class_map::{ClassMap, IGNORE};
use crate::decode;
use crate::error::DataError;
use crate::mask::{self, Mask, StoredValues};
use crate::panoptic::PanopticTable;
use crate::parts::PartTable;

/// How a data set's masks are coded.
#[derive(Debug)]
pub(crate) enum LabelTable {
    /// The set has no masks.
    Absent,
    /// Masks store ids.
    Ids(IdTable),
    /// Masks store colors.
    Colors(ColorTable),
    /// Masks are PASCAL-Part annotations.
    Parts(PartTable),
    /// Masks store segment ids of a COCO panoptic annotation.
    Panoptic(PanopticTable),
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
    /// Whether the user named the ignored ids.
    named_ignored: bool,
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
    /// This table, of a set that names what it ignores.
    pub(crate) fn with_ignored_named(self, named: bool) -> Self {
        Self {
            named_ignored: named,
            ..self
        }
    }

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
            named_ignored: false,
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

    /// The classes of ids of up to 8 bits; those that the table does not have are counted.
    fn look_up(&self, ids: &[u8], unknown: &mut BTreeMap<u32, u64>) -> Vec<u8> {
        let mut counts = [0u64; 256];
        ids.iter().for_each(|&id| counts[usize::from(id)] += 1);
        let mut lookup = [IGNORE; 256];
        for (id, entry) in (0u16..256).zip(&mut lookup) {
            match self.entry(id) {
                UNKNOWN if counts[usize::from(id)] > 0 => {
                    unknown.insert(u32::from(id), counts[usize::from(id)]);
                }
                class => *entry = class as u8,
            }
        }
        ids.iter().map(|&id| lookup[usize::from(id)]).collect()
    }

    fn entry(&self, id: u16) -> u16 {
        self.entries
            .get(usize::from(id))
            .copied()
            .unwrap_or(self.rest)
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

    /// The classes of colors; those that the table does not have are counted.
    fn look_up(&self, colors: &[[u8; 3]], unknown: &mut BTreeMap<u32, u64>) -> Vec<u8> {
        let mut classes = Vec::with_capacity(colors.len());
        // Neighbors mostly share a color, so the last look-up is kept.
        let mut last: Option<([u8; 3], Option<u8>)> = None;
        for &color in colors {
            let class = match last {
                Some((known, class)) if known == color => class,
                _ => self.class(color),
            };
            last = Some((color, class));
            if class.is_none() {
                *unknown.entry(packed(color)).or_insert(0) += 1;
            }
            classes.push(class.unwrap_or(IGNORE));
        }
        classes
    }

    fn class(&self, color: [u8; 3]) -> Option<u8> {
        match self.entries.binary_search_by_key(&color, |entry| entry.0) {
            Ok(index) => Some(self.entries[index].1),
            Err(_) if self.others_ignored => Some(IGNORE),
            Err(_) => None,
        }
    }
}

impl LabelTable {
    /// Whether an id counts nowhere.
    pub(crate) fn ignores(&self, id: u16) -> bool {
        matches!(self, Self::Ids(table) if table.entry(id) == u16::from(IGNORE))
    }

    /// Whether an id is a class or ignored.
    pub(crate) fn knows(&self, id: u16) -> bool {
        matches!(self, Self::Ids(table) if table.entry(id) != UNKNOWN)
    }

    /// The class of an id, if it is one.
    pub(crate) fn class_of(&self, id: u16) -> Option<u8> {
        match self {
            Self::Ids(table) => u8::try_from(table.entry(id))
                .ok()
                .filter(|&class| class != IGNORE),
            _ => None,
        }
    }

    /// Whether values that nobody named count nowhere.
    pub(crate) fn ignores_others(&self) -> bool {
        match self {
            Self::Ids(table) => table.rest == u16::from(IGNORE),
            Self::Colors(table) => table.others_ignored,
            Self::Absent | Self::Parts(_) | Self::Panoptic(_) => false,
        }
    }

    /// Whether the user named the ids that count nowhere.
    pub(crate) fn named_ignored(&self) -> bool {
        matches!(self, Self::Ids(table) if table.named_ignored)
    }

    /// Decodes a mask and looks up the class of each of its pixels.
    ///
    /// Every pixel is looked up, whether a crop keeps it or not, so that what is an error does not
    /// depend on the crop.
    pub(crate) fn read(&self, path: &Path) -> Result<ClassMap, DataError> {
        self.read_with_mask(path, &mut |_| ())
    }

    /// As [`read`](Self::read); `look` is shown what the file stores, where that is a picture of
    /// labels, before the table is asked for it.
    pub(crate) fn read_with_mask(
        &self,
        path: &Path,
        look: &mut dyn FnMut(&Mask),
    ) -> Result<ClassMap, DataError> {
        let bytes = decode::read_file(path, "a mask")?;
        match self {
            Self::Parts(parts) => return parts.read(path, &bytes),
            Self::Panoptic(panoptic) => return panoptic.read(path, &bytes),
            Self::Absent | Self::Ids(_) | Self::Colors(_) => {}
        }
        let mask = mask::decode(path, &bytes)?;
        look(&mask);
        self.classify(path, &mask)
    }

    /// Looks up the class of each pixel of a decoded mask.
    fn classify(&self, path: &Path, mask: &Mask) -> Result<ClassMap, DataError> {
        let mut unknown = BTreeMap::new();
        let classes = match (self, &mask.values) {
            (Self::Ids(table), StoredValues::Ids8(ids)) => table.look_up(ids, &mut unknown),
            (Self::Ids(table), StoredValues::Ids16(ids)) => {
                let class = |&id: &u16| match table.entry(id) {
                    UNKNOWN => {
                        *unknown.entry(u32::from(id)).or_insert(0) += 1;
                        IGNORE
                    }
                    class => class as u8,
                };
                ids.iter().map(class).collect()
            }
            (Self::Ids(_), StoredValues::Colors(colors)) => {
                return Err(mask::colored(path, colors));
            }
            (Self::Colors(table), _) => match mask.colors() {
                Some(colors) => table.look_up(&colors, &mut unknown),
                None => {
                    return Err(DataError::MaskCoding {
                        path: path.to_path_buf(),
                        found: "a PNG of ids without a palette".to_owned(),
                        expected: "8-bit RGB colors, as its description gives a color table",
                        remedy: "use 'ids' in the description, or convert the mask to RGB",
                    });
                }
            },
            _ => vec![IGNORE; mask.width * mask.height],
        };
        Ok(ClassMap {
            width: mask.width,
            height: mask.height,
            classes,
            unknown,
        })
    }

    /// The error of a value that the table does not have, one of [`ClassMap::unknown`].
    pub(crate) fn unknown(&self, path: &Path, value: u32) -> DataError {
        match self {
            Self::Colors(table) => {
                let [_, red, green, blue] = value.to_be_bytes();
                DataError::UnknownColor {
                    path: path.to_path_buf(),
                    color: [red, green, blue],
                    table: format!("{} ({} colors)", table.name, table.entries.len()),
                }
            }
            _ => DataError::UnknownId {
                path: path.to_path_buf(),
                id: value,
                table: match self {
                    Self::Ids(table) => table.describe(),
                    _ => "the segments of its annotation".to_owned(),
                },
            },
        }
    }

    /// A value as a table of problems shows it: an id, or a color as `#rrggbb`.
    pub(crate) fn show(&self, value: u32) -> String {
        match self {
            Self::Colors(_) => format!("#{value:06x}"),
            _ => value.to_string(),
        }
    }
}

/// A color as one number.
pub(crate) fn packed([red, green, blue]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, red, green, blue])
}
