//! What a job will take, before it begins: a rehearsal of it on a few of its images, scaled up.
//!
//! The rehearsal is the job itself, with a few steps and a few images, in a folder of its own. So its
//! times are those of this model, these images and this machine, and as memory does not depend on the
//! number of images, the most that the rehearsal took is what the job will take.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tempfile::TempDir;

use crate::cache::Worth;
use crate::error::StudyError;
use crate::job::{Job, JobRun};
use crate::observer::{self, Observer, Phase};
use crate::probe::inspect;
use crate::probe::prepared::Prepared;
use crate::probe::{Made, ProbeRequest, run, trainings};
use crate::settings::Settings;
use crate::source::{MICRO_BATCH, Source};
use crate::variants::Vary;

/// Training steps of a rehearsal: with the cache they cost no forward passes.
const CACHED_STEPS: usize = 3;

/// Test images of a rehearsal.
const TEST: usize = 2 * MICRO_BATCH;

/// Images of a training step of a rehearsal, at most, unless the batch itself is what varies.
const BATCH: usize = 2 * MICRO_BATCH;

/// The phases that images go through, in order.
const PHASES: [Phase; 7] = [
    observer::CACHE,
    observer::FIT,
    Phase::START,
    Phase::TRAIN,
    observer::READ,
    observer::INSPECT,
    Phase::EVALUATE,
];

/// A part of the job.
#[derive(Clone, Debug, Serialize)]
pub struct EstimatedPart {
    /// Its name.
    pub phase: &'static str,
    /// Images that go through it.
    pub images: u64,
    /// Seconds for each.
    pub secs_per_image: f64,
    /// Seconds in all, with what does not depend on the number of images.
    pub secs: f64,
}

/// The cache of facets that a job has, or could have, while it learns.
#[derive(Clone, Debug, Serialize)]
pub struct Cache {
    /// Whether it is used.
    pub used: bool,
    /// Bytes of disk.
    pub bytes: u64,
    /// Images that go through the backbone with it.
    pub with: u64,
    /// Images that go through the backbone without it.
    pub without: u64,
    /// Seconds that the job takes without it, where it is used.
    pub secs_without: Option<f64>,
}

/// What a job will take.
#[derive(Debug, Serialize)]
pub struct Estimate {
    /// Its parts, in order.
    pub parts: Vec<EstimatedPart>,
    /// Seconds in all.
    pub secs: f64,
    /// The cache of facets; `None` for features, which are on disk already.
    pub cache: Option<Cache>,
    /// The largest memory of the process in bytes; `None` where the system does not tell.
    pub memory: Option<u64>,
    /// Bytes of all run directories.
    pub disk: u64,
    /// Where the rehearsal's runs lie, as long as this lives.
    #[serde(skip)]
    pub runs: Vec<PathBuf>,
    /// Seconds of the rehearsal.
    pub rehearsal_secs: f64,
    #[serde(skip)]
    folder: TempDir,
    /// Bytes that the job takes beyond the rehearsal.
    #[serde(skip)]
    growth: u64,
}

impl Estimate {
    /// Adds the time and the space that the figures of all runs take.
    pub fn add_figures(&mut self, secs: f64) {
        self.parts.push(EstimatedPart {
            phase: "figures",
            images: 0,
            secs_per_image: 0.0,
            secs,
        });
        self.secs += secs;
        if let Some(cache) = &mut self.cache {
            cache.secs_without = cache.secs_without.map(|without| without + secs);
        }
        self.disk = size_of_folder(self.folder.path());
        self.memory = most_memory().map(|bytes| bytes + self.growth);
    }
}

/// Notes when each phase's images went by.
struct Clock<'a> {
    observer: &'a mut dyn Observer,
    phases: Vec<Timed>,
}

/// A phase of the rehearsal.
struct Timed {
    phase: Phase,
    begun: Instant,
    /// Images, and when they were done.
    marks: Vec<(u64, Duration)>,
    ended: Duration,
}

impl Timed {
    /// Seconds for an image. The first batch, in which memory is touched for the first time, counts only
    /// where there is no other.
    fn per_image(&self) -> f64 {
        let all: u64 = self.marks.iter().map(|mark| mark.0).sum();
        match self.marks[..] {
            [] => 0.0,
            [(images, at)] => at.as_secs_f64() / images.max(1) as f64,
            [(first, from), .., (_, to)] => (to - from).as_secs_f64() / (all - first).max(1) as f64,
        }
    }

    /// Seconds after the last image.
    fn tail(&self) -> f64 {
        let last = self.marks.last().map_or(Duration::ZERO, |mark| mark.1);
        self.ended.saturating_sub(last).as_secs_f64()
    }
}

impl Observer for Clock<'_> {
    fn begin(&mut self, phase: Phase, _: u64, _: u64) {
        self.phases.push(Timed {
            phase,
            begun: Instant::now(),
            marks: Vec::new(),
            ended: Duration::ZERO,
        });
    }

    fn advance(&mut self, images: u64, _: Option<f64>) {
        if let Some(timed) = self.phases.last_mut() {
            timed.marks.push((images, timed.begun.elapsed()));
        }
    }

    fn end(&mut self) {
        if let Some(timed) = self.phases.last_mut() {
            timed.ended = timed.begun.elapsed();
        }
    }

    fn stop(&self) -> bool {
        self.observer.stop()
    }
}

/// Says what a job will take, by a rehearsal of it.
///
/// # Errors
/// As the job itself: what would stop it is told now.
pub fn estimate(
    request: &ProbeRequest,
    vary: &Vary,
    observer: &mut dyn Observer,
) -> Result<Estimate, StudyError> {
    let begun = Instant::now();
    let request = &request.settled(vary)?;
    let (mut source, prepared) = Prepared::open(request, vary, observer)?;
    let opening = begun.elapsed().as_secs_f64();
    let (job, _) = Job::new(request, vary, &prepared)?;
    let stored = trainings(&job, request.trained.as_deref())?;
    let worth = Worth::of(&job, &stored);
    let parent = existing_parent(&job.out);
    let caches = worth.is_wanted(&job, &source, &parent);
    let folder = tempfile::Builder::new()
        .prefix(".vitscope-plan-")
        .tempdir_in(&parent)
        .map_err(StudyError::io(&parent, "create a folder in"))?;
    let small = reduced(request, vary, &job, folder.path(), caches);
    let (mut rehearsal, records) = Job::new(&small, vary, &prepared)?;
    rehearsal.caches = Some(caches);
    let mut clock = Clock {
        observer,
        phases: Vec::new(),
    };
    let from = Instant::now();
    let made =
        run(&rehearsal, &mut source, records, None, &mut clock).map_err(|error| match error {
            StudyError::Interrupted { .. } => StudyError::StoppedEarly,
            error => error,
        })?;
    let whole = from.elapsed();
    let runs: Vec<PathBuf> = made
        .into_iter()
        .filter_map(|made| match made {
            Made::Run(outcome) => Some(outcome.run),
            Made::Shard { .. } => None,
        })
        .collect();
    let images = |phase| match phase {
        observer::CACHE => worth.images.len() as u64,
        observer::FIT => job.fitting_images(),
        Phase::START => worth.starting,
        Phase::TRAIN => worth.learning,
        observer::READ => reading_images(&job),
        observer::INSPECT => match job.common.artifacts {
            true => inspect::images(job.test).len() as u64,
            false => 0,
        },
        Phase::EVALUATE => job.counted_images().len() as u64,
        _ => 0,
    };
    let phases = &clock.phases;
    let mut parts = vec![EstimatedPart {
        phase: "open",
        images: 0,
        secs_per_image: 0.0,
        secs: opening,
    }];
    parts.extend(in_phases(phases, images));
    let timed: Duration = phases.iter().map(|timed| timed.ended).sum();
    parts.push(EstimatedPart {
        phase: "write",
        images: 0,
        secs_per_image: 0.0,
        secs: whole.saturating_sub(timed).as_secs_f64(),
    });
    let secs = parts.iter().map(|part| part.secs).sum();
    Ok(Estimate {
        secs,
        cache: matches!(source, Source::Backbone(_)).then(|| Cache {
            used: caches,
            bytes: worth.bytes,
            with: worth.images.len() as u64,
            without: worth.without(),
            secs_without: caches.then(|| without_cache(&parts, &runs, secs)),
        }),
        memory: most_memory().map(|bytes| bytes + growth(&job)),
        growth: growth(&job),
        disk: size_of_folder(folder.path()),
        parts,
        runs,
        rehearsal_secs: begun.elapsed().as_secs_f64(),
        folder,
    })
}

/// What the phases of the rehearsal say of the job's own, of which `images` gives how many they see.
fn in_phases(phases: &[Timed], images: impl Fn(Phase) -> u64) -> Vec<EstimatedPart> {
    let mut parts = Vec::new();
    for phase in PHASES {
        let of_phase: Vec<&Timed> = phases.iter().filter(|t| t.phase == phase).collect();
        if let (Some(timed), count @ 1..) = (of_phase.first(), images(phase)) {
            let each = timed.per_image();
            // What the cache still has to write when its last image is done grows with it.
            let tail = match phase {
                observer::CACHE => {
                    let seen: u64 = timed.marks.iter().map(|mark| mark.0).sum();
                    timed.tail() * count as f64 / seen.max(1) as f64
                }
                _ => timed.tail(),
            };
            parts.push(EstimatedPart {
                phase: phase.name(),
                images: count,
                secs_per_image: each,
                secs: each * count as f64 + tail,
            });
        }
    }
    parts
}

/// The request of the rehearsal.
fn reduced(
    request: &ProbeRequest,
    vary: &Vary,
    job: &Job<'_>,
    folder: &Path,
    caches: bool,
) -> ProbeRequest {
    let common = job.common;
    let batch = common.batch.min(BATCH);
    let batches = vary.of("batch").iter().filter_map(|text| text.parse().ok());
    let largest = batches.max().unwrap_or(batch);
    let test = job.counted_images().len().min(TEST);
    // As many batches as transforms need to be fitted on, and as fill the memory of readers.
    let started = common.pca_batches.saturating_mul(common.batch);
    let needed = job.fewest_images().max(remembered_images(job).min(started));
    let pca_batches = needed.div_ceil(batch).max(1);
    let largest = largest.max(pca_batches * batch);
    let settings = Settings {
        batch,
        steps: common.steps.min(if caches { CACHED_STEPS } else { 1 }),
        pca_batches,
        limit_train: Some(common.limit_train.unwrap_or(usize::MAX).min(largest)),
        limit_test: Some(common.limit_test.unwrap_or(usize::MAX).min(test)),
        shard: None,
        ..common.clone()
    };
    ProbeRequest {
        out: Some(folder.join("run")),
        settings,
        resume: false,
        trained: None,
        ..request.clone()
    }
}

/// Training images that readers are fitted on.
fn reading_images(job: &Job<'_>) -> u64 {
    if !job.common.readers {
        return 0;
    }
    let images = job.runs.iter().flat_map(JobRun::reading_images);
    images.collect::<BTreeSet<usize>>().len() as u64
}

/// Images that it takes to fill the memory of a reader.
fn remembered_images(job: &Job<'_>) -> usize {
    match job.common.readers {
        true => job
            .common
            .reader_patches
            .div_ceil(job.opened.patches().max(1)),
        false => 0,
    }
}

/// Seconds if every image that start and training see went through the backbone each time.
fn without_cache(parts: &[EstimatedPart], runs: &[PathBuf], with: f64) -> f64 {
    let of = |name: &str| parts.iter().find(|part| part.phase == name);
    let forward = runs
        .first()
        .and_then(|run| forward_secs(run))
        .unwrap_or(0.0);
    let cache = of("cache").map_or(0.0, |part| part.secs);
    let seen = ["start", "train"].iter().filter_map(|name| of(name));
    with - cache + seen.map(|part| part.images as f64 * forward).sum::<f64>()
}

/// Seconds of a forward pass for an image, as the rehearsal's record has it.
fn forward_secs(run: &Path) -> Option<f64> {
    let text = std::fs::read(run.join("run.json")).ok()?;
    let record: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let times = &record["times"];
    Some(times["cache_forward_secs"].as_f64()? / times["cache_images"].as_f64()?.max(1.0))
}

/// Bytes that a job takes beyond its rehearsal: what grows with the number of test images.
fn growth(job: &Job<'_>) -> u64 {
    let images = job.test as u64;
    let of_run = |run: &JobRun| {
        let draws = images * run.settings.resamples as u64 * size_of::<u16>() as u64;
        let pixels = job.opened.geometry.size.pow(2) * run.clusters * run.setup.readings().len();
        // Counters of 16 bits are joined by such of 32 when they are full.
        let wide = match job.counted_images().len() > usize::from(u16::MAX) {
            true => (pixels * size_of::<u32>()) as u64,
            false => 0,
        };
        draws + wide
    };
    job.runs.iter().map(of_run).sum()
}

/// The most memory that this process ever had resident, in bytes, where the system tells.
fn most_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The nearest folder above a path that is there.
fn existing_parent(path: &Path) -> PathBuf {
    let mut above = path.ancestors().skip(1);
    let found = above.find(|folder| folder.is_dir());
    found.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn size_of_folder(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of_folder(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_batch_counts_only_where_it_is_alone() {
        let timed = |marks: &[(u64, u64)], ended| Timed {
            phase: Phase::START,
            begun: Instant::now(),
            marks: marks
                .iter()
                .map(|&(images, secs)| (images, Duration::from_secs(secs)))
                .collect(),
            ended: Duration::from_secs(ended),
        };
        let one = timed(&[(8, 16)], 20);
        assert_eq!((one.per_image(), one.tail()), (2.0, 4.0));
        let more = timed(&[(8, 16), (8, 24), (4, 28)], 28);
        assert_eq!((more.per_image(), more.tail()), (1.0, 0.0));
        assert_eq!(timed(&[], 0).per_image(), 0.0);
    }

    #[test]
    fn a_parent_is_found_for_every_path() {
        assert!(existing_parent(Path::new("runs/none/x")).is_dir());
        assert!(existing_parent(Path::new("x")).is_dir());
        assert_eq!(existing_parent(Path::new("/none/x")), Path::new("/"));
    }
}
