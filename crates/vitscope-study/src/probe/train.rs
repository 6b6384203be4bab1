//! The second pass: online k-means of every slot (PROTOCOL section 4).

use std::time::Instant;

use vitscope_data::Split;
use vitscope_vit::vit::Rows;

use crate::device::Tools;
use crate::error::StudyError;
use crate::job::{Job, Plan};
use crate::observer::{Observer, Phase};
use crate::order::{Round, Student, rounds};
use crate::probe::note_times;
use crate::record::Record;
use crate::source::{Seen, Source, Visitor};
use crate::training::Training;

/// Runs that see the training images in one order, and so learn in the same rounds.
struct Class {
    /// Their numbers in the job.
    runs: Vec<usize>,
    rounds: Vec<Round>,
}

impl Class {
    fn images(&self) -> u64 {
        let images = self.rounds.iter().map(|round| round.images.len() as u64);
        images.sum()
    }
}

/// The runs of a job by the order of their images, each with the steps that are left after those
/// that were taken before.
pub(crate) fn students<'a>(
    job: &'a Job<'_>,
    taken: impl Fn(usize) -> usize,
) -> Vec<(Vec<usize>, Vec<Student<'a>>)> {
    let mut seeds: Vec<Option<u64>> = job.plans.iter().map(|plan| plan.order.seed()).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let of_seed = |seed: Option<u64>| {
        let runs = (0..job.plans.len()).filter(|&run| job.plans[run].order.seed() == seed);
        let runs: Vec<usize> = runs.collect();
        let student = |&run: &usize| Student {
            order: &job.plans[run].order,
            first: taken(run),
            last: job.plans[run].settings.steps,
        };
        let students = runs.iter().map(student).collect();
        (runs, students)
    };
    seeds.into_iter().map(of_seed).collect()
}

fn classes(job: &Job<'_>, taken: impl Fn(usize) -> usize) -> Vec<Class> {
    students(job, taken)
        .into_iter()
        .map(|(runs, students)| Class {
            rounds: rounds(&students),
            runs,
        })
        .collect()
}

struct Teacher<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    class: &'a Class,
    trainings: &'a mut [Training],
    tools: Tools,
    /// The round that is being taught.
    round: usize,
    saved: Instant,
}

impl Visitor for Teacher<'_> {
    fn slot(&mut self, reading: usize, rows: &Rows<'_>, _: &Seen) -> Result<(), StudyError> {
        for &(student, _) in &self.class.rounds[self.round].takers {
            let run = self.class.runs[student];
            if let Some(slot) = self.job.plans[run].slot(reading) {
                let failed = self.job.slot_error(reading);
                self.trainings[run].trainers[slot].add(rows, &mut self.tools, failed)?;
            }
        }
        Ok(())
    }

    fn batch(&mut self, seen: &Seen, last: bool) -> Result<(), StudyError> {
        let mut loss = None;
        if last {
            for &(student, ends) in &self.class.rounds[self.round].takers {
                if ends {
                    let run = self.class.runs[student];
                    let readings = &self.job.plans[run].readings;
                    let step = self.trainings[run].finish_step();
                    let step =
                        step.map_err(|(slot, error)| self.job.slot_error(readings[slot])(error))?;
                    loss = Some(step);
                }
            }
            self.round += 1;
        }
        self.observer.advance(seen.images.len() as u64, loss);
        if !last {
            return Ok(());
        }
        if self.observer.stop() || self.saved.elapsed() > self.job.save_interval() {
            // A run in the middle of a step is stored as it was before that step.
            save(self.job, self.class, self.trainings)?;
            self.saved = Instant::now();
        }
        self.job.stop(self.observer)
    }
}

fn save(job: &Job<'_>, class: &Class, trainings: &[Training]) -> Result<(), StudyError> {
    class.runs.iter().try_for_each(|&run| {
        let plan = &job.plans[run];
        trainings[run].save(&plan.run, &plan.fingerprint)
    })
}

/// Takes the steps that are left of every run. Runs with the same order of images share the forward
/// passes; a run with another seed sees the images in another order and has passes of its own.
pub(crate) fn train(
    job: &Job<'_>,
    source: &mut Source,
    trainings: &mut [Training],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let left = classes(job, |run| trainings[run].step);
    let images = |classes: &[Class]| classes.iter().map(Class::images).sum::<u64>();
    if images(&left) == 0 {
        return Ok(());
    }
    let total = images(&classes(job, |_| 0));
    let failed = |plan: &Plan| {
        let readings = plan.readings.clone();
        move |(slot, error): (usize, _)| job.slot_error(readings[slot])(error)
    };
    observer.begin(Phase::Train, total.saturating_sub(images(&left)), total);
    for class in left.iter().filter(|class| !class.rounds.is_empty()) {
        let groups: Vec<Vec<usize>> = class.rounds.iter().map(|r| r.images.clone()).collect();
        let tools = Tools::of(source)?;
        for &run in &class.runs {
            let plan = &job.plans[run];
            trainings[run]
                .enter(&tools, plan.settings.adam())
                .map_err(failed(plan))?;
        }
        let mut teacher = Teacher {
            job,
            observer,
            class,
            trainings,
            tools,
            round: 0,
            saved: Instant::now(),
        };
        let times = source.run(&job.pass(Split::Train, false, &groups), &mut teacher)?;
        for &run in &class.runs {
            note_times(&mut records[run], "train", &times);
        }
        for &run in &class.runs {
            let plan = &job.plans[run];
            trainings[run]
                .leave(plan.settings.adam())
                .map_err(failed(plan))?;
        }
        save(job, class, trainings)?;
    }
    observer.end();
    Ok(())
}
