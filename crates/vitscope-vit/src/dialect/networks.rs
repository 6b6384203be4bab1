//! Which networks a file holds, and which of several is the one to look at.
//!
//! Training code wraps a backbone in modules, and modules in entries of a file. None of these has
//! to be known: a network is found by its patch embedding, and whatever stands before that name is
//! its prefix.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use super::DIALECTS;
use crate::{
    container::{Container, StoredTensor},
    error::{VitError, listed, shortened},
};

/// More networks than any training keeps; a file with more is made to waste time.
const NETWORK_LIMIT: usize = 16;

/// Root entries that hold the evaluated weights, best first, where a description names none.
pub(super) const GROUPS: &[&str] = &["teacher", "state_dict", "model", "model_state_dict"];

/// Root entries beside the weights, and what they are.
pub(super) const BESIDE: &[(&str, &str)] = &[
    (
        "student",
        "student network; the teacher is the one evaluated",
    ),
    ("optimizer*", "state of the optimizer"),
    ("*scaler", "state of the loss scaler"),
    ("*scheduler", "state of the schedule"),
    ("*schedulers", "state of the schedule"),
    ("*_loss", "state of the training loss"),
    ("*_mem", "memory of the training"),
    ("args", "settings of the training"),
    ("amp", "state of the loss scaler"),
    ("callbacks", "state of the training's callbacks"),
    ("loops", "state of the training loop"),
];

/// Words that say that a network is an average of its training, or a teacher made of one.
const AVERAGED: &[&str] = &[
    "teacher", "ema", "emamodel", "modelema", "averaged", "average", "avg", "swa", "momentum",
    "target", "shadow", "polyak",
];

/// Words that turn the next one around, as in `model_without_ema`.
const NEGATIONS: &[&str] = &["without", "wo", "no", "non", "not", "before", "pre"];

/// Words for the network beside an averaged one.
const TRAINED: &[&str] = &["student", "online", "raw", "source"];

/// Names of networks that their authors evaluate, and of the average beside each that they do not.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("base_encoder", "momentum_encoder"),
    ("encoder_q", "encoder_k"),
];

/// One network of a file.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// The root entry that holds it; empty in flat files.
    pub group: String,
    /// What stands before its names, without wrappers' words.
    pub prefix: String,
    /// The same as it stands in the file.
    pub written: String,
    /// The dialects in which its patch embedding is called so.
    pub dialects: Vec<usize>,
}

impl Network {
    /// A name for it: the entry and the prefix.
    pub fn label(&self) -> String {
        let prefix = self.prefix.trim_end_matches(['.', '/']);
        match (self.group.as_str(), prefix) {
            ("", "") => "top".to_owned(),
            ("", prefix) => prefix.to_owned(),
            (group, "") => group.to_owned(),
            (group, prefix) => format!("{group}.{prefix}"),
        }
    }

    /// Whether a tensor is this network's.
    pub fn has(&self, tensor: &StoredTensor, plain: &str) -> bool {
        tensor.group == self.group && plain.starts_with(&self.prefix)
    }

    /// Whether a user can mean it: by its label, or by whole words of it in a row.
    fn answers_to(&self, told: &str) -> bool {
        matches_label(&self.label(), told)
    }
}

/// Whether a user can mean a network by these words.
pub(super) fn matches_label(label: &str, told: &str) -> bool {
    let told = told
        .trim_end_matches(['.', '/', '*'])
        .replace(" / ", ".")
        .replace('/', ".");
    format!(".{}.", label.replace('/', ".")).contains(&format!(".{told}."))
}

/// Every tensor's name without the words that wrappers put between: `_orig_mod`,
/// `_checkpoint_wrapped_module` and all others that begin with an underscore, and `module`
/// inside a name. As it stands in the file where two names would become one.
pub(super) fn plain_names(container: &Container) -> Vec<String> {
    let mut plain: Vec<String> = container
        .tensors
        .iter()
        .map(|tensor| unwrapped(&tensor.name))
        .collect();
    restore(container, &mut plain);
    let mut seen = HashSet::new();
    let unique = container
        .tensors
        .iter()
        .zip(&plain)
        .all(|(tensor, name)| seen.insert((tensor.group.as_str(), name.as_str())));
    if unique {
        return plain;
    }
    container
        .tensors
        .iter()
        .map(|tensor| tensor.name.clone())
        .collect()
}

/// What stands before the names of averages whose own words are joined: LitEma takes the dots out
/// (`model_ema.blocks0norm1weight`), mmengine's predecessors put underscores for them
/// (`ema_backbone_norm_weight`).
const JOINED: &[&str] = &["model_ema.", "ema_model.", "ema."];

/// Words that may stand before the names that an average was made of.
const INNER: usize = 4;

/// Gives averages under such names those of the weights that they are averages of.
fn restore(container: &Container, plain: &mut [String]) {
    let joined = |name: &str| name.replace(['.', '_'], "");
    let start = |name: &str| {
        let known = JOINED.iter().find(|start| name.starts_with(**start));
        let known = known.map(|start| (*start, start.len()));
        known.or_else(|| name.starts_with("ema_").then_some(("ema.", 4)))
    };
    if !plain.iter().any(|name| start(name).is_some()) {
        return;
    }
    let averages = plain.iter().filter(|name| start(name).is_some()).count();
    // The average may have been made of a module, whose own name its names then lack.
    let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
    for name in plain.iter().filter(|name| start(name).is_none()) {
        let inner = name.match_indices('.').take(INNER).map(|(dot, _)| dot + 1);
        for end in std::iter::once(0).chain(inner) {
            *modules.entry(&name[..end]).or_insert(0) += 1;
        }
    }
    let large = modules.iter().filter(|(_, names)| 2 * **names >= averages);
    let of_module = |module: &str| -> Vec<Option<String>> {
        // `None` where two names are one without their separators.
        let mut whole: BTreeMap<(&str, String), Option<usize>> = BTreeMap::new();
        for (at, (tensor, name)) in container.tensors.iter().zip(&*plain).enumerate() {
            if start(name).is_none()
                && let Some(own) = name.strip_prefix(module)
            {
                let entry = whole.entry((tensor.group.as_str(), joined(own)));
                entry.and_modify(|index| *index = None).or_insert(Some(at));
            }
        }
        let restored = |(tensor, name): (&StoredTensor, &String)| {
            let (prefix, length) = start(name)?;
            let rest = &name[length..];
            let other = (*whole.get(&(tensor.group.as_str(), joined(rest)))?)?;
            let own = plain[other].strip_prefix(module)?;
            // A name of one word is the same without its dots.
            let is_joined = !rest.contains('.') && (own != rest || !module.is_empty());
            let alike = container.tensors[other].shape == tensor.shape;
            (is_joined && alike).then(|| format!("{prefix}{own}"))
        };
        container
            .tensors
            .iter()
            .zip(&*plain)
            .map(restored)
            .collect()
    };
    let all = large.map(|(module, _)| of_module(module));
    let count = |names: &Vec<Option<String>>| names.iter().flatten().count();
    // The first of those that restore most.
    let best = all.reduce(|best, next| {
        if count(&next) > count(&best) {
            next
        } else {
            best
        }
    });
    let restored = best.unwrap_or_default();
    for (name, restored) in plain.iter_mut().zip(restored) {
        if let Some(restored) = restored {
            *name = restored;
        }
    }
}

fn unwrapped(name: &str) -> String {
    let Some((path, leaf)) = name.rsplit_once('.') else {
        return name.to_owned();
    };
    let mut out = String::with_capacity(name.len());
    for word in path.split('.') {
        // PEFT puts the weight that an adapter changes one level deeper.
        let inner = ["module", "base_layer"].contains(&word) && !out.is_empty();
        if !(word.starts_with('_') || inner) {
            out.push_str(word);
            out.push('.');
        }
    }
    out.push_str(leaf);
    out
}

/// The networks of a file, by their patch embeddings.
pub(super) fn find(container: &Container, plain: &[String]) -> Vec<Network> {
    let mut found: Vec<Network> = Vec::new();
    let mut at: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (tensor, name) in container.tensors.iter().zip(plain) {
        for (index, dialect) in DIALECTS.iter().enumerate() {
            let Some(anchors) = dialect.stem.get("patch.weight") else {
                continue;
            };
            for anchor in anchors.all() {
                let Some(prefix) = before(name, anchor) else {
                    continue;
                };
                let key = (tensor.group.clone(), prefix.to_owned());
                if let Some(&known) = at.get(&key) {
                    let network: &mut Network = &mut found[known];
                    if !network.dialects.contains(&index) {
                        network.dialects.push(index);
                    }
                } else if found.len() < NETWORK_LIMIT {
                    at.insert(key, found.len());
                    found.push(Network {
                        group: tensor.group.clone(),
                        prefix: prefix.to_owned(),
                        written: before(&tensor.name, anchor).unwrap_or(prefix).to_owned(),
                        dialects: vec![index],
                    });
                }
            }
        }
    }
    for network in &mut found {
        network.dialects.sort_unstable();
    }
    found
}

/// What stands before a name's last words, where these are `words`.
pub(super) fn before<'a>(name: &'a str, words: &str) -> Option<&'a str> {
    name.strip_suffix(words)
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

/// Which of several networks was chosen, and why.
#[derive(Clone, Debug)]
pub(crate) struct NetworkChoice {
    /// The name of the network.
    pub value: String,
    /// The reason, and how to choose another.
    pub because: String,
    /// Whether it is worth telling without being asked.
    pub noted: bool,
}

/// Chooses among networks: the one that the user names, the average of a training, or none, which
/// is an error that asks. Never the order in the file. `built` says of each how it is built: what is built otherwise
/// than the network beside it is no average of it, or one that lacks something.
pub(super) fn choose(
    container: &Container,
    networks: &[&Network],
    built: &[[usize; 2]],
    told: Option<&str>,
) -> Result<(usize, Option<NetworkChoice>), VitError> {
    let labels: Vec<String> = networks.iter().map(|network| network.label()).collect();
    let path = &container.files[0].path;
    if let Some(told) = told {
        return named(path, networks, &labels, told);
    }
    if let [only] = networks {
        let trained = standing(only) < 0;
        return Ok((
            0,
            trained.then(|| NetworkChoice {
                value: labels[0].clone(),
                because: "it is the only network in the file, although named as the one beside an average".to_owned(),
                noted: true,
            }),
        ));
    }
    let others = |at: usize| {
        let rest: Vec<String> = (0..labels.len())
            .filter(|&other| other != at)
            .map(|other| format!("--backbone {}", shortened(&labels[other])))
            .collect();
        listed(&rest)
    };
    for (evaluated, average) in EXCEPTIONS {
        let with = |word: &str| {
            let mut found = (0..networks.len()).filter(|&at| labels[at].contains(word));
            found.next().filter(|_| found.next().is_none())
        };
        if let (Some(at), Some(_)) = (with(evaluated), with(average))
            && networks.len() == 2
        {
            return Ok((
                at,
                Some(NetworkChoice {
                    value: labels[at].clone(),
                    because: format!(
                        "its authors evaluate {evaluated} and not its average; {} takes that",
                        others(at)
                    ),
                    noted: true,
                }),
            ));
        }
    }
    let best = networks
        .iter()
        .map(|network| standing(network))
        .max()
        .unwrap_or(0);
    let first: Vec<usize> = (0..networks.len())
        .filter(|&at| standing(networks[at]) == best)
        .collect();
    let is_alike = |at: usize| best <= 0 || built.iter().all(|other| *other == built[at]);
    if let &[at] = first.as_slice()
        && is_alike(at)
    {
        let what = if best > 0 {
            "it is the teacher or the average of the training, which is the one evaluated"
        } else {
            "the other is a student, or named as the one beside an average, which is not the one evaluated"
        };
        return Ok((
            at,
            Some(NetworkChoice {
                value: labels[at].clone(),
                because: format!("{what}; {} takes the other", others(at)),
                noted: true,
            }),
        ));
    }
    Err(VitError::Unsettled {
        path: path.clone(),
        questions: vec![crate::error::Question {
            open: format!("which of its networks is meant ({})", listed(&labels)),
            setting: "backbone".to_owned(),
            choices: labels.clone(),
            example: labels[first[0]].clone(),
        }],
    })
}

/// The network that the user names, by its whole label or by what only one answers to.
fn named(
    path: &Path,
    networks: &[&Network],
    labels: &[String],
    told: &str,
) -> Result<(usize, Option<NetworkChoice>), VitError> {
    let meant: Vec<usize> = (0..networks.len())
        .filter(|&at| networks[at].answers_to(told))
        .collect();
    let exact = meant.iter().copied().find(|&at| labels[at] == told);
    match (exact, meant.as_slice()) {
        (Some(at), _) | (None, &[at]) => Ok((
            at,
            Some(NetworkChoice {
                value: labels[at].clone(),
                because: "--backbone says so".to_owned(),
                noted: false,
            }),
        )),
        _ => Err(VitError::Contradiction {
            path: path.to_owned(),
            claim: format!("`backbone` says {}", shortened(told)),
            fact: format!("its networks are called {}", listed(labels)),
        }),
    }
}

fn standing(network: &Network) -> i8 {
    standing_of(&network.label())
}

/// Whether a name says that it is an average or a teacher.
pub(super) fn is_average(label: &str) -> bool {
    standing_of(label) > 0
}

/// 1 for an average or a teacher, -1 for what stands beside one, 0 for others.
pub(super) fn standing_of(label: &str) -> i8 {
    let label = label.to_lowercase();
    let words: Vec<&str> = label.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    let is_turned = words
        .windows(2)
        .any(|pair| NEGATIONS.contains(&pair[0]) && AVERAGED.contains(&pair[1]));
    if is_turned || has(&["nonema", "noema"]) {
        return -1;
    }
    i8::from(has(AVERAGED)) - i8::from(has(TRAINED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_after_what_it_is_not_is_no_average() {
        for (label, standing) in [
            ("model_ema", 1),
            ("model_without_ema", -1),
            ("model_before_ema", -1),
            ("non_ema", -1),
            ("model_without_ddp", 0),
            ("nonema.backbone", -1),
            ("teacher.backbone", 1),
            ("student", -1),
            ("model", 0),
        ] {
            assert_eq!(standing_of(label), standing, "{label}");
        }
    }

    #[test]
    fn wrappers_leave_no_trace() {
        for (name, plain) in [
            ("_orig_mod.cls_token", "cls_token"),
            ("_orig_mod.module.cls_token", "module.cls_token"),
            (
                "blocks.0._checkpoint_wrapped_module.norm1.weight",
                "blocks.0.norm1.weight",
            ),
            (
                "model._modules.blocks._modules.0._parameters.gamma_1",
                "model.blocks.0.gamma_1",
            ),
            (
                "module.base_encoder.norm.bias",
                "module.base_encoder.norm.bias",
            ),
            ("a/b/c", "a/b/c"),
        ] {
            assert_eq!(unwrapped(name), plain);
        }
    }
}
