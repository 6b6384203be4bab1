//! Which dialect a file speaks: the one that accounts for every tensor of its backbone.

mod attempt;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use attempt::{Attempt, first, unchunked};

use super::{
    DIALECTS, Dialect,
    assignment::{Assignment, Role},
    averages, causes,
    draft::{self, words},
    fits,
    lora::{self, AdapterScale, Changes},
    mismatch,
    networks::{self, BESIDE, Network, NetworkChoice},
};
use crate::{
    container::{Container, Dtype, StoredTensor},
    error::VitError,
};

/// Words that begin the names of modules that only read a backbone's output.
const READERS: &[&str] = &[
    "head",
    "heads",
    "classifier",
    "class",
    "decoder",
    "decode",
    "project",
    "predict",
    "fc",
    "logit",
    "neck",
    "pool",
    "loss",
    "probe",
    "linear",
    "aux",
    "criterion",
    "queue",
    "center",
    "prototype",
    "regress",
    "seg",
    "depth",
    "last",
    "output",
    "mlp",
    "online",
    "num",
    "score",
];

/// Words that begin the names of what enters a backbone, however its shape looks.
const ENTERING: &[&str] = &[
    "token", "prompt", "embed", "register", "storage", "pos", "lora", "adapter", "prefix",
];

/// Finds the network of a file and the dialect that accounts for all of its tensors. `told` names
/// the network where there are several.
///
/// # Errors
///
/// No dialect does, and the error names the closest and the difference; or several networks are
/// equally likely.
pub(crate) fn fit(container: &Container, told: Option<&str>) -> Result<Assignment, VitError> {
    if let Some(error) = causes::placeholders(container) {
        return Err(error);
    }
    let plain = networks::plain_names(container);
    let look = FitLook {
        container,
        plain: &plain,
        scale: lora::scale(container),
    };
    let mut whole: Vec<Attempt<'_>> = Vec::new();
    let mut partial: Option<Attempt<'_>> = None;
    for network in networks::find(container, &plain) {
        let mut best: Option<Attempt<'_>> = None;
        for &index in &network.dialects {
            let attempt = look.attempt(&DIALECTS[index], &network);
            if best.as_ref().is_none_or(|best| attempt.is_better(best)) {
                best = Some(attempt);
            }
        }
        match best {
            Some(attempt) if attempt.is_near() => whole.push(attempt),
            Some(attempt) if partial.as_ref().is_none_or(|p| attempt.is_better(p)) => {
                partial = Some(attempt);
            }
            _ => {}
        }
    }
    if whole.is_empty() {
        let closest = look.closest().into_iter().chain(partial);
        let closest = closest.reduce(|best, next| if next.is_better(&best) { next } else { best });
        return Err(refusal(container, closest.as_ref()));
    }
    let candidates: Vec<&Network> = whole.iter().map(|attempt| &attempt.network).collect();
    let built: Vec<[usize; 2]> = whole.iter().map(|attempt| look.built(attempt)).collect();
    let (at, choice) = networks::choose(container, &candidates, &built, told)?;
    let others: Vec<Network> = whole
        .iter()
        .enumerate()
        .filter(|&(other, _)| other != at)
        .map(|(_, attempt)| attempt.network.clone())
        .collect();
    let chosen = whole.swap_remove(at);
    if !chosen.is_whole() {
        return Err(refusal(container, Some(&chosen)));
    }
    // What is read without having been chosen may have a better copy that no name tells.
    let choice = choice.or_else(|| {
        let parts = std::iter::once(&chosen.stem).chain(&chosen.blocks);
        let parts = parts.flat_map(BTreeMap::values);
        let weights: Vec<&StoredTensor> = parts.map(|&at| &container.tensors[at]).collect();
        averages::beside(container, &weights, &chosen.network.label())
    });
    Ok(look.finish(chosen, choice, &others))
}

fn refusal(container: &Container, closest: Option<&Attempt<'_>>) -> VitError {
    let missing = closest.map_or(&[][..], |closest| &closest.missing);
    if let Some(error) = causes::of(container, missing) {
        return error;
    }
    let likely = draft::draft(container, std::path::Path::new("weights"), None).likely;
    VitError::NoFit {
        path: container.files[0].path.clone(),
        likely,
        closest: closest
            .map_or("none", |closest| &closest.dialect.title)
            .to_owned(),
        difference: closest.map_or_else(
            || "no dialect is known".to_owned(),
            |closest| {
                mismatch::difference(
                    container,
                    closest.hits,
                    &closest.missing,
                    &closest.left_over,
                )
            },
        ),
    }
}

/// A container and its tensors' names without wrappers.
struct FitLook<'a> {
    container: &'a Container,
    plain: &'a [String],
    /// That of adapters, where it is known.
    scale: Option<AdapterScale>,
}

impl<'a> FitLook<'a> {
    /// Blocks, and numbers in the patch embedding: networks of one training have the same.
    fn built(&self, attempt: &Attempt<'_>) -> [usize; 2] {
        let patch = attempt.stem.get("patch.weight");
        let elements = patch.map_or(0, |&index| self.container.tensors[index].elements());
        [attempt.blocks.len(), elements]
    }

    /// Attempts at files in which no patch embedding was found, where their blocks begin.
    fn closest(&self) -> Option<Attempt<'a>> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for tensor in &self.container.tensors {
            *sizes.entry(&tensor.group).or_default() += 1;
        }
        let group = sizes
            .iter()
            .max_by_key(|(_, size)| **size)
            .map_or("", |(group, _)| *group);
        let mut best: Option<Attempt<'a>> = None;
        for dialect in DIALECTS.iter() {
            let network = self.by_blocks(dialect).unwrap_or_else(|| Network {
                group: group.to_owned(),
                prefix: String::new(),
                written: String::new(),
                dialects: Vec::new(),
            });
            let attempt = self.attempt(dialect, &network);
            if best.as_ref().is_none_or(|best| attempt.is_better(best)) {
                best = Some(attempt);
            }
        }
        best
    }

    /// The network whose first block has its first norm under the dialect's name.
    fn by_blocks(&self, dialect: &Dialect) -> Option<Network> {
        let norms = dialect.blocks.get("norm1.weight")?;
        let pairs = dialect.block.all().iter().flat_map(|block| {
            let first = block.replacen("{i}", "0", 1);
            norms.all().iter().map(move |norm| format!("{first}{norm}"))
        });
        let names: Vec<String> = pairs.collect();
        self.container
            .tensors
            .iter()
            .zip(self.plain)
            .find_map(|(tensor, plain)| {
                let prefix = names
                    .iter()
                    .find_map(|name| networks::before(plain, name))?;
                Some(Network {
                    group: tensor.group.clone(),
                    prefix: prefix.to_owned(),
                    written: prefix.to_owned(),
                    dialects: Vec::new(),
                })
            })
    }

    fn attempt(&self, dialect: &'static Dialect, network: &Network) -> Attempt<'a> {
        let mut roles: Vec<Option<Role>> = vec![None; self.container.tensors.len()];
        let mut inside: HashMap<&str, usize> = HashMap::new();
        let mut ordered = Vec::new();
        let mut beside = 0;
        // Heads beside a `backbone.` share the wrapper's prefix but not the backbone's own.
        let wrapper = network
            .prefix
            .trim_end_matches('.')
            .rfind('.')
            .map_or("", |at| &network.prefix[..=at]);
        for (index, tensor) in self.container.tensors.iter().enumerate() {
            let plain = self.plain[index].as_str();
            if network.has(tensor, plain) {
                let name = &plain[network.prefix.len()..];
                inside.insert(name, index);
                ordered.push((name, index));
                continue;
            }
            let name = plain.strip_prefix(wrapper).unwrap_or(plain);
            let reason = if tensor.group == network.group {
                let lists = dialect.outside.iter().chain(&dialect.unneeded);
                lists
                    .filter(|(pattern, _)| fits(pattern, name))
                    .map(|(_, reason)| reason.as_str())
                    .next()
            } else {
                BESIDE
                    .iter()
                    .find(|(pattern, _)| !tensor.group.is_empty() && fits(pattern, &tensor.group))
                    .map(|(_, reason)| *reason)
            };
            beside += usize::from(reason.is_none());
            let reason = reason.unwrap_or("beside the backbone");
            roles[index] = Some(Role::Unneeded(reason.to_owned()));
        }
        let chunked = unchunked(dialect, &ordered);
        let inside = chunked.as_ref().map_or(inside, |names| {
            names
                .iter()
                .map(|(name, index)| (name.as_str(), *index))
                .collect()
        });
        let mut attempt = Attempt {
            dialect,
            network: network.clone(),
            stem: BTreeMap::new(),
            blocks: Vec::new(),
            roles,
            changes: BTreeMap::new(),
            missing: Vec::new(),
            left_over: Vec::new(),
            hits: 0,
            beside,
        };
        attempt.stem(&inside);
        attempt.blocks(&inside);
        attempt.kind(self.container, &inside);
        if let Some(scale) = &self.scale {
            attempt.adapters(self.container, scale, &inside, &ordered);
        }
        // Only what stands beside a whole backbone can be told to be no part of it.
        let aside = if attempt.missing.is_empty() {
            let width = attempt.width(self.container);
            self.aside(&ordered, &attempt.modules(&ordered), width)
        } else {
            BTreeMap::new()
        };
        for (name, index) in &ordered {
            if attempt.roles[*index].is_none() {
                attempt.roles[*index] = dialect
                    .unneeded
                    .iter()
                    .find(|(pattern, _)| fits(pattern, name))
                    .map(|(_, reason)| reason.as_str())
                    .or_else(|| aside.get(first(name)).copied())
                    .map(|reason| Role::Unneeded(reason.to_owned()));
            }
        }
        attempt.left_over = self
            .container
            .tensors
            .iter()
            .zip(&attempt.roles)
            .filter(|(_, role)| role.is_none())
            .map(|(tensor, _)| tensor)
            .collect();
        attempt
    }

    /// Modules beside the backbone's, but under its prefix, that can be left aside, and why: they
    /// hold no weights, or they only read the output. What might stand between image and output is
    /// never left aside.
    fn aside<'b>(
        &self,
        all: &[(&'b str, usize)],
        used: &BTreeSet<&str>,
        width: usize,
    ) -> BTreeMap<&'b str, &'static str> {
        /// More tensors than a head has.
        const HEAD: usize = 16;
        let mut modules: BTreeMap<&'b str, Vec<&StoredTensor>> = BTreeMap::new();
        for &(name, index) in all {
            if !used.contains(first(name)) {
                let tensors = modules.entry(first(name)).or_default();
                tensors.push(&self.container.tensors[index]);
            }
        }
        // What is added to the tokens, or to the maps that they pass, has the shape of a head.
        let enters = |module: &str| {
            let words = words(module);
            let begins = |list: &[&str]| {
                let mut each = words.iter();
                each.any(|word| list.iter().any(|start| word.starts_with(start)))
            };
            begins(ENTERING) && !begins(&["decod", "predict", "proj", "head", "classif", "text"])
        };
        let number = |tensor: &&StoredTensor| {
            tensor.elements() <= 1 || matches!(tensor.dtype, Dtype::Other(..))
        };
        let reads = |tensor: &&StoredTensor| matches!(tensor.shape[..], [out, inputs] if inputs == width && out != width && out > 1);
        modules
            .into_iter()
            .filter_map(|(module, tensors)| {
                let named = || {
                    words(module)
                        .iter()
                        .any(|word| READERS.iter().any(|start| word.starts_with(start)))
                };
                if tensors.iter().all(number) {
                    Some((module, "a number kept beside the weights"))
                } else if enters(module) {
                    None
                } else if named() || (tensors.len() <= HEAD && tensors.iter().any(reads)) {
                    Some((module, "reads the backbone's output"))
                } else {
                    None
                }
            })
            .collect()
    }

    fn finish(
        &self,
        attempt: Attempt<'_>,
        choice: Option<NetworkChoice>,
        others: &[Network],
    ) -> Assignment {
        let roles = attempt.roles.into_iter().enumerate().map(|(index, role)| {
            let (tensor, plain) = (&self.container.tensors[index], &self.plain[index]);
            match role {
                Some(Role::Unneeded(reason)) => {
                    let other = others.iter().find(|other| other.has(tensor, plain));
                    Role::Unneeded(match other {
                        Some(other) if reason == "beside the backbone" => {
                            format!("another network of the file ({})", other.label())
                        }
                        _ => reason,
                    })
                }
                Some(role) => role,
                None => Role::Unneeded("not recognized".to_owned()),
            }
        });
        Assignment {
            naming: attempt.dialect.naming(),
            group: attempt.network.group.clone(),
            prefix: attempt.network.written.clone(),
            choice,
            heads: None,
            changes: Changes {
                scale: self.scale.clone().filter(|_| !attempt.changes.is_empty()),
                of: attempt.changes,
            },
            stem: attempt.stem,
            blocks: attempt.blocks,
            roles: roles.collect(),
        }
    }
}
