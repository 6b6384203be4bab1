//! The first pass: principal directions of every slot, and what the trainers start from (docs/protocol.md
//! section 3).

use std::time::Instant;

use vitscope_data::Split;
use vitscope_protocol::{Setup, StartPass};
use vitscope_vit::vit::Rows;

use crate::device;
use crate::edits::Edits;
use crate::error::StudyError;
use crate::job::Job;
use crate::observer::{Observer, Phase};
use crate::record::Record;
use crate::source::{PassTimes, Seen, Source, Visitor};
use crate::training::{self, Training};

struct Starter<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    pass: StartPass<'a>,
}

impl Visitor for Starter<'_> {
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        let added = self
            .pass
            .add(reading, &device::patch_rows(rows), &seen.images);
        added.map_err(|error| self.job.failed(error))
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        self.observer.advance(seen.images.len() as u64, None);
        self.job.stop(self.observer)
    }
}

/// Trainers that have not taken a step, for the runs of a job that have none yet. Images that
/// several runs begin with are run once.
pub(crate) fn start(
    job: &Job<'_>,
    source: &mut Source,
    edits: &Edits<'_>,
    trainings: &mut [Option<Training>],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let missing: Vec<usize> = (0..job.runs.len())
        .filter(|&index| trainings[index].is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let setups: Vec<&Setup> = missing
        .iter()
        .map(|&index| &job.runs[index].setup)
        .collect();
    let pass = StartPass::new(setups, &job.probed_widths, edits.site(source)?);
    let pass = pass.map_err(|error| job.failed(error))?;
    let images = pass.images();
    let groups: Vec<Vec<usize>> = images
        .chunks(source.unit())
        .map(<[usize]>::to_vec)
        .collect();
    observer.begin(Phase::START, 0, images.len() as u64);
    let mut starter = Starter {
        job,
        observer,
        pass,
    };
    let mut times = PassTimes::default();
    let pass = job.pass(Split::Train, false, &groups);
    let ran = source
        .facets()
        .run(&pass, edits.before(&mut starter).shown(), &mut times);
    for &index in &missing {
        times.note(&mut records[index], "start");
    }
    ran?;
    let begun = Instant::now();
    let started = starter.pass.finish().map_err(|error| job.failed(error))?;
    for (&index, started) in missing.iter().zip(started) {
        let run = &job.runs[index];
        training::save(&started, &run.root, &run.fingerprint)?;
        trainings[index] = Some(started);
    }
    let eigen = begun.elapsed().as_secs_f64();
    for &index in &missing {
        records[index].times.insert("eigen_secs".to_owned(), eigen);
    }
    observer.end();
    Ok(())
}
