//! How many pictures a file holds, of which the first alone is read.

use std::path::{Path, PathBuf};

/// Files that hold several pictures.
#[derive(Debug, Default)]
pub(crate) struct FrameCount {
    pub files: usize,
    /// The first of them, and its frames.
    pub first: Option<(PathBuf, u32)>,
}

impl FrameCount {
    /// Adds a file.
    pub(crate) fn add(&mut self, path: &Path, frames: u32) {
        if frames > 1 {
            self.files += 1;
            self.first
                .get_or_insert_with(|| (path.to_path_buf(), frames));
        }
    }
}

/// The frames of an animated PNG or WebP, as its header or its chunks give them; 1 of any other file.
pub(crate) fn count(bytes: &[u8]) -> u32 {
    let found = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        animated_png(bytes)
    } else if bytes.starts_with(b"RIFF") && four(bytes, 8) == Some(*b"WEBP") {
        animated_webp(bytes)
    } else {
        None
    };
    found.unwrap_or(1).max(1)
}

/// The number in the chunk `acTL`, which stands before the first picture's data.
fn animated_png(bytes: &[u8]) -> Option<u32> {
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(four(bytes, at)?);
        match &four(bytes, at + 4)? {
            b"acTL" => return four(bytes, at + 8).map(u32::from_be_bytes),
            b"IDAT" | b"IEND" => return None,
            // Length, name and checksum stand around what a chunk holds.
            _ => at = at.checked_add(usize::try_from(length).ok()?)? + 12,
        }
    }
}

/// The number of chunks `ANMF`, one for each frame.
fn animated_webp(bytes: &[u8]) -> Option<u32> {
    let mut frames = 0;
    let mut at = 12;
    while let (Some(name), Some(length)) = (four(bytes, at), four(bytes, at + 4)) {
        frames += u32::from(&name == b"ANMF");
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        at = at
            .checked_add(8)?
            .checked_add(length)?
            .checked_add(length % 2)?;
    }
    Some(frames)
}

fn four(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], held: &[u8]) -> Vec<u8> {
        let length = (held.len() as u32).to_be_bytes();
        [&length, name.as_slice(), held, &[0; 4]].concat()
    }

    #[test]
    fn frames_of_a_png_stand_before_its_data() {
        let png = |chunks: &[Vec<u8>]| [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat();
        let head = chunk(b"IHDR", &[0; 13]);
        let control = chunk(b"acTL", &[0, 0, 0, 7, 0, 0, 0, 0]);
        let data = chunk(b"IDAT", &[0; 5]);
        assert_eq!(
            count(&png(&[head.clone(), control.clone(), data.clone()])),
            7
        );
        assert_eq!(count(&png(&[head.clone(), data.clone()])), 1);
        // After the data it is not what a decoder would follow.
        assert_eq!(count(&png(&[head.clone(), data, control])), 1);
        // Lengths that lead nowhere, and files that end too early.
        let endless = [b"\xff\xff\xff\xff".as_slice(), b"tEXt"].concat();
        assert_eq!(count(&png(&[head, endless])), 1);
        assert_eq!(count(b"\x89PNG\r\n\x1a\n"), 1);
    }

    #[test]
    fn frames_of_a_webp_are_its_chunks() {
        let piece = |name: &[u8; 4], held: &[u8]| {
            let length = (held.len() as u32).to_le_bytes();
            let even = vec![0; held.len() % 2];
            [name.as_slice(), &length, held, &even].concat()
        };
        let file = |pieces: &[Vec<u8>]| [b"RIFF\0\0\0\0WEBP".to_vec(), pieces.concat()].concat();
        let (head, frame) = (piece(b"VP8X", &[0; 10]), piece(b"ANMF", &[1; 3]));
        assert_eq!(count(&file(&[head.clone(), frame.clone(), frame])), 2);
        assert_eq!(count(&file(&[head, piece(b"VP8 ", &[0; 4])])), 1);
        assert_eq!(count(b"\xff\xd8\xff"), 1);
    }
}
