//! Why a picture is not decoded: it is none, it is damaged, or it would take the machine's memory.

use std::path::Path;

use crate::error::DataError;

/// More pixels than this are refused before memory is asked for: 2^28, 805 MB of RGB.
const MAX_PIXELS: u64 = 1 << 28;

/// The error for a file that is no picture: what it is instead.
pub(crate) fn no_picture(path: &Path, bytes: &[u8], expected: &'static str) -> DataError {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).to_lowercase();
    let start = start.trim_start();
    let (found, remedy) = if start.starts_with("version https://git-lfs") {
        (
            "a Git LFS pointer and no picture",
            "fetch the files with 'git lfs pull'",
        )
    } else if start.starts_with("<!doctype") || start.starts_with("<html") {
        ("a web page and no picture", "download it again")
    } else if bytes.starts_with(b"\x93NUMPY") {
        (
            "an array of NumPy and no picture",
            "save it as PNG, 'Image.fromarray(np.load(FILE).astype(\"uint8\")).save(PNG)' with Pillow",
        )
    } else {
        ("not an image by its content", "replace or remove the file")
    };
    DataError::NotAnImage {
        path: path.to_path_buf(),
        found,
        expected,
        remedy,
    }
}

/// A damaged file, with the decoder's reason cut to one line.
pub(crate) fn damaged(path: &Path, format: &'static str, reason: impl ToString) -> DataError {
    let reason = reason.to_string();
    let line = reason
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(['.', ' ']);
    DataError::Damaged {
        path: path.to_path_buf(),
        format,
        reason: line.to_owned(),
    }
}

/// Refuses sizes that would take the machine's memory.
pub(crate) fn check_pixels(path: &Path, width: u64, height: u64) -> Result<(), DataError> {
    if width.saturating_mul(height) <= MAX_PIXELS {
        return Ok(());
    }
    Err(DataError::UnsupportedImage {
        path: path.to_path_buf(),
        found: format!("an image of {width}x{height} pixels"),
        expected: "at most 268,435,456 pixels",
    })
}
