//! Decoded samples in a given order, made ahead of need by background threads.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::class_map::LabelCrop;
use crate::dataset::{DataSet, RgbCrop, load};
use crate::error::DataError;
use crate::geometry::Geometry;
use crate::labels::LabelTable;
use crate::listing::Item;
use crate::split::Split;

/// One decoded image of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The image's index in its split.
    pub index: usize,
    /// Its pixels.
    pub image: RgbCrop,
    /// Its labels, where they were wanted and the image has a mask.
    pub label: Option<LabelCrop>,
}

/// The images of a split in a given order, decoded by `threads` background threads that run at
/// most `look_ahead` images ahead of the consumer (both at least 1).
///
/// An index may occur several times. The samples and their order do not depend on the number of
/// threads.
///
/// # Errors
/// The iterator yields an error in the place of each image that cannot be read, and goes on.
pub fn stream(
    set: &DataSet,
    split: Split,
    order: impl Into<Vec<usize>>,
    geometry: Geometry,
    want_labels: bool,
    look_ahead: usize,
    threads: usize,
) -> ImageStream {
    let look_ahead = look_ahead.max(1);
    stream_by(
        load,
        set,
        split,
        order.into(),
        (geometry, want_labels),
        (look_ahead, threads),
    )
}

/// What makes a sample of an item: [`load`], but for a test.
type Load =
    fn(&LabelTable, &Item, Geometry, bool) -> Result<(RgbCrop, Option<LabelCrop>), DataError>;

fn stream_by(
    load: Load,
    set: &DataSet,
    split: Split,
    order: Vec<usize>,
    (geometry, want_labels): (Geometry, bool),
    (look_ahead, threads): (usize, usize),
) -> ImageStream {
    let items = set.split(split);
    let jobs = order
        .iter()
        .map(|&index| (index, items.get(index).cloned()))
        .collect();
    let shared = Arc::new(Shared {
        jobs,
        available: items.len(),
        table: Arc::clone(&set.table),
        geometry,
        want_labels,
        load,
        look_ahead,
        state: Mutex::new(State::default()),
        changed: Condvar::new(),
    });
    let mut workers = Vec::new();
    let mut refused = None;
    for _ in 0..threads.max(1).min(order.len()) {
        let shared = Arc::clone(&shared);
        match thread::Builder::new()
            .name("decode".to_owned())
            .spawn(move || shared.work())
        {
            Ok(worker) => workers.push(worker),
            Err(error) => refused = Some(error.to_string()),
        }
    }
    // Fewer threads than asked for only cost speed.
    let refused = if workers.is_empty() { refused } else { None };
    ImageStream {
        shared,
        workers,
        next: 0,
        refused,
        stall: Duration::ZERO,
    }
}

/// The iterator that [`stream`] gives. Dropping it stops its threads.
#[derive(Debug)]
pub struct ImageStream {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    next: usize,
    refused: Option<String>,
    stall: Duration,
}

impl ImageStream {
    /// How long the consumer has waited for images so far. Near zero means that decoding is hidden
    /// behind the consumer's work.
    #[must_use]
    pub fn stall(&self) -> Duration {
        self.stall
    }
}

impl Iterator for ImageStream {
    type Item = Result<Sample, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.shared.jobs.len() {
            return None;
        }
        if let Some(reason) = self.refused.take() {
            self.next = self.shared.jobs.len();
            return Some(Err(DataError::Threads { reason }));
        }
        let mut state = self.shared.lock();
        let mut waited = None;
        let result = loop {
            if let Some(result) = state.ready.remove(&self.next) {
                break result;
            }
            waited.get_or_insert_with(Instant::now);
            state = self.shared.wait(state);
        };
        self.next += 1;
        state.consumed = self.next;
        drop(state);
        self.shared.changed.notify_all();
        self.stall += waited.map_or(Duration::ZERO, |start| start.elapsed());
        Some(result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.shared.jobs.len() - self.next;
        (left, Some(left))
    }
}

impl Drop for ImageStream {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // A panic in a job stands in the job's place (`Shared::work`), so there is nothing to
            // learn from a worker's end.
            let _ = worker.join();
        }
    }
}

/// What the consumer and the workers share.
#[derive(Debug)]
struct Shared {
    jobs: Vec<(usize, Option<Item>)>,
    available: usize,
    table: Arc<LabelTable>,
    geometry: Geometry,
    want_labels: bool,
    load: Load,
    look_ahead: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next job that no worker has taken.
    taken: usize,
    /// How many samples the consumer has.
    consumed: usize,
    /// Finished jobs that the consumer does not have yet: at most `look_ahead`.
    ready: BTreeMap<usize, Result<Sample, DataError>>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's life: take the next job that is near enough, decode it, hand it over.
    fn work(&self) {
        loop {
            let mut state = self.lock();
            let job = loop {
                if state.stopped || state.taken == self.jobs.len() {
                    return;
                }
                if state.taken < state.consumed + self.look_ahead {
                    break state.taken;
                }
                state = self.wait(state);
            };
            state.taken += 1;
            drop(state);
            // Whatever a job panics in, decoder or crop, its consumer must not wait for ever. What
            // it had in hand is dropped with it, so nothing half done is seen afterwards.
            let result = catch_unwind(AssertUnwindSafe(|| self.sample(job)));
            let result = result.unwrap_or_else(|panic| Err(self.panicked(job, panic.as_ref())));
            self.lock().ready.insert(job, result);
            self.changed.notify_all();
        }
    }

    fn sample(&self, job: usize) -> Result<Sample, DataError> {
        let (index, item) = &self.jobs[job];
        let item = item.as_ref().ok_or(DataError::NoSuchImage {
            index: *index,
            count: self.available,
        })?;
        let (image, label) = (self.load)(&self.table, item, self.geometry, self.want_labels)?;
        Ok(Sample {
            index: *index,
            image,
            label,
        })
    }

    /// The error that stands for a job that panicked.
    fn panicked(&self, job: usize, panic: &(dyn Any + Send)) -> DataError {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let reason = text.and_then(|text| text.lines().next());
        let item = self.jobs[job].1.as_ref();
        DataError::Panicked {
            path: item.map(|item| item.image.clone()).unwrap_or_default(),
            reason: reason.unwrap_or("no reason given").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A load that panics at one image, as a mistake in the crop would.
    fn faulty(
        _: &LabelTable,
        item: &Item,
        geometry: Geometry,
        _: bool,
    ) -> Result<(RgbCrop, Option<LabelCrop>), DataError> {
        assert!(item.name != "03", "a crop that\ngoes wrong");
        let (size, pixels) = (geometry.size, vec![0; 3 * geometry.size * geometry.size]);
        Ok((RgbCrop { size, pixels }, None))
    }

    #[test]
    fn a_workers_panic_reaches_the_consumer() {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..8 {
            std::fs::write(folder.path().join(format!("{index:02}.png")), "no image").unwrap();
        }
        let set = DataSet::open(&format!("folder:{}", folder.path().display())).unwrap();
        // More panics than workers: each worker outlives its own.
        let order = vec![0, 3, 1, 3, 3, 3, 7, 3, 2];
        for threads in [1, 2, 16] {
            let geometry = (Geometry { size: 4 }, true);
            let stream = stream_by(
                faulty,
                &set,
                Split::Test,
                order.clone(),
                geometry,
                (2, threads),
            );
            let results: Vec<_> = stream.collect();
            assert_eq!(results.len(), order.len());
            for (result, &index) in results.iter().zip(&order) {
                match result {
                    Ok(sample) => assert_eq!(sample.index, index),
                    Err(error) => {
                        let text = error.to_string();
                        assert_eq!(index, 3, "{text}");
                        assert!(
                            text.contains("03.png") && text.contains("a crop that)"),
                            "{text}"
                        );
                        assert_eq!(error.sort(), "internal");
                    }
                }
            }
            assert_eq!(results.iter().filter(|result| result.is_err()).count(), 5);
        }
    }
}
