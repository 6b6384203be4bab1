//! The weights of one backbone in canonical form, f32, ready for the forward pass.
//!
//! Dialects build this from whatever layout a checkpoint has. A linear map is stored as
//! `[inputs, outputs]` (transposed once at load: products over long inner dimensions run up to
//! twice as fast that way), so `y = x W + b`.

/// A linear map `y = x W + b`.
#[derive(Clone, Debug, Default)]
pub struct Linear {
    /// `[inputs, outputs]`, row-major.
    pub weight: Vec<f32>,
    /// `[outputs]`; empty where the map has no bias.
    pub bias: Vec<f32>,
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
}

/// A LayerNorm's scale and shift, both `[D]`.
#[derive(Clone, Debug, Default)]
pub struct Norm {
    /// Scale.
    pub weight: Vec<f32>,
    /// Shift.
    pub bias: Vec<f32>,
}

/// One transformer block.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Before attention.
    pub norm1: Norm,
    /// `D -> 3D`: queries, keys, values, each with its heads concatenated. A bias that the
    /// checkpoint lacks for one third (DINOv3 keys) is zero there.
    pub qkv: Linear,
    /// `[(2 rows - 1) (2 columns - 1) + 3, heads]`: what scores of attention are given for how far apart
    /// rows and columns of query and key lie, then for class token to patch, patch to class token, and
    /// class token to itself; empty where there are no relative positions.
    pub relative: Vec<f32>,
    /// `D -> D`.
    pub proj: Linear,
    /// LayerScale of the attention branch, `[D]`; empty where there is none.
    pub scale1: Vec<f32>,
    /// Before the feed-forward part.
    pub norm2: Norm,
    /// `D -> h`, or for SwiGLU `D -> 2h` with the gate (the silu side) first.
    pub up: Linear,
    /// Between the two halves of the feed-forward part; empty vectors where there is none.
    pub hidden_norm: Norm,
    /// `h -> D`.
    pub down: Linear,
    /// LayerScale of the feed-forward branch, `[D]`; empty where there is none.
    pub scale2: Vec<f32>,
}

/// Every weight of a backbone.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// `3 p p -> D`; inputs are a patch flattened channel-major (channel, row, column).
    pub patch: Linear,
    /// `[1 + registers, D]`: the class token, with its own entry of the position table already
    /// added where the table has one, then the registers.
    pub prefix: Vec<f32>,
    /// `[rows * columns, D]`: the position table of the patches alone; empty for rotary models.
    pub table: Vec<f32>,
    /// `[head width / 4]`: rotary periods, or `[2, head width]`: angles per row and per column
    /// ([`PositionEncoding::Edged`](crate::config::PositionEncoding::Edged)); empty for models with a table.
    pub periods: Vec<f32>,
    /// The LayerNorm between embedding and first block (CLIP); empty vectors where there is none.
    pub stem_norm: Norm,
    /// The blocks in order.
    pub blocks: Vec<Block>,
    /// The final LayerNorm.
    pub norm: Norm,
}
