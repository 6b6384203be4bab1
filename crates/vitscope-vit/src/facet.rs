//! The tensors that a forward pass can hand out.

/// A tensor that a forward pass can hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TapKind {
    /// The output of the patch projection, before anything is said of position (layer 0): of patches alone.
    Patch,
    /// The input of the first block (layer 0).
    Embedding,
    /// Queries before rotation, unscaled.
    Query,
    /// Keys before rotation.
    Key,
    /// Values.
    Value,
    /// Queries after rotation; equal to `Query` in models without rotary positions.
    QueryRotated,
    /// Keys after rotation; equal to `Key` in models without rotary positions.
    KeyRotated,
    /// The block's output.
    Token,
    /// The last block's output after the final LayerNorm, where the model has one.
    FinalNorm,
    /// The softmax attention weights of every head.
    Attention,
}

/// Which tensors a forward pass hands out. Layers count from 1; layer 0 is the embedding.
///
/// ```
/// use vitscope_vit::facet::{TapKind, Taps};
///
/// // The four facets of block 9: rotated keys are what its attention compares.
/// let mut taps = Taps::new();
/// for kind in [TapKind::KeyRotated, TapKind::Query, TapKind::Value, TapKind::Token] {
///     taps.add(9, kind);
/// }
/// assert!(taps.wants(9, TapKind::Token) && !taps.wants(9, TapKind::Key));
/// // Blocks behind it are not run.
/// assert_eq!(taps.deepest(), 9);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taps(Vec<(usize, TapKind)>);

impl Taps {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one tensor of one layer.
    pub fn add(&mut self, layer: usize, kind: TapKind) {
        if !self.wants(layer, kind) {
            self.0.push((layer, kind));
        }
    }

    /// Whether a tensor is tapped.
    #[must_use]
    pub fn wants(&self, layer: usize, kind: TapKind) -> bool {
        self.0.contains(&(layer, kind))
    }

    /// Whether any tensor of any of these kinds is tapped in a layer.
    #[must_use]
    pub fn wants_any(&self, layer: usize, kinds: &[TapKind]) -> bool {
        kinds.iter().any(|&kind| self.wants(layer, kind))
    }

    /// The deepest layer that is tapped.
    #[must_use]
    pub fn deepest(&self) -> usize {
        self.0.iter().map(|&(layer, _)| layer).max().unwrap_or(0)
    }
}
