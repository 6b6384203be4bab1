//! Readers that are given labels, beside the probes that are not (docs/protocol.md section 20): the pass over training
//! images that they are fitted on, and the label maps that they read.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, Axis};
use rayon::prelude::*;
use vitscope_data::{IGNORE, Split};
use vitscope_probe::ProbeError;
use vitscope_probe::readers::{LinearReader, LinearSums, Neighbors, ScoreLabeler, chances, unit};
use vitscope_protocol::{ReaderCounts, TestBatch};
use vitscope_vit::vit::Rows;

use crate::baselines::{TOGETHER, same_images};
use crate::edits::Edits;
use crate::error::StudyError;
use crate::job::{Job, JobRun};
use crate::observer::{self, Observer};
use crate::record::Record;
use crate::source::{PassTimes, Seen, Source, Visitor};

/// The readers, as files and tables name them.
pub(crate) const NAMES: [&str; 2] = ["knn", "linear"];

/// What is said where training images are the test images.
const FLATTERED: &str = "The readers were fitted on the labels of the very images that are measured, which flatters them.";

/// The shares of classes of the labeled patches of an image: the patch, and the share of each class that it has.
type ClassShares = Vec<(usize, Vec<(u8, f32)>)>;

/// Training images that readers are fitted on, with the patches that the memory takes.
#[derive(PartialEq)]
struct ReaderSample {
    images: Vec<usize>,
    seed: u64,
}

/// A fit of both readers to a reading.
struct ReaderFit {
    probed: usize,
    sample: usize,
    neighbors: Neighbors,
    sums: LinearSums,
}

/// Both readers of a slot.
struct SlotReaders {
    neighbors: Neighbors,
    linear: LinearReader,
}

/// What the runs of a job ask for, each thing once.
struct WantedReaders {
    samples: Vec<ReaderSample>,
    /// Per run: its sample.
    sample_of: Vec<usize>,
    fits: Vec<ReaderFit>,
    /// Per run and slot: its fit.
    of: Vec<Vec<usize>>,
}

/// The readers of all runs of a job.
pub(crate) struct Readers {
    fitted: Vec<SlotReaders>,
    /// Per run and slot: which of those.
    of: Vec<Vec<usize>>,
    labeler: ScoreLabeler,
}

impl JobRun {
    /// The training images that readers are fitted on: those that the start sees, each once.
    pub(crate) fn reading_images(&self) -> Vec<usize> {
        let images = self.setup.protocol().start_images(self.setup.order());
        let images: BTreeSet<usize> = images.into_iter().map(|(image, _)| image).collect();
        images.into_iter().collect()
    }
}

impl WantedReaders {
    /// Runs that share a seed share a sample, and those that share a reading of it share its fit.
    fn of(job: &Job<'_>) -> Self {
        let classes = job.data.classes.len();
        let mut samples: Vec<ReaderSample> = Vec::new();
        let mut fits: Vec<ReaderFit> = Vec::new();
        let mut of = Vec::new();
        let mut sample_of = Vec::new();
        for run in &job.runs {
            let sample = ReaderSample {
                images: run.reading_images(),
                seed: run.settings.seed,
            };
            let known = samples.iter().position(|other| *other == sample);
            let number = known.unwrap_or(samples.len());
            if known.is_none() {
                samples.push(sample);
            }
            sample_of.push(number);
            let readings = run.setup.readings().iter().map(|&probed| {
                let same = |fit: &ReaderFit| (fit.probed, fit.sample) == (probed, number);
                fits.iter().position(same).unwrap_or_else(|| {
                    let width = job.probed_widths[probed];
                    fits.push(ReaderFit {
                        probed,
                        sample: number,
                        neighbors: Neighbors::new(width, classes, 0),
                        sums: LinearSums::new(width, classes),
                    });
                    fits.len() - 1
                })
            });
            of.push(readings.collect());
        }
        Self {
            samples,
            sample_of,
            fits,
            of,
        }
    }
}

impl Readers {
    /// Fits the readers, where they are asked for, to training images with their labels.
    ///
    /// # Errors
    /// A sentence, where training images have no labels; from the data and the model.
    pub(crate) fn fit(
        job: &Job<'_>,
        source: &mut Source,
        edits: &Edits<'_>,
        records: &mut [Record],
        observer: &mut dyn Observer,
    ) -> Result<Option<Self>, StudyError> {
        if !job.common.readers {
            return Ok(None);
        }
        let opened = job.opened;
        let grid = (opened.grid[0], opened.grid[1]);
        let patch = opened.geometry.size / opened.grid[0];
        let classes = job.data.classes.len();
        let WantedReaders {
            samples,
            sample_of,
            fits,
            of,
        } = WantedReaders::of(job);
        let images: BTreeSet<usize> = samples.iter().flat_map(|s| s.images.clone()).collect();
        let images: Vec<usize> = images.into_iter().collect();
        let shares = shares_of(job, &images)?;
        let chosen: Vec<BTreeSet<(usize, usize)>> = samples
            .iter()
            .map(|sample| choose(sample, &shares, job))
            .collect();
        if chosen.iter().any(BTreeSet::is_empty) {
            return Err(StudyError::setting(
                "`readers` are fitted on labels of training images, and none of those that were looked at has a labeled pixel: leave `readers` out, or give masks for the training split",
            ));
        }
        for (record, &sample) in records.iter_mut().zip(&sample_of) {
            record
                .notes
                .extend(notes(job, &samples[sample], chosen[sample].len()));
        }
        if same_images(job.data) {
            observer.note(FLATTERED);
        }
        let total = images.len() as u64;
        observer.begin(observer::READ, 0, total);
        let groups: Vec<Vec<usize>> = images
            .chunks(source.unit())
            .map(<[usize]>::to_vec)
            .collect();
        let mut fitter = ReaderFitter {
            job,
            observer,
            samples: &samples,
            shares: &shares,
            chosen: &chosen,
            fits,
        };
        let mut times = PassTimes::default();
        let pass = job.pass(Split::Train, false, &groups);
        let ran = source
            .facets()
            .run(&pass, edits.before(&mut fitter).shown(), &mut times);
        for record in records {
            times.note(record, "read");
        }
        ran?;
        let finish = |fit: ReaderFit| -> Result<SlotReaders, StudyError> {
            Ok(SlotReaders {
                linear: fit.sums.fit().map_err(job.slot_error(fit.probed))?,
                neighbors: fit.neighbors,
            })
        };
        let fitted: Result<Vec<_>, _> = fitter.fits.into_par_iter().map(finish).collect();
        observer.end();
        let labeler = ScoreLabeler::new(classes, grid, patch).map_err(job.slot_error(0))?;
        Ok(Some(Self {
            fitted: fitted?,
            of,
            labeler,
        }))
    }

    /// Labels a batch by both readers of a slot of a run, and counts.
    pub(crate) fn count(
        &self,
        (run, slot): (usize, usize),
        rows: &Rows<'_>,
        batch: &TestBatch<'_>,
        counts: &mut [ReaderCounts; 2],
        failed: impl Fn(ProbeError) -> StudyError,
    ) -> Result<(), StudyError> {
        let SlotReaders { neighbors, linear } = &self.fitted[self.of[run][slot]];
        let rows = unit(rows.host()?.view()).map_err(&failed)?;
        let [by_knn, by_line] = counts;
        let knn = self
            .labeler
            .label_batch(rows.view(), |rows| neighbors.scores(rows));
        by_knn.add(&knn.map_err(&failed)?, batch)?;
        let line = self
            .labeler
            .label_batch(rows.view(), |rows| linear.scores(rows));
        by_line.add(&line.map_err(&failed)?, batch)?;
        Ok(())
    }
}

/// What has to be said of the readers of a run.
fn notes(job: &Job<'_>, sample: &ReaderSample, patches: usize) -> Vec<String> {
    let mut notes = vec![format!(
        "The kNN and linear readers are supervised: they were fitted on labels of {} training images; the kNN reader remembers {patches} of their patches.",
        sample.images.len()
    )];
    if same_images(job.data) {
        notes.push(FLATTERED.to_owned());
    }
    notes
}

/// The shares of classes in the labeled patches of training images.
fn shares_of(job: &Job<'_>, images: &[usize]) -> Result<BTreeMap<usize, ClassShares>, StudyError> {
    let opened = job.opened;
    let patch = opened.geometry.size / opened.grid[0];
    let items = job.data.split(Split::Train);
    let mut all = BTreeMap::new();
    for images in images.chunks(TOGETHER) {
        let of_image = |&image: &usize| -> Result<(usize, ClassShares), StudyError> {
            let label = job.data.label(&items[image], &opened.geometry)?;
            let shares = label.map_or_else(Vec::new, |label| {
                shares(&label.ids, opened.grid, patch, job.data.classes.len())
            });
            Ok((image, shares))
        };
        let found: Result<Vec<_>, _> = images.par_iter().map(of_image).collect();
        all.extend(found?);
    }
    Ok(all)
}

/// The share of each class among the labeled pixels of each patch of a label map.
fn shares(ids: &[u8], [rows, columns]: [usize; 2], patch: usize, classes: usize) -> ClassShares {
    let width = columns * patch;
    let mut counts = vec![0_u32; classes];
    let mut shares = Vec::new();
    for place in 0..rows * columns {
        let (top, left) = (place / columns * patch, place % columns * patch);
        for y in top..top + patch {
            for &id in &ids[y * width + left..][..patch] {
                if id != IGNORE {
                    counts[usize::from(id)] += 1;
                }
            }
        }
        let labeled: u32 = counts.iter().sum();
        if labeled > 0 {
            let share = |(class, &count): (usize, &u32)| {
                (count > 0).then(|| (class as u8, (f64::from(count) / f64::from(labeled)) as f32))
            };
            shares.push((place, counts.iter().enumerate().filter_map(share).collect()));
            counts.fill(0);
        }
    }
    shares
}

/// The labeled patches that the memory takes: drawn from those of all images of a sample alike.
fn choose(
    sample: &ReaderSample,
    shares: &BTreeMap<usize, ClassShares>,
    job: &Job<'_>,
) -> BTreeSet<(usize, usize)> {
    let patches = job.opened.patches();
    let mut drawn: Vec<(u64, usize, usize)> = Vec::new();
    for &image in &sample.images {
        let chances = chances(sample.seed, image, patches);
        let labeled = shares[&image].iter().map(|&(patch, _)| patch);
        drawn.extend(labeled.map(|patch| (chances[patch], image, patch)));
    }
    drawn.sort_unstable();
    drawn.truncate(job.common.reader_patches);
    drawn
        .into_iter()
        .map(|(_, image, patch)| (image, patch))
        .collect()
}

/// Shows training patches with their shares to the readers.
struct ReaderFitter<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    samples: &'a [ReaderSample],
    shares: &'a BTreeMap<usize, ClassShares>,
    /// Per sample: image and patch of what the memory takes.
    chosen: &'a [BTreeSet<(usize, usize)>],
    fits: Vec<ReaderFit>,
}

impl Visitor for ReaderFitter<'_> {
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        let rows = unit(rows.host()?.view()).map_err(self.job.slot_error(reading))?;
        let classes = self.job.data.classes.len();
        for fit in self.fits.iter_mut().filter(|fit| fit.probed == reading) {
            // One image after the other, so that sums do not depend on which come together.
            for (image, rows) in seen.images.iter().zip(rows.axis_iter(Axis(0))) {
                let shares = &self.shares[image];
                let own = self.samples[fit.sample].images.binary_search(image).is_ok();
                if !own || shares.is_empty() {
                    continue;
                }
                let patches: Vec<usize> = shares.iter().map(|&(patch, _)| patch).collect();
                let labeled = rows.select(Axis(0), &patches);
                let mut dense = Array2::<f32>::zeros((patches.len(), classes));
                for ((_, shares), mut dense) in shares.iter().zip(dense.rows_mut()) {
                    for &(class, share) in shares {
                        dense[usize::from(class)] = share;
                    }
                }
                let failed = self.job.slot_error(reading);
                fit.sums
                    .add(labeled.view(), dense.view())
                    .map_err(&failed)?;
                let rows = labeled.rows().into_iter().zip(dense.rows());
                for (&patch, (row, shares)) in patches.iter().zip(rows) {
                    if self.chosen[fit.sample].contains(&(*image, patch)) {
                        fit.neighbors
                            .add(&row.to_vec(), &shares.to_vec())
                            .map_err(&failed)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        self.observer.advance(seen.images.len() as u64, None);
        self.job.stop(self.observer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_labeled_pixels_and_an_ignored_one_is_of_no_class() {
        // Two by two patches of 2 x 2 pixels.
        let (a, b, no) = (0, 2, IGNORE);
        let ids = [
            a, a, no, no, //
            a, b, no, no, //
            no, b, b, b, //
            no, no, b, no,
        ];
        let found = shares(&ids, [2, 2], 2, 3);
        let expected = vec![
            (0, vec![(0, 0.75), (2, 0.25)]),
            (2, vec![(2, 1.0)]),
            (3, vec![(2, 1.0)]),
        ];
        assert_eq!(found, expected);
    }
}
