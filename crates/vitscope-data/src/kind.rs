//! The kinds of data set, by name.

use std::fmt;

/// A kind of data set: how its directory is laid out and its masks are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `coco-stuff27`: COCO-Stuff with its 27 coarse classes.
    CocoStuff27,
    /// `cityscapes27`: Cityscapes with 27 classes.
    Cityscapes27,
    /// `pascal-part-animals`: the parts of animals in PASCAL-Part, 6 classes by default (see
    /// [`parts`](crate::parts)).
    PascalPartAnimals,
    /// `voc`: PASCAL VOC segmentation, 21 classes.
    Voc,
    /// `ade20k`: ADE20K in its scene-parsing form, 150 classes.
    Ade20k,
    /// `camvid`: CamVid in SegNet's form, 11 classes.
    Camvid,
    /// `spair71k`: pairs of images with key points; opened as a [`PairSet`](crate::PairSet).
    Spair71k,
    /// `folder`: `images/` and perhaps `masks/`, or a plain directory of images.
    Folder,
    /// Described by a TOML file.
    Described,
}

/// The kinds that a DATA argument can name.
pub(crate) const NAMED: [Kind; 8] = [
    Kind::CocoStuff27,
    Kind::Cityscapes27,
    Kind::PascalPartAnimals,
    Kind::Voc,
    Kind::Ade20k,
    Kind::Camvid,
    Kind::Spair71k,
    Kind::Folder,
];

impl Kind {
    /// The kind's name in a DATA argument; `toml` for a described set.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CocoStuff27 => "coco-stuff27",
            Self::Cityscapes27 => "cityscapes27",
            Self::PascalPartAnimals => "pascal-part-animals",
            Self::Voc => "voc",
            Self::Ade20k => "ade20k",
            Self::Camvid => "camvid",
            Self::Spair71k => "spair71k",
            Self::Folder => "folder",
            Self::Described => "toml",
        }
    }

    /// The kind of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMED.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
