//! What settings take, and how a value is read from what was typed.

use std::str::FromStr;

use bytesize::ByteSize;
use vitscope_probe::Transform;
use vitscope_run::{Facet, Select};

use super::words::{Matching, Positions, SaveCounts, SaveLabels, Side, TransformFit};
use crate::layers::Layers;
use crate::shard::Shard;

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Takes {
    /// A whole number between two, both included.
    Whole(u64, u64),
    /// A whole number between two, both included, or 0.
    WholeOrNone(u64, u64),
    /// A number above the first and up to the second.
    Above(f64, f64),
    /// One of some words, or several of them.
    Words(&'static [&'static str]),
    /// A text of the shape that is shown.
    Text(&'static str),
    /// Nothing: naming it turns it on.
    Switch,
}

impl Takes {
    /// Whether a number can be.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Whole(least, most) => value >= least as f64 && value <= most as f64,
            Self::WholeOrNone(least, most) => {
                value == 0.0 || value >= least as f64 && value <= most as f64
            }
            Self::Above(low, most) => value > low && value <= most,
            _ => true,
        }
    }

    /// What can be, for a sentence.
    #[must_use]
    pub fn told(self) -> String {
        match self {
            Self::Whole(least, u64::MAX) => format!("a whole number from {least}"),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::WholeOrNone(least, most) => {
                format!("0 or a whole number from {least} to {most}")
            }
            Self::Above(low, most) => format!("a number above {low} and up to {most}"),
            Self::Words(words) => format!("one of {}", words.join(", ")),
            Self::Text(shape) => shape.to_owned(),
            Self::Switch => "true or false".to_owned(),
        }
    }

    /// Checks what was typed, before it is read.
    ///
    /// # Errors
    /// What was expected.
    pub fn check(self, text: &str) -> Result<(), String> {
        let can_be = match self {
            Self::Whole(least, most) => text
                .parse()
                .is_ok_and(|value: u64| (least..=most).contains(&value)),
            Self::WholeOrNone(least, most) => text
                .parse()
                .is_ok_and(|value: u64| value == 0 || (least..=most).contains(&value)),
            Self::Above(..) => text.parse().is_ok_and(|value| self.holds(value)),
            Self::Words(words) => text.split(',').all(|word| words.contains(&word.trim())),
            Self::Text(_) | Self::Switch => true,
        };
        match can_be {
            true => Ok(()),
            false => Err(format!("expected {}", self.told())),
        }
    }
}

/// A value that is read from what was typed.
pub(super) trait FromTyped: Sized {
    fn typed(text: &str) -> Result<Self, String>;
}

macro_rules! typed {
    ($($type:ty),+) => {
        $(impl FromTyped for $type {
            fn typed(text: &str) -> Result<Self, String> {
                text.parse().map_err(|problem: <$type as FromStr>::Err| problem.to_string())
            }
        })+
    };
}

typed!(
    usize,
    u32,
    u64,
    f64,
    bool,
    String,
    Layers,
    Select,
    Shard,
    Matching,
    Positions,
    Side,
    SaveLabels,
    SaveCounts,
    Transform,
    TransformFit
);

impl<T: FromTyped> FromTyped for Option<T> {
    fn typed(text: &str) -> Result<Self, String> {
        T::typed(text).map(Some)
    }
}

impl FromTyped for Vec<Facet> {
    /// In the order in which they are listed everywhere.
    fn typed(text: &str) -> Result<Self, String> {
        let words = text.split(',').map(str::trim);
        let mut list = words.map(str::parse).collect::<Result<Self, _>>()?;
        list.sort_unstable();
        list.dedup();
        Ok(list)
    }
}

/// Bytes, as they are typed: `20GB`.
pub(super) fn bytes(text: &str) -> Result<Option<u64>, String> {
    let size = text.parse::<ByteSize>();
    size.map(|size| Some(size.as_u64()))
        .map_err(|_| "expected a number of bytes, such as 20GB, 500MiB or 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_ends_as_they_say() {
        let whole = Takes::Whole(1, 8);
        assert!(["1", "8"].iter().all(|text| whole.check(text).is_ok()));
        assert!(
            ["0", "9", "1.0", "-1", ""]
                .iter()
                .all(|text| whole.check(text).is_err())
        );
        let some = Takes::WholeOrNone(2, 8);
        assert!(["0", "2", "8"].iter().all(|text| some.check(text).is_ok()));
        assert!(
            ["1", "9", "-0"]
                .iter()
                .all(|text| some.check(text).is_err())
        );
        assert!(some.holds(0.0) && some.holds(2.0) && !some.holds(1.0));
        let above = Takes::Above(0.0, 1.0);
        assert!(
            ["1", "0.5", "1e-300"]
                .iter()
                .all(|text| above.check(text).is_ok())
        );
        assert!(
            ["0", "1.1", "nan", "inf"]
                .iter()
                .all(|text| above.check(text).is_err())
        );
        assert_eq!(
            above.check("2").unwrap_err(),
            "expected a number above 0 and up to 1"
        );
    }

    #[test]
    fn facets_are_each_once_and_in_one_order() {
        let read: Vec<Facet> = FromTyped::typed("token, key,key").unwrap();
        assert_eq!(read, [Facet::Key, Facet::Token]);
        assert_eq!(bytes("20GB"), Ok(Some(20_000_000_000)));
        assert!(bytes("3XB").is_err_and(|problem| problem.contains("such as 20GB")));
    }
}
