//! Facets of one batch that is already normalized.

use std::path::{Path, PathBuf};

use ndarray::ArrayView4;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use vitscope_run::{Folder, Slot, tensors};
use vitscope_vit::checkpoint::Checkpoint;
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::vit::Tapped;

use super::{COMMAND, Extraction, write_json};
use crate::error::StudyError;
use crate::features::{About, beyond_half};
use crate::model;
use crate::observer::Observer;
use crate::source::tapped_kind;

/// What [`extract_tensor`] writes beside the facets of the patches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Companions {
    /// The same for class token and registers, `"prefix.{facet}.{layer}"` `[n, P, D]`.
    pub prefix: bool,
    /// The attention weights, `"attention.{layer}"` `[n, heads, T, T]`.
    pub attention: bool,
}

/// Runs the `input` `[B, 3, H, W]` of a safetensors file through a model and writes
/// `features.safetensors`: the facets as a feature directory has them, and `final_norm`.
///
/// # Errors
/// From model, input or disk.
pub fn extract_tensor(
    what: &Extraction,
    input: &Path,
    beside: Companions,
    observer: &mut dyn Observer,
) -> Result<Vec<PathBuf>, StudyError> {
    if what.transform_from.is_some() {
        return Err(StudyError::setting(
            "`transform-from` edits the facets of a data set: give `data` or `images` in place of `tensor`",
        ));
    }
    let bytes = std::fs::read(input).map_err(StudyError::io(input, "read"))?;
    let (shape, values) = read_input(input, &bytes)?;
    let checkpoint = Checkpoint::open(&what.model, &what.settle)?;
    for note in checkpoint.notes() {
        observer.note(&note.to_string());
    }
    let vit = model::load(&checkpoint, &what.settle)?;
    let depth = vit.config().depth;
    let mut work = vit.workspace([shape[2], shape[3]])?;
    let grid = work.grid();
    let names = names(what, beside, depth)?;
    let mut taps = Taps::new();
    for &(layer, kind, _) in &names {
        taps.add(layer, kind);
    }
    let images = ArrayView4::from_shape((shape[0], 3, shape[2], shape[3]), &values)
        .map_err(|error| StudyError::file(input, error.to_string()))?;
    let mut found = Extracted {
        input,
        path: what.out.join("features.safetensors"),
        names,
        grid,
        half: what.half,
        prefix: beside.prefix,
        tensors: Vec::new(),
    };
    vit.forward(images, &taps, &mut work, |tapped| found.take(tapped))?;
    let mut folder = Folder::claim(&what.out, COMMAND, std::slice::from_ref(&what.model))?;
    let path = folder.place("features.safetensors")?;
    let dtype = if what.half { Dtype::F16 } else { Dtype::F32 };
    let views = found
        .tensors
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(dtype, shape.clone(), bytes)
                .map(|view| (name.clone(), view))
                .map_err(|error| StudyError::file(&path, error.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    tensors::write(&path, views, None)?;
    let identity = checkpoint.identity();
    let about = About {
        patch: Some(vit.config().patch),
        size: (shape[2] == shape[3]).then_some(shape[2]),
        model: what
            .model
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        family: Some(identity.family.to_string()),
        model_size: identity.size.clone(),
        depth: Some(depth),
    };
    let json = write_json(&mut folder, &about)?;
    folder.finish()?;
    Ok(vec![path, json])
}

/// What is asked for: layer, kind, and what it is called. The last token may be asked for under two names.
fn names(
    what: &Extraction,
    beside: Companions,
    depth: usize,
) -> Result<Vec<(usize, TapKind, String)>, StudyError> {
    let layers = what.layers.resolve(depth).map_err(StudyError::Setting)?;
    let mut names = Vec::new();
    for &layer in &layers {
        for &facet in &what.facets {
            let slot = Slot { facet, layer };
            let kind = tapped_kind(slot, depth, what.token_norm, what.rope);
            names.push((layer, kind, slot.to_string()));
        }
        if beside.attention {
            names.push((layer, TapKind::Attention, format!("attention.{layer}")));
        }
    }
    names.push((depth, TapKind::FinalNorm, "final_norm".to_owned()));
    Ok(names)
}

/// What a forward pass has handed out so far: names, shapes and bytes.
struct Extracted<'a> {
    input: &'a Path,
    /// What will be written.
    path: PathBuf,
    names: Vec<(usize, TapKind, String)>,
    grid: [usize; 2],
    half: bool,
    prefix: bool,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

impl Extracted<'_> {
    fn take(&mut self, tapped: Tapped<'_>) -> Result<(), StudyError> {
        match tapped {
            Tapped::Rows {
                layer,
                kind,
                prefix,
                patches,
            } => {
                let (n, _, width) = patches.dim();
                let (prefix, patches) = (prefix.host()?, patches.host()?);
                let is_it = |(l, k, _): &&(usize, TapKind, String)| (*l, *k) == (layer, kind);
                for (_, _, name) in self.names.iter().filter(is_it) {
                    let shape = vec![n, self.grid[0], self.grid[1], width];
                    let stored =
                        checked([self.input, &self.path], name, patches.iter(), self.half)?;
                    let beside = format!("prefix.{name}");
                    let prefix = match self.prefix {
                        true => Some((
                            prefix.shape().to_vec(),
                            checked([self.input, &self.path], &beside, prefix.iter(), self.half)?,
                        )),
                        false => None,
                    };
                    self.tensors.push((name.clone(), shape, stored));
                    if let Some((shape, stored)) = prefix {
                        self.tensors.push((beside, shape, stored));
                    }
                }
            }
            Tapped::Attention { layer, weights } => {
                let name = format!("attention.{layer}");
                let stored = checked(
                    [self.input, &self.path],
                    &name,
                    weights.host()?.iter(),
                    self.half,
                )?;
                let shape = weights.shape().to_vec();
                self.tensors.push((name, shape, stored));
            }
        }
        Ok(())
    }
}

/// The bytes of numbers, all of which have to be finite.
fn checked<'a>(
    [input, path]: [&Path; 2],
    name: &str,
    values: impl Iterator<Item = &'a f32> + Clone,
    half: bool,
) -> Result<Vec<u8>, StudyError> {
    if values.clone().any(|value| !value.is_finite()) {
        return Err(StudyError::file(
            input,
            format!(
                "the model's {name} of this input holds a value that is not finite: give other images, or a wider `dtype` where it is not f32"
            ),
        ));
    }
    if half {
        beyond_half(values.clone(), name, path)?;
    }
    Ok(store(values, half))
}

fn store<'a>(values: impl Iterator<Item = &'a f32>, half: bool) -> Vec<u8> {
    if half {
        values
            .flat_map(|&value| half::f16::from_f32(value).to_le_bytes())
            .collect()
    } else {
        values.flat_map(|value| value.to_le_bytes()).collect()
    }
}

pub(crate) fn read_input(path: &Path, bytes: &[u8]) -> Result<([usize; 4], Vec<f32>), StudyError> {
    let wrong = |problem: String| StudyError::file(path, problem);
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| wrong(format!("is no safetensors file ({error})")))?;
    let input = file
        .tensor("input")
        .map_err(|_| {
            wrong(
                "holds no tensor named 'input': give a file that has the normalized images under that name, F32 [batch, 3, height, width]"
                    .to_owned(),
            )
        })?;
    let shape: [usize; 4] = match <[usize; 4]>::try_from(input.shape()) {
        Ok(shape @ [batch, 3, _, _]) if batch > 0 && input.dtype() == Dtype::F32 => shape,
        _ => {
            return Err(wrong(format!(
                "its input is {:?} {:?}: expected F32 [batch, 3, height, width], normalized",
                input.dtype(),
                input.shape()
            )));
        }
    };
    let (values, _) = input.data().as_chunks::<4>();
    let values: Vec<f32> = values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    match values.iter().all(|value| value.is_finite()) {
        true => Ok((shape, values)),
        false => Err(wrong(
            "its input holds a value that is not finite: make it again".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stored_in_the_bytes_that_were_asked_for() {
        let values = [1.0_f32, -0.5];
        assert_eq!(store(values.iter(), false), [0, 0, 128, 63, 0, 0, 0, 191]);
        assert_eq!(store(values.iter(), true), [0, 60, 0, 184]);
    }

    #[test]
    fn an_input_is_a_batch_of_three_channels() {
        let file = |shape: Vec<usize>, count: usize| {
            let bytes = vec![0_u8; 4 * count];
            let view = TensorView::new(Dtype::F32, shape, &bytes).unwrap();
            safetensors::serialize([("input", view)], None).unwrap()
        };
        let path = Path::new("x.safetensors");
        let (shape, values) = read_input(path, &file(vec![1, 3, 2, 2], 12)).unwrap();
        assert_eq!((shape, values.len()), ([1, 3, 2, 2], 12));
        for (shape, count) in [
            (vec![1, 4, 2, 2], 16),
            (vec![3, 2, 2], 12),
            (vec![0, 3, 2, 2], 0),
        ] {
            let error = read_input(path, &file(shape, count))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("expected F32 [batch, 3, height, width]"),
                "{error}"
            );
        }
        assert!(read_input(path, b"none").is_err());
        let values = [f32::NAN; 12].map(f32::to_le_bytes).concat();
        let view = TensorView::new(Dtype::F32, vec![1, 3, 2, 2], &values).unwrap();
        let file = safetensors::serialize([("input", view)], None).unwrap();
        let error = read_input(path, &file).unwrap_err().to_string();
        assert!(error.contains("not finite"), "{error}");
    }
}
