//! Photographs searched on the host.

use std::collections::VecDeque;
use std::time::Instant;

use rayon::prelude::*;
use vitscope_probe::{Search, TargetImage, View};

use super::finder::{CategoryWork, Matches, PointFinder};
use super::photos::{
    Photo, PhotoEmbeddings, PhotoInput, PhotoJob, load_photos, rows_of, run_inputs, slot_error,
};
use crate::error::StudyError;

/// Bytes that held embeddings take, unless set.
const MEMORY: usize = 2 << 30;

/// A photograph with its embeddings.
struct HeldPhoto {
    index: usize,
    view: View,
    features: PhotoEmbeddings,
}

/// The search on the host.
pub(super) struct HostFinder {
    /// Photographs that are held at a time, and those of this category for which there is still room.
    most: usize,
    room: usize,
    /// Embeddings at the keypoints, per photograph and slot, `[points, D]`.
    sources: Vec<Vec<Vec<f64>>>,
    held: VecDeque<HeldPhoto>,
    left: VecDeque<usize>,
}

impl HostFinder {
    /// Nothing sampled yet.
    pub(super) fn new(job: &PhotoJob<'_>) -> Self {
        let of_photo =
            job.opened.patches() * job.opened.widths.iter().sum::<usize>() * size_of::<f32>();
        Self {
            most: job.settings.memory.unwrap_or(MEMORY) / of_photo.max(1),
            room: 0,
            sources: Vec::new(),
            held: VecDeque::new(),
            left: VecDeque::new(),
        }
    }

    /// Loads a batch and runs it.
    fn run(
        work: &mut CategoryWork<'_>,
        batch: &[usize],
    ) -> Result<Vec<(PhotoInput, PhotoEmbeddings)>, StudyError> {
        let inputs = load_photos(work.job, work.photos, batch, work.times)?;
        let begun = Instant::now();
        let features = run_inputs(work.job, work.backbone, &inputs)?;
        work.times.forward += begun.elapsed();
        work.times.forwards += batch.len();
        Ok(inputs.into_iter().zip(features).collect())
    }
}

impl PointFinder for HostFinder {
    fn begin(&mut self, _: &[Photo]) {
        self.room = self.most;
        self.sources.clear();
    }

    fn sample(&mut self, work: &mut CategoryWork<'_>, batch: &[usize]) -> Result<(), StudyError> {
        let ran = Self::run(work, batch)?;
        let begun = Instant::now();
        for (&index, (PhotoInput { view, .. }, features)) in batch.iter().zip(ran) {
            let photo = &work.photos[index];
            self.sources
                .push(sample(work.job, photo, &view, &features)?);
            if photo.wanted.is_empty() {
                continue;
            }
            if self.room > 0 {
                self.room -= 1;
                self.held.push_back(HeldPhoto {
                    index,
                    view,
                    features,
                });
            } else {
                self.left.push_back(index);
            }
        }
        work.times.matching += begun.elapsed();
        Ok(())
    }

    fn find(
        &mut self,
        work: &mut CategoryWork<'_>,
        matches: &mut Matches,
    ) -> Result<Option<usize>, StudyError> {
        if self.held.is_empty() && !self.left.is_empty() {
            let together = work.backbone.unit().min(self.left.len());
            let batch: Vec<usize> = self.left.drain(..together).collect();
            for (&index, (PhotoInput { view, .. }, features)) in
                batch.iter().zip(Self::run(work, &batch)?)
            {
                self.held.push_back(HeldPhoto {
                    index,
                    view,
                    features,
                });
            }
        }
        let Some(held) = self.held.pop_front() else {
            return Ok(None);
        };
        let begun = Instant::now();
        find(
            work.job,
            &work.photos[held.index],
            &held,
            &self.sources,
            matches,
        )?;
        work.times.matching += begun.elapsed();
        Ok(Some(1))
    }
}

/// The embeddings at a photograph's keypoints, per slot.
fn sample(
    job: &PhotoJob<'_>,
    photo: &Photo,
    view: &View,
    features: &PhotoEmbeddings,
) -> Result<Vec<Vec<f64>>, StudyError> {
    let slots = &job.opened.slots;
    (0..slots.len())
        .into_par_iter()
        .map(|number| {
            let rows = rows_of(&features[number], job.opened.widths[number])?;
            let mut sampled = Vec::with_capacity(photo.points.len() * rows.ncols());
            for &[column, row] in &photo.points {
                sampled.extend(
                    view.sample(rows, row, column)
                        .map_err(slot_error(slots[number]))?,
                );
            }
            Ok(sampled)
        })
        .collect()
}

/// Looks for every keypoint that pairs look for in one photograph.
fn find(
    job: &PhotoJob<'_>,
    photo: &Photo,
    held: &HeldPhoto,
    sources: &[Vec<Vec<f64>>],
    matches: &mut Matches,
) -> Result<(), StudyError> {
    let patches = job.opened.patches();
    let found = (0..job.opened.slots.len())
        .into_par_iter()
        .map(|number| {
            let width = job.opened.widths[number];
            let target = TargetImage::new(rows_of(&held.features[number], width)?, &held.view)
                .map_err(slot_error(job.opened.slots[number]))?;
            let mut wanted = Vec::with_capacity(photo.wanted.len() * width);
            for &(_, source, point) in &photo.wanted {
                wanted.extend_from_slice(&sources[source][number][point * width..][..width]);
            }
            let products = target
                .products(&wanted)
                .map_err(slot_error(job.opened.slots[number]))?;
            let mut search = Search::default();
            let best = |products| {
                let found = target.best(products, &mut search);
                [found.column as u16, found.row as u16]
            };
            Ok(products.chunks_exact(patches).map(best).collect::<Vec<_>>())
        })
        .collect::<Result<Vec<_>, StudyError>>()?;
    for (matches, found) in matches.iter_mut().zip(found) {
        for (&(point, ..), at) in photo.wanted.iter().zip(found) {
            matches[point] = at;
        }
    }
    Ok(())
}
