//! Which dialect a file speaks: the one that accounts for every tensor.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde::Serialize;

use super::{DIALECTS, Dialect, fits, mismatch};
use crate::{
    container::{Container, Stored},
    error::VitError,
};

/// Root entries that hold the evaluated weights, best first; files without any are flat.
pub(super) const GROUPS: &[&str] = &["teacher", "state_dict", "model", "model_state_dict"];

/// Root entries beside the weights.
pub(super) const BESIDE: &[(&str, &str)] = &[
    (
        "student",
        "student network; the teacher is the one evaluated",
    ),
    ("optimizer*", "state of the optimizer"),
    ("*scaler", "state of the loss scaler"),
    ("*scheduler", "state of the schedule"),
    ("*_loss", "state of the training loss"),
    ("*_mem", "memory of the training"),
    ("args", "settings of the training"),
    ("amp", "state of the loss scaler"),
];

/// No backbone is deeper; a larger block number is a name of another kind.
const DEPTH_LIMIT: usize = 512;

/// What a tensor is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is this part of the backbone.
    Used(String),
    /// The backbone does not need it, for this reason.
    Unneeded(String),
}

/// A file's tensors with their parts assigned.
#[derive(Debug)]
pub(crate) struct Fit {
    /// The dialect that accounts for all of them.
    pub dialect: Arc<Dialect>,
    /// The root entry that holds the backbone; empty in flat files.
    pub group: String,
    /// What stands before the backbone's names inside the group.
    pub prefix: String,
    /// Parts outside the blocks: canonical name to index of the tensor.
    pub stem: BTreeMap<&'static str, usize>,
    /// Parts of every block.
    pub blocks: Vec<BTreeMap<&'static str, usize>>,
    /// What each tensor of the container is for.
    pub roles: Vec<Role>,
}

/// An attempt to read a file as one dialect.
struct Attempt<'a> {
    fit: Fit,
    missing: Vec<String>,
    left_over: Vec<&'a Stored>,
    hits: usize,
}

/// Finds the dialect that accounts for every tensor.
///
/// # Errors
///
/// No dialect does; the error names the closest and the difference.
pub(crate) fn fit(container: &Container) -> Result<Fit, VitError> {
    let present: BTreeSet<&str> = container
        .tensors
        .iter()
        .map(|tensor| tensor.group.as_str())
        .collect();
    let group = GROUPS
        .iter()
        .find(|group| present.contains(*group))
        .copied()
        .unwrap_or("");
    let mut best: Option<Attempt<'_>> = None;
    for dialect in DIALECTS.iter() {
        for prefix in &dialect.prefixes {
            let attempt = attempt(container, dialect, group, prefix);
            if attempt.missing.is_empty() && attempt.left_over.is_empty() {
                return Ok(attempt.fit);
            }
            if best
                .as_ref()
                .is_none_or(|best| attempt.score() > best.score())
            {
                best = Some(attempt);
            }
        }
    }
    let path = container.files[0].path.clone();
    Err(match best {
        Some(best) => VitError::NoFit {
            path,
            closest: best.fit.dialect.title.clone(),
            difference: mismatch::difference(container, best.hits, &best.missing, &best.left_over),
        },
        None => VitError::NoFit {
            path,
            closest: "none".to_owned(),
            difference: "no dialect is known".to_owned(),
        },
    })
}

impl Attempt<'_> {
    fn score(&self) -> i64 {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX / 4);
        count(self.hits) - count(self.missing.len()) - count(self.left_over.len())
    }
}

fn attempt<'a>(
    container: &'a Container,
    dialect: &'static Arc<Dialect>,
    group: &str,
    prefix: &str,
) -> Attempt<'a> {
    let mut roles: Vec<Option<Role>> = vec![None; container.tensors.len()];
    let mut inside: HashMap<&str, usize> = HashMap::new();
    let mut ordered = Vec::new();
    // Heads beside a `backbone.` share the wrapper's prefix but not the backbone's own.
    let wrapper = prefix
        .trim_end_matches('.')
        .rfind('.')
        .map_or("", |at| &prefix[..=at]);
    for (index, tensor) in container.tensors.iter().enumerate() {
        if tensor.group != group {
            roles[index] = BESIDE
                .iter()
                .find(|(pattern, _)| !tensor.group.is_empty() && fits(pattern, &tensor.group))
                .map(|(_, reason)| Role::Unneeded((*reason).to_owned()));
        } else if let Some(name) = tensor.name.strip_prefix(prefix) {
            inside.insert(name, index);
            ordered.push((name, index));
        } else {
            let name = tensor.name.strip_prefix(wrapper).unwrap_or(&tensor.name);
            roles[index] = dialect
                .outside
                .iter()
                .chain(&dialect.unneeded)
                .find(|(pattern, _)| fits(pattern, name))
                .map(|(_, reason)| Role::Unneeded(reason.clone()));
        }
    }
    let (before, after) = dialect
        .block
        .split_once("{i}")
        .unwrap_or((&dialect.block, ""));
    let depth = ordered
        .iter()
        .filter_map(|(name, _)| {
            let rest = name.strip_prefix(before)?;
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            rest[digits..].strip_prefix(after)?;
            rest[..digits].parse::<usize>().ok()
        })
        .filter(|&number| number < DEPTH_LIMIT)
        .max()
        .map_or(1, |last| last + 1);

    let mut missing = Vec::new();
    let mut hits = 0;
    let mut stem = BTreeMap::new();
    for (part, names) in &dialect.stem {
        let (part, optional) = optional(part);
        match names
            .all()
            .iter()
            .find_map(|name| inside.get(name.as_str()))
        {
            Some(&index) => {
                stem.insert(part, index);
                roles[index] = Some(Role::Used(part.to_owned()));
                hits += 1;
            }
            None if optional => {}
            None => missing.push(format!("{prefix}{}", names.all()[0])),
        }
    }
    let mut blocks = vec![BTreeMap::new(); depth];
    for (part, names) in &dialect.blocks {
        let (part, optional) = optional(part);
        let found = |number: usize, name: &str| {
            inside
                .get(format!("{before}{number}{after}{name}").as_str())
                .copied()
        };
        // One alternative must serve every block, or a block of a mixed file would go unnoticed.
        let name = names
            .all()
            .iter()
            .max_by_key(|name| (0..depth).filter(|&i| found(i, name).is_some()).count());
        let Some(name) = name else { continue };
        if optional && (0..depth).all(|number| found(number, name).is_none()) {
            continue;
        }
        for (number, block) in blocks.iter_mut().enumerate() {
            match found(number, name) {
                Some(index) => {
                    block.insert(part, index);
                    roles[index] = Some(Role::Used(format!("blocks.{number}.{part}")));
                    hits += 1;
                }
                None => missing.push(format!("{prefix}{before}{number}{after}{name}")),
            }
        }
    }
    for (name, index) in ordered {
        if roles[index].is_none() {
            roles[index] = dialect
                .unneeded
                .iter()
                .find(|(pattern, _)| fits(pattern, name))
                .map(|(_, reason)| Role::Unneeded(reason.clone()));
        }
    }
    let left_over = container
        .tensors
        .iter()
        .zip(&roles)
        .filter(|(_, role)| role.is_none())
        .map(|(tensor, _)| tensor)
        .collect();
    Attempt {
        fit: Fit {
            dialect: Arc::clone(dialect),
            group: group.to_owned(),
            prefix: prefix.to_owned(),
            stem,
            blocks,
            roles: roles
                .into_iter()
                .map(|role| role.unwrap_or_else(|| Role::Unneeded("not recognized".to_owned())))
                .collect(),
        },
        missing,
        left_over,
        hits,
    }
}

fn optional(part: &str) -> (&str, bool) {
    part.strip_suffix('?')
        .map_or((part, false), |part| (part, true))
}
