//! JPEG to 8-bit RGB.

use std::path::Path;

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::decode::{check_pixels, damaged};
use crate::error::DataError;

/// Width, height and EXIF orientation of a JPEG.
pub(crate) fn header(path: &Path, bytes: &[u8]) -> Result<(usize, usize, Orientation), DataError> {
    let decoder = open(path, bytes)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    Ok((width, height, orientation(&decoder)))
}

/// Width, height, RGB pixels as stored, and EXIF orientation of a JPEG.
pub(crate) fn decode(
    path: &Path,
    bytes: &[u8],
) -> Result<(usize, usize, Vec<u8>, Orientation), DataError> {
    // The decoder fills what is missing with grey, so a file cut short must be found before.
    if !is_complete(bytes) {
        return Err(damaged(path, "JPEG", "the file ends before the image does"));
    }
    let mut decoder = open(path, bytes)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_pixels(path, width as u64, height as u64)?;
    let inks = decoder.input_colorspace();
    if let Some(inks @ (ColorSpace::CMYK | ColorSpace::YCCK)) = inks {
        let options = decoder.options().jpeg_set_out_colorspace(inks);
        decoder.set_options(options);
    }
    let pixels = decoder
        .decode()
        .map_err(|error| damaged(path, "JPEG", error))?;
    let pixels = match inks {
        Some(ColorSpace::CMYK) => from_inks(&pixels, |inks| inks),
        Some(ColorSpace::YCCK) => {
            from_inks(&pixels, |[y, cb, cr]| to_rgb(y, cb, cr).map(|v| 255 - v))
        }
        _ => pixels,
    };
    Ok((width, height, pixels, orientation(&decoder)))
}

/// Four inks to RGB as Pillow does it: JPEG stores them inverted (as Adobe began it), and each
/// color is what its ink and black let through. `inks` turns the first three stored values into
/// those of cyan, magenta and yellow.
fn from_inks(pixels: &[u8], inks: impl Fn([u8; 3]) -> [u8; 3]) -> Vec<u8> {
    let through = |ink: u8, black: u8| {
        let product = u32::from(255 - ink) * u32::from(black) + 128;
        (u32::from(black) - (((product >> 8) + product) >> 8)) as u8
    };
    pixels
        .chunks_exact(4)
        .flat_map(|pixel| inks([pixel[0], pixel[1], pixel[2]]).map(|ink| through(ink, pixel[3])))
        .collect()
}

/// JFIF's YCbCr to RGB, rounded to nearest.
fn to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    // A cast to u8 stops at 0 and 255.
    [
        y + 1.402 * cr,
        y - 0.344_136_3 * cb - 0.714_136_3 * cr,
        y + 1.772 * cb,
    ]
    .map(|value| value.round() as u8)
}

/// A decoder that has read the headers and will give RGB, grey repeated.
fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<JpegDecoder<ZCursor<&'a [u8]>>, DataError> {
    // Strict mode would refuse files that every other program reads, such as those with stray
    // bytes between segments.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|error| damaged(path, "JPEG", error))?;
    Ok(decoder)
}

fn orientation(decoder: &JpegDecoder<ZCursor<&[u8]>>) -> Orientation {
    decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms)
}

/// Whether the segments of a JPEG lead to its end-of-image marker. Pillow refuses files where they
/// do not.
fn is_complete(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let Some(start) = rest.iter().position(|&byte| byte == 0xff) else {
            return false;
        };
        rest = &rest[start + 1..];
        let Some(&marker) = rest.first() else {
            return false;
        };
        match marker {
            0xd9 => return true,
            // 0xff fills before a marker; 0x00 and restarts belong to the coded data.
            0xff => {}
            0x00 | 0x01 | 0xd0..=0xd8 => rest = &rest[1..],
            _ => {
                let Some(&[high, low]) = rest.get(1..3) else {
                    return false;
                };
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(after) = rest.get(1 + length..) else {
                    return false;
                };
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_marker_inside_a_segment_does_not_count() {
        let thumbnail =
            b"\xff\xd8\xff\xe1\x00\x06\xff\xd9\x00\x00\xff\xda\x00\x02ab\xff\x00\xff\xd0cd";
        assert!(!is_complete(thumbnail));
        let whole = [thumbnail.as_slice(), b"\xff\xd9trailing"].concat();
        assert!(is_complete(&whole));
        assert!(!is_complete(b"\xff\xd8"));
        assert!(!is_complete(b"\xff\xd8\xff\xe1\xff"));
    }
}
