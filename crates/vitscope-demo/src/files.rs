//! Folders that are either whole or absent, and the files in them.

use std::path::Path;

use crate::error::DemoError;

/// Fills a folder beside its place through `fill`, then gives it its name.
pub(crate) fn folder(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), DemoError>,
) -> Result<(), DemoError> {
    if path.exists() {
        return Err(DemoError::Occupied(path.to_owned()));
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make(parent)?;
    let beside = tempfile::Builder::new()
        .prefix(".writing-")
        .tempdir_in(parent)
        .map_err(DemoError::io(path, "make the folder"))?;
    let inside = beside.path().join("folder");
    make(&inside)?;
    fill(&inside)?;
    std::fs::rename(&inside, path).map_err(DemoError::io(path, "rename the finished folder"))
}

/// Makes a folder and its parents.
pub(crate) fn make(path: &Path) -> Result<(), DemoError> {
    std::fs::create_dir_all(path).map_err(DemoError::io(path, "make the folder"))
}

/// Writes a file of a folder that has no name yet.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    std::fs::write(path, bytes).map_err(DemoError::io(path, "write"))
}

/// A PNG of 8-bit samples.
pub(crate) fn png(
    side: usize,
    color: png::ColorType,
    samples: &[u8],
) -> Result<Vec<u8>, DemoError> {
    let wrong = |error: png::EncodingError| DemoError::Internal(error.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side as u32, side as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(wrong)?;
    writer.write_image_data(samples).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    Ok(bytes)
}
