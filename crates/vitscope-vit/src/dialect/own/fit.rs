//! Assigning a checkpoint's tensors as its description says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{describe::ModelDescription, nearest::nearest};
use crate::{
    container::{Container, StoredTensor, TensorPlace},
    dialect::{
        Naming, WeightOrder,
        assignment::{Assignment, Role},
        fits,
        lora::Changes,
        networks::{BESIDE, GROUPS},
    },
    error::{VitError, listed, shortened},
    names::Format,
};

/// Parts without which there is no backbone, unless the description says that it has none.
const REQUIRED: &[&str] = &[
    "patch.weight",
    "class",
    "norm.weight",
    "norm1.weight",
    "proj.weight",
    "norm2.weight",
    "up.weight",
    "down.weight",
];

/// Parts that only make sense beside another one.
const WITH: &[(&str, &str)] = &[
    ("patch.bias", "patch.weight"),
    ("stem_norm.bias", "stem_norm.weight"),
    ("qkv.bias", "qkv.weight"),
    ("qkv.mask", "qkv.bias"),
    ("gate.bias", "gate.weight"),
    ("scale1", "scale2"),
    ("scale2", "scale1"),
];

/// No backbone is deeper, or has more heads.
const DEPTH_LIMIT: usize = 512;
const HEAD_LIMIT: usize = 256;

/// Numbers of blocks, and the tensor of each.
type Numbered = BTreeMap<usize, usize>;

/// Assigns every tensor, or says what is missing, twice there or left over.
///
/// # Errors
///
/// The description contradicts the checkpoint.
pub(crate) fn fit(
    container: &mut Container,
    description: &ModelDescription,
) -> Result<Assignment, VitError> {
    complete(description)?;
    let group = group(container, description)?;
    let mut roles: Vec<Option<Role>> = vec![None; container.tensors.len()];
    let heads = join_heads(container, description, &group, &mut roles)?;
    let container = &*container;
    let mut inside: HashMap<&str, usize> = HashMap::new();
    for (index, tensor) in container.tensors.iter().enumerate() {
        if tensor.group == group
            && let Some(name) = tensor.name.strip_prefix(description.prefix.as_str())
        {
            inside.insert(name, index);
        }
    }
    let mut stem = BTreeMap::new();
    let mut numbered: Vec<(&str, &'static str, Numbered)> = Vec::new();
    for (pattern, part) in &description.names {
        if let Some((before, after)) = pattern.split_once("{i}") {
            let found = blocks_of(description, &inside, before, after)?;
            if found.is_empty() {
                return Err(absent(description, pattern, &inside));
            }
            numbered.push((pattern, part, found));
        } else {
            let index = *inside
                .get(pattern.as_str())
                .ok_or_else(|| absent(description, pattern, &inside))?;
            stem.insert(*part, index);
            note(&mut roles, index, Role::Used((*part).to_owned()));
        }
    }
    let blocks = blocks(description, &numbered, &mut roles)?;
    ignore(container, description, &group, &mut roles)?;
    Ok(Assignment {
        naming: naming(container, description, &stem),
        group,
        choice: None,
        heads,
        changes: Changes::default(),
        prefix: description.prefix.clone(),
        stem,
        blocks,
        roles: roles.into_iter().flatten().collect(),
    })
}

/// Gives a tensor its role; one that was joined of others has none, as it is not in the file.
fn note(roles: &mut [Option<Role>], index: usize, role: Role) {
    if let Some(place) = roles.get_mut(index) {
        *place = Some(role);
    }
}

/// Joins the tensors of the heads, `{h}` in the description, to one for each block, under the
/// description's pattern with the block's number. Returns how many heads there are.
fn join_heads(
    container: &mut Container,
    description: &ModelDescription,
    group: &str,
    roles: &mut [Option<Role>],
) -> Result<Option<usize>, VitError> {
    let mut all = None;
    if !description
        .names
        .iter()
        .any(|(pattern, _)| pattern.contains("{h}"))
    {
        return Ok(all);
    }
    let places: HashMap<String, usize> = container
        .tensors
        .iter()
        .enumerate()
        .filter(|(_, tensor)| tensor.group == group)
        .map(|(index, tensor)| (tensor.name.clone(), index))
        .collect();
    for (pattern, part) in &description.names {
        let Some((before, rest)) = pattern.split_once("{i}") else {
            continue;
        };
        if !pattern.contains("{h}") {
            continue;
        }
        for block in 0..DEPTH_LIMIT {
            let name = format!("{}{before}{block}{rest}", description.prefix);
            let (mut parts, mut at) = (Vec::new(), Vec::new());
            for head in 0..HEAD_LIMIT {
                let name = name.replacen("{h}", &head.to_string(), 1);
                let Some(&index) = places.get(&name) else {
                    break;
                };
                parts.push(container.tensors[index].clone());
                at.push(index);
            }
            let Some(first) = parts.first() else {
                if block == 0 {
                    continue;
                }
                break;
            };
            let same = |part: &StoredTensor| part.shape == first.shape && part.dtype == first.dtype;
            let heads = parts.len();
            if !parts.iter().all(same) || all.is_some_and(|all| all != heads) {
                return Err(description.wrong(format!(
                    "tensors.{:?} joins tensors of unequal heads in block {block}",
                    shortened(pattern)
                )));
            }
            all = Some(heads);
            let mut shape = first.shape.clone();
            if let Some(rows) = shape.first_mut() {
                *rows *= heads;
            }
            for index in at {
                note(roles, index, Role::Used(format!("blocks.{block}.{part}")));
            }
            let joined = StoredTensor {
                group: group.to_owned(),
                name,
                shape,
                dtype: first.dtype,
                place: TensorPlace::Joined(parts),
            };
            container.tensors.push(joined);
        }
    }
    Ok(all)
}

/// Checks that the name map describes a whole backbone.
fn complete(description: &ModelDescription) -> Result<(), VitError> {
    let has = |part: &str| description.names.iter().any(|(_, known)| *known == part);
    let says = &description.says;
    let without = |part: &str| {
        (part == "class" && says.class == Some(false))
            || (part == "norm.weight" && says.final_norm == Some(false))
    };
    let mut missing: Vec<&str> = REQUIRED
        .iter()
        .copied()
        .filter(|part| !has(part) && !without(part))
        .collect();
    let split = ["query.weight", "key.weight", "value.weight"];
    let joint = has("qkv.weight");
    if !joint {
        if split.iter().any(|part| has(part)) {
            missing.extend(split.iter().filter(|part| !has(part)));
        } else {
            missing.push("qkv.weight (or query.weight, key.weight and value.weight)");
        }
    }
    for (part, with) in WITH {
        if has(part) && !has(with) && !missing.contains(with) {
            missing.push(with);
        }
    }
    if has("gate.weight") && has("gate.bias") != has("up.bias") {
        missing.push(if has("gate.bias") {
            "up.bias"
        } else {
            "gate.bias"
        });
    }
    if !missing.is_empty() {
        return Err(description.wrong(format!(
            "its name map lacks {}, which every backbone here has{}",
            missing.join(", "),
            match missing.as_slice() {
                ["class"] => " unless model.class_token = false says otherwise",
                ["norm.weight"] => " unless model.final_norm = false says otherwise",
                _ => "",
            }
        )));
    }
    let twice = if joint {
        split
            .iter()
            .find(|part| has(part))
            .map(|part| ("qkv.weight", *part))
    } else {
        None
    };
    let twice = twice.or_else(|| {
        ["query.bias", "key.bias", "value.bias"]
            .into_iter()
            .find(|part| has("qkv.bias") && has(part))
            .map(|part| ("qkv.bias", part))
    });
    match twice {
        Some((joint, part)) => {
            Err(description.wrong(format!("its name map has both {joint} and {part}")))
        }
        None => Ok(()),
    }
}

/// The root entry that holds the backbone.
fn group(container: &Container, description: &ModelDescription) -> Result<String, VitError> {
    let present: BTreeSet<&str> = container
        .tensors
        .iter()
        .map(|tensor| tensor.group.as_str())
        .collect();
    let names = || listed(&present.iter().copied().collect::<Vec<_>>());
    if let Some(told) = &description.group {
        return if present.contains(told.as_str()) {
            Ok(told.clone())
        } else if present.len() == 1 && present.contains("") {
            Err(description.wrong(format!(
                "it gives the group {:?}, but the checkpoint is flat",
                shortened(told)
            )))
        } else {
            Err(description.wrong(format!(
                "it gives the group {:?}, but the checkpoint has {}",
                shortened(told),
                names()
            )))
        };
    }
    if present.len() == 1 || present.contains("") {
        return Ok(present.first().copied().unwrap_or_default().to_owned());
    }
    GROUPS
        .iter()
        .find(|group| present.contains(*group))
        .map(|group| (*group).to_owned())
        .ok_or_else(|| {
            description.wrong(format!(
                "the checkpoint's tensors are in {}; say which holds the backbone with group",
                names()
            ))
        })
}

/// The tensors that a pattern names, by the number in the place of `{i}`.
fn blocks_of(
    description: &ModelDescription,
    inside: &HashMap<&str, usize>,
    before: &str,
    after: &str,
) -> Result<Numbered, VitError> {
    // No backbone is deeper, so longer numbers are names of another kind.
    const DIGITS: usize = 4;
    let mut found: Vec<(usize, usize)> = inside
        .iter()
        .filter_map(|(name, &index)| {
            let number = name.strip_prefix(before)?.strip_suffix(after)?;
            let plain = number.len() <= DIGITS && number.bytes().all(|b| b.is_ascii_digit());
            Some((number.parse().ok().filter(|_| plain)?, index))
        })
        .collect();
    found.sort_unstable();
    if let Some(pair) = found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(description.wrong(format!(
            "{:?} names two tensors with the number {}",
            shortened(&format!("{before}{{i}}{after}")),
            pair[0].0
        )));
    }
    Ok(found.into_iter().collect())
}

/// Puts the numbered tensors into blocks; numbers may begin anywhere but have no gaps.
fn blocks(
    description: &ModelDescription,
    numbered: &[(&str, &'static str, Numbered)],
    roles: &mut [Option<Role>],
) -> Result<Vec<BTreeMap<&'static str, usize>>, VitError> {
    let ends = |end: fn(&Numbered) -> Option<usize>| numbered.iter().filter_map(move |n| end(&n.2));
    let first = ends(|n| n.keys().next().copied()).min().unwrap_or(0);
    let last = ends(|n| n.keys().next_back().copied()).max().unwrap_or(0);
    let mut blocks = vec![BTreeMap::new(); last + 1 - first];
    let mut missing = Vec::new();
    for (pattern, part, found) in numbered {
        for (at, block) in blocks.iter_mut().enumerate() {
            let number = first + at;
            if let Some(&index) = found.get(&number) {
                block.insert(*part, index);
                note(roles, index, Role::Used(format!("blocks.{at}.{part}")));
            } else {
                missing.push(pattern.replacen("{i}", &number.to_string(), 1));
            }
        }
    }
    if missing.is_empty() {
        return Ok(blocks);
    }
    Err(description.wrong(format!(
        "its patterns find blocks {first} to {last}, but the checkpoint lacks {}",
        listed(&missing)
    )))
}

/// Gives a reason to every tensor that has no part, or refuses what nobody mentions.
fn ignore(
    container: &Container,
    description: &ModelDescription,
    group: &str,
    roles: &mut [Option<Role>],
) -> Result<(), VitError> {
    let reason = format!("{} says to ignore it", description.file_name());
    let mut left_over = Vec::new();
    for (tensor, role) in container.tensors.iter().zip(roles.iter_mut()) {
        if role.is_some() {
            continue;
        }
        let full = tensor.full_name();
        let short = tensor
            .name
            .strip_prefix(description.prefix.as_str())
            .filter(|_| tensor.group == group);
        let ignored = description.ignore.iter().any(|pattern| {
            fits(pattern, &full)
                || (tensor.group == group && fits(pattern, &tensor.name))
                || short.is_some_and(|short| fits(pattern, short))
        });
        let beside = BESIDE
            .iter()
            .find(|(pattern, _)| !tensor.group.is_empty() && fits(pattern, &tensor.group));
        *role = match (ignored, beside) {
            (true, _) => Some(Role::Unneeded(reason.clone())),
            (false, Some((_, why))) if tensor.group != group => {
                Some(Role::Unneeded((*why).to_owned()))
            }
            _ => {
                left_over.push(full);
                None
            }
        };
    }
    if left_over.is_empty() {
        return Ok(());
    }
    Err(description.wrong(format!(
        "it neither names nor ignores {} of the checkpoint's tensors: {}",
        left_over.len(),
        listed(&left_over)
    )))
}

/// A name that the checkpoint does not have.
fn absent(
    description: &ModelDescription,
    pattern: &str,
    inside: &HashMap<&str, usize>,
) -> VitError {
    // A number stands in for `{i}`, so that the nearest name can be looked for.
    let name = pattern.replacen("{i}", "0", 1);
    let mut names: Vec<&str> = inside.keys().copied().collect();
    names.sort_unstable();
    names.truncate(5000);
    let hint = match nearest(&name, names) {
        Some(near) => format!("; did you mean {near:?}?"),
        None => String::new(),
    };
    description.wrong(format!(
        "no tensor of the checkpoint is called {:?}{hint}",
        shortened(&format!("{}{pattern}", description.prefix))
    ))
}

/// How the description says that tensors are named and stored.
fn naming(
    container: &Container,
    description: &ModelDescription,
    stem: &BTreeMap<&'static str, usize>,
) -> Naming {
    let mut turned: BTreeSet<&'static str> = description.transposed.iter().copied().collect();
    // The shape of a convolution shows its layout, whatever that of the linear maps is.
    let conv = stem
        .get("patch.weight")
        .map(|&index| container.tensors[index].shape.as_slice());
    let conv_in_out = matches!(conv, Some(&[p, q, 3, _]) if p == q);
    let conv_out_in = matches!(conv, Some(&[_, 3, p, q]) if p == q);
    if conv_in_out != conv_out_in {
        if conv_out_in == (description.layout == WeightOrder::OutIn) {
            turned.remove("patch.weight");
        } else {
            turned.insert("patch.weight");
        }
    }
    Naming {
        name: "own",
        title: format!("the names that {} gives", description.file_name()),
        formats: vec![Format::Own],
        usual: false,
        families: Vec::new(),
        rotary: None,
        rms_norm: false,
        layout: description.layout,
        turned,
    }
}
