//! The canonical names of a backbone's parts: the vocabulary of every dialect and description.

/// Parts outside the blocks.
pub(crate) const STEM: &[&str] = &[
    "patch.weight",
    "patch.bias",
    "class",
    "registers",
    "positions",
    "periods",
    "relative",
    "stem_norm.weight",
    "stem_norm.bias",
    "norm.weight",
    "norm.bias",
];

/// Parts of every block.
pub(crate) const BLOCK: &[&str] = &[
    "norm1.weight",
    "norm1.bias",
    "frequencies",
    "qkv.weight",
    "qkv.bias",
    "qkv.mask",
    "query.weight",
    "query.bias",
    "key.weight",
    "key.bias",
    "value.weight",
    "value.bias",
    "relative",
    "proj.weight",
    "proj.bias",
    "scale1",
    "norm2.weight",
    "norm2.bias",
    "gate.weight",
    "gate.bias",
    "up.weight",
    "up.bias",
    "hidden_norm.weight",
    "hidden_norm.bias",
    "down.weight",
    "down.bias",
    "scale2",
];

/// The part outside the blocks that is called so.
pub(crate) fn stem(name: &str) -> Option<&'static str> {
    STEM.iter().find(|part| **part == name).copied()
}

/// The part of a block that is called so.
pub(crate) fn block(name: &str) -> Option<&'static str> {
    BLOCK.iter().find(|part| **part == name).copied()
}
