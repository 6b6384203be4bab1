//! Every reader on bytes alone, for the targets under `fuzz/` and for the short run of mutations
//! below, which is part of the ordinary tests. What matters is that each call returns.

use std::path::Path;

use crate::error::DataError;
use crate::pairs::Pair;
use crate::panoptic::PanopticTable;
use crate::parts::{PartSettings, PartTable};
use crate::{decode, description, listing, mask};

/// What errors name in the place of a file.
fn here() -> &'static Path {
    Path::new("bytes")
}

/// An image of any format.
///
/// # Errors
/// As a file would give.
pub fn image(bytes: &[u8]) -> Result<(), DataError> {
    let extent = decode::extent(here(), bytes)?;
    // Sizes are taken at their word by decoders; a fuzzer would spend its time on filling them.
    if extent.size.0.saturating_mul(extent.size.1) > 1 << 22 {
        return Ok(());
    }
    decode::decode(here(), bytes).map(|_| ())
}

/// A mask.
///
/// # Errors
/// As a file would give.
pub fn mask(bytes: &[u8]) -> Result<(), DataError> {
    let too_large = decode::extent(here(), bytes)
        .is_ok_and(|extent| extent.size.0.saturating_mul(extent.size.1) > 1 << 22);
    if too_large {
        return Ok(());
    }
    mask::decode(here(), bytes).map(|mask| drop(mask.ids()))
}

/// A PASCAL-Part annotation.
///
/// # Errors
/// As a file would give.
pub fn annotation(bytes: &[u8]) -> Result<(), DataError> {
    let table = PartTable::new(PartSettings::default());
    table.paint(here(), bytes).map(|_| ())
}

/// The JSON file of COCO panoptic.
///
/// # Errors
/// As a file would give.
pub fn panoptic(bytes: &[u8]) -> Result<(), DataError> {
    PanopticTable::default().add_from(here(), bytes, Path::new("masks"))
}

/// A pair of SPair-71k.
///
/// # Errors
/// As a file would give.
pub fn pair(bytes: &[u8]) -> Result<(), DataError> {
    Pair::parse(Path::new("root"), here(), bytes).map(|_| ())
}

/// A list of images.
///
/// # Errors
/// As a file would give.
pub fn list(bytes: &[u8]) -> Result<(), DataError> {
    listing::lines_of(here(), bytes.to_vec(), "image").map(|_| ())
}

/// A TOML description.
///
/// # Errors
/// As a file would give.
pub fn toml(bytes: &[u8]) -> Result<(), DataError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => description::check_text(here(), text),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;

    /// Changes bytes as a bad disk, a broken download or an attacker would; the same in every run.
    struct Mutations(u64);

    impl Mutations {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound.max(1)
        }

        fn of(&mut self, bytes: &[u8]) -> Vec<u8> {
            let mut bytes = bytes.to_vec();
            for _ in 0..=self.below(4) {
                let at = self.below(bytes.len());
                match self.below(6) {
                    0 => bytes.truncate(at),
                    1 | 2 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                    3 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                    4 => {
                        // Lengths and sizes are what readers trust: put extreme ones anywhere.
                        let value = [0, 1, 0x7fff_ffff, u32::MAX, 0x0100_0000][self.below(5)];
                        let end = bytes.len().min(at + 4);
                        bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                    }
                    _ => {
                        let end = at + self.below(bytes.len() - at);
                        let piece = bytes[at..end.min(at + 64)].to_vec();
                        let to = self.below(bytes.len());
                        bytes.splice(to..to, piece);
                    }
                }
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            bytes
        }
    }

    /// Runs a reader on a sound file and on mutations of it.
    fn try_out(
        name: &str,
        sound: &[u8],
        count: usize,
        reader: impl Fn(&[u8]) -> Result<(), DataError>,
    ) {
        assert!(reader(sound).is_ok(), "{name}: {:?}", reader(sound));
        let mut mutations = Mutations(sound.len() as u64);
        let mut refused = 0;
        for _ in 0..count {
            let bytes = mutations.of(sound);
            // A decoder of another crate may panic: `guarded` is what stands before it.
            let result = decode::guarded(here(), || reader(&bytes));
            if let Err(error) = result {
                let text = error.to_string();
                assert!(!text.contains('\n'), "{name}: {text}");
                refused += 1;
            }
        }
        assert!(refused > 0, "{name}: no mutation was noticed");
    }

    fn golden(name: &str) -> Vec<u8> {
        fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/golden")
                .join(name),
        )
        .unwrap()
    }

    #[test]
    fn images_and_masks() {
        for name in ["turned6.jpg", "cmyk.jpg", "ycck.jpg", "interlaced.png"] {
            try_out(name, &golden(name), 400, image);
        }
        let palette = golden("short_palette.png");
        try_out("palette", &palette, 400, mask);
        for format in [image::ImageFormat::Bmp, image::ImageFormat::WebP] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            let picture = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8, y as u8, 3]));
            picture.write_to(&mut bytes, format).unwrap();
            try_out(&format!("{format:?}"), bytes.get_ref(), 400, image);
        }
    }

    #[test]
    fn matlab_annotations() {
        let file = golden("parts/Annotations_Part/2008_000002.mat");
        try_out("compressed", &file, 100, annotation);
        // The same without compression, so that mutations reach the structure; its masks are cut
        // to nothing by most truncations, and a hundred bytes in three lie in tags and names.
        let mut content = Vec::new();
        flate2::read::ZlibDecoder::new(&file[136..])
            .read_to_end(&mut content)
            .unwrap();
        let plain = [&file[..128], &content].concat();
        try_out("plain", &plain, 100, annotation);
        let mut mutations = Mutations(7);
        for _ in 0..2000 {
            // Only the beginning is changed: flags, names, dimensions, and the first tags.
            let mut bytes = mutations.of(&plain[..700]);
            bytes.extend_from_slice(&plain[700..20_000]);
            let _ = annotation(&bytes);
        }
        for length in 0..700 {
            assert!(annotation(&plain[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn texts() {
        let json = br#"{"annotations": [{"file_name": "1.png", "segments_info": [{"id": 7, "category_id": 1}, {"id": 9, "category_id": 200}]}]}"#;
        try_out("panoptic", json, 3000, panoptic);
        try_out("pair", &golden("pair.json"), 3000, pair);
        try_out("list", b"000000000139\r\n000000000285\n\n", 2000, list);
        let text =
            b"root = '.'\ntest = { images = 'i', masks = ['m/*.png'] }\nothers = 'ignored'\n\
            ignore = [0]\n[[classes]]\nname = 'a'\nids = [1, 2]\ncolor = [1, 2, 3]\n";
        try_out("toml", text, 3000, toml);
        let parts = b"kind = 'pascal-part-animals'\nanimals = ['cow']\nunlabeled = 'background'\n\
            min_area = 0.1\n[[classes]]\nname = 'head'\nparts = ['head', 'cow.lear']\n";
        try_out("parts", parts, 3000, toml);
    }
}
