//! A first description of a checkpoint that no dialect knows, guessed from names and shapes.
//!
//! What tensors cannot tell stands in it behind a `#`, so that nobody uses a guess unseen.

pub(crate) mod patterns;
mod roles;
mod towers;

pub(super) use self::roles::words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

use self::{
    patterns::{Divided, PatternItem, divide},
    roles::Guess,
};
use super::{
    WeightOrder, fits,
    networks::{BESIDE, GROUPS},
    own::describe::UNKNOWN,
};
use crate::{
    container::{Container, shape_text},
    error::{listed, shortened},
    known,
};

/// More lines than these help nobody.
const LINE_LIMIT: usize = 300;

/// A first description of a checkpoint.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The TOML file.
    pub text: String,
    /// Whether it looks like a Vision Transformer: blocks, a patch embedding and a class token.
    pub likely: bool,
}

/// Drafts the description of a checkpoint whose path, as seen from the description, is `weights`;
/// of the network that `backbone` names, where there are several.
pub(crate) fn draft(container: &Container, weights: &Path, backbone: Option<&str>) -> Draft {
    let towers = towers::find(container);
    let chosen = towers::choose(&towers, backbone);
    let group = chosen.map_or_else(|| group(container), |tower| tower.group.clone());
    let branch = chosen.map_or("", |tower| tower.branch.as_str());
    let tensors: Vec<(usize, &str, &[usize])> = container
        .tensors
        .iter()
        .enumerate()
        .filter(|(_, tensor)| tensor.group == group && tensor.name.starts_with(branch))
        .map(|(index, tensor)| (index, tensor.name.as_str(), tensor.shape.as_slice()))
        .collect();
    let conv = chosen.map(|tower| (tower.name.as_str(), tower.width));
    // Other towers and decoders have blocks, too: those of the image are as wide as the
    // convolution that feeds them, and share its first name.
    let mut divided = divide(&tensors, |before, items| {
        let Some((name, width)) = conv else { return 0 };
        let wide = items.iter().filter(|item| item.elements() == width).count() >= 2;
        let inner = &name[branch.len()..];
        let first = inner.split(['.', '/']).next().unwrap_or_default();
        let beside = before.starts_with(&format!("{branch}{first}."));
        usize::from(wide) * 2 + usize::from(wide && beside)
    });
    let width = conv.map_or_else(|| common_width(&divided), |(_, width)| width);
    divided.blocks = join_heads(divided.blocks, width);
    let layout = roles::layout(&divided.blocks, width);
    let blocks = roles::of_block(&divided.blocks, width, layout);
    // Where the blocks share the convolution's tower, everything outside it is another's.
    let tower = conv
        .and_then(|(name, _)| {
            let end = name[branch.len()..].find(['.', '/'])?;
            Some(&name[..=branch.len() + end])
        })
        .filter(|tower| {
            let inside = |item: &PatternItem| item.name.starts_with(*tower);
            divided.blocks.iter().all(inside)
        });
    let stem = roles::of_stem(&divided.stem, width, tower.unwrap_or_default());
    let named = |part: &str| {
        stem.iter()
            .chain(&blocks)
            .any(|guess| matches!(guess, Guess::Part(name) | Guess::Order(name) if *name == part))
    };
    let likely = ["patch.weight", "down.weight"]
        .iter()
        .all(|part| named(part))
        && (named("qkv.weight") || named("query.weight"))
        && (named("class") || named("positions"));

    let mut text = String::new();
    let shown = shortened(&weights.display().to_string());
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "# First draft of a description, guessed from the names and shapes in\n# {shown}.\n# Correct what is marked \"check\" or {UNKNOWN:?}; then this file stands wherever a MODEL is asked for.\n"
    );
    let _ = writeln!(text, "weights = {}", quoted(&weights.display().to_string()));
    let _ = writeln!(
        text,
        "family = \"own\"  # how its training is called, in your words"
    );
    if !group.is_empty() {
        let _ = writeln!(
            text,
            "group = {}  # the entry that holds the weights",
            quoted(&group)
        );
    }
    if towers.len() > 1 {
        let labels: Vec<String> = towers
            .iter()
            .filter(|tower| Some(*tower) != chosen)
            .map(|tower| shortened(&tower.label()))
            .collect();
        let _ = writeln!(
            text,
            "# The file holds {} networks; this is {}. `--backbone NAME` drafts another: {}.",
            towers.len(),
            chosen.map_or(String::new(), |tower| shortened(&tower.label())),
            listed(&labels)
        );
    }
    if layout == WeightOrder::InOut {
        let _ = writeln!(
            text,
            "layout = \"in_out\"  # linear maps are [inputs, outputs]"
        );
    }
    write_ignored(&mut text, container, (&group, branch), &divided, &stem);
    write_model(&mut text, &divided, width, &named);
    write_tensors(&mut text, &divided, &stem, &blocks);
    Draft { text, likely }
}

/// A pattern for a name outside a branch: as much of it as the branch does not begin with.
fn outside(name: &str, within: &str) -> String {
    let mut end = 0;
    for (at, c) in name.char_indices() {
        if matches!(c, '.' | '/') {
            end = at + 1;
            if !within.starts_with(&name[..end]) {
                return format!("{}*", &name[..end]);
            }
        }
    }
    debug_assert!(end <= name.len());
    name.to_owned()
}

/// Joins items that differ in the number of a head: `h.0.q` and `h.1.q` of `[d, D]` become one
/// `h.{h}.q` of `[D, D]`, where the heads together are as wide as the network.
fn join_heads(items: Vec<PatternItem>, width: usize) -> Vec<PatternItem> {
    let numbered = |item: &PatternItem| -> Option<(String, usize)> {
        // The block's number stands as {i}, so that what is left of digits can number a head.
        let (from, to) = patterns::runs(&item.name).into_iter().find(|&(from, to)| {
            let apart = |c: Option<char>| c.is_none_or(|c| matches!(c, '.' | '/' | '_'));
            apart(item.name[..from].chars().next_back()) && apart(item.name[to..].chars().next())
        })?;
        let head = item.name[from..to].parse().ok()?;
        Some((
            format!("{}{{h}}{}", &item.name[..from], &item.name[to..]),
            head,
        ))
    };
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        if let Some((pattern, _)) = numbered(item) {
            groups.entry(pattern).or_default().push(at);
        }
    }
    groups.retain(|_, members| {
        let first = &items[members[0]];
        let rows = first.shape.first().copied().unwrap_or(0);
        let mut heads: Vec<usize> = members
            .iter()
            .filter_map(|&at| numbered(&items[at]).map(|(_, head)| head))
            .collect();
        heads.sort_unstable();
        members.len() > 1
            && heads.iter().copied().eq(0..members.len())
            && members.iter().all(|&at| items[at].shape == first.shape)
            && rows.checked_mul(members.len()) == Some(width)
            && matches!(first.shape[..], [_] | [_, _])
            && first.shape.get(1).is_none_or(|&columns| columns == width)
    });
    let mut out = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let member = groups.iter().find(|(_, members)| members.contains(&at));
        match member {
            None => out.push(item.clone()),
            Some((pattern, members)) if members.iter().min() == Some(&at) => {
                let mut shape = item.shape.clone();
                shape[0] *= members.len();
                out.push(PatternItem {
                    name: pattern.clone(),
                    shape,
                    ..item.clone()
                });
            }
            Some(_) => {}
        }
    }
    out
}

/// The root entry whose tensors are described.
fn group(container: &Container) -> String {
    let present: BTreeSet<&str> = container
        .tensors
        .iter()
        .map(|tensor| tensor.group.as_str())
        .collect();
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for tensor in &container.tensors {
        let size = sizes.entry(tensor.group.as_str()).or_default();
        *size = size.saturating_add(tensor.bytes());
    }
    GROUPS
        .iter()
        .find(|group| present.contains(*group))
        .copied()
        .or_else(|| {
            sizes
                .iter()
                .max_by_key(|(_, size)| **size)
                .map(|(group, _)| *group)
        })
        .unwrap_or_default()
        .to_owned()
}

/// The length that most vectors of the blocks have.
fn common_width(divided: &Divided) -> usize {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for item in &divided.blocks {
        if item.shape.iter().filter(|&&side| side > 1).count() == 1 {
            *counts.entry(item.elements()).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .max_by_key(|&(_, count)| count)
        .map_or(0, |(width, _)| width)
}

fn write_ignored(
    text: &mut String,
    container: &Container,
    (group, within): (&str, &str),
    divided: &Divided,
    stem: &[Guess],
) {
    // A whole branch is ignored by its first name, unless something else is under it.
    let branch = |name: &str| {
        name.find(['.', '/'])
            .map_or_else(|| name.to_owned(), |at| name[..=at].to_owned())
    };
    let kept: BTreeSet<String> = divided
        .stem
        .iter()
        .zip(stem)
        .filter(|(_, guess)| **guess != Guess::Ignore)
        .map(|(item, _)| item)
        .chain(&divided.blocks)
        .map(|item| branch(&item.name))
        .collect();
    let mut patterns = BTreeSet::new();
    for (item, _) in divided
        .stem
        .iter()
        .zip(stem)
        .filter(|(_, guess)| **guess == Guess::Ignore)
    {
        let first = branch(&item.name);
        patterns.insert(if kept.contains(&first) || first == item.name {
            patterns::general(&item.name).replacen("{i}", "*", 1)
        } else {
            format!("{first}*")
        });
    }
    for tensor in &container.tensors {
        if tensor.group == group && !tensor.name.starts_with(within) {
            patterns.insert(outside(&tensor.name, within));
        }
        let other = tensor.group != group && !tensor.group.is_empty();
        if other && !BESIDE.iter().any(|(known, _)| fits(known, &tensor.group)) {
            patterns.insert(format!("{}/*", tensor.group));
        }
    }
    let _ = writeln!(
        text,
        "# Tensors that the backbone does not need; * stands for anything."
    );
    let _ = writeln!(text, "ignore = [");
    for pattern in patterns.iter().take(LINE_LIMIT) {
        let _ = writeln!(text, "  {},", quoted(pattern));
    }
    let _ = writeln!(text, "]\n");
}

fn write_model(text: &mut String, divided: &Divided, width: usize, named: &impl Fn(&str) -> bool) {
    let heads = known::models()
        .iter()
        .find(|known| known.width == width && known.depth == divided.depth)
        .map_or(width / 64, |known| known.heads);
    let _ = writeln!(
        text,
        "[model]\n# Tensors cannot tell what follows. Take the # away where the value is right, or put the\n# right one in its place.\n# heads = {}",
        heads.max(1)
    );
    let _ = writeln!(text, "# norm_eps = 1e-6");
    if !named("gate.weight") {
        let _ = writeln!(
            text,
            "# mlp = \"gelu\"  # or \"quick_gelu\"; gated maps show swiglu themselves"
        );
    }
    if !named("class") {
        let _ = writeln!(text, "class_token = false  # no tensor looks like one");
    }
    if !named("norm.weight") {
        let _ = writeln!(
            text,
            "final_norm = false  # no norm follows the last block; one after the mean of the patches does not count"
        );
    }
    if named("positions") {
        let _ = writeln!(
            text,
            "# resize = \"antialias\"  # how the position table is resized: or \"plain\", \"plain_offset\""
        );
    } else if !named("periods") {
        let _ = writeln!(
            text,
            "# rope_base = 100.0  # rotary positions, if they are DINOv3's: channel j of a head turns with j + d / 2, places lie from -1 to 1"
        );
    }
    let _ = writeln!(
        text,
        "# mean = [0.485, 0.456, 0.406]  # of the images, as in training\n# std = [0.229, 0.224, 0.225]\n"
    );
}

fn write_tensors(text: &mut String, divided: &Divided, stem: &[Guess], blocks: &[Guess]) {
    let _ = writeln!(
        text,
        "# Name in the file = part. Parts: patch.weight, patch.bias, class, registers, positions, periods,\n# stem_norm.*, norm.*; in every block norm1.*, qkv.* (or query.*, key.*, value.*), proj.*, scale1,\n# norm2.*, up.*, gate.*, down.*, scale2; * is weight or bias.\n[tensors]"
    );
    let mut lines = 0;
    let mut write = |text: &mut String, item: &PatternItem, guess: Guess| {
        let (part, note) = match guess {
            Guess::Part(part) => (part, ""),
            Guess::Order(part) => (part, "; check: a guess from order or shape alone"),
            Guess::Unknown => (
                UNKNOWN,
                "; check: name the part, or move the name to ignore",
            ),
            Guess::Ignore => return,
        };
        lines += 1;
        if lines > LINE_LIMIT {
            return;
        }
        let shape = shape_text(&item.shape);
        let _ = writeln!(text, "{} = {part:?}  # {shape}{note}", quoted(&item.name));
    };
    for (item, guess) in divided.stem.iter().zip(stem) {
        write(text, item, *guess);
    }
    if divided.depth > 0 {
        let _ = writeln!(text, "# In each of {} blocks:", divided.depth);
    }
    for (item, guess) in divided.blocks.iter().zip(blocks) {
        write(text, item, *guess);
    }
    if lines > LINE_LIMIT {
        let _ = writeln!(text, "# and {} more", lines - LINE_LIMIT);
    }
}

/// A text between quotes, as TOML reads it back.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes() {
        let odd = "a \"b\" \\ \n c";
        let table: toml::Table = format!("{} = {}", quoted(odd), quoted(odd))
            .parse()
            .unwrap();
        assert_eq!(table[odd].as_str(), Some(odd));
    }
}
