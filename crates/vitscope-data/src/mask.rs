//! Mask files to label indices: palette and grey PNG are read as the numbers they store, never as
//! colors.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType};

use crate::decode::{Format, check_pixels, damaged, sniff};
use crate::error::DataError;

/// A decoded mask, `[height, width]` row-major.
pub(crate) struct Mask {
    pub width: usize,
    pub height: usize,
    pub values: Values,
}

/// What a mask stores at each pixel.
pub(crate) enum Values {
    /// Indices of up to 8 bits: grey of 1, 2, 4 or 8 bits as stored (not scaled up), or palette
    /// indices.
    Ids8(Vec<u8>),
    /// 16-bit grey.
    Ids16(Vec<u16>),
    /// 8-bit color, `[height, width, 3]`.
    Colors(Vec<[u8; 3]>),
}

impl Mask {
    /// The ids that occur. Colors are not ids and give none.
    pub(crate) fn ids(&self) -> BTreeSet<u16> {
        match &self.values {
            Values::Ids8(ids) => {
                let mut seen = [false; 256];
                for &id in ids {
                    seen[usize::from(id)] = true;
                }
                (0..256u16).filter(|&id| seen[usize::from(id)]).collect()
            }
            Values::Ids16(ids) => {
                let mut seen = vec![false; 1 << 16];
                for &id in ids {
                    seen[usize::from(id)] = true;
                }
                (0..=u16::MAX).filter(|&id| seen[usize::from(id)]).collect()
            }
            Values::Colors(_) => BTreeSet::new(),
        }
    }
}

/// Decodes a mask file, which must be a PNG.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Mask, DataError> {
    match sniff(bytes) {
        Some(Format::Png) => {}
        Some(Format::Jpeg) => {
            return Err(coding(
                path,
                "a JPEG",
                "JPEG changes label ids; export the mask again as PNG",
            ));
        }
        _ => {
            return Err(coding(
                path,
                "not a PNG by its content",
                "convert it to PNG",
            ));
        }
    }
    let limits = png::Limits { bytes: usize::MAX };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder
        .read_info()
        .map_err(|error| damaged(path, "PNG", error))?;
    let (width, height) = reader.info().size();
    check_pixels(path, width.into(), height.into())?;
    let length = reader
        .output_buffer_size()
        .ok_or_else(|| damaged(path, "PNG", "too large"))?;
    let mut data = vec![0; length];
    let frame = reader
        .next_frame(&mut data)
        .map_err(|error| damaged(path, "PNG", error))?;
    data.truncate(frame.buffer_size());
    let (width, height) = (width as usize, height as usize);
    use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    let values = match (frame.color_type, frame.bit_depth) {
        (Grayscale | Indexed, BitDepth::Eight) => Values::Ids8(data),
        (Grayscale | Indexed, BitDepth::One) => {
            Values::Ids8(unpack(&data, width, frame.line_size, 1))
        }
        (Grayscale | Indexed, BitDepth::Two) => {
            Values::Ids8(unpack(&data, width, frame.line_size, 2))
        }
        (Grayscale | Indexed, BitDepth::Four) => {
            Values::Ids8(unpack(&data, width, frame.line_size, 4))
        }
        (Grayscale, BitDepth::Sixteen) => {
            let pairs = data.chunks_exact(2);
            Values::Ids16(
                pairs
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                    .collect(),
            )
        }
        (GrayscaleAlpha, BitDepth::Eight) => {
            Values::Ids8(data.chunks_exact(2).map(|pair| pair[0]).collect())
        }
        (Rgb, BitDepth::Eight) => Values::Colors(colors(&data, 3)),
        (Rgba, BitDepth::Eight) => Values::Colors(colors(&data, 4)),
        _ => {
            let remedy = "convert it to 8-bit or 16-bit grey ids, or an 8-bit palette";
            return Err(coding(path, "a PNG with 16-bit color or alpha", remedy));
        }
    };
    Ok(Mask {
        width,
        height,
        values,
    })
}

fn coding(path: &Path, found: &str, remedy: &'static str) -> DataError {
    DataError::MaskCoding {
        path: path.to_path_buf(),
        found: found.to_owned(),
        expected: "a PNG of label ids (grey or palette) or 8-bit colors",
        remedy,
    }
}

/// Rows of packed 1, 2 or 4 bit values, each row padded to whole bytes, first value in the high
/// bits.
fn unpack(data: &[u8], width: usize, line_size: usize, bits: usize) -> Vec<u8> {
    let per_byte = 8 / bits;
    let low_bits = (1u8 << bits) - 1;
    data.chunks_exact(line_size.max(1))
        .flat_map(|line| {
            (0..width).map(move |column| {
                let shift = 8 - bits - column % per_byte * bits;
                line[column / per_byte] >> shift & low_bits
            })
        })
        .collect()
}

fn colors(data: &[u8], channels: usize) -> Vec<[u8; 3]> {
    data.chunks_exact(channels)
        .map(|pixel| [pixel[0], pixel[1], pixel[2]])
        .collect()
}
