//! What `correspond` can be asked for.

use serde::{Serialize, Serializer};
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_run::Facet;

use crate::error::StudyError;
use crate::layers::Layers;
use crate::settings::{Side, as_text, words};

/// The threshold whose metric carries no number in its name.
const USUAL_ALPHA: f64 = 0.1;

words! {
    /// How a photograph becomes the network's square input.
    Fit {
        /// Stretched to the square.
        Stretch = "stretch",
        /// Resized in proportion and centered on black.
        Pad = "pad",
    }
}

/// The settings of a run of `correspond`; all but the memory budget are written into `run.json`.
#[derive(Clone, Debug, Serialize)]
pub struct CorrespondSettings {
    /// Asked side of the square in pixels.
    pub size: usize,
    /// Which layers.
    #[serde(serialize_with = "as_text")]
    pub layers: Layers,
    /// Which facets.
    pub facets: Vec<Facet>,
    /// Which reading of the last token.
    pub token_norm: Side,
    /// Keys and queries before or after rotation.
    pub rope: Side,
    /// How photographs become squares.
    pub fit: Fit,
    /// Which pairs.
    #[serde(serialize_with = "split_name")]
    pub split: PairSplit,
    /// Which list of them.
    #[serde(serialize_with = "layout_name")]
    pub layout: Layout,
    /// Only the first so many.
    pub limit_pairs: Option<usize>,
    /// A match counts within `alpha` times the longer side of the target's box. The first one
    /// selects the best layers.
    pub alphas: Vec<f64>,
    /// Pairs whose similarity maps are kept.
    pub examples: usize,
    /// Embeddings of one category held at a time, in bytes: of the host's memory 2 GiB unless set, of a card's
    /// half of what is free when the search begins.
    #[serde(skip)]
    pub memory: Option<usize>,
}

impl Default for CorrespondSettings {
    fn default() -> Self {
        Self {
            size: 320,
            layers: Layers::All,
            facets: Facet::ALL.to_vec(),
            token_norm: Side::After,
            rope: Side::Before,
            fit: Fit::Stretch,
            split: PairSplit::Test,
            layout: Layout::Large,
            limit_pairs: None,
            alphas: vec![USUAL_ALPHA],
            examples: 6,
            memory: None,
        }
    }
}

fn split_name<S: Serializer>(split: &PairSplit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(split.name())
}

fn layout_name<S: Serializer>(layout: &Layout, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(layout.name())
}

impl CorrespondSettings {
    pub(super) fn check(&self) -> Result<(), StudyError> {
        if self.alphas.is_empty() || !self.alphas.iter().all(|a| a.is_finite() && *a > 0.0) {
            return Err(StudyError::setting(
                "`alpha` must be one or more positive numbers, such as 0.1 0.05",
            ));
        }
        Ok(())
    }
}

/// A number's name at a threshold: with `@alpha` behind it unless that is 0.1.
pub(super) fn at_alpha(metric: &str, alpha: f64) -> String {
    if (alpha - USUAL_ALPHA).abs() < 1e-12 {
        metric.to_owned()
    } else {
        format!("{metric}@{alpha}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_threshold_carries_no_number() {
        assert_eq!(at_alpha("pck", 0.1), "pck");
        assert_eq!(at_alpha("pck", 0.05), "pck@0.05");
    }

    #[test]
    fn thresholds_are_positive_numbers() {
        let with = |alphas: Vec<f64>| CorrespondSettings {
            alphas,
            ..CorrespondSettings::default()
        };
        assert!(with(vec![0.1, 0.05]).check().is_ok());
        for alphas in [vec![], vec![0.0], vec![0.1, f64::NAN], vec![f64::INFINITY]] {
            assert!(with(alphas).check().is_err());
        }
    }
}
