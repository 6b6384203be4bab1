//! What a run looks at: facets, slots, and the subject of a number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::LAYERS;

/// One of the four embeddings that every block offers (docs/protocol.md section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Facet {
    /// The attention's keys, heads concatenated, before any rotation.
    Key,
    /// The attention's queries, heads concatenated, before any rotation.
    Query,
    /// The attention's values, heads concatenated.
    Value,
    /// The block's output after both residual additions.
    Token,
}

impl Facet {
    /// All four, in the order in which they are listed everywhere.
    pub const ALL: [Self; 4] = [Self::Key, Self::Query, Self::Value, Self::Token];

    /// The name used in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Query => "query",
            Self::Value => "value",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for Facet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Facet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|facet| facet.name() == text)
            .ok_or_else(|| format!("`{text}` is no facet: expected key, query, value or token"))
    }
}

/// One layer's facet (docs/protocol.md section 2). Layers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The facet.
    pub facet: Facet,
    /// The layer, from 1.
    pub layer: usize,
}

impl fmt::Display for Slot {
    /// The name used in files: `key.9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.facet, self.layer)
    }
}

impl FromStr for Slot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || {
            format!(
                "`{text}` is no slot: expected a name such as key.9, of a layer from 1 to {LAYERS}"
            )
        };
        let (facet, layer) = text.split_once('.').ok_or_else(problem)?;
        let slot = Self {
            facet: facet.parse().map_err(|_| problem())?,
            layer: layer.parse().map_err(|_| problem())?,
        };
        // A slot has one name: `key.03` would be another one's.
        let is_named = (1..=LAYERS).contains(&slot.layer) && slot.to_string() == text;
        is_named.then_some(slot).ok_or_else(problem)
    }
}

/// What a number, a map or a count is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The data set's own labels.
    GroundTruth,
    /// A layer as a whole: its attention.
    Layer(usize),
    /// A layer's facet.
    Slot(Slot),
}

impl Subject {
    /// The facet's layer `layer`, from 1.
    #[must_use]
    pub fn slot(facet: Facet, layer: usize) -> Self {
        Self::Slot(Slot { facet, layer })
    }
}

impl fmt::Display for Subject {
    /// The name used in files: `ground_truth`, `key.9`, `layer.9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroundTruth => f.write_str("ground_truth"),
            Self::Layer(layer) => write!(f, "layer.{layer}"),
            Self::Slot(slot) => slot.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ground_truth" => Ok(Self::GroundTruth),
            _ => text.parse().map(Self::Slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        let slot: Slot = "query.11".parse().unwrap();
        assert_eq!(slot.to_string(), "query.11");
        for none in [
            "query",
            "key.0",
            "key.03",
            "key.+3",
            "key.1001",
            "key.4294967297",
        ] {
            assert!(none.parse::<Slot>().is_err(), "{none}");
        }
        for name in ["ground_truth", "value.3"] {
            assert_eq!(name.parse::<Subject>().unwrap().to_string(), name);
        }
        assert!("layer.3".parse::<Subject>().is_err());
    }
}
