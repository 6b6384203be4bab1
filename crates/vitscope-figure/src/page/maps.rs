//! Label maps in few bytes, for the page: two fifths of what deflate makes of them, and most of a page is label maps.
//!
//! A pixel of a label map nearly always has the label of a neighbor. Each is coded by up to three answers - is it the
//! left one's, else the upper one's, else the upper right one's? - and by its eight bits where none is right. Each
//! answer goes through a range coder ([`Coder`]), with a probability that is learned for the way in which the
//! neighbors agree. `templates/report/unpacking.js` decodes it, and knows by the sum at the end whether it did so rightly.

use super::coder::{Coder, HALF, sum};

/// Ways in which nine pairs of neighbors agree.
const WAYS: usize = 1 << 9;

/// Encodes label maps of one size, one after the other: a 4-byte sum, big-endian, then the coded pixels.
///
/// # Shapes
/// `pixels` holds whole maps of `width * height`.
pub(super) fn encode(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut coder = Coder::new();
    let mut learned = AnswerOdds::new();
    for map in pixels.chunks_exact((width * height).max(1)) {
        for at in 0..map.len() {
            let near = Near::of(map, width, at);
            learned.walk(&near, |probability, question| {
                let bit = question.is_true_of(map[at]);
                coder.code(probability, bit);
                bit
            });
        }
    }
    let mut bytes = sum(pixels).to_be_bytes().to_vec();
    bytes.extend(coder.finish());
    bytes
}

/// The neighbors of a pixel that come before it. Beyond the map's edges they are those nearest, and 0 above the first row.
struct Near {
    left: u8,
    up: u8,
    right: u8,
    way: usize,
}

impl Near {
    fn of(map: &[u8], width: usize, at: usize) -> Self {
        let (row, column) = (at / width, at % width);
        let above = |up: usize, column: usize| match row.checked_sub(up) {
            Some(row) => map[row * width + column.min(width - 1)],
            None if row > 0 => map[column.min(width - 1)],
            None => 0,
        };
        let up = above(1, column);
        let before = |back: usize| match column.checked_sub(back) {
            Some(column) => map[row * width + column],
            None if column > 0 => map[row * width],
            None => up,
        };
        let (left, right) = (before(1), above(1, column + 1));
        let corner = if column > 0 { above(1, column - 1) } else { up };
        let agree = [
            left == up,
            up == corner,
            up == right,
            left == corner,
            left == before(2),
            up == above(2, column),
            right == above(1, column + 2),
            right == above(2, column + 1),
            left == right,
        ];
        let way = agree.iter().enumerate();
        Self {
            left,
            up,
            right,
            way: way.fold(0, |way, (bit, &agree)| way | usize::from(agree) << bit),
        }
    }
}

/// What an answer is about.
enum MapQuestion {
    /// Whether the pixel is not this label.
    Not(u8),
    /// A bit of the pixel itself, from the highest, which is 7.
    Bit(u32),
}

impl MapQuestion {
    fn is_true_of(&self, pixel: u8) -> bool {
        match *self {
            Self::Not(label) => pixel != label,
            Self::Bit(bit) => pixel >> bit & 1 == 1,
        }
    }
}

/// The probabilities that every answer is no, as learned so far.
struct AnswerOdds {
    answers: [[u16; WAYS]; 3],
    bits: [u16; 256],
}

impl AnswerOdds {
    fn new() -> Self {
        Self {
            answers: [[HALF; WAYS]; 3],
            bits: [HALF; 256],
        }
    }

    /// Asks `tell` for the answers of one pixel, in order, as many as are needed; gives the pixel.
    fn walk(&mut self, near: &Near, mut tell: impl FnMut(&mut u16, MapQuestion) -> bool) -> u8 {
        let candidates = [near.left, near.up, near.right];
        for (answer, label) in candidates.into_iter().enumerate() {
            // What was asked before is not asked again.
            if candidates[..answer].contains(&label) {
                continue;
            }
            if !tell(&mut self.answers[answer][near.way], MapQuestion::Not(label)) {
                return label;
            }
        }
        let mut node = 1;
        for bit in (0..8).rev() {
            let set = tell(&mut self.bits[node], MapQuestion::Bit(bit));
            node = 2 * node + usize::from(set);
        }
        // Eight bits after a leading one.
        (node & 255) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::super::coder::Decoder;
    use super::*;

    /// What `unpacking.js` does, in Rust.
    fn decode(bytes: &[u8], maps: usize, width: usize, height: usize) -> Vec<u8> {
        let mut decoder = Decoder::new(bytes);
        let mut learned = AnswerOdds::new();
        let mut pixels = Vec::new();
        for _ in 0..maps {
            let mut map = vec![0; width * height];
            for at in 0..map.len() {
                let near = Near::of(&map, width, at);
                map[at] = learned.walk(&near, |probability, _| decoder.tell(probability));
            }
            pixels.extend(map);
        }
        assert_eq!(bytes[..4], sum(&pixels).to_be_bytes());
        pixels
    }

    #[test]
    fn maps_come_back_whatever_they_hold() {
        let mut state = 1_u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for (width, height, maps, labels) in [
            (1, 1, 1, 1),
            (1, 9, 2, 3),
            (9, 1, 3, 256),
            (40, 30, 2, 4),
            (64, 64, 1, 256),
        ] {
            let noise: Vec<u8> = (0..width * height * maps)
                .map(|_| random(labels) as u8)
                .collect();
            assert_eq!(
                decode(&encode(&noise, width, height), maps, width, height),
                noise
            );
            // Blocks, as labels lie, with edges that are not straight.
            let block = |at: usize| ((at % width + random(3) as usize) / 9 + at / width / 7) as u8;
            let blocks: Vec<u8> = (0..width * height * maps).map(block).collect();
            assert_eq!(
                decode(&encode(&blocks, width, height), maps, width, height),
                blocks
            );
        }
        // One answer for all of 200 000 pixels: no byte is lost where the coder has long runs to carry through.
        let flat = vec![255; 200_000];
        let bytes = encode(&flat, 500, 400);
        assert!(bytes.len() < 1200, "{}", bytes.len());
        assert_eq!(decode(&bytes, 1, 500, 400), flat);
    }
}
