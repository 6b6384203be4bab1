//! Files to 8-bit RGB: what an image file is by its content, and its pixels upright.

use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::codecs::bmp::BmpDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use crate::error::DataError;
use crate::jpeg;
use crate::resize::RgbImage;

/// More pixels than this are refused before memory is asked for: 2^28, 805 MB of RGB.
const MAX_PIXELS: u64 = 1 << 28;

/// A decoded image and how it was stored.
pub(crate) struct Decoded {
    /// The image, upright.
    pub image: RgbImage,
    /// Whether EXIF orientation turned it.
    pub turned: bool,
}

/// The size of an image without its pixels.
pub(crate) struct Extent {
    /// Width and height in pixels, upright.
    pub size: (usize, usize),
    /// Whether EXIF orientation turns it.
    pub turned: bool,
}

/// The formats that are told apart by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    Bmp,
    WebP,
    /// Known, and not read.
    Other(&'static str),
}

/// A whole file, which must not be empty.
pub(crate) fn read_file(path: &Path, expected: &'static str) -> Result<Vec<u8>, DataError> {
    let bytes = fs::read(path).map_err(|source| DataError::read(path, source))?;
    if bytes.is_empty() {
        return Err(DataError::EmptyFile {
            path: path.to_path_buf(),
            expected,
        });
    }
    Ok(bytes)
}

/// Runs a decoder, so that one that panics on a damaged file gives an error that names the file.
pub(crate) fn guarded<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, DataError>,
) -> Result<T, DataError> {
    // What the decoder had in hand is dropped with it, so nothing half done is seen afterwards.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(damaged(
            path,
            "an image or mask",
            "the decoder gave up on it",
        ))
    })
}

/// The format of a file by its first bytes, whatever its name says.
pub(crate) fn sniff(bytes: &[u8]) -> Option<Format> {
    let at = |start: usize, magic: &[u8]| bytes.get(start..).is_some_and(|b| b.starts_with(magic));
    Some(match () {
        () if at(0, b"\xff\xd8\xff") => Format::Jpeg,
        () if at(0, b"\x89PNG\r\n\x1a\n") => Format::Png,
        () if at(0, b"BM") => Format::Bmp,
        () if at(0, b"RIFF") && at(8, b"WEBP") => Format::WebP,
        () if at(0, b"GIF8") => Format::Other("a GIF"),
        () if at(0, b"II*\0") || at(0, b"MM\0*") => Format::Other("a TIFF"),
        () if at(4, b"ftypavif") || at(4, b"ftypheic") || at(4, b"ftypmif1") => {
            Format::Other("a HEIF or AVIF image")
        }
        () if at(0, b"\0\0\0\x0cjP  ") || at(0, b"\xff\x4f\xff\x51") => {
            Format::Other("a JPEG 2000 image")
        }
        () if at(0, b"P5") || at(0, b"P6") => Format::Other("a PNM image"),
        () if at(0, b"MATLAB") => Format::Other("a MATLAB file"),
        () => return None,
    })
}

/// Decodes an image file to upright 8-bit RGB.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Decoded, DataError> {
    let (width, height, pixels, orientation) = match known_format(path, bytes)? {
        Format::Jpeg => jpeg::decode(path, bytes)?,
        Format::Png => decode_png(path, bytes)?,
        Format::Bmp => decode_with(path, "BMP", BmpDecoder::new(Cursor::new(bytes)))?,
        Format::WebP | Format::Other(_) => {
            decode_with(path, "WebP", WebPDecoder::new(Cursor::new(bytes)))?
        }
    };
    let empty = || damaged(path, "an image", "it has no pixels");
    let turned = orientation != Orientation::NoTransforms;
    if !turned {
        let image = RgbImage::new(width, height, pixels).ok_or_else(empty)?;
        return Ok(Decoded { image, turned });
    }
    let buffer =
        image::RgbImage::from_raw(width as u32, height as u32, pixels).ok_or_else(empty)?;
    let mut upright = DynamicImage::ImageRgb8(buffer);
    upright.apply_orientation(orientation);
    let (width, height) = (upright.width() as usize, upright.height() as usize);
    let image = RgbImage::new(width, height, upright.into_rgb8().into_raw()).ok_or_else(empty)?;
    Ok(Decoded { image, turned })
}

/// The upright size of an image file, from its header.
pub(crate) fn extent(path: &Path, bytes: &[u8]) -> Result<Extent, DataError> {
    let (width, height, orientation) = match known_format(path, bytes)? {
        Format::Jpeg => jpeg::header(path, bytes)?,
        Format::Png => {
            let reader = png_reader(path, bytes)?;
            let info = reader.info();
            (
                info.width as usize,
                info.height as usize,
                png_orientation(info),
            )
        }
        Format::Bmp => header_with(path, "BMP", BmpDecoder::new(Cursor::new(bytes)))?,
        Format::WebP | Format::Other(_) => {
            header_with(path, "WebP", WebPDecoder::new(Cursor::new(bytes)))?
        }
    };
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let size = match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    };
    Ok(Extent {
        size,
        turned: orientation != Orientation::NoTransforms,
    })
}

/// The format, or why the file is not read.
fn known_format(path: &Path, bytes: &[u8]) -> Result<Format, DataError> {
    match sniff(bytes) {
        None => Err(DataError::NotAnImage {
            path: path.to_path_buf(),
        }),
        Some(Format::Other(found)) => Err(DataError::UnsupportedImage {
            path: path.to_path_buf(),
            found: found.to_owned(),
            expected: "JPEG, PNG, BMP or WebP",
        }),
        Some(format) => Ok(format),
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

type Raw = (usize, usize, Vec<u8>, Orientation);

/// A PNG's header, with the transformations of an image: palettes and small depths expanded.
fn png_reader<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<png::Reader<Cursor<&'a [u8]>>, DataError> {
    let limits = png::Limits { bytes: usize::MAX };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND);
    decoder
        .read_info()
        .map_err(|error| damaged(path, "PNG", error))
}

fn png_orientation(info: &png::Info<'_>) -> Orientation {
    info.exif_metadata
        .as_ref()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms)
}

fn decode_png(path: &Path, bytes: &[u8]) -> Result<Raw, DataError> {
    let mut reader = png_reader(path, bytes)?;
    // The png crate panics when it expands such a palette.
    let palette = reader.info().palette.as_deref().unwrap_or_default();
    if !palette.len().is_multiple_of(3) {
        return Err(damaged(path, "PNG", "its palette ends within a color"));
    }
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
    // Pillow keeps the high byte of 16-bit color, which here is the first.
    let step = if frame.bit_depth == png::BitDepth::Sixteen {
        2
    } else {
        1
    };
    let channels = frame.color_type.samples();
    let pixels = match (frame.color_type, step) {
        (png::ColorType::Rgb, 1) => data,
        _ => to_rgb(&data, channels, step),
    };
    Ok((
        width as usize,
        height as usize,
        pixels,
        png_orientation(reader.info()),
    ))
}

/// Takes the first byte of each of a pixel's color samples; grey is repeated, alpha left out.
fn to_rgb(data: &[u8], channels: usize, step: usize) -> Vec<u8> {
    let of = |channel: usize| if channels >= 3 { channel * step } else { 0 };
    let (red, green, blue) = (of(0), of(1), of(2));
    data.chunks_exact(channels * step)
        .flat_map(|p| [p[red], p[green], p[blue]])
        .collect()
}

fn header_with<D: ImageDecoder>(
    path: &Path,
    format: &'static str,
    decoder: image::ImageResult<D>,
) -> Result<(usize, usize, Orientation), DataError> {
    let mut decoder = decoder.map_err(|error| damaged(path, format, error))?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder
        .orientation()
        .map_err(|error| damaged(path, format, error))?;
    Ok((width as usize, height as usize, orientation))
}

fn decode_with<D: ImageDecoder>(
    path: &Path,
    format: &'static str,
    decoder: image::ImageResult<D>,
) -> Result<Raw, DataError> {
    let mut decoder = decoder.map_err(|error| damaged(path, format, error))?;
    let (width, height) = decoder.dimensions();
    check_pixels(path, width.into(), height.into())?;
    let orientation = decoder
        .orientation()
        .map_err(|error| damaged(path, format, error))?;
    let image =
        DynamicImage::from_decoder(decoder).map_err(|error| damaged(path, format, error))?;
    // `into_rgb8` repeats grey and drops alpha, and both formats hold 8 bits a sample.
    Ok((
        width as usize,
        height as usize,
        image.into_rgb8().into_raw(),
        orientation,
    ))
}
