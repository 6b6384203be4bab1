//! The main job: every slot of a model probed on a data set, in one forward pass per batch
//! (PROTOCOL sections 1 to 8), for one run or for several that are made together (section 12).

use std::path::{Path, PathBuf};
use std::time::Instant;

use vitscope_data::{DataSet, Split};
use vitscope_probe::{AdamSettings, MAX_CLUSTERS, ProbeError};

use crate::cache::{FacetCache, Worth};
use crate::device::Learner;
use crate::error::StudyError;
use crate::examine::{Examined, examine};
use crate::files;
use crate::model::{Model, Opened, check_counts};
use crate::observer::Observer;
use crate::order::TrainOrder;
use crate::outcome::{self, Outcome};
use crate::record::{DataRecord, Fixed, Record, State};
use crate::screen::{Skipped, screen};
use crate::select::Select;
use crate::settings::{SaveLabels, Settings};
use crate::source::{Pass, PassTimes, Reading, Source};
use crate::start::start;
use crate::state;
use crate::train::train;
use crate::training::Training;
use crate::variants::Vary;
use vitscope_vit::config::Device;
use vitscope_vit::facet::Facet;

/// Clusters where the data set has no classes: the paper's number for COCO-Stuff and Cityscapes.
const CLUSTERS_WITHOUT_CLASSES: usize = 27;

/// What to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model.
    pub model: Model,
    /// The data set, as the user names it.
    pub data: String,
    /// The run directory, or the folder of several; `runs/MODEL-DATA` unless set.
    pub out: Option<PathBuf>,
    /// The settings.
    pub settings: Settings,
    /// Whether to continue what is there.
    pub resume: bool,
}

/// One run of a job.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) run: PathBuf,
    pub(crate) clusters: usize,
    pub(crate) fingerprint: String,
    pub(crate) order: TrainOrder,
    /// The reading of each of its slots.
    pub(crate) readings: Vec<usize>,
}

impl Plan {
    /// Which of the run's slots a reading is.
    pub(crate) fn slot(&self, reading: usize) -> Option<usize> {
        self.readings.iter().position(|&own| own == reading)
    }
}

/// Everything that is fixed once model and data are open.
pub(crate) struct Job<'a> {
    /// The settings that all runs have in common.
    pub(crate) common: &'a Settings,
    pub(crate) data: &'a DataSet,
    pub(crate) opened: &'a Opened,
    /// The layers looked at.
    pub(crate) layers: Vec<usize>,
    /// What the runs need of a forward pass, and the width of each.
    pub(crate) readings: Vec<Reading>,
    pub(crate) widths: Vec<usize>,
    pub(crate) test: usize,
    pub(crate) plans: Vec<Plan>,
    out: PathBuf,
    threads: usize,
}

impl Job<'_> {
    pub(crate) fn pass<'b>(
        &'b self,
        split: Split,
        labels: bool,
        groups: &'b [Vec<usize>],
    ) -> Pass<'b> {
        Pass {
            readings: &self.readings,
            rope: self.common.rope,
            data: self.data,
            geometry: self.opened.geometry,
            split,
            labels,
            groups,
            threads: self.threads,
        }
    }

    /// Ends the job where the user asked for it.
    pub(crate) fn stop(&self, observer: &dyn Observer) -> Result<(), StudyError> {
        if observer.stop() {
            let run = self.out.clone();
            return Err(StudyError::Interrupted { run });
        }
        Ok(())
    }

    pub(crate) fn slot_error(&self, reading: usize) -> impl Fn(ProbeError) -> StudyError + Sync {
        let slot = self.readings[reading].slot.to_string();
        move |source| StudyError::Probe {
            slot: slot.clone(),
            source,
        }
    }
}

/// Runs the main job.
///
/// # Errors
/// One sentence; what was stored before stays, and `resume` continues from it.
pub fn probe(request: &Request, observer: &mut dyn Observer) -> Result<Outcome, StudyError> {
    let mut outcomes = probe_together(request, &Vary::default(), observer)?;
    let nothing = || StudyError::Internal("a job without runs".to_owned());
    outcomes.pop().ok_or_else(nothing)
}

/// Runs the main job in several variants of its settings, each in a folder of its own inside the
/// common one (where there is only one, in that one itself). Each ends in the bytes of the same run
/// made alone.
///
/// The first pass runs an image that several variants begin with once, the third serves all of them,
/// and in the second, variants of one seed share every image.
///
/// # Errors
/// One sentence; what was stored before stays, and `resume` continues from it.
pub fn probe_together(
    request: &Request,
    vary: &Vary,
    observer: &mut dyn Observer,
) -> Result<Vec<Outcome>, StudyError> {
    let common = &request.settings;
    let variants = vary.variants(common)?;
    for variant in &variants {
        variant.settings.check()?;
    }
    let data = DataSet::open(&request.data)?;
    let (mut source, opened) = request
        .model
        .open(common.size, &common.layers, &common.facets)?;
    check_counts(&source, &data)?;
    let layers = common.layers.resolve(opened.record.depth);
    let layers = layers.map_err(StudyError::Setting)?;
    check_source(&source, common, vary)?;
    check_selection(common.select, &opened)?;
    let (data, skipped) = leave_out_bad(data, common, &source, &opened, observer)?;
    let limited = |split: Split, limit: Option<usize>| {
        data.split(split).len().min(limit.unwrap_or(usize::MAX))
    };
    let counts = [
        limited(Split::Train, common.limit_train),
        limited(Split::Test, common.limit_test),
    ];
    let out = request.out.clone().unwrap_or_else(|| {
        let name = format!("{}-{}", opened.record.name, data.kind.name());
        Path::new("runs").join(name.replace(['/', '\\'], "_"))
    });
    let mut job = Job {
        common,
        data: &data,
        opened: &opened,
        layers,
        readings: Vec::new(),
        widths: Vec::new(),
        test: counts[1],
        plans: Vec::new(),
        threads: rayon::current_num_threads(),
        out,
    };
    let mut records = Vec::new();
    for variant in &variants {
        let mut record = record(&variant.settings, &job, counts)?;
        record.skipped.clone_from(&skipped);
        job.add(&variant.name, &variant.settings, counts[0], &record)?;
        if variants.len() > 1 {
            record.notes.push(format!(
                "Made together with {} other runs in {}: times are those of all of them.",
                variants.len() - 1,
                job.out.display()
            ));
        }
        records.push(record);
    }
    begin(&job, request.resume)?;
    for note in &records[0].notes {
        observer.note(note);
    }
    let mut trainings = Vec::new();
    for plan in &job.plans {
        let adam = AdamSettings {
            rate: plan.settings.lr,
            ..AdamSettings::default()
        };
        trainings.push(match request.resume {
            true => Training::load(&plan.run, &plan.fingerprint, adam)?,
            false => None,
        });
    }
    for (plan, record) in job.plans.iter().zip(&records) {
        record.write(&plan.run)?;
    }
    let result = work(&job, &mut source, trainings, &mut records, observer);
    if matches!(result, Err(StudyError::Interrupted { .. })) {
        for (plan, record) in job.plans.iter().zip(&mut records) {
            record.state = State::Interrupted;
            record.write(&plan.run)?;
        }
    }
    result
}

impl Job<'_> {
    /// Takes up a run.
    fn add(
        &mut self,
        name: &str,
        settings: &Settings,
        train: usize,
        record: &Record,
    ) -> Result<(), StudyError> {
        if train < settings.batch {
            return Err(StudyError::setting(format!(
                "the training split has {train} images, fewer than one batch of {}: choose --batch {train} or less",
                settings.batch
            )));
        }
        let mut own = Vec::new();
        let depth = self.opened.record.depth;
        for (mut reading, &width) in Reading::all(&self.opened.slots, settings.token_norm)
            .into_iter()
            .zip(&self.opened.widths)
        {
            let slot = reading.slot;
            if !(slot.facet == Facet::Token && slot.layer == depth) {
                // Only the last token can be read in two ways.
                reading.token_norm = self.common.token_norm;
            }
            let known = self.readings.iter().position(|other| *other == reading);
            own.push(known.unwrap_or(self.readings.len()));
            if known.is_none() {
                self.readings.push(reading);
                self.widths.push(width);
            }
        }
        self.plans.push(Plan {
            run: match name {
                "" => self.out.clone(),
                name => self.out.join(name),
            },
            clusters: record.clusters,
            fingerprint: record.fingerprint(),
            order: TrainOrder::new(
                train,
                settings.batch,
                settings.shuffle.then_some(settings.seed),
            ),
            readings: own,
            settings: settings.clone(),
        });
        Ok(())
    }
}

fn work(
    job: &Job<'_>,
    source: &mut Source,
    stored: Vec<Option<Training>>,
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Vec<Outcome>, StudyError> {
    if let Some(step) = stored.iter().flatten().map(|training| training.step).min() {
        observer.note(&format!("continuing at step {step}"));
    }
    let trainings = match cache(job, source, &stored, records, observer)? {
        Some(cache) => {
            let mut cached = Source::Cached(Box::new(cache));
            learn(job, &mut cached, stored, records, observer)?
        }
        None => learn(job, source, stored, records, observer)?,
    };
    let codebooks: Vec<Vec<_>> = trainings
        .iter()
        .map(|training| training.trainers.iter().map(Learner::codebook).collect())
        .collect::<Result<_, _>>()?;
    for ((plan, record), codebooks) in job.plans.iter().zip(&*records).zip(&codebooks) {
        outcome::write_codebooks(&plan.run, &job.opened.slots, codebooks, None)?;
        record.write(&plan.run)?;
    }
    let Examined {
        evaluations,
        localities,
    } = examine(job, source, &codebooks, records, observer)?;
    let mut outcomes = Vec::new();
    for (index, evaluation) in evaluations.into_iter().enumerate() {
        let (plan, record) = (&job.plans[index], &mut records[index]);
        let writing = Instant::now();
        let slots = 0..job.opened.slots.len();
        let outcome = outcome::write(outcome::Input {
            run: &plan.run,
            settings: &plan.settings,
            data: job.data,
            record,
            opened: job.opened,
            codebooks: &codebooks[index],
            losses: slots
                .map(|slot| trainings[index].recent_loss(slot))
                .collect(),
            evaluation,
            localities: localities.as_ref(),
        })?;
        record.selection = outcome.selection.clone();
        record.examples.clone_from(&outcome.examples);
        let secs = writing.elapsed().as_secs_f64();
        record.times.insert("write_secs".to_owned(), secs);
        record.state = State::Complete;
        record.write(&plan.run)?;
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// The cache of facets that start and training read, where it saves time and fits.
fn cache(
    job: &Job<'_>,
    source: &mut Source,
    stored: &[Option<Training>],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Option<FacetCache>, StudyError> {
    if !matches!(source, Source::Backbone(_)) || job.common.cache_budget == Some(0) {
        return Ok(None);
    }
    if job.opened.record.device == Some(Device::Cuda) && job.common.cache_budget.is_none() {
        // A card is done with an image long before a disk is.
        return Ok(None);
    }
    let worth = Worth::of(job, stored);
    if !worth.fits(job.common.cache_budget, &job.plans[0].run) {
        return Ok(None);
    }
    let cache = FacetCache::open_or_make(job, source, &worth, records, observer)?;
    for record in records {
        record.notes.push(format!(
            "Facets of {} training images were kept on disk while it learned ({:.1} GB), in place of {} forward passes.",
            worth.images.len(),
            worth.bytes as f64 / 1e9,
            worth.without
        ));
    }
    Ok(Some(cache))
}

/// Principal directions, then online k-means.
fn learn(
    job: &Job<'_>,
    source: &mut Source,
    mut stored: Vec<Option<Training>>,
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Vec<Training>, StudyError> {
    start(job, source, &mut stored, records, observer)?;
    let mut trainings: Vec<Training> = stored.into_iter().flatten().collect();
    train(job, source, &mut trainings, records, observer)?;
    Ok(trainings)
}

/// Refuses what a feature directory cannot give.
fn check_source(source: &Source, settings: &Settings, vary: &Vary) -> Result<(), StudyError> {
    if matches!(source, Source::Backbone(_)) {
        return Ok(());
    }
    let refused = |sentence| Err(StudyError::setting(sentence));
    if settings.attention {
        return refused(
            "--attention needs a model: a feature directory holds no attention weights",
        );
    }
    if vary.token_norm.len() > 1 {
        return refused(
            "--token-norm both needs a model: a feature directory holds one reading of the last token",
        );
    }
    Ok(())
}

fn check_selection(select: Select, opened: &Opened) -> Result<(), StudyError> {
    match select {
        Select::Layer(layer) if opened.slots.iter().all(|slot| slot.layer != layer) => {
            Err(StudyError::setting(format!(
                "--select layer:{layer}: this run looks at no layer {layer}; the model has {}",
                opened.record.depth
            )))
        }
        _ => Ok(()),
    }
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

fn record(settings: &Settings, job: &Job<'_>, counts: [usize; 2]) -> Result<Record, StudyError> {
    let opened = job.opened;
    let notes = opened.notes.iter().chain(job.data.notes()).cloned();
    let fixed = Fixed {
        settings: serde_json::to_value(settings).unwrap_or_default(),
        model: opened.record.clone(),
        data: DataRecord::new(job.data, counts[0], counts[1]),
        clusters: clusters(settings, job.data)?,
        grid: opened.grid,
        size: opened.geometry.size,
        seed: settings.seed,
    };
    Ok(Record::new("probe", fixed, notes.collect()))
}

/// Makes the run directories, or refuses to touch those that hold a run.
fn begin(job: &Job<'_>, resume: bool) -> Result<(), StudyError> {
    let several = job.plans.len() > 1;
    if several && job.out.join("run.json").exists() {
        return Err(StudyError::setting(format!(
            "{}: is a run itself, and several runs cannot lie in it: choose another --out",
            job.out.display()
        )));
    }
    let mut runs = job.plans.iter().map(|plan| &plan.run);
    runs.clone()
        .try_for_each(|run| files::refuse_held(run, resume))?;
    runs.try_for_each(|run| files::begin(run, resume))
}

/// Removes the unfinished work of a run whose figures are drawn. Until then a run that is killed
/// goes on from its trained centroids.
///
/// # Errors
/// When the folder cannot be removed.
pub fn tidy(run: &Path) -> Result<(), StudyError> {
    state::remove(run)
}

/// Adds the times of a pass to a record.
pub(crate) fn note_times(record: &mut Record, name: &str, times: &PassTimes) {
    let mut put = |what: &str, value: f64| {
        *record.times.entry(format!("{name}_{what}")).or_insert(0.0) += value;
    };
    put("images", times.images as f64);
    put("secs", times.total.as_secs_f64());
    put("forward_secs", times.forward().as_secs_f64());
    put("probe_secs", times.visit.as_secs_f64());
    put("stall_secs", times.stall.as_secs_f64());
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
