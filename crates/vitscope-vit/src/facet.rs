//! The four embeddings of a block, and the tensors a forward pass can hand out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the four embeddings that every block offers (PROTOCOL section 2).
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

/// A tensor that a forward pass can hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The input of the first block (layer 0).
    Embedding,
    /// Queries before rotation, unscaled.
    Query,
    /// Keys before rotation.
    Key,
    /// Values.
    Value,
    /// Queries after rotation; equal to `Query` in models without rotary positions.
    QueryRotated,
    /// Keys after rotation; equal to `Key` in models without rotary positions.
    KeyRotated,
    /// The block's output.
    Token,
    /// The last block's output after the final LayerNorm.
    FinalNorm,
    /// The softmax attention weights of every head.
    Attention,
}

/// Which tensors a forward pass hands out. Layers count from 1; layer 0 is the embedding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taps(Vec<(usize, Kind)>);

impl Taps {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one tensor of one layer.
    pub fn add(&mut self, layer: usize, kind: Kind) {
        if !self.wants(layer, kind) {
            self.0.push((layer, kind));
        }
    }

    /// Whether a tensor is tapped.
    #[must_use]
    pub fn wants(&self, layer: usize, kind: Kind) -> bool {
        self.0.contains(&(layer, kind))
    }

    /// Whether any tensor of any of these kinds is tapped in a layer.
    #[must_use]
    pub fn wants_any(&self, layer: usize, kinds: &[Kind]) -> bool {
        kinds.iter().any(|&kind| self.wants(layer, kind))
    }

    /// The deepest layer that is tapped.
    #[must_use]
    pub fn deepest(&self) -> usize {
        self.0.iter().map(|&(layer, _)| layer).max().unwrap_or(0)
    }
}
