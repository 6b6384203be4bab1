//! The beginning of a TOML description for a directory that none of the known forms fits: what lies there, and the
//! likeliest pair of folders, for a user to correct.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::dataset::DataSet;
use crate::draft::{base_of, toml_path};
use crate::error::DataError;
use crate::findings::Findings;
use crate::kinds::layout::stores_ids;
use crate::{kinds, listing};

/// Folders that are told one by one.
const FOLDERS: usize = 40;
/// Names that are told of each.
const NAMES: usize = 3;

impl DataSet {
    /// The beginning of a description of what is at `spec`, which does not open, for a TOML file at `path`;
    /// `None` where `spec` is no directory in which there are images.
    ///
    /// # Errors
    /// Files whose names are not UTF-8, which TOML cannot hold.
    pub fn begin_draft(spec: &str, path: &Path) -> Result<Option<String>, DataError> {
        let Ok((_, root)) = kinds::parse(spec) else {
            return Ok(None);
        };
        let files = listing::images_below(&root, &mut Findings::collecting()).unwrap_or_default();
        if !root.is_dir() || files.is_empty() {
            return Ok(None);
        }
        let mut folders: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for file in files {
            let folder = file.parent().unwrap_or(&root).to_path_buf();
            folders.entry(folder).or_default().push(file);
        }
        let absolute = root.canonicalize().unwrap_or_else(|_| root.clone());
        let base = base_of(path);
        let shown = absolute.strip_prefix(&base).unwrap_or(&absolute);
        let mut text = String::from(
            "# The beginning of a description of a data set that no known form fits. Correct it, then give this file as\n\
             # --data. Below this line is what lies there.\n#\n",
        );
        for (folder, files) in folders.iter().take(FOLDERS) {
            let names = files.iter().take(NAMES).filter_map(|file| file.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            let more = if files.len() > NAMES { ", ..." } else { "" };
            let place = folder.strip_prefix(&root).unwrap_or(folder);
            let place = if place.as_os_str().is_empty() {
                Path::new(".")
            } else {
                place
            };
            // One line each, whatever a name holds.
            let line = format!(
                "{}: {} files: {}{more}",
                place.display(),
                files.len(),
                names.join(", ")
            );
            let _ = writeln!(text, "#   {}", line.replace(char::is_control, "?"));
        }
        if folders.len() > FOLDERS {
            let _ = writeln!(text, "#   and {} folders more", folders.len() - FOLDERS);
        }
        let (images, masks) = likeliest(&folders);
        let relative =
            |folder: &Path| toml_path(path, folder.strip_prefix(&root).unwrap_or(folder));
        let _ = write!(text, "\nroot = {}\n", toml_path(path, shown)?);
        match masks {
            Some(masks) => {
                let (images, masks) = (relative(images)?, relative(masks)?);
                let _ = write!(
                    text,
                    "test = {{ images = {images}, masks = {masks} }}  # a guess: these share most names\n\
                     # train = {{ images = ..., masks = ... }}  # where training images are others\n\
                     # image_suffix = \"_rgb\"  # an ending that images have and masks have not\n\
                     # mask_suffix = \"_gt\"\n\n\
                     [[classes]]\nname = \"background\"\nids = [0]\n\n[[classes]]\nname = \"object\"\nids = [1]\n"
                );
            }
            None => {
                let _ = writeln!(
                    text,
                    "test = {{ images = {} }}  # a guess: the folder that holds most; add 'masks = ...' and [[classes]] if there are masks",
                    relative(images)?
                );
            }
        }
        Ok(Some(text))
    }
}

/// The folder of images and that of their masks: the two that share most stems, or the largest alone. Which of them is
/// which, their files say as they do where the directory is refused.
fn likeliest(folders: &BTreeMap<PathBuf, Vec<PathBuf>>) -> (&Path, Option<&Path>) {
    let known: Vec<PictureFolder> = folders
        .iter()
        .take(FOLDERS)
        .map(|(path, files)| PictureFolder {
            path,
            stems: files.iter().map(|file| listing::stem(file)).collect(),
            png: files.iter().all(|file| {
                file.extension()
                    .is_some_and(|e| e.eq_ignore_ascii_case("png"))
            }),
            ids: files.first().is_some_and(|first| stores_ids(first)),
        })
        .collect();
    let mut best: Option<((usize, bool), &Path, &Path)> = None;
    for images in &known {
        for masks in &known {
            let shared = images.stems.intersection(&masks.stems).count();
            // Masks are PNG files; of two folders of these that look alike, the second in order is taken for them.
            let apart = masks.png && images.path != masks.path && shared > 0;
            let rank = (shared, masks.ids && !images.ids);
            if apart && best.is_none_or(|(most, ..)| rank > most) {
                best = Some((rank, images.path, masks.path));
            }
        }
    }
    if let Some((_, images, masks)) = best {
        return (images, Some(masks));
    }
    // Of equals the first in order.
    let largest = known
        .iter()
        .rev()
        .max_by_key(|folder| (!folder.ids, folder.stems.len()));
    (largest.map_or(Path::new("."), |folder| folder.path), None)
}

/// A folder that holds pictures.
struct PictureFolder<'a> {
    path: &'a Path,
    stems: BTreeSet<String>,
    /// All of them are PNG files by their names.
    png: bool,
    /// The first looks like a mask.
    ids: bool,
}
