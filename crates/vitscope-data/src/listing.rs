//! Directory listings in one fixed order, and images paired with their masks by stem.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::decode;
use crate::error::DataError;
use crate::findings::Findings;
use crate::pairing;

/// One image of a data set, and its mask if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The stem that files made from this image are named by: unique within the set (an image
    /// that serves both splits has one name), and free of path separators. Bytes that are not
    /// UTF-8 appear as `%XX`.
    pub name: String,
    /// The image file.
    pub image: PathBuf,
    /// The mask file.
    pub mask: Option<PathBuf>,
}

/// Extensions that mark a file as an image, read or not. Other files in an image folder are left
/// alone; a file with one of these is never skipped.
const IMAGE_EXTENSIONS: [&str; 20] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "bmp", "dib", "webp", "tif", "tiff", "gif", "jp2",
    "heic", "heif", "avif", "ppm", "pgm", "pnm", "tga",
];

/// Whether a name is an image's by its extension.
pub(crate) fn is_image_name(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    IMAGE_EXTENSIONS
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

/// The stem of a file name as an item's name.
pub(crate) fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    let mut name = String::new();
    for chunk in stem.as_encoded_bytes().utf8_chunks() {
        name.push_str(&chunk.valid().replace('\\', "%5C"));
        for byte in chunk.invalid() {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

/// The files directly in a directory, hidden ones left out, in bytewise order of their names.
pub(crate) fn files_in(
    directory: &Path,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, DataError> {
    only_files(entries(directory)?, findings)
}

/// Those of some paths that are files, in the same order.
pub(crate) fn files_of(
    paths: Vec<PathBuf>,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, DataError> {
    let kinds = paths.into_iter().map(|path| {
        let kind = fs::metadata(&path).map(|target| target.file_type());
        (path, kind)
    });
    only_files(kinds, findings)
}

fn only_files(
    paths: impl IntoIterator<Item = (PathBuf, io::Result<fs::FileType>)>,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for (path, kind) in paths {
        if findings.or_nothing(is_file(&path, kind))? {
            files.push(path);
        }
    }
    Ok(files)
}

/// The directories directly in a directory, hidden ones left out, in bytewise order.
pub(crate) fn directories_in(directory: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut entries = entries(directory)?;
    entries.retain(|(_, kind)| kind.as_ref().is_ok_and(fs::FileType::is_dir));
    Ok(entries.into_iter().map(|(path, _)| path).collect())
}

/// The image files directly in a directory, in bytewise order of their names.
pub(crate) fn images_in(
    directory: &Path,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, DataError> {
    let mut files = files_in(directory, findings)?;
    files.retain(|file| is_image_name(file));
    Ok(files)
}

/// The first of a root's possible nestings for which `fits` holds, or the root itself.
pub(crate) fn nested(root: &Path, inner: &[&str], fits: impl Fn(&Path) -> bool) -> PathBuf {
    let candidates = inner.iter().map(|inner| root.join(inner));
    if fits(root) {
        return root.to_path_buf();
    }
    candidates
        .into_iter()
        .find(|path| fits(path))
        .unwrap_or_else(|| root.to_path_buf())
}

/// The commonest ending of the files of a directory, and how many have it.
pub(crate) fn other_ending(directory: &Path) -> Result<Option<(String, usize)>, DataError> {
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    for file in files_in(directory, &mut Findings::collecting())? {
        let ending = file.extension().unwrap_or_default().to_string_lossy();
        *endings
            .entry(format!(".{}", ending.to_lowercase()))
            .or_default() += 1;
    }
    Ok(endings.into_iter().max_by_key(|(_, count)| *count))
}

/// As [`images_in`], but an empty directory is an error.
pub(crate) fn some_images_in(
    directory: &Path,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, DataError> {
    let images = images_in(directory, findings)?;
    if images.is_empty() {
        let problem = "holds no images, expected files such as .jpg or .png";
        return Err(DataError::layout(
            directory,
            problem,
            "put the images there",
        ));
    }
    Ok(images)
}

/// What lies directly in a directory, hidden names left out, in bytewise order; links are followed.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, io::Result<fs::FileType>)>, DataError> {
    let failed = |source| DataError::read(directory, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let mut kind = Ok(entry.file_type().map_err(failed)?);
        if kind.as_ref().is_ok_and(fs::FileType::is_symlink) {
            kind = fs::metadata(&path).map(|target| target.file_type());
        }
        found.push((path, kind));
    }
    found.sort_unstable_by(|(a, _), (b, _)| bytewise(a, b));
    Ok(found)
}

/// Whether a path is a file's. What is named as an image and is none that can be read (a link that leads nowhere, a
/// named pipe) must not vanish in silence.
fn is_file(path: &Path, kind: io::Result<fs::FileType>) -> Result<bool, DataError> {
    match kind {
        Ok(kind) if kind.is_file() => Ok(true),
        Ok(kind) if !kind.is_dir() && is_image_name(path) => Err(DataError::NotAnImage {
            path: path.to_path_buf(),
            found: "a named pipe, a socket or a device",
            expected: "a regular file",
            remedy: "put a picture there, or take it away",
        }),
        Err(source) if is_image_name(path) => Err(DataError::read(path, source)),
        _ => Ok(false),
    }
}

/// Sorts paths bytewise.
pub(crate) fn sort(paths: &mut [PathBuf]) {
    paths.sort_unstable_by(|a, b| bytewise(a, b));
}

fn bytewise(a: &Path, b: &Path) -> std::cmp::Ordering {
    let (a, b) = (a.as_os_str(), b.as_os_str());
    a.as_encoded_bytes().cmp(b.as_encoded_bytes())
}

/// Files by stem, each stem once; a survey keeps the first.
pub(crate) fn by_stem(
    files: Vec<PathBuf>,
    key: impl Fn(&Path) -> String,
    findings: &mut Findings,
) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut map = BTreeMap::new();
    for file in files {
        match map.entry(key(&file)) {
            Entry::Vacant(entry) => {
                entry.insert(file);
            }
            Entry::Occupied(first) => findings.problem(DataError::DuplicateStem {
                first: first.get().clone(),
                second: file,
            })?,
        }
    }
    Ok(map)
}

/// Items without masks, in the order of the files.
pub(crate) fn without_masks(images: Vec<PathBuf>) -> Vec<Item> {
    images
        .into_iter()
        .map(|image| Item {
            name: stem(&image),
            image,
            mask: None,
        })
        .collect()
}

/// Images with their masks in `masks_in`, by their stems (see [`pairing`](crate::pairing)). Masks
/// that no image claims are noted.
pub(crate) fn paired(
    images: Vec<PathBuf>,
    masks: Vec<PathBuf>,
    masks_in: &Path,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let masks = by_stem(masks, stem, findings)?;
    // By stem, and then in the order of the files again.
    let mut images: Vec<(String, PathBuf)> = by_stem(images, stem, findings)?.into_iter().collect();
    images.sort_by(|a, b| bytewise(&a.1, &b.1));
    let (names, images): (Vec<String>, Vec<PathBuf>) = images.into_iter().unzip();
    with_masks(&names, &names, images, masks, masks_in, findings)
}

/// Images, whose names and keys are given, with the masks of the same keys.
pub(crate) fn with_masks(
    names: &[String],
    keys: &[String],
    images: Vec<PathBuf>,
    masks: BTreeMap<String, PathBuf>,
    masks_in: &Path,
    findings: &mut Findings,
) -> Result<Vec<Item>, DataError> {
    let paired = pairing::pair(keys, masks, masks_in, findings);
    let mut items = Vec::with_capacity(images.len());
    let found = paired.masks.into_iter().zip(paired.expected);
    for ((image, (mask, expected)), name) in images.into_iter().zip(found).zip(names) {
        if mask.is_none() {
            findings.problem(DataError::NoMask {
                expected: masks_in.join(expected).with_added_extension("png"),
                image: image.clone(),
            })?;
        }
        items.push(Item {
            name: name.clone(),
            image,
            mask,
        });
    }
    findings.unclaimed(paired.unclaimed.into_iter(), masks_in);
    Ok(items)
}

/// The image files in a directory and in those below it, in bytewise order of their paths: those of
/// at most [`DEPTH`] levels, each directory once whatever links lead to it.
pub(crate) fn images_below(
    directory: &Path,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    below(directory, DEPTH, &mut seen, &mut files, findings)?;
    sort(&mut files);
    Ok(files)
}

/// How deep images are looked for.
const DEPTH: usize = 5;

fn below(
    directory: &Path,
    depth: usize,
    seen: &mut BTreeSet<PathBuf>,
    files: &mut Vec<PathBuf>,
    findings: &mut Findings,
) -> Result<(), DataError> {
    let place = fs::canonicalize(directory).map_err(|source| DataError::read(directory, source))?;
    if !seen.insert(place) {
        return Ok(());
    }
    files.extend(images_in(directory, findings)?);
    for inner in directories_in(directory)? {
        if depth > 0 {
            below(&inner, depth - 1, seen, files, findings)?;
        } else if holds_images(&inner) {
            findings.note(format!(
                "pictures in {} are left alone: they lie more than {DEPTH} folders deep.",
                inner.display()
            ));
        }
    }
    Ok(())
}

/// Whether a directory, or one below it, holds an image. What cannot be read holds none.
pub(crate) fn holds_images(directory: &Path) -> bool {
    fn look(directory: &Path, depth: usize) -> bool {
        let findings = &mut Findings::collecting();
        let some = |files: Result<Vec<PathBuf>, DataError>| files.is_ok_and(|f| !f.is_empty());
        some(images_in(directory, findings))
            || depth > 0
                && directories_in(directory)
                    .unwrap_or_default()
                    .iter()
                    .any(|inner| look(inner, depth - 1))
    }
    look(directory, DEPTH)
}

/// A file's path below a directory, without its extension and with `/` between its parts.
pub(crate) fn key_below(directory: &Path, file: &Path) -> String {
    let parent = file.parent().unwrap_or(directory);
    let mut key = String::new();
    for part in parent.strip_prefix(directory).unwrap_or(Path::new("")) {
        // The extension of a folder's name belongs to it.
        key.push_str(&stem(&Path::new(part).with_added_extension("x")));
        key.push('/');
    }
    key + &stem(file)
}

/// The deepest directory that all files are in, or below.
pub(crate) fn common_directory(files: &[PathBuf]) -> PathBuf {
    let mut parents = files.iter().filter_map(|file| file.parent());
    let first = parents.next().unwrap_or(Path::new("")).to_path_buf();
    parents.fold(first, |common, parent| {
        let mut common = common;
        while !parent.starts_with(&common) && common.pop() {}
        common
    })
}

/// Names for files of several directories: their stems, or where two are equal their keys with
/// dots between the parts.
pub(crate) fn names_below(directory: &Path, files: &[PathBuf]) -> Vec<String> {
    let stems: BTreeSet<String> = files.iter().map(|file| stem(file)).collect();
    let unique = stems.len() == files.len();
    let name = |file: &PathBuf| {
        if unique {
            stem(file)
        } else {
            key_below(directory, file).replace('/', ".")
        }
    };
    files.iter().map(name).collect()
}

/// Requires a directory.
pub(crate) fn need_directory(path: &Path, expected: &str) -> Result<(), DataError> {
    if path.is_dir() {
        return Ok(());
    }
    Err(DataError::Missing {
        path: path.to_path_buf(),
        expected: expected.to_owned(),
    })
}

/// The lines of a list file with their numbers from 1, blank ones left out; errors call what a line holds `what`.
pub(crate) fn list_lines(path: &Path, what: &str) -> Result<Vec<(usize, String)>, DataError> {
    let bytes = decode::read_up_to(path, decode::LONGEST)?;
    lines_of(path, bytes, what)
}

/// The lines of a list file's content.
pub(crate) fn lines_of(
    path: &Path,
    bytes: Vec<u8>,
    what: &str,
) -> Result<Vec<(usize, String)>, DataError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        DataError::ListLine {
            path: path.to_path_buf(),
            line: before.iter().filter(|&&byte| byte == b'\n').count() + 1,
            problem: format!("is not UTF-8 text, expected one {what} per line"),
        }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim().to_owned()));
    let lines: Vec<_> = lines.filter(|(_, line)| !line.is_empty()).collect();
    if lines.is_empty() {
        let problem = format!("lists nothing, expected one {what} per line");
        return Err(DataError::layout(path, problem, "fill or remove the list"));
    }
    Ok(lines)
}

/// At most `most` indices below `count`, evenly spaced, in rising order.
#[must_use]
pub fn spread(count: usize, most: usize) -> Vec<usize> {
    let some = count.min(most);
    (0..some).map(|index| index * count / some).collect()
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn places_are_evenly_spaced() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 4), [0, 1, 2]);
        assert!(spread(0, 4).is_empty());
    }
}
