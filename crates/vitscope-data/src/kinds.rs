//! The kinds of data set, and which kind a directory is.

mod ade20k;
mod beside;
mod camvid;
mod cityscapes;
pub(crate) mod coco_stuff;
mod folder;
pub(crate) mod layout;
pub(crate) mod pascal_part;
mod voc;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::dataset::{Class, Contents};
use crate::description;
use crate::error::DataError;
use crate::findings::Findings;
use crate::listing;
use crate::parts::PartSettings;

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
const NAMED: [Kind; 8] = [
    Kind::CocoStuff27,
    Kind::Cityscapes27,
    Kind::PascalPartAnimals,
    Kind::Voc,
    Kind::Ade20k,
    Kind::Camvid,
    Kind::Spair71k,
    Kind::Folder,
];

/// What recognition looks for, for the message when nothing fits.
const LAYOUTS: &str = "train/ with trainannot/ for camvid, JPEGImages/ with SegmentationClass/ for voc, \
    images/training/ with annotations/training/ for ade20k, leftImg8bit/ with gtFine/ for cityscapes27, \
    train2017/ or val2017/ with COCO-Stuff or panoptic annotations for coco-stuff27, Annotations_Part/ for \
    pascal-part-animals, PairAnnotation/ for spair71k, images/ or image files for folder";

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

    /// The kind of the data set that a DATA argument names, by its prefix or by what the directory
    /// holds.
    ///
    /// # Errors
    /// An argument that names no data set, or a directory of no known or of several kinds.
    pub fn of(spec: &str) -> Result<Self, DataError> {
        parse(spec).map(|(kind, _)| kind)
    }

    /// The kind of that name.
    fn named(name: &str) -> Option<Self> {
        NAMED.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Splits a DATA argument into a kind and a root; the root of a described set is the TOML file.
pub(crate) fn parse(spec: &str) -> Result<(Kind, PathBuf), DataError> {
    if let Some((name, root)) = spec.split_once(':') {
        if let Some(kind) = Kind::named(name) {
            let root = PathBuf::from(if root.is_empty() { "." } else { root });
            listing::need_directory(&root, &format!("the directory of a {kind} data set"))?;
            return Ok((kind, root));
        }
        // A path may hold a colon, and on Windows most do.
        if name.len() > 1 && !name.contains(['/', '\\']) && !Path::new(spec).exists() {
            let known = NAMED.map(Kind::name).join(", ");
            let (kind, spec) = (name.to_owned(), spec.to_owned());
            return Err(DataError::UnknownKind { kind, spec, known });
        }
    }
    let path = PathBuf::from(spec);
    let is_toml = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if is_toml && !path.is_dir() {
        if path.is_file() {
            return Ok((Kind::Described, path));
        }
        let expected = "a .toml file that describes a data set".to_owned();
        return Err(DataError::Missing { path, expected });
    }
    if path.is_file() {
        let problem = "is a file, expected a directory or a .toml file that describes a data set";
        return Err(DataError::layout(
            &path,
            problem,
            "give the directory that holds the data set",
        ));
    }
    listing::need_directory(
        &path,
        "the directory of a data set, 'kind:root' or a .toml file",
    )?;
    // An archive often unpacks to one directory that holds the set.
    let path = match layout::only_directory(&path) {
        Some(inner) if !is_set(&path) => inner,
        _ => path,
    };
    Ok((recognize(&path)?, path))
}

/// Whether a directory is a set by the names in it, and not for what lies in directories below.
fn is_set(root: &Path) -> bool {
    fitting(root).next().is_some() || layout::is_named(root) || ade20k::is_full(root)
}

/// The kinds that a directory fits by the names in it.
fn fitting(root: &Path) -> impl Iterator<Item = Kind> {
    let root = root.to_path_buf();
    let has = {
        let root = root.clone();
        move |names: &[&str]| names.iter().all(|name| root.join(name).is_dir())
    };
    let fits = move |kind: &Kind| match kind {
        Kind::CocoStuff27 => coco_stuff::fits(&root),
        Kind::Cityscapes27 => has(&["leftImg8bit", "gtFine"]),
        Kind::PascalPartAnimals => has(&["Annotations_Part"]),
        Kind::Voc => voc::fits(&root),
        Kind::Ade20k => ade20k::fits(&root),
        Kind::Camvid => has(&["train", "trainannot"]) || has(&["test", "testannot"]),
        Kind::Spair71k => has(&["PairAnnotation"]),
        Kind::Folder | Kind::Described => false,
    };
    NAMED.into_iter().filter(fits)
}

/// The kind of a directory by what lies in it.
fn recognize(root: &Path) -> Result<Kind, DataError> {
    let found: Vec<Kind> = fitting(root).collect();
    match found[..] {
        [kind] => Ok(kind),
        [] if ade20k::is_full(root) => Err(ade20k::full(root)),
        [] if folder::fits(root)? => Ok(Kind::Folder),
        [] => Err(DataError::Unrecognized {
            path: root.to_path_buf(),
            looked_for: LAYOUTS,
        }),
        _ => {
            let kinds = found
                .iter()
                .map(|kind| kind.name())
                .collect::<Vec<_>>()
                .join(", ");
            Err(DataError::Ambiguous {
                path: root.to_path_buf(),
                kinds,
            })
        }
    }
}

/// Reads the directory of a named kind. The root comes back with a nested layout resolved.
pub(crate) fn open(
    kind: Kind,
    root: PathBuf,
    findings: &mut Findings,
) -> Result<(PathBuf, Contents), DataError> {
    match kind {
        Kind::CocoStuff27 => coco_stuff::open(root, findings),
        Kind::Cityscapes27 => cityscapes::open(&root, findings).map(|contents| (root, contents)),
        Kind::PascalPartAnimals => pascal_part::open(&root, &PartSettings::default(), findings),
        Kind::Voc => voc::open(&root, findings),
        Kind::Ade20k => ade20k::open(&root, findings),
        Kind::Camvid => camvid::open(&root, findings).map(|contents| (root, contents)),
        Kind::Folder => folder::open(&root, findings).map(|contents| (root, contents)),
        Kind::Spair71k => Err(DataError::Pairs { path: root }),
        Kind::Described => {
            description::open(&root, findings).map(|(_, root, contents)| (root, contents))
        }
    }
}

/// Classes from a table of names and colors.
fn classes(table: &[(&str, [u8; 3])]) -> Vec<Class> {
    table
        .iter()
        .map(|&(name, color)| Class {
            name: name.to_owned(),
            color,
        })
        .collect()
}

/// The first of a root's possible nestings for which `fits` holds, or the root itself.
fn nested(root: &Path, inner: &[&str], fits: impl Fn(&Path) -> bool) -> PathBuf {
    let candidates = inner.iter().map(|inner| root.join(inner));
    if fits(root) {
        return root.to_path_buf();
    }
    candidates
        .into_iter()
        .find(|path| fits(path))
        .unwrap_or_else(|| root.to_path_buf())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The tables as their authors published them.
    fn tables() -> Value {
        serde_json::from_slice(&vitscope_testkit::fact("datasets.json")).unwrap()
    }

    fn assert_table(table: &[(&str, [u8; 3])], names: &Value, colors: &Value) {
        assert_eq!(
            table.len(),
            names.as_array().unwrap().len().min(table.len())
        );
        for (index, (name, color)) in table.iter().enumerate() {
            assert_eq!(*name, names[index]);
            assert_eq!(serde_json::json!(color), colors[index], "{name}");
        }
    }

    #[test]
    fn tables_are_transcribed_without_a_slip() {
        let all = tables();
        let (voc, camvid) = (&all["voc"], &all["camvid_segnet"]);
        let (city, coco) = (&all["cityscapes"], &all["coco_stuff"]);
        assert_table(&voc::CLASSES, &voc["names"], &voc["palette256"]);
        assert_table(&camvid::CLASSES, &camvid["names"], &camvid["colors"]);
        assert_table(
            &cityscapes::CLASSES,
            &city["class27_names"],
            &city["class27_colors"],
        );
        let names = &coco["coarse27_unique_names"];
        assert_table(&coco_stuff::CLASSES, names, &coco["coarse27_colors"]);
        assert_eq!(
            serde_json::json!(coco_stuff::FINE_TO_COARSE.as_slice()),
            coco["fine_to_coarse27"]
        );
        assert_eq!(ade20k::CLASSES.len(), 150);
    }
}
