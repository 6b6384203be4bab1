//! Pictures: decoding what a run stores, encoding what figures embed.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageReader};
use vitscope_run::limits;

use crate::error::FigureError;
use crate::theme;

/// The index that no class and no cluster has: ignored in ground truth, none in a prediction.
pub(crate) const NONE: u8 = 255;

/// Quality of embedded photographs and maps: no visible loss at a fifth of the bytes.
const JPEG_QUALITY: u8 = 90;

/// An 8-bit color picture.
#[derive(Clone, Debug)]
pub(crate) struct Rgb {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<[u8; 3]>,
}

/// A label map: one index per pixel, with the colors its file carries.
#[derive(Clone, Debug)]
pub(crate) struct LabelMap {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) indices: Vec<u8>,
    pub(crate) palette: Vec<[u8; 3]>,
    /// Indices whose color is muted and hatched: clusters that have not earned their class's name.
    pub(crate) muted: Vec<bool>,
}

struct DecodedPng {
    width: usize,
    height: usize,
    color: png::ColorType,
    depth: png::BitDepth,
    palette: Vec<[u8; 3]>,
    line_bytes: usize,
    bytes: Vec<u8>,
}

fn decode(
    path: &Path,
    bytes: &[u8],
    transform: png::Transformations,
) -> Result<DecodedPng, FigureError> {
    let bad = |error: png::DecodingError| {
        FigureError::malformed(path, format!("is not a readable PNG ({error})"))
    };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(transform);
    let mut reader = decoder.read_info().map_err(bad)?;
    bounded(path, reader.info().size())?;
    let palette = reader
        .info()
        .palette
        .as_deref()
        .map(|bytes| bytes.as_chunks().0.to_vec())
        .unwrap_or_default();
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| FigureError::malformed(path, "is a PNG too large to decode"))?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(bad)?;
    buffer.truncate(frame.buffer_size());
    Ok(DecodedPng {
        width: frame.width as usize,
        height: frame.height as usize,
        color: frame.color_type,
        depth: frame.bit_depth,
        palette,
        line_bytes: frame.line_size,
        bytes: buffer,
    })
}

/// Refuses a picture that no run stores, before its pixels are read.
fn bounded(path: &Path, (width, height): (u32, u32)) -> Result<(), FigureError> {
    let pixels = u64::from(width) * u64::from(height);
    match pixels <= limits::PIXELS as u64 {
        true => Ok(()),
        false => Err(FigureError::malformed(
            path,
            format!(
                "has {width} x {height} pixels, and a stored picture has at most {}",
                limits::PIXELS
            ),
        )),
    }
}

/// The lightness of a pixel, 0 to 255.
fn gray(pixel: &[u8; 3]) -> f64 {
    let shares = [0.299, 0.587, 0.114].iter().zip(pixel);
    shares
        .map(|(share, &channel)| share * f64::from(channel))
        .sum()
}

impl Rgb {
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, FigureError> {
        let picture = decode(path, bytes, png::Transformations::normalize_to_color8())?;
        let pixels = match picture.color {
            png::ColorType::Grayscale => picture.bytes.iter().map(|&gray| [gray; 3]).collect(),
            png::ColorType::GrayscaleAlpha => picture
                .bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|pixel| [pixel[0]; 3])
                .collect(),
            png::ColorType::Rgba => picture
                .bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&[red, green, blue, _]| [red, green, blue])
                .collect(),
            png::ColorType::Rgb | png::ColorType::Indexed => {
                picture.bytes.as_chunks::<3>().0.to_vec()
            }
        };
        Ok(Self {
            width: picture.width,
            height: picture.height,
            pixels,
        })
    }

    /// The picture reduced to at most `side` pixels a side, each the mean of what it covers.
    pub(crate) fn reduced(&self, side: usize) -> Self {
        let longest = self.width.max(self.height);
        if longest <= side || side == 0 {
            return self.clone();
        }
        let scaled = |length: usize| (length * side).div_ceil(longest).max(1);
        let (width, height) = (scaled(self.width), scaled(self.height));
        let (columns, rows) = (coverage(self.width, width), coverage(self.height, height));
        let mut pixels = Vec::with_capacity(width * height);
        for (row_start, row_weights) in &rows {
            for (column_start, column_weights) in &columns {
                let mut sum = [0.0; 3];
                for (y, down) in row_weights.iter().enumerate() {
                    let line = (row_start + y) * self.width + column_start;
                    for (pixel, across) in self.pixels[line..].iter().zip(column_weights) {
                        for (sum, &channel) in sum.iter_mut().zip(pixel) {
                            *sum += down * across * f64::from(channel);
                        }
                    }
                }
                pixels.push(sum.map(|channel| channel.round() as u8));
            }
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    /// A photograph in any format that data sets have.
    pub(crate) fn photograph(path: &Path, bytes: &[u8]) -> Result<Self, FigureError> {
        let bad = |error: image::ImageError| {
            FigureError::malformed(path, format!("is not a readable image ({error})"))
        };
        let reader = || ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let unknown = |error: std::io::Error| bad(image::ImageError::IoError(error));
        let size = reader().map_err(unknown)?.into_dimensions().map_err(bad)?;
        bounded(path, size)?;
        let picture = reader().map_err(unknown)?.decode().map_err(bad)?;
        let picture = picture.into_rgb8();
        Ok(Self {
            width: picture.width() as usize,
            height: picture.height() as usize,
            pixels: picture.as_raw().as_chunks().0.to_vec(),
        })
    }

    /// The picture in pale gray, on which colored marks stand out.
    pub(crate) fn faded(&self) -> Self {
        let pale = |pixel| [(100.0 + 0.6 * gray(pixel)).round() as u8; 3];
        Self {
            width: self.width,
            height: self.height,
            pixels: self.pixels.iter().map(pale).collect(),
        }
    }

    /// The picture in gray, veiled by the color of `heat` (0 to 1) at each pixel.
    pub(crate) fn heated(&self, heat: impl Fn(usize, usize) -> f64) -> Self {
        const VEIL: f64 = 0.62;
        let pixels = self.pixels.iter().enumerate().map(|(index, pixel)| {
            let gray = gray(pixel);
            let color = theme::heat(heat(index % self.width, index / self.width));
            color.map(|channel| (gray * (1.0 - VEIL) + f64::from(channel) * VEIL).round() as u8)
        });
        Self {
            width: self.width,
            height: self.height,
            pixels: pixels.collect(),
        }
    }

    /// The picture as JPEG, the smallest form that every browser and renderer reads.
    pub(crate) fn jpeg(&self) -> Result<Vec<u8>, FigureError> {
        let mut bytes = Vec::new();
        let too_large = |_| FigureError::render("picture", "a side is longer than JPEG allows");
        let width = u16::try_from(self.width).map_err(too_large)?;
        let height = u16::try_from(self.height).map_err(too_large)?;
        JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
            .encode(
                self.pixels.as_flattened(),
                width.into(),
                height.into(),
                ExtendedColorType::Rgb8,
            )
            .map_err(|error| FigureError::render("picture", error))?;
        Ok(bytes)
    }
}

/// For each of `to` output pixels: the first of `from` input pixels it covers, and their shares.
fn coverage(from: usize, to: usize) -> Vec<(usize, Vec<f64>)> {
    let ratio = from as f64 / to as f64;
    (0..to)
        .map(|index| {
            let (start, end) = (
                index as f64 * ratio,
                ((index + 1) as f64 * ratio).min(from as f64),
            );
            let first = start.floor() as usize;
            let last = (end.ceil() as usize).clamp(first + 1, from);
            let share = |pixel: usize| {
                (end.min((pixel + 1) as f64) - start.max(pixel as f64)).max(0.0) / (end - start)
            };
            (first, (first..last).map(share).collect())
        })
        .collect()
}

impl LabelMap {
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, FigureError> {
        let picture = decode(path, bytes, png::Transformations::IDENTITY)?;
        let bits = match picture.depth {
            png::BitDepth::One => 1,
            png::BitDepth::Two => 2,
            png::BitDepth::Four => 4,
            png::BitDepth::Eight => 8,
            png::BitDepth::Sixteen => 16,
        };
        let single = matches!(
            picture.color,
            png::ColorType::Indexed | png::ColorType::Grayscale
        );
        if !single || bits > 8 {
            return Err(FigureError::malformed(
                path,
                "is a PNG with colors, expected a label map with a palette",
            ));
        }
        let mut indices = Vec::with_capacity(picture.width * picture.height);
        for line in picture.bytes.chunks_exact(picture.line_bytes.max(1)) {
            let unpacked = (0..picture.width).map(|x| {
                let bit = x * bits;
                let shift = 8 - bits - bit % 8;
                (line[bit / 8] >> shift) & (u8::MAX >> (8 - bits))
            });
            indices.extend(unpacked);
        }
        Ok(Self {
            width: picture.width,
            height: picture.height,
            indices,
            palette: picture.palette,
            muted: Vec::new(),
        })
    }

    /// The map with at most `side` pixels a side, each the label at its center.
    pub(crate) fn reduced(&self, side: usize) -> Self {
        let longest = self.width.max(self.height);
        if longest <= side || side == 0 {
            return self.clone();
        }
        let scaled = |length: usize| (length * side).div_ceil(longest).max(1);
        let (width, height) = (scaled(self.width), scaled(self.height));
        let center = |at: usize, to: usize, from: usize| (2 * at + 1) * from / (2 * to);
        let row = |y: usize| center(y, height, self.height) * self.width;
        let indices = (0..height).flat_map(|y| {
            (0..width).map(move |x| self.indices[row(y) + center(x, width, self.width)])
        });
        Self {
            width,
            height,
            indices: indices.collect(),
            palette: self.palette.clone(),
            muted: self.muted.clone(),
        }
    }

    /// The color of an index; a palette that ends early leaves gray.
    fn color(&self, index: u8) -> [u8; 3] {
        let color = self.palette.get(usize::from(index)).copied();
        let color = color.unwrap_or([128; 3]);
        if self.is_muted(index) {
            theme::muted(color)
        } else {
            color
        }
    }

    fn is_muted(&self, index: u8) -> bool {
        self.muted.get(usize::from(index)) == Some(&true)
    }

    /// The indices with every muted one striped by one that nothing else uses, and the color of each
    /// such stripe. Where none is left, the muted color alone must do.
    fn striped(&self) -> (Vec<u8>, Vec<(u8, [u8; 3])>) {
        let mut used = [false; 256];
        for &index in &self.indices {
            used[usize::from(index)] = true;
        }
        let mut free = (0..NONE).filter(|&index| !used[usize::from(index)]);
        let muted = (0..NONE).filter(|&index| used[usize::from(index)] && self.is_muted(index));
        let stripes: Vec<(u8, u8)> = muted.zip(&mut free).collect();
        let of = |index: u8| stripes.iter().find(|pair| pair.0 == index);
        let indices = self.indices.iter().enumerate().map(|(place, &index)| {
            let is_stripe = (place % self.width + place / self.width) % 7 < 3;
            match of(index).filter(|_| is_stripe) {
                Some(&(_, stripe)) => stripe,
                None => index,
            }
        });
        let colors = stripes
            .iter()
            .map(|&(index, stripe)| (stripe, theme::stripe(self.color(index))));
        (indices.collect(), colors.collect())
    }

    /// The map as a palette PNG whose pixels without a label are transparent, so that whatever
    /// lies below them (the hatching) shows.
    pub(crate) fn png(&self) -> Result<Vec<u8>, FigureError> {
        let failed = |error: png::EncodingError| FigureError::render("label map", error);
        let mut bytes = Vec::new();
        let (width, height) = (self.width as u32, self.height as u32);
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        let (indices, stripes) = self.striped();
        let mut colors: Vec<[u8; 3]> = (0..NONE).map(|index| self.color(index)).collect();
        for (index, color) in stripes {
            colors[usize::from(index)] = color;
        }
        let mut palette = colors.concat();
        palette.extend([255; 3]);
        let mut alpha = vec![255; usize::from(NONE)];
        alpha.push(0);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(palette);
        encoder.set_trns(alpha);
        encoder.set_compression(png::Compression::High);
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&indices).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(depth: png::BitDepth, width: u32, bytes: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, 1);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(depth);
        encoder.set_palette(vec![0, 0, 0, 9, 8, 7]);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(bytes).unwrap();
        writer.finish().unwrap();
        file
    }

    #[test]
    fn label_maps_of_any_depth_unpack() {
        let map = |file: &[u8]| LabelMap::decode(Path::new("map.png"), file).unwrap();
        assert_eq!(
            map(&encode(png::BitDepth::One, 5, &[0b0100_1000])).indices,
            [0, 1, 0, 0, 1]
        );
        assert_eq!(
            map(&encode(png::BitDepth::Four, 3, &[0x01, 0x10])).indices,
            [0, 1, 1]
        );
        let eight = map(&encode(png::BitDepth::Eight, 2, &[1, 0]));
        assert_eq!((eight.indices, eight.palette[1]), (vec![1, 0], [9, 8, 7]));
    }

    #[test]
    fn no_label_becomes_transparent() {
        let map = LabelMap {
            width: 2,
            height: 1,
            indices: vec![1, NONE],
            palette: vec![[0; 3], [9, 8, 7]],
            muted: Vec::new(),
        };
        let mut decoder = png::Decoder::new(Cursor::new(map.png().unwrap()));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [9, 8, 7, 255, 255, 255, 255, 0]);
    }

    #[test]
    fn what_is_muted_is_striped_and_nothing_else() {
        let map = LabelMap {
            width: 7,
            height: 1,
            indices: vec![1; 7],
            palette: vec![[0; 3], [200, 0, 0]],
            muted: vec![true, true],
        };
        let mut decoder = png::Decoder::new(Cursor::new(map.png().unwrap()));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let muted = theme::muted([200, 0, 0]);
        assert_eq!(pixels[..3], theme::stripe(muted));
        assert_eq!(pixels[12..15], muted);
        assert!(muted != [200, 0, 0]);
    }

    #[test]
    fn reducing_takes_the_mean_of_what_a_pixel_covers() {
        let gray = |values: &[u8]| values.iter().map(|&value| [value; 3]).collect::<Vec<_>>();
        let picture = Rgb {
            width: 3,
            height: 1,
            pixels: gray(&[0, 100, 200]),
        };
        // Each of two pixels covers one and a half of three.
        assert_eq!(picture.reduced(2).pixels, gray(&[33, 167]));
        assert_eq!(picture.reduced(1).pixels, gray(&[100]));
        assert_eq!(picture.reduced(8).pixels, picture.pixels);
    }
}
