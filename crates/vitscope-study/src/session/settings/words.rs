//! Settings that are one of a few words.

/// A setting that is one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every word, as it is typed and stored.
            pub const WORDS: &[&'static str] = &[$($word),+];

            /// Its word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
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

pub(crate) use words;

words! {
    /// How clusters are matched to classes where there are more clusters (docs/protocol.md section 6).
    Matching {
        /// One to one; what stays unmatched counts as wrong.
        Hungarian = "hungarian",
        /// Each left-over cluster joins the class it overlaps most.
        Majority = "majority",
    }
}

impl From<Matching> for vitscope_measure::Matching {
    fn from(matching: Matching) -> Self {
        match matching {
            Matching::Hungarian => Self::Hungarian,
            Matching::Majority => Self::Majority,
        }
    }
}

words! {
    /// Which pixels count for the positional effect (docs/protocol.md section 8).
    Positions {
        /// Every pixel.
        All = "all",
        /// Pixels whose label is not ignored.
        Labeled = "labeled",
    }
}

impl From<Positions> for vitscope_measure::Positions {
    fn from(positions: Positions) -> Self {
        match positions {
            Positions::All => Self::All,
            Positions::Labeled => Self::Labeled,
        }
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
    /// Which images a transform is fitted on (docs/protocol.md section 15).
    TransformFit {
        /// Training images as they are.
        Train = "train",
        /// Each of them as it is, mirrored, upside down, and turned by half a circle.
        Neutral = "neutral",
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the macro above derives for all words alike"
)]
impl Default for TransformFit {
    fn default() -> Self {
        Self::Train
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
    fn every_word_is_read_as_it_is_written() {
        for &word in TransformFit::WORDS {
            assert_eq!(word.parse::<TransformFit>().unwrap().word(), word);
        }
        for &word in Side::WORDS {
            let side: Side = word.parse().unwrap();
            assert_eq!(serde_json::to_value(side).unwrap(), word);
            assert_eq!(serde_json::from_value::<Side>(word.into()).unwrap(), side);
        }
        let error = "Hungarian".parse::<Matching>().unwrap_err();
        assert_eq!(error, "`Hungarian` is not one of hungarian, majority");
    }

    #[test]
    fn words_mean_the_same_where_numbers_are_made() {
        use vitscope_measure as measure;
        for (word, matching) in [
            ("hungarian", measure::Matching::Hungarian),
            ("majority", measure::Matching::Majority),
        ] {
            let own: Matching = word.parse().unwrap();
            assert_eq!(measure::Matching::from(own), matching);
        }
        for (word, positions) in [
            ("all", measure::Positions::All),
            ("labeled", measure::Positions::Labeled),
        ] {
            let own: Positions = word.parse().unwrap();
            assert_eq!(measure::Positions::from(own), positions);
        }
    }
}
