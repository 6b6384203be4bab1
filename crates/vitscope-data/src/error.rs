//! What can be wrong with a data set, one sentence each.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a data set, an image or a mask could not be used.
///
/// Every message is one sentence that names the file, what was expected of it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The word before the colon of a DATA argument is no known kind.
    #[error(
        "'{kind}' in '{spec}' is no kind of data set, expected one of {known}; fix the word before the colon, or give a directory or a .toml file"
    )]
    UnknownKind {
        /// The word before the colon.
        kind: String,
        /// The whole argument.
        spec: String,
        /// The known kinds, comma separated.
        known: String,
    },
    /// Nothing exists where the data set should be.
    #[error("{} does not exist, expected {expected}; check the path", ShownPath(.path))]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What should be there.
        expected: String,
    },
    /// A directory that no kind of data set fits.
    #[error("{} fits no kind of data set (looked for {looked_for}); name the kind as 'kind:root', or describe the set in a .toml file", ShownPath(.path))]
    Unrecognized {
        /// The directory.
        path: PathBuf,
        /// The layouts that were looked for.
        looked_for: &'static str,
    },
    /// A directory that more than one kind of data set fits.
    #[error("{} fits more than one kind of data set ({kinds}); name the one you mean as 'kind:root'", ShownPath(.path))]
    Ambiguous {
        /// The directory.
        path: PathBuf,
        /// The kinds that fit, comma separated.
        kinds: String,
    },
    /// A directory is not laid out as its kind says.
    #[error("{} {problem}; {remedy}", ShownPath(.path))]
    Layout {
        /// The directory or file at fault.
        path: PathBuf,
        /// What is wrong, what was expected.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The operating system refused a file or directory.
    #[error("{} cannot be read ({source}), expected a readable file or directory; check that it exists and its permissions", ShownPath(.path))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A list file with a line that makes no sense.
    #[error("line {line} of {} {problem}; correct that line or remove the list", ShownPath(.path))]
    ListLine {
        /// The list file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A TOML description that cannot be used.
    #[error("the data set description {} is not usable: {problem}; correct the file", ShownPath(.path))]
    Description {
        /// The TOML file.
        path: PathBuf,
        /// What is wrong with it, with the line where there is one.
        problem: String,
    },
    /// Two images, or two masks, of one split share a stem.
    #[error("{} and {} have the same stem, expected one file per stem because results and masks are named by it; rename or remove one of them, or join masks of single classes into one of ids", ShownPath(.first), ShownPath(.second))]
    DuplicateStem {
        /// One of the two files.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// An image without its mask, in a set whose other images have one.
    #[error("the image {} has no mask, expected {}; add the mask, or remove the image from the set", ShownPath(.image), ShownPath(.expected))]
    NoMask {
        /// The image.
        image: PathBuf,
        /// Where its mask should be (any extension).
        expected: PathBuf,
    },
    /// More classes than a label map can hold.
    #[error("{} has {count} classes, expected at most 255 (254 and below are class indices, 255 means ignored); if its masks number single objects (instances), take the masks of classes that belong to them, and otherwise merge classes through a .toml description", ShownPath(.path))]
    TooManyClasses {
        /// The data set.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// A file of no bytes.
    #[error("{} is empty (0 bytes), expected {expected}; restore or remove the file", ShownPath(.path))]
    EmptyFile {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// A file whose content is no image.
    #[error("{} is {found}, expected {expected}; {remedy}", ShownPath(.path))]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// An image of a form that is not read.
    #[error("{} is {found}, expected {expected}; convert the file", ShownPath(.path))]
    UnsupportedImage {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What can be read.
        expected: &'static str,
    },
    /// An image whose data end too early or contradict themselves.
    #[error("{} cannot be decoded as {format} ({reason}), expected a complete, undamaged file; copy or download it again, or remove it", ShownPath(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format its content announces.
        format: &'static str,
        /// The decoder's reason.
        reason: String,
    },
    /// A mask that is coded in another way than its data set says.
    #[error("the mask {} is {found}, expected {expected}; {remedy}", ShownPath(.path))]
    MaskCoding {
        /// The mask.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What was expected.
        expected: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A mask of another size than its image.
    #[error("the mask {} is {}x{} but its image {} is {}x{}{note}, expected equal sizes; export the mask again at the image's own size and orientation", ShownPath(.mask), .mask_size.0, .mask_size.1, ShownPath(.image), .image_size.0, .image_size.1)]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// Its width and height in pixels.
        mask_size: (usize, usize),
        /// The image.
        image: PathBuf,
        /// Its width and height in pixels, as shown.
        image_size: (usize, usize),
        /// Says so where EXIF orientation turned the image.
        note: &'static str,
    },
    /// A mask with a value that the data set's table does not have.
    #[error("the mask {} has the label id {id}, expected an id of the table of {table}; correct the mask, or describe the set's ids in a .toml file", ShownPath(.path))]
    UnknownId {
        /// The mask.
        path: PathBuf,
        /// The value.
        id: u32,
        /// The table in words.
        table: String,
    },
    /// A color-coded mask with a color that the description does not have.
    #[error("the mask {} has the color ({}, {}, {}), expected a color of the table of {table}; correct the mask, or add the color to the description", ShownPath(.path), .color[0], .color[1], .color[2])]
    UnknownColor {
        /// The mask.
        path: PathBuf,
        /// The color.
        color: [u8; 3],
        /// The table in words.
        table: String,
    },
    /// An annotation file (.mat or JSON) that cannot be used.
    #[error("the annotation {} {problem}; copy or download it again, or remove its image from the set", ShownPath(.path))]
    Annotation {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, what was expected.
        problem: String,
    },
    /// A photograph of a pair that is not the annotated one.
    #[error("the photograph {} is {}x{} pixels, its pair's annotation says {}x{}; copy or download it again", ShownPath(.path), .found.0, .found.1, .expected.0, .expected.1)]
    PhotographSize {
        /// The file.
        path: PathBuf,
        /// Its width and height in pixels.
        found: (usize, usize),
        /// What the annotation says.
        expected: (usize, usize),
    },
    /// A data set of pairs where one of images was asked for.
    #[error("{} is a data set of pairs of images with key points, expected one of images with masks; use it for correspondence, or give its JPEGImages as a 'folder'", ShownPath(.path))]
    Pairs {
        /// The data set's directory.
        path: PathBuf,
    },
    /// An image index past the end of a split.
    #[error(
        "image {index} was asked for, expected an index below {count}, the number of images of that split; correct the order of work"
    )]
    NoSuchImage {
        /// The index asked for.
        index: usize,
        /// How many images the split has.
        count: usize,
    },
    /// Making the crops of an image panicked, which is a mistake of this program.
    #[error(
        "{} could not be made into a crop ({reason}), which is a mistake of this program; please report it with the file, and leave the image out meanwhile", ShownPath(.path)
    )]
    Panicked {
        /// The image.
        path: PathBuf,
        /// What the panic said.
        reason: String,
    },
    /// The background threads that decode images could not be started or ended early.
    #[error(
        "no background thread could decode images ({reason}), expected the system to allow at least one; ask for fewer threads"
    )]
    Threads {
        /// Why not.
        reason: String,
    },
}

impl DataError {
    /// The sort of problem, in a word or two: what a table of problems counts by.
    #[must_use]
    pub fn sort(&self) -> &'static str {
        match self {
            Self::UnknownKind { .. } | Self::Unrecognized { .. } | Self::Ambiguous { .. } => "kind",
            Self::Pairs { .. } => "kind",
            Self::Missing { .. } => "missing file",
            Self::Layout { .. } => "layout",
            Self::Read { .. } => "unreadable file",
            Self::ListLine { .. } => "list",
            Self::Description { .. } => "description",
            Self::DuplicateStem { .. } => "duplicate stem",
            Self::NoMask { .. } => "image without mask",
            Self::TooManyClasses { .. } => "too many classes",
            Self::EmptyFile { .. } => "empty file",
            Self::NotAnImage { .. } => "not an image",
            Self::UnsupportedImage { .. } => "unsupported format",
            Self::Damaged { .. } => "damaged file",
            Self::MaskCoding { .. } => "mask coding",
            Self::MaskSize { .. } => "mask size",
            Self::UnknownId { .. } | Self::UnknownColor { .. } => "label off the table",
            Self::Annotation { .. } => "annotation",
            Self::PhotographSize { .. } => "image size",
            Self::NoSuchImage { .. } | Self::Threads { .. } | Self::Panicked { .. } => "internal",
        }
    }

    /// The file or directory at fault, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::UnknownKind { .. } | Self::NoSuchImage { .. } | Self::Threads { .. } => None,
            Self::DuplicateStem { second, .. } => Some(second),
            Self::NoMask { image, .. } => Some(image),
            Self::MaskSize { mask, .. } => Some(mask),
            Self::Missing { path, .. }
            | Self::Unrecognized { path, .. }
            | Self::Ambiguous { path, .. }
            | Self::Layout { path, .. }
            | Self::Read { path, .. }
            | Self::ListLine { path, .. }
            | Self::Description { path, .. }
            | Self::TooManyClasses { path, .. }
            | Self::EmptyFile { path, .. }
            | Self::NotAnImage { path, .. }
            | Self::UnsupportedImage { path, .. }
            | Self::Damaged { path, .. }
            | Self::MaskCoding { path, .. }
            | Self::UnknownId { path, .. }
            | Self::UnknownColor { path, .. }
            | Self::Annotation { path, .. }
            | Self::PhotographSize { path, .. }
            | Self::Panicked { path, .. }
            | Self::Pairs { path } => Some(path),
        }
    }

    /// The error of a failed read, with the file it happened on.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    /// A layout error: the place, what is wrong with it, and what to do.
    pub(crate) fn layout(
        path: &Path,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Layout {
            path: path.to_path_buf(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// Writes a path without panicking on names that are not UTF-8.
struct ShownPath<'a>(&'a PathBuf);

impl fmt::Display for ShownPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}
