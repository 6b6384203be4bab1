//! `run.json`: what a run was, so that anyone can repeat it.

mod described;

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use self::described::{ClassRecord, DataRecord, Decision, Machine, ModelRecord, Skipped};
use crate::error::RunError;
use crate::settings::{self, Effect};
use crate::{FORMAT, files, limits, names};

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// At work, or killed.
    #[default]
    Running,
    /// Stopped in an orderly way; `--resume` goes on.
    Interrupted,
    /// A shard whose images are counted: `merge` makes a run of all shards.
    Shard,
    /// Done.
    Complete,
}

/// Which command makes a run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// Every slot probed.
    #[default]
    Probe,
    /// Locality bias and attention pictures.
    Attention,
    /// Zero-shot correspondence.
    Correspond,
    /// What position causes, without an edit of features.
    Causes,
}

impl RunKind {
    /// The command's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Attention => "attention",
            Self::Correspond => "correspond",
            Self::Causes => "causes",
        }
    }
}

/// Program name and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Program {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Program {
    fn this() -> Self {
        Self {
            name: "vitscope".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Everything that `run.json` holds. A field that a file lacks, or has as null, is empty or 0.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    format: u32,
    /// What wrote it.
    pub program: Program,
    /// How far the run has come.
    pub state: RunState,
    /// Which command made it.
    #[serde(rename = "command")]
    pub kind: RunKind,
    /// Settings in full.
    pub settings: Map<String, Value>,
    /// The model.
    pub model: ModelRecord,
    /// The data set.
    pub data: DataRecord,
    /// The data set as the user named it.
    pub asked: String,
    /// Clusters of every slot; 0 where nothing is clustered.
    pub clusters: usize,
    /// Patches per column and row; 0 where it is not said.
    pub grid: [usize; 2],
    /// Side of the crop in pixels.
    pub size: usize,
    /// The run's seed.
    pub seed: u64,
    /// Where it was made.
    pub machine: Machine,
    /// Seconds and images of each phase.
    pub times: BTreeMap<String, f64>,
    /// Images that could not be used and were left out (`--skip-bad`).
    pub skipped: Vec<Skipped>,
    /// Names of the example images.
    pub examples: Vec<String>,
    /// The layer at which each facet is shown.
    pub selection: BTreeMap<String, usize>,
    /// SHA-256 of each file of numbers, once the run has ended: [`Record::prove`]. None in runs of earlier versions. In a shard
    /// that has ended, that of this record, too: [`Record::prove_shard`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Things worth knowing.
    pub notes: Vec<String>,
    /// What there is to doubt of the data set: one sentence each, with what to do. Not written where there is nothing,
    /// so that older runs keep their bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The parts of a [`Record`] that are fixed before the work begins.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Settings in full: something that serializes into an object.
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
    /// Threads used.
    pub threads: usize,
}

impl Record {
    /// Whether the attention of two runs is of the same images at one size: the test images of a probe, and those of the
    /// split that `attention` was given.
    #[must_use]
    pub fn is_same_attention(&self, other: &Self) -> bool {
        let seen = |record: &Self| {
            let is_seen = |split: &str| record.kind != RunKind::Probe || split == "test";
            let train = if is_seen("train") {
                record.data.train
            } else {
                0
            };
            let skipped = record.skipped.iter().filter(|image| is_seen(&image.split));
            let skipped: Vec<String> = skipped.map(|image| image.name.clone()).collect();
            (train, record.data.test, skipped, record.size)
        };
        // Runs of earlier versions do not say their grid.
        let is_said = |grid: [usize; 2]| grid != [0, 0];
        let is_other_grid = is_said(self.grid) && is_said(other.grid) && self.grid != other.grid;
        self.data.is_of(&other.data) && !is_other_grid && seen(self) == seen(other)
    }

    /// The record of a run on the data set `asked`, as the user named it, that is about to start.
    #[must_use]
    pub fn new(kind: RunKind, asked: &str, fixed: Fixed, notes: Vec<String>) -> Self {
        let settings = match fixed.settings {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Self {
            format: FORMAT,
            program: Program::this(),
            state: RunState::Running,
            kind,
            settings,
            model: fixed.model,
            data: fixed.data,
            asked: asked.to_owned(),
            clusters: fixed.clusters,
            grid: fixed.grid,
            size: fixed.size,
            seed: fixed.seed,
            machine: Machine::here(fixed.threads),
            notes,
            ..Self::default()
        }
    }

    /// Reads `run.json` of a directory.
    ///
    /// # Errors
    /// [`RunError::NotARun`] where there is none; a sentence, for a file that is not what a run writes
    /// and for one of a newer format.
    pub fn read(run: &Path) -> Result<Self, RunError> {
        let path = run.join(names::RECORD);
        let Some(bytes) = files::read_up_to(&path, limits::JSON_BYTES)? else {
            return Err(RunError::NotARun {
                path: run.to_owned(),
            });
        };
        let record = Self::parse(&path, &bytes)?;
        record.check(&path)?;
        Ok(record)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, RunError> {
        let bad = |problem: String| RunError::damaged(path, problem);
        let mut value: Value = serde_json::from_slice(bytes)
            .map_err(|error| bad(format!("is not valid JSON ({error})")))?;
        match value.get("format").map(Value::as_u64) {
            Some(Some(format)) if format == u64::from(FORMAT) => {}
            Some(Some(newer)) if newer > u64::from(FORMAT) => {
                return Err(RunError::file(
                    path,
                    format!(
                        "has format {newer}, and this version reads format {FORMAT}: use a newer vitscope"
                    ),
                ));
            }
            _ => {
                return Err(bad(format!(
                    "has no format number, expected \"format\": {FORMAT}"
                )));
            }
        }
        drop_nulls(&mut value);
        serde_json::from_value(value)
            .map_err(|error| bad(format!("does not have the expected fields ({error})")))
    }

    fn check(&self, path: &Path) -> Result<(), RunError> {
        let bad = |problem: String| Err(RunError::damaged(path, problem));
        // Stems become parts of paths: one that climbs out of the run would read foreign files.
        if let Some(stem) = self.examples.iter().find(|stem| !is_plain_relative(stem)) {
            return bad(format!(
                "has the example {stem:?}, which is not a plain stem"
            ));
        }
        match self.beyond() {
            None => Ok(()),
            Some((what, found, most)) => limits::check(path, what, found, most),
        }
    }

    /// What of a run is more than any run has, if something is: it, how many there are, and how many there may be.
    pub(crate) fn beyond(&self) -> Option<(&'static str, usize, usize)> {
        let data = &self.data;
        let bounded = [
            ("grid", self.grid[0].max(self.grid[1]), limits::GRID),
            ("size", self.size, limits::SIDE),
            ("clusters", self.clusters, limits::CLUSTERS),
            ("depth", self.model.depth, limits::LAYERS),
            ("heads", self.model.heads.unwrap_or(0), limits::HEADS),
            (
                "letters of its model's name, namely",
                self.model.name.chars().count(),
                limits::NAME,
            ),
            ("train", data.train, limits::IMAGES),
            ("test", data.test, limits::IMAGES),
            ("classes of number", data.classes.len(), limits::CLASSES),
            ("examples of number", self.examples.len(), limits::EXAMPLES),
            ("notes of number", self.notes.len(), limits::NOTES),
            ("warnings of number", self.warnings.len(), limits::NOTES),
            ("skipped of number", self.skipped.len(), limits::NOTES),
        ];
        let mut bounded = bounded.into_iter();
        bounded.find(|(_, found, most)| found > most)
    }

    /// What an identity says of which weights of a file are read and how images reach them: that can change
    /// numbers, and the hash of the file does not tell it.
    #[must_use]
    pub fn read_as(identity: &Value) -> Value {
        let parts = ["nesting", "family", "mean", "std"];
        parts.map(|part| identity[part].clone()).into()
    }

    /// What must be equal for a run to be continued: everything that can change a number or a file.
    /// The shards of a run have it in common.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut settings = self.settings.clone();
        settings.retain(|name, _| matches!(settings::effect(name), Effect::Numbers | Effect::Kept));
        // Whether the data's files changed is held against what is stored of them, which can name one; where they lie
        // does not matter.
        let data = DataRecord {
            root: String::new(),
            contents: String::new(),
            ..self.data.clone()
        };
        let parts = serde_json::json!([
            FORMAT,
            self.program.version,
            self.kind,
            settings,
            self.model.sha256,
            self.model.config,
            Self::read_as(&self.model.identity),
            self.model.precision,
            self.model.device,
            data,
            self.clusters,
            self.size,
        ]);
        files::hex(&Sha256::digest(parts.to_string()))
    }

    /// The settings that can change a number, in the order in which they were stored: what two runs
    /// must have in common to be repetitions of one another.
    pub fn settings_that_count(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.settings
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .filter(|(name, _)| settings::effect(name) == Effect::Numbers)
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, run: &Path) -> Result<(), RunError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| RunError::file(run, format!("cannot be described: {error}")))?;
        text.push('\n');
        files::write(&run.join(names::RECORD), text.as_bytes())
    }
}

/// A field that is null means the same as one that is left out.
fn drop_nulls(record: &mut Value) {
    let Some(fields) = record.as_object_mut() else {
        return;
    };
    fields.retain(|_, value| !value.is_null());
    for part in ["program", "model", "data", "machine"] {
        if let Some(part) = fields.get_mut(part).and_then(Value::as_object_mut) {
            part.retain(|_, value| !value.is_null());
        }
    }
}

fn is_plain_relative(stem: &str) -> bool {
    !stem.is_empty()
        && Path::new(stem)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_stay_inside_the_run() {
        assert!(is_plain_relative("street_001") && is_plain_relative("aachen/street_001"));
        for bad in ["../run", "/etc/passwd", ""] {
            assert!(!is_plain_relative(bad), "{bad}");
        }
    }

    fn parse(text: &str) -> Result<Record, RunError> {
        let path = Path::new("run.json");
        let record = Record::parse(path, text.as_bytes())?;
        record.check(path)?;
        Ok(record)
    }

    #[test]
    fn what_is_missing_or_null_is_empty() {
        let text = r#"{"format": 1, "model": {"name": "m", "family": null, "identity": {"format": "timm",
            "decisions": [{"what": "heads", "value": "12", "because": "config.json"}]}}}"#;
        let record = parse(text).unwrap();
        assert_eq!(record.state, RunState::Running);
        assert_eq!(record.model.layout(), Some("timm"));
        assert_eq!(record.model.decisions()[0].what, "heads");
    }

    #[test]
    fn what_cannot_be_is_told_in_one_sentence() {
        for (text, expected) in [
            ("{\"format\": 1,", "is not valid JSON"),
            ("[]", "has no format number"),
            ("{\"format\": 2}", "use a newer vitscope"),
            (
                "{\"format\": 1, \"model\": 3}",
                "does not have the expected fields",
            ),
            ("{\"format\": 1, \"grid\": [5000, 1]}", "has grid 5000"),
            (
                "{\"format\": 1, \"examples\": [\"../x\"]}",
                "is not a plain stem",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn only_what_can_change_a_number_or_a_file_is_in_the_fingerprint() {
        let with = |text: &str| {
            let Value::Object(settings) = serde_json::from_str(text).unwrap() else {
                panic!("no object")
            };
            let record = Record {
                settings,
                ..Record::default()
            };
            let counting = record.settings_that_count().count();
            (record.fingerprint(), counting)
        };
        let plain = with(r#"{"steps": 5}"#);
        for same in [
            "threads",
            "cache_budget",
            "select",
            "save_every",
            "shard",
            "memory",
        ] {
            assert_eq!(
                with(&format!(r#"{{"steps": 5, "{same}": 3}}"#)),
                plain,
                "{same}"
            );
        }
        let kept = with(r#"{"steps": 5, "examples": 3}"#);
        assert!(kept.0 != plain.0 && kept.1 == plain.1);
        let other = with(r#"{"steps": 5, "lr": 3}"#);
        assert!(other.0 != plain.0 && other.1 == plain.1 + 1);
    }
}
