//! An attempt to read a network as one dialect: which tensor is which part, what is missing, what is left over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    container::{Container, StoredTensor},
    dialect::{
        Dialect, Names, WeightOrder,
        assignment::Role,
        lora::{self, AdapterScale, Change},
        networks::Network,
    },
};

/// No backbone is deeper; a larger block number is a name of another kind.
const DEPTH_LIMIT: usize = 512;

/// Parts that a backbone may lack where it has another tensor, by its name in every dialect: one
/// that was trained for the mean of its patches has its final norm after the mean.
const INSTEAD: &[(&str, &str)] = &[
    ("norm.weight", "fc_norm.weight"),
    ("norm.bias", "fc_norm.bias"),
];

/// An attempt to read a network as one dialect.
pub(super) struct Attempt<'a> {
    pub(super) dialect: &'static Dialect,
    pub(super) network: Network,
    pub(super) stem: BTreeMap<&'static str, usize>,
    pub(super) blocks: Vec<BTreeMap<&'static str, usize>>,
    pub(super) roles: Vec<Option<Role>>,
    /// What adapters add to its weights.
    pub(super) changes: BTreeMap<usize, Change>,
    pub(super) missing: Vec<String>,
    pub(super) left_over: Vec<&'a StoredTensor>,
    pub(super) hits: usize,
    /// Tensors that are neither the network's nor of a known kind beside it.
    pub(super) beside: usize,
}

impl Attempt<'_> {
    pub(super) fn score(&self) -> i64 {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX / 4);
        count(self.hits)
            - count(self.missing.len())
            - count(self.left_over.len())
            - count(self.beside)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.left_over.is_empty()
    }

    /// Whether it is a Vision Transformer, even if not one that can be run.
    pub(super) fn is_near(&self) -> bool {
        self.is_whole() || self.hits > self.missing.len() + self.left_over.len()
    }

    pub(super) fn is_better(&self, other: &Self) -> bool {
        (self.is_whole(), self.score()) > (other.is_whole(), other.score())
            && !(other.is_whole() && self.is_whole())
    }

    pub(super) fn stem(&mut self, inside: &HashMap<&str, usize>) {
        for (part, names) in &self.dialect.stem {
            let (part, optional) = optional(part);
            let found = names
                .all()
                .iter()
                .find_map(|name| inside.get(name.as_str()));
            if let Some(&index) = found {
                self.stem.insert(part, index);
                self.roles[index] = Some(Role::Used(part.to_owned()));
                self.hits += 1;
                continue;
            }
            let replaced = INSTEAD
                .iter()
                .any(|(lacking, other)| *lacking == part && inside.contains_key(other));
            if !optional && !replaced {
                let name = &names.all()[0];
                self.missing.push(format!("{}{name}", self.network.prefix));
            }
        }
    }

    pub(super) fn blocks(&mut self, inside: &HashMap<&str, usize>) {
        let (block, depth) = block_of(&self.dialect.block, inside);
        let (before, after) = block.split_once("{i}").unwrap_or((block, ""));
        let mut blocks = vec![BTreeMap::new(); depth.max(1)];
        let depth = blocks.len();
        for (part, names) in &self.dialect.blocks {
            let (part, optional) = optional(part);
            let found = |number: usize, name: &str| {
                inside
                    .get(format!("{before}{number}{after}{name}").as_str())
                    .copied()
            };
            // One alternative must serve every block, or a block of a mixed file would go unnoticed.
            let count = |name: &String| (0..depth).filter(|&i| found(i, name).is_some()).count();
            let best = names.all().iter().map(count).max().unwrap_or(0);
            let Some(name) = names.all().iter().find(|name| count(name) == best) else {
                continue;
            };
            if optional && best == 0 {
                continue;
            }
            for (number, block) in blocks.iter_mut().enumerate() {
                match found(number, name) {
                    Some(index) => {
                        block.insert(part, index);
                        self.roles[index] = Some(Role::Used(format!("blocks.{number}.{part}")));
                        self.hits += 1;
                    }
                    None => self.missing.push(format!(
                        "{}{before}{number}{after}{name}",
                        self.network.prefix
                    )),
                }
            }
        }
        self.blocks = blocks;
    }

    /// Finds what adapters add to the weights that are used.
    pub(super) fn adapters(
        &mut self,
        container: &Container,
        scale: &AdapterScale,
        inside: &HashMap<&str, usize>,
        ordered: &[(&str, usize)],
    ) {
        if self.dialect.layout != WeightOrder::OutIn {
            return;
        }
        for &(name, index) in ordered {
            let Some(Role::Used(part)) = self.roles[index].clone() else {
                continue;
            };
            let find = |name: &str| inside.get(name).copied();
            if let Some(change) = lora::change(container, scale, index, name, find) {
                for side in [change.down, change.up] {
                    self.roles[side] = Some(Role::Used(format!("change of {part}")));
                    self.hits += 1;
                }
                self.changes.insert(index, change);
            }
        }
    }

    /// What tells this dialect from another one with the same names.
    pub(super) fn kind(&mut self, container: &Container, inside: &HashMap<&str, usize>) {
        let needs = &self.dialect.needs;
        if !needs.is_empty() && !needs.iter().any(|name| inside.contains_key(name.as_str())) {
            self.missing
                .push(format!("{}{}", self.network.prefix, needs[0]));
        }
        let shape = |part: &str| {
            let index = self.blocks.first()?.get(part)?;
            Some(container.tensors[*index].shape.as_slice())
        };
        if self.dialect.plain
            && let (Some(&[rows, _]), Some(&[_, columns])) =
                (shape("up.weight"), shape("down.weight"))
            && rows != columns
        {
            self.missing.push(format!(
                "{}a feed-forward part that is not gated",
                self.network.prefix
            ));
        }
    }

    /// The width that the patch embedding shows.
    pub(super) fn width(&self, container: &Container) -> usize {
        let Some(&index) = self.stem.get("patch.weight") else {
            return 0;
        };
        let shape = &container.tensors[index].shape;
        let side = match self.dialect.layout {
            WeightOrder::OutIn => shape.first(),
            WeightOrder::InOut => shape.last(),
        };
        side.copied().unwrap_or(0)
    }

    /// First words of the names of tensors that are used.
    pub(super) fn modules<'b>(&self, ordered: &[(&'b str, usize)]) -> BTreeSet<&'b str> {
        ordered
            .iter()
            .filter(|&&(_, index)| matches!(self.roles[index], Some(Role::Used(_))))
            .map(|(name, _)| first(name))
            .collect()
    }
}

pub(super) fn first(name: &str) -> &str {
    name.split(['.', '/']).next().unwrap_or(name)
}

/// The alternative under which most blocks are found, and their number.
fn block_of<'a>(blocks: &'a Names, inside: &HashMap<&str, usize>) -> (&'a str, usize) {
    let depth = |block: &str| {
        let (before, after) = block.split_once("{i}").unwrap_or((block, ""));
        #[expect(clippy::iter_over_hash_type, reason = "a largest number has no order")]
        let last = {
            let mut last = None;
            for name in inside.keys() {
                let number = name.strip_prefix(before).and_then(|rest| {
                    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
                    rest[digits..].strip_prefix(after)?;
                    rest[..digits].parse::<usize>().ok()
                });
                last = last.max(number.filter(|&number| number < DEPTH_LIMIT));
            }
            last
        };
        last.map_or(0, |last| last + 1)
    };
    let all = blocks.all();
    let deepest = all.iter().map(|block| depth(block)).max().unwrap_or(0);
    let block = all.iter().find(|block| depth(block) == deepest);
    (block.map_or("", |block| block.as_str()), deepest)
}

/// Names in which blocks are kept in chunks, as DINOv2's training does: `blocks.{chunk}.{i}.`
/// becomes `blocks.{i}.`. `None` where they are not.
pub(super) fn unchunked(
    dialect: &Dialect,
    ordered: &[(&str, usize)],
) -> Option<Vec<(String, usize)>> {
    let number = |text: &str| -> Option<usize> {
        let digits = text.find('.')?;
        (digits > 0 && text[..digits].bytes().all(|b| b.is_ascii_digit())).then_some(digits)
    };
    let before = dialect.block.all().first()?.strip_suffix("{i}.")?;
    let mut seen = BTreeSet::new();
    let mut names = Vec::with_capacity(ordered.len());
    let mut chunks = 0;
    for &(name, index) in ordered {
        let inner = name.strip_prefix(before).and_then(|rest| {
            let chunk = number(rest)?;
            let inner = &rest[chunk + 1..];
            number(inner).map(|_| inner)
        });
        let plain = inner.map_or_else(|| name.to_owned(), |inner| format!("{before}{inner}"));
        chunks += usize::from(inner.is_some());
        if !seen.insert(plain.clone()) {
            return None;
        }
        names.push((plain, index));
    }
    (chunks > 0).then_some(names)
}

fn optional(part: &str) -> (&str, bool) {
    part.strip_suffix('?')
        .map_or((part, false), |part| (part, true))
}
