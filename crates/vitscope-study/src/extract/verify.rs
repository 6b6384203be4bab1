//! A model against activations that another program recorded: whether a port is right.
//!
//! A recording is a safetensors file with the normalized `input` `[B,3,H,W]` and any of the
//! tensors that follow from it, with all tokens (class, registers, patches) and blocks counted
//! from 0: `embed`, `block{l}.query|key|value|token` and `final_norm` `[B,T,D]`,
//! `block{l}.query_rot|key_rot` after rotation, `block{l}.attention` `[B,heads,T,T]`. They may be
//! stored as f64, f32, f16 or bf16.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use ndarray::ArrayView4;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use vitscope_vit::Vit;
use vitscope_vit::checkpoint::Checkpoint;
use vitscope_vit::config::Config;
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::identify::Settle;
use vitscope_vit::vit::Tapped;

use crate::error::StudyError;
use crate::extract::read_input;
use crate::model;

/// The largest difference, relative to a tensor's largest magnitude, that rounding in f32 is
/// allowed to make.
pub const TOLERANCE: f64 = 2e-4;

/// What a block hands out, in the order of its computation, under the names of recordings.
pub const KINDS: [(&str, TapKind); 7] = [
    ("query", TapKind::Query),
    ("key", TapKind::Key),
    ("value", TapKind::Value),
    ("query_rot", TapKind::QueryRotated),
    ("key_rot", TapKind::KeyRotated),
    ("attention", TapKind::Attention),
    ("token", TapKind::Token),
];

/// The outcome for one recorded tensor.
#[derive(Clone, Debug, Serialize)]
pub struct TensorComparison {
    /// Its name in the recording.
    pub tensor: String,
    /// Layer, from 1; 0 for the embedding.
    pub layer: usize,
    /// `embed`, `query`, `key`, `value`, `query_rot`, `key_rot`, `attention`, `token` or
    /// `final_norm`.
    pub facet: String,
    /// Largest magnitude recorded.
    pub largest: f64,
    /// Worst difference, relative to that; `None` where there is no number to give.
    pub difference: Option<f64>,
    /// Where in the tensor the worst difference is.
    pub at: Vec<usize>,
    /// Why there is no number.
    pub problem: Option<String>,
    /// Whether the difference is within the tolerance.
    pub passed: bool,
}

/// The outcome for a recording.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Whether every recorded tensor of the layout is reproduced within the tolerance.
    pub passed: bool,
    /// The tolerance.
    pub tolerance: f64,
    /// Every recorded tensor of the layout, layer by layer.
    pub compared: Vec<TensorComparison>,
    /// Tensors that the model has and the recording lacks.
    pub missing: Vec<String>,
    /// Tensors of the recording whose names the layout does not know.
    pub unknown: Vec<String>,
    /// What was decided about the checkpoint although others might decide otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Verification {
    /// The tensor that is reproduced worst; one without a number is worse than any.
    #[must_use]
    pub fn worst(&self) -> Option<&TensorComparison> {
        let rank = |tensor: &TensorComparison| tensor.difference.unwrap_or(f64::INFINITY);
        // The first of equals, which is where a fault begins.
        self.compared.iter().reduce(|worst, next| {
            if rank(next) > rank(worst) {
                next
            } else {
                worst
            }
        })
    }
}

/// Opens a checkpoint and compares it with a recording.
///
/// # Errors
/// When the checkpoint or the recording cannot be read, or they have no tensor in common.
pub fn verify(
    model: &Path,
    settle: &Settle,
    recording: &Path,
    tolerance: f64,
) -> Result<Verification, StudyError> {
    let checkpoint = Checkpoint::open(model, settle)?;
    let vit = model::load(&checkpoint, settle)?;
    Ok(Verification {
        notes: checkpoint.notes().map(ToString::to_string).collect(),
        ..compare(&vit, recording, tolerance)?
    })
}

/// Runs a model on a recorded input and compares every recorded tensor.
///
/// # Errors
/// When the recording cannot be read, holds no `input`, or nothing to compare.
pub fn compare(vit: &Vit, recording: &Path, tolerance: f64) -> Result<Verification, StudyError> {
    if !(tolerance.is_finite() && tolerance >= 0.0) {
        return Err(StudyError::setting(format!(
            "a tolerance of {tolerance} is not possible: give a small positive number such as {TOLERANCE}"
        )));
    }
    let bytes = std::fs::read(recording).map_err(StudyError::io(recording, "read"))?;
    let (shape, input) = read_input(recording, &bytes)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| {
        StudyError::file(recording, format!("is no safetensors file ({error})"))
    })?;
    let (mut recorded, unknown) = sort(&file);
    if recorded.is_empty() {
        return Err(StudyError::file(
            recording,
            format!(
                "records nothing to compare: it needs tensors such as block0.query or final_norm beside its input, and has {}",
                if unknown.is_empty() {
                    "none".to_owned()
                } else {
                    unknown.join(", ")
                }
            ),
        ));
    }
    let depth = vit.config().depth;
    let mut taps = Taps::new();
    for &key in recorded.keys() {
        let (layer, kind) = key.tap(depth);
        if layer <= depth {
            taps.add(layer, kind);
        }
    }
    let missing = layout(vit.config())
        .into_iter()
        .filter(|key| !recorded.contains_key(key))
        .map(ActivationKey::name)
        .collect();

    let images = ArrayView4::from_shape(shape, &input)
        .map_err(|error| StudyError::file(recording, error.to_string()))?;
    let mut work = vit.workspace([shape[2], shape[3]])?;
    let mut compared = Vec::new();
    vit.forward(images, &taps, &mut work, |tapped| {
        let (layer, kind) = match &tapped {
            Tapped::Rows { layer, kind, .. } => (*layer, *kind),
            Tapped::Attention { layer, .. } => (*layer, TapKind::Attention),
        };
        let key = ActivationKey::of(layer, kind);
        if let Some(view) = recorded.remove(&key) {
            compared.push(judge(key, &view, &tapped, tolerance)?);
        }
        Ok::<(), StudyError>(())
    })?;
    // What is left belongs to blocks that the model does not have.
    for (key, view) in recorded {
        let problem = format!("the model has only {depth} blocks");
        compared.push(TensorComparison {
            largest: largest(&values(&view).unwrap_or_default()),
            ..key.failed(problem)
        });
    }
    Ok(Verification {
        passed: compared.iter().all(|tensor| tensor.passed),
        tolerance,
        compared,
        missing,
        unknown,
        notes: Vec::new(),
    })
}

/// A place in the layout of recordings, in order of computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ActivationKey {
    Embedding,
    /// Block from 0, and an index into [`KINDS`].
    Block(usize, usize),
    FinalNorm,
}

impl ActivationKey {
    fn of(layer: usize, kind: TapKind) -> Self {
        match (kind, KINDS.iter().position(|(_, other)| *other == kind)) {
            (TapKind::FinalNorm, _) => Self::FinalNorm,
            (_, Some(index)) => Self::Block(layer.saturating_sub(1), index),
            (_, None) => Self::Embedding,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            "embed" => return Some(Self::Embedding),
            "final_norm" => return Some(Self::FinalNorm),
            _ => {}
        }
        let (block, facet) = name.strip_prefix("block")?.split_once('.')?;
        let index = KINDS.iter().position(|(name, _)| *name == facet)?;
        let block: usize = block.parse().ok()?;
        // `block007` and `block+7` are other names.
        let key = Self::Block(block, index);
        (block < usize::MAX && key.name() == name).then_some(key)
    }

    fn name(self) -> String {
        match self {
            Self::Embedding => "embed".to_owned(),
            Self::Block(block, index) => format!("block{block}.{}", KINDS[index].0),
            Self::FinalNorm => "final_norm".to_owned(),
        }
    }

    fn tap(self, depth: usize) -> (usize, TapKind) {
        match self {
            Self::Embedding => (0, TapKind::Embedding),
            Self::Block(block, index) => (block + 1, KINDS[index].1),
            Self::FinalNorm => (depth, TapKind::FinalNorm),
        }
    }

    fn failed(self, problem: String) -> TensorComparison {
        TensorComparison {
            tensor: self.name(),
            layer: match self {
                Self::Block(block, _) => block + 1,
                _ => 0,
            },
            facet: match self {
                Self::Block(_, index) => KINDS[index].0.to_owned(),
                other => other.name(),
            },
            largest: 0.0,
            difference: None,
            at: Vec::new(),
            problem: Some(problem),
            passed: false,
        }
    }
}

/// Everything that a complete recording of a model holds.
fn layout(config: &Config) -> Vec<ActivationKey> {
    let rotary = config.positions.is_rotary();
    let blocks = (0..config.depth).flat_map(|block| {
        (0..KINDS.len())
            .filter(move |&index| {
                rotary || !matches!(KINDS[index].1, TapKind::QueryRotated | TapKind::KeyRotated)
            })
            .map(move |index| ActivationKey::Block(block, index))
    });
    std::iter::once(ActivationKey::Embedding)
        .chain(blocks)
        .chain([ActivationKey::FinalNorm])
        .collect()
}

/// Recorded tensors by their place, and the names that have none.
fn sort<'a>(file: &SafeTensors<'a>) -> (BTreeMap<ActivationKey, TensorView<'a>>, Vec<String>) {
    let mut recorded = BTreeMap::new();
    let mut unknown = Vec::new();
    for (name, view) in file.iter() {
        if name == "input" {
            continue;
        }
        match ActivationKey::parse(name) {
            Some(key) => {
                recorded.insert(key, view);
            }
            None => unknown.push(name.to_owned()),
        }
    }
    unknown.sort();
    (recorded, unknown)
}

fn values(view: &TensorView<'_>) -> Option<Vec<f64>> {
    let data = view.data();
    Some(match view.dtype() {
        Dtype::F64 => {
            let (values, _) = data.as_chunks::<8>();
            values.iter().map(|b| f64::from_le_bytes(*b)).collect()
        }
        Dtype::F32 => {
            let (values, _) = data.as_chunks::<4>();
            values
                .iter()
                .map(|b| f32::from_le_bytes(*b).into())
                .collect()
        }
        Dtype::F16 => {
            let (values, _) = data.as_chunks::<2>();
            values
                .iter()
                .map(|b| f16::from_le_bytes(*b).into())
                .collect()
        }
        Dtype::BF16 => {
            let (values, _) = data.as_chunks::<2>();
            values
                .iter()
                .map(|b| bf16::from_le_bytes(*b).into())
                .collect()
        }
        _ => return None,
    })
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |top, value| top.max(value.abs()))
}

fn judge(
    key: ActivationKey,
    view: &TensorView<'_>,
    tapped: &Tapped<'_>,
    tolerance: f64,
) -> Result<TensorComparison, StudyError> {
    let (layer, shape) = match tapped {
        Tapped::Rows {
            layer,
            prefix,
            patches,
            ..
        } => {
            let (batch, count, width) = patches.dim();
            (*layer, vec![batch, prefix.dim().1 + count, width])
        }
        Tapped::Attention { layer, weights } => (*layer, weights.shape().to_vec()),
    };
    let failed = |problem: String| TensorComparison {
        layer,
        ..key.failed(problem)
    };
    if view.shape() != shape {
        return Ok(failed(format!(
            "recorded as {:?}, but the model gives {shape:?}",
            view.shape()
        )));
    }
    let Some(want) = values(view) else {
        return Ok(failed(format!(
            "recorded as {:?}: expected F64, F32, F16 or BF16",
            view.dtype()
        )));
    };
    let largest = largest(&want);
    let mut worst = (0.0_f64, 0);
    let mut finite = true;
    let mut meet = |(index, (want, got)): (usize, (&f64, &f32))| {
        let difference = (f64::from(*got) - want).abs();
        finite &= difference.is_finite();
        if difference > worst.0 {
            worst = (difference, index);
        }
    };
    match tapped {
        Tapped::Rows {
            prefix, patches, ..
        } => {
            // A recording keeps all tokens of an image together.
            let (prefix, patches) = (prefix.host()?, patches.host()?);
            let images = prefix.outer_iter().zip(patches.outer_iter());
            let mut start = 0;
            for (prefix, patches) in images {
                for part in [prefix, patches] {
                    let end = start + part.len();
                    (start..end)
                        .zip(want[start..end].iter().zip(&part))
                        .for_each(&mut meet);
                    start = end;
                }
            }
        }
        Tapped::Attention { weights, .. } => {
            let weights = weights.host()?;
            want.iter().zip(&weights).enumerate().for_each(&mut meet);
        }
    }
    if !finite {
        return Ok(TensorComparison {
            largest,
            ..failed("there are values that are not finite".to_owned())
        });
    }
    // Against a tensor of zeros the difference itself has to do.
    let difference = if largest > 0.0 {
        worst.0 / largest
    } else {
        worst.0
    };
    Ok(TensorComparison {
        largest,
        difference: Some(difference),
        at: unravel(worst.1, &shape),
        problem: None,
        passed: difference <= tolerance,
        ..failed(String::new())
    })
}

fn unravel(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for (place, &extent) in at.iter_mut().zip(shape).rev() {
        *place = index % extent.max(1);
        index /= extent.max(1);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_go_both_ways() {
        for name in [
            "embed",
            "block0.query",
            "block11.key_rot",
            "block3.attention",
            "final_norm",
        ] {
            assert_eq!(ActivationKey::parse(name).unwrap().name(), name);
        }
        for other in [
            "input",
            "block.query",
            "block00.query",
            "block+1.key",
            "block1.head",
            "x",
        ] {
            assert_eq!(ActivationKey::parse(other), None, "{other}");
        }
        let (layer, kind) = ActivationKey::Block(4, 1).tap(12);
        assert_eq!(ActivationKey::of(layer, kind), ActivationKey::Block(4, 1));
        assert_eq!(
            ActivationKey::of(12, TapKind::FinalNorm),
            ActivationKey::FinalNorm
        );
        assert_eq!(
            ActivationKey::of(0, TapKind::Embedding),
            ActivationKey::Embedding
        );
    }

    #[test]
    fn indices_are_unraveled() {
        assert_eq!(unravel(0, &[2, 3, 4]), [0, 0, 0]);
        assert_eq!(unravel(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(unravel(13, &[2, 3, 4]), [1, 0, 1]);
    }
}
