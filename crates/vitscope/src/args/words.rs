//! The words that flags take: every one of a list that the help and the completions show.

use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use serde::Deserialize;
use vitscope_data::Split;
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_vit::config::{Device, Precision};
use vitscope_vit::identify::{Format, Numerics};

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

/// Words of the command line for the values of another crate.
macro_rules! words_for {
    ($(#[$doc:meta])* $name:ident -> $type:ty { $($(#[$meta:meta])* $word:ident => $value:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$meta])* $word),+ }

        impl From<$name> for $type {
            fn from(word: $name) -> Self {
                match word { $($name::$word => $value),+ }
            }
        }
    };
}

words_for! {
    /// Whose numeric conventions are followed.
    NumericsWord -> Numerics { Source => Numerics::Source, Official => Numerics::Official }
}

words_for! {
    /// What products multiply.
    PrecisionWord -> Precision { F32 => Precision::F32, Bf16 => Precision::Bf16, F16 => Precision::F16 }
}

words_for! {
    /// What computes.
    DeviceWord -> Device { Cpu => Device::Cpu, Cuda => Device::Cuda }
}

words_for! {
    /// Which images.
    SplitWord -> Split { Train => Split::Train, Test => Split::Test }
}

words_for! {
    /// Which pairs.
    PairSplitWord -> PairSplit {
        #[value(alias = "train")]
        Trn => PairSplit::Train,
        Val => PairSplit::Val,
        Test => PairSplit::Test,
    }
}

words_for! {
    /// Which list of pairs.
    ListWord -> Layout { Large => Layout::Large, Small => Layout::Small }
}

/// How extracted values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreWord {
    F32,
    F16,
}

/// Reads one of some words of the study crate.
pub fn one_of<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|text| text.parse::<T>())
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
