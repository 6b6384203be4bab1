//! Counting what the probes predict on the test images (docs/protocol.md sections 5 to 8).

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::Array2;
use rayon::prelude::*;
use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};
use vitscope_data::{DataSet, Split};
use vitscope_measure::{MeasureError, Positions, ResamplingPlan, Tally, TallyParts};
use vitscope_protocol::{Counts, MapShape, ProtocolError, ReaderCounts, TestBatch};
use vitscope_run::Slot;
use vitscope_run::tensors::Lazy;

use crate::error::StudyError;
use crate::files;
use crate::job::kept_indices;
use crate::picture;
use crate::probe::readers::NAMES as READERS;
use crate::settings::Settings;
use crate::source::Seen;
use crate::state::{self, Origin, StoredState};

/// The counts of a subject as tensors, each made when its turn comes.
fn tensors<'a>(counts: &'a mut Counts, subject: &str) -> Vec<(String, Lazy<'a>)> {
    let Counts {
        tally,
        resampling,
        quality,
        soft,
        ..
    } = counts;
    let (clusters, classes) = (tally.clusters(), tally.classes());
    let tally = &*tally;
    let mut tensors = vec![
        (
            format!("{CONFUSION}.{subject}"),
            Lazy {
                dtype: Dtype::I64,
                shape: vec![clusters, classes],
                bytes: Box::new(|| {
                    let counts = tally.confusion();
                    counts
                        .iter()
                        .flat_map(|count| count.to_le_bytes())
                        .collect()
                }),
            },
        ),
        (
            format!("{POSITION}.{subject}"),
            Lazy {
                dtype: Dtype::U32,
                shape: vec![clusters, tally.pixels()],
                bytes: Box::new(|| {
                    let (counts, _) = tally.position_pixel().into_raw_vec_and_offset();
                    bytemuck::cast_slice(&counts).to_vec().into()
                }),
            },
        ),
    ];
    if let Some(resampling) = resampling {
        for (name, counts) in [SHIFTED, DRAWN].into_iter().zip(resampling.parts()) {
            let lazy = Lazy {
                dtype: Dtype::U32,
                shape: vec![counts.len()],
                bytes: Box::new(|| Cow::Borrowed(bytemuck::cast_slice(counts))),
            };
            tensors.push((format!("{name}.{subject}"), lazy));
        }
    }
    if let Some(quality) = quality {
        let quality = &*quality;
        let [samples, clusters, classes] = quality.shape();
        let lazy = Lazy {
            dtype: Dtype::I64,
            shape: vec![samples, clusters, classes],
            bytes: Box::new(move || {
                let sums = quality.sums();
                sums.iter().flat_map(|sum| sum.to_le_bytes()).collect()
            }),
        };
        tensors.push((format!("{SAMPLED}.{subject}"), lazy));
    }
    if let Some(soft) = soft {
        let sums = soft.sums();
        let lazy = Lazy {
            dtype: Dtype::I64,
            shape: vec![sums.len()],
            bytes: Box::new(move || sums.iter().flat_map(|sum| sum.to_le_bytes()).collect()),
        };
        tensors.push((format!("{SOFT}.{subject}"), lazy));
    }
    tensors
}

/// Adds what [`tensors`] gave of other images.
fn add_stored(
    counts: &mut Counts,
    subject: &str,
    stored: &mut StoredState,
) -> Result<(), StudyError> {
    // A card counts no confusions of single images: with some of them missing there is no interval.
    if !stored.has(&format!("{SAMPLED}.{subject}")) {
        counts.quality = None;
    }
    // Nor has it the scores that soft sums are made of.
    if !stored.has(&format!("{SOFT}.{subject}")) {
        counts.soft = None;
    }
    let mut take = |name: &str| stored.tensor(&format!("{name}.{subject}"));
    let (confusion, positions) = (take(CONFUSION)?.i64s(), take(POSITION)?.u32s());
    let resampled = match &counts.resampling {
        Some(_) => Some([take(SHIFTED)?.u32s(), take(DRAWN)?.u32s()]),
        None => None,
    };
    let sampled = match &counts.quality {
        Some(_) => Some(take(SAMPLED)?.i64s()),
        None => None,
    };
    let soft = match &counts.soft {
        Some(_) => Some(take(SOFT)?.i64s()),
        None => None,
    };
    let parts = TallyParts {
        clusters: counts.tally.clusters(),
        classes: counts.tally.classes(),
        grid: counts.tally.grid(),
        patch: counts.tally.patch(),
        images: stored.done() as u64,
        confusion,
        positions,
    };
    let damaged = |error: MeasureError| stored.damaged(error);
    counts
        .tally
        .merge(&Tally::from_parts(&parts).map_err(damaged)?)
        .map_err(damaged)?;
    if let (Some(quality), Some(sampled)) = (&mut counts.quality, sampled) {
        let sums: Vec<u64> = sampled.into_iter().map(|sum| sum as u64).collect();
        quality.add_sums(&sums).map_err(damaged)?;
    }
    if let (Some(own), Some(sums)) = (&mut counts.soft, soft) {
        let sums: Vec<u64> = sums.into_iter().map(|sum| sum as u64).collect();
        own.add(&sums).map_err(|error| stored.damaged(error))?;
    }
    match (&mut counts.resampling, &resampled) {
        (Some(resampling), Some([shifted, drawn])) => {
            resampling.add_parts([shifted, drawn]).map_err(damaged)
        }
        _ => Ok(()),
    }
}

/// What counts are called while they are unfinished: the file, and its tensors.
const UNFINISHED: &str = "evaluation";
const CONFUSION: &str = "confusion";
const POSITION: &str = "position";
const SHIFTED: &str = "shifted";
const DRAWN: &str = "drawn";
const SAMPLED: &str = "sampled";
const SOFT: &str = "soft";
const TRUTH: &str = "ground_truth";

/// The counts of a reader as tensors, each made when its turn comes.
fn reader_tensors<'a>(counts: &'a ReaderCounts, subject: &str) -> Vec<(String, Lazy<'a>)> {
    let bytes = |values: &mut dyn Iterator<Item = i64>| -> Cow<'static, [u8]> {
        values.flat_map(i64::to_le_bytes).collect()
    };
    let (rows, columns) = counts.confusion().dim();
    let mut tensors = vec![(
        format!("{CONFUSION}.{subject}"),
        Lazy {
            dtype: Dtype::I64,
            shape: vec![rows, columns],
            bytes: Box::new(move || bytes(&mut counts.confusion().iter().copied())),
        },
    )];
    if let Some(shape) = counts.sample_shape() {
        let lazy = Lazy {
            dtype: Dtype::I64,
            shape: shape.to_vec(),
            bytes: Box::new(move || {
                let sums = counts.samples().unwrap_or_default();
                bytes(&mut sums.into_iter().map(|sum| sum as i64))
            }),
        };
        tensors.push((format!("{SAMPLED}.{subject}"), lazy));
    }
    tensors
}

/// Adds what [`reader_tensors`] gave of other images.
fn add_stored_reader(
    counts: &mut ReaderCounts,
    subject: &str,
    stored: &mut StoredState,
) -> Result<(), StudyError> {
    let confusion = stored.tensor(&format!("{CONFUSION}.{subject}"))?.i64s();
    let sums = match counts.sample_shape() {
        Some(_) => Some(stored.tensor(&format!("{SAMPLED}.{subject}"))?.i64s()),
        None => None,
    };
    let sums: Option<Vec<u64>> = sums.map(|sums| sums.into_iter().map(|sum| sum as u64).collect());
    counts
        .add_parts(stored.done() as u64, &confusion, sums.as_deref())
        .map_err(|error| stored.damaged(error))
}

/// What the counts of a reader of a slot are called.
fn of_reader(reader: &str, slot: &str) -> String {
    format!("{reader}.{slot}")
}

/// The counts of this origin that a run has stored so far, if it has.
///
/// # Errors
/// When they are damaged or of another run.
pub fn stored(run: &Path, origin: Origin<'_>) -> Result<Option<StoredState>, StudyError> {
    StoredState::of(run, UNFINISHED, origin)
}

/// What counts say of the codebooks (`[K, D]` per slot) that they are made with.
#[must_use]
pub fn hash_of(codebooks: &[Array2<f32>]) -> String {
    let mut hash = Sha256::new();
    for codebook in codebooks {
        hash.update(format!("{:?}", codebook.dim()));
        for value in codebook {
            hash.update(value.to_le_bytes());
        }
    }
    files::hex(&hash.finalize())
}

/// Everything that is counted in one pass over the test images.
#[derive(Debug)]
pub struct Evaluation {
    /// Per slot.
    pub slots: Vec<Counts>,
    /// The data set's own labels; absent without ground truth.
    pub truth: Option<Counts>,
    /// Per slot, of the kNN and of the linear reader; empty where they were not asked for.
    pub readers: Vec<[ReaderCounts; 2]>,
    slot_ids: Vec<Slot>,
    names: Vec<String>,
    /// Of the run.
    fingerprint: String,
    shape: MapShape,
    /// Where the cluster maps of kept images wait for their classes.
    folders: Vec<PathBuf>,
    kept: HashMap<usize, String>,
    /// Maps of kept images of this batch, where they go, and what they say that they are of.
    waiting: Vec<(PathBuf, String, Vec<u8>)>,
    colors: Vec<[u8; 3]>,
}

/// Where the cluster maps of a slot wait until the matching is known.
#[must_use]
pub fn waiting_folder(run: &Path, slot: Slot) -> PathBuf {
    state::folder(run).join("labels").join(slot.to_string())
}

/// What a waiting cluster map says that it is of.
#[must_use]
pub fn waiting_map(fingerprint: &str, slot: Slot, image: &str) -> String {
    state::identity(fingerprint, &[&slot.to_string(), image])
}

impl Evaluation {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// When the resampling cannot be planned.
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, with what a run of a job knows"
    )]
    pub fn new(
        settings: &Settings,
        data: &DataSet,
        (run, fingerprint): (&Path, &str),
        slots: &[Slot],
        clusters: usize,
        grid: (usize, usize),
        patch: usize,
        images: usize,
    ) -> Result<Self, StudyError> {
        let shape = MapShape { grid, patch };
        let plan = if settings.resamples > 0 && images > 0 {
            let plan = ResamplingPlan::new(grid, images, settings.resamples, settings.seed)
                .map_err(|error| StudyError::setting(format!("`resamples`: {error}")))?;
            Some(Arc::new(plan))
        } else {
            None
        };
        let positions = Positions::from(settings.positions);
        let classes = if data.has_truth() {
            data.classes.len()
        } else {
            0
        };
        let counts =
            |clusters, classes| Counts::new(clusters, classes, shape, positions, plan.as_ref());
        let kept = kept_indices(settings, images)
            .into_iter()
            .map(|index| (index, data.split(Split::Test)[index].name.clone()))
            .collect();
        Ok(Self {
            slots: slots
                .iter()
                .map(|_| counts(clusters, classes).with_soft(settings.soft))
                .collect(),
            truth: (classes > 0).then(|| counts(classes, 0)),
            readers: match settings.readers {
                true => {
                    let one = ReaderCounts::new(classes, plan.as_ref());
                    vec![[one.clone(), one]; slots.len()]
                }
                false => Vec::new(),
            },
            slot_ids: slots.to_vec(),
            names: slots.iter().map(Slot::to_string).collect(),
            fingerprint: fingerprint.to_owned(),
            shape,
            folders: slots
                .iter()
                .map(|&slot| waiting_folder(run, slot))
                .collect(),
            kept,
            waiting: Vec::new(),
            colors: vitscope_data::palette(clusters),
        })
    }

    /// Stores what was counted of the first `done` images of a run or of its shard.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn store(&mut self, run: &Path, origin: Origin<'_>, done: usize) -> Result<(), StudyError> {
        let slots = self.slots.iter_mut().zip(&self.names);
        let mut stored: Vec<_> = slots
            .flat_map(|(counts, name)| tensors(counts, name))
            .collect();
        if let Some(truth) = &mut self.truth {
            stored.extend(tensors(truth, TRUTH));
        }
        for (counts, slot) in self.readers.iter().zip(&self.names) {
            for (counts, reader) in counts.iter().zip(READERS) {
                stored.extend(reader_tensors(counts, &of_reader(reader, slot)));
            }
        }
        state::store_lazily(run, UNFINISHED, origin, done, stored)
    }

    /// Adds what [`store`](Self::store) stored of other images.
    ///
    /// # Errors
    /// When it is damaged, or not of these slots.
    pub fn add_stored(&mut self, stored: &mut StoredState) -> Result<(), StudyError> {
        for (counts, name) in self.slots.iter_mut().zip(&self.names) {
            add_stored(counts, name, stored)?;
        }
        for (counts, slot) in self.readers.iter_mut().zip(&self.names) {
            for (counts, reader) in counts.iter_mut().zip(READERS) {
                add_stored_reader(counts, &of_reader(reader, slot), stored)?;
            }
        }
        match &mut self.truth {
            Some(truth) => add_stored(truth, TRUTH, stored),
            None => Ok(()),
        }
    }

    /// Takes over what a card has counted so far.
    ///
    /// # Errors
    /// When the card fails.
    pub fn settle(&mut self) -> Result<(), ProtocolError> {
        self.slots.par_iter_mut().try_for_each(Counts::settle)
    }

    /// Whether a batch has an image whose cluster maps are kept.
    pub(crate) fn keeps(&self, seen: &Seen) -> bool {
        seen.images
            .iter()
            .any(|image| self.kept.contains_key(image))
    }

    /// Keeps the cluster maps of a batch that are to be shown; they wait for its end.
    pub(crate) fn keep(&mut self, slot: usize, labels: &[u8], seen: &Seen) {
        let maps = labels.chunks_exact(self.shape.pixels());
        for (image, labels) in seen.images.iter().zip(maps) {
            if let Some(name) = self.kept.get(image) {
                let path = self.folders[slot].join(format!("{name}.png"));
                let of = waiting_map(&self.fingerprint, self.slot_ids[slot], name);
                self.waiting.push((path, of, labels.to_vec()));
            }
        }
    }

    /// Ends a batch: stores the maps of kept images and counts the ground truth.
    ///
    /// # Errors
    /// When a map cannot be stored.
    pub fn end_batch(&mut self, seen: &Seen) -> Result<(), StudyError> {
        let MapShape { grid, patch } = self.shape;
        let size = [grid.0 * patch, grid.1 * patch];
        self.waiting.par_drain(..).try_for_each(|(path, of, map)| {
            picture::write_for_now(&path, size, &map, &self.colors, &of)
        })?;
        if let (Some(counts), Some(truth)) = (&mut self.truth, &seen.truth) {
            let own = TestBatch {
                images: &seen.images,
                truth: None,
            };
            counts.add(truth, &own)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    const SHAPE: MapShape = MapShape {
        grid: (1, 2),
        patch: 1,
    };

    fn counts() -> Counts {
        let plan = ResamplingPlan::new(SHAPE.grid, 4, 3, 7).unwrap();
        Counts::new(2, 2, SHAPE, Positions::All, Some(&Arc::new(plan)))
    }

    fn add(counts: &mut Counts, images: &[usize], labels: &[u8], truth: &[u8]) {
        let batch = TestBatch {
            images,
            truth: Some(truth),
        };
        counts.add(labels, &batch).unwrap();
    }

    #[test]
    fn counts_of_two_parts_are_those_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin {
            run: "run",
            codebooks: "books",
        };
        let (labels, truth) = ([0, 1, 1, 1, 0, 0, 1, 0], [0, 1, 0, 1, 0, 255, 1, 1]);
        let mut first = counts();
        add(&mut first, &[0, 1], &labels[..4], &truth[..4]);
        let stored = tensors(&mut first, "key.1");
        state::store_lazily(folder.path(), UNFINISHED, origin, 2, stored).unwrap();
        let mut both = counts();
        add(&mut both, &[2, 3], &labels[4..], &truth[4..]);
        let mut found = super::stored(folder.path(), origin).unwrap().unwrap();
        add_stored(&mut both, "key.1", &mut found).unwrap();
        let mut whole = counts();
        add(&mut whole, &[0, 1, 2, 3], &labels, &truth);
        let finish = |counts: Counts| counts.finish(Default::default()).unwrap();
        assert_eq!(finish(both), finish(whole));
        // Counts of other codebooks are none of this run.
        let other = Origin {
            codebooks: "others",
            ..origin
        };
        let error = super::stored(folder.path(), other).unwrap_err().to_string();
        assert!(error.contains("other codebooks"), "{error}");
    }

    #[test]
    fn a_hash_tells_codebooks_apart_by_values_and_shapes() {
        let hash = |books: &[Array2<f32>]| hash_of(books);
        let book = array![[1.0_f32, 0.0], [0.0, 1.0]];
        let same = [book.clone()];
        assert_eq!(hash(std::slice::from_ref(&book)), hash(&same));
        let other = array![[1.0_f32, 0.0], [0.0, -1.0]];
        let flat = array![[1.0_f32, 0.0, 0.0, 1.0]];
        let all = [
            hash(&same),
            hash(&[other]),
            hash(&[flat]),
            hash(&[book.clone(), book]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(!all[..index].contains(one));
        }
    }
}
