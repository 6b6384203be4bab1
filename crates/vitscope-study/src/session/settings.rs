//! What a user can set for the main job, with the paper's values as defaults.

use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use vitscope_probe::AdamSettings;
use vitscope_run::{Facet, Select};

use crate::error::StudyError;
use crate::layers::Layers;
use crate::shard::Shard;

/// Every setting of a probing run. All of them are written into `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Asked side of the square crop in pixels; the nearest multiple of the patch is used.
    pub size: usize,
    /// Clusters; the number of classes where the data set has them, else 27.
    pub clusters: Option<usize>,
    /// Clusters beyond that (overclustering, paper 0.A.5).
    pub extra_clusters: usize,
    /// Training steps.
    pub steps: usize,
    /// Images per training step.
    pub batch: usize,
    /// Adam's rate.
    pub lr: f64,
    /// Training batches whose patches give the principal directions.
    pub pca_batches: usize,
    /// Every how many-th training batch is one of those.
    pub pca_interval: usize,
    /// Seed of the image order and of everything else drawn at random.
    pub seed: u64,
    /// Layers looked at.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub layers: Layers,
    /// Facets looked at.
    pub facets: Vec<Facet>,
    /// Whether the training order is shuffled (`--no-shuffle` turns it off).
    pub shuffle: bool,
    /// How clusters are matched to classes.
    pub matching: Matching,
    /// Which pixels count for the positional effect.
    pub positions: Positions,
    /// Whether the last layer's token is taken after the final LayerNorm or before.
    pub token_norm: Side,
    /// Whether the keys and queries of a rotary model are taken before or after rotation.
    pub rope: Side,
    /// Which test images' label maps are kept.
    pub save_labels: SaveLabels,
    /// On which grid the position counts are kept.
    pub save_counts: SaveCounts,
    /// Whether the locality bias of attention is measured on the test images as well (PROTOCOL
    /// section 9).
    pub attention: bool,
    /// The layer at which each facet is shown.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub select: Select,
    /// Number of example images.
    pub examples: usize,
    /// Random circular shifts for the null of the positional effect, and bootstrap samples for
    /// its interval.
    pub resamples: usize,
    /// Only the first so many training images.
    pub limit_train: Option<usize>,
    /// Only the first so many test images.
    pub limit_test: Option<usize>,
    /// Images that may be left out because they cannot be used.
    pub skip_bad: usize,
    /// Threads; all cores unless set. Results do not depend on it.
    pub threads: Option<usize>,
    /// Bytes of disk that facets of training images may take until the run ends; 0 for none, a default
    /// unless set. Results do not depend on it.
    pub cache_budget: Option<u64>,
    /// The part of the test images that is counted; all of them unless set.
    pub shard: Option<Shard>,
    /// Seconds after which unfinished work is stored. Results do not depend on it.
    pub save_every: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size: 320,
            clusters: None,
            extra_clusters: 0,
            steps: 5000,
            batch: 24,
            lr: 5e-3,
            pca_batches: 96,
            pca_interval: 1,
            seed: 0,
            layers: Layers::All,
            facets: Facet::ALL.to_vec(),
            shuffle: true,
            matching: Matching::Hungarian,
            positions: Positions::All,
            token_norm: Side::After,
            rope: Side::Before,
            save_labels: SaveLabels::Examples,
            save_counts: SaveCounts::Grid,
            attention: false,
            select: Select::BestMiou,
            examples: 12,
            resamples: 100,
            limit_train: None,
            limit_test: None,
            skip_bad: 0,
            threads: None,
            cache_budget: None,
            shard: None,
            save_every: 60,
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

    /// Checks what can be checked without model and data.
    ///
    /// # Errors
    /// One sentence naming the setting.
    pub fn check(&self) -> Result<(), StudyError> {
        let at_least_one = [
            ("--size", self.size),
            ("--clusters", self.clusters.unwrap_or(1)),
            ("--batch", self.batch),
            ("--pca-batches", self.pca_batches),
            ("--pca-interval", self.pca_interval),
            ("--threads", self.threads.unwrap_or(1)),
            ("--limit-train", self.limit_train.unwrap_or(1)),
            ("--limit-test", self.limit_test.unwrap_or(1)),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(StudyError::setting(format!("{name} must be at least 1")));
            }
        }
        if self.size > 4096 {
            return Err(StudyError::setting("--size must be at most 4096 pixels"));
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return Err(StudyError::setting("--lr must be a positive number"));
        }
        if self.facets.is_empty() {
            return Err(StudyError::setting(
                "--facets must name at least one of key, query, value, token",
            ));
        }
        Ok(())
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

fn as_text<T: std::fmt::Display, S: serde::Serializer>(
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

/// A setting that is one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("`{text}` is not one of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words! {
    /// How clusters are matched to classes where there are more clusters (PROTOCOL section 6).
    Matching {
        /// One to one; what stays unmatched counts as wrong.
        Hungarian = "hungarian",
        /// Each left-over cluster joins the class it overlaps most.
        Majority = "majority",
    }
}

words! {
    /// Which pixels count for the positional effect (PROTOCOL section 8).
    Positions {
        /// Every pixel.
        All = "all",
        /// Pixels whose label is not ignored.
        Labeled = "labeled",
    }
}

words! {
    /// Before or after an operation.
    Side {
        /// Before it.
        Before = "before",
        /// After it.
        After = "after",
    }
}

words! {
    /// Which test images' label maps are kept.
    SaveLabels {
        /// None.
        None = "none",
        /// The example images'.
        Examples = "examples",
        /// Every test image's.
        All = "all",
    }
}

words! {
    /// On which grid position counts are kept.
    SaveCounts {
        /// Patches.
        Grid = "grid",
        /// Pixels, which shards and exact re-use need.
        Pixel = "pixel",
    }
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
        assert!(bad.check().unwrap_err().to_string().contains("--batch"));
        assert!(
            "sometimes"
                .parse::<Side>()
                .unwrap_err()
                .contains("before, after")
        );
    }
}
