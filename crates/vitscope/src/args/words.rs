//! The words that flags take: every one of a list that the help and the completions show.

use std::fmt::Display;
use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use serde::Deserialize;
use vitscope_data::pairs::PairSplit;
use vitscope_vit::identify::Format;

/// How results (stdout) and progress (stderr) are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Human,
    Json,
}

/// What `--format` takes. The layouts stood here once, and are understood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatWord {
    Human,
    Json,
    #[value(hide = true)]
    Official,
    #[value(hide = true)]
    Timm,
    #[value(hide = true)]
    Transformers,
    #[value(name = "open_clip", alias = "open-clip", hide = true)]
    OpenClip,
}

/// Whose names a checkpoint's tensors carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayoutWord {
    Official,
    Timm,
    Transformers,
    #[value(name = "open_clip", alias = "open-clip")]
    OpenClip,
    /// A list of pairs, in an earlier version of `correspond`.
    #[value(hide = true)]
    Large,
    #[value(hide = true)]
    Small,
}

impl FormatWord {
    /// How results are written, if it says that.
    pub fn output(self) -> Option<Output> {
        match self {
            Self::Human => Some(Output::Human),
            Self::Json => Some(Output::Json),
            _ => None,
        }
    }

    /// How a checkpoint is laid out, if it says that.
    pub fn layout(self) -> Option<LayoutWord> {
        match self {
            Self::Human | Self::Json => None,
            Self::Official => Some(LayoutWord::Official),
            Self::Timm => Some(LayoutWord::Timm),
            Self::Transformers => Some(LayoutWord::Transformers),
            Self::OpenClip => Some(LayoutWord::OpenClip),
        }
    }
}

impl LayoutWord {
    /// The layout, unless it is a list of pairs.
    pub fn format(self) -> Option<Format> {
        match self {
            Self::Official => Some(Format::Official),
            Self::Timm => Some(Format::Timm),
            Self::Transformers => Some(Format::Transformers),
            Self::OpenClip => Some(Format::OpenClip),
            Self::Large | Self::Small => None,
        }
    }
}

/// How extracted values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreWord {
    F32,
    F16,
}

/// Reads one of the words of another crate.
pub fn one_of<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|text| text.parse().map_err(|e: T::Err| e.to_string()))
}

/// Reads which pairs: by the name of their folder, or as other data sets call their images.
pub fn pair_split() -> impl TypedValueParser<Value = PairSplit> {
    let words = PairSplit::WORDS.iter().map(|&word| match word {
        "trn" => PossibleValue::new(word).alias("train"),
        word => PossibleValue::new(word),
    });
    PossibleValuesParser::new(words).try_map(|text| text.parse::<PairSplit>())
}

/// Reads what has a grammar of its own.
pub fn read<T>(text: &str) -> Result<T, String>
where
    T: FromStr<Err = String>,
{
    text.parse()
}

/// Reads a whole number between two, both included.
pub fn whole<T>(least: u64, most: u64) -> RangedU64ValueParser<T>
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
    <T as TryFrom<u64>>::Error: Send + Sync + 'static + std::error::Error,
{
    RangedU64ValueParser::new().range(least..=most)
}

/// Reads a number above 0 and up to `most`.
pub fn positive(most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= most => Ok(value),
        _ => Err(format!("expected a number above 0 and up to {most}")),
    }
}
