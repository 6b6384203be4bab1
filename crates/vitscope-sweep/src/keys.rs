//! The keys of a plan: what a job is asked for. Settings of `probe` come from the study's one table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::{Table, Value};
use vitscope_data::Split;
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_run::RunKind;
use vitscope_study::attention::AttentionSettings;
use vitscope_study::correspond::CorrespondSettings;
use vitscope_study::settings::{SETTINGS, Setting, Settings, Takes, object};
use vitscope_vit::config::{Device, Precision};
use vitscope_vit::identify::{Family, Format, Numerics, Settle};

use crate::plan::PlanProblems;

/// What names a job, whatever its command.
const NAMING: [&str; 5] = ["command", "model", "features", "data", "shards"];

/// What settles what a checkpoint leaves open.
const SETTLING: [&str; 10] = [
    "family", "heads", "backbone", "mean", "std", "name", "numerics", "dtype", "device", "layout",
];

/// Settings of the main job that the others have too.
const OF_ATTENTION: [&str; 8] = [
    "size",
    "layers",
    "limit-train",
    "limit-test",
    "resamples",
    "seed",
    "split",
    "queries",
];
const OF_CORRESPOND: [&str; 12] = [
    "size",
    "layers",
    "facets",
    "token-norm",
    "rope",
    "examples",
    "split",
    "fit",
    "list",
    "limit-pairs",
    "alpha",
    "memory-mib",
];

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

/// The command-line name of a key.
fn flag(key: &str) -> String {
    Setting::called(key).map_or_else(|| key.to_owned(), |setting| setting.flag.to_owned())
}

/// Notes a key that no job has.
pub(crate) fn known(key: &str, place: &str, problems: &mut PlanProblems) {
    let own = || {
        let settings = SETTINGS.iter().map(|setting| setting.flag);
        let rest = NAMING.iter().chain(&SETTLING).chain(&OF_ATTENTION);
        settings.chain(rest.chain(&OF_CORRESPOND).copied())
    };
    let place = format!("{place} {key}");
    match key {
        "shard" => problems.add(&place, "is set by the sweep itself: say `shards`, how many"),
        "out" | "resume" | "trained" | "seeds" | "config" => problems.add(
            &place,
            "is no setting of a job: a plan gives each run its folder and goes on by itself",
        ),
        _ if own().any(|name| name == flag(key)) => {}
        _ => {
            // Letters that are too many are edits: a key of any length is held against names of its own.
            let near = own()
                .filter(|name| name.len().abs_diff(key.len()) <= 12)
                .map(|name| (strsim::damerau_levenshtein(name, key), name))
                .min()
                .filter(|(edits, _)| *edits <= 3);
            problems.add(
                &place,
                match near {
                    Some((_, name)) => format!("is no setting of a job: did you mean {name}?"),
                    None => "is no setting of a job: `vitscope probe --help` lists them".to_owned(),
                },
            );
        }
    }
}

/// A value as it would be typed.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text_of).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The values of one job, and what was wrong with them.
struct Values {
    all: BTreeMap<String, Value>,
    /// Keys of the job's own table, not of the base.
    own: Vec<String>,
    problems: Vec<(String, String)>,
}

impl Values {
    fn problem(&mut self, key: &str, problem: impl Into<String>) {
        self.problems.push((key.to_owned(), problem.into()));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.all.get(key)? {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.problem(key, "expected a text");
                None
            }
        }
    }

    fn whole(&mut self, key: &str) -> Option<usize> {
        match self.all.get(key)? {
            &Value::Integer(number) if number >= 0 => Some(number as usize),
            _ => {
                self.problem(key, "expected a whole number");
                None
            }
        }
    }

    fn read<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(key, problem);
                None
            }
        }
    }

    /// Numbers, as many as are asked for where that is fixed.
    fn numbers(&mut self, key: &str) -> Option<Vec<f64>> {
        let number = |value: &Value| match value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        };
        let value = self.all.get(key)?;
        let list: Option<Vec<f64>> = match value {
            Value::Array(list) => list.iter().map(number).collect(),
            // As the flag takes them.
            Value::String(text) => {
                let each = text.split(',').map(|one| one.trim().parse().ok());
                each.collect()
            }
            one => number(one).map(|number| vec![number]),
        };
        let list = list.filter(|list| list.iter().all(|number| number.is_finite()));
        if list.is_none() {
            self.problem(key, "expected numbers, such as [0.5, 0.5, 0.5]");
        }
        list
    }

    fn three(&mut self, key: &str) -> Option<[f64; 3]> {
        let list = self.numbers(key)?;
        let three = list.try_into().ok();
        if three.is_none() {
            self.problem(key, "expected three numbers: red, green and blue");
        }
        three
    }

    /// The settings of the main job, as far as `of` names them.
    fn settings(&mut self, of: impl Fn(&Setting) -> bool) -> Settings {
        let mut settings = Settings::default();
        for setting in SETTINGS.iter().filter(|setting| of(setting)) {
            let Some(value) = self.all.get(setting.flag) else {
                continue;
            };
            let result = match setting.plain(value) {
                None => Err(format!("{value}: expected {}", setting.takes.told())),
                Some(text) if setting.varies && text.contains(',') => Err(format!(
                    "{text}: a job has one value: list several under [matrix]"
                )),
                Some(text) => settings.set(setting.flag, &text).map_err(|e| e.to_string()),
            };
            if let Err(problem) = result {
                self.problem(setting.flag, problem);
            }
        }
        settings
    }
}

fn one_of<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("`{text}` is not one of {}", words.join(", "))
    })
}

impl Spec {
    /// A job of the keys that a row of a table gives, over those of the base.
    pub(crate) fn read(base: &Table, row: &Table) -> Result<Self, Vec<(String, String)>> {
        let mut values = Values {
            all: BTreeMap::new(),
            own: row.keys().map(|key| flag(key)).collect(),
            problems: Vec::new(),
        };
        for (key, value) in base.iter().chain(row) {
            values.all.insert(flag(key), value.clone());
        }
        let commands = [
            ("probe", RunKind::Probe),
            ("attention", RunKind::Attention),
            ("correspond", RunKind::Correspond),
        ];
        let kind = values.read("command", |text| one_of(&commands, text));
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
            RunKind::Probe => Work::Probe(Box::new(values.settings(|_| true))),
            RunKind::Attention => Work::Attention(values.attention()),
            RunKind::Correspond => Work::Correspond(values.correspond()),
            RunKind::Causes => {
                values.problem("command", "causes is no work of a plan: run it by itself");
                Work::Probe(Box::default())
            }
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

impl Values {
    /// Takes out what the base says for jobs of other commands; what a job's own table says must fit.
    fn leave_to_others(&mut self, kind: RunKind) {
        let fits = |key: &str| {
            NAMING.contains(&key)
                || SETTLING.contains(&key)
                || match kind {
                    RunKind::Probe => Setting::called(key).is_some(),
                    RunKind::Attention => OF_ATTENTION.contains(&key) || key == "threads",
                    RunKind::Correspond => OF_CORRESPOND.contains(&key) || key == "threads",
                    RunKind::Causes => false,
                }
        };
        let keys: Vec<String> = self.all.keys().cloned().collect();
        for key in keys.into_iter().filter(|key| !fits(key)) {
            if self.own.contains(&key) {
                self.problem(&key, format!("is no setting of {}", kind.name()));
            }
            self.all.remove(&key);
        }
        // The base may name a model, and a job of its own features.
        if self.own.iter().any(|key| key == "features")
            && !self.own.iter().any(|key| key == "model")
        {
            self.all.remove("model");
        }
    }

    fn settle(&mut self) -> Settle {
        let precisions = [
            ("f32", Precision::F32),
            ("bf16", Precision::Bf16),
            ("f16", Precision::F16),
        ];
        let devices = [("cpu", Device::Cpu), ("cuda", Device::Cuda)];
        let numerics = [
            ("source", Numerics::Source),
            ("official", Numerics::Official),
        ];
        let family = |text: &str| {
            text.parse::<Family>()
                .map_err(|problem| problem.to_string())
        };
        let format = |text: &str| {
            text.parse::<Format>()
                .map_err(|problem| problem.to_string())
        };
        let settle = Settle {
            family: self.read("family", family),
            format: self.read("layout", format),
            heads: self.whole("heads"),
            backbone: self.text("backbone"),
            mean: self.three("mean"),
            std: self.three("std"),
            name: self.text("name"),
            numerics: self
                .read("numerics", |text| one_of(&numerics, text))
                .unwrap_or(Numerics::Source),
            precision: self
                .read("dtype", |text| one_of(&precisions, text))
                .unwrap_or(Precision::F32),
            device: self
                .read("device", |text| one_of(&devices, text))
                .unwrap_or(Device::Cpu),
        };
        if !settle.device.is_built() {
            self.problem(
                "device",
                "cuda: this program was built without it (`--features cuda`)",
            );
        }
        if settle.device == Device::Cpu && settle.precision == Precision::F16 {
            self.problem("dtype", "f16 needs a GPU: choose f32 or bf16");
        }
        settle
    }

    fn attention(&mut self) -> AttentionSettings {
        let shared = self.settings(|setting| OF_ATTENTION.contains(&setting.flag));
        let splits = [("train", Split::Train), ("test", Split::Test)];
        let mut own = AttentionSettings {
            size: shared.size,
            layers: shared.layers,
            seed: shared.seed,
            ..AttentionSettings::default()
        };
        if self.all.contains_key("resamples") {
            own.resamples = shared.resamples;
        }
        if let Some(split) = self.read("split", |text| one_of(&splits, text)) {
            own.split = split;
        }
        own.limit = match own.split {
            Split::Train => shared.limit_train,
            Split::Test => shared.limit_test,
        };
        let queries = match self.all.get("queries") {
            Some(Value::Array(list)) => list.iter().map(text_of).collect(),
            Some(one) => vec![text_of(one)],
            None => Vec::new(),
        };
        for text in queries {
            match text.parse() {
                Ok(query) => own.queries.push(query),
                Err(problem) => self.problem("queries", problem),
            }
        }
        own
    }

    fn correspond(&mut self) -> CorrespondSettings {
        let shared = self.settings(|setting| OF_CORRESPOND.contains(&setting.flag));
        let splits = [
            ("trn", PairSplit::Train),
            ("val", PairSplit::Val),
            ("test", PairSplit::Test),
        ];
        let lists = [("large", Layout::Large), ("small", Layout::Small)];
        let mut own = CorrespondSettings {
            size: shared.size,
            layers: shared.layers,
            facets: shared.facets,
            token_norm: shared.token_norm,
            rope: shared.rope,
            limit_pairs: self.whole("limit-pairs"),
            ..CorrespondSettings::default()
        };
        if self.all.contains_key("examples") {
            own.examples = shared.examples;
        }
        if let Some(split) = self.read("split", |text| one_of(&splits, text)) {
            own.split = split;
        }
        if let Some(list) = self.read("list", |text| one_of(&lists, text)) {
            own.layout = list;
        }
        if let Some(fit) = self.read("fit", str::parse) {
            own.fit = fit;
        }
        if let Some(alphas) = self.numbers("alpha") {
            match alphas.iter().all(|&alpha| alpha > 0.0) && !alphas.is_empty() {
                true => own.alphas = alphas,
                false => self.problem("alpha", "expected positive numbers"),
            }
        }
        if let Some(mib) = self.whole("memory-mib") {
            own.memory = mib.saturating_mul(1 << 20);
        }
        own
    }
}
