//! Facets on disk: a feature directory of a data set, or of one batch that is already normalized.

mod tensor;
pub mod verify;

use std::path::{Path, PathBuf};

use serde::Serialize;
use vitscope_data::{DataSet, Split};
use vitscope_run::{Facet, Folder, Slot, files, whole};
use vitscope_vit::identify::Settle;
use vitscope_vit::vit::Rows;

use crate::error::StudyError;
use crate::features::{About, SplitWriter};
use crate::layers::Layers;
use crate::model::Model;
use crate::observer::{self, Observer};
use crate::settings::Side;
use crate::source::{Pass, PassTimes, Reading, Seen, Turn, Visitor};
use crate::transforms::{SlotTransform, StoredTransforms};

pub(crate) use self::tensor::read_input;
pub use self::tensor::{Companions, extract_tensor};

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
    let mut folder = Folder::claim(
        &what.out,
        COMMAND,
        &[data.folders(&whole(&what.out)), vec![what.model.clone()]].concat(),
    )?;
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
        source
            .facets()
            .run(&pass, &mut scribe, &mut PassTimes::default())?;
        written.extend(scribe.writer.paths());
        observer.end();
    }
    if same {
        for path in written.clone() {
            written.push(twin(&mut folder, &path)?);
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

/// The file of test images again as that of training images, without its bytes twice where the disk can.
fn twin(folder: &mut Folder, path: &Path) -> Result<PathBuf, StudyError> {
    let twin = folder.place(&file_name(path).replacen("test", "train", 1))?;
    files::remove_if_there(&twin)?;
    files::step();
    std::fs::hard_link(path, &twin)
        .or_else(|_| std::fs::copy(path, &twin).map(|_| ()))
        .map_err(StudyError::io(&twin, "write"))?;
    Ok(twin)
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
