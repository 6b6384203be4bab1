//! A plan whose models and data are found: every job with the name of its run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use vitscope_data::{DataSet, Geometry, PairSet, Split};
use vitscope_hub::progress::Progress;
use vitscope_hub::settings::Settings as HubSettings;
use vitscope_hub::{HubError, resolve, resolve_with};
use vitscope_run::{DataRecord, Select, apart, files, whole};
use vitscope_study::StudyError;
use vitscope_study::model::{Glance, Model};
use vitscope_study::probe::clusters;
use vitscope_study::record;
use vitscope_vit::config::Device;
use vitscope_vit::error::VitError;
use vitscope_vit::identify::Format;

use crate::builtin;
use crate::claims;
use crate::error::SweepError;
use crate::hashes::Hashes;
use crate::keys::{Spec, Work};
use crate::naming::{name, nameless};
use crate::plan::Plan;

/// Whether weights that are not on this machine are downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// They are.
    Fetched,
    /// They are not; a job whose weights are missing says so.
    AsTheyAre,
}

/// A job with its run.
#[derive(Clone, Debug)]
pub struct PlannedJob {
    /// What was asked for.
    pub spec: Spec,
    /// What its run is called.
    pub name: String,
    /// Its model on this machine.
    pub model: Model,
    /// Its data set, as it is opened here.
    pub data: String,
    /// Training and test images, or pairs, that it uses.
    pub images: [usize; 2],
    /// Why it cannot begin: a sentence about its model and one about its data, or one about both.
    pub problems: Vec<String>,
    /// Whether that is its own failure, and the plan goes on without it: weights that are there and damaged.
    pub is_damaged: bool,
}

/// A plan with its jobs.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The plan.
    pub plan: Plan,
    /// Its jobs, each once.
    pub jobs: Vec<PlannedJob>,
}

impl Sweep {
    /// Finds models and data of a plan.
    ///
    /// # Errors
    /// When the folder of the sweep cannot be written. What is wrong with a job is in
    /// [`PlannedJob::problems`].
    pub fn open(
        plan: Plan,
        weights: Weights,
        progress: &mut dyn Progress,
    ) -> Result<Self, SweepError> {
        let mut finder = Finder {
            out: &plan.out,
            weights,
            progress,
            hashes: Hashes::read(&plan.out.join("hashes.json")),
            models: Vec::new(),
            data: Vec::new(),
        };
        finder.lies_apart(&plan)?;
        take(&plan.out)?;
        // What a killed process was writing. Runs see to themselves, and what cannot be removed is in nobody's way.
        for folder in ["", "shards", "demo"].map(|name| plan.out.join(name)) {
            let _ = files::sweep_left(&folder, 1);
        }
        let _ = claims::sweep(&plan.out.join("runs"));
        let mut jobs: Vec<PlannedJob> = Vec::new();
        for spec in &plan.specs {
            let job = finder.job(spec)?;
            if jobs.iter().all(|other| other.name != job.name) {
                jobs.push(job);
            }
        }
        finder.hashes.write()?;
        Ok(Self { plan, jobs })
    }

    /// Refuses to go on where a job cannot begin; one whose weights are damaged fails alone, unless no other is left.
    ///
    /// # Errors
    /// One sentence for each thing that is in the way.
    pub fn ready(&self) -> Result<(), SweepError> {
        let mut list: Vec<String> = Vec::new();
        let none = self.jobs.iter().all(|job| !job.problems.is_empty());
        let stopping = self.jobs.iter().filter(|job| none || !job.is_damaged);
        for problem in stopping.flat_map(|job| &job.problems) {
            let sentence = format!("{}: {problem}", self.plan.path.display());
            if !list.contains(&sentence) {
                list.push(sentence);
            }
        }
        match list.is_empty() {
            true => Ok(()),
            false => Err(SweepError::Plan(list)),
        }
    }

    /// The folder of all runs.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.plan.out.join("runs")
    }

    /// The directory of a run.
    #[must_use]
    pub fn run(&self, name: &str) -> PathBuf {
        self.runs().join(name)
    }

    /// Whether the folder is still the sweep's: a user may remove it at any moment.
    ///
    /// # Errors
    /// A sentence, where its mark is gone.
    pub(crate) fn is_there(&self) -> Result<(), SweepError> {
        match self.plan.out.join(MARK).exists() {
            true => Ok(()),
            false => Err(SweepError::Usage(format!(
                "{}: was removed while the sweep was at work in it: remove what was written there since, and repeat the sweep",
                self.plan.out.display()
            ))),
        }
    }

    /// A job by the name of its run.
    ///
    /// # Errors
    /// A sentence, where the plan has no such job.
    pub fn job(&self, name: &str) -> Result<&PlannedJob, SweepError> {
        let found = self.jobs.iter().find(|job| job.name == name);
        found.ok_or_else(|| {
            SweepError::Usage(format!(
                "{}: has no job {name}: the plan, its weights or its data have changed since the job was listed",
                self.plan.path.display()
            ))
        })
    }
}

/// What says that a folder is a sweep's.
const MARK: &str = ".vitscope-sweep";

/// [`apart`] for the folder of a sweep, which is chosen in the plan and not by a setting of a command.
fn lies_beside(out: &Path, inputs: &[PathBuf]) -> Result<(), SweepError> {
    apart(out, inputs).map_err(|error| {
        let sentence = error.to_string();
        SweepError::Usage(sentence.replace("another `out`", "another out under [sweep]"))
    })
}

/// Takes a folder for a sweep: one that is new, or empty, or a sweep's already.
fn take(out: &Path) -> Result<(), SweepError> {
    let mark = out.join(MARK);
    if mark.exists() {
        return Ok(());
    }
    if out.exists() && !files::is_blank(out)? {
        return Err(SweepError::Usage(format!(
            "{}: holds something, and no mark that vitscope sweep made it: choose another out under [sweep], or, where it was removed while a sweep was at work in it, remove what that has left",
            out.display()
        )));
    }
    files::make_dir(out)?;
    Ok(files::write(&mark, b"A sweep of vitscope.\n")?)
}

impl PlannedJob {
    /// Whether its work is done on a graphics card.
    #[must_use]
    pub fn is_on_card(&self) -> bool {
        self.spec.settle.device == Device::Cuda
    }
}

/// A model that was looked at.
#[derive(Clone, Debug)]
struct SeenModel {
    model: Model,
    glance: Glance,
    sha256: String,
}

/// Why a model cannot be looked at.
#[derive(Clone, Debug)]
enum Unread {
    /// It is not there, or the plan does not say what it is: the plan is to be mended.
    Missing(String),
    /// It is there, and broken.
    Damaged(String),
}

fn told(unread: &Unread) -> String {
    match unread {
        Unread::Missing(why) | Unread::Damaged(why) => why.clone(),
    }
}

struct Finder<'a> {
    out: &'a Path,
    weights: Weights,
    progress: &'a mut dyn Progress,
    hashes: Hashes,
    models: Vec<(String, Result<SeenModel, Unread>)>,
    data: Vec<(String, Result<FoundData, String>)>,
}

/// A data set that was read.
#[derive(Clone, Debug)]
struct FoundData {
    record: DataRecord,
    /// The folders of which no output may lie in any.
    read: Vec<PathBuf>,
}

impl Finder<'_> {
    /// Refuses a folder that lies in what the jobs read, or has it in it, before anything is written there.
    fn lies_apart(&mut self, plan: &Plan) -> Result<(), SweepError> {
        // What is built in is made in the folder itself.
        let is_foreign = |spec: &&Spec| !spec.data.starts_with(builtin::PREFIX);
        let specs = || plan.specs.iter().filter(is_foreign);
        let mut inputs: BTreeSet<PathBuf> = BTreeSet::new();
        for spec in specs() {
            // `kind:root`, or a path.
            let data = spec.data.as_str();
            let root = Path::new(data.split_once(':').map_or(data, |(_, root)| root));
            inputs.extend([data.into(), root.to_owned(), spec.model.clone()]);
            if !root.exists() && whole(self.out).starts_with(whole(root)) {
                return Err(SweepError::Usage(format!(
                    "{}: lies in {}, a data set that is not there: choose another out under [sweep], or another data set",
                    self.out.display(),
                    root.display()
                )));
            }
        }
        lies_beside(self.out, &inputs.into_iter().collect::<Vec<_>>())?;
        for spec in specs() {
            // What cannot be read is told of its job.
            if let Ok(found) = self.data(spec, &spec.data) {
                lies_beside(self.out, &found.read)?;
            }
        }
        Ok(())
    }

    fn job(&mut self, spec: &Spec) -> Result<PlannedJob, SweepError> {
        let data_path = builtin::data(self.out, &spec.data)?;
        let seen = self.model(spec)?;
        let data = self.data(spec, &data_path).map(|found| found.record);
        let images = data.as_ref().map_or([0; 2], |data| used(spec, data));
        let mut problems: Vec<String> = seen.as_ref().err().map(told).into_iter().collect();
        problems.extend(data.as_ref().err().cloned());
        if let (Ok(seen), Ok(data)) = (&seen, &data) {
            problems.extend(fits(spec, seen, data, images).err());
        }
        let is_damaged = matches!(seen, Err(Unread::Damaged(_))) && data.is_ok();
        let name = match (&seen, &data) {
            (Ok(seen), Ok(data)) => name(spec, &seen.glance, &seen.sha256, data, images),
            _ => nameless(spec),
        };
        Ok(PlannedJob {
            name,
            model: match seen {
                Ok(seen) => seen.model,
                Err(_) => Model::Features(spec.model.clone()),
            },
            data: data_path,
            images,
            problems,
            is_damaged,
            spec: spec.clone(),
        })
    }

    /// The model of a job; the inner error is what is in its way.
    fn model(&mut self, spec: &Spec) -> Result<Result<SeenModel, Unread>, SweepError> {
        let key = format!("{:?} {} {:?}", spec.model, spec.features, spec.settle);
        if let Some((_, found)) = self.models.iter().find(|(own, _)| *own == key) {
            return Ok(found.clone());
        }
        let path = builtin::model(self.out, &spec.model)?;
        let found = self.look(spec, &path);
        self.models.push((key, found.clone()));
        Ok(found)
    }

    fn look(&mut self, spec: &Spec, path: &Path) -> Result<SeenModel, Unread> {
        let model = match spec.features {
            true => Model::Features(path.to_owned()),
            false => {
                let format = spec.settle.format;
                let format = format.filter(|&format| format != Format::Own);
                let located = match self.weights {
                    Weights::Fetched => resolve(path, format, self.progress),
                    // What lies here needs no settings of downloads, which may be wrong.
                    Weights::AsTheyAre if path.exists() => resolve(path, format, self.progress),
                    Weights::AsTheyAre => HubSettings::from_env().and_then(|settings| {
                        let settings = HubSettings {
                            // What the user set keeps its own sentence.
                            offline: settings.offline.or(Some(LOOKING)),
                            ..settings
                        };
                        resolve_with(&settings, path, format, self.progress)
                            .map_err(|error| looked_only(error, &settings))
                    }),
                };
                let located = located.map_err(|error| Unread::Missing(error.to_string()))?;
                Model::Checkpoint(located.path, spec.settle.clone())
            }
        };
        let glance = model.glance().map_err(|error| match error {
            StudyError::Checkpoint(VitError::Damaged { .. }) => Unread::Damaged(error.to_string()),
            error => Unread::Missing(error.to_string()),
        })?;
        let sha256 = self.hashes.of(&glance.files);
        let sha256 = sha256.map_err(|error| Unread::Missing(error.to_string()))?;
        Ok(SeenModel {
            model,
            sha256,
            glance,
        })
    }

    fn data(&mut self, spec: &Spec, path: &str) -> Result<FoundData, String> {
        let key = match &spec.work {
            Work::Correspond(own) => format!("{path} {} {}", own.split.name(), own.layout.name()),
            _ => path.to_owned(),
        };
        if let Some((_, found)) = self.data.iter().find(|(own, _)| *own == key) {
            return found.clone();
        }
        let found = match &spec.work {
            Work::Correspond(own) => PairSet::open(path, own.split, own.layout).and_then(|set| {
                let contents = set.stamps(set.pairs.len())?.contents();
                let record = record::of_pairs(&set.root, &set.pairs);
                Ok(FoundData {
                    record: DataRecord { contents, ..record },
                    read: vec![set.root],
                })
            }),
            _ => DataSet::open(path).and_then(|set| {
                let count = |split| set.split(split).len();
                let (train, test) = (count(Split::Train), count(Split::Test));
                let contents = set.stamps(train, test)?.contents();
                let record = record::of_data(&set, train, test);
                let read = set.folders(&whole(self.out));
                Ok(FoundData {
                    record: DataRecord { contents, ..record },
                    read,
                })
            }),
        };
        let found = found.map_err(|error| error.to_string());
        self.data.push((key, found.clone()));
        found
    }
}

/// What stands for the variable that forbids a download where nobody set one: this only looks.
const LOOKING: &str = "dry-run";

/// The sentence about weights that are not on this machine, where only looking forbids to fetch them.
fn looked_only(error: HubError, settings: &HubSettings) -> HubError {
    match error {
        HubError::NotCached {
            id, cache, cached, ..
        } if settings.offline == Some(LOOKING) => HubError::NotCached {
            id,
            cache,
            because: "nothing is downloaded here: `vitscope sweep PLAN` downloads it".to_owned(),
            cached,
        },
        other => other,
    }
}

/// Training and test images that a job uses.
fn used(spec: &Spec, data: &DataRecord) -> [usize; 2] {
    let least = |count: usize, limit: Option<usize>| count.min(limit.unwrap_or(usize::MAX));
    match &spec.work {
        Work::Probe(own) => [
            least(data.train, own.limit_train),
            least(data.test, own.limit_test),
        ],
        Work::Attention(own) => match own.split {
            Split::Train => [least(data.train, own.limit), 0],
            Split::Test => [0, least(data.test, own.limit)],
        },
        Work::Correspond(own) => [0, least(data.test, own.limit_pairs)],
    }
}

/// What a job would be refused for, as far as that is seen before it begins.
fn fits(
    spec: &Spec,
    seen: &SeenModel,
    data: &DataRecord,
    images: [usize; 2],
) -> Result<(), String> {
    let layers = match &spec.work {
        Work::Probe(own) => &own.layers,
        Work::Attention(own) => &own.layers,
        Work::Correspond(own) => &own.layers,
    };
    let layers = layers.resolve(seen.glance.depth)?;
    if let Work::Probe(own) = &spec.work {
        own.check().map_err(|error| error.to_string())?;
        let classes = data.has_truth.then_some(data.classes.len());
        clusters(own, classes).map_err(|error| error.to_string())?;
        let of_model = |name: &str| usize::try_from(seen.glance.config.get(name)?.as_u64()?).ok();
        if let (Some(width), Some(patch @ 1..)) = (of_model("width"), of_model("patch")) {
            let side = Geometry::for_patch(own.size, patch).size / patch;
            let allowed = own.transform.allowed((side, side), width);
            allowed.map_err(|error| format!("`transform`: {error}"))?;
        }
        if let Select::Layer(layer) = own.select
            && !layers.contains(&layer)
        {
            return Err(format!(
                "`select` layer:{layer}: this job looks at no layer {layer}; the model has {}",
                seen.glance.depth
            ));
        }
        if images[0] < own.batch {
            return Err(format!(
                "{}: {} training images are used, fewer than one batch of {}: choose `batch` {1} or less",
                spec.data, images[0], own.batch
            ));
        }
        if spec.features {
            own.check_features().map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
impl Sweep {
    /// A sweep of one job, whose model and data are not there, in `dir`/out.
    pub(crate) fn of_nothing(dir: &Path) -> Result<Self, SweepError> {
        Self::of_nothing_in(dir, &dir.join("out"))
    }

    fn of_nothing_in(dir: &Path, out: &Path) -> Result<Self, SweepError> {
        let path = dir.join("plan.toml");
        let data = format!("folder:{}", dir.join("none").display());
        let text = format!("[sweep]\nout = {out:?}\n[base]\nmodel = 'none.pth'\ndata = {data:?}\n");
        std::fs::write(&path, text).map_err(SweepError::io(&path, "write"))?;
        let progress = &mut vitscope_hub::progress::SilentProgress;
        Self::open(Plan::read(&path, &[])?, Weights::AsTheyAre, progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_sweep_was_writing_is_swept_away() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        Sweep::of_nothing(dir.path()).unwrap();
        let folders = ["", "runs", "shards/1-of-2", "demo"].map(|name| out.join(name));
        let left = folders.map(|folder| {
            std::fs::create_dir_all(&folder).unwrap();
            let beside = files::temporary(&folder, &folder.join("x")).unwrap();
            beside.keep().unwrap().1
        });
        let mine = out.join(".vitscope-mine");
        std::fs::write(&mine, "mine").unwrap();
        let written = files::temporary(&out, &out.join("y")).unwrap();
        Sweep::of_nothing(dir.path()).unwrap();
        assert!(left.iter().all(|path| !path.exists()));
        assert!(mine.exists() && written.path().exists());
    }

    #[test]
    fn a_data_set_that_is_not_there_is_not_made_by_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let told = Sweep::of_nothing_in(dir.path(), &dir.path().join("none/out"));
        let told = told.err().unwrap().to_string();
        assert!(told.contains("a data set that is not there"), "{told}");
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn advice_about_the_folder_names_the_key_of_the_plan() {
        let dir = tempfile::tempdir().unwrap();
        let told = lies_beside(&dir.path().join("out"), &[dir.path().to_owned()]);
        let told = told.unwrap_err().to_string();
        assert!(told.ends_with("choose another out under [sweep]"), "{told}");
    }
}
