//! The second pass: online k-means of every slot (docs/protocol.md section 4).

use std::time::Instant;

use vitscope_data::Split;
use vitscope_protocol::{SharedOrder, TrainPass};
use vitscope_vit::vit::Rows;

use crate::device;
use crate::edits::Edits;
use crate::error::StudyError;
use crate::job::Job;
use crate::observer::{Observer, Phase};
use crate::record::Record;
use crate::source::{PassTimes, Seen, Source, Visitor};
use crate::training::{self, Training};

/// Shows the rounds of one order to the trainers, and stores them now and then.
struct Rounds<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    shared: &'a SharedOrder,
    pass: TrainPass<'a>,
    saved: Instant,
}

impl Visitor for Rounds<'_> {
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        self.readings(&[(reading, rows)], seen)
    }

    fn readings(&mut self, readings: &[(usize, &Rows<'_>)], _: &Seen) -> Result<(), StudyError> {
        let rows = readings.iter();
        let rows = rows.map(|&(reading, rows)| (reading, device::patch_rows(rows)));
        let added = self.pass.add(&rows.collect::<Vec<_>>());
        added.map_err(|error| self.job.failed(error))
    }

    fn wants(&self, reading: usize) -> bool {
        let own = |&run: &usize| self.job.runs[run].setup.slot(reading).is_some();
        self.shared.setups.iter().any(own)
    }

    fn batch(&mut self, seen: &Seen, last: bool) -> Result<(), StudyError> {
        let loss = match last {
            true => self.pass.end_round(),
            false => Ok(None),
        };
        let loss = loss.map_err(|error| self.job.failed(error))?;
        self.observer.advance(seen.images.len() as u64, loss);
        if !last {
            return Ok(());
        }
        if self.observer.stop() || self.saved.elapsed() > self.job.save_interval() {
            // A run in the middle of a step is stored as it was before that step.
            save(self.job, self.shared, self.pass.trainings())?;
            self.saved = Instant::now();
        }
        self.job.stop(self.observer)
    }
}

fn save(job: &Job<'_>, shared: &SharedOrder, trainings: &[Training]) -> Result<(), StudyError> {
    shared.setups.iter().try_for_each(|&run| {
        let own = &job.runs[run];
        training::save(&trainings[run], &own.root, &own.fingerprint)
    })
}

/// Takes the steps that are left of every run. Runs with the same order of images share the forward
/// passes; a run with another seed sees the images in another order and has passes of its own.
pub(crate) fn train(
    job: &Job<'_>,
    source: &mut Source,
    edits: &Edits<'_>,
    trainings: &mut [Training],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let setups = job.setups();
    let left = SharedOrder::of(&setups, |run| trainings[run].step());
    let images = |shared: &[SharedOrder]| shared.iter().map(SharedOrder::images).sum::<u64>();
    if images(&left) == 0 {
        return Ok(());
    }
    let total = images(&SharedOrder::of(&setups, |_| 0));
    observer.begin(Phase::TRAIN, total.saturating_sub(images(&left)), total);
    for shared in left.iter().filter(|shared| !shared.rounds.is_empty()) {
        let groups: Vec<Vec<usize>> = shared.rounds.iter().map(|r| r.images.clone()).collect();
        let site = edits.site(source)?;
        let pass = TrainPass::new(shared, &setups, trainings, site);
        let mut rounds = Rounds {
            job,
            observer,
            shared,
            pass: pass.map_err(|error| job.failed(error))?,
            saved: Instant::now(),
        };
        let mut times = PassTimes::default();
        let pass = job.pass(Split::Train, false, &groups);
        let ran = source
            .facets()
            .run(&pass, edits.before(&mut rounds).shown(), &mut times);
        for &run in &shared.setups {
            times.note(&mut records[run], "train");
        }
        ran?;
        rounds.pass.finish().map_err(|error| job.failed(error))?;
        save(job, shared, trainings)?;
    }
    observer.end();
    Ok(())
}
