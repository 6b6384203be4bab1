//! The table of known models: what was released, where, and on what terms.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::error::HubError;

/// The ecosystem that weights were published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceFormat {
    /// The authors' own code.
    Official,
    /// timm.
    Timm,
    /// transformers.
    Transformers,
    /// OpenCLIP.
    OpenClip,
}

impl SourceFormat {
    /// The word used in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::Timm => "timm",
            Self::Transformers => "transformers",
            Self::OpenClip => "open_clip",
        }
    }
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SourceFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [
            Self::Official,
            Self::Timm,
            Self::Transformers,
            Self::OpenClip,
        ]
        .into_iter()
        .find(|format| format.name() == text)
        .ok_or_else(|| format!("`{text}` is not one of official, timm, transformers, open_clip"))
    }
}

/// One place where the weights of a model are published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// For which program.
    pub format: SourceFormat,
    /// Hugging Face id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The folder of the repository that holds this model, where it holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Name of the authors' file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Address of that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Address of the full training checkpoint, heads and optimizer included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_url: Option<String>,
    /// Page to visit; a Hugging Face id is its own page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// Whether access has to be asked for.
    #[serde(default)]
    pub gated: bool,
    /// Anything else to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One released model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownModel {
    /// Short name: family, size and patch.
    pub name: String,
    /// Training method.
    pub family: String,
    /// Size as its authors call it.
    pub size: String,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Embedding width.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Register tokens.
    pub registers: usize,
    /// Side of the images it was trained on, in pixels.
    pub image: usize,
    /// Weights of the backbone, as timm counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// License of the weights.
    pub license: String,
    /// Where statements about the license differ or are incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_note: Option<String>,
    /// Where it is published; the short name takes the first that is on Hugging Face.
    #[serde(rename = "source")]
    pub sources: Vec<Publication>,
}

impl KnownModel {
    /// What the short name stands for: the first publication on Hugging Face, or the first in
    /// `format`.
    #[must_use]
    pub fn publication(&self, format: Option<SourceFormat>) -> Option<&Publication> {
        match format {
            Some(format) => self.sources.iter().find(|source| source.format == format),
            None => self
                .sources
                .iter()
                .find(|source| source.id.is_some())
                .or(self.sources.first()),
        }
    }

    /// Whether `text` occurs in its name, family, an id or a file name, in any case.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.names().any(|name| name.to_lowercase().contains(&text)) || self.family.contains(&text)
    }

    /// Short name, ids and file names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.sources.iter().flat_map(|source| {
            source
                .id
                .as_deref()
                .into_iter()
                .chain(source.file.as_deref())
        }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    model: Vec<KnownModel>,
}

/// Every known model, family by family, small to large.
///
/// # Errors
/// Never, as long as the tests of this crate pass: the table is part of the program.
pub fn models() -> Result<&'static [KnownModel], HubError> {
    static TABLE: OnceLock<Result<Table, String>> = OnceLock::new();
    TABLE
        .get_or_init(|| {
            toml::from_str(include_str!("models.toml")).map_err(|error| error.to_string())
        })
        .as_ref()
        .map(|table| table.model.as_slice())
        .map_err(|problem| HubError::Table(problem.clone()))
}
