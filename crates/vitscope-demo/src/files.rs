//! Folders that are either whole or absent, and the files in them.

use std::path::Path;

use vitscope_run::files;

use crate::error::DemoError;

/// Fills a folder beside its place through `fill`, then gives it its name.
pub(crate) fn folder(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), DemoError>,
) -> Result<(), DemoError> {
    if path.exists() {
        return Err(DemoError::Occupied(path.to_owned()));
    }
    files::write_folder(path, fill)
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
