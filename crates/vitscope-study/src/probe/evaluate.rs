//! Counting what the probes predict on the test images (PROTOCOL sections 5 to 8).

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use safetensors::tensor::Dtype;
use vitscope_data::{DataSet, IGNORE, Split};
use vitscope_measure::{CellCounts, MeasureError, Resampling, ResamplingPlan, Tally, TallyParts};
use vitscope_run::Slot;
use vitscope_run::tensors::Lazy;

use crate::error::StudyError;
use crate::job::kept_indices;
use crate::picture;
use crate::settings::{Positions, Settings};
use crate::source::Seen;
use crate::state::{self, Found};

/// Counts of one slot, or of the ground truth.
#[derive(Debug)]
pub struct Counts {
    /// Confusion and positions.
    pub tally: Tally,
    /// The same under shifts and resampling; absent where none was asked for.
    pub resampling: Option<Resampling>,
}

impl Counts {
    fn new(
        clusters: usize,
        classes: usize,
        shape: Shape,
        plan: Option<&Arc<ResamplingPlan>>,
    ) -> Self {
        Self {
            tally: Tally::new(clusters, classes, shape.grid, shape.patch),
            resampling: plan
                .map(|plan| Resampling::with_plan(clusters, shape.patch, Arc::clone(plan))),
        }
    }

    /// The counts as tensors, each made when its turn comes.
    fn tensors(&mut self, subject: &str) -> Vec<(String, Lazy<'_>)> {
        let Self { tally, resampling } = self;
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
        tensors
    }

    /// Adds what [`tensors`](Self::tensors) gave of other images.
    fn add_stored(&mut self, subject: &str, stored: &mut Found) -> Result<(), StudyError> {
        let mut take = |name: &str| stored.tensor(&format!("{name}.{subject}"));
        let (confusion, positions) = (take(CONFUSION)?.i64s(), take(POSITION)?.u32s());
        let resampled = match &self.resampling {
            Some(_) => Some([take(SHIFTED)?.u32s(), take(DRAWN)?.u32s()]),
            None => None,
        };
        let parts = TallyParts {
            clusters: self.tally.clusters(),
            classes: self.tally.classes(),
            grid: self.tally.grid(),
            patch: self.tally.patch(),
            images: stored.done() as u64,
            confusion,
            positions,
        };
        let damaged = |error: MeasureError| stored.damaged(error);
        self.tally
            .merge(&Tally::from_parts(&parts).map_err(damaged)?)
            .map_err(damaged)?;
        match (&mut self.resampling, &resampled) {
            (Some(resampling), Some([shifted, drawn])) => {
                resampling.add_parts([shifted, drawn]).map_err(damaged)
            }
            _ => Ok(()),
        }
    }

    /// Adds label maps, `[images * pixels]`, without comparing them with anything.
    fn resample(
        &mut self,
        labels: &[u8],
        images: &[usize],
        shape: Shape,
    ) -> Result<(), MeasureError> {
        let Some(resampling) = &mut self.resampling else {
            return Ok(());
        };
        let cells: Vec<_> = labels
            .par_chunks(shape.pixels())
            .map(|labels| CellCounts::new(labels, shape.grid, shape.patch))
            .collect();
        for (&image, cells) in images.iter().zip(cells) {
            resampling.add_counts(image, cells?)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    grid: (usize, usize),
    patch: usize,
}

impl Shape {
    fn pixels(self) -> usize {
        self.grid.0 * self.grid.1 * self.patch * self.patch
    }
}

/// What counts are called while they are unfinished: the file, and its tensors.
const UNFINISHED: &str = "evaluation";
const CONFUSION: &str = "confusion";
const POSITION: &str = "position";
const SHIFTED: &str = "shifted";
const DRAWN: &str = "drawn";
const TRUTH: &str = "ground_truth";

/// The counts that a run with this fingerprint has stored so far, if it has.
///
/// # Errors
/// When they are damaged or of another run.
pub fn stored(run: &Path, fingerprint: &str) -> Result<Option<Found>, StudyError> {
    Found::of(run, UNFINISHED, fingerprint)
}

/// Everything that is counted in one pass over the test images.
#[derive(Debug)]
pub struct Evaluation {
    /// Per slot.
    pub slots: Vec<Counts>,
    /// The data set's own labels; absent without ground truth.
    pub truth: Option<Counts>,
    names: Vec<String>,
    shape: Shape,
    positions: Positions,
    /// Where the cluster maps of kept images wait for their classes.
    folders: Vec<PathBuf>,
    kept: HashMap<usize, String>,
    /// Maps of kept images of this batch, and where they go.
    waiting: Vec<(PathBuf, Vec<u8>)>,
    colors: Vec<[u8; 3]>,
}

/// Where the cluster maps of a slot wait until the matching is known.
#[must_use]
pub fn waiting_folder(run: &Path, slot: Slot) -> PathBuf {
    state::folder(run).join("labels").join(slot.to_string())
}

impl Evaluation {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// When the resampling cannot be planned.
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, with what the plan of a run knows"
    )]
    pub fn new(
        settings: &Settings,
        data: &DataSet,
        run: &Path,
        slots: &[Slot],
        clusters: usize,
        grid: (usize, usize),
        patch: usize,
        images: usize,
    ) -> Result<Self, StudyError> {
        let shape = Shape { grid, patch };
        let plan = if settings.resamples > 0 && images > 0 {
            let plan = ResamplingPlan::new(grid, images, settings.resamples, settings.seed)
                .map_err(|error| StudyError::setting(format!("`resamples`: {error}")))?;
            Some(Arc::new(plan))
        } else {
            None
        };
        let classes = if data.has_truth() {
            data.classes.len()
        } else {
            0
        };
        let counts = |clusters, classes| Counts::new(clusters, classes, shape, plan.as_ref());
        let kept = kept_indices(settings, images)
            .into_iter()
            .map(|index| (index, data.split(Split::Test)[index].name.clone()))
            .collect();
        Ok(Self {
            slots: slots.iter().map(|_| counts(clusters, classes)).collect(),
            truth: (classes > 0).then(|| counts(classes, 0)),
            names: slots.iter().map(Slot::to_string).collect(),
            shape,
            positions: settings.positions,
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
    pub fn store(&mut self, run: &Path, fingerprint: &str, done: usize) -> Result<(), StudyError> {
        let slots = self.slots.iter_mut().zip(&self.names);
        let mut tensors: Vec<_> = slots
            .flat_map(|(counts, name)| counts.tensors(name))
            .collect();
        if let Some(truth) = &mut self.truth {
            tensors.extend(truth.tensors(TRUTH));
        }
        state::store_lazily(run, UNFINISHED, fingerprint, done, tensors)
    }

    /// Adds what [`store`](Self::store) stored of other images.
    ///
    /// # Errors
    /// When it is damaged, or not of these slots.
    pub fn add_stored(&mut self, stored: &mut Found) -> Result<(), StudyError> {
        for (counts, name) in self.slots.iter_mut().zip(&self.names) {
            counts.add_stored(name, stored)?;
        }
        match &mut self.truth {
            Some(truth) => truth.add_stored(TRUTH, stored),
            None => Ok(()),
        }
    }

    /// Pixels of one label map.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.shape.pixels()
    }

    /// Counts the cluster maps of one slot. Changes `labels` where pixels without ground truth
    /// are not to count.
    ///
    /// # Errors
    /// When sizes are not those that were announced.
    pub fn add(&mut self, slot: usize, labels: &mut [u8], seen: &Seen) -> Result<(), StudyError> {
        for (image, labels) in seen.images.iter().zip(labels.chunks_exact(self.pixels())) {
            if let Some(name) = self.kept.get(image) {
                let path = self.folders[slot].join(format!("{name}.png"));
                self.waiting.push((path, labels.to_vec()));
            }
        }
        let counts = &mut self.slots[slot];
        let truth = seen.truth.as_deref();
        let positions = match self.positions {
            Positions::Labeled if truth.is_some() => vitscope_measure::Positions::Labeled,
            _ => vitscope_measure::Positions::All,
        };
        counts.tally.add(labels, truth, positions).map_err(mix_up)?;
        if let (vitscope_measure::Positions::Labeled, Some(truth)) = (positions, truth) {
            for (label, &truth) in labels.iter_mut().zip(truth) {
                if truth == IGNORE {
                    *label = IGNORE;
                }
            }
        }
        counts
            .resample(labels, &seen.images, self.shape)
            .map_err(mix_up)
    }

    /// Ends a batch: stores the maps of kept images and counts the ground truth.
    ///
    /// # Errors
    /// When a map cannot be stored.
    pub fn end_batch(&mut self, seen: &Seen) -> Result<(), StudyError> {
        let Shape { grid, patch } = self.shape;
        let size = [grid.0 * patch, grid.1 * patch];
        self.waiting
            .par_drain(..)
            .try_for_each(|(path, map)| picture::write_for_now(&path, size, &map, &self.colors))?;
        let (Some(counts), Some(truth)) = (&mut self.truth, &seen.truth) else {
            return Ok(());
        };
        let all = vitscope_measure::Positions::All;
        counts.tally.add(truth, None, all).map_err(mix_up)?;
        counts
            .resample(truth, &seen.images, self.shape)
            .map_err(mix_up)
    }
}

/// Sizes are fixed by the plan of a run; a mismatch here would be this program's mistake.
fn mix_up(error: MeasureError) -> StudyError {
    StudyError::Internal(error.to_string())
}
