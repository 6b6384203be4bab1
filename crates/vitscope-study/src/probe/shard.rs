//! A part of the test images: the evaluation of one run shared among machines, whose counts add up.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Shard `index` of `of`, from 1: `2/4` is the second quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Shard {
    /// Which one, from 1.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Shard {
    /// The images of the shard, of `count` in all. Those of all shards follow one another and differ by
    /// one image at most.
    #[must_use]
    pub fn images(self, count: usize) -> Range<usize> {
        let start = |shard: usize| {
            // In 128 bits, so that no product overflows.
            (count as u128 * shard as u128 / self.of as u128) as usize
        };
        start(self.index - 1)..start(self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (index, of) = text.split_once('/')?;
            Some((index.parse().ok()?, of.parse().ok()?))
        };
        match parse() {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err(format!(
                "`{text}` is no shard: expected which of how many, such as 2/4, from 1"
            )),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_every_image_once() {
        for count in [0, 1, 5, 24, 1000] {
            for of in [1, 2, 3, 7, 30] {
                let shards = (1..=of).map(|index| Shard { index, of }.images(count));
                let all: Vec<usize> = shards.clone().flatten().collect();
                assert_eq!(all, (0..count).collect::<Vec<_>>());
                let sizes: Vec<usize> = shards.map(|images| images.len()).collect();
                assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn a_shard_is_read_as_it_is_written() {
        assert_eq!("2/4".parse::<Shard>().unwrap().to_string(), "2/4");
        for wrong in ["0/4", "5/4", "2", "2/", "/2", "a/b", "1/0", "-1/2"] {
            assert!(
                wrong.parse::<Shard>().unwrap_err().contains("2/4"),
                "{wrong}"
            );
        }
    }
}
