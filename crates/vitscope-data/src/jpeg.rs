//! JPEG to 8-bit RGB.

use std::path::Path;

use image::metadata::Orientation;
use jpeg_decoder::ColorTransform;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::error::DataError;
use crate::jpeg_segments::{JpegColors, JpegSegments, is_complete};
use crate::refused::{check_pixels, damaged};

/// Width, height and EXIF orientation of a JPEG.
pub(crate) fn header(path: &Path, bytes: &[u8]) -> Result<(usize, usize, Orientation), DataError> {
    let segments = JpegSegments::read(bytes).map_err(|reason| damaged(path, "JPEG", reason))?;
    let (width, height) = segments.size;
    Ok((width, height, segments.orientation))
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
    let segments = JpegSegments::read(bytes).map_err(|reason| damaged(path, "JPEG", reason))?;
    let (width, height) = segments.size;
    check_pixels(path, width as u64, height as u64)?;
    if let Some(found) = unread(&segments) {
        return Err(DataError::UnsupportedImage {
            path: path.to_path_buf(),
            found,
            expected: "a JPEG of 8 bits a sample with Huffman codes (jpegtran rewrites others)",
        });
    }
    let plain = segments.plain();
    let components = if segments.regular {
        fast(path, &plain, &segments)?
    } else {
        thorough(path, &plain, &segments)?
    };
    let pixels = match components {
        Components::Rgb(pixels) => pixels,
        Components::YCbCr(pixels) => {
            let (each, _) = pixels.as_chunks::<3>();
            let each = each.iter();
            each.flat_map(|&[y, cb, cr]| to_rgb(y, cb, cr)).collect()
        }
        Components::Inks(pixels) if segments.colors == JpegColors::Ycck => {
            from_inks(&pixels, |[y, cb, cr]| to_rgb(y, cb, cr).map(|v| 255 - v))
        }
        Components::Inks(pixels) => from_inks(&pixels, |inks| inks),
    };
    Ok((width, height, pixels, segments.orientation))
}

/// Pixels as a decoder gives them.
enum Components {
    Rgb(Vec<u8>),
    YCbCr(Vec<u8>),
    /// Four a pixel, as stored.
    Inks(Vec<u8>),
}

/// Decodes what nearly all files are, by zune-jpeg. It tells colors by other rules than libjpeg:
/// where the two may differ it is asked for the components as they are.
fn fast(path: &Path, plain: &[u8], segments: &JpegSegments<'_>) -> Result<Components, DataError> {
    let asked = match (segments.colors, segments.lettered) {
        (JpegColors::Cmyk | JpegColors::Ycck, _) => ColorSpace::CMYK,
        (JpegColors::Rgb, false) => ColorSpace::YCbCr,
        (JpegColors::Grey | JpegColors::Rgb | JpegColors::YCbCr, _) => ColorSpace::RGB,
    };
    let pixels = open(plain, asked)
        .decode()
        .map_err(|error| damaged(path, "JPEG", error))?;
    Ok(match (segments.colors, segments.lettered) {
        (JpegColors::Cmyk | JpegColors::Ycck, _) => Components::Inks(pixels),
        (JpegColors::YCbCr, true) => Components::YCbCr(pixels),
        _ => Components::Rgb(pixels),
    })
}

/// Decodes the forms that the fast decoder gets wrong, by jpeg-decoder: one scan for each
/// component, and unusual sampling.
fn thorough(
    path: &Path,
    plain: &[u8],
    segments: &JpegSegments<'_>,
) -> Result<Components, DataError> {
    let (width, height) = segments.size;
    let mut decoder = jpeg_decoder::Decoder::new(plain);
    decoder.set_max_decoding_buffer_size(width.saturating_mul(height).saturating_mul(4));
    decoder.set_color_transform(match segments.colors {
        JpegColors::Grey => ColorTransform::Grayscale,
        JpegColors::YCbCr => ColorTransform::YCbCr,
        JpegColors::Rgb => ColorTransform::RGB,
        JpegColors::Cmyk | JpegColors::Ycck => ColorTransform::CMYK,
    });
    let mut pixels = decoder
        .decode()
        .map_err(|error| damaged(path, "JPEG", error))?;
    Ok(match segments.colors {
        JpegColors::Grey => Components::Rgb(pixels.iter().flat_map(|&grey| [grey; 3]).collect()),
        JpegColors::YCbCr | JpegColors::Rgb => Components::Rgb(pixels),
        JpegColors::Cmyk | JpegColors::Ycck => {
            // It gives them turned over, and what is wanted here is as stored.
            pixels.iter_mut().for_each(|ink| *ink = 255 - *ink);
            Components::Inks(pixels)
        }
    })
}

/// What the decoder does not read, in words.
fn unread(segments: &JpegSegments<'_>) -> Option<String> {
    match (segments.frame, segments.bits) {
        (0xc0..=0xc2, 8) => None,
        (0xc0..=0xc2, bits) => Some(format!("a JPEG of {bits} bits a sample")),
        (0xc3, _) => Some("a lossless JPEG".to_owned()),
        (0xc9..=0xcb, _) => Some("a JPEG with arithmetic codes".to_owned()),
        _ => Some("a hierarchical JPEG".to_owned()),
    }
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

/// A decoder that will give `asked`; of RGB, grey is repeated.
fn open(bytes: &[u8], asked: ColorSpace) -> JpegDecoder<ZCursor<&[u8]>> {
    // Strict mode would refuse files that every other program reads, such as those with stray
    // bytes between segments.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(asked);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}
