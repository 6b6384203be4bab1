//! What a reader may choose: which layer stands for a facet, and which images are shown.

use std::str::FromStr;

use crate::error::FigureError;
use crate::pixels::NONE;
use crate::run_dir::{Facet, Run, Slot};

/// Which single layer of each facet a comparison shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// The layer of best mIoU, the first on ties; without ground truth, the layer that the run
    /// chose.
    #[default]
    BestMiou,
    /// One layer for every facet and model, from 1.
    Layer(u32),
    /// Each model's last layer.
    Last,
}

impl FromStr for Select {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let layer = |text: &str| text.parse().ok().filter(|&layer| layer > 0);
        match text {
            "best-miou" => Ok(Self::BestMiou),
            "last" => Ok(Self::Last),
            _ => text
                .strip_prefix("layer:")
                .and_then(layer)
                .map(Self::Layer)
                .ok_or_else(|| format!("`{text}` is not one of best-miou, layer:N, last")),
        }
    }
}

impl Select {
    /// The chosen layer of a facet; `None` if the run has no such layer.
    pub(crate) fn layer(self, run: &Run, facet: Facet) -> Option<u32> {
        let layers = run.probes().into_iter();
        let mut layers = layers.filter(|probe| probe.0 == facet).map(|probe| probe.1);
        match self {
            Self::Layer(layer) => layers.find(|&other| other == layer),
            Self::Last => layers.next_back(),
            Self::BestMiou => {
                let value = |layer| run.metrics.get(Slot::Probe(facet, layer), "miou").value;
                let best = layers
                    .filter_map(|layer| Some((layer, value(layer)?)))
                    .reduce(|best, other| if other.1 > best.1 { other } else { best });
                let stored = || run.selection.iter().find(|slot| slot.0 == facet);
                best.map(|best| best.0)
                    .or_else(|| stored().map(|slot| slot.1))
            }
        }
    }

    /// How a caption says it.
    pub(crate) fn note(self) -> String {
        match self {
            Self::BestMiou => "Each facet at its layer of best mIoU.".to_owned(),
            Self::Layer(layer) => format!("Every facet at layer {layer}."),
            Self::Last => "Each facet at its last layer.".to_owned(),
        }
    }
}

/// Which of a run's stored examples are shown, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// All, as the run stored them.
    #[default]
    All,
    /// These, by name.
    Names(Vec<String>),
    /// All, shuffled by a seed.
    Random(u64),
    /// Those in which a class covers most pixels of the ground truth (or, as `k7`, a cluster most
    /// pixels of the prediction), largest first; images without it are left out.
    Class(String),
}

impl Images {
    /// Reads what was typed: names, or one of `random:SEED` and `class:C`.
    ///
    /// # Errors
    ///
    /// A seed that is no number, or a word beside `random:` or `class:`.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let special = |word: &String| word.starts_with("random:") || word.starts_with("class:");
        match words {
            [] => Ok(Self::All),
            [word] if word.starts_with("random:") => word["random:".len()..]
                .parse()
                .map(Self::Random)
                .map_err(|_| format!("`{word}` has no whole number as seed, such as random:7")),
            [word] if word.starts_with("class:") => {
                Ok(Self::Class(word["class:".len()..].to_owned()))
            }
            names => match names.iter().find(|word| special(word)) {
                Some(word) => Err(format!(
                    "`{word}` must stand alone, without names beside it"
                )),
                None => Ok(Self::Names(names.to_vec())),
            },
        }
    }

    /// The run's examples as chosen.
    pub(crate) fn of(&self, run: &Run) -> Result<Vec<String>, FigureError> {
        let fail = |asked: String, problem: String| {
            let asked = format!("--images {asked}");
            Err(FigureError::Choice { asked, problem })
        };
        let stored = || {
            let list = run.examples.join(", ");
            format!("{} stored {list}", run.root().display())
        };
        match self {
            Self::All => Ok(run.examples.clone()),
            Self::Names(names) => {
                let unknown = names.iter().find(|name| !run.examples.contains(name));
                match unknown {
                    Some(name) => fail(
                        name.clone(),
                        format!("no example has this name; {}", stored()),
                    ),
                    None => Ok(names.clone()),
                }
            }
            Self::Random(seed) => {
                let mut examples: Vec<(u64, String)> = (0_u64..)
                    .zip(&run.examples)
                    .map(|(index, stem)| (mixed(*seed, index), stem.clone()))
                    .collect();
                examples.sort();
                Ok(examples.into_iter().map(|example| example.1).collect())
            }
            Self::Class(name) => {
                let Some((slot, index)) = wanted(run, name) else {
                    let classes: Vec<&str> = run
                        .classes
                        .iter()
                        .map(|class| class.name.as_str())
                        .collect();
                    let has = if classes.is_empty() {
                        "this run has clusters only, named k0, k1 and so on".to_owned()
                    } else {
                        format!("this run has {}", classes.join(", "))
                    };
                    return fail(
                        format!("class:{name}"),
                        format!("no class has this name; {has}"),
                    );
                };
                let mut found = Vec::new();
                for stem in &run.examples {
                    let map = run.labels(slot, stem)?;
                    let count = map.map_or(0, |map| {
                        map.indices.iter().filter(|&&other| other == index).count()
                    });
                    if count > 0 {
                        found.push((count, stem.clone()));
                    }
                }
                if found.is_empty() {
                    return fail(
                        format!("class:{name}"),
                        format!("no example shows it; {}", stored()),
                    );
                }
                found.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
                Ok(found.into_iter().map(|example| example.1).collect())
            }
        }
    }
}

/// The label maps in which to look for a class or cluster, and its index there.
fn wanted(run: &Run, name: &str) -> Option<(Slot, u8)> {
    let class = run.classes.iter().position(|class| class.name == name);
    let by_index = || name.parse().ok().filter(|&index| index < run.classes.len());
    if let Some(index) = class.or_else(by_index) {
        return Some((Slot::Truth, u8::try_from(index).ok()?));
    }
    let cluster = name.strip_prefix('k')?.parse::<u8>().ok()?;
    let known = cluster != NONE && u64::from(cluster) < run.clusters.unwrap_or(0);
    let slot = run
        .selection
        .first()
        .filter(|_| known && !run.labels_are_classes())?;
    Some((Slot::Probe(slot.0, slot.1), cluster))
}

/// The same number for the same seed and index, always (SplitMix64).
fn mixed(seed: u64, index: u64) -> u64 {
    let step = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(step);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let select = |text: &str| text.parse::<Select>();
        assert_eq!(select("layer:9"), Ok(Select::Layer(9)));
        assert!(select("layer:0").is_err() && select("best").is_err());
        let images = |words: &[&str]| {
            Images::parse(
                &words
                    .iter()
                    .map(|&word| word.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(images(&["random:3"]), Ok(Images::Random(3)));
        assert_eq!(images(&["class:sky"]), Ok(Images::Class("sky".to_owned())));
        assert!(images(&["random:x"]).is_err() && images(&["a", "class:sky"]).is_err());
        assert_eq!(images(&[]), Ok(Images::All));
    }

    #[test]
    fn seeds_give_different_orders() {
        let order = |seed| {
            let mut order: Vec<u64> = (0..8).collect();
            order.sort_by_key(|&index| mixed(seed, index));
            order
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
