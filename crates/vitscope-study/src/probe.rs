//! The main job: every slot of a model probed on a data set, in one forward pass per batch
//! (PROTOCOL sections 1 to 8).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ndarray::ArrayView3;
use rayon::prelude::*;
use vitscope_data::{DataSet, Split};
use vitscope_probe::{
    AdamSettings, Labeler, MAX_CLUSTERS, Moments, ProbeError, Reservoir, Trainer, initial_centroids,
};

use crate::error::StudyError;
use crate::evaluate::Evaluation;
use crate::files;
use crate::model::{Model, Opened, check_counts};
use crate::observer::{Observer, Phase};
use crate::order::TrainOrder;
use crate::outcome::{self, Outcome};
use crate::record::{DataRecord, Fixed, Record, State};
use crate::screen::{Skipped, screen};
use crate::settings::{SaveLabels, Settings};
use crate::slot::Slot;
use crate::source::{MICRO_BATCH, Pass, PassTimes, Seen, Source, Visitor};
use crate::state::{self, Training};

/// Clusters where the data set has no classes: the paper's number for COCO-Stuff and Cityscapes.
const CLUSTERS_WITHOUT_CLASSES: usize = 27;

/// Patch vectors kept per slot, from which centroids beyond the principal directions are drawn.
const RESERVOIR: usize = 512;

/// Unfinished training is stored this often.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model.
    pub model: Model,
    /// The data set, as the user names it.
    pub data: String,
    /// The run directory; `runs/MODEL-DATA` unless set.
    pub out: Option<PathBuf>,
    /// The settings.
    pub settings: Settings,
    /// Whether to continue what is there.
    pub resume: bool,
}

/// Everything that is fixed once model and data are open.
struct Plan<'a> {
    settings: &'a Settings,
    data: &'a DataSet,
    run: PathBuf,
    train: usize,
    test: usize,
    clusters: usize,
    fingerprint: String,
    threads: usize,
}

/// Runs the main job.
///
/// # Errors
/// One sentence; what was stored before stays, and `resume` continues from it.
pub fn probe(request: &Request, observer: &mut dyn Observer) -> Result<Outcome, StudyError> {
    let settings = &request.settings;
    settings.check()?;
    let data = DataSet::open(&request.data)?;
    let (mut source, opened) =
        request
            .model
            .open(settings.size, &settings.layers, &settings.facets)?;
    check_counts(&source, &data)?;
    let (data, skipped) = leave_out_bad(data, settings, &source, &opened, observer)?;
    let limited = |split: Split, limit: Option<usize>| {
        data.split(split).len().min(limit.unwrap_or(usize::MAX))
    };
    let train = limited(Split::Train, settings.limit_train);
    let test = limited(Split::Test, settings.limit_test);
    if train < settings.batch {
        return Err(StudyError::setting(format!(
            "the training split has {train} images, fewer than one batch: choose --batch {train} or less"
        )));
    }
    let clusters = clusters(settings, &data)?;
    let run = request.out.clone().unwrap_or_else(|| {
        let name = format!("{}-{}", opened.record.name, data.kind.name());
        Path::new("runs").join(name.replace(['/', '\\'], "_"))
    });
    let mut record = record(settings, &data, &opened, [train, test], clusters);
    record.skipped = skipped;
    let fingerprint = record.fingerprint();
    begin(&run, request.resume)?;
    let plan = Plan {
        settings,
        data: &data,
        run,
        train,
        test,
        clusters,
        fingerprint,
        threads: rayon::current_num_threads(),
    };
    for note in &record.notes {
        observer.note(note);
    }
    let adam = AdamSettings {
        rate: settings.lr,
        ..AdamSettings::default()
    };
    let stored = if request.resume {
        Training::load(&plan.run, &plan.fingerprint, adam)?
    } else {
        None
    };
    record.write(&plan.run)?;
    let result = work(
        &plan,
        (&mut source, &opened),
        &mut record,
        stored,
        adam,
        observer,
    );
    if matches!(result, Err(StudyError::Interrupted { .. })) {
        record.state = State::Interrupted;
        record.write(&plan.run)?;
    }
    result
}

fn work(
    plan: &Plan<'_>,
    (source, opened): (&mut Source, &Opened),
    record: &mut Record,
    stored: Option<Training>,
    adam: AdamSettings,
    observer: &mut dyn Observer,
) -> Result<Outcome, StudyError> {
    let order = TrainOrder::new(
        plan.train,
        plan.settings.batch,
        plan.settings.shuffle.then_some(plan.settings.seed),
    );
    let mut training = match stored {
        Some(training) => {
            observer.note(&format!("continuing at step {}", training.step));
            training
        }
        None => start(plan, (source, opened), record, &order, adam, observer)?,
    };
    train(
        plan,
        (source, opened),
        record,
        &order,
        &mut training,
        observer,
    )?;
    let codebooks: Vec<_> = training.trainers.iter().map(Trainer::codebook).collect();
    outcome::write_codebooks(&plan.run, &opened.slots, &codebooks, None)?;
    record.write(&plan.run)?;
    let evaluation = evaluate(plan, (source, opened), record, &codebooks, observer)?;
    let writing = Instant::now();
    let losses = (0..codebooks.len())
        .map(|slot| training.recent_loss(slot))
        .collect();
    let outcome = outcome::write(outcome::Input {
        run: &plan.run,
        settings: plan.settings,
        data: plan.data,
        record,
        slots: &opened.slots,
        codebooks: &codebooks,
        losses,
        evaluation,
        geometry: opened.geometry,
    })?;
    record.selection = outcome.selection.clone();
    record.examples.clone_from(&outcome.examples);
    record
        .times
        .insert("write_secs".to_owned(), writing.elapsed().as_secs_f64());
    record.state = State::Complete;
    record.write(&plan.run)?;
    Ok(outcome)
}

/// Applies `--skip-bad`, where it was asked for.
fn leave_out_bad(
    data: DataSet,
    settings: &Settings,
    source: &Source,
    opened: &Opened,
    observer: &mut dyn Observer,
) -> Result<(DataSet, Vec<Skipped>), StudyError> {
    if settings.skip_bad == 0 {
        return Ok((data, Vec::new()));
    }
    if matches!(source, Source::Features(_)) {
        return Err(StudyError::setting(
            "--skip-bad needs a model: a feature directory holds every image of the data set already",
        ));
    }
    let used = [settings.limit_train, settings.limit_test];
    let used = used.map(|limit| limit.unwrap_or(usize::MAX));
    screen(data, opened.geometry, used, settings.skip_bad, observer)
}

fn clusters(settings: &Settings, data: &DataSet) -> Result<usize, StudyError> {
    let classes = if data.has_truth() {
        data.classes.len()
    } else {
        CLUSTERS_WITHOUT_CLASSES
    };
    let clusters = settings.clusters.unwrap_or(classes) + settings.extra_clusters;
    if clusters > MAX_CLUSTERS {
        return Err(StudyError::setting(format!(
            "{clusters} clusters are more than the {MAX_CLUSTERS} that a label map can hold: ask for fewer with --clusters or --extra-clusters"
        )));
    }
    Ok(clusters)
}

fn record(
    settings: &Settings,
    data: &DataSet,
    opened: &Opened,
    [train, test]: [usize; 2],
    clusters: usize,
) -> Record {
    let notes = opened.notes.iter().chain(data.notes()).cloned().collect();
    let fixed = Fixed {
        settings: serde_json::to_value(settings).unwrap_or_default(),
        model: opened.record.clone(),
        data: DataRecord::new(data, train, test),
        clusters,
        grid: opened.grid,
        size: opened.geometry.size,
        seed: settings.seed,
    };
    Record::new("probe", fixed, notes)
}

/// Makes the run directory, or refuses to touch one that holds a run.
fn begin(run: &Path, resume: bool) -> Result<(), StudyError> {
    if run.join("run.json").exists() && !resume {
        return Err(StudyError::setting(format!(
            "{}: holds a run already: continue it with --resume, or choose another --out",
            run.display()
        )));
    }
    files::make_dir(run)?;
    files::sweep(run)
}

/// Removes the unfinished work of a run whose figures are drawn. Until then a run that is killed
/// goes on from its trained centroids.
///
/// # Errors
/// When the folder cannot be removed.
pub fn tidy(run: &Path) -> Result<(), StudyError> {
    let folder = state::folder(run);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StudyError::io(&folder, "remove the folder")(error))
        }
        _ => Ok(()),
    }
}

fn note_times(record: &mut Record, name: &str, times: &PassTimes) {
    let mut put = |what: &str, value: f64| {
        *record.times.entry(format!("{name}_{what}")).or_insert(0.0) += value;
    };
    put("images", times.images as f64);
    put("secs", times.total.as_secs_f64());
    put("forward_secs", times.forward().as_secs_f64());
    put("probe_secs", times.visit.as_secs_f64());
    put("stall_secs", times.stall.as_secs_f64());
}

impl Plan<'_> {
    fn pass<'b>(
        &'b self,
        opened: &'b Opened,
        split: Split,
        labels: bool,
        groups: &'b [Vec<usize>],
    ) -> Pass<'b> {
        Pass {
            slots: &opened.slots,
            token_norm: self.settings.token_norm,
            rope: self.settings.rope,
            data: self.data,
            geometry: opened.geometry,
            split,
            labels,
            groups,
            threads: self.threads,
        }
    }

    fn interrupted(&self) -> StudyError {
        StudyError::Interrupted {
            run: self.run.clone(),
        }
    }
}

fn slot_error(slots: &[Slot], slot: usize) -> impl FnOnce(ProbeError) -> StudyError {
    let slot = slots[slot].to_string();
    move |source| StudyError::Probe { slot, source }
}

/// Principal directions of every slot, and what the trainers start from (PROTOCOL section 3).
struct Starter<'a> {
    plan: &'a Plan<'a>,
    observer: &'a mut dyn Observer,
    slots: Vec<Slot>,
    weights: Vec<u32>,
    seen: usize,
    moments: Vec<Moments>,
    reservoirs: Vec<Reservoir>,
}

impl Visitor for Starter<'_> {
    fn slot(
        &mut self,
        slot: usize,
        rows: ArrayView3<'_, f32>,
        seen: &Seen,
    ) -> Result<(), StudyError> {
        let weights = &self.weights[self.seen..self.seen + seen.images.len()];
        self.moments[slot]
            .add(rows, weights)
            .and_then(|()| self.reservoirs[slot].add(rows, weights))
            .map_err(slot_error(&self.slots, slot))
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        self.seen += seen.images.len();
        self.observer.advance(seen.images.len() as u64, None);
        if self.observer.stop() {
            Err(self.plan.interrupted())
        } else {
            Ok(())
        }
    }
}

fn start(
    plan: &Plan<'_>,
    (source, opened): (&mut Source, &Opened),
    record: &mut Record,
    order: &TrainOrder,
    adam: AdamSettings,
    observer: &mut dyn Observer,
) -> Result<Training, StudyError> {
    let settings = plan.settings;
    let distinct = order.distinct(settings.pca_batches, settings.pca_interval);
    let (images, weights): (Vec<usize>, Vec<u32>) = distinct.into_iter().unzip();
    let groups: Vec<Vec<usize>> = images.chunks(MICRO_BATCH).map(<[usize]>::to_vec).collect();
    observer.begin(Phase::Start, 0, images.len() as u64);
    let mut starter = Starter {
        plan,
        observer,
        slots: opened.slots.clone(),
        weights,
        seen: 0,
        moments: opened
            .widths
            .iter()
            .map(|&width| Moments::new(width))
            .collect(),
        reservoirs: opened
            .widths
            .iter()
            .map(|&width| Reservoir::new(RESERVOIR, width, settings.seed))
            .collect(),
    };
    let times = source.run(
        &plan.pass(opened, Split::Train, false, &groups),
        &mut starter,
    )?;
    let begun = Instant::now();
    let trainers = starter
        .moments
        .into_par_iter()
        .zip(starter.reservoirs)
        .enumerate()
        .map(|(slot, (moments, reservoir))| {
            initial_centroids(&moments, plan.clusters, &reservoir, settings.seed)
                .and_then(|centroids| Trainer::new(centroids, adam))
                .map_err(slot_error(&opened.slots, slot))
        })
        .collect::<Result<Vec<Trainer>, StudyError>>()?;
    note_times(record, "start", &times);
    record
        .times
        .insert("eigen_secs".to_owned(), begun.elapsed().as_secs_f64());
    observer.end();
    let training = Training::new(trainers);
    training.save(&plan.run, &plan.fingerprint)?;
    Ok(training)
}

/// Online k-means of every slot (PROTOCOL section 4).
struct Teacher<'a> {
    plan: &'a Plan<'a>,
    observer: &'a mut dyn Observer,
    slots: Vec<Slot>,
    training: &'a mut Training,
    saved: Instant,
}

impl Visitor for Teacher<'_> {
    fn slot(&mut self, slot: usize, rows: ArrayView3<'_, f32>, _: &Seen) -> Result<(), StudyError> {
        self.training.trainers[slot]
            .add(rows)
            .map_err(slot_error(&self.slots, slot))
    }

    fn batch(&mut self, seen: &Seen, last: bool) -> Result<(), StudyError> {
        let loss = last.then(|| self.training.finish_step());
        self.observer.advance(seen.images.len() as u64, loss);
        if !last {
            return Ok(());
        }
        let stop = self.observer.stop();
        if stop || self.saved.elapsed() > SAVE_INTERVAL {
            self.training.save(&self.plan.run, &self.plan.fingerprint)?;
            self.saved = Instant::now();
        }
        if stop {
            Err(self.plan.interrupted())
        } else {
            Ok(())
        }
    }
}

fn train(
    plan: &Plan<'_>,
    (source, opened): (&mut Source, &Opened),
    record: &mut Record,
    order: &TrainOrder,
    training: &mut Training,
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let first = training.step;
    if first >= plan.settings.steps {
        return Ok(());
    }
    let groups = order.batches(first, plan.settings.steps);
    let image = |step: usize| (step * plan.settings.batch) as u64;
    observer.begin(Phase::Train, image(first), image(plan.settings.steps));
    let mut teacher = Teacher {
        plan,
        observer,
        slots: opened.slots.clone(),
        training,
        saved: Instant::now(),
    };
    let times = source.run(
        &plan.pass(opened, Split::Train, false, &groups),
        &mut teacher,
    )?;
    note_times(record, "train", &times);
    observer.end();
    training.save(&plan.run, &plan.fingerprint)
}

/// Pixel labels and counts of every slot (PROTOCOL sections 5 to 8).
struct Examiner<'a> {
    plan: &'a Plan<'a>,
    observer: &'a mut dyn Observer,
    slots: Vec<Slot>,
    labelers: Vec<Labeler>,
    evaluation: Evaluation,
    labels: Vec<u8>,
}

impl Visitor for Examiner<'_> {
    fn slot(
        &mut self,
        slot: usize,
        rows: ArrayView3<'_, f32>,
        seen: &Seen,
    ) -> Result<(), StudyError> {
        self.labels
            .resize(seen.images.len() * self.evaluation.pixels(), 0);
        self.labelers[slot]
            .label_batch(rows, &mut self.labels)
            .map_err(slot_error(&self.slots, slot))?;
        self.evaluation.add(slot, &mut self.labels, seen)
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        self.evaluation.add_truth(seen)?;
        self.observer.advance(seen.images.len() as u64, None);
        if self.observer.stop() {
            Err(self.plan.interrupted())
        } else {
            Ok(())
        }
    }
}

fn evaluate(
    plan: &Plan<'_>,
    (source, opened): (&mut Source, &Opened),
    record: &mut Record,
    codebooks: &[ndarray::Array2<f32>],
    observer: &mut dyn Observer,
) -> Result<Evaluation, StudyError> {
    let images: Vec<usize> = (0..plan.test).collect();
    let groups: Vec<Vec<usize>> = images.chunks(MICRO_BATCH).map(<[usize]>::to_vec).collect();
    let patch = opened.geometry.size / opened.grid[0];
    let grid = (opened.grid[0], opened.grid[1]);
    let labelers = codebooks
        .iter()
        .enumerate()
        .map(|(slot, codebook)| {
            Labeler::new(codebook.view(), grid, patch).map_err(slot_error(&opened.slots, slot))
        })
        .collect::<Result<Vec<Labeler>, StudyError>>()?;
    let evaluation = Evaluation::new(
        plan.settings,
        plan.data,
        &plan.run,
        &opened.slots,
        plan.clusters,
        grid,
        patch,
        plan.test,
    )?;
    observer.begin(Phase::Evaluate, 0, plan.test as u64);
    let mut examiner = Examiner {
        plan,
        observer,
        slots: opened.slots.clone(),
        labelers,
        evaluation,
        labels: Vec::new(),
    };
    let times = source.run(
        &plan.pass(opened, Split::Test, plan.data.has_truth(), &groups),
        &mut examiner,
    )?;
    let evaluation = examiner.evaluation;
    note_times(record, "evaluate", &times);
    observer.end();
    Ok(evaluation)
}

/// Which test images are kept as examples: evenly spread over the split.
#[must_use]
pub fn example_indices(settings: &Settings, test: usize) -> Vec<usize> {
    let count = settings.examples.min(test);
    (0..count).map(|index| index * test / count).collect()
}

/// Which test images' label maps are kept.
#[must_use]
pub fn kept_indices(settings: &Settings, test: usize) -> Vec<usize> {
    match settings.save_labels {
        SaveLabels::None => Vec::new(),
        SaveLabels::Examples => example_indices(settings, test),
        SaveLabels::All => (0..test).collect(),
    }
}
