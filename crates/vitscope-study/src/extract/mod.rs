//! Facets on disk: a feature directory of a data set, or of one batch that is already normalized.

pub mod verify;

use std::path::{Path, PathBuf};

use ndarray::ArrayView4;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use vitscope_data::{DataSet, Split};
use vitscope_run::{Facet, Folder, Slot, files, tensors};
use vitscope_vit::checkpoint::Checkpoint;
use vitscope_vit::facet::{Kind, Taps};
use vitscope_vit::identify::Settle;
use vitscope_vit::vit::{Rows, Tapped};

use crate::error::StudyError;
use crate::features::{About, SplitWriter};
use crate::layers::Layers;
use crate::model::{self, Model};
use crate::observer::{self, Observer};
use crate::settings::Side;
use crate::source::{Pass, PassTimes, Reading, Seen, Turn, Visitor, tapped_kind};
use crate::transforms::{SlotTransform, StoredTransforms};

/// What to extract, and how.
#[derive(Clone, Debug)]
pub struct Extraction {
    /// The checkpoint.
    pub model: PathBuf,
    /// What it leaves open.
    pub settle: Settle,
    /// Which layers.
    pub layers: Layers,
    /// Which facets.
    pub facets: Vec<Facet>,
    /// Which reading of the last token.
    pub token_norm: Side,
    /// Keys and queries before or after rotation.
    pub rope: Side,
    /// A run whose transforms are applied to the rows of a data set.
    pub transform_from: Option<PathBuf>,
    /// Whether values are stored as f16.
    pub half: bool,
    /// Where to.
    pub out: PathBuf,
}

/// What a data set is cut to.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Asked side of the crop in pixels.
    pub size: usize,
    /// Only the first so many training images.
    pub limit_train: Option<usize>,
    /// Only the first so many test images.
    pub limit_test: Option<usize>,
}

struct Scribe<'a> {
    writer: SplitWriter,
    /// Per slot; none where facets are written as they are.
    transforms: &'a [SlotTransform],
    slots: &'a [Slot],
    observer: &'a mut dyn Observer,
    done: usize,
}

impl Visitor for Scribe<'_> {
    fn reading(&mut self, slot: usize, rows: &Rows<'_>, _: &Seen) -> Result<(), StudyError> {
        let rows = rows.host()?;
        let Some(transform) = self.transforms.get(slot) else {
            return self.writer.write(slot, self.done, rows.view());
        };
        let edited = transform.fitted.apply(rows.view());
        let edited = edited.map_err(|source| StudyError::Probe {
            slot: self.slots[slot].to_string(),
            source,
        })?;
        self.writer.write(slot, self.done, edited.view())
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        self.done += seen.images.len();
        self.writer.advance(self.done)?;
        self.observer.advance(seen.images.len() as u64, None);
        if self.observer.stop() {
            return Err(StudyError::StoppedEarly);
        }
        Ok(())
    }
}

/// Writes a feature directory of a data set. Returns the files.
///
/// # Errors
/// From model, data or disk.
pub fn extract_data(
    what: &Extraction,
    data: &DataSet,
    cut: Cut,
    observer: &mut dyn Observer,
) -> Result<Vec<PathBuf>, StudyError> {
    let model = Model::Checkpoint(what.model.clone(), what.settle.clone());
    let (mut source, opened) = model.open(cut.size, &what.layers, &what.facets)?;
    for note in &opened.notes {
        observer.note(note);
    }
    let transforms = match &what.transform_from {
        Some(run) => {
            let mut stored = StoredTransforms::of(run)?;
            let sizes = (opened.grid, opened.geometry.size);
            stored.check(&opened.record, sizes, (what.token_norm, what.rope))?;
            let slots = opened.slots.iter().zip(&opened.widths);
            slots
                .map(|(&slot, &width)| stored.slot(slot, width))
                .collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let mut folder = Folder::claim(&what.out, COMMAND, &[&what.model, &data.root])?;
    let counts = [
        (Split::Test, cut.limit_test),
        (Split::Train, cut.limit_train),
    ]
    .map(|(split, limit)| {
        (
            split,
            data.split(split).len().min(limit.unwrap_or(usize::MAX)),
        )
    });
    // A folder without splits is its own training set: run it once.
    let same = data.train == data.test && counts[0].1 == counts[1].1;
    let mut written = Vec::new();
    for (split, count) in counts.into_iter().take(if same { 1 } else { 2 }) {
        let name = if split == Split::Test {
            "test"
        } else {
            "train"
        };
        let slots = opened
            .slots
            .iter()
            .copied()
            .zip(opened.widths.iter().copied())
            .collect();
        let writer = SplitWriter::new(&what.out, name, slots, opened.grid, what.half, count);
        for path in writer.paths() {
            folder.place(&file_name(&path))?;
        }
        let groups = writer.groups();
        observer.begin(observer::EXTRACT, 0, count as u64);
        let mut scribe = Scribe {
            writer,
            transforms: &transforms,
            slots: &opened.slots,
            observer,
            done: 0,
        };
        let pass = Pass {
            readings: &Reading::all(&opened.slots, what.token_norm),
            rope: what.rope,
            data,
            geometry: opened.geometry,
            split,
            labels: false,
            turn: Turn::None,
            groups: &groups,
            threads: rayon::current_num_threads(),
        };
        source.run(&pass, &mut scribe, &mut PassTimes::default())?;
        written.extend(scribe.writer.paths());
        observer.end();
    }
    if same {
        for path in written.clone() {
            let twin = folder.place(&file_name(&path).replacen("test", "train", 1))?;
            files::remove_if_there(&twin)?;
            files::step();
            std::fs::hard_link(&path, &twin)
                .or_else(|_| std::fs::copy(&path, &twin).map(|_| ()))
                .map_err(StudyError::io(&twin, "write"))?;
            written.push(twin);
        }
    }
    let about = About {
        patch: Some(opened.record.patch),
        size: Some(opened.geometry.size),
        model: Some(opened.record.name.clone()),
        family: Some(opened.record.family.clone()),
        model_size: Some(opened.record.size.clone()),
        depth: Some(opened.record.depth),
    };
    written.push(write_json(&mut folder, &about)?);
    folder.finish()?;
    Ok(written)
}

/// What a folder of features says that made it.
const COMMAND: &str = "extract";

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn write_json<T: Serialize>(folder: &mut Folder, about: &T) -> Result<PathBuf, StudyError> {
    let path = folder.place("features.json")?;
    let mut text = serde_json::to_string_pretty(about)
        .map_err(|error| StudyError::file(&path, format!("cannot be described: {error}")))?;
    text.push('\n');
    files::write(&path, text.as_bytes())?;
    Ok(path)
}

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
    let layers = what.layers.resolve(depth).map_err(StudyError::Setting)?;
    let mut names: Vec<(usize, Kind, String)> = Vec::new();
    for &layer in &layers {
        for &facet in &what.facets {
            let slot = Slot { facet, layer };
            let kind = tapped_kind(slot, depth, what.token_norm, what.rope);
            names.push((layer, kind, slot.to_string()));
        }
        if beside.attention {
            names.push((layer, Kind::Attention, format!("attention.{layer}")));
        }
    }
    names.push((depth, Kind::FinalNorm, "final_norm".to_owned()));
    let mut taps = Taps::new();
    for &(layer, kind, _) in &names {
        taps.add(layer, kind);
    }
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let images = ArrayView4::from_shape((shape[0], 3, shape[2], shape[3]), &values)
        .map_err(|error| StudyError::file(input, error.to_string()))?;
    vit.forward(images, &taps, &mut work, |tapped| {
        match tapped {
            Tapped::Rows {
                layer,
                kind,
                prefix,
                patches,
            } => {
                let (n, _, width) = patches.dim();
                let (prefix, patches) = (prefix.host()?, patches.host()?);
                let matching = names.iter().filter(|(l, k, _)| (*l, *k) == (layer, kind));
                for (_, _, name) in matching {
                    let stored = store(patches.iter(), what.half);
                    tensors.push((name.clone(), vec![n, grid[0], grid[1], width], stored));
                    if beside.prefix {
                        let shape = prefix.shape().to_vec();
                        tensors.push((
                            format!("prefix.{name}"),
                            shape,
                            store(prefix.iter(), what.half),
                        ));
                    }
                }
            }
            Tapped::Attention { layer, weights } => {
                let stored = store(weights.iter(), what.half);
                tensors.push((
                    format!("attention.{layer}"),
                    weights.shape().to_vec(),
                    stored,
                ));
            }
        }
        Ok::<(), StudyError>(())
    })?;
    let mut folder = Folder::claim(&what.out, COMMAND, &[&what.model])?;
    let path = folder.place("features.safetensors")?;
    let dtype = if what.half { Dtype::F16 } else { Dtype::F32 };
    let views = tensors
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
        .map_err(|_| wrong("holds no tensor named input".to_owned()))?;
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
    Ok((
        shape,
        values
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
    ))
}
