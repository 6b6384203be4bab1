//! What a probing job is: a model and a data set that are open, and the runs that are made of them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vitscope_data::{DataSet, Geometry, Split};
use vitscope_probe::{MAX_CLUSTERS, ProbeError};
use vitscope_protocol::{Protocol, ProtocolError, Setup};
use vitscope_run::session::default_place;
use vitscope_run::{
    Facet, Fixed, Record, RunKind, Session, Slot, apart, limits, names, session, whole,
};

use crate::attention;
use crate::error::StudyError;
use crate::model::Opened;
use crate::observer::Observer;
use crate::probe::prepared::Prepared;
use crate::probe::probed::{Probed, reading_edit};
use crate::probe::request::ProbeRequest;
use crate::record;
use crate::settings::{SaveCounts, SaveLabels, Settings, TransformFit};
use crate::shard::Shard;
use crate::source::{Pass, Reading, Turn};
use crate::variants::Vary;

/// Clusters where the data set has no classes: the paper's number for COCO-Stuff and Cityscapes.
const CLUSTERS_WITHOUT_CLASSES: usize = 27;

/// One run of a job: its settings, its place and what the library makes of it.
pub(crate) struct JobRun {
    pub(crate) settings: Settings,
    /// Its directory.
    pub(crate) root: PathBuf,
    pub(crate) clusters: usize,
    pub(crate) fingerprint: String,
    /// The protocol over its training images, and the probed reading of each of its slots.
    pub(crate) setup: Setup,
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
    /// Readings as probes see them, and the width of each.
    pub(crate) probed: Vec<Probed>,
    pub(crate) probed_widths: Vec<usize>,
    /// Lists of training images that transforms are fitted on.
    pub(crate) samples: Vec<Vec<usize>>,
    pub(crate) test: usize,
    pub(crate) runs: Vec<JobRun>,
    /// Their folders inside the common one.
    pub(crate) names: Vec<String>,
    /// Whether facets are kept on disk while the runs learn; where nothing is said, if it is worth it.
    pub(crate) caches: Option<bool>,
    /// Whether to continue what the runs have stored.
    pub(crate) resume: bool,
    pub(crate) out: PathBuf,
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
            turn: Turn::None,
            groups,
            threads: self.threads,
        }
    }

    /// The test images that are counted: all of them, or those of the job's shard.
    pub(crate) fn counted_images(&self) -> Range<usize> {
        match self.common.shard {
            Some(shard) => shard.images(self.test),
            None => 0..self.test,
        }
    }

    /// What counts of a run must have in common to be continued.
    pub(crate) fn counting_fingerprint(&self, run: &JobRun) -> String {
        counting_fingerprint(&run.fingerprint, self.common.shard)
    }

    /// How long work may take until it is stored.
    pub(crate) fn save_interval(&self) -> Duration {
        Duration::from_secs(self.common.save_every)
    }

    /// Ends the job where the user asked for it.
    pub(crate) fn stop(&self, observer: &dyn Observer) -> Result<(), StudyError> {
        if observer.stop() {
            let run = self.out.clone();
            return Err(StudyError::Interrupted { run });
        }
        Ok(())
    }

    /// What the library makes of every run.
    pub(crate) fn setups(&self) -> Vec<&Setup> {
        self.runs.iter().map(|run| &run.setup).collect()
    }

    /// Images that transforms are fitted on, each as often as it is seen.
    pub(crate) fn fitting_images(&self) -> u64 {
        let turns = match self.common.transform_fit {
            TransformFit::Train => 1,
            TransformFit::Neutral => Turn::ALL.len(),
        };
        let mut images = self.samples.concat();
        images.sort_unstable();
        images.dedup();
        (images.len() * turns) as u64
    }

    /// The fewest images that every transform of the job can be fitted on.
    pub(crate) fn fewest_images(&self) -> usize {
        let grid = (self.opened.grid[0], self.opened.grid[1]);
        let needed = self.probed.iter().zip(&self.probed_widths);
        let needed = needed
            .filter_map(|(probed, &width)| Some(probed.edit?.transform.fewest_images(grid, width)));
        needed.max().unwrap_or(0)
    }

    /// The slot of a probed reading.
    pub(crate) fn slot_of(&self, probed: usize) -> Slot {
        self.readings[self.probed[probed].reading].slot
    }

    /// An error of the library, with the slot that it is about.
    pub(crate) fn failed(&self, error: ProtocolError) -> StudyError {
        match error {
            ProtocolError::Stage { reading, error } => self.slot_error(reading)(error),
            ProtocolError::Measure(error) => StudyError::Measure(error),
            error => StudyError::Protocol(error),
        }
    }

    /// An error of a stage, of a probed reading.
    pub(crate) fn slot_error(&self, probed: usize) -> impl Fn(ProbeError) -> StudyError + Sync {
        self.reading_error(self.probed[probed].reading)
    }

    /// An error of a stage, of a reading of the pass.
    pub(crate) fn reading_error(&self, reading: usize) -> impl Fn(ProbeError) -> StudyError + Sync {
        let slot = self.readings[reading].slot.to_string();
        move |source| StudyError::Probe {
            slot: slot.clone(),
            source,
        }
    }
}

/// Where a run of several lies in their common folder; one that is alone is that folder itself.
pub(crate) fn folder_of(common: &Path, name: &str) -> PathBuf {
    match name {
        "" => common.to_owned(),
        name => common.join(name),
    }
}

/// What counts of a run, or of one of its shards, must have in common to be continued.
pub(crate) fn counting_fingerprint(run: &str, shard: Option<Shard>) -> String {
    match shard {
        Some(shard) => format!("{run} shard {shard}"),
        None => run.to_owned(),
    }
}

impl<'a> Job<'a> {
    /// The job that a request makes of what it names, with the record of each of its runs.
    pub(crate) fn new(
        request: &'a ProbeRequest,
        vary: &Vary,
        prepared: &'a Prepared,
    ) -> Result<(Self, Vec<Record>), StudyError> {
        let Prepared { data, opened, .. } = prepared;
        let common = &request.settings;
        let limited = |split: Split, limit: Option<usize>| {
            data.split(split).len().min(limit.unwrap_or(usize::MAX))
        };
        let counts = [
            limited(Split::Train, common.limit_train),
            limited(Split::Test, common.limit_test),
        ];
        let place = || default_place(&[&opened.stem, data.kind.name()]);
        let out = request.out.clone().unwrap_or_else(place);
        let mut job = Self {
            common,
            data,
            opened,
            layers: prepared.layers.clone(),
            readings: Vec::new(),
            widths: Vec::new(),
            probed: Vec::new(),
            probed_widths: Vec::new(),
            samples: Vec::new(),
            test: counts[1],
            runs: Vec::new(),
            names: Vec::new(),
            caches: None,
            resume: request.resume,
            threads: rayon::current_num_threads(),
            out,
        };
        let variants = vary.variants(common)?;
        let mut records = Vec::new();
        for variant in &variants {
            let mut record = describe(&variant.settings, &job, counts, &request.data)?;
            record.skipped.clone_from(&prepared.skipped);
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
        Ok((job, records))
    }
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
                "{train} training images are used, fewer than one batch of {}: choose `batch` {train} or less",
                settings.batch
            )));
        }
        let protocol = Protocol::new(record.clusters)
            .steps(settings.steps)
            .batch(settings.batch)
            .lr(settings.lr)
            .pca_batches(settings.pca_batches)
            .pca_interval(settings.pca_interval)
            .seed(settings.seed)
            .shuffle(settings.shuffle)
            .check()
            .map_err(StudyError::Protocol)?;
        let edit = reading_edit(self.opened, &mut self.samples, settings, &protocol, train)?;
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
            let number = known.unwrap_or(self.readings.len());
            if known.is_none() {
                self.readings.push(reading);
                self.widths.push(width);
            }
            let probed = Probed {
                reading: number,
                edit,
            };
            let known = self.probed.iter().position(|other| *other == probed);
            own.push(known.unwrap_or(self.probed.len()));
            if known.is_none() {
                self.probed.push(probed);
                self.probed_widths.push(width);
            }
        }
        let setup = Setup::new(protocol, train, own).map_err(StudyError::Protocol)?;
        self.names.push(name.to_owned());
        self.runs.push(JobRun {
            root: folder_of(&self.out, name),
            clusters: record.clusters,
            fingerprint: record.fingerprint(),
            setup,
            settings: settings.clone(),
        });
        Ok(())
    }
}

/// How many clusters a probe of a data set has, which may have so many classes.
///
/// # Errors
/// A sentence, for more than there can be.
pub fn clusters(settings: &Settings, classes: Option<usize>) -> Result<usize, StudyError> {
    let clusters = settings
        .clusters
        .unwrap_or(classes.unwrap_or(CLUSTERS_WITHOUT_CLASSES))
        .saturating_add(settings.extra_clusters);
    if clusters > MAX_CLUSTERS {
        return Err(StudyError::setting(format!(
            "{clusters} clusters are more than the {MAX_CLUSTERS} that a label map can hold: ask for fewer with `clusters` or `extra-clusters`"
        )));
    }
    Ok(clusters)
}

/// Refuses counts of every pixel that no run may hold.
fn check_counts(settings: &Settings, kinds: usize, geometry: Geometry) -> Result<(), StudyError> {
    let bytes = size_of::<u32>() * kinds * geometry.size * geometry.size;
    if settings.save_counts == SaveCounts::Pixel && bytes > limits::LARGE_TENSOR_BYTES {
        return Err(StudyError::setting(format!(
            "counts of {kinds} clusters or classes at each of {0} x {0} pixels take {1:.1} GiB, and a run may hold 4: choose a smaller `size`, or leave `save-counts` at grid",
            geometry.size,
            bytes as f64 / (1u64 << 30) as f64
        )));
    }
    Ok(())
}

fn describe(
    settings: &Settings,
    job: &Job<'_>,
    counts: [usize; 2],
    asked: &str,
) -> Result<Record, StudyError> {
    let opened = job.opened;
    let notes = opened.notes.iter().chain(job.data.notes()).cloned();
    let classes = job.data.has_truth().then_some(job.data.classes.len());
    let clusters = clusters(settings, classes)?;
    if settings.attention {
        attention::check_grid(opened.grid)?;
    }
    check_counts(
        settings,
        clusters.max(job.data.classes.len()),
        opened.geometry,
    )?;
    let fixed = Fixed {
        settings: serde_json::to_value(settings).unwrap_or_default(),
        model: opened.record.clone(),
        data: record::of_data(job.data, counts[0], counts[1]),
        clusters,
        grid: opened.grid,
        size: opened.geometry.size,
        seed: settings.seed,
        threads: job.threads,
    };
    let mut record = Record::new(RunKind::Probe, asked, fixed, notes.collect());
    record.warnings = crate::check::warnings(job.data);
    Ok(record)
}

/// Looks at the run directories and changes nothing; whether there is nothing left to compute.
pub(crate) fn look(job: &Job<'_>, records: &[Record]) -> Result<bool, StudyError> {
    let several = job.runs.len() > 1;
    if several && job.out.join(names::RECORD).exists() {
        return Err(StudyError::setting(format!(
            "{}: is a run itself, and several runs cannot lie in it: choose another `out`",
            job.out.display()
        )));
    }
    let mut inputs = job.data.folders(&whole(&job.out));
    inputs.push(PathBuf::from(&job.opened.record.path));
    apart(&job.out, &inputs)?;
    let mut complete = true;
    for (run, record) in job.runs.iter().zip(records) {
        let standing = session::look(&run.root, record, job.resume)?;
        complete &= matches!(standing, session::Held::Complete(_));
    }
    Ok(complete)
}

/// Makes the run directories, or takes them up.
pub(crate) fn begin(job: &Job<'_>, records: &[Record]) -> Result<Vec<Session>, StudyError> {
    let runs = job.runs.iter().zip(records);
    let sessions = runs.map(|(run, record)| Session::begin(&run.root, record, job.resume));
    Ok(sessions.collect::<Result<_, _>>()?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_spread_over_the_split() {
        let of = |examples, test| {
            let settings = Settings {
                examples,
                ..Settings::default()
            };
            example_indices(&settings, test)
        };
        assert_eq!(of(4, 10), [0, 2, 5, 7]);
        assert_eq!(of(20, 3), [0, 1, 2]);
        assert_eq!(of(0, 3), [0; 0]);
        assert_eq!(of(2, 0), [0; 0]);
    }

    #[test]
    fn label_maps_are_kept_as_asked() {
        let of = |save_labels| {
            let settings = Settings {
                examples: 2,
                save_labels,
                ..Settings::default()
            };
            kept_indices(&settings, 4)
        };
        assert_eq!(of(SaveLabels::None), [0; 0]);
        assert_eq!(of(SaveLabels::Examples), [0, 2]);
        assert_eq!(of(SaveLabels::All), [0, 1, 2, 3]);
    }

    #[test]
    fn a_run_that_is_alone_is_the_common_folder_itself() {
        let common = Path::new("runs/a");
        assert_eq!(folder_of(common, ""), common);
        assert_eq!(folder_of(common, "seed-1"), common.join("seed-1"));
        let shard = Some(Shard { index: 2, of: 3 });
        assert_eq!(counting_fingerprint("abc", None), "abc");
        assert_eq!(counting_fingerprint("abc", shard), "abc shard 2/3");
    }
}
