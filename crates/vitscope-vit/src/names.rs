//! The names of families, formats and numeric conventions, as the user writes them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A training method whose released backbones this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Supervised training on ImageNet-21k (augreg).
    Supervised,
    /// OpenCLIP on LAION-2B.
    OpenClip,
    /// OpenAI's CLIP, which differs by its activation.
    OpenAiClip,
    /// MetaCLIP.
    MetaClip,
    /// A CLIP image tower trained by others, such as DFN.
    Clip,
    /// DeiT: supervised training on ImageNet-1k, with or without a distillation token.
    Deit,
    /// DeiT III.
    Deit3,
    /// Masked autoencoders.
    Mae,
    /// MoCo v3.
    MocoV3,
    /// Mugs.
    Mugs,
    /// iBOT.
    Ibot,
    /// Masked Siamese networks (MSN).
    Msn,
    /// DINO.
    Dino,
    /// DINOv2 without registers.
    DinoV2,
    /// DINOv2 with registers.
    DinoV2Reg,
    /// Franca, built as DINOv2.
    Franca,
    /// DINOv3.
    DinoV3,
    /// SigLIP.
    SigLip,
    /// SigLIP 2.
    SigLip2,
    /// I-JEPA.
    IJepa,
    /// Perception Encoder.
    Pe,
    /// EVA-02.
    Eva02,
    /// CAPI.
    Capi,
    /// BEiT and BEiT v2.
    Beit,
    /// Data2Vec for images, built as BEiT.
    Data2Vec,
    /// A model that its user describes, under the user's own label.
    Own(Label),
}

/// A short text that names a family of the user's own.
///
/// Kept in place, so that a [`Family`] can be copied like a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    bytes: [u8; Label::LONGEST],
    length: u8,
}

impl Label {
    /// The most bytes that a label can have.
    pub const LONGEST: usize = 48;

    /// A label of this text; `None` where it is empty, too long or not printable.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let plain = !text.is_empty() && !text.chars().any(char::is_control);
        let mut bytes = [0; Self::LONGEST];
        bytes
            .get_mut(..text.len())
            .filter(|_| plain)?
            .copy_from_slice(text.as_bytes());
        Some(Self {
            bytes,
            length: u8::try_from(text.len()).ok()?,
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The ecosystem that a file was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// The authors' own release.
    Official,
    /// timm.
    Timm,
    /// Hugging Face transformers.
    Transformers,
    /// OpenCLIP.
    OpenClip,
    /// The JAX archives of the supervised models.
    Augreg,
    /// mmpretrain and what is built on it.
    MmPretrain,
    /// torchvision.
    Torchvision,
    /// Any other, described by the user.
    Own,
}

/// Whose numeric conventions are followed where ecosystems differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numerics {
    /// Those of the file's own ecosystem.
    #[default]
    Source,
    /// Those of the official code: its norm epsilon, resize rule and rounded rotary periods.
    Official,
}

impl Format {
    /// Those that a user can tell; the others show by themselves.
    pub const WORDS: &[&'static str] = &["official", "timm", "transformers", "open_clip"];
}

impl Numerics {
    /// Every word, as it is typed and stored.
    pub const WORDS: &[&'static str] = &["source", "official"];
}

impl FromStr for Numerics {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let list = [(Self::Source, "source"), (Self::Official, "official")];
        named(&list, text, &simple(text))
    }
}

const FAMILIES: &[(Family, &str)] = &[
    (Family::Supervised, "supervised"),
    (Family::OpenClip, "openclip"),
    (Family::OpenAiClip, "openai-clip"),
    (Family::MetaClip, "metaclip"),
    (Family::Clip, "clip"),
    (Family::Deit, "deit"),
    (Family::Deit3, "deit3"),
    (Family::Mae, "mae"),
    (Family::MocoV3, "mocov3"),
    (Family::Mugs, "mugs"),
    (Family::Ibot, "ibot"),
    (Family::Msn, "msn"),
    (Family::Dino, "dino"),
    (Family::DinoV2, "dinov2"),
    (Family::DinoV2Reg, "dinov2reg"),
    (Family::Franca, "franca"),
    (Family::DinoV3, "dinov3"),
    (Family::SigLip, "siglip"),
    (Family::SigLip2, "siglip2"),
    (Family::IJepa, "ijepa"),
    (Family::Pe, "pe"),
    (Family::Eva02, "eva02"),
    (Family::Capi, "capi"),
    (Family::Beit, "beit"),
    (Family::Data2Vec, "data2vec"),
];

const FORMATS: &[(Format, &str)] = &[
    (Format::Official, "official"),
    (Format::Timm, "timm"),
    (Format::Transformers, "transformers"),
    (Format::OpenClip, "open_clip"),
    (Format::Augreg, "augreg"),
    (Format::MmPretrain, "mmpretrain"),
    (Format::Torchvision, "torchvision"),
    (Format::Own, "own"),
];

/// A name that is not in a list of choices.
#[derive(Debug, thiserror::Error)]
#[error("{found:?} is not one of {choices}")]
pub struct UnknownName {
    found: String,
    choices: String,
}

pub(crate) fn named<T: Copy>(
    list: &[(T, &str)],
    text: &str,
    plain: &str,
) -> Result<T, UnknownName> {
    list.iter()
        .find(|(_, name)| simple(name) == plain)
        .map(|&(value, _)| value)
        .ok_or_else(|| UnknownName {
            found: text.to_owned(),
            choices: list
                .iter()
                .map(|&(_, name)| name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// Lower case without separators, so that `DINOv2-reg` and `dinov2_reg` are one name.
pub(crate) fn simple(text: &str) -> String {
    text.to_lowercase().replace(['-', '_', ' ', '+'], "")
}

impl Family {
    /// The name as its authors write it, for captions.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Supervised => "supervised",
            Self::OpenClip => "OpenCLIP",
            Self::OpenAiClip => "OpenAI CLIP",
            Self::MetaClip => "MetaCLIP",
            Self::Clip => "CLIP",
            Self::Deit => "DeiT",
            Self::Deit3 => "DeiT III",
            Self::Mae => "MAE",
            Self::MocoV3 => "MoCo v3",
            Self::Mugs => "Mugs",
            Self::Ibot => "iBOT",
            Self::Msn => "MSN",
            Self::Dino => "DINO",
            Self::DinoV2 => "DINOv2",
            Self::DinoV2Reg => "DINOv2 (registers)",
            Self::Franca => "Franca",
            Self::DinoV3 => "DINOv3",
            Self::SigLip => "SigLIP",
            Self::SigLip2 => "SigLIP 2",
            Self::IJepa => "I-JEPA",
            Self::Pe => "Perception Encoder",
            Self::Eva02 => "EVA-02",
            Self::Capi => "CAPI",
            Self::Beit => "BEiT",
            Self::Data2Vec => "Data2Vec",
            Self::Own(label) => label.as_str(),
        }
    }
}

impl FromStr for Family {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let plain = simple(text);
        let plain = match plain.as_str() {
            "openai" => "openaiclip",
            "augreg" => "supervised",
            "deitiii" => "deit3",
            "perceptionencoder" => "pe",
            "eva" => "eva02",
            "beitv2" => "beit",
            "data2vecvision" => "data2vec",
            "moco" => "mocov3",
            "dinov2g" => "dinov2",
            "dinov2registers" | "dinov2withregisters" | "dinov2greg" => "dinov2reg",
            "dinov3plus" | "dinov37b" => "dinov3",
            other => other,
        };
        named(FAMILIES, text, plain)
    }
}

impl FromStr for Format {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let plain = simple(text);
        let plain = match plain.as_str() {
            "hf" | "huggingface" => "transformers",
            "npz" | "jax" => "augreg",
            "mmseg" | "mmsegmentation" | "mmcls" => "mmpretrain",
            other => other,
        };
        named(FORMATS, text, plain)
    }
}

fn name_of<T: PartialEq>(list: &[(T, &'static str)], value: &T) -> &'static str {
    list.iter()
        .find(|(other, _)| other == value)
        .map_or("", |&(_, name)| name)
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Own(label) => label.as_str(),
            known => name_of(FAMILIES, known),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(name_of(FORMATS, self))
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What a run recorded reads back; only the command line is held to the known names.
        text.parse().or_else(|unknown| {
            Label::new(&text)
                .map(Self::Own)
                .ok_or_else(|| serde::de::Error::custom(unknown))
        })
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for (family, name) in FAMILIES {
            assert_eq!(name.parse::<Family>().unwrap(), *family);
            assert_eq!(family.to_string(), *name);
        }
        for (format, name) in FORMATS {
            assert_eq!(name.parse::<Format>().unwrap(), *format);
            assert_eq!(format.to_string(), *name);
        }
    }

    #[test]
    fn labels() {
        let family = Family::Own(Label::new(" my pretraining ").unwrap());
        assert_eq!(family.to_string(), "my pretraining");
        let json = serde_json::to_string(&family).unwrap();
        assert_eq!(serde_json::from_str::<Family>(&json).unwrap(), family);
        assert!(Label::new("").is_none() && Label::new("a\nb").is_none());
        assert!(Label::new(&"x".repeat(Label::LONGEST)).is_some());
        assert!(Label::new(&"x".repeat(Label::LONGEST + 1)).is_none());
    }

    #[test]
    fn other_spellings() {
        for (text, family) in [
            ("DINOv2-reg", Family::DinoV2Reg),
            ("dinov2g", Family::DinoV2),
            ("dinov3plus", Family::DinoV3),
            ("dinov3-7b", Family::DinoV3),
            ("MoCo-v3", Family::MocoV3),
            ("OpenAI", Family::OpenAiClip),
        ] {
            assert_eq!(text.parse::<Family>().unwrap(), family);
        }
        assert_eq!("openclip".parse::<Format>().unwrap(), Format::OpenClip);
        let message = "dinov4".parse::<Family>().unwrap_err().to_string();
        assert!(message.starts_with("\"dinov4\" is not one of supervised, openclip"));
    }
}
