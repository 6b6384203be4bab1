//! Which of the stored examples are shown.

use vitscope_run::Subject;

use crate::error::FigureError;
use crate::pixels::NONE;
use crate::run_view::RunView;

/// Which of a run's stored examples are shown, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImageChoice {
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

impl ImageChoice {
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
    pub(crate) fn of(&self, run: &RunView) -> Result<Vec<String>, FigureError> {
        let fail = |asked: String, problem: String| {
            let asked = format!("`images` {asked}");
            Err(FigureError::Choice { asked, problem })
        };
        let stored = || {
            let list = run.examples.join(", ");
            format!("{} stored {list}", run.root.display())
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
fn wanted(run: &RunView, name: &str) -> Option<(Subject, u8)> {
    let class = run.classes.iter().position(|class| class.name == name);
    let by_index = || name.parse().ok().filter(|&index| index < run.classes.len());
    if let Some(index) = class.or_else(by_index) {
        return Some((Subject::GroundTruth, u8::try_from(index).ok()?));
    }
    let cluster = name.strip_prefix('k')?.parse::<u8>().ok()?;
    let known = cluster != NONE && usize::from(cluster) < run.record.clusters;
    let slots = run.selection.first();
    let slot = slots.filter(|_| known && !run.labels_are_classes())?;
    Some((Subject::Slot(*slot), cluster))
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
        let images = |words: &[&str]| {
            ImageChoice::parse(
                &words
                    .iter()
                    .map(|&word| word.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(images(&["random:3"]), Ok(ImageChoice::Random(3)));
        assert_eq!(
            images(&["class:sky"]),
            Ok(ImageChoice::Class("sky".to_owned()))
        );
        assert!(images(&["random:x"]).is_err() && images(&["a", "class:sky"]).is_err());
        assert_eq!(images(&[]), Ok(ImageChoice::All));
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
