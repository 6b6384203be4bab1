//! Counting what the probes predict on the test images (PROTOCOL sections 5 to 8).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use vitscope_data::{DataSet, IGNORE, Split};
use vitscope_measure::{CellCounts, MeasureError, Resampling, ResamplingPlan, Tally};

use crate::error::StudyError;
use crate::picture;
use crate::probe::kept_indices;
use crate::settings::{Positions, Settings};
use crate::slot::Slot;
use crate::source::Seen;
use crate::state;

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

/// Everything that is counted in one pass over the test images.
#[derive(Debug)]
pub struct Evaluation {
    /// Per slot.
    pub slots: Vec<Counts>,
    /// The data set's own labels; absent without ground truth.
    pub truth: Option<Counts>,
    shape: Shape,
    positions: Positions,
    /// Where the cluster maps of kept images wait for their classes.
    folders: Vec<PathBuf>,
    kept: HashMap<usize, String>,
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
                .map_err(|error| StudyError::setting(format!("--resamples: {error}")))?;
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
            shape,
            positions: settings.positions,
            folders: slots
                .iter()
                .map(|&slot| waiting_folder(run, slot))
                .collect(),
            kept,
            colors: vitscope_data::palette(clusters),
        })
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
    /// When a map cannot be stored.
    pub fn add(&mut self, slot: usize, labels: &mut [u8], seen: &Seen) -> Result<(), StudyError> {
        let pixels = self.pixels();
        let size = [
            self.shape.grid.0 * self.shape.patch,
            self.shape.grid.1 * self.shape.patch,
        ];
        for (image, labels) in seen.images.iter().zip(labels.chunks_exact(pixels)) {
            if let Some(name) = self.kept.get(image) {
                let path = self.folders[slot].join(format!("{name}.png"));
                picture::write_indices(&path, size, labels, &self.colors)?;
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

    /// Counts the ground truth of a batch.
    ///
    /// # Errors
    /// When its size is not the label maps'.
    pub fn add_truth(&mut self, seen: &Seen) -> Result<(), StudyError> {
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
