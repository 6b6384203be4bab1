//! What varies among runs that stand side by side.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::record::{Record, RunKind};

/// Values of a setting that a warning names.
const NAMED: usize = 6;

/// What runs may differ in and still be set side by side without a word: what comparisons are made over.
const MEANT: [&str; 4] = ["model", "seed", "transform", "transform_fit"];

/// What varies among runs, and each run's values of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Varying {
    /// `model`, `data`, and settings that can change a number; the seed comes last.
    pub names: Vec<String>,
    /// For each run, its values in the order of the names; empty for a setting that it does not have.
    pub values: Vec<Vec<String>>,
    /// Each run's command. Settings of different commands are not held against one another.
    kinds: Vec<RunKind>,
}

/// The settings that can change a number, with seed and data, as text.
#[must_use]
pub fn named_settings(record: &Record) -> BTreeMap<String, String> {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(values) => {
            let texts = values.iter();
            let texts = texts.map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let counting = record.settings_that_count();
    let counting = counting.map(|(name, value)| (name.to_owned(), plain(value)));
    let mut settings: BTreeMap<String, String> = counting.collect();
    settings
        .entry("seed".to_owned())
        .or_insert_with(|| record.seed.to_string());
    settings.insert("data".to_owned(), record.data.kind.clone());
    settings
}

/// What runs have in common that repeat one another, by name: settings that can change a number, weights and how
/// they are read, data, and what was made of these.
#[must_use]
pub fn facts(record: &Record) -> BTreeMap<String, String> {
    let mut facts = named_settings(record);
    let (model, data) = (&record.model, &record.data);
    for (name, value) in [
        ("model", model.name.clone()),
        ("weights", model.sha256.clone()),
        ("precision", model.precision.clone().unwrap_or_default()),
        ("read as", Record::read_as(&model.identity).to_string()),
        ("data", format!("{} {}", data.kind, data.list_hash)),
        ("contents", data.contents.clone()),
        ("images", format!("{} + {}", data.train, data.test)),
        ("size", record.size.to_string()),
        ("clusters", record.clusters.to_string()),
    ] {
        facts.insert(name.to_owned(), value);
    }
    facts
}

impl Varying {
    /// What differs between any two of these runs.
    #[must_use]
    pub fn of(records: &[&Record]) -> Self {
        // Where data sets of one kind differ, their own names tell them apart.
        let is_ambiguous = |record: &Record| {
            let data = &record.data;
            let mut others = records.iter().map(|other| &other.data);
            others.any(|other| other.kind == data.kind && other.list_hash != data.list_hash)
        };
        let all: Vec<BTreeMap<String, String>> = records
            .iter()
            .map(|record| {
                let mut own = named_settings(record);
                if is_ambiguous(record) && !record.asked.is_empty() {
                    own.insert("data".to_owned(), record.asked.clone());
                }
                let name = match record.model.name.as_str() {
                    "" => "unnamed model",
                    name => name,
                };
                own.insert("model".to_owned(), name.to_owned());
                own
            })
            .collect();
        let names: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
        let differs = |name: &&String| all.iter().any(|own| own.get(*name) != all[0].get(*name));
        let mut names: Vec<String> = names.into_iter().filter(differs).cloned().collect();
        names.sort_by_key(|name| match name.as_str() {
            "model" => 0,
            "data" => 1,
            "seed" => 3,
            _ => 2,
        });
        let values = all.iter().map(|own| {
            let values = names.iter();
            let values = values.map(|name| own.get(name).cloned().unwrap_or_default());
            values.collect()
        });
        Self {
            values: values.collect(),
            names,
            kinds: records.iter().map(|record| record.kind).collect(),
        }
    }

    /// One sentence on what differs between runs of one command apart from model, seed and transform,
    /// which comparisons are made over; `None` where nothing does.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let differing = self.names.iter().enumerate().filter_map(|(place, name)| {
            if MEANT.contains(&name.as_str()) {
                return None;
            }
            let mut by_kind: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for (own, kind) in self.values.iter().zip(&self.kinds) {
                let values = by_kind.entry(kind.name()).or_default();
                values.insert(own[place].as_str());
            }
            let values = by_kind.into_values().find(|values| values.len() > 1)?;
            let mut sorted: Vec<&str> = values.iter().copied().collect();
            sorted.sort_by(|a, b| in_order(a, b));
            let shown = sorted.iter().take(NAMED).map(|value| match *value {
                "" => "not set",
                value => value,
            });
            let more = if values.len() > NAMED { ", …" } else { "" };
            let shown = shown.collect::<Vec<_>>().join(", ");
            Some(format!("{} ({shown}{more})", name.replace('_', " ")))
        });
        let differing: Vec<String> = differing.collect();
        (!differing.is_empty()).then(|| {
            format!(
                "settings that can change numbers differ between these runs: {}; compare like with like",
                differing.join("; ")
            )
        })
    }
}

/// The order of two values of a setting: numbers by size, before words.
#[must_use]
pub fn in_order(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::INFINITY);
    number(a).total_cmp(&number(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(settings: &str, seed: u64) -> Record {
        let text = format!(r#"{{"format": 1, "settings": {settings}, "seed": {seed}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_varies_is_named_and_what_counts_is_warned_of() {
        let runs = [
            record(r#"{"steps": 5, "threads": 1}"#, 0),
            record(r#"{"steps": 10, "threads": 2}"#, 1),
        ];
        let varying = Varying::of(&[&runs[0], &runs[1]]);
        assert_eq!(varying.names, ["steps", "seed"]);
        assert_eq!(varying.values, [["5", "0"], ["10", "1"]]);
        let warning = varying.warning().unwrap();
        assert!(warning.contains("steps (5, 10);"), "{warning}");
        let seeds = Varying::of(&[&runs[0], &record(r#"{"steps": 5}"#, 1)]);
        assert_eq!((seeds.warning(), seeds.names.len()), (None, 1));
        // Two data sets of one kind are two.
        let of = |asked: &str, seed| {
            let mut record = record(r#"{"steps": 5}"#, seed);
            record.asked = asked.to_owned();
            record.data.list_hash = asked.to_owned();
            record
        };
        let [a, b] = [of("folder:a", 0), of("folder:b", 1)];
        let data = Varying::of(&[&a, &b]);
        assert_eq!(data.names, ["data", "seed"]);
        assert!(data.warning().unwrap().contains("folder:a, folder:b"));
        let mut repeated = [facts(&a), facts(&of("folder:a", 1)), facts(&b)];
        for facts in &mut repeated {
            facts.remove("seed");
        }
        assert_eq!(repeated[0], repeated[1]);
        assert_ne!(repeated[0], repeated[2]);
    }
}
