//! Guessing which part a tensor is, from its shape, its neighbors and familiar words.

use std::collections::BTreeMap;

use super::patterns::PatternItem;
use crate::dialect::WeightOrder;

/// A guess about one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// It is this part.
    Part(&'static str),
    /// It is this part if the file's order means what it usually does.
    Order(&'static str),
    /// The backbone does not need it.
    Ignore,
    /// Nothing speaks for any part.
    Unknown,
}

/// Words for a shift.
const BIAS: &[&str] = &["bias", "b", "beta", "shift", "offset"];
/// Words for what a shift is added to.
const WEIGHT: &[&str] = &["weight", "w", "kernel", "gamma", "g", "scale", "alpha"];
/// Words of what only training or another task needs.
const UNNEEDED: &[&str] = &[
    "head",
    "heads",
    "classifier",
    "decoder",
    "predictor",
    "projector",
    "mask",
    "masked",
    "pooler",
    "logit",
    "logits",
    "momentum",
    "loss",
    "text",
    "token_embedding",
    "queue",
    "center",
    "num",
];

/// One map or norm: a weight and its shift.
struct WeightAndShift<'a> {
    name: &'a str,
    weight: Option<usize>,
    bias: Option<usize>,
    lone: bool,
}

/// The lower-case words of a name; `LayerNorm_0` has layer, norm and 0.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        let split = !c.is_alphanumeric() || (c.is_uppercase() && lower);
        if split && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn has(name: &str, list: &[&str]) -> bool {
    words(name).iter().any(|word| list.contains(&word.as_str()))
}

fn begins(name: &str, starts: &[&str]) -> bool {
    words(name)
        .iter()
        .any(|word| starts.iter().any(|start| word.starts_with(start)))
}

/// A name without its last word, where that says weight or bias; and whether it says bias.
fn leaf(name: &str) -> Option<(&str, bool)> {
    let at = name.rfind(['.', '/', '_'])?;
    let last = name[at + 1..].to_lowercase();
    if BIAS.contains(&last.as_str()) {
        Some((&name[..at], true))
    } else if WEIGHT.contains(&last.as_str()) {
        Some((&name[..at], false))
    } else {
        None
    }
}

/// Items joined to maps and norms, in file order.
fn units(items: &[PatternItem]) -> Vec<WeightAndShift<'_>> {
    let mut units: Vec<WeightAndShift<'_>> = Vec::new();
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        let (name, bias, lone) = match leaf(&item.name) {
            Some((name, bias)) => (name, bias, false),
            None => (item.name.as_str(), false, true),
        };
        let unit = *by_name.entry(name).or_insert_with(|| {
            units.push(WeightAndShift {
                name,
                weight: None,
                bias: None,
                lone,
            });
            units.len() - 1
        });
        let slot = if bias {
            &mut units[unit].bias
        } else {
            &mut units[unit].weight
        };
        slot.get_or_insert(at);
    }
    units
}

/// A shape as rows and columns, where it is that of a matrix of these sides.
fn matrix(shape: &[usize], width: usize) -> Option<(usize, usize)> {
    let sides: Vec<usize> = shape.iter().copied().filter(|&side| side != 1).collect();
    match sides[..] {
        [rows, columns] => Some((rows, columns)),
        // JAX keeps heads apart: [D, heads, d] or [heads, d, D].
        [a, b, c] if a == width && b.checked_mul(c) == Some(width) => Some((a, width)),
        [a, b, c] if c == width && a.checked_mul(b) == Some(width) => Some((width, c)),
        _ => None,
    }
}

/// Which of two comes first; and whether more than the file's order says so.
fn in_order(a: &str, b: &str) -> (bool, bool) {
    const FIRST: &[&str] = &[
        "attn",
        "attention",
        "att",
        "pre",
        "before",
        "first",
        "input",
        "a",
    ];
    const SECOND: &[&str] = &[
        "mlp",
        "ffn",
        "ff",
        "feedforward",
        "after",
        "post",
        "second",
        "final",
        "output",
        "b",
    ];
    let late = |name: &str| {
        let words = words(name);
        let count = |test: &dyn Fn(&str) -> bool| {
            i64::try_from(words.iter().filter(|word| test(word)).count()).unwrap_or(0)
        };
        let second = |word: &str| SECOND.contains(&word) || word.ends_with('2');
        let first = |word: &str| FIRST.contains(&word) || word.ends_with('1');
        count(&second) - count(&first)
    };
    let number = |name: &str| {
        words(name)
            .iter()
            .rev()
            .find_map(|word| word.parse::<usize>().ok())
    };
    match late(a).cmp(&late(b)) {
        std::cmp::Ordering::Less => (true, true),
        std::cmp::Ordering::Greater => (false, true),
        std::cmp::Ordering::Equal => match (number(a), number(b)) {
            (Some(x), Some(y)) if x != y => (x < y, true),
            _ => (true, false),
        },
    }
}

/// How the linear maps of the blocks are stored, where biases show it.
pub(crate) fn layout(items: &[PatternItem], width: usize) -> WeightOrder {
    let mut votes = 0i64;
    for unit in units(items) {
        if let (Some(weight), Some(bias)) = (unit.weight, unit.bias)
            && let Some((rows, columns)) = matrix(&items[weight].shape, width)
            && rows != columns
        {
            let outputs = items[bias].elements();
            votes += i64::from(rows == outputs) - i64::from(columns == outputs);
        }
    }
    if votes < 0 {
        WeightOrder::InOut
    } else {
        WeightOrder::OutIn
    }
}

/// The tensors of a block by what their shapes can be, each with its bias.
#[derive(Default)]
struct Shapes<'a> {
    /// Queries, keys and values in one.
    joint: Vec<&'a WeightAndShift<'a>>,
    /// From the width to the width.
    square: Vec<&'a WeightAndShift<'a>>,
    /// From the width to another one.
    wide: Vec<&'a WeightAndShift<'a>>,
    /// Back to the width.
    down: Vec<&'a WeightAndShift<'a>>,
    /// Vectors with a shift, or named as norms.
    norms: Vec<&'a WeightAndShift<'a>>,
    /// Other vectors.
    lone: Vec<&'a WeightAndShift<'a>>,
}

impl<'a> Shapes<'a> {
    /// Sorts units; what its name alone tells is guessed at once.
    fn of(
        units: &'a [WeightAndShift<'a>],
        items: &[PatternItem],
        width: usize,
        layout: WeightOrder,
        guesses: &mut [Guess],
    ) -> Self {
        let mut shapes = Self::default();
        for unit in units {
            let Some(weight) = unit.weight else {
                // A shift kept apart from its map: q_bias beside a joint weight.
                let part = [
                    ("query.bias", ["q", "query"]),
                    ("value.bias", ["v", "value"]),
                ]
                .into_iter()
                .chain([("key.bias", ["k", "key"])])
                .find(|(_, list)| has(unit.name, list));
                if let (Some(bias), Some((part, _))) = (unit.bias, part) {
                    guesses[bias] = Guess::Part(part);
                }
                continue;
            };
            let item = &items[weight];
            if let Some((rows, columns)) =
                matrix(&item.shape, width).filter(|_| item.elements() != width)
            {
                let (outputs, inputs) = match layout {
                    WeightOrder::OutIn => (rows, columns),
                    WeightOrder::InOut => (columns, rows),
                };
                let feed = begins(unit.name, &["mlp", "ff", "fc", "dense"]);
                if outputs == 3 * width && inputs == width && !feed {
                    shapes.joint.push(unit);
                } else if outputs == width && inputs == width {
                    shapes.square.push(unit);
                } else if inputs == width {
                    shapes.wide.push(unit);
                } else if outputs == width {
                    shapes.down.push(unit);
                }
            } else if item.elements() == width {
                let named = begins(unit.name, &["norm", "ln", "layernorm"]);
                if unit.bias.is_some() || (named && !unit.lone) {
                    shapes.norms.push(unit);
                } else {
                    shapes.lone.push(unit);
                }
            } else if item.elements() == 3 * width && begins(&item.name, &["mask"]) {
                guesses[weight] = Guess::Part("qkv.mask");
            } else if item.elements() == 3 * width && begins(&item.name, &["bias"]) {
                guesses[weight] = Guess::Unknown;
            }
        }
        shapes
    }
}

/// Guesses the parts of a block.
pub(crate) fn of_block(items: &[PatternItem], width: usize, layout: WeightOrder) -> Vec<Guess> {
    let mut guesses = vec![Guess::Unknown; items.len()];
    let units = units(items);
    let Shapes {
        joint,
        square,
        wide,
        down,
        norms,
        lone,
    } = Shapes::of(&units, items, width, layout, &mut guesses);
    let mut set =
        |unit: &WeightAndShift<'_>, weight: &'static str, bias: Option<&'static str>, sure| {
            let guess = |part| {
                if sure {
                    Guess::Part(part)
                } else {
                    Guess::Order(part)
                }
            };
            if let Some(at) = unit.weight {
                guesses[at] = guess(weight);
            }
            if let (Some(at), Some(bias)) = (unit.bias, bias) {
                guesses[at] = guess(bias);
            }
        };
    if let [unit] = joint[..] {
        set(unit, "qkv.weight", Some("qkv.bias"), true);
    }
    let parts: [(&str, &str); 4] = [
        ("query.weight", "query.bias"),
        ("key.weight", "key.bias"),
        ("value.weight", "value.bias"),
        ("proj.weight", "proj.bias"),
    ];
    match square[..] {
        [unit] if joint.len() == 1 => set(unit, parts[3].0, Some(parts[3].1), true),
        [_, _, _, _] if joint.is_empty() => {
            let kind = |unit: &WeightAndShift<'_>| {
                [
                    ["q", "query", "wq"],
                    ["k", "key", "wk"],
                    ["v", "value", "wv"],
                ]
                .iter()
                .position(|list| has(unit.name, list))
                .unwrap_or(3)
            };
            let mut kinds: Vec<usize> = square.iter().map(|unit| kind(unit)).collect();
            let told = {
                let mut sorted = kinds.clone();
                sorted.sort_unstable();
                sorted == [0, 1, 2, 3]
            };
            if !told {
                kinds = vec![0, 1, 2, 3];
            }
            for (unit, kind) in square.iter().zip(kinds) {
                set(unit, parts[kind].0, Some(parts[kind].1), told);
            }
        }
        _ => {}
    }
    match wide[..] {
        [unit] => set(unit, "up.weight", Some("up.bias"), true),
        [a, b] => {
            let gate = |unit: &WeightAndShift<'_>| has(unit.name, &["gate", "g", "w1"]);
            let (told, first) = (gate(a) != gate(b), !gate(b));
            let (gate, up) = if first { (a, b) } else { (b, a) };
            set(gate, "gate.weight", Some("gate.bias"), told);
            set(up, "up.weight", Some("up.bias"), told);
        }
        _ => {}
    }
    if let [unit] = down[..] {
        set(unit, "down.weight", Some("down.bias"), true);
    }
    if let [a, b] = norms[..] {
        let (first, sure) = in_order(a.name, b.name);
        let (a, b) = if first { (a, b) } else { (b, a) };
        set(a, "norm1.weight", Some("norm1.bias"), sure);
        set(b, "norm2.weight", Some("norm2.bias"), sure);
    }
    if let [a, b] = lone[..] {
        let (first, sure) = in_order(a.name, b.name);
        let (a, b) = if first { (a, b) } else { (b, a) };
        set(a, "scale1", None, sure);
        set(b, "scale2", None, sure);
    }
    guesses
}

/// The image convolution among tensors: its index, width and patch side.
pub(crate) fn patch(items: &[PatternItem]) -> Option<(usize, usize, usize)> {
    items
        .iter()
        .enumerate()
        .find_map(|(at, item)| match item.shape[..] {
            [d, 3, p, q] | [p, q, 3, d] if p == q && p > 1 && d > 3 => Some((at, d, p)),
            _ => None,
        })
}

/// Guesses the parts outside the blocks; those that do not begin with `tower` are not needed.
pub(crate) fn of_stem(items: &[PatternItem], width: usize, tower: &str) -> Vec<Guess> {
    let mut guesses = vec![Guess::Unknown; items.len()];
    let mut norms = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    let conv = patch(items).map(|(at, ..)| at);
    for unit in units(items) {
        let unneeded = !unit.name.starts_with(tower)
            || begins(unit.name, UNNEEDED)
            || begins(unit.name, &["fc"]);
        if let Some(weight) = unit.weight.filter(|&at| Some(at) == conv) {
            guesses[weight] = Guess::Part("patch.weight");
            if let Some(bias) = unit.bias {
                guesses[bias] = Guess::Part("patch.bias");
            }
            continue;
        }
        for at in [unit.weight, unit.bias].into_iter().flatten() {
            guesses[at] = if unneeded {
                Guess::Ignore
            } else {
                Guess::Unknown
            };
        }
        let Some(weight) = unit.weight.filter(|_| !unneeded) else {
            continue;
        };
        let item = &items[weight];
        let rows = item.elements() / width.max(1);
        if unit.bias.is_some() && rows == 1 {
            norms.push(unit);
            continue;
        }
        let exact = item.elements() == rows * width && item.shape.last() == Some(&width);
        let square = |count: usize| count >= 4 && count.isqrt().pow(2) == count;
        let guess = if begins(unit.name, &["period"]) {
            Guess::Part("periods")
        } else if !exact || rows == 0 {
            Guess::Unknown
        } else if begins(unit.name, &["cls", "class"]) && rows == 1 {
            Guess::Part("class")
        } else if begins(unit.name, &["pos"]) {
            Guess::Part("positions")
        } else if begins(unit.name, &["reg", "storage"]) {
            Guess::Part("registers")
        } else if rows == 1 && item.shape.len() > 1 {
            Guess::Order("class")
        } else if square(rows) || square(rows - 1) {
            Guess::Order("positions")
        } else if rows <= 16 {
            Guess::Order("registers")
        } else {
            Guess::Unknown
        };
        if let Guess::Part(part) | Guess::Order(part) = guess {
            if taken.contains(&part) {
                continue;
            }
            taken.push(part);
        }
        guesses[weight] = guess;
    }
    let early = |unit: &WeightAndShift<'_>| begins(unit.name, &["pre", "stem", "input", "embed"]);
    let sure = norms.len() <= 2 && norms.iter().filter(|unit| early(unit)).count() <= 1;
    for (at, unit) in norms.iter().enumerate() {
        let (weight, bias) = if early(unit) && norms.len() > 1 {
            ("stem_norm.weight", "stem_norm.bias")
        } else if at + 1 == norms.len() || sure {
            ("norm.weight", "norm.bias")
        } else {
            continue;
        };
        if taken.contains(&weight) {
            continue;
        }
        taken.push(weight);
        for (at, part) in [(unit.weight, weight), (unit.bias, bias)] {
            if let Some(at) = at {
                guesses[at] = if sure {
                    Guess::Part(part)
                } else {
                    Guess::Order(part)
                };
            }
        }
    }
    guesses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_names() {
        assert_eq!(words("LayerNorm_0/scale"), ["layer", "norm", "0", "scale"]);
        assert_eq!(
            words("blocks.{i}.attn.q_bias"),
            ["blocks", "i", "attn", "q", "bias"]
        );
    }

    #[test]
    fn which_comes_first() {
        assert_eq!(in_order("x.ln_2", "x.ln_1"), (false, true));
        assert_eq!(in_order("x.ff_norm", "x.attn_norm"), (false, true));
        assert_eq!(in_order("LayerNorm_0", "LayerNorm_2"), (true, true));
        assert_eq!(in_order("left", "right"), (true, false));
    }
}
