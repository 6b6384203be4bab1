//! `run.json`: what a run was, so that anyone can repeat it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use vitscope_data::DataSet;
use vitscope_data::pairs::{CATEGORIES, Pair};
use vitscope_vit::config::{Device, Precision};

use crate::error::StudyError;
use crate::files;
use crate::screen::Skipped;

/// The version of the run directory's format.
pub const FORMAT: u32 = 1;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// At work, or killed.
    Running,
    /// Stopped in an orderly way; `--resume` goes on.
    Interrupted,
    /// A shard whose images are counted: `merge` makes a run of all shards.
    Shard,
    /// Done.
    Complete,
}

/// Program name and version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    name: String,
    version: String,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            name: "vitscope".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The model, or the features in its place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ModelRecord {
    /// What it is called in tables: the file's or folder's name.
    pub name: String,
    /// `checkpoint` or `features`.
    pub source: String,
    /// Where it lay.
    pub path: String,
    /// Family, where known.
    pub family: String,
    /// Size name, where known.
    pub size: String,
    /// Blocks.
    pub depth: usize,
    /// Embedding width.
    pub width: usize,
    /// Heads, for a checkpoint.
    pub heads: Option<usize>,
    /// Pixels.
    pub patch: usize,
    /// Of the files in order, hex.
    pub sha256: String,
    /// Everything the loader says about itself: format, container, how each thing was decided.
    pub identity: Value,
    /// The architecture as inferred.
    pub config: Value,
    /// What products multiply; absent for features, which some other program made.
    pub precision: Option<Precision>,
    /// What ran the model and the probes; absent for features.
    pub device: Option<Device>,
}

/// The data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    kind: String,
    root: String,
    /// Training images used.
    pub train: usize,
    /// Test images used.
    pub test: usize,
    list_hash: String,
    classes: Vec<ClassRecord>,
    has_truth: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ClassRecord {
    name: String,
    color: [u8; 3],
}

impl DataRecord {
    /// Describes a data set of which so many images are used.
    #[must_use]
    pub fn new(data: &DataSet, train: usize, test: usize) -> Self {
        let class = |c: &vitscope_data::Class| ClassRecord {
            name: c.name.clone(),
            color: c.color,
        };
        Self {
            kind: data.kind.name().to_owned(),
            root: data.root.display().to_string(),
            train,
            test,
            list_hash: data.list_hash(),
            classes: data.classes.iter().map(class).collect(),
            has_truth: data.has_truth(),
        }
    }
}

impl DataRecord {
    /// Whether two are the same images with the same labels; where they lie does not matter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let other = Self {
            root: self.root.clone(),
            ..other.clone()
        };
        *self == other
    }

    /// Describes pairs of SPair-71k: `test` counts pairs, the classes are the categories.
    #[must_use]
    pub fn of_pairs(root: &Path, pairs: &[Pair]) -> Self {
        let mut hash = Sha256::new();
        for pair in pairs {
            hash.update(&pair.name);
            hash.update("\n");
        }
        let colors = vitscope_data::palette(CATEGORIES.len());
        let class = |(&name, color): (&&str, [u8; 3])| ClassRecord {
            name: name.to_owned(),
            color,
        };
        Self {
            kind: "spair71k".to_owned(),
            root: root.display().to_string(),
            train: 0,
            test: pairs.len(),
            list_hash: format!("{:x}", HexDigest(hash.finalize().to_vec())),
            classes: CATEGORIES.iter().zip(colors).map(class).collect(),
            has_truth: true,
        }
    }
}

/// Where a run was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    cpu: String,
    threads: usize,
    os: String,
    arch: String,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim());
        Self {
            cpu: cpu.to_owned(),
            threads: rayon::current_num_threads(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        }
    }
}

/// Everything that `run.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    program: Program,
    /// How far the run has come.
    pub state: State,
    command: String,
    /// Settings in full.
    pub settings: Value,
    /// The model.
    pub model: ModelRecord,
    /// The data set.
    pub data: DataRecord,
    /// The data set as the user named it.
    #[serde(default)]
    pub asked: String,
    /// Clusters of every slot.
    pub clusters: usize,
    /// Patches per column and row.
    pub grid: [usize; 2],
    /// Side of the crop in pixels.
    pub size: usize,
    /// The run's seed.
    pub seed: u64,
    machine: Machine,
    /// Seconds and images of each phase.
    pub times: BTreeMap<String, f64>,
    /// Images that could not be used and were left out (`--skip-bad`).
    pub skipped: Vec<Skipped>,
    /// Names of the example images.
    pub examples: Vec<String>,
    /// The layer at which each facet is shown.
    pub selection: BTreeMap<String, usize>,
    /// Things worth knowing.
    pub notes: Vec<String>,
}

/// The parts of a [`Record`] that are fixed before the work begins.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Settings in full.
    pub settings: Value,
    /// The model.
    pub model: ModelRecord,
    /// The data set.
    pub data: DataRecord,
    /// Clusters of every slot.
    pub clusters: usize,
    /// Patches per column and row.
    pub grid: [usize; 2],
    /// Side of the crop in pixels.
    pub size: usize,
    /// The run's seed.
    pub seed: u64,
}

impl Record {
    /// The record of a run of `command` on the data set `asked`, as the user named it, that is about to
    /// start.
    #[must_use]
    pub fn new(command: &str, asked: &str, fixed: Fixed, notes: Vec<String>) -> Self {
        Self {
            format: FORMAT,
            program: Program::default(),
            state: State::Running,
            command: command.to_owned(),
            settings: fixed.settings,
            model: fixed.model,
            data: fixed.data,
            asked: asked.to_owned(),
            clusters: fixed.clusters,
            grid: fixed.grid,
            size: fixed.size,
            seed: fixed.seed,
            machine: Machine::here(),
            times: BTreeMap::new(),
            skipped: Vec::new(),
            examples: Vec::new(),
            selection: BTreeMap::new(),
            notes,
        }
    }

    /// What must be equal for a run to be continued: everything that can change a number. The shards
    /// of a run have it in common.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut settings = self.settings.clone();
        if let Some(map) = settings.as_object_mut() {
            map.remove("threads");
            map.remove("cache_budget");
            map.remove("select");
            map.remove("save_every");
            map.remove("shard");
        }
        let parts = serde_json::json!([
            FORMAT,
            self.program.version,
            self.command,
            settings,
            self.model.sha256,
            self.model.config,
            self.model.precision,
            self.model.device,
            self.data,
            self.clusters,
            self.size,
        ]);
        format!(
            "{:x}",
            HexDigest(Sha256::digest(parts.to_string()).to_vec())
        )
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, run: &Path) -> Result<(), StudyError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| StudyError::file(run, format!("cannot be described: {error}")))?;
        text.push('\n');
        files::write(&run.join("run.json"), text.as_bytes())
    }
}

struct HexDigest(Vec<u8>);

impl std::fmt::LowerHex for HexDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// SHA-256 of some files one after the other, hex.
///
/// # Errors
/// When one cannot be read.
pub fn sha256_of(paths: &[PathBuf]) -> Result<String, StudyError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        let mut file = std::fs::File::open(path).map_err(StudyError::io(path, "open"))?;
        loop {
            let count = file
                .read(&mut buffer)
                .map_err(StudyError::io(path, "read"))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
        }
    }
    Ok(format!("{:x}", HexDigest(hash.finalize().to_vec())))
}
