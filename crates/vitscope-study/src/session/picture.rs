//! The PNG files of a run directory.

use std::path::Path;

use png::{BitDepth, ColorType, Compression, Encoder};

use crate::error::StudyError;
use crate::files;

/// The entry of a waiting map's text.
const OF: &str = "of";

fn encode(
    path: &Path,
    [height, width]: [usize; 2],
    pixels: &[u8],
    palette: Option<&[[u8; 3]]>,
    compression: Compression,
    of: Option<&str>,
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
        let said = of.map_or(Ok(()), |of| {
            encoder.add_text_chunk(OF.to_owned(), of.to_owned())
        });
        let written = said.and_then(|()| encoder.write_header());
        let written = written.and_then(|mut writer| {
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
    encode(path, size, pixels, None, Compression::Balanced, None)
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
        None,
    )
}

/// [`write_indices`] for a map that is soon read again: quickly rather than small, and it says what it is `of`.
///
/// # Errors
/// When the disk refuses.
pub fn write_for_now(
    path: &Path,
    size: [usize; 2],
    indices: &[u8],
    colors: &[[u8; 3]],
    of: &str,
) -> Result<(), StudyError> {
    let colors = full(colors);
    encode(
        path,
        size,
        indices,
        Some(&colors),
        Compression::Fast,
        Some(of),
    )
}

/// A palette for every index that a byte can be.
fn full(colors: &[[u8; 3]]) -> Vec<[u8; 3]> {
    let mut palette = colors.to_vec();
    palette.resize(256, [0, 0, 0]);
    palette[255] = [200, 200, 200];
    palette
}

/// Reads the size (height, width) and the indices of a map that [`write_for_now`] wrote `of` this.
///
/// # Errors
/// When the file is missing, damaged, or of something else; `damaged` makes an error of that.
pub fn read_indices(
    path: &Path,
    of: &str,
    damaged: &dyn Fn(&dyn std::fmt::Display) -> StudyError,
) -> Result<([usize; 2], Vec<u8>), StudyError> {
    let file = match files::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(&"it is missing"));
        }
        file => file.map_err(StudyError::io(path, "open"))?,
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
    let said = &reader.info().uncompressed_latin1_text;
    if !said
        .iter()
        .any(|said| said.keyword == OF && said.text == of)
    {
        return Err(damaged(&"it is of another image, slot or run"));
    }
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
        let told = |problem: &dyn std::fmt::Display| StudyError::setting(problem.to_string());
        let read = |of: &str| read_indices(&path, of, &told);
        let error = |of: &str| read(of).unwrap_err().to_string();
        assert_eq!(error("one"), "it is missing");
        let colors = [[1, 2, 3]; 3];
        write_for_now(&path, [2, 3], &indices, &colors, "one").unwrap();
        assert_eq!(read("one").unwrap(), ([2, 3], indices.to_vec()));
        assert!(error("two").contains("it is of another image"));
        // Every bit of what it says is guarded, too.
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let same = read("one").ok();
            assert!(same.is_none_or(|found| found == ([2, 3], indices.to_vec())));
        }
        // One that is shown says nothing.
        write_indices(&path, [2, 3], &indices, &colors).unwrap();
        assert!(error("one").contains("it is of another image"));
        std::fs::write(&path, b"no picture").unwrap();
        assert!(!error("one").is_empty());
    }
}
