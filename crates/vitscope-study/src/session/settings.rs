//! What a user can set for the main job, with the paper's values as defaults.
//!
//! [`SETTINGS`] is the one definition: the fields of [`Settings`], the flags of the command line, the
//! names in a settings file and the help all come from it. What a setting can change is in
//! [`vitscope_run::settings`].

mod takes;
mod words;

use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use vitscope_probe::{AdamSettings, Transform};
use vitscope_run::{Facet, Select};

use crate::error::StudyError;
use crate::layers::Layers;
use crate::shard::Shard;
pub use takes::Takes;
use takes::{FromTyped, bytes};
pub(crate) use words::words;
pub use words::{Matching, Positions, SaveCounts, SaveLabels, Side, TransformFit};

/// One setting: how it is typed, what it takes, and what it says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in [`Settings`] and in `run.json`.
    pub name: &'static str,
    /// Its name as a flag and in a settings file.
    pub flag: &'static str,
    /// What it is, one line.
    pub help: &'static str,
    /// What it is unless it is set, as it is shown.
    pub default: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Whether several values may be given, each for a run of its own.
    pub varies: bool,
    /// Whether several values, taken together, are one.
    pub list: bool,
    set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// Declares [`Settings`], its defaults and [`SETTINGS`]. A line is
/// `name: type = default, "default as shown", takes;` and may be preceded by `#[varies]`, `#[list]` or
/// `#[flag = "..."]`, and followed by `=> how it is read`.
macro_rules! settings {
    (@flag $name:ident) => { stringify!($name) };
    (@flag $name:ident $flag:literal) => { $flag };
    (@set $name:ident) => { |settings, text| { settings.$name = FromTyped::typed(text)?; Ok(()) } };
    (@set $name:ident $read:expr) => { |settings, text| { settings.$name = $read(text)?; Ok(()) } };
    ($(
        $(#[doc = $doc:literal])+
        $(#[serde($($serde:tt)+)])?
        $(#[flag = $flag:literal])?
        $(#[is($is:ident)])?
        $name:ident: $type:ty = $default:expr, $shown:literal, $takes:expr $(=> $read:expr)?;
    )+) => {
        /// Every setting of a probing run. All of them are written into `run.json`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct Settings {
            $($(#[doc = $doc])+ $(#[serde($($serde)+)])? pub $name: $type,)+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// Every setting, in the order of the help.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            flag: settings!(@flag $name $($flag)?),
            help: concat!($($doc),+),
            default: $shown,
            takes: $takes,
            varies: matches!(stringify!($($is)?).as_bytes(), b"varies"),
            list: matches!(stringify!($($is)?).as_bytes(), b"list"),
            set: settings!(@set $name $($read)?),
        },)+];
    };
}

/// More images, steps or samples than this are a slip of the finger.
const MANY: u64 = 1_000_000_000;

/// Patches of the kNN reader's memory: on a ViT-S/14, both readers then take 3 to 5 % of a forward pass a slot.
const READER_PATCHES: usize = 4096;

fn reader_patches() -> usize {
    READER_PATCHES
}

const FACETS: &[&str] = &["key", "query", "value", "token"];

settings! {
    /// Side of the square crop in pixels; the nearest multiple of the patch is used
    size: usize = 320, "320", Takes::Whole(1, 4096);
    /// Clusters
    clusters: Option<usize> = None, "the number of classes; 27 without ground truth", Takes::Whole(1, 65_535);
    /// Clusters beyond that (the paper's overclustering uses 70); several, such as 0,70, make a run each
    #[flag = "extra-clusters"]
    #[is(varies)]
    extra_clusters: usize = 0, "0", Takes::Whole(0, 65_535);
    /// Training steps
    steps: usize = 5000, "5000", Takes::Whole(0, 10_000_000);
    /// Images per step; several, such as 24,32,48, make a run each
    #[is(varies)]
    batch: usize = 24, "24", Takes::Whole(1, 65_536);
    /// Adam's rate
    lr: f64 = 5e-3, "0.005", Takes::Above(0.0, 1e6);
    /// Training batches that give the principal directions
    #[flag = "pca-batches"]
    pca_batches: usize = 96, "96", Takes::Whole(1, 1_000_000);
    /// Of this many training batches, one is one of those; several, such as 1,2,4, make a run each
    #[flag = "pca-interval"]
    #[is(varies)]
    pca_interval: usize = 1, "1", Takes::Whole(1, 1_000_000);
    /// Seed of everything drawn at random
    seed: u64 = 0, "0", Takes::Whole(0, u64::MAX);
    /// Layers: all, last, or a list such as 1,3,9-12
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    layers: Layers = Layers::All, "all", Takes::Text("LAYERS");
    /// Facets
    #[is(list)]
    facets: Vec<Facet> = Facet::ALL.to_vec(), "all four", Takes::Words(FACETS);
    /// Take training images in file order
    #[flag = "no-shuffle"]
    shuffle: bool = true, "", Takes::Switch => |text: &str| bool::typed(text).map(|off| !off);
    /// Matching with extra clusters: one to one, or each left-over cluster to the class it overlaps most
    matching: Matching = Matching::Hungarian, "hungarian", Takes::Words(Matching::WORDS);
    /// Pixels that count for the positional effect
    positions: Positions = Positions::All, "all", Takes::Words(Positions::WORDS);
    /// Last token after or before the final LayerNorm, or a run for both
    #[flag = "token-norm"]
    #[is(varies)]
    token_norm: Side = Side::After, "after", Takes::Words(&["before", "after", "both"]);
    /// Keys and queries of a rotary model before or after rotation
    rope: Side = Side::Before, "before", Takes::Words(Side::WORDS);
    /// What is taken out of the patch vectors before they are probed: none, center, standardize, mean, svd:R, blank:R, leace:F, rasa:T, random:R or content:R; several make a run each, and random:Rx5 makes five draws
    #[serde(default, serialize_with = "as_text", deserialize_with = "from_text")]
    #[is(varies)]
    transform: Transform = Transform::None, "none", Takes::Text("TRANSFORM");
    /// What a transform is fitted on: training images as they are, or each of them also mirrored, upside down and turned, so that what the data show above and below cancels
    #[serde(default)]
    #[flag = "transform-fit"]
    transform_fit: TransformFit = TransformFit::Train, "train", Takes::Words(TransformFit::WORDS);
    /// Take the transform of this run instead of fitting one
    #[serde(default)]
    #[flag = "transform-from"]
    transform_from: Option<String> = None, "", Takes::Text("RUN");
    /// Label maps to keep
    #[flag = "save-labels"]
    save_labels: SaveLabels = SaveLabels::Examples, "examples", Takes::Words(SaveLabels::WORDS);
    /// Position counts to keep: on the patch grid, or at every pixel, which exact re-use needs
    #[flag = "save-counts"]
    save_counts: SaveCounts = SaveCounts::Grid, "grid", Takes::Words(SaveCounts::WORDS);
    /// Sharpness of the soft aggregate maps, the mean softmax of so many times the cosine; 0 leaves them out
    #[serde(default)]
    soft: u32 = 10, "10", Takes::Whole(0, 1000);
    /// Also read classes with labels of training images, by nearest patches (kNN) and linearly, beside k-means, which needs none
    #[serde(default)]
    readers: bool = false, "", Takes::Switch;
    /// Training patches that the kNN reader remembers of each slot
    #[serde(default = "reader_patches")]
    #[flag = "reader-patches"]
    reader_patches: usize = READER_PATCHES, "4096", Takes::Whole(1, 10_000_000);
    /// Measure the locality bias of every layer's attention too, in the same forward pass
    attention: bool = false, "", Takes::Switch;
    /// Also look for artifacts on 64 test images: tokens that are too long, likeness to neighbors and to the class token, pieces of labels, patterns of the mean map
    #[serde(default)]
    artifacts: bool = false, "", Takes::Switch;
    /// Layer at which each facet is shown: best-miou, layer:N or last
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    select: Select = Select::BestMiou, "best-miou", Takes::Text("LAYER");
    /// Example images
    examples: usize = 12, "12", Takes::Whole(0, 10_000);
    /// Circular shifts and bootstrap samples behind the positional effect's error bar
    resamples: usize = 100, "100", Takes::WholeOrNone(2, 10_000);
    /// Only this many training images, the first ones
    #[flag = "limit-train"]
    limit_train: Option<usize> = None, "", Takes::Whole(1, MANY);
    /// Only this many test images, the first ones
    #[flag = "limit-test"]
    limit_test: Option<usize> = None, "", Takes::Whole(1, MANY);
    /// Leave out up to this many images that cannot be used, instead of stopping at the first
    #[flag = "skip-bad"]
    skip_bad: usize = 0, "0", Takes::Whole(0, MANY);
    /// Threads; results do not depend on it
    threads: Option<usize> = None, "all cores", Takes::Whole(1, MAX_THREADS);
    /// Disk that facets of training images may take until the run ends, so that each is run through the model once: 20GB, say, or 0 for none
    #[flag = "cache-budget"]
    cache_budget: Option<u64> = None, "10 GiB or half of what is free", Takes::Text("BYTES") => bytes;
    /// Count only a part of the test images, such as 2/4 (the second quarter); `merge` makes a run of all parts
    shard: Option<Shard> = None, "", Takes::Text("I/N");
    /// Seconds after which unfinished work is stored, for --resume
    #[flag = "save-every"]
    save_every: u64 = 60, "60", Takes::Whole(0, 1_000_000);
}

/// More threads than any machine has.
pub const MAX_THREADS: u64 = 4096;

impl Setting {
    /// Whether this is what a flag or a name in a settings file means.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.flag == name || self.name == name
    }

    /// The setting of this name, as a flag or as in `run.json`.
    #[must_use]
    pub fn called(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.is_called(name))
    }

    /// A value of a file as it would be typed; `None` where it is of the wrong type.
    #[must_use]
    pub fn plain(&self, value: &toml::Value) -> Option<String> {
        match (self.takes, value) {
            (_, toml::Value::Array(values)) if self.varies || self.list => {
                let values = values.iter().map(|value| self.plain(value));
                let values = values.collect::<Option<Vec<_>>>()?;
                (!values.is_empty()).then(|| values.join(","))
            }
            (Takes::Whole(..) | Takes::WholeOrNone(..), toml::Value::Integer(number)) => {
                Some(number.to_string())
            }
            (Takes::Above(..), toml::Value::Float(number)) => Some(number.to_string()),
            (Takes::Above(..), toml::Value::Integer(number)) => Some(number.to_string()),
            (Takes::Switch, toml::Value::Boolean(on)) => Some(on.to_string()),
            (Takes::Words(_) | Takes::Text(_), toml::Value::String(text)) => Some(text.clone()),
            (Takes::Text(_), toml::Value::Integer(number)) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl Settings {
    /// How the centroids learn.
    #[must_use]
    pub fn adam(&self) -> AdamSettings {
        AdamSettings {
            rate: self.lr,
            ..AdamSettings::default()
        }
    }

    /// Sets what is called `name` (as a flag, or in `run.json`) to what was typed.
    ///
    /// # Errors
    /// One sentence, for a name that is none and for a value that cannot be.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), StudyError> {
        let Some(setting) = Setting::called(name) else {
            return Err(StudyError::setting(format!("`{name}` is no setting")));
        };
        let read = |()| (setting.set)(self, text);
        setting
            .takes
            .check(text)
            .and_then(read)
            .map_err(|problem| StudyError::setting(format!("`{}` {text}: {problem}", setting.flag)))
    }

    /// Checks what can be checked without model and data: every number against its range.
    ///
    /// # Errors
    /// One sentence naming the setting.
    pub fn check(&self) -> Result<(), StudyError> {
        let values = object(self);
        for setting in SETTINGS {
            let value = values.get(setting.name).and_then(serde_json::Value::as_f64);
            if value.is_some_and(|value| !setting.takes.holds(value)) {
                return Err(StudyError::setting(format!(
                    "`{}` must be {}",
                    setting.flag,
                    setting.takes.told()
                )));
            }
        }
        // What is not a finite number is stored as nothing at all.
        if !self.lr.is_finite() {
            return Err(StudyError::setting("`lr` must be a positive number"));
        }
        if self.facets.is_empty() {
            return Err(StudyError::setting(
                "`facets` must name at least one of key, query, value, token",
            ));
        }
        Ok(())
    }
}

impl Settings {
    /// Refuses what a feature directory cannot give.
    ///
    /// # Errors
    /// One sentence naming the setting.
    pub fn check_features(&self) -> Result<(), StudyError> {
        let needs = [
            (
                matches!(self.transform, Transform::Blank(_)),
                "`transform` blank needs a model: a feature directory holds no black image's embeddings",
            ),
            (
                self.transform_fit == TransformFit::Neutral,
                "`transform-fit` neutral needs a model: a feature directory holds no turned images' embeddings",
            ),
            (
                self.attention,
                "`attention` needs a model: a feature directory holds no attention weights",
            ),
            (
                self.skip_bad > 0,
                "`skip-bad` needs a model: a feature directory holds every image of the data set already",
            ),
        ];
        match needs.iter().find(|(asked, _)| *asked) {
            None => Ok(()),
            Some((_, sentence)) => Err(StudyError::setting(*sentence)),
        }
    }
}

/// Refuses the one number of bootstrap samples that makes no interval: see `resamples` of [`Settings`].
///
/// # Errors
/// A sentence.
pub(crate) fn check_resamples(resamples: usize) -> Result<(), StudyError> {
    match resamples {
        1 => Err(StudyError::setting("`resamples` must be 0, or at least 2")),
        _ => Ok(()),
    }
}

/// Settings as `run.json` shows them.
#[must_use]
pub fn object<T: Serialize>(settings: &T) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    }
}

pub(crate) fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn from_text<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(
    reader: D,
) -> Result<T, D::Error> {
    String::deserialize(reader)?
        .parse()
        .map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_papers() {
        let settings = Settings::default();
        settings.check().unwrap();
        assert_eq!(
            (
                settings.steps,
                settings.batch,
                settings.pca_batches,
                settings.lr
            ),
            (5000, 24, 96, 5e-3)
        );
    }

    #[test]
    fn a_bad_setting_is_named() {
        let bad = Settings {
            batch: 0,
            ..Settings::default()
        };
        assert!(bad.check().unwrap_err().to_string().contains("`batch`"));
        for lr in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let bad = Settings {
                lr,
                ..Settings::default()
            };
            assert!(
                bad.check().unwrap_err().to_string().contains("`lr`"),
                "{lr}"
            );
        }
        assert!(
            "sometimes"
                .parse::<Side>()
                .unwrap_err()
                .contains("before, after")
        );
    }

    /// What is shown as a default, typed, is the default.
    #[test]
    fn defaults_are_what_the_help_says() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            if setting.takes.check(setting.default).is_ok()
                && !setting.default.is_empty()
                && settings.set(setting.flag, setting.default).is_ok()
            {
                assert_eq!(settings, Settings::default(), "{}", setting.name);
            }
        }
    }

    #[test]
    fn numbers_beyond_their_range_are_refused() {
        for (name, text) in [
            ("extra-clusters", "18446744073709551613"),
            ("resamples", "1000000000"),
            ("steps", "10000000000000"),
            ("threads", "100000"),
            ("size", "0"),
            ("batch", "-3"),
            ("lr", "inf"),
            ("examples", "1.5"),
            ("rope", "beside"),
            ("stepps", "4"),
        ] {
            let error = Settings::default().set(name, text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn what_is_typed_is_set() {
        let mut settings = Settings::default();
        for (name, text) in [
            ("no-shuffle", "true"),
            ("facets", "token,key,key"),
            ("cache-budget", "20GB"),
            ("limit_train", "7"),
            ("shard", "2/4"),
        ] {
            settings.set(name, text).unwrap();
        }
        assert!(!settings.shuffle);
        assert_eq!(settings.facets, [Facet::Key, Facet::Token]);
        assert_eq!(settings.cache_budget, Some(20_000_000_000));
        assert_eq!(settings.limit_train, Some(7));
        assert_eq!(settings.shard, Some(Shard { index: 2, of: 4 }));
    }

    #[test]
    fn flags_are_the_names_with_hyphens() {
        for setting in SETTINGS.iter().filter(|setting| setting.name != "shuffle") {
            assert_eq!(setting.flag, setting.name.replace('_', "-"));
        }
    }

    /// What cannot change a number must be a setting of some command, or it says nothing.
    #[test]
    fn harmless_settings_exist() {
        let own: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        for name in vitscope_run::settings::harmless() {
            assert!(
                own.contains(&name) || ["queries", "memory"].contains(&name),
                "{name}"
            );
        }
    }
}
