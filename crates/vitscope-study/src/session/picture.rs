//! The PNG files of a run directory.

use std::path::Path;

use png::{BitDepth, ColorType, Compression, Encoder};

use crate::error::StudyError;
use crate::files;

fn encode(
    path: &Path,
    [height, width]: [usize; 2],
    pixels: &[u8],
    palette: Option<&[[u8; 3]]>,
    compression: Compression,
) -> Result<(), StudyError> {
    let written = files::write_with(path, |out| {
        let mut encoder = Encoder::new(out, width as u32, height as u32);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(compression);
        if let Some(palette) = palette {
            encoder.set_color(ColorType::Indexed);
            encoder.set_palette(palette.concat());
        } else {
            encoder.set_color(ColorType::Rgb);
        }
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(pixels)?;
            writer.finish()
        });
        // The disk's own answer, so that a full disk is recognized as one.
        written.map_err(|error| match error {
            png::EncodingError::IoError(error) => error,
            other => other.into(),
        })
    });
    Ok(written?)
}

/// Writes an RGB picture.
///
/// # Shapes
/// `pixels` `[height, width, 3]`.
///
/// # Errors
/// When the disk refuses.
pub fn write_rgb(path: &Path, size: [usize; 2], pixels: &[u8]) -> Result<(), StudyError> {
    encode(path, size, pixels, None, Compression::Balanced)
}

/// Writes a map of indices with their colors; 255 is no index and gets a neutral grey.
///
/// # Shapes
/// `indices` `[height, width]`, all below `colors.len()` or 255.
///
/// # Errors
/// When the disk refuses.
pub fn write_indices(
    path: &Path,
    size: [usize; 2],
    indices: &[u8],
    colors: &[[u8; 3]],
) -> Result<(), StudyError> {
    encode(
        path,
        size,
        indices,
        Some(&full(colors)),
        Compression::Balanced,
    )
}

/// [`write_indices`] for a map that is soon read again: quickly rather than small.
///
/// # Errors
/// When the disk refuses.
pub fn write_for_now(
    path: &Path,
    size: [usize; 2],
    indices: &[u8],
    colors: &[[u8; 3]],
) -> Result<(), StudyError> {
    encode(path, size, indices, Some(&full(colors)), Compression::Fast)
}

/// A palette for every index that a byte can be.
fn full(colors: &[[u8; 3]]) -> Vec<[u8; 3]> {
    let mut palette = colors.to_vec();
    palette.resize(256, [0, 0, 0]);
    palette[255] = [200, 200, 200];
    palette
}

/// Reads the size (height, width) and the indices of a map that [`write_indices`] wrote.
///
/// # Errors
/// When the file is missing or damaged.
pub fn read_indices(path: &Path) -> Result<([usize; 2], Vec<u8>), StudyError> {
    let file = files::open(path).map_err(StudyError::io(path, "open"))?;
    let damaged = |error: &dyn std::fmt::Display| {
        StudyError::file(
            path,
            format!(
                "is damaged ({error}): remove the run's folder `state`, then continue with `resume`"
            ),
        )
    };
    let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(|error| damaged(&error))?;
    let length = reader
        .output_buffer_size()
        .ok_or_else(|| damaged(&"too large"))?;
    let mut pixels = vec![0; length];
    let frame = reader
        .next_frame(&mut pixels)
        .map_err(|error| damaged(&error))?;
    Ok(([frame.height as usize, frame.width as usize], pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map.png");
        let indices = [0, 1, 2, 255, 1, 0];
        for write in [write_indices, write_for_now] {
            write(&path, [2, 3], &indices, &[[1, 2, 3]; 3]).unwrap();
            assert_eq!(read_indices(&path).unwrap(), ([2, 3], indices.to_vec()));
        }
        std::fs::write(&path, b"no picture").unwrap();
        assert!(
            read_indices(&path)
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
    }
}
