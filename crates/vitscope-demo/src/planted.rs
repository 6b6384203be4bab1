//! Embeddings whose content is known, in place of a model: what the instrument must find in them can be
//! counted. They guard every change of the pipeline.
//!
//! A patch has a code: a number below 10. Its embedding is the code's own axis plus a trace of noise. For
//! the training split, codes are drawn at random and their vectors differ in length, so that the principal
//! directions are the axes and the centroids cannot but find them; cosines do not see lengths.

use crate::chance::Chance;
use crate::classes::SceneClass;
use crate::render::Picture;
use crate::scene::SIDE;

/// Patches of 8 pixels per row and column.
pub const GRID: usize = 16;

/// Codes, and the width of an embedding.
pub const CODES: usize = SceneClass::ALL.len();

/// What the code of a patch stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    /// The class that most of its pixels have.
    Class,
    /// The part of the image in which it lies, of 10.
    Place,
    /// In this share of the images, drawn at random, its place; its class in the others.
    Mix(f64),
}

/// The part of the image that holds a patch: 5 rows by 2 columns of parts.
#[must_use]
pub fn place(row: usize, column: usize) -> usize {
    (5 * row / GRID) * 2 + 2 * column / GRID
}

/// The codes of a picture's patches, row by row.
#[must_use]
pub fn codes(meaning: Meaning, seed: u64, index: u64, picture: &Picture) -> Vec<usize> {
    let by_place = match meaning {
        Meaning::Class => false,
        Meaning::Place => true,
        Meaning::Mix(share) => Chance::new([seed, index, 2, 0]).happens(share),
    };
    let patches = (0..GRID).flat_map(|row| (0..GRID).map(move |column| (row, column)));
    patches
        .map(|(row, column)| {
            if by_place {
                return place(row, column);
            }
            let side = SIDE / GRID;
            let mut counts = [0_usize; CODES];
            for y in row * side..(row + 1) * side {
                for &class in &picture.mask[y * SIDE + column * side..][..side] {
                    counts[usize::from(class)] += 1;
                }
            }
            // Ties to the lowest class.
            (0..CODES)
                .rev()
                .max_by_key(|&class| counts[class])
                .unwrap_or(0)
        })
        .collect()
}

/// The embeddings of a test image's codes, `[codes.len(), CODES]`.
#[must_use]
pub fn embeddings(codes: &[usize], seed: u64, index: u64) -> Vec<f32> {
    let mut chance = Chance::new([seed, index, 3, 0]);
    let rows = codes.iter().map(|&code| row(code, 1.0, &mut chance));
    rows.flatten().collect()
}

/// The embeddings of a training image, `[GRID * GRID, CODES]`.
#[must_use]
pub fn lesson(seed: u64, index: u64) -> Vec<f32> {
    let mut chance = Chance::new([seed, index, 4, 0]);
    let mut rows = Vec::with_capacity(GRID * GRID * CODES);
    for _ in 0..GRID * GRID {
        let code = chance.below(CODES);
        let length = (0..code).fold(1.0, |length, _| 1.6 * length);
        rows.extend(row(code, length, &mut chance));
    }
    rows
}

fn row(code: usize, length: f64, chance: &mut Chance) -> [f32; CODES] {
    let mut row = [0.0; CODES];
    for (axis, value) in row.iter_mut().enumerate() {
        let signal = if axis == code { 1.0 } else { 0.0 };
        *value = (length * (signal + chance.between(-1e-3, 1e-3))) as f32;
    }
    row
}
