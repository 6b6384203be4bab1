//! The first pass: principal directions of every slot, and what the trainers start from (PROTOCOL
//! section 3).

use std::collections::BTreeMap;
use std::time::Instant;

use rayon::prelude::*;
use vitscope_data::Split;
use vitscope_probe::{Moments, ProbeError, Reservoir, Trainer, initial_centroids};
use vitscope_vit::vit::Rows;

use crate::device::{Gatherer, Tools};
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
    gatherers: Vec<Gatherer>,
    reservoirs: Vec<Reservoir>,
}

/// A sample that is complete.
struct Start {
    seed: u64,
    moments: Vec<Moments>,
    reservoirs: Vec<Reservoir>,
}

struct Starter<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    samples: &'a mut [Sample],
    tools: Tools,
}

impl Sample {
    /// Adds a batch image by image, so that it does not matter which others were run with it.
    fn add(
        &mut self,
        reading: usize,
        rows: &Rows<'_>,
        seen: &Seen,
        tools: &mut Tools,
        failed: impl Fn(ProbeError) -> StudyError,
    ) -> Result<(), StudyError> {
        for (place, image) in seen.images.iter().enumerate() {
            if let Some(&weight) = self.weights.get(image) {
                let reservoir = &mut self.reservoirs[reading];
                let place = (place, weight);
                self.gatherers[reading].add(reservoir, rows, place, tools, &failed)?;
            }
        }
        Ok(())
    }
}

impl Visitor for Starter<'_> {
    fn slot(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        let failed = self.job.slot_error(reading);
        let tools = &mut self.tools;
        self.samples
            .iter_mut()
            .try_for_each(|sample| sample.add(reading, rows, seen, tools, &failed))
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
    let tools = Tools::of(source)?;
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
                gatherers: (0..job.widths.len())
                    .map(|reading| {
                        Gatherer::new(job.widths[reading], &tools).map_err(job.slot_error(reading))
                    })
                    .collect::<Result<_, _>>()?,
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
        tools,
    };
    let times = source.run(&job.pass(Split::Train, false, &groups), &mut starter)?;
    let begun = Instant::now();
    let mut starts = Vec::new();
    for sample in samples {
        let gathered = sample.gatherers.into_iter().enumerate();
        let moments =
            gathered.map(|(reading, gatherer)| gatherer.finish().map_err(job.slot_error(reading)));
        starts.push(Start {
            seed: sample.seed,
            moments: moments.collect::<Result<_, _>>()?,
            reservoirs: sample.reservoirs,
        });
    }
    for (&index, &sample) in missing.iter().zip(&sample_of) {
        let training = Training::new(trainers(job, &job.plans[index], &starts[sample])?);
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

fn trainers(job: &Job<'_>, plan: &Plan, start: &Start) -> Result<Vec<Trainer>, StudyError> {
    let adam = plan.settings.adam();
    plan.readings
        .par_iter()
        .map(|&reading| {
            let (moments, reservoir) = (&start.moments[reading], &start.reservoirs[reading]);
            initial_centroids(moments, plan.clusters, reservoir, start.seed)
                .and_then(|centroids| Trainer::new(centroids, adam))
                .map_err(job.slot_error(reading))
        })
        .collect()
}
