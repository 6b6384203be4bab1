//! The table of released models: what was released, where, on what terms, and the two things about
//! each that no tensor tells, its heads and the normalization of its images.
//!
//! It is one file, `models.toml`, read by whoever recognizes a checkpoint and by whoever downloads
//! one (the crate `vitscope-hub`), so that the two cannot know different models.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::names::{Family, Format};

/// One place where the weights of a model are published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// For which program; those of the JAX archives count as official.
    pub format: Format,
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

impl Publication {
    /// Names of the authors' files: the backbone's, and the full training checkpoint's.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let full = self
            .full_url
            .as_deref()
            .and_then(|url| url.rsplit('/').next());
        self.file.as_deref().into_iter().chain(full)
    }
}

/// Per-channel mean and standard deviation of a model's images, in units of full intensity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Mean and deviation of ImageNet's photographs.
    ImageNet,
    /// 0.5 everywhere: intensities from -1 to 1.
    Half,
    /// Those of CLIP's training images.
    Clip,
    /// Those of DINOv3's satellite images (SAT-493M).
    Satellite,
}

impl Normalization {
    /// Mean and standard deviation of red, green and blue.
    #[must_use]
    pub fn mean_std(self) -> ([f64; 3], [f64; 3]) {
        match self {
            Self::ImageNet => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            Self::Half => ([0.5; 3], [0.5; 3]),
            Self::Clip => (
                [0.481_454_66, 0.457_827_5, 0.408_210_73],
                [0.268_629_54, 0.261_302_58, 0.275_777_11],
            ),
            Self::Satellite => ([0.430, 0.411, 0.296], [0.213, 0.156, 0.143]),
        }
    }
}

/// One released model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownModel {
    /// Short name: family, size and patch.
    pub name: String,
    /// Training method.
    pub family: Family,
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
    /// Hidden width of the feed-forward part.
    pub hidden: usize,
    /// Whether the feed-forward part is gated (SwiGLU).
    #[serde(default)]
    pub swiglu: bool,
    /// Register tokens.
    pub registers: usize,
    /// Side of the images it was trained on, in pixels.
    pub image: usize,
    /// Weights of the backbone, as timm counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// How its images are normalized.
    pub normalization: Normalization,
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
    pub fn publication(&self, format: Option<Format>) -> Option<&Publication> {
        match format {
            Some(Format::Augreg) => self.publication(Some(Format::Official)),
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
        self.names().any(|name| name.to_lowercase().contains(&text))
            || self.family.to_string().contains(&text)
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

    /// Whether it is published under this Hugging Face id.
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        self.sources
            .iter()
            .any(|source| source.id.as_deref() == Some(id))
    }

    /// Whether its authors publish it in a file of this name.
    #[must_use]
    pub fn has_file(&self, file: &str) -> bool {
        self.sources
            .iter()
            .any(|source| source.files().any(|name| name == file))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownTable {
    model: Vec<KnownModel>,
}

/// Every known model, family by family, small to large.
///
/// ```
/// let mut models = vitscope_vit::known::models().iter();
/// let model = models.find(|model| model.name == "dinov2-b14").expect("it was released");
/// assert_eq!((model.patch, model.width, model.heads), (14, 768, 12));
/// assert!(model.sources.iter().any(|source| source.id.is_some()));
/// ```
#[must_use]
pub fn models() -> &'static [KnownModel] {
    static TABLE: LazyLock<KnownTable> = LazyLock::new(|| {
        // The table is part of the program, so a wrong one is a bug that a test finds.
        toml::from_str(include_str!("models.toml"))
            .unwrap_or_else(|error| panic!("the table of models is wrong: {error}"))
    });
    &TABLE.model
}

/// The sizes of a backbone by which released models are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    /// Embedding width.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Hidden width of the feed-forward part.
    pub hidden: usize,
    /// Whether the feed-forward part is gated.
    pub gated: bool,
}

impl KnownModel {
    /// Whether the model has these sizes.
    pub(crate) fn is_built(&self, build: &Build) -> bool {
        *build
            == Build {
                width: self.width,
                depth: self.depth,
                patch: self.patch,
                hidden: self.hidden,
                gated: self.swiglu,
            }
    }
}

/// The released models of a family with these sizes, which differ in their data alone.
pub(crate) fn alike(family: Family, build: &Build) -> impl Iterator<Item = &'static KnownModel> {
    let build = *build;
    models()
        .iter()
        .filter(move |known| known.family == family && known.is_built(&build))
}
