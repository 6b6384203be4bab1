//! The values of one job as a plan gives them, read into what each command takes.

use std::collections::BTreeMap;

use toml::{Table, Value};
use vitscope_data::Split;
use vitscope_run::RunKind;
use vitscope_study::attention::AttentionSettings;
use vitscope_study::correspond::CorrespondSettings;
use vitscope_study::settings::{SETTINGS, Setting, Settings};
use vitscope_vit::identify::Settle;
use vitscope_vit::shapes::ShapeError;

/// What names a job, whatever its command.
pub(crate) const NAMING: [&str; 5] = ["command", "model", "features", "data", "shards"];

/// Settings of the main job that the others have too.
pub(crate) const OF_ATTENTION: [&str; 8] = [
    "size",
    "layers",
    "limit-train",
    "limit-test",
    "resamples",
    "seed",
    "split",
    "queries",
];
pub(crate) const OF_CORRESPOND: [&str; 12] = [
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

/// The command-line name of a key.
pub(crate) fn flag(key: &str) -> String {
    Setting::called(key).map_or_else(|| key.to_owned(), |setting| setting.flag.to_owned())
}

/// A value as it would be typed.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text_of).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The values of one job, and what was wrong with them.
pub(crate) struct Values {
    /// By the names of their flags.
    pub(crate) all: BTreeMap<String, Value>,
    /// Keys of the job's own table, not of the base.
    own: Vec<String>,
    /// Keys, and what is wrong with each.
    pub(crate) problems: Vec<(String, String)>,
}

impl Values {
    /// Those of a job's own table over those of the base.
    pub(crate) fn new(base: &Table, own: &Table) -> Self {
        let mut all = BTreeMap::new();
        for (key, value) in base.iter().chain(own) {
            all.insert(flag(key), value.clone());
        }
        Self {
            all,
            own: own.keys().map(|key| flag(key)).collect(),
            problems: Vec::new(),
        }
    }

    /// Notes what is wrong with a key.
    pub(crate) fn problem(&mut self, key: &str, problem: impl Into<String>) {
        self.problems.push((key.to_owned(), problem.into()));
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match self.all.get(key)? {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.problem(key, "expected a text");
                None
            }
        }
    }

    pub(crate) fn whole(&mut self, key: &str) -> Option<usize> {
        match self.all.get(key)? {
            &Value::Integer(number) if number >= 0 => Some(number as usize),
            _ => {
                self.problem(key, "expected a whole number");
                None
            }
        }
    }

    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
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

    /// The settings of the main job, as far as `of` names them.
    pub(crate) fn settings(&mut self, of: impl Fn(&Setting) -> bool) -> Settings {
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

    /// Takes out what the base says for jobs of other commands; what a job's own table says must fit.
    pub(crate) fn leave_to_others(&mut self, kind: RunKind) {
        let fits = |key: &str| {
            NAMING.contains(&key)
                || Settle::NAMES.contains(&key)
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

    /// What the checkpoint leaves open.
    pub(crate) fn settle(&mut self) -> Settle {
        let mut settle = Settle::default();
        for name in Settle::NAMES {
            let Some(value) = self.all.get(name) else {
                continue;
            };
            if let Err(problem) = settle.set(name, &text_of(value)) {
                self.problem(name, problem);
            }
        }
        match settle.check() {
            Err(problem @ ShapeError::NoF16) => self.problem("dtype", problem.to_string()),
            Err(problem) => self.problem("device", problem.to_string()),
            Ok(()) => {}
        }
        settle
    }

    pub(crate) fn attention(&mut self) -> AttentionSettings {
        let shared = self.settings(|setting| OF_ATTENTION.contains(&setting.flag));
        let mut own = AttentionSettings {
            size: shared.size,
            layers: shared.layers,
            seed: shared.seed,
            ..AttentionSettings::default()
        };
        if self.all.contains_key("resamples") {
            own.resamples = shared.resamples;
        }
        if let Some(split) = self.read("split", str::parse) {
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

    pub(crate) fn correspond(&mut self) -> CorrespondSettings {
        let shared = self.settings(|setting| OF_CORRESPOND.contains(&setting.flag));
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
        if let Some(split) = self.read("split", str::parse) {
            own.split = split;
        }
        if let Some(list) = self.read("list", str::parse) {
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
        let mib = self.whole("memory-mib");
        own.memory = mib.map(|mib| mib.saturating_mul(1 << 20));
        own
    }
}
