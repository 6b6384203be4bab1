//! Naming schemes: which tensor of a file is which part of the backbone.
//!
//! A dialect is a table, one TOML file beside this one: canonical name on the left, name in the
//! file on the right. Adding a dialect is adding a file and its line in [`TABLES`]. Canonical names
//! that end in `?` are optional, but either in every block or in none.
//!
//! The canonical names are `patch`, `class`, `registers`, `positions`, `periods`, `stem_norm` and
//! `norm`, and per block `norm1`, `qkv` (or `query`, `key`, `value`), `proj`, `scale1`, `norm2`,
//! `up`, `gate`, `down`, `scale2`; `up` with twice the rows that `down` has columns holds gate and
//! value together, gate first.

pub(crate) mod assemble;
pub(crate) mod assignment;
mod averages;
mod causes;
pub(crate) mod draft;
pub(crate) mod fit;
pub(crate) mod lora;
mod mismatch;
mod networks;
pub(crate) mod own;
pub(crate) mod parts;
pub(crate) mod sizes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::Deserialize;

use crate::names::{Family, Format};

/// Every dialect, in the order in which they are tried.
const TABLES: &[(&str, &str)] = &[
    ("dino", include_str!("dino.toml")),
    ("dinov2", include_str!("dinov2.toml")),
    (
        "timm_dinov2_registers",
        include_str!("timm_dinov2_registers.toml"),
    ),
    ("dinov3", include_str!("dinov3.toml")),
    ("timm_dinov3", include_str!("timm_dinov3.toml")),
    // Its pooling tells it from a CLIP tower, which would leave pooling aside.
    ("timm_pe", include_str!("timm_pe.toml")),
    ("timm_clip", include_str!("timm_clip.toml")),
    ("timm_pe_spatial", include_str!("timm_pe_spatial.toml")),
    ("timm_classless", include_str!("timm_classless.toml")),
    ("eva02", include_str!("eva02.toml")),
    ("capi", include_str!("capi.toml")),
    ("open_clip", include_str!("open_clip.toml")),
    ("transformers_vit", include_str!("transformers_vit.toml")),
    ("transformers_clip", include_str!("transformers_clip.toml")),
    (
        "transformers_siglip",
        include_str!("transformers_siglip.toml"),
    ),
    (
        "transformers_ijepa",
        include_str!("transformers_ijepa.toml"),
    ),
    (
        "transformers_dinov2",
        include_str!("transformers_dinov2.toml"),
    ),
    (
        "transformers_dinov3",
        include_str!("transformers_dinov3.toml"),
    ),
    ("beit", include_str!("beit.toml")),
    ("transformers_beit", include_str!("transformers_beit.toml")),
    ("augreg", include_str!("augreg.toml")),
    ("mmpretrain", include_str!("mmpretrain.toml")),
    ("torchvision", include_str!("torchvision.toml")),
];

/// One naming scheme.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dialect {
    /// The name of its table.
    #[serde(skip)]
    pub name: &'static str,
    /// What it is, for messages.
    pub title: String,
    /// Formats that use it; more than one where names alone do not tell.
    pub formats: Vec<Format>,
    /// Whether the first of several formats is taken unless another one is told.
    #[serde(default)]
    pub usual: bool,
    /// Training methods whose backbones come under these names.
    pub families: Vec<Family>,
    /// Whether its feed-forward part is never gated: gated tensors are another dialect's.
    #[serde(default)]
    pub plain: bool,
    /// Tensors without which it is another dialect, although it needs none of them.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Rotary positions beside its table.
    #[serde(default)]
    pub rotary: Option<Turning>,
    /// Whether its norms are RMSNorms; the final one then needs no tensor.
    #[serde(default)]
    pub rms_norm: bool,
    /// What stands before the names of block `{i}`.
    pub block: Names,
    /// How linear maps are stored.
    #[serde(default)]
    pub layout: WeightOrder,
    /// Parts outside the blocks.
    pub stem: BTreeMap<String, Names>,
    /// Parts of every block.
    pub blocks: BTreeMap<String, Names>,
    /// Patterns (`*` stands for anything) of tensors that the backbone does not need, and why.
    #[serde(default)]
    pub unneeded: BTreeMap<String, String>,
    /// As `unneeded`, but only for names without the backbone's prefix.
    #[serde(default)]
    pub outside: BTreeMap<String, String>,
}

/// Rotary positions of neighboring channels, as far as a naming tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turning {
    /// The only one of several families under the same names that turns so.
    #[serde(default)]
    pub family: Option<Family>,
    /// Added to a patch's index.
    pub offset: usize,
    /// Whether the first half of the pairs turns by the column.
    pub columns_first: bool,
    /// Base of the frequencies.
    pub base: u32,
}

/// How the tensors of a fitted backbone are named and stored: by a dialect, or as its user says.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// The name of the dialect's table; `own` for a description.
    pub name: &'static str,
    /// What it is, for messages.
    pub title: String,
    /// Formats that use it.
    pub formats: Vec<Format>,
    /// Whether the first of several formats is taken unless another one is told.
    pub usual: bool,
    /// Training methods whose backbones come under these names; none for a description.
    pub families: Vec<Family>,
    /// Rotary positions beside its table.
    pub rotary: Option<Turning>,
    /// Whether its norms are RMSNorms; the final one then needs no tensor.
    pub rms_norm: bool,
    /// How linear maps are stored.
    pub layout: WeightOrder,
    /// Parts stored the other way round.
    pub turned: BTreeSet<&'static str>,
}

impl Naming {
    /// How a part is stored.
    pub fn layout_of(&self, part: &str) -> WeightOrder {
        match (self.layout, self.turned.contains(part)) {
            (WeightOrder::OutIn, false) | (WeightOrder::InOut, true) => WeightOrder::OutIn,
            (WeightOrder::InOut, false) | (WeightOrder::OutIn, true) => WeightOrder::InOut,
        }
    }
}

impl Dialect {
    /// What later stages need to know of the dialect.
    pub fn naming(&self) -> Naming {
        Naming {
            name: self.name,
            title: self.title.clone(),
            formats: self.formats.clone(),
            usual: self.usual,
            families: self.families.clone(),
            rotary: self.rotary,
            rms_norm: self.rms_norm,
            layout: self.layout,
            turned: BTreeSet::new(),
        }
    }
}

/// How a linear map is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WeightOrder {
    /// `[outputs, inputs]`, as PyTorch does.
    #[default]
    OutIn,
    /// `[inputs, outputs]`, as JAX does.
    InOut,
}

/// One name, or several of which a file has one.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Names {
    /// The only name.
    One(String),
    /// Alternatives, best first.
    Several(Vec<String>),
}

impl Names {
    /// The alternatives, best first.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// Every dialect that this program knows.
pub(crate) static DIALECTS: LazyLock<Vec<Dialect>> = LazyLock::new(|| {
    TABLES
        .iter()
        .map(|&(name, table)| {
            // The tables are part of the program, so a wrong one is a bug that a test finds.
            let mut dialect: Dialect = toml::from_str(table)
                .unwrap_or_else(|error| panic!("dialect table {name} is wrong: {error}"));
            dialect.name = name;
            dialect
        })
        .collect()
});

/// Whether a name fits a pattern in which `*` stands for any text, even none.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_well_formed() {
        assert_eq!(DIALECTS.len(), TABLES.len());
        for dialect in DIALECTS.iter() {
            let numbered = dialect
                .block
                .all()
                .iter()
                .all(|block| block.ends_with("{i}."));
            // JAX separates with a slash.
            assert!(numbered || dialect.name == "augreg", "{}", dialect.name);
            assert!(!dialect.formats.is_empty() && !dialect.families.is_empty());
            // A misspelled part would be read from the file and then never used.
            for part in dialect.stem.keys() {
                let part = part.trim_end_matches('?');
                assert!(parts::stem(part).is_some(), "{}: {part}", dialect.name);
            }
            for part in dialect.blocks.keys() {
                let part = part.trim_end_matches('?');
                let known = parts::block(part).is_some();
                assert!(known, "{}: {part}", dialect.name);
            }
            for names in dialect.stem.values().chain(dialect.blocks.values()) {
                assert!(!names.all().is_empty(), "{}", dialect.name);
            }
        }
    }

    #[test]
    fn patterns() {
        assert!(fits("head.*", "head.mlp.0.weight"));
        assert!(!fits("head.*", "header"));
        assert!(fits("*_head.*", "instance_head.mlp"));
        assert!(fits("proj", "proj"));
        assert!(!fits("proj", "projection"));
    }
}
