//! The two parts of a data set.

use std::fmt;
use std::str::FromStr;

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The images that probes are trained on.
    Train,
    /// The images that are evaluated.
    Test,
}

impl Split {
    /// Every word, as it is typed.
    pub const WORDS: &[&'static str] = &["train", "test"];
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "train" => Ok(Self::Train),
            "test" => Ok(Self::Test),
            _ => Err(format!("`{text}` is not one of {}", Self::WORDS.join(", "))),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}
