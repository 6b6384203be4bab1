//! What stands before the coded data of a JPEG, read by the rules of libjpeg: its size, its
//! components, what their colors are, and its EXIF orientation.
//!
//! The decoder reads these headers by rules of its own, refuses some that every other program
//! reads (an Adobe segment behind the tables, or one of another version), and makes room for what
//! segments claim to hold. So it is given the segments that the pixels need and no other.

use image::metadata::Orientation;

/// How three or four components are colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JpegColors {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// A JPEG's headers.
#[derive(Debug)]
pub(crate) struct JpegSegments<'a> {
    /// Width and height in pixels as stored.
    pub size: (usize, usize),
    /// Bits of a sample.
    pub bits: u8,
    /// What the components are.
    pub colors: JpegColors,
    /// Whether their identifiers are the letters R, G and B.
    pub lettered: bool,
    /// The marker of the frame: 0xc0 to 0xcf.
    pub frame: u8,
    /// Whether the fast decoder reads it right: sequential files of one scan, or progressive ones,
    /// whose first component has the most samples, in steps of powers of two across. Of others it
    /// makes noise without an error.
    pub regular: bool,
    /// EXIF orientation.
    pub orientation: Orientation,
    /// The segments before the first scan that the pixels need, each from its marker on.
    needed: Vec<&'a [u8]>,
    /// Whether there are Huffman tables before the first scan.
    tables: bool,
    /// Everything from the first scan on.
    scans: &'a [u8],
}

/// Why the headers cannot be used.
pub(crate) type Reason = &'static str;

/// One segment or marker of a JPEG.
struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// The next marker with its segment's payload, and the bytes from the marker on; bytes that
    /// are no marker are passed over, as libjpeg does with a warning.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        loop {
            let start = self.rest.iter().position(|&byte| byte == 0xff)?;
            let from = &self.rest[start..];
            self.rest = &from[1..];
            let &marker = self.rest.first()?;
            match marker {
                // 0xff fills before a marker; 0x00 and restarts belong to the coded data.
                0xff => {}
                0x00 | 0x01 | 0xd0..=0xd8 => self.rest = &self.rest[1..],
                0xd9 => {
                    self.rest = &self.rest[1..];
                    return Some((marker, &[], from));
                }
                _ => {
                    let &[high, low] = self.rest.get(1..3)? else {
                        return None;
                    };
                    let length = usize::from(u16::from_be_bytes([high, low]));
                    if length < 2 {
                        return None;
                    }
                    let payload = self.rest.get(3..1 + length)?;
                    self.rest = &self.rest[1 + length..];
                    return Some((marker, payload, from));
                }
            }
        }
    }
}

/// Whether the segments of a JPEG lead to its end-of-image marker. Pillow refuses files where they
/// do not.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    let mut walk = Walk {
        rest: bytes.get(2..).unwrap_or_default(),
    };
    while let Some((marker, _, _)) = walk.next() {
        if marker == 0xd9 {
            return true;
        }
    }
    false
}

impl<'a> JpegSegments<'a> {
    /// Reads everything before the first scan.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Reason> {
        let mut walk = Walk {
            rest: bytes.get(2..).unwrap_or_default(),
        };
        let mut needed = Vec::new();
        let mut tables = false;
        let (mut jfif, mut adobe, mut exif) = (false, None, None);
        let mut frame: Option<(u8, &[u8])> = None;
        loop {
            let Some((marker, payload, from)) = walk.next() else {
                return Err("the file ends before the image does");
            };
            let in_scan = payload.first().copied();
            let whole = &from[..from.len() - walk.rest.len()];
            match marker {
                0xd9 => return Err("it ends without an image"),
                0xda => {
                    let Some((marker, payload)) = frame else {
                        return Err("its first scan stands before its size");
                    };
                    let in_frame = payload.get(5);
                    let mut read = Self::of_frame(marker, payload, jfif, adobe)?;
                    read.regular &= marker == 0xc2 || in_scan.as_ref() == in_frame;
                    read.orientation = exif.unwrap_or(Orientation::NoTransforms);
                    (read.needed, read.tables, read.scans) = (needed, tables, from);
                    return Ok(read);
                }
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    if frame.replace((marker, payload)).is_some() {
                        return Err("it has two frames");
                    }
                    needed.push(whole);
                }
                0xe0 => jfif |= payload.starts_with(b"JFIF\0") && payload.len() >= 12,
                0xe1 if exif.is_none() => {
                    // As Pillow reads it: the first segment counts.
                    if let Some(chunk) = payload.strip_prefix(b"Exif\0\0") {
                        let read = Orientation::from_exif_chunk(chunk);
                        exif = Some(read.unwrap_or(Orientation::NoTransforms));
                    }
                }
                0xee if payload.starts_with(b"Adobe") && payload.len() >= 12 => {
                    adobe = Some(payload[11]);
                }
                0xc4 => {
                    tables = true;
                    needed.push(whole);
                }
                0xdb | 0xdd => needed.push(whole),
                _ => {}
            }
        }
    }

    /// What a frame header says, with the colors as libjpeg tells them.
    fn of_frame(marker: u8, payload: &[u8], jfif: bool, adobe: Option<u8>) -> Result<Self, Reason> {
        let &[bits, h1, h0, w1, w0, count, ref components @ ..] = payload else {
            return Err("its frame header is too short");
        };
        let count = usize::from(count);
        let (each, _) = components.as_chunks::<3>();
        if each.len() < count || count == 0 {
            return Err("its frame header is too short");
        }
        let samples = each[..count].iter().map(|component| component[1]);
        let first = each[0][1];
        let most = |shift: u8| samples.clone().map(|both| both >> shift & 15).max();
        let regular = most(4) == Some(first >> 4)
            && most(0) == Some(first & 15)
            && samples.clone().all(|both| (both >> 4).is_power_of_two());
        let letters: Vec<u8> = each[..count].iter().map(|component| component[0]).collect();
        let lettered = letters == *b"RGB";
        let colors = match (count, adobe) {
            (1, _) => JpegColors::Grey,
            (3, _) if jfif => JpegColors::YCbCr,
            (3, Some(0)) => JpegColors::Rgb,
            (3, Some(_)) => JpegColors::YCbCr,
            (3, None) if lettered => JpegColors::Rgb,
            (3, None) => JpegColors::YCbCr,
            (4, Some(0) | None) => JpegColors::Cmyk,
            (4, Some(_)) => JpegColors::Ycck,
            (2, _) => return Err("it has two components, expected 1, 3 or 4"),
            _ => return Err("it has more than 4 components, expected 1, 3 or 4"),
        };
        Ok(Self {
            size: (
                usize::from(u16::from_be_bytes([w1, w0])),
                usize::from(u16::from_be_bytes([h1, h0])),
            ),
            bits,
            colors,
            lettered,
            frame: marker,
            regular,
            orientation: Orientation::NoTransforms,
            needed: Vec::new(),
            tables: false,
            scans: &[],
        })
    }

    /// The file with the segments that its pixels need and no other.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let headers: usize = self.needed.iter().map(|segment| segment.len()).sum();
        let mut bytes = Vec::with_capacity(headers + self.scans.len() + 32);
        bytes.extend_from_slice(b"\xff\xd8");
        if !self.tables && self.frame != 0xc2 {
            // Frames of a video leave the usual Huffman tables out, and libjpeg puts them in.
            bytes.extend_from_slice(b"\xff\xe0\x00\x10AVI1\0\0\0\0\0\0\0\0\0\0");
        }
        for segment in &self.needed {
            bytes.extend_from_slice(segment);
        }
        bytes.extend_from_slice(self.scans);
        bytes
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

    /// The table of libjpeg's `default_decompress_parms`.
    #[test]
    fn colors_are_told_as_libjpeg_tells_them() {
        let frame = |ids: &[u8]| {
            let mut frame = vec![8, 0, 5, 0, 7, ids.len() as u8];
            frame.extend(ids.iter().flat_map(|&id| [id, 0x11, 0]));
            frame
        };
        use JpegColors::{Cmyk, Grey, Rgb, YCbCr, Ycck};
        let cases: [(&[u8], bool, Option<u8>, JpegColors); 14] = [
            (&[1], true, None, Grey),
            (&[1], false, Some(0), Grey),
            (&[1, 2, 3], false, None, YCbCr),
            (&[0, 1, 2], false, None, YCbCr),
            (b"RGB", false, None, Rgb),
            (b"RGB", true, None, YCbCr),
            (b"RGB", false, Some(1), YCbCr),
            (&[1, 2, 3], false, Some(0), Rgb),
            (&[1, 2, 3], true, Some(0), YCbCr),
            (&[1, 2, 3], false, Some(2), YCbCr),
            (&[1, 2, 3], false, Some(77), YCbCr),
            (&[1, 2, 3, 4], false, None, Cmyk),
            (&[1, 2, 3, 4], false, Some(0), Cmyk),
            (&[1, 2, 3, 4], false, Some(9), Ycck),
        ];
        for (ids, jfif, adobe, colors) in cases {
            let frame = frame(ids);
            let read = JpegSegments::of_frame(0xc0, &frame, jfif, adobe).unwrap();
            assert_eq!(read.colors, colors, "{ids:?} {jfif} {adobe:?}");
            assert_eq!((read.size, read.bits), ((7, 5), 8));
        }
        for ids in [&[1, 2][..], &[1, 2, 3, 4, 5]] {
            assert!(JpegSegments::of_frame(0xc0, &frame(ids), false, None).is_err());
        }
        assert!(JpegSegments::of_frame(0xc0, &[8, 0, 5, 0, 7, 3, 1, 0x11], false, None).is_err());
    }
}
