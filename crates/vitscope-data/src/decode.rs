//! Files to 8-bit RGB: what an image file is by its content, and its pixels upright.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::codecs::bmp::BmpDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use crate::error::DataError;
use crate::frames;
use crate::jpeg;
use crate::refused::{check_pixels, damaged, no_picture};
use crate::rgb_image::RgbImage;

/// A decoded image and how it was stored.
pub(crate) struct Decoded {
    /// The image, upright.
    pub image: RgbImage,
    /// How EXIF orientation turned it.
    pub orientation: Orientation,
    /// The largest sample of an image of 16 bits a sample, of which the high byte is kept.
    pub deepest: Option<u16>,
    /// Whether it has pixels that are not opaque; their transparency is dropped.
    pub transparent: bool,
    /// Pictures in the file, of which this is the first.
    pub frames: u32,
}

impl Decoded {
    /// Its size, as a mask of it must have it.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            size: (self.image.width(), self.image.height()),
            orientation: self.orientation,
        }
    }
}

/// The size of an image without its pixels.
pub(crate) struct Extent {
    /// Width and height in pixels, upright.
    pub size: (usize, usize),
    /// How EXIF orientation turns it.
    pub orientation: Orientation,
}

impl Extent {
    /// Whether EXIF orientation turns it.
    pub(crate) fn turned(&self) -> bool {
        self.orientation != Orientation::NoTransforms
    }
}

/// The formats that are told apart by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PictureFormat {
    Jpeg,
    Png,
    Bmp,
    WebP,
    /// Known, and not read.
    Other(&'static str),
}

/// Bytes of the longest file that is read as a whole: an image, a mask, a list.
pub(crate) const LONGEST: u64 = 1 << 30;

/// Bytes of the longest description that is read.
pub(crate) const LONGEST_TEXT: u64 = 16 << 20;

/// Opens a file of a data set. What is no regular file is refused before it is opened: a named pipe would wait for
/// its writer, and a device need not end.
pub(crate) fn open_file(path: &Path) -> Result<File, DataError> {
    let failed = |source| DataError::read(path, source);
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    File::open(path).map_err(failed)
}

/// All of a file of at most so many bytes.
pub(crate) fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::read(path, source);
    let too_long = || {
        let problem = format!("it is longer than {} MiB", most >> 20);
        failed(io::Error::other(problem))
    };
    let file = open_file(path)?;
    // None of what is refused is read; a file that is being written may grow meanwhile.
    if file.metadata().map_err(failed)?.len() > most {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > most {
        true => Err(too_long()),
        false => Ok(bytes),
    }
}

/// A whole file, which must not be empty.
pub(crate) fn read_file(path: &Path, expected: &'static str) -> Result<Vec<u8>, DataError> {
    let bytes = read_up_to(path, LONGEST)?;
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
pub(crate) fn sniff(bytes: &[u8]) -> Option<PictureFormat> {
    let at = |start: usize, magic: &[u8]| bytes.get(start..).is_some_and(|b| b.starts_with(magic));
    Some(match () {
        () if at(0, b"\xff\xd8\xff") => PictureFormat::Jpeg,
        () if at(0, b"\x89PNG\r\n\x1a\n") => PictureFormat::Png,
        () if at(0, b"BM") => PictureFormat::Bmp,
        () if at(0, b"RIFF") && at(8, b"WEBP") => PictureFormat::WebP,
        () if at(0, b"GIF8") => PictureFormat::Other("a GIF"),
        () if at(0, b"II*\0") || at(0, b"MM\0*") => PictureFormat::Other("a TIFF"),
        () if at(4, b"ftypavif") || at(4, b"ftypheic") || at(4, b"ftypmif1") => {
            PictureFormat::Other("a HEIF or AVIF image")
        }
        () if at(0, b"\0\0\0\x0cjP  ") || at(0, b"\xff\x4f\xff\x51") => {
            PictureFormat::Other("a JPEG 2000 image")
        }
        () if at(0, b"P5") || at(0, b"P6") => PictureFormat::Other("a PNM image"),
        () if at(0, b"MATLAB") => PictureFormat::Other("a MATLAB file"),
        () => return None,
    })
}

/// Decodes an image file to upright 8-bit RGB.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Decoded, DataError> {
    let raw = match known_format(path, bytes)? {
        PictureFormat::Jpeg => {
            let (width, height, pixels, orientation) = jpeg::decode(path, bytes)?;
            Raw::plain(width, height, pixels, orientation)
        }
        PictureFormat::Png => decode_png(path, bytes)?,
        PictureFormat::Bmp => decode_with(path, "BMP", BmpDecoder::new(Cursor::new(bytes)))?,
        PictureFormat::WebP | PictureFormat::Other(_) => {
            decode_with(path, "WebP", WebPDecoder::new(whole_webp(path, bytes)?))?
        }
    };
    let empty = || damaged(path, "an image", "it has no pixels");
    let image = if raw.orientation == Orientation::NoTransforms {
        RgbImage::new(raw.width, raw.height, raw.pixels).ok_or_else(empty)?
    } else {
        let (width, height) = (raw.width as u32, raw.height as u32);
        let buffer = image::RgbImage::from_raw(width, height, raw.pixels).ok_or_else(empty)?;
        let mut upright = DynamicImage::ImageRgb8(buffer);
        upright.apply_orientation(raw.orientation);
        let (width, height) = (upright.width() as usize, upright.height() as usize);
        RgbImage::new(width, height, upright.into_rgb8().into_raw()).ok_or_else(empty)?
    };
    Ok(Decoded {
        image,
        orientation: raw.orientation,
        deepest: raw.deepest,
        transparent: raw.transparent,
        frames: frames::count(bytes),
    })
}

/// The upright size of an image file, from its header.
pub(crate) fn extent(path: &Path, bytes: &[u8]) -> Result<Extent, DataError> {
    let (width, height, orientation) = match known_format(path, bytes)? {
        PictureFormat::Jpeg => jpeg::header(path, bytes)?,
        PictureFormat::Png => {
            let reader = png_reader(path, bytes)?;
            let info = reader.info();
            (
                info.width as usize,
                info.height as usize,
                png_orientation(info),
            )
        }
        PictureFormat::Bmp => header_with(path, "BMP", BmpDecoder::new(Cursor::new(bytes)))?,
        PictureFormat::WebP | PictureFormat::Other(_) => {
            header_with(path, "WebP", WebPDecoder::new(whole_webp(path, bytes)?))?
        }
    };
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let size = match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    };
    Ok(Extent { size, orientation })
}

/// The format, or why the file is not read.
fn known_format(path: &Path, bytes: &[u8]) -> Result<PictureFormat, DataError> {
    match sniff(bytes) {
        None => Err(no_picture(path, bytes, "JPEG, PNG, BMP or WebP")),
        Some(PictureFormat::Other(found)) => Err(DataError::UnsupportedImage {
            path: path.to_path_buf(),
            found: found.to_owned(),
            expected: "JPEG, PNG, BMP or WebP",
        }),
        Some(format) => Ok(format),
    }
}

impl RgbImage {
    /// Decodes an image file (JPEG, PNG, BMP or WebP by its content) to 8-bit RGB at its own size:
    /// grey repeated, alpha dropped, 16-bit samples cut to their high byte, EXIF orientation
    /// applied.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is no image of those formats.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let bytes = read_file(path, "an image")?;
        Ok(decode(path, &bytes)?.image)
    }

    /// The same of a file's content, which came some other way; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`RgbImage::open`], and where a decoder gives up.
    pub fn read(name: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        if bytes.is_empty() {
            return Err(DataError::EmptyFile {
                path: name.to_path_buf(),
                expected: "an image",
            });
        }
        guarded(name, || Ok(decode(name, bytes)?.image))
    }
}

/// An image as its file stores it, made 8-bit RGB.
struct Raw {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    orientation: Orientation,
    deepest: Option<u16>,
    transparent: bool,
}

impl Raw {
    /// An opaque image of 8 bits a sample.
    fn plain(width: usize, height: usize, pixels: Vec<u8>, orientation: Orientation) -> Self {
        Self {
            width,
            height,
            pixels,
            orientation,
            deepest: None,
            transparent: false,
        }
    }
}

/// A PNG's header, with the transformations of an image: palettes and small depths expanded.
fn png_reader<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<png::Reader<Cursor<&'a [u8]>>, DataError> {
    let mut decoder = png_decoder(bytes);
    decoder.set_transformations(png::Transformations::EXPAND);
    decoder
        .read_info()
        .map_err(|error| damaged(path, "PNG", error))
}

/// A PNG decoder that leaves out what a picture does not need: 2 MB of a compressed color profile
/// would become 2 GB. What it does keep is stored plainly, so the file's own length bounds it.
pub(crate) fn png_decoder(bytes: &[u8]) -> png::Decoder<Cursor<&[u8]>> {
    // The limit is on that and on a row of pixels, of which the header gives the length.
    let width = bytes.get(16..20).and_then(|width| width.try_into().ok());
    let row = 16 * u32::from_be_bytes(width.unwrap_or_default()) as usize;
    let limits = png::Limits {
        bytes: bytes
            .len()
            .saturating_mul(4)
            .saturating_add(row + (1 << 16)),
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

pub(crate) fn png_orientation(info: &png::Info<'_>) -> Orientation {
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
    let colors = if channels >= 3 { 3 } else { 1 };
    let deepest = (step == 2).then(|| {
        let pixels = data.chunks_exact(channels * step);
        let samples = pixels.flat_map(|pixel| pixel[..colors * step].as_chunks::<2>().0);
        samples.map(|&sample| u16::from_be_bytes(sample)).max()
    });
    let transparent = channels > colors && {
        let mut pixels = data.chunks_exact(channels * step);
        pixels.any(|pixel| pixel[colors * step] != 255)
    };
    let pixels = match (frame.color_type, step) {
        (png::ColorType::Rgb, 1) => data,
        _ => to_rgb(&data, channels, step),
    };
    let (width, height) = (width as usize, height as usize);
    Ok(Raw {
        deepest: deepest.flatten(),
        transparent,
        ..Raw::plain(width, height, pixels, png_orientation(reader.info()))
    })
}

/// Takes the first byte of each of a pixel's color samples; grey is repeated, alpha left out.
fn to_rgb(data: &[u8], channels: usize, step: usize) -> Vec<u8> {
    let of = |channel: usize| if channels >= 3 { channel * step } else { 0 };
    let (red, green, blue) = (of(0), of(1), of(2));
    data.chunks_exact(channels * step)
        .flat_map(|p| [p[red], p[green], p[blue]])
        .collect()
}

/// A WebP whose chunks lie within the file: the decoder makes room for a chunk by the length that it
/// claims, which may be 4 GB in a file of a hundred bytes.
fn whole_webp<'a>(path: &Path, bytes: &'a [u8]) -> Result<Cursor<&'a [u8]>, DataError> {
    let length = |at: usize| {
        let length = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(length)).ok()
    };
    let end = length(4).map_or(0, |claimed| bytes.len().min(claimed.saturating_add(8)));
    let mut at = 12;
    while at + 8 <= end {
        let size = length(at + 4).unwrap_or(usize::MAX);
        if size > bytes.len() - (at + 8) {
            return Err(damaged(path, "WebP", "the file ends before the image does"));
        }
        at += 8 + size + size % 2;
    }
    Ok(Cursor::new(bytes))
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
    let transparent = match &image {
        DynamicImage::ImageRgba8(image) => image.pixels().any(|pixel| pixel[3] != 255),
        _ => false,
    };
    // `into_rgb8` repeats grey and drops alpha, and both formats hold 8 bits a sample.
    let pixels = image.into_rgb8().into_raw();
    Ok(Raw {
        transparent,
        ..Raw::plain(width as usize, height as usize, pixels, orientation)
    })
}
