//! Photographs searched on the card, where their embeddings are: to the host come the matches.
//!
//! Nothing is waited for until matches are read, so that the next photographs are decoded while the card is at work.
//! Photographs are held, and run again, in the batches in which they were run first: the last bits of an embedding
//! may depend on its batch, and no match is to depend on how much memory there is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use vitscope_probe::cuda::{
    Buffer, CudaError, DeviceMatcher, DeviceTargets, Gpu, HeldRows, RowsView,
};
use vitscope_probe::{ProbeError, View};
use vitscope_vit::error::DeviceError;
use vitscope_vit::vit::Rows;

use super::finder::{CategoryWork, Matches, PointFinder};
use super::photos::{Photo, PhotoInput, PhotoJob, load_photos, show_slots, slot_error};
use crate::error::StudyError;

/// A batch with its embeddings.
struct HeldBatch {
    photos: Vec<usize>,
    views: Vec<View>,
    /// Per slot.
    rows: Vec<HeldRows>,
}

/// The search on a card.
pub(super) struct CardFinder {
    gpu: Arc<Gpu>,
    matcher: DeviceMatcher,
    /// Photographs that go through the model together.
    unit: usize,
    /// Bytes that held embeddings may take.
    room: usize,
    /// Unit embeddings at the keypoints of a category, per slot `[points, D]`, and which is each photograph's first.
    sources: Vec<Buffer<f64>>,
    first: Vec<usize>,
    held: VecDeque<HeldBatch>,
    /// Room of batches that are done.
    spare: Vec<Vec<HeldRows>>,
    /// Batches that have to be run again.
    left: VecDeque<Vec<usize>>,
    /// Whether there is no more room in this category.
    full: bool,
    /// Matches of the batch that is searched, per slot.
    found: Buffer<u16>,
}

/// What the card reports.
fn failed(error: ProbeError) -> StudyError {
    match error {
        ProbeError::Cuda(error) => DeviceError::from(error).into(),
        other => StudyError::Internal(other.to_string()),
    }
}

fn card(error: CudaError) -> StudyError {
    DeviceError::from(error).into()
}

fn is_memory(error: &StudyError) -> bool {
    matches!(error, StudyError::Device(error) if error.is_memory())
}

/// The rows of a card's forward pass.
fn on_card<'a, 'r>(rows: &'a Rows<'r>) -> Result<&'a RowsView<'r>, StudyError> {
    match rows {
        Rows::Cuda(rows) => Ok(rows),
        Rows::Host(_) => Err(StudyError::Internal("a card's rows on the host".to_owned())),
    }
}

fn views(inputs: &[PhotoInput]) -> Vec<&View> {
    inputs.iter().map(|input| &input.view).collect()
}

/// What is looked for in the photographs of a batch: the numbers of the keypoints among all, and of each search the
/// photograph in the batch and the keypoint among those that were sampled.
fn wanted(photos: &[Photo], batch: &[usize], first: &[usize]) -> (Vec<usize>, Vec<[usize; 2]>) {
    let of_photo = |(place, &index): (usize, &usize)| {
        let wanted = photos[index].wanted.iter();
        wanted.map(move |&(point, source, known)| (point, [place, first[source] + known]))
    };
    batch.iter().enumerate().flat_map(of_photo).unzip()
}

/// How many photographs of a batch anything is looked for in.
fn targets(photos: &[Photo], batch: &[usize]) -> usize {
    let wanted = batch
        .iter()
        .filter(|&&index| !photos[index].wanted.is_empty());
    wanted.count()
}

impl CardFinder {
    /// Runs at most so many photographs together.
    pub(super) fn new(job: &PhotoJob<'_>, gpu: &Arc<Gpu>, unit: usize) -> Result<Self, StudyError> {
        let room = match job.settings.memory {
            Some(bytes) => bytes,
            None => gpu.free_memory().map_err(card)? / 2,
        };
        let sources = job.opened.slots.iter().map(|_| Buffer::new(gpu, 0));
        Ok(Self {
            matcher: DeviceMatcher::new(gpu).map_err(failed)?,
            unit,
            room,
            sources: sources.collect::<Result<_, _>>().map_err(card)?,
            first: Vec::new(),
            held: VecDeque::new(),
            spare: Vec::new(),
            left: VecDeque::new(),
            full: false,
            found: Buffer::new(gpu, 0).map_err(card)?,
            gpu: Arc::clone(gpu),
        })
    }

    /// Bytes that embeddings take, whether they are still needed or not.
    fn taken(&self) -> usize {
        let held = self.held.iter().map(|batch| &batch.rows);
        held.chain(&self.spare).flatten().map(HeldRows::bytes).sum()
    }

    /// Lets go of all embeddings and holds no more of this category, so that there is room for other things. Says
    /// whether that is new.
    fn let_go(&mut self) -> bool {
        let taken = self.taken();
        if taken > 0 {
            self.room = self.room.min(taken / 2);
        }
        self.spare.clear();
        let held = self.held.drain(..).map(|batch| batch.photos);
        self.left.extend(held);
        let new = taken > 0 || !self.full;
        self.full = true;
        new
    }

    /// Runs parts of a batch one after the other: as many photographs as there is room for.
    fn in_parts(
        &mut self,
        work: &mut CategoryWork<'_>,
        batch: &[usize],
        mut run: impl FnMut(
            &mut Self,
            &mut CategoryWork<'_>,
            &[usize],
            &[PhotoInput],
        ) -> Result<(), StudyError>,
    ) -> Result<(), StudyError> {
        let inputs = load_photos(work.job, work.photos, batch, work.times)?;
        let mut from = 0;
        while from < batch.len() {
            let part = from..batch.len().min(from + self.unit);
            match run(self, work, &batch[part.clone()], &inputs[part.clone()]) {
                Err(error) if is_memory(&error) && self.let_go() => {}
                Err(error) if is_memory(&error) && part.len() > 1 => self.unit = part.len() / 2,
                ran => {
                    ran?;
                    from = part.end;
                }
            }
        }
        Ok(())
    }

    /// Runs some photographs of a batch, samples their keypoints and holds their embeddings.
    fn sample_part(
        &mut self,
        work: &mut CategoryWork<'_>,
        batch: &[usize],
        inputs: &[PhotoInput],
    ) -> Result<(), StudyError> {
        let begun = Instant::now();
        let points = batch.iter().enumerate().flat_map(|(place, &index)| {
            let points = work.photos[index].points.iter();
            points.map(move |&[column, row]| [place, row, column])
        });
        let points: Vec<[usize; 3]> = points.collect();
        let places = self
            .matcher
            .places(&views(inputs), &points)
            .map_err(failed)?;
        let (first, all) = (self.first[batch[0]], self.first[work.photos.len()]);
        let searched = targets(work.photos, batch) > 0;
        let mut held = (searched && !self.full).then(|| {
            let new = || {
                self.sources
                    .iter()
                    .map(|_| HeldRows::new(&self.gpu))
                    .collect()
            };
            self.spare.pop().unwrap_or_else(new)
        });
        // Of what is held beside this batch.
        let taken = self.taken();
        let Self {
            gpu,
            matcher,
            room,
            sources,
            spare,
            full,
            ..
        } = self;
        show_slots(work.job, work.backbone, inputs, |number, rows| {
            let rows = on_card(rows)?;
            let [_, _, width] = rows.shape();
            let sources = &mut sources[number];
            sources.reserve(gpu, all * width).map_err(card)?;
            let sampled = matcher.sample(rows, &places, (sources, first), number);
            sampled.map_err(failed)?;
            if let Some(batch) = &mut held {
                let others = (0..batch.len()).filter(|&other| other != number);
                let others: usize = others.map(|other| batch[other].bytes()).sum();
                let fits = taken + others + batch[number].bytes_with(rows) <= *room;
                let holding = fits.then(|| matcher.hold(rows, &mut batch[number]).map_err(failed));
                match holding {
                    Some(Ok(())) => {}
                    Some(Err(error)) if !is_memory(&error) => return Err(error),
                    _ => {
                        spare.extend(held.take());
                        *full = true;
                    }
                }
            }
            Ok(())
        })?;
        work.times.forward += begun.elapsed();
        work.times.forwards += batch.len();
        let photos = batch.to_vec();
        if let Some(rows) = held {
            let views = inputs.iter().map(|input| input.view.clone()).collect();
            self.held.push_back(HeldBatch {
                photos,
                views,
                rows,
            });
        } else if searched {
            self.left.push_back(photos);
        }
        Ok(())
    }

    /// Searches a batch whose embeddings are held.
    fn find_held(
        &mut self,
        work: &mut CategoryWork<'_>,
        batch: &HeldBatch,
        matches: &mut Matches,
    ) -> Result<(), StudyError> {
        let begun = Instant::now();
        let (points, wanted) = wanted(work.photos, &batch.photos, &self.first);
        let views: Vec<&View> = batch.views.iter().collect();
        let targets = self.ready(&views, &wanted)?;
        for (number, rows) in batch.rows.iter().enumerate() {
            self.find_slot(&rows.view(), &targets, number)?;
        }
        self.read(work.job, &points, matches)?;
        work.times.matching += begun.elapsed();
        Ok(())
    }

    /// Runs some photographs again and searches them.
    fn find_part(
        &mut self,
        work: &mut CategoryWork<'_>,
        batch: &[usize],
        inputs: &[PhotoInput],
        matches: &mut Matches,
    ) -> Result<(), StudyError> {
        let begun = Instant::now();
        let (points, wanted) = wanted(work.photos, batch, &self.first);
        let targets = self.ready(&views(inputs), &wanted)?;
        show_slots(work.job, work.backbone, inputs, |number, rows| {
            self.find_slot(on_card(rows)?, &targets, number)
        })?;
        work.times.forward += begun.elapsed();
        work.times.forwards += batch.len();
        let begun = Instant::now();
        self.read(work.job, &points, matches)?;
        work.times.matching += begun.elapsed();
        Ok(())
    }

    /// Makes room for the matches of a batch.
    fn ready(
        &mut self,
        views: &[&View],
        wanted: &[[usize; 2]],
    ) -> Result<DeviceTargets, StudyError> {
        let numbers = 2 * wanted.len() * self.sources.len();
        self.found.reserve(&self.gpu, numbers).map_err(card)?;
        self.matcher.targets(views, wanted).map_err(failed)
    }

    fn find_slot(
        &mut self,
        rows: &RowsView<'_>,
        targets: &DeviceTargets,
        number: usize,
    ) -> Result<(), StudyError> {
        let found = (&mut self.found, number * targets.wanted());
        let sources = &self.sources[number];
        let queued = self.matcher.find(rows, targets, sources, found, number);
        queued.map_err(failed)
    }

    /// Waits for the matches of a batch.
    fn read(
        &mut self,
        job: &PhotoJob<'_>,
        points: &[usize],
        matches: &mut Matches,
    ) -> Result<(), StudyError> {
        let mut found = vec![[0; 2]; self.sources.len() * points.len()];
        let refused = self.matcher.read(&self.found, &mut found).map_err(failed)?;
        if let Some(number) = refused {
            let error = ProbeError::NonFinite { image: 0 };
            return Err(slot_error(job.opened.slots[number])(error));
        }
        for (matches, found) in matches.iter_mut().zip(found.chunks(points.len().max(1))) {
            for (&point, &at) in points.iter().zip(found) {
                matches[point] = at;
            }
        }
        Ok(())
    }
}

impl PointFinder for CardFinder {
    fn begin(&mut self, photos: &[Photo]) {
        let mut all = 0;
        self.first.clear();
        self.first.push(0);
        self.first.extend(photos.iter().map(|photo| {
            all += photo.points.len();
            all
        }));
        self.full = false;
    }

    fn sample(&mut self, work: &mut CategoryWork<'_>, batch: &[usize]) -> Result<(), StudyError> {
        self.in_parts(work, batch, Self::sample_part)
    }

    fn find(
        &mut self,
        work: &mut CategoryWork<'_>,
        matches: &mut Matches,
    ) -> Result<Option<usize>, StudyError> {
        if let Some(batch) = self.held.pop_front() {
            let found = self.find_held(work, &batch, matches);
            let HeldBatch { photos, rows, .. } = batch;
            match found {
                Err(error) if is_memory(&error) => {
                    // Run again in parts, when nothing is held any more.
                    drop(rows);
                    self.left.push_back(photos);
                    self.let_go();
                }
                found => {
                    found?;
                    self.spare.push(rows);
                    return Ok(Some(targets(work.photos, &photos)));
                }
            }
        }
        let Some(batch) = self.left.pop_front() else {
            return Ok(None);
        };
        self.in_parts(work, &batch, |finder, work, part, inputs| {
            finder.find_part(work, part, inputs, matches)
        })?;
        Ok(Some(targets(work.photos, &batch)))
    }
}
