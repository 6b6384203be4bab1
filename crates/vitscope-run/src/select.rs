//! Which layer stands for a facet where only one is shown (docs/protocol.md section 11).

use std::fmt;
use std::str::FromStr;

/// How the layer is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// The layer of largest mIoU, the lower one on ties; the last one where there is no ground truth.
    #[default]
    BestMiou,
    /// One fixed layer, from 1.
    Layer(usize),
    /// The last layer.
    Last,
}

impl Select {
    /// The chosen one of some layers, each with its mIoU; `None` where the asked layer is not among
    /// them.
    #[must_use]
    pub fn layer(self, layers: &[(usize, Option<f64>)]) -> Option<usize> {
        let last = layers.iter().map(|&(layer, _)| layer).max();
        match self {
            Self::BestMiou => {
                let measured = layers
                    .iter()
                    .filter_map(|&(layer, miou)| Some((layer, miou?)));
                let best = measured.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
                best.map(|(layer, _)| layer).or(last)
            }
            Self::Layer(asked) => layers
                .iter()
                .any(|&(layer, _)| layer == asked)
                .then_some(asked),
            Self::Last => last,
        }
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BestMiou => f.write_str("best-miou"),
            Self::Layer(layer) => write!(f, "layer:{layer}"),
            Self::Last => f.write_str("last"),
        }
    }
}

impl FromStr for Select {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|&layer| layer > 0);
        match text {
            "best-miou" => Ok(Self::BestMiou),
            "last" => Ok(Self::Last),
            _ => text
                .strip_prefix("layer:")
                .and_then(number)
                .map(Self::Layer)
                .ok_or_else(|| {
                    format!("`{text}` is not one of best-miou, last, layer:N (N from 1)")
                }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_picks_its_layer() {
        let layers = [(3, Some(0.2)), (9, Some(0.4)), (7, Some(0.4)), (12, None)];
        assert_eq!(Select::BestMiou.layer(&layers), Some(7));
        assert_eq!(Select::Last.layer(&layers), Some(12));
        assert_eq!(Select::Layer(9).layer(&layers), Some(9));
        assert_eq!(Select::Layer(8).layer(&layers), None);
        assert_eq!(Select::BestMiou.layer(&[(2, None), (5, None)]), Some(5));
        assert_eq!(Select::BestMiou.layer(&[]), None);
    }

    #[test]
    fn words_survive_a_round_trip() {
        for text in ["best-miou", "layer:9", "last"] {
            assert_eq!(text.parse::<Select>().unwrap().to_string(), text);
        }
        for bad in ["best", "layer:0", "layer:", "layer:x", "9"] {
            assert!(bad.parse::<Select>().is_err(), "{bad}");
        }
    }
}
