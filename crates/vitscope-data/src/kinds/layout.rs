//! Where the images and masks of a user's own folder lie: the forms that people have, recognized
//! where they can mean one thing alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::decode;
use crate::error::DataError;
use crate::findings::Findings;
use crate::listing::{self, directories_in};

/// Names of folders of images, in lower case; the first is preferred to the others.
const IMAGES: [&str; 15] = [
    "images",
    "image",
    "imgs",
    "img",
    "photos",
    "photo",
    "photographs",
    "pictures",
    "frames",
    "inputs",
    "input",
    "rgb",
    "jpegimages",
    "jpegs",
    "img_dir",
];

/// Names of folders of masks, likewise.
const MASKS: [&str; 26] = [
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "annotation",
    "annots",
    "annot",
    "ann_dir",
    "gt",
    "gts",
    "gt_masks",
    "groundtruth",
    "ground_truth",
    "ground-truth",
    "ground truth",
    "segmentation",
    "segmentations",
    "segmentationclass",
    "segmentation_masks",
    "seg",
    "segs",
    "targets",
    "target",
    "labelmaps",
    "label_maps",
];

/// The images of one split and the folder of their masks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePlace {
    pub images: PathBuf,
    pub masks: Option<PathBuf>,
}

/// Where both splits lie.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FolderLayout {
    /// One list serves both.
    One(FilePlace),
    Two {
        train: FilePlace,
        test: FilePlace,
    },
}

/// A split by its folder's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathPart {
    Train,
    Val,
    Test,
}

/// The split that a folder's name says: in any case, with a year or number after it.
fn part(name: &str) -> Option<PathPart> {
    let name = name.to_lowercase();
    match name.trim_end_matches(|c: char| c.is_numeric() || c == '_' || c == '-') {
        "train" | "training" | "trn" => Some(PathPart::Train),
        "val" | "valid" | "validation" | "dev" => Some(PathPart::Val),
        "test" | "testing" | "tst" => Some(PathPart::Test),
        _ => None,
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A listing only to look around: what is wrong with a file is told when the split is listed.
fn images_in(directory: &Path) -> Result<Vec<PathBuf>, DataError> {
    listing::images_in(directory, &mut Findings::collecting())
}

/// Whether a directory is laid out as one of these forms.
pub(super) fn fits(root: &Path) -> Result<bool, DataError> {
    let named = |path: &PathBuf| IMAGES.contains(&name_of(path).to_lowercase().as_str());
    Ok(!images_in(root)?.is_empty()
        || directories_in(root)?.iter().any(named)
        || listing::holds_images(root))
}

/// Whether a directory has a folder of images, of masks or of a split, by their names.
pub(super) fn is_named(root: &Path) -> bool {
    directories_in(root).unwrap_or_default().iter().any(|path| {
        let name = name_of(path).to_lowercase();
        let name = name.as_str();
        IMAGES.contains(&name) || MASKS.contains(&name) || part(name).is_some()
    })
}

/// The one directory in a root that holds nothing else: what an archive unpacks to.
pub(super) fn only_directory(root: &Path) -> Option<PathBuf> {
    let nothing = images_in(root).is_ok_and(|images| images.is_empty());
    match &directories_in(root).unwrap_or_default()[..] {
        [only] if nothing => Some(only.clone()),
        _ => None,
    }
}

/// Finds the images and masks of a folder.
pub(super) fn find(root: &Path, findings: &mut Findings) -> Result<FolderLayout, DataError> {
    let directories = directories_in(root)?;
    let masks = folder_of(root, &directories, "masks", &MASKS, findings)?;
    if let Some(images) = folder_of(root, &directories, "images", &IMAGES, findings)? {
        if masks.is_none() {
            note_like_masks(&images, &directories, findings)?;
        }
        return in_parts(&images, masks, findings);
    }
    let loose = !images_in(root)?.is_empty();
    if loose {
        let place = FilePlace {
            images: root.to_path_buf(),
            masks,
        };
        return Ok(FolderLayout::One(place));
    }
    if parts(&directories).next().is_some() {
        let places = directories.iter().filter_map(|directory| {
            let part = part(&name_of(directory))?;
            Some(split_folder(root, directory, &directories).map(|place| (part, place)))
        });
        let places = places.collect::<Result<Vec<_>, DataError>>()?;
        if places
            .iter()
            .any(|(_, place)| listing::holds_images(&place.images))
        {
            return choose(root, root, places, findings);
        }
    }
    if masks.is_some() {
        let problem = "has masks/ but no images/, expected both";
        return Err(DataError::layout(
            root,
            problem,
            "put the images in images/",
        ));
    }
    nested(root, &directories, findings)
}

/// Directories that are splits by their names.
fn parts(directories: &[PathBuf]) -> impl Iterator<Item = (PathPart, &PathBuf)> {
    let named = directories.iter();
    named.filter_map(|directory| Some((part(&name_of(directory))?, directory)))
}

/// The folder of images, or of masks, by its name: the preferred name, or the only other one.
fn folder_of(
    root: &Path,
    directories: &[PathBuf],
    preferred: &str,
    names: &[&str],
    findings: &mut Findings,
) -> Result<Option<PathBuf>, DataError> {
    let exact = directories.iter().find(|path| name_of(path) == preferred);
    if let Some(exact) = exact {
        return Ok(Some(exact.clone()));
    }
    let named = |path: &&PathBuf| names.contains(&name_of(path).to_lowercase().as_str());
    let candidates: Vec<&PathBuf> = directories.iter().filter(named).collect();
    let (holding, empty): (Vec<&PathBuf>, Vec<&PathBuf>) = candidates
        .into_iter()
        .partition(|path| listing::holds_images(path));
    for empty in empty {
        findings.note(format!(
            "{} holds no images, so that it is not taken for the folder of {preferred}.",
            empty.display()
        ));
    }
    match holding[..] {
        [] => Ok(None),
        [only] => {
            findings.note(format!("{}/ is taken for {preferred}/.", name_of(only)));
            Ok(Some(only.clone()))
        }
        [first, second, ..] => Err(DataError::layout(
            root,
            format!(
                "has {}/ and {}/, each of which may hold the {preferred}",
                name_of(first),
                name_of(second)
            ),
            described("images", &name_of(first)),
        )),
    }
}

/// What to do where a layout must be told.
fn described(images: &str, masks: &str) -> String {
    format!(
        "describe the set in a TOML file with 'test = {{ images = \"{images}\", masks = \"{masks}\" }}' and one [[classes]] for each class (docs/datasets.md has examples)"
    )
}

/// Notes folders of other names whose files have the stems of the images.
fn note_like_masks(
    images: &Path,
    directories: &[PathBuf],
    findings: &mut Findings,
) -> Result<(), DataError> {
    let stems = |directory: &Path| {
        let files = listing::images_below(directory, &mut Findings::collecting())?;
        let mut stems: Vec<String> = files.iter().map(|file| listing::stem(file)).collect();
        stems.sort_unstable();
        Ok::<_, DataError>(stems)
    };
    let of_images = stems(images)?;
    for directory in directories {
        if directory == images || part(&name_of(directory)).is_some() {
            continue;
        }
        let others = stems(directory).unwrap_or_default();
        let shared = of_images
            .iter()
            .filter(|stem| others.binary_search(stem).is_ok());
        let shared = shared.count();
        if shared > 0 && 2 * shared >= of_images.len() {
            findings.note(format!(
                "{} is not used, though {shared} of {} images have a file of the same stem there: if those are masks, {}.",
                directory.display(),
                of_images.len(),
                described(&name_of(images), &name_of(directory))
            ));
        }
    }
    Ok(())
}

/// A folder of images that may hold one folder for each split.
fn in_parts(
    images: &Path,
    masks: Option<PathBuf>,
    findings: &mut Findings,
) -> Result<FolderLayout, DataError> {
    let directories = directories_in(images)?;
    let mut places = Vec::new();
    for (part, directory) in parts(&directories) {
        let masks = match &masks {
            Some(masks) => Some(masks_of(masks, part, &name_of(directory))?),
            None => None,
        };
        let images = directory.clone();
        places.push((part, FilePlace { images, masks }));
    }
    if places.is_empty() {
        let images = images.to_path_buf();
        return Ok(FolderLayout::One(FilePlace { images, masks }));
    }
    let loose = images_in(images)?.len();
    if loose > 0 {
        let place = images.display();
        findings.note(format!(
            "{loose} images directly in {place} are left out, as its folders hold the set's splits."
        ));
    }
    choose(images.parent().unwrap_or(images), images, places, findings)
}

/// The masks of a split: in a folder of the same name, or of one that says the same split.
fn masks_of(masks: &Path, of: PathPart, name: &str) -> Result<PathBuf, DataError> {
    let same = masks.join(name);
    if same.is_dir() {
        return Ok(same);
    }
    let directories = directories_in(masks)?;
    let mut others = parts(&directories).filter(|(part, _)| *part == of);
    Ok(match (others.next(), others.next()) {
        (Some((_, other)), None) => other.clone(),
        // The masks of all splits may lie in one folder.
        (None, _) if !images_in(masks)?.is_empty() => masks.to_path_buf(),
        _ => same,
    })
}

/// A split's own folder: with images and masks in folders of their own, or with images directly and
/// their masks in a folder beside it whose name begins alike.
fn split_folder(root: &Path, split: &Path, beside: &[PathBuf]) -> Result<FilePlace, DataError> {
    let directories = directories_in(split)?;
    // What they are called was said, or need not be, for one of them.
    let silent = &mut Findings::collecting();
    if let Some(images) = folder_of(root, &directories, "images", &IMAGES, silent)? {
        let masks = folder_of(root, &directories, "masks", &MASKS, silent)?;
        return Ok(FilePlace { images, masks });
    }
    let name = name_of(split).to_lowercase();
    let is_masks = |path: &&PathBuf| {
        let other = name_of(path).to_lowercase();
        let rest = other.strip_prefix(&name);
        let rest = rest.map(|rest| rest.trim_start_matches(['_', '-', ' ', '.']));
        rest.is_some_and(|rest| MASKS.contains(&rest))
    };
    let inner = folder_of(root, &directories, "masks", &MASKS, silent)?;
    let masks = inner.or(beside.iter().find(is_masks).cloned());
    let images = split.to_path_buf();
    Ok(FilePlace { images, masks })
}

/// Which of the splits that are there are used: train, and test or else val.
fn choose(
    root: &Path,
    place: &Path,
    places: Vec<(PathPart, FilePlace)>,
    findings: &mut Findings,
) -> Result<FolderLayout, DataError> {
    let of = |wanted: PathPart| {
        let mut found = places.iter().filter(|(part, _)| *part == wanted);
        match (found.next(), found.next()) {
            (Some((_, first)), Some((_, second))) => Err(DataError::layout(
                place,
                format!(
                    "has {}/ and {}/, which are the same split by their names",
                    name_of(&first.images),
                    name_of(&second.images)
                ),
                described(&name_of(&first.images), "MASKS"),
            )),
            (found, _) => Ok(found.map(|(_, place)| place)),
        }
    };
    let (train, val, test) = (
        of(PathPart::Train)?,
        of(PathPart::Val)?,
        of(PathPart::Test)?,
    );
    let labeled = |place: &&FilePlace| {
        let masks = place.masks.as_ref();
        masks.is_some_and(|masks| masks.is_dir() && listing::holds_images(masks))
    };
    let taken = match (test, val) {
        (Some(test), Some(val)) if labeled(&val) && !labeled(&test) => {
            findings.note(
                "the test split has no masks and the val split has, so that val is evaluated.",
            );
            Some(val)
        }
        (Some(test), Some(_)) => {
            findings.note("the val split is left out, as there is a test split.");
            Some(test)
        }
        (None, Some(val)) => {
            findings.note("there is no test split, so that the val split is evaluated.");
            Some(val)
        }
        (test, None) => test,
    };
    match (train, taken) {
        (Some(train), Some(test)) => {
            let (train, test) = (train.clone(), test.clone());
            Ok(FolderLayout::Two { train, test })
        }
        (train, test) => {
            let (present, absent) = if train.is_some() {
                ("train", "test")
            } else {
                ("test", "train")
            };
            let only = train.or(test);
            let problem = format!("has {present}/ but no {absent}/, expected both or neither");
            // Folders that are there; where masks lie is the user's to say unless they were found.
            let below = |path: &Path| {
                let path = path.strip_prefix(root).unwrap_or(path);
                path.to_string_lossy().replace('\\', "/")
            };
            let images = only.map_or(present.to_owned(), |place| below(&place.images));
            let masks = only.and_then(|place| place.masks.as_deref());
            let masks = masks.filter(|masks| masks.is_dir());
            let remedy = format!(
                "add {absent}/ (val/ serves as test), or move the images up to use them for both, or {}",
                described(&images, &masks.map_or("MASKS".to_owned(), below))
            );
            Err(DataError::layout(place, problem, remedy))
        }
    }
}

/// Images that lie in folders of any name, as those of ImageNet do: taken together, unless some of
/// the folders may be masks of others.
fn nested(
    root: &Path,
    directories: &[PathBuf],
    findings: &mut Findings,
) -> Result<FolderLayout, DataError> {
    let mut folders = Vec::new();
    for directory in directories {
        let files = listing::images_below(directory, &mut Findings::collecting())?;
        if let Some(first) = files.first() {
            folders.push((directory, stores_ids(first), files.len()));
        }
    }
    let pictures = folders.iter().find(|(_, ids, _)| !ids);
    let ids = folders.iter().find(|(_, ids, _)| *ids);
    if let (Some((pictures, ..)), Some((ids, ..))) = (pictures, ids) {
        let (pictures, ids) = (name_of(pictures), name_of(ids));
        let problem = format!("has pictures in {pictures}/ and what may be their masks in {ids}/");
        let remedy = described(&pictures, &ids);
        return Err(DataError::layout(root, problem, remedy));
    }
    let count: usize = folders.iter().map(|(_, _, files)| files).sum();
    if count == 0 {
        let problem = "holds no images, expected files such as .jpg or .png";
        return Err(DataError::layout(root, problem, "put the images there"));
    }
    findings.note(format!(
        "{count} images in {} folders below {} are taken together, without masks.",
        folders.len(),
        root.display()
    ));
    let images = root.to_path_buf();
    Ok(FolderLayout::One(FilePlace {
        images,
        masks: None,
    }))
}

/// Whether a file is a PNG of grey or palette values, or of few colors, as masks are.
pub(crate) fn stores_ids(path: &Path) -> bool {
    let bytes = decode::read_file(path, "an image").unwrap_or_default();
    let png = decode::sniff(&bytes) == Some(decode::PictureFormat::Png);
    // The color type of a PNG's header: 0 is grey, 3 a palette, 4 grey with alpha.
    png && (bytes.get(25).is_some_and(|color| [0, 3, 4].contains(color))
        || decode::guarded(path, || decode::decode(path, &bytes))
            .is_ok_and(|decoded| has_few_colors(decoded.image.pixels())))
}

/// Whether a picture has at most 64 colors, and enough pixels to have more.
fn has_few_colors(pixels: &[u8]) -> bool {
    let (pixels, _) = pixels.as_chunks::<3>();
    let mut colors = BTreeSet::new();
    let few = pixels.iter().all(|pixel| {
        colors.insert(*pixel);
        colors.len() <= 64
    });
    few && pixels.len() >= 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_told_by_their_names() {
        for (name, expected) in [
            ("train", Some(PathPart::Train)),
            ("Training", Some(PathPart::Train)),
            ("train2017", Some(PathPart::Train)),
            ("VAL", Some(PathPart::Val)),
            ("validation", Some(PathPart::Val)),
            ("test_1", Some(PathPart::Test)),
            ("trains", None),
            ("testannot", None),
            ("2017", None),
        ] {
            assert_eq!(part(name), expected, "{name}");
        }
    }
}
