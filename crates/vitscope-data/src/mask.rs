//! Mask files to label indices: palette and grey PNG are read as the numbers they store, never as
//! colors.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use image::metadata::Orientation;
use png::{BitDepth, ColorType};

use crate::decode::{PictureFormat, png_decoder, png_orientation, sniff};
use crate::error::DataError;
use crate::frames;
use crate::refused::{check_pixels, damaged, no_picture};

/// Colors that an error names one by one.
const SHOWN_COLORS: usize = 6;

/// A decoded mask, `[height, width]` row-major.
pub(crate) struct Mask {
    pub width: usize,
    pub height: usize,
    pub values: StoredValues,
    /// The file's own palette, which says nothing of its indices unless a set is told by color.
    pub palette: Option<Vec<[u8; 3]>>,
    /// Whether the file has an EXIF orientation, which is never applied to masks.
    pub turned: bool,
    /// Whether pixels are transparent, which is dropped.
    pub(crate) transparent: bool,
    /// Pictures in the file, of which this is the first.
    pub(crate) frames: u32,
}

/// What a mask stores at each pixel.
pub(crate) enum StoredValues {
    /// Indices of up to 8 bits: grey of 1, 2, 4 or 8 bits as stored (not scaled up), or palette
    /// indices.
    Ids8(Vec<u8>),
    /// 16-bit grey.
    Ids16(Vec<u16>),
    /// 8-bit color, `[height, width, 3]`.
    Colors(Vec<[u8; 3]>),
}

impl Mask {
    /// Its colors: as stored, or through its palette. None for ids without colors.
    pub(crate) fn colors(&self) -> Option<Cow<'_, [[u8; 3]]>> {
        match (&self.values, &self.palette) {
            (StoredValues::Colors(colors), _) => Some(Cow::Borrowed(colors)),
            (StoredValues::Ids8(ids), Some(palette)) => {
                // An index past the palette is black, as Pillow shows it.
                let color = |&id: &u8| palette.get(usize::from(id)).copied().unwrap_or_default();
                Some(Cow::Owned(ids.iter().map(color).collect()))
            }
            _ => None,
        }
    }

    /// The ids that occur. Colors are not ids and give none.
    pub(crate) fn ids(&self) -> BTreeSet<u16> {
        match &self.values {
            StoredValues::Ids8(ids) => {
                let mut seen = [false; 256];
                for &id in ids {
                    seen[usize::from(id)] = true;
                }
                (0..256u16).filter(|&id| seen[usize::from(id)]).collect()
            }
            StoredValues::Ids16(ids) => {
                let mut seen = vec![false; 1 << 16];
                for &id in ids {
                    seen[usize::from(id)] = true;
                }
                (0..=u16::MAX).filter(|&id| seen[usize::from(id)]).collect()
            }
            StoredValues::Colors(_) => BTreeSet::new(),
        }
    }
}

/// Decodes a mask file, which must be a PNG.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Mask, DataError> {
    match sniff(bytes) {
        Some(PictureFormat::Png) => {}
        Some(PictureFormat::Jpeg) => {
            return Err(coding(
                path,
                "a JPEG",
                "JPEG changes label ids; export the mask again as PNG",
            ));
        }
        None => {
            let expected = "a PNG of label ids (grey or palette) or 8-bit colors";
            return Err(no_picture(path, bytes, expected));
        }
        Some(_) => {
            return Err(coding(
                path,
                "not a PNG by its content",
                "convert it to PNG",
            ));
        }
    }
    let mut decoder = png_decoder(bytes);
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
    let clear = match frame.color_type {
        GrayscaleAlpha => data.chunks_exact(2).any(|pixel| pixel[1] < u8::MAX),
        Rgba => data.chunks_exact(4).any(|pixel| pixel[3] < u8::MAX),
        _ => false,
    };
    let values = match (frame.color_type, frame.bit_depth) {
        (Grayscale | Indexed, BitDepth::Eight) => StoredValues::Ids8(data),
        (Grayscale | Indexed, BitDepth::One) => {
            StoredValues::Ids8(unpack(&data, width, frame.line_size, 1))
        }
        (Grayscale | Indexed, BitDepth::Two) => {
            StoredValues::Ids8(unpack(&data, width, frame.line_size, 2))
        }
        (Grayscale | Indexed, BitDepth::Four) => {
            StoredValues::Ids8(unpack(&data, width, frame.line_size, 4))
        }
        (Grayscale, BitDepth::Sixteen) => {
            let pairs = data.chunks_exact(2);
            StoredValues::Ids16(
                pairs
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                    .collect(),
            )
        }
        (GrayscaleAlpha, BitDepth::Eight) => {
            StoredValues::Ids8(data.chunks_exact(2).map(|pair| pair[0]).collect())
        }
        (Rgb, BitDepth::Eight) => StoredValues::Colors(colors(&data, 3)),
        (Rgba, BitDepth::Eight) => StoredValues::Colors(colors(&data, 4)),
        _ => {
            let remedy = "convert it to 8-bit or 16-bit grey ids, or an 8-bit palette";
            return Err(coding(path, "a PNG with 16-bit color or alpha", remedy));
        }
    };
    let info = reader.info();
    // A palette gives the opacity of its first entries.
    let faint = |&id: &u8| {
        let given = info
            .trns
            .as_deref()
            .and_then(|alpha| alpha.get(usize::from(id)));
        given.is_some_and(|&alpha| alpha < u8::MAX)
    };
    let transparent = clear
        || match &values {
            StoredValues::Ids8(ids) if info.color_type == Indexed => ids.iter().any(faint),
            _ => false,
        };
    let palette = info
        .palette
        .as_deref()
        .filter(|_| info.color_type == Indexed);
    Ok(Mask {
        width,
        height,
        values,
        palette: palette.map(|palette| palette.as_chunks::<3>().0.to_vec()),
        turned: png_orientation(info) != Orientation::NoTransforms,
        transparent,
        frames: frames::count(bytes),
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

/// The error of a mask that stores colors where ids are wanted, with the colors that it holds.
pub(crate) fn colored(path: &Path, colors: &[[u8; 3]]) -> DataError {
    let mut counts: BTreeMap<[u8; 3], u64> = BTreeMap::new();
    for &color in colors {
        *counts.entry(color).or_insert(0) += 1;
    }
    let mut common: Vec<([u8; 3], u64)> = counts.into_iter().collect();
    common.sort_by_key(|&(color, count)| (std::cmp::Reverse(count), color));
    let share = |count: u64| 100.0 * count as f64 / colors.len().max(1) as f64;
    let named = common
        .iter()
        .take(SHOWN_COLORS)
        .map(|&([r, g, b], count)| format!("#{r:02x}{g:02x}{b:02x} {:.1} %", share(count)));
    let mut named = named.collect::<Vec<_>>().join(", ");
    if common.len() > SHOWN_COLORS {
        named.push_str(&format!(" and {} more", common.len() - SHOWN_COLORS));
    }
    DataError::MaskCoding {
        path: path.to_path_buf(),
        found: format!("an RGB picture ({named})"),
        expected: "label ids (grey or palette)",
        remedy: "describe its colors in a .toml file, one [[classes]] with 'name' and 'rgb = [[R, G, B]]' for each \
            ('vitscope data check DATA --draft FILE.toml' writes it), or convert it to ids",
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
