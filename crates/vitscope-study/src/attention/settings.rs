//! What `attention` can be asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use vitscope_data::Split;

use crate::layers::Layers;
use crate::settings::as_text;

/// A patch of an image whose attention is to be kept: `name:row,column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatchQuery {
    /// The image's name: its file name without extension.
    pub image: String,
    /// Row of patches, from 0 at the top.
    pub row: usize,
    /// Column of patches, from 0 at the left.
    pub column: usize,
}

impl FromStr for PatchQuery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (image, place) = text.rsplit_once(':')?;
            let (row, column) = place.split_once(',')?;
            Some(Self {
                image: image.to_owned(),
                row: row.trim().parse().ok()?,
                column: column.trim().parse().ok()?,
            })
        };
        parse().filter(|query| !query.image.is_empty()).ok_or_else(|| {
            format!(
                "`{text}` is no query: expected an image's name and a patch from 0, such as 0001TP_008550:3,12"
            )
        })
    }
}

impl fmt::Display for PatchQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{},{}", self.image, self.row, self.column)
    }
}

impl PatchQuery {
    /// The name used in files.
    pub(super) fn name(&self, layer: usize) -> String {
        format!("query.{layer}.{}.{}-{}", self.image, self.row, self.column)
    }
}

/// The settings of a run of `attention`. All of them are written into `run.json`.
#[derive(Clone, Debug, Serialize)]
pub struct AttentionSettings {
    /// Asked side of the crop in pixels.
    pub size: usize,
    /// Which layers.
    #[serde(serialize_with = "as_text")]
    pub layers: Layers,
    /// Which images.
    #[serde(serialize_with = "as_text")]
    pub split: Split,
    /// Only the first so many of them.
    pub limit: Option<usize>,
    /// Patches whose attention is kept.
    #[serde(serialize_with = "as_texts")]
    pub queries: Vec<PatchQuery>,
    /// Bootstrap samples behind an interval; 0 for none.
    pub resamples: usize,
    /// Their seed.
    pub seed: u64,
}

impl Default for AttentionSettings {
    fn default() -> Self {
        Self {
            size: 320,
            layers: Layers::All,
            split: Split::Test,
            limit: None,
            queries: Vec::new(),
            resamples: 1000,
            seed: 0,
        }
    }
}

fn as_texts<T: fmt::Display, S: Serializer>(
    values: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_from_its_end_and_written_back() {
        let query: PatchQuery = "a:b:3,12".parse().unwrap();
        assert_eq!(
            (query.image.as_str(), query.row, query.column),
            ("a:b", 3, 12)
        );
        assert_eq!(query.to_string(), "a:b:3,12");
        for text in ["", "a", "a:3", ":1,2", "a:1,-2", "a:1,2,3"] {
            assert!(text.parse::<PatchQuery>().is_err(), "{text}");
        }
    }
}
