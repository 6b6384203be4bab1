//! The third pass: pixel labels and counts of every slot on the test images (PROTOCOL sections 5 to
//! 8), and the locality bias of attention where it was asked for (section 9).

use ndarray::{Array2, ArrayView4};
use vitscope_data::Split;
use vitscope_vit::vit::Rows;

use crate::attention::{self, Localities};
use crate::device::{Painter, Tools};
use crate::error::StudyError;
use crate::evaluate::Evaluation;
use crate::observer::{Observer, Phase};
use crate::probe::{Job, note_times};
use crate::record::Record;
use crate::source::{MICRO_BATCH, Seen, Source, Visitor};

struct Examiner<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    /// Per run and slot.
    labelers: Vec<Vec<Painter>>,
    tools: Tools,
    /// Per run.
    evaluations: Vec<Evaluation>,
    localities: Option<Localities>,
    labels: Vec<u8>,
}

impl Visitor for Examiner<'_> {
    fn slot(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        let runs = self.job.plans.iter().zip(&self.labelers);
        for ((plan, labelers), evaluation) in runs.zip(&mut self.evaluations) {
            let Some(slot) = plan.slot(reading) else {
                continue;
            };
            self.labels
                .resize(seen.images.len() * evaluation.pixels(), 0);
            let failed = self.job.slot_error(reading);
            labelers[slot].label(rows, &mut self.tools, &mut self.labels, failed)?;
            evaluation.add(slot, &mut self.labels, seen)?;
        }
        Ok(())
    }

    fn attention_layers(&self) -> Vec<usize> {
        let localities = self.localities.as_ref();
        localities.map_or(Vec::new(), Localities::layers)
    }

    fn attention(
        &mut self,
        layer: usize,
        weights: ArrayView4<'_, f32>,
        _: &Seen,
    ) -> Result<(), StudyError> {
        match &mut self.localities {
            Some(localities) => localities.add(layer, weights, |_, _| {}),
            None => Ok(()),
        }
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        for evaluation in &mut self.evaluations {
            evaluation.add_truth(seen)?;
        }
        self.observer.advance(seen.images.len() as u64, None);
        self.job.stop(self.observer)
    }
}

/// What the third pass counted.
pub(crate) struct Examined {
    /// Per run.
    pub(crate) evaluations: Vec<Evaluation>,
    /// Of the model's attention, which the runs have in common.
    pub(crate) localities: Option<Localities>,
}

/// Labels and counts every test image for every run, in one pass.
///
/// `codebooks` `[K, D]` per run and slot.
pub(crate) fn examine(
    job: &Job<'_>,
    source: &mut Source,
    codebooks: &[Vec<Array2<f32>>],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Examined, StudyError> {
    let opened = job.opened;
    let patch = opened.geometry.size / opened.grid[0];
    let grid = (opened.grid[0], opened.grid[1]);
    let tools = Tools::of(source)?;
    let mut labelers = Vec::new();
    let mut evaluations = Vec::new();
    for (plan, codebooks) in job.plans.iter().zip(codebooks) {
        let of_run = codebooks
            .iter()
            .zip(&plan.readings)
            .map(|(codebook, &reading)| {
                Painter::new(codebook, grid, patch, &tools).map_err(job.slot_error(reading))
            })
            .collect::<Result<Vec<Painter>, StudyError>>()?;
        labelers.push(of_run);
        evaluations.push(Evaluation::new(
            &plan.settings,
            job.data,
            &plan.run,
            &opened.slots,
            plan.clusters,
            grid,
            patch,
            job.test,
        )?);
    }
    let localities = job
        .common
        .attention
        .then(|| attention::localities(opened, &job.layers));
    let batch = match localities {
        Some(_) => attention::batch(opened),
        None => MICRO_BATCH,
    };
    let images: Vec<usize> = (0..job.test).collect();
    let groups: Vec<Vec<usize>> = images.chunks(batch).map(<[usize]>::to_vec).collect();
    observer.begin(Phase::Evaluate, 0, job.test as u64);
    let mut examiner = Examiner {
        job,
        observer,
        labelers,
        tools,
        evaluations,
        localities,
        labels: Vec::new(),
    };
    let pass = job.pass(Split::Test, job.data.has_truth(), &groups);
    let times = source.run(&pass, &mut examiner)?;
    let examined = Examined {
        evaluations: examiner.evaluations,
        localities: examiner.localities,
    };
    for record in records {
        note_times(record, "evaluate", &times);
    }
    observer.end();
    Ok(examined)
}
