//! What a file that fits no dialect has instead: one sentence and a short list.

use std::fmt::Write;

use super::draft::patterns::general;
use crate::{
    container::{Container, StoredTensor, shape_text},
    error::shortened,
};

/// Lines of the list, for missing and for unexpected tensors each.
const SHOWN: usize = 8;

/// Differences that are few enough to stand in the sentence itself.
const INLINE: usize = 2;

/// Tensors of one pattern and shape.
struct MismatchLine {
    pattern: String,
    shape: String,
    name: String,
    count: usize,
}

impl MismatchLine {
    fn text(&self) -> String {
        let shape = &self.shape;
        if self.count == 1 {
            format!("{}{shape}", shortened(&self.name))
        } else {
            format!("{}{shape}, {} times", shortened(&self.pattern), self.count)
        }
    }
}

/// The difference to the closest dialect, as the end of a sentence about it.
pub(super) fn difference(
    container: &Container,
    hits: usize,
    missing: &[String],
    left_over: &[&StoredTensor],
) -> String {
    let total = container.tensors.len();
    let looks = kind(container, missing)
        .map_or(String::new(), |kind| format!(", and it looks like {kind}"));
    let unexpected = joined(left_over.iter().map(|tensor| {
        (
            tensor.full_name(),
            format!(" {}", shape_text(&tensor.shape)),
        )
    }));
    // Where little fits, what a dialect would have had says nothing.
    if hits == 0 || hits < left_over.len().min(missing.len()) {
        let fit = match hits {
            0 => format!("by which none of its {total} tensors is named{looks}; it has"),
            _ => format!("by which only {hits} of its {total} tensors are named{looks}; it has"),
        };
        return format!("{fit}:{}", list("", &unexpected));
    }
    let lacking = joined(missing.iter().map(|name| (name.clone(), String::new())));
    if lacking.len() + unexpected.len() <= INLINE {
        let texts = |lines: &[MismatchLine]| {
            lines
                .iter()
                .map(MismatchLine::text)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut parts = Vec::new();
        if !lacking.is_empty() {
            parts.push(format!("it lacks {}", texts(&lacking)));
        }
        if !unexpected.is_empty() {
            parts.push(format!("it has the unexpected {}", texts(&unexpected)));
        }
        return format!("from which it differs: {}{looks}", parts.join(", and "));
    }
    format!(
        "from which it differs in {} missing and {} unexpected tensors{looks}:{}{}",
        missing.len(),
        left_over.len(),
        list("lacks ", &lacking),
        list("has ", &unexpected)
    )
}

/// Joins what differs in one number only.
fn joined(names: impl Iterator<Item = (String, String)>) -> Vec<MismatchLine> {
    let mut lines: Vec<MismatchLine> = Vec::new();
    let mut at = std::collections::HashMap::new();
    for (name, shape) in names {
        let pattern = general(&name);
        let index = *at
            .entry((pattern.clone(), shape.clone()))
            .or_insert_with(|| {
                lines.push(MismatchLine {
                    pattern,
                    shape,
                    name,
                    count: 0,
                });
                lines.len() - 1
            });
        lines[index].count += 1;
    }
    lines
}

fn list(verb: &str, lines: &[MismatchLine]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for line in lines.iter().take(SHOWN) {
        let _ = write!(text, "\n  {verb}{}", line.text());
    }
    if lines.len() > SHOWN {
        let _ = write!(text, "\n  and {} more", lines.len() - SHOWN);
    }
    text
}

/// What kind of network a file holds, where well-known names show it.
fn kind(container: &Container, missing: &[String]) -> Option<&'static str> {
    let has = |test: &dyn Fn(&StoredTensor) -> bool| container.tensors.iter().any(test);
    let named = |part: &str| has(&|tensor| tensor.name.contains(part));
    let image = |tensor: &StoredTensor| matches!(tensor.shape[..], [_, 3, p, q] if p == q && p > 1);
    let block = |tensor: &StoredTensor| {
        ["attn", "attention"]
            .iter()
            .any(|word| tensor.name.contains(word))
    };
    if named("relative_position_bias_table") {
        Some(match named("layers.") {
            true => "a Swin Transformer or another with windows",
            false => {
                "a Vision Transformer with relative positions (BEiT), which is read where it has tables of them, a class token and no position table"
            }
        })
    } else if named("dwconv") || named("conv_dw") {
        Some("a ConvNeXt or another network of depthwise convolutions")
    } else if named("running_mean") && !has(&block) {
        Some("a convolutional network such as ResNet")
    } else if has(&block) && !has(&image) {
        [
            "word_embeddings",
            "embed_tokens",
            "token_embedding",
            "wte.",
            "tok_embeddings",
            "shared.",
        ]
        .iter()
        .any(|word| named(word))
        .then_some("a text model")
    } else if has(&block) && missing.iter().any(|name| name.contains("patch_embed")) {
        let convolutions = container
            .tensors
            .iter()
            .filter(|tensor| matches!(tensor.shape[..], [_, _, p, q] if p == q))
            .count();
        (convolutions > 1)
            .then_some("a Vision Transformer whose patches come from several convolutions")
    } else {
        None
    }
}
