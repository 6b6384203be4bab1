//! What `run.json` says of the model, the data set, images that were left out, and the machine.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How the reader of a checkpoint decided something that the tensors leave open.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// What was open.
    pub what: String,
    /// What was taken.
    pub value: Value,
    /// Why.
    pub because: String,
}

/// An image that was left out (`--skip-bad`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skipped {
    /// `train` or `test`.
    pub split: String,
    /// The image's name.
    pub name: String,
    /// What is wrong with it, one sentence.
    pub problem: String,
}

/// The model, or the features in its place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelRecord {
    /// What it is called in tables and captions: what it is, such as `DINOv2 ViT-S/14`, with the name
    /// of its file where that does not tell the weights; or what its user calls it.
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
    pub precision: Option<String>,
    /// What ran the model and the probes; absent for features.
    pub device: Option<String>,
}

impl ModelRecord {
    /// The naming scheme of the checkpoint, where its reader has said it.
    #[must_use]
    pub fn layout(&self) -> Option<&str> {
        self.identity.get("format")?.as_str()
    }

    /// How the reader of the checkpoint decided what the tensors leave open.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        let decisions = self.identity.get("decisions").cloned();
        decisions
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default()
    }
}

/// The data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataRecord {
    /// The kind of data set.
    pub kind: String,
    /// Where it lay.
    pub root: String,
    /// Training images used.
    pub train: usize,
    /// Test images used, or pairs.
    pub test: usize,
    /// Hash of its list of images.
    pub list_hash: String,
    /// Hash of what its files hold, as far as they are read for it; none in runs of earlier versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub contents: String,
    /// Its classes, or the categories of pairs.
    pub classes: Vec<ClassRecord>,
    /// Whether it has ground truth.
    pub has_truth: bool,
}

/// A class of the data set, in its standard color.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRecord {
    /// Its name.
    pub name: String,
    /// Red, green, blue.
    pub color: [u8; 3],
}

impl DataRecord {
    /// Whether two are the same images with the same labels; where they lie does not matter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let known = !self.contents.is_empty() && !other.contents.is_empty();
        let other = Self {
            root: self.root.clone(),
            contents: match known {
                true => other.contents.clone(),
                false => self.contents.clone(),
            },
            ..other.clone()
        };
        *self == other
    }

    /// Whether two runs looked at one data set, whatever part of it.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        (&self.kind, &self.list_hash) == (&other.kind, &other.list_hash)
    }
}

/// Where a run was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor.
    pub cpu: String,
    /// Threads used.
    pub threads: usize,
    /// The operating system.
    pub os: String,
    /// The architecture.
    pub arch: String,
}

impl Machine {
    /// This machine, of which so many threads are used.
    #[must_use]
    pub fn here(threads: usize) -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim());
        Self {
            cpu: cpu.to_owned(),
            threads,
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        }
    }
}
