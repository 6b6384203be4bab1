//! The keys of a plan: what a job is asked for. Settings of `probe` come from the study's one table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::{Table, Value};
use vitscope_run::RunKind;
use vitscope_study::attention::AttentionSettings;
use vitscope_study::correspond::CorrespondSettings;
use vitscope_study::settings::{SETTINGS, Setting, Settings, Takes, object};
use vitscope_vit::identify::Settle;

use crate::problems::PlanProblems;
use crate::values::{NAMING, OF_ATTENTION, OF_CORRESPOND, Values, flag, text_of};

/// What the work of a job is.
#[derive(Clone, Debug)]
pub enum Work {
    /// The main job.
    Probe(Box<Settings>),
    /// Locality bias and pictures of attention.
    Attention(AttentionSettings),
    /// Zero-shot correspondence.
    Correspond(CorrespondSettings),
}

impl Work {
    /// Which command does it.
    #[must_use]
    pub fn kind(&self) -> RunKind {
        match self {
            Self::Probe(_) => RunKind::Probe,
            Self::Attention(_) => RunKind::Attention,
            Self::Correspond(_) => RunKind::Correspond,
        }
    }

    /// All its settings, by their names in `run.json`.
    pub(crate) fn settings(&self) -> serde_json::Map<String, serde_json::Value> {
        match self {
            Self::Probe(own) => object(&**own),
            Self::Attention(own) => object(own),
            Self::Correspond(own) => object(own),
        }
    }

    /// What a setting is, of the commands whose defaults are not those of the main job.
    fn own_default(&self, key: &str) -> Option<String> {
        use serde_json::Value;
        if matches!(self, Self::Probe(_)) {
            return None;
        }
        match self.settings().get(&key.replace('-', "_"))? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            _ => None,
        }
    }
}

/// A job as it is asked for.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its work, with its settings.
    pub work: Work,
    /// The model as it was named: a path, a short name, a Hugging Face id, or a feature directory.
    pub model: PathBuf,
    /// Whether that is a feature directory.
    pub features: bool,
    /// What the checkpoint leaves open.
    pub settle: Settle,
    /// The data set as it was named.
    pub data: String,
    /// Into how many parts a scheduler may cut the test images.
    pub shards: usize,
    /// Every key that was given, with its value as text.
    pub keys: BTreeMap<String, String>,
}

/// Whether jobs have a key; notes one that none has.
pub(crate) fn known(key: &str, place: &str, problems: &mut PlanProblems) -> bool {
    let own = || {
        let settings = SETTINGS.iter().map(|setting| setting.flag);
        let rest = NAMING.iter().chain(&Settle::NAMES).chain(&OF_ATTENTION);
        settings.chain(rest.chain(&OF_CORRESPOND).copied())
    };
    let place = format!("{place} {key}");
    match key {
        "shard" => problems.add(&place, "is set by the sweep itself: say `shards`, how many"),
        "seeds" => problems.add(
            &place,
            "is no setting of a job: list seeds under [matrix], as seed = [0, 1, 2], and each is a job",
        ),
        "out" | "resume" | "trained" | "config" => problems.add(
            &place,
            "is no setting of a job: a plan gives each run its folder and goes on by itself",
        ),
        _ if own().any(|name| name == flag(key)) => return true,
        _ => {
            // Letters that are too many are edits: a key of any length is held against names of its own.
            let near = own()
                .filter(|name| name.len().abs_diff(key.len()) <= 12)
                .map(|name| (strsim::damerau_levenshtein(name, key), name))
                .min()
                .filter(|(edits, _)| *edits <= (key.len() / 3).clamp(1, 3));
            problems.add(
                &place,
                match near {
                    Some((_, name)) => format!("is no setting of a job: did you mean {name}?"),
                    None => "is no setting of a job: `vitscope probe --help` lists those of probes, `attention --help` and `correspond --help` those of theirs".to_owned(),
                },
            );
        }
    }
    false
}

/// Which command a plan may name.
fn command(text: &str) -> Result<RunKind, String> {
    let kinds = [RunKind::Probe, RunKind::Attention, RunKind::Correspond];
    let found = kinds.into_iter().find(|kind| kind.name() == text);
    found.ok_or_else(|| {
        let names = kinds.map(RunKind::name).join(", ");
        match text == RunKind::Causes.name() {
            true => format!("{text} is no work of a plan: run it by itself; a plan has {names}"),
            false => format!("`{text}` is not one of {names}"),
        }
    })
}

impl Spec {
    /// A job of the keys that a row of a table gives, over those of the base.
    pub(crate) fn read(base: &Table, row: &Table) -> Result<Self, Vec<(String, String)>> {
        let mut values = Values::new(base, row);
        let kind = values.read("command", command);
        let kind = kind.unwrap_or(RunKind::Probe);
        values.leave_to_others(kind);
        let model = values.text("model").map(PathBuf::from);
        let features = values.text("features").map(PathBuf::from);
        if kind != RunKind::Probe && features.is_some() {
            values.problem("features", format!("{} needs a model", kind.name()));
        }
        let named = match (&model, &features) {
            (Some(model), None) => model.clone(),
            (None, Some(features)) => features.clone(),
            (Some(_), Some(_)) => {
                values.problem("features", "give a model or features, not both");
                PathBuf::new()
            }
            (None, None) => {
                let named = |key: &&str| values.all.contains_key(*key);
                if !["model", "features"].iter().any(named) {
                    values.problem("model", "is missing: name one, or embeddings as features");
                }
                PathBuf::new()
            }
        };
        let data = values.text("data");
        if !values.all.contains_key("data") {
            values.problem("data", "is missing: name a data set");
        }
        let shards = values.whole("shards").unwrap_or(1);
        if shards == 0 {
            values.problem("shards", "expected a whole number from 1");
        }
        let settle = values.settle();
        let work = match kind {
            RunKind::Attention => Work::Attention(values.attention()),
            RunKind::Correspond => Work::Correspond(values.correspond()),
            // No plan names `causes`: see `command`.
            RunKind::Probe | RunKind::Causes => Work::Probe(Box::new(values.settings(|_| true))),
        };
        match values.problems.is_empty() {
            true => Ok(Self {
                work,
                model: named,
                features: features.is_some(),
                settle,
                data: data.unwrap_or_default(),
                shards,
                keys: values
                    .all
                    .iter()
                    .map(|(key, value)| (key.clone(), text_of(value)))
                    .collect(),
            }),
            false => Err(values.problems),
        }
    }

    /// Whether a job has all of these values.
    pub(crate) fn has(&self, asked: &Table) -> bool {
        asked.iter().all(|(key, value)| {
            let own = self.value(key);
            let is = |value: &Value| match value {
                // A model with what its file leaves open: keys that go together.
                Value::Table(several) => self.has(several),
                one => own == text_of(one),
            };
            match value {
                Value::Array(list) => list.iter().any(is),
                one => is(one),
            }
        })
    }

    /// What a key is: as it was given, else as it is by default.
    pub(crate) fn value(&self, key: &str) -> String {
        let flag = flag(key);
        if let Some(value) = self.keys.get(&flag) {
            return value.clone();
        }
        if let Some(value) = self.work.own_default(key) {
            return value;
        }
        match (flag.as_str(), Setting::called(key)) {
            ("command", _) => self.work.kind().name().to_owned(),
            (_, Some(setting)) => match setting.takes {
                Takes::Switch => "false".to_owned(),
                _ => setting.default.to_owned(),
            },
            _ => String::new(),
        }
    }
}
