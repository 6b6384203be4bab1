//! The main job: every slot of a model probed on a data set, in one forward pass per batch
//! (docs/protocol.md sections 1 to 8), for one run or for several that are made together (section 12).

pub(crate) mod baselines;
pub mod cache;
pub(crate) mod edits;
pub mod estimate;
pub(crate) mod evaluate;
pub(crate) mod examine;
pub(crate) mod fit;
pub(crate) mod inspect;
pub(crate) mod job;
pub mod merge;
pub mod outcome;
pub(crate) mod patches;
mod picture_files;
pub(crate) mod prepared;
pub(crate) mod probed;
pub(crate) mod readers;
mod request;
pub(crate) mod rows;
pub mod shard;
mod soft;
pub(crate) mod start;
mod tensor_files;
pub(crate) mod train;
pub(crate) mod training;
pub mod variants;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::Array2;
use vitscope_data::Stamps;
use vitscope_run::{Record, RunState, Session, session};

pub use self::job::clusters;
pub use self::request::ProbeRequest;
use crate::baselines::TrainLabels;
use crate::cache::{FacetCache, Worth};
use crate::edits::Edits;
use crate::error::StudyError;
use crate::examine::{Probes, examine};
use crate::fit::fit;
use crate::job::{Job, begin, folder_of, look};
use crate::observer::Observer;
use crate::outcome::ProbeOutcome;
use crate::probe::inspect::inspect;
use crate::probe::prepared::Prepared;
use crate::probe::readers::Readers;
use crate::screen::look_over;
use crate::shard::Shard;
use crate::source::Source;
use crate::start::start;
use crate::train::train;
use crate::training::Training;
use crate::unedited;
use crate::variants::Vary;

/// What a job made.
#[derive(Debug)]
pub enum Made {
    /// A whole run.
    Run(Box<ProbeOutcome>),
    /// The counts of a part of the test images, which [`merge`](crate::merge::merge) takes up.
    Shard {
        /// The run directory.
        run: PathBuf,
        /// Which part.
        shard: Shard,
        /// Images counted.
        images: usize,
    },
}

/// Runs the main job, over all test images.
///
/// # Errors
/// One sentence; what was stored before stays, and `resume` continues from it.
pub fn probe(
    request: &ProbeRequest,
    observer: &mut dyn Observer,
) -> Result<ProbeOutcome, StudyError> {
    match probe_together(request, &Vary::default(), observer)?.pop() {
        Some(Made::Run(outcome)) => Ok(*outcome),
        _ => Err(StudyError::Internal("a job without a whole run".to_owned())),
    }
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
    request: &ProbeRequest,
    vary: &Vary,
    observer: &mut dyn Observer,
) -> Result<Vec<Made>, StudyError> {
    let request = &request.settled(vary)?;
    let (mut source, prepared) = Prepared::open(request, vary, observer)?;
    let (job, records) = Job::new(request, vary, &prepared)?;
    run(
        &job,
        &mut source,
        records,
        request.trained.as_deref(),
        observer,
    )
}

/// Makes the runs of a job: what they learn, the pass over the test images, and the files of each.
pub(crate) fn run(
    job: &Job<'_>,
    source: &mut Source,
    mut records: Vec<Record>,
    trained: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Vec<Made>, StudyError> {
    if look(job, &records)? {
        let sessions = begin(job, &records)?;
        let stored = |session| outcome::stored(session, job.common.select);
        let made = |outcome| Made::Run(Box::new(outcome));
        return sessions.into_iter().map(|s| stored(s).map(made)).collect();
    }
    // Before anything is made: what is missing here leaves no folder behind.
    let trainings = trainings(job, trained)?;
    // Those that learn nothing, or were looked at when they began, lose nothing by what comes late; nor do stored features.
    let takes_long = matches!(source, Source::Backbone(_)) && trainings.iter().any(Option::is_none);
    if takes_long && job.common.skip_bad == 0 {
        let used = job.common.limit_test.unwrap_or(usize::MAX);
        look_over(job.data, job.opened.geometry, used, observer)?;
    }
    let sessions = begin(job, &records)?;
    let stamps = note_data(job, &sessions, &mut records, observer)?;
    for (run, training) in job.runs.iter().zip(&trainings) {
        if let (Some(_), Some(training)) = (trained, training) {
            training::save(training, &run.root, &run.fingerprint)?;
        }
    }
    let passed = learn(job, source, trainings, &mut records, observer).and_then(|learned| {
        let (edits, codebooks) = (&learned.edits, &learned.codebooks);
        inspect(job, source, edits, codebooks, &mut records, observer)?;
        let probes = Probes {
            trainings: &learned.trainings,
            codebooks,
            readers: learned.readers.as_ref(),
        };
        let counts = examine(job, source, edits, &probes, &mut records, observer)?;
        Ok((learned, counts))
    });
    if matches!(passed, Err(StudyError::Interrupted { .. })) {
        for (session, record) in sessions.iter().zip(&mut records) {
            session.interrupt(record)?;
        }
    }
    let (learned, counts) = passed?;
    let (opened, images) = (job.opened, [records[0].data.train, records[0].data.test]);
    let unedited = unedited_since(&stamps, job, images);
    let labels = TrainLabels::new(job.data, opened.geometry, opened.grid, images[0]);
    let mut made = Vec::new();
    for (index, (evaluation, session)) in counts.evaluations.into_iter().zip(sessions).enumerate() {
        let (run, record) = (&job.runs[index], &mut records[index]);
        if let Some(shard) = job.common.shard {
            unedited(&run.root)?;
            session.set(record, RunState::Shard)?;
            made.push(Made::Shard {
                run: run.root.clone(),
                shard,
                images: job.counted_images().len(),
            });
            continue;
        }
        let writing = Instant::now();
        let outcome = outcome::write(outcome::CountedRun {
            session,
            settings: &run.settings,
            data: job.data,
            labels: &labels,
            record,
            slots: &opened.slots,
            geometry: opened.geometry,
            codebooks: &learned.codebooks[index],
            training: &learned.trainings[index],
            evaluation,
            localities: counts.localities.as_ref(),
        })?;
        outcome.note(record);
        let secs = writing.elapsed().as_secs_f64();
        record.times.insert("write_secs".to_owned(), secs);
        unedited(&run.root)?;
        outcome.session.set(record, RunState::Complete)?;
        made.push(Made::Run(Box::new(outcome)));
    }
    Ok(made)
}

/// Notes what the data of the runs are before they are read, and tells what is worth knowing of them.
fn note_data(
    job: &Job<'_>,
    sessions: &[Session],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Stamps, StudyError> {
    let data = &records[0].data;
    let stamps = job.data.stamps(data.train, data.test)?;
    for run in &job.runs {
        unedited::check(&run.root, &stamps)?;
    }
    let contents = stamps.contents();
    for (record, session) in records.iter_mut().zip(sessions) {
        record.data.contents.clone_from(&contents);
        record.times = session.earlier_times();
    }
    for note in &records[0].notes {
        observer.note(note);
    }
    Ok(stamps)
}

/// Looks whether the data of a run are still what they were `before`.
fn unedited_since<'a>(
    before: &'a Stamps,
    job: &'a Job<'_>,
    [train, test]: [usize; 2],
) -> impl Fn(&Path) -> Result<(), StudyError> + 'a {
    // Looked at once: behind the first run nothing more is read of the data but examples.
    let now = OnceCell::new();
    move |run| {
        let now = match now.get() {
            Some(now) => now,
            None => {
                let looked = job.data.stamps(train, test)?;
                now.get_or_init(|| looked)
            }
        };
        unedited::check_again(run, before, now)
    }
}

/// What was learned before: by an earlier, unfinished run, or by the one that `--trained` names.
pub(crate) fn trainings(
    job: &Job<'_>,
    trained: Option<&Path>,
) -> Result<Vec<Option<Training>>, StudyError> {
    let mut trainings = Vec::new();
    for (run, name) in job.runs.iter().zip(&job.names) {
        let adam = run.settings.adam();
        let own = match job.resume {
            true => training::load(&run.root, &run.fingerprint, adam)?,
            false => None,
        };
        trainings.push(match (trained, own) {
            (Some(folder), None) => {
                let other = folder_of(folder, name);
                Some(training::load_from(&other, &run.fingerprint, adam)?)
            }
            (_, own) => own,
        });
    }
    Ok(trainings)
}

/// What the passes before the last one come to, one of each for every run.
struct Learned<'a> {
    /// What is done to readings.
    edits: Edits<'a>,
    trainings: Vec<Training>,
    /// `[K, D]` per slot.
    codebooks: Vec<Vec<Array2<f32>>>,
    readers: Option<Readers>,
}

/// Fits transforms, finds principal directions, clusters by online k-means, and fits readers.
fn learn<'a>(
    job: &'a Job<'a>,
    source: &mut Source,
    mut stored: Vec<Option<Training>>,
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Learned<'a>, StudyError> {
    if let Some(step) = stored.iter().flatten().map(Training::step).min() {
        observer.note(&format!("continuing at step {step}"));
    }
    let cache = cache(job, source, &stored, records, observer)?;
    let mut cached = cache.map(|cache| Source::Cached(Box::new(cache)));
    let edits = fit(job, source, cached.as_mut(), records, observer)?;
    let source = cached.as_mut().unwrap_or(source);
    start(job, source, &edits, &mut stored, records, observer)?;
    let mut trainings: Vec<Training> = stored.into_iter().flatten().collect();
    train(job, source, &edits, &mut trainings, records, observer)?;
    let readers = Readers::fit(job, source, &edits, records, observer)?;
    drop(cached);
    cache::remove_kept(&job.runs[0].root)?;
    let codebooks: Vec<Vec<Array2<f32>>> = trainings
        .iter()
        .map(|training| training.codebooks().map_err(|error| job.failed(error)))
        .collect::<Result<_, _>>()?;
    for ((run, record), codebooks) in job.runs.iter().zip(&*records).zip(&codebooks) {
        tensor_files::write_codebooks(&run.root, &job.opened.slots, codebooks, None)?;
        record.write(&run.root)?;
    }
    Ok(Learned {
        edits,
        trainings,
        codebooks,
        readers,
    })
}

/// The cache of facets that start and training read, where it saves time and fits.
fn cache(
    job: &Job<'_>,
    source: &mut Source,
    stored: &[Option<Training>],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Option<FacetCache>, StudyError> {
    let worth = Worth::of(job, stored);
    let wanted = || worth.is_wanted(job, source, &job.runs[0].root);
    if !job.caches.unwrap_or_else(wanted) {
        return Ok(None);
    }
    let cache = FacetCache::open_or_make(job, source, &worth, records, observer)?;
    for record in records {
        record.notes.push(format!(
            "Facets of {} training images were kept on disk while it learned ({:.1} GB), in place of {} forward passes.",
            worth.images.len(),
            worth.bytes as f64 / 1e9,
            worth.without()
        ));
    }
    Ok(Some(cache))
}

/// Removes the unfinished work of a run whose figures are drawn. Until then a run that is killed
/// goes on from its trained centroids.
///
/// # Errors
/// When the folder cannot be removed.
pub fn tidy(run: &Path) -> Result<(), StudyError> {
    Ok(session::tidy(run)?)
}
