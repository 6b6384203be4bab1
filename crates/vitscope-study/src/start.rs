//! The first pass: principal directions of every slot, and what the trainers start from (PROTOCOL
//! section 3).

use std::collections::BTreeMap;
use std::time::Instant;

use ndarray::{ArrayView3, s};
use rayon::prelude::*;
use vitscope_data::Split;
use vitscope_probe::{Moments, ProbeError, Reservoir, Trainer, initial_centroids};

use crate::error::StudyError;
use crate::job::{Job, Plan};
use crate::observer::{Observer, Phase};
use crate::probe::note_times;
use crate::record::Record;
use crate::source::{MICRO_BATCH, Seen, Source, Visitor};
use crate::training::Training;

/// Patch vectors kept per slot, from which centroids beyond the principal directions are drawn.
const RESERVOIR: usize = 512;

/// What the runs that begin with the same images under the same seed have in common.
struct Sample {
    seed: u64,
    /// How often each image counts.
    weights: BTreeMap<usize, u32>,
    /// Per reading.
    moments: Vec<Moments>,
    reservoirs: Vec<Reservoir>,
}

struct Starter<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    samples: &'a mut [Sample],
}

impl Sample {
    /// Adds a batch image by image, so that it does not matter which others were run with it.
    fn add(
        &mut self,
        reading: usize,
        rows: ArrayView3<'_, f32>,
        seen: &Seen,
    ) -> Result<(), ProbeError> {
        for (place, image) in seen.images.iter().enumerate() {
            if let Some(&weight) = self.weights.get(image) {
                let rows = rows.slice(s![place..=place, .., ..]);
                self.moments[reading].add(rows, &[weight])?;
                self.reservoirs[reading].add(rows, &[weight])?;
            }
        }
        Ok(())
    }
}

impl Visitor for Starter<'_> {
    fn slot(
        &mut self,
        reading: usize,
        rows: ArrayView3<'_, f32>,
        seen: &Seen,
    ) -> Result<(), StudyError> {
        self.samples
            .iter_mut()
            .try_for_each(|sample| sample.add(reading, rows, seen))
            .map_err(self.job.slot_error(reading))
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
    trainings: &mut [Option<Training>],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let missing: Vec<usize> = (0..job.plans.len())
        .filter(|&index| trainings[index].is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut samples: Vec<Sample> = Vec::new();
    let mut sample_of = Vec::new();
    for &index in &missing {
        let settings = &job.plans[index].settings;
        let order = &job.plans[index].order;
        let weights = order.distinct(settings.pca_batches, settings.pca_interval);
        let alike = |sample: &Sample| sample.seed == settings.seed && sample.weights == weights;
        let known = samples.iter().position(alike);
        sample_of.push(known.unwrap_or(samples.len()));
        if known.is_none() {
            samples.push(Sample {
                seed: settings.seed,
                weights,
                moments: job
                    .widths
                    .iter()
                    .map(|&width| Moments::new(width))
                    .collect(),
                reservoirs: job
                    .widths
                    .iter()
                    .map(|&width| Reservoir::new(RESERVOIR, width, settings.seed))
                    .collect(),
            });
        }
    }
    let mut images: Vec<usize> = samples
        .iter()
        .flat_map(|sample| sample.weights.keys().copied())
        .collect();
    images.sort_unstable();
    images.dedup();
    let groups: Vec<Vec<usize>> = images.chunks(MICRO_BATCH).map(<[usize]>::to_vec).collect();
    observer.begin(Phase::Start, 0, images.len() as u64);
    let mut starter = Starter {
        job,
        observer,
        samples: &mut samples,
    };
    let times = source.run(&job.pass(Split::Train, false, &groups), &mut starter)?;
    let begun = Instant::now();
    for (&index, &sample) in missing.iter().zip(&sample_of) {
        let training = Training::new(trainers(job, &job.plans[index], &samples[sample])?);
        training.save(&job.plans[index].run, &job.plans[index].fingerprint)?;
        trainings[index] = Some(training);
    }
    let eigen = begun.elapsed().as_secs_f64();
    for &index in &missing {
        note_times(&mut records[index], "start", &times);
        records[index].times.insert("eigen_secs".to_owned(), eigen);
    }
    observer.end();
    Ok(())
}

fn trainers(job: &Job<'_>, plan: &Plan, sample: &Sample) -> Result<Vec<Trainer>, StudyError> {
    let adam = plan.settings.adam();
    plan.readings
        .par_iter()
        .map(|&reading| {
            let (moments, reservoir) = (&sample.moments[reading], &sample.reservoirs[reading]);
            initial_centroids(moments, plan.clusters, reservoir, sample.seed)
                .and_then(|centroids| Trainer::new(centroids, adam))
                .map_err(job.slot_error(reading))
        })
        .collect()
}
