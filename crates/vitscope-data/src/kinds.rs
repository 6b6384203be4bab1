//! Which kind of data set a directory is, and the reader of each kind.

mod ade20k;
mod beside;
mod camvid;
mod cityscapes;
mod coco_stuff;
mod folder;
pub(crate) mod layout;
pub(crate) mod pascal_part;
mod voc;

use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::description;
use crate::error::DataError;
use crate::findings::Findings;
use crate::kind::{Kind, NAMED};
use crate::listing;
use crate::parts::PartSettings;

/// What recognition looks for, for the message when nothing fits.
const LAYOUTS: &str = "train/ with trainannot/ for camvid, JPEGImages/ with SegmentationClass/ for voc, \
    images/training/ with annotations/training/ for ade20k, leftImg8bit/ with gtFine/ for cityscapes27, \
    train2017/ or val2017/ with COCO-Stuff or panoptic annotations for coco-stuff27, Annotations_Part/ for \
    pascal-part-animals, PairAnnotation/ for spair71k, images/ or image files for folder";

impl Kind {
    /// The kind of the data set that a DATA argument names, by its prefix or by what the directory
    /// holds.
    ///
    /// # Errors
    /// An argument that names no data set, or a directory of no known or of several kinds.
    pub fn of(spec: &str) -> Result<Self, DataError> {
        parse(spec).map(|(kind, _)| kind)
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::coco_classes;

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
        assert_table(&coco_classes::CLASSES, names, &coco["coarse27_colors"]);
        assert_eq!(
            serde_json::json!(coco_classes::FINE_TO_COARSE.as_slice()),
            coco["fine_to_coarse27"]
        );
        assert_eq!(ade20k::CLASSES.len(), 150);
    }
}
