//! Tensors that are the same thing in every block, recognized by a number in their names.

use std::collections::{BTreeMap, HashMap};

/// One tensor, or one per block under a name with `{i}` in the place of the number.
#[derive(Clone, Debug)]
pub(crate) struct PatternItem {
    /// The name or pattern.
    pub name: String,
    /// The shape, which all of them share.
    pub shape: Vec<usize>,
    /// Index of the first tensor.
    pub first: usize,
    /// How many tensors it stands for.
    pub count: usize,
}

impl PatternItem {
    /// Number of elements of one of its tensors.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Names with their shapes, divided into those of the blocks and the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Divided {
    /// One per part of a block.
    pub blocks: Vec<PatternItem>,
    /// All others.
    pub stem: Vec<PatternItem>,
    /// Number of blocks.
    pub depth: usize,
}

/// More digits do not number blocks.
const DIGITS: usize = 4;

/// Runs of digits in a name: where they begin and end.
pub(super) fn runs(name: &str) -> Vec<(usize, usize)> {
    let bytes = name.as_bytes();
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = at
            + bytes[at..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
        if end > at {
            if end - at <= DIGITS {
                runs.push((at, end));
            }
            at = end;
        } else {
            at += 1;
        }
    }
    runs
}

/// A name with its first number that stands alone between separators replaced by `{i}`.
pub(crate) fn general(name: &str) -> String {
    let apart = |at: Option<char>| at.is_none_or(|c| matches!(c, '.' | '/' | '_'));
    runs(name)
        .into_iter()
        .find(|&(from, to)| {
            apart(name[..from].chars().next_back()) && apart(name[to..].chars().next())
        })
        .map_or_else(
            || name.to_owned(),
            |(from, to)| format!("{}{{i}}{}", &name[..from], &name[to..]),
        )
}

/// Finds the blocks among named shapes. `like` tells how much a set of blocks resembles those
/// looked for, given what stands before the number and the items; the largest wins.
pub(crate) fn divide(
    tensors: &[(usize, &str, &[usize])],
    like: impl Fn(&str, &[PatternItem]) -> usize,
) -> Divided {
    let mut patterns: HashMap<(&str, &str), Vec<(usize, usize)>> = HashMap::new();
    for (at, (_, name, _)) in tensors.iter().enumerate() {
        for (from, to) in runs(name) {
            if let Ok(number) = name[from..to].parse() {
                let key = (&name[..from], &name[to..]);
                patterns.entry(key).or_default().push((number, at));
            }
        }
    }
    // What stands before the number, the first number and how many there are make one set.
    let mut sets: BTreeMap<(&str, usize, usize), Vec<PatternItem>> = BTreeMap::new();
    let mut members: HashMap<String, Vec<usize>> = HashMap::new();
    #[expect(
        clippy::iter_over_hash_type,
        reason = "the sets are sorted, and their items are sorted below"
    )]
    for ((before, after), mut found) in patterns {
        found.sort_unstable();
        let numbers = found.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0);
        let (_, _, shape) = tensors[found[0].1];
        if found.len() < 2 || !numbers || found.iter().any(|&(_, at)| tensors[at].2 != shape) {
            continue;
        }
        let name = format!("{before}{{i}}{after}");
        members.insert(name.clone(), found.iter().map(|&(_, at)| at).collect());
        let set = sets.entry((before, found[0].0, found.len())).or_default();
        set.push(PatternItem {
            name,
            shape: shape.to_vec(),
            first: found[0].1,
            count: found.len(),
        });
    }
    let best = sets.into_iter().max_by_key(|((before, ..), items)| {
        let elements = items.iter().fold(0usize, |sum, item| {
            sum.saturating_add(item.elements().saturating_mul(item.count))
        });
        (like(before, items), elements)
    });
    let mut divided = Divided::default();
    let mut taken = vec![false; tensors.len()];
    if let Some(((.., depth), mut items)) = best {
        items.sort_by_key(|item| item.first);
        for item in &items {
            for &at in &members[&item.name] {
                taken[at] = true;
            }
        }
        divided.depth = depth;
        divided.blocks = items;
    }
    divided.stem = tensors
        .iter()
        .enumerate()
        .filter(|(at, _)| !taken[*at])
        .map(|(at, (_, name, shape))| PatternItem {
            name: (*name).to_owned(),
            shape: shape.to_vec(),
            first: at,
            count: 1,
        })
        .collect();
    divided
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_patterns() {
        assert_eq!(
            general("blocks.11.mlp.fc1.weight"),
            "blocks.{i}.mlp.fc1.weight"
        );
        assert_eq!(general("encoder/block_3/w"), "encoder/block_{i}/w");
        assert_eq!(general("norm1.weight"), "norm1.weight");
    }

    #[test]
    fn the_blocks_are_found() {
        let names = [
            "cls", "b0.x.w", "b0.x.0", "b1.x.w", "b1.x.0", "b2.x.w", "b2.x.0",
        ];
        let tensors: Vec<(usize, &str, &[usize])> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (at, *name, [2, 2].as_slice()))
            .collect();
        let divided = divide(&tensors, |_, _| 0);
        let blocks: Vec<&str> = divided.blocks.iter().map(|item| &*item.name).collect();
        assert_eq!(blocks, ["b{i}.x.w", "b{i}.x.0"]);
        assert_eq!(divided.depth, 3);
        assert_eq!(divided.stem.len(), 1);
    }
}
