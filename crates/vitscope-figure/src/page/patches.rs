//! Patch vectors of the examples for the page, as the run stores them: rounded coordinates by which the page compares patches
//! (docs/protocol.md section 19).
//!
//! Each coordinate is coded by the eight bits of its magnitude and sign, each with a probability that is learned for that
//! coordinate, the bits before, and roughly what the patches to the left and above have there. `templates/report/unpacking.js`
//! decodes it.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::Serialize;
use vitscope_run::names;

use super::coder::{Coder, HALF, sum};
use crate::encoding::base64;
use crate::error::FigureError;
use crate::run_view::{RunView, open_tensors};

/// Coordinates of a patch at most.
const MOST: usize = 128;
/// Coordinates that become red, green and blue.
const CHANNELS: usize = 3;

/// The patches of the examples in a slot.
#[derive(Serialize)]
pub(super) struct PatchData {
    /// Coordinates of a patch.
    width: usize,
    /// Which of the page's images they are of.
    images: Vec<usize>,
    /// `[images, N, width]`, as [`encode`] gives it.
    codes: String,
    /// What of the part outside of the basis goes to cosines.
    rest: f64,
    /// By how much cosines are off, as a root of the mean square; none where nothing was compared.
    error: Option<f64>,
    /// The coordinates that are black and white in each color.
    ends: Vec<[i8; 2]>,
}

/// The patches that a run keeps of some images, by their stems: those of the layer that it chose for each facet.
///
/// # Errors
/// When the file is damaged.
pub(super) fn of(
    run: &RunView,
    stems: &[String],
) -> Result<BTreeMap<String, PatchData>, FigureError> {
    let mut all = BTreeMap::new();
    let path = run.root.join(names::PATCHES);
    let Some(mut file) = open_tensors(&path)? else {
        return Ok(all);
    };
    let places = run.record.grid[0] * run.record.grid[1];
    for slot in run.slots() {
        let name = names::patches(slot);
        let Some(tensor) = file.read_up_to(&name, MOST * places * run.record.examples.len())?
        else {
            continue;
        };
        let bad = || FigureError::malformed(&path, format!("has {name} of another type or shape"));
        let (Dtype::I8, &[stored, patches, width]) = (tensor.dtype, tensor.shape.as_slice()) else {
            return Err(bad());
        };
        if stored > run.record.examples.len() || patches != places || width > MOST {
            return Err(bad());
        }
        let mut number = |name: &str| -> Result<Option<f64>, FigureError> {
            let found = file
                .read_up_to(name, size_of::<f64>())?
                .filter(|found| found.dtype == Dtype::F64);
            let number = found.and_then(|found| found.f64s().first().copied());
            Ok(number.filter(|number| number.is_finite()))
        };
        let (rest, error) = (
            number(&names::patch_rest(slot))?.unwrap_or(0.0),
            number(&names::patch_error(slot))?,
        );
        let (mut images, mut codes) = (Vec::new(), Vec::new());
        for (image, stem) in stems.iter().enumerate() {
            let index = run.record.examples.iter().position(|own| own == stem);
            if let Some(index) = index.filter(|&index| index < stored) {
                let length = patches * width;
                let bytes = &tensor.bytes[index * length..][..length];
                codes.extend(bytes.iter().map(|byte| byte.cast_signed()));
                images.push(image);
            }
        }
        if images.is_empty() {
            continue;
        }
        let data = PatchData {
            width,
            images,
            codes: base64(&encode(&codes, width, run.record.grid)),
            rest,
            error,
            ends: (0..width.min(CHANNELS))
                .map(|channel| ends(&codes, width, channel))
                .collect(),
        };
        all.insert(slot.to_string(), data);
    }
    Ok(all)
}

/// The 1st and the 99th percentile of a coordinate.
fn ends(codes: &[i8], width: usize, channel: usize) -> [i8; 2] {
    let mut values: Vec<i8> = codes.iter().skip(channel).step_by(width).copied().collect();
    values.sort_unstable();
    let last = values.len().saturating_sub(1) as f64;
    [0.01, 0.99].map(|share| {
        let at = (share * last).round() as usize;
        values.get(at).copied().unwrap_or(0)
    })
}

/// What two neighbors have together is told apart at these sums.
const BOUNDS: [i16; 9] = [-24, -12, -6, -2, 1, 3, 7, 13, 25];

/// Encodes coordinates: a 4-byte sum, big-endian, then the coded coordinates.
///
/// # Shapes
/// `codes`: `[E, N, width]`; `grid`: rows and columns of the `N` patches.
fn encode(codes: &[i8], width: usize, grid: [usize; 2]) -> Vec<u8> {
    let folded: Vec<u8> = codes.iter().map(|&code| fold(code)).collect();
    let mut coder = Coder::new();
    let mut learned = vec![[HALF; 256]; width * (BOUNDS.len() + 1)];
    for (at, &value) in folded.iter().enumerate() {
        let way = way(codes, at, width, grid);
        let mut node = 1;
        for bit in (0..8).rev() {
            let set = value >> bit & 1 == 1;
            coder.code(&mut learned[way][node], set);
            node = 2 * node + usize::from(set);
        }
    }
    let mut bytes = sum(&folded).to_be_bytes().to_vec();
    bytes.extend(coder.finish());
    bytes
}

/// Which probabilities a coordinate has, by those before it.
fn way(codes: &[i8], at: usize, width: usize, [rows, columns]: [usize; 2]) -> usize {
    let place = at / width % (rows * columns);
    let before = |there: bool, patches: usize| match there {
        true => i16::from(codes[at - patches * width]),
        false => 0,
    };
    let both = before(!place.is_multiple_of(columns), 1) + before(place >= columns, columns);
    let above = BOUNDS.iter().filter(|&&bound| both >= bound).count();
    at % width * (BOUNDS.len() + 1) + above
}

/// 0, -1, 1, -2, 2, ... as 0, 1, 2, 3, 4, ...
fn fold(code: i8) -> u8 {
    (code << 1 ^ code >> 7).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::super::coder::Decoder;
    use super::*;

    #[test]
    fn coordinates_come_back() {
        let (width, grid) = (5, [10, 6]);
        let codes: Vec<i8> = (0..width * 300)
            .map(|at| {
                let spread = [64, 30, 9, 2, 0][at % width];
                ((at * at * 7 + at / 3) % (2 * spread + 1)) as i8 - spread as i8
            })
            .chain([i8::MIN, i8::MAX, 0, -1, 1])
            .collect();
        let bytes = encode(&codes, width, grid);
        assert!(bytes.len() < codes.len() * 3 / 4, "{}", bytes.len());
        let mut decoder = Decoder::new(&bytes);
        let mut learned = vec![[HALF; 256]; width * (BOUNDS.len() + 1)];
        let unfold = |value: u8| (value >> 1).cast_signed() ^ -((value & 1).cast_signed());
        let (mut folded, mut found) = (Vec::new(), Vec::new());
        for at in 0..codes.len() {
            let way = way(&found, at, width, grid);
            let mut node = 1;
            for _ in 0..8 {
                let set = decoder.tell(&mut learned[way][node]);
                node = 2 * node + usize::from(set);
            }
            folded.push((node & 255) as u8);
            found.push(unfold((node & 255) as u8));
        }
        assert_eq!(bytes[..4], sum(&folded).to_be_bytes());
        assert_eq!(found, codes);
    }

    #[test]
    fn ends_leave_out_a_hundredth_on_each_side() {
        let codes: Vec<i8> = (0..101).flat_map(|at| [at - 50, 3]).collect();
        assert_eq!(
            [0, 1].map(|channel| ends(&codes, 2, channel)),
            [[-49, 49], [3, 3]]
        );
        assert_eq!(ends(&[], 2, 0), [0, 0]);
    }
}
