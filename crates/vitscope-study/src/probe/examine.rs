//! The third pass: pixel labels and counts of every slot on the test images (docs/protocol.md sections 5 to
//! 8), and the locality bias of attention where it was asked for (section 9).

use std::time::{Duration, Instant};

use ndarray::Array2;
use vitscope_data::Split;
use vitscope_protocol::{Painter, Site, Training};
use vitscope_vit::vit::{AttentionWeights, Rows};

use crate::attention::{self, Localities, LocalityMeter};
use crate::device;
use crate::edits::Edits;
use crate::error::StudyError;
use crate::evaluate::{self, Evaluation};
use crate::job::Job;
use crate::observer::{Observer, Phase};
use crate::probe::patches::PatchKeeper;
use crate::probe::readers::Readers;
use crate::record::Record;
use crate::source::{PassTimes, Seen, Source, Visitor};
use crate::state::{self, Origin, StoredState};

struct Examiner<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    /// Per run and slot.
    painters: Vec<Vec<Painter>>,
    /// The hash of the codebooks of each run.
    hashes: Vec<String>,
    site: Site,
    readers: Option<&'a Readers>,
    /// Per run.
    evaluations: Vec<Evaluation>,
    /// Per run.
    keepers: Vec<PatchKeeper>,
    localities: Option<LocalityMeter>,
    labels: Vec<u8>,
    /// Images of the job or of its shard that went by, and how many of them each run had counted before.
    passed: usize,
    counted: Vec<usize>,
    /// The same of the localities.
    located: usize,
    saving: Saving,
}

/// When unfinished counts are stored: they can be large, so that storing them may take some time.
struct Saving {
    interval: Duration,
    last: Instant,
    took: Duration,
}

/// Storing counts takes at most one part in so many of the time.
const SAVING_SHARE: u32 = 30;

impl Saving {
    fn is_due(&self) -> bool {
        self.last.elapsed() > self.interval.max(self.took * SAVING_SHARE)
    }
}

impl Examiner<'_> {
    /// Takes over what was counted on a card, once it is known that every label is good.
    fn settle(&mut self) -> Result<(), StudyError> {
        let refused = self
            .site
            .refused()
            .map_err(|error| self.job.failed(error))?;
        if let Some(index) = refused {
            let item = &self.job.data.split(Split::Test)[index];
            return Err(StudyError::file(
                &item.image,
                "the model's facets of this image hold a value that is not finite, or are too large \
                 to be compared: leave the image out, or run with `dtype` f32",
            ));
        }
        for evaluation in &mut self.evaluations {
            evaluation
                .settle()
                .map_err(|error| self.job.failed(error))?;
        }
        Ok(())
    }

    /// Stores what each run has counted so far.
    fn save(&mut self) -> Result<(), StudyError> {
        let begun = Instant::now();
        self.settle()?;
        let evaluations = self.evaluations.iter_mut().zip(&self.counted);
        let runs = self.job.runs.iter().zip(&self.hashes);
        for ((run, hash), (evaluation, &counted)) in runs.zip(evaluations) {
            if self.passed < counted {
                continue;
            }
            let key = self.job.counting_fingerprint(run);
            if let Some(localities) = &mut self.localities {
                let localities = localities.counted()?;
                let (name, tensors) = (attention::BESIDE, localities.to_tensors());
                let images = localities.images();
                state::store_lazily(&run.root, name, key.as_str().into(), images, tensors)?;
            }
            evaluation.store(&run.root, counting(&key, hash), self.passed)?;
        }
        self.saving.took = begun.elapsed();
        self.saving.last = Instant::now();
        Ok(())
    }

    /// Takes up what an earlier, unfinished run has counted; gives how many images need not be run again.
    fn restore(&mut self) -> Result<usize, StudyError> {
        let runs = self.job.runs.iter().zip(&self.hashes);
        let evaluations = self.evaluations.iter_mut().zip(&mut self.counted);
        for ((run, hash), (evaluation, counted)) in runs.zip(evaluations) {
            let key = self.job.counting_fingerprint(run);
            if let Some(mut found) = evaluate::stored(&run.root, counting(&key, hash))? {
                evaluation.add_stored(&mut found)?;
                *counted = found.done();
            }
        }
        if let Some(localities) = &mut self.localities {
            let first = &self.job.runs[0];
            let key = self.job.counting_fingerprint(first);
            if let Some(mut found) =
                StoredState::of(&first.root, attention::BESIDE, key.as_str().into())?
            {
                let counted = localities.counted()?;
                counted.append_stored(&mut found)?;
                self.located = counted.images();
            }
        }
        let least = self.counted.iter().copied().min().unwrap_or(0);
        Ok(match self.localities {
            Some(_) => least.min(self.located),
            None => least,
        })
    }
}

/// What counts are made of.
fn counting<'a>(run: &'a str, codebooks: &'a str) -> Origin<'a> {
    Origin { run, codebooks }
}

impl Visitor for Examiner<'_> {
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        let device_rows = device::patch_rows(rows);
        let runs = self.job.runs.iter().zip(&self.painters);
        let evaluations = self.evaluations.iter_mut().zip(&self.counted);
        for (number, ((run, painters), (evaluation, &counted))) in runs.zip(evaluations).enumerate()
        {
            let slot = run.setup.slot(reading);
            let Some(slot) = slot.filter(|_| self.passed >= counted) else {
                continue;
            };
            let wanted = evaluation.keeps(seen);
            let (counts, labels) = (&mut evaluation.slots[slot], &mut self.labels);
            let maps = (&mut *labels, wanted);
            painters[slot]
                .count(
                    reading,
                    &device_rows,
                    &seen.as_test(),
                    &mut self.site,
                    counts,
                    maps,
                )
                .map_err(|error| self.job.failed(error))?;
            if wanted {
                evaluation.keep(slot, labels, seen);
            }
            self.keepers[number].keep(slot, rows, seen)?;
            if let Some(readers) = self.readers {
                let (batch, failed) = (seen.as_test(), self.job.slot_error(reading));
                let counts = &mut evaluation.readers[slot];
                readers.count((number, slot), rows, &batch, counts, failed)?;
            }
        }
        Ok(())
    }

    fn attention_layers(&self) -> Vec<usize> {
        let localities = self.localities.as_ref();
        localities.map_or(Vec::new(), LocalityMeter::layers)
    }

    fn attention(
        &mut self,
        layer: usize,
        weights: &AttentionWeights<'_>,
        _: &Seen,
    ) -> Result<(), StudyError> {
        match &mut self.localities {
            Some(localities) if self.passed >= self.located => {
                localities.add(layer, weights, &[]).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        let evaluations = self.evaluations.iter_mut().zip(&mut self.keepers);
        for ((evaluation, keeper), &counted) in evaluations.zip(&self.counted) {
            if self.passed >= counted {
                keeper.end_batch()?;
                evaluation.end_batch(seen)?;
            }
        }
        self.site.end_batch();
        self.passed += seen.images.len();
        self.observer.advance(seen.images.len() as u64, None);
        if self.observer.stop() || self.saving.is_due() {
            self.save()?;
        }
        self.job.stop(self.observer)
    }
}

/// What the third pass counted.
pub(crate) struct TestCounts {
    /// Per run.
    pub(crate) evaluations: Vec<Evaluation>,
    /// Of the model's attention, which the runs have in common.
    pub(crate) localities: Option<Localities>,
}

/// What labels the test images.
pub(crate) struct Probes<'a> {
    /// Per run.
    pub(crate) trainings: &'a [Training],
    /// `[K, D]` per run and slot.
    pub(crate) codebooks: &'a [Vec<Array2<f32>>],
    /// Where they are asked for.
    pub(crate) readers: Option<&'a Readers>,
}

/// Labels and counts every test image for every run, in one pass.
pub(crate) fn examine(
    job: &Job<'_>,
    source: &mut Source,
    edits: &Edits<'_>,
    probes: &Probes<'_>,
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<TestCounts, StudyError> {
    let opened = job.opened;
    let patch = opened.geometry.size / opened.grid[0];
    let grid = (opened.grid[0], opened.grid[1]);
    let site = edits.site(source)?;
    let mut painters = Vec::new();
    let mut evaluations = Vec::new();
    let mut keepers = Vec::new();
    for (run, training) in job.runs.iter().zip(probes.trainings) {
        keepers.push(PatchKeeper::new(job, run, training)?);
    }
    for (run, codebooks) in job.runs.iter().zip(probes.codebooks) {
        let of_run = codebooks
            .iter()
            .zip(run.setup.readings())
            .map(|(codebook, &reading)| {
                Painter::new(codebook, grid, patch, &site).map_err(job.slot_error(reading))
            })
            .collect::<Result<Vec<Painter>, StudyError>>()?;
        painters.push(of_run);
        evaluations.push(Evaluation::new(
            &run.settings,
            job.data,
            (&run.root, &run.fingerprint),
            &opened.slots,
            run.clusters,
            grid,
            patch,
            job.test,
        )?);
    }
    let localities = job
        .common
        .attention
        .then(|| LocalityMeter::new(attention::localities(opened, &job.layers)));
    let batch = match localities {
        Some(_) => attention::batch(opened, source),
        None => source.unit(),
    };
    let images: Vec<usize> = job.counted_images().collect();
    let mut examiner = Examiner {
        job,
        observer,
        painters,
        hashes: probes
            .codebooks
            .iter()
            .map(|of_run| evaluate::hash_of(of_run))
            .collect(),
        counted: vec![0; evaluations.len()],
        site,
        readers: probes.readers,
        evaluations,
        keepers,
        localities,
        labels: Vec::new(),
        passed: 0,
        located: 0,
        saving: Saving {
            interval: job.save_interval(),
            last: Instant::now(),
            took: Duration::ZERO,
        },
    };
    if job.resume {
        examiner.passed = examiner.restore()?.min(images.len());
    }
    let left = &images[examiner.passed..];
    let groups: Vec<Vec<usize>> = left.chunks(batch).map(<[usize]>::to_vec).collect();
    let (done, total) = (examiner.passed as u64, images.len() as u64);
    examiner.observer.begin(Phase::EVALUATE, done, total);
    let pass = job.pass(Split::Test, job.data.has_truth(), &groups);
    let mut times = PassTimes::default();
    let ran = source
        .facets()
        .run(&pass, edits.before(&mut examiner).shown(), &mut times);
    for record in records {
        times.note(record, "evaluate");
    }
    ran?;
    examiner.settle()?;
    if job.common.shard.is_some() {
        examiner.save()?;
    }
    let examined = TestCounts {
        evaluations: examiner.evaluations,
        localities: examiner
            .localities
            .map(LocalityMeter::into_counted)
            .transpose()?,
    };
    observer.end();
    Ok(examined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_stored_now_and_then_and_never_for_most_of_the_time() {
        let second = Duration::from_secs(1);
        let saving = |interval: u32, took: u32| Saving {
            interval: interval * second,
            last: Instant::now().checked_sub(40 * second).unwrap(),
            took: took * second,
        };
        assert!(saving(30, 0).is_due());
        assert!(!saving(60, 0).is_due());
        // Storing took a second, so 30 go by at least; two seconds, 60.
        assert!(saving(0, 1).is_due());
        assert!(!saving(0, 2).is_due());
    }
}
