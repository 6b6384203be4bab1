//! What the forward pass must know about one backbone.
//!
//! A [`Config`] describes every Vision Transformer of the ten families; nothing in it names a
//! family. It is inferred from a checkpoint's tensors by the dialects, and [`crate::Vit`] runs it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{UnknownName, named, simple};

/// The architecture of one Vision Transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Embedding width `D`.
    pub width: usize,
    /// Number of blocks `L`.
    pub depth: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Side of a square patch, in pixels.
    pub patch: usize,
    /// Whether a class token stands before all others.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub class: bool,
    /// Register tokens after the class token.
    pub registers: usize,
    /// The feed-forward part of every block.
    pub mlp: Mlp,
    /// Hidden width of the feed-forward part.
    pub hidden: usize,
    /// Added to the variance in every LayerNorm.
    pub norm_eps: f64,
    /// Whether a LayerNorm stands between the embedding and the first block (CLIP).
    pub stem_norm: bool,
    /// Whether a LayerNorm follows the last block; without one, what follows it is the last block's
    /// own output.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub final_norm: bool,
    /// Whether a LayerNorm stands between the two halves of the feed-forward part (EVA-02).
    #[serde(default, skip_serializing_if = "is_false")]
    pub hidden_norm: bool,
    /// Whether norms divide by the root of the mean square, without taking the mean away (CAPI).
    #[serde(default, skip_serializing_if = "is_false")]
    pub rms_norm: bool,
    /// Whether both residual branches are scaled per channel.
    pub layer_scale: bool,
    /// Where position comes from.
    pub positions: PositionEncoding,
}

impl Config {
    /// Width of one attention head.
    #[must_use]
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Tokens before the patches: the class token, where there is one, and the registers.
    #[must_use]
    pub fn prefix(&self) -> usize {
        usize::from(self.class) + self.registers
    }
}

// What every released model once had is not written, so that what was recorded stays as it was.
fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_true(flag: &bool) -> bool {
    *flag
}

/// Which numbers a product multiplies; sums, and everything between products, are f32 in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16 factors: half the time, 8 significant bits.
    Bf16,
    /// IEEE half-precision factors: 11 significant bits, nothing above 65,504. On a GPU only.
    F16,
}

impl Precision {
    /// Every word, as it is typed and stored.
    pub const WORDS: &[&'static str] = &["f32", "bf16", "f16"];
}

impl FromStr for Precision {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let list = [(Self::F32, "f32"), (Self::Bf16, "bf16"), (Self::F16, "f16")];
        named(&list, text, &simple(text))
    }
}

/// What carries out a forward pass, and the probes that look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

impl FromStr for Device {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        named(
            &[(Self::Cpu, "cpu"), (Self::Cuda, "cuda")],
            text,
            &simple(text),
        )
    }
}

impl Device {
    /// Every word, as it is typed and stored.
    pub const WORDS: &[&'static str] = &["cpu", "cuda"];

    /// Whether this program was built with support for the device, which need not be there.
    #[must_use]
    pub fn is_built(self) -> bool {
        self == Self::Cpu || cfg!(feature = "cuda")
    }
}

/// The feed-forward part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// Two linear maps around the exact (erf) GELU.
    Gelu,
    /// Two linear maps around `x * sigmoid(1.702 x)` (OpenAI CLIP).
    QuickGelu,
    /// Two linear maps around the GELU's approximation by a hyperbolic tangent (SigLIP in JAX and
    /// transformers).
    GeluTanh,
    /// `W3(silu(W1 x) * (W2 x))`.
    SwiGlu,
}

/// Where a backbone's position information comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum PositionEncoding {
    /// A table added to the patch embeddings, resized to the input's grid when it differs.
    Table {
        /// Rows and columns of the stored table.
        grid: [usize; 2],
        /// How the table is resized.
        resize: Resize,
    },
    /// Axial rotary positions on the queries and keys of the patches (DINOv3).
    Rotary,
    /// Axial rotary positions on the queries and keys of all tokens, by stored frequencies: rows and
    /// columns from 0 to 1, the tokens before the patches evenly around that square's edge (CAPI).
    Edged,
    /// Nothing added to embeddings: every block adds to the scores of its attention what a table of its
    /// own holds for how far apart two patches lie (BEiT). The table is resized to the input's grid.
    Relative {
        /// Rows and columns of patches that the tables were made for.
        grid: [usize; 2],
    },
    /// A table, and rotary positions of neighboring channels beside it (EVA-02, Perception Encoder).
    Both {
        /// Rows and columns of the stored table.
        grid: [usize; 2],
        /// How the table is resized.
        resize: Resize,
        /// The rotation.
        rotary: PairRotary,
    },
}

impl PositionEncoding {
    /// Whether queries and keys turn by their place.
    #[must_use]
    pub fn is_rotary(&self) -> bool {
        !matches!(self, Self::Table { .. } | Self::Relative { .. })
    }
}

/// Rotary positions of neighboring channels: channel `2j` and `2j + 1` of a head turn by
/// `place * base^(-j / (d / 4))`, the first half of the pairs by one coordinate, the second by the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairRotary {
    /// Rows and columns to which any grid is stretched: a patch's coordinate is
    /// `(index + offset) / count * reference`.
    pub reference: [usize; 2],
    /// Added to a patch's index.
    pub offset: usize,
    /// Whether the first half of the pairs turns by the column, not by the row.
    pub columns_first: bool,
    /// Base of the frequencies.
    pub base: u32,
}

/// How a position table is resized to another grid (bicubic but for the last).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// `a = -0.75`, four taps, border clamped, step `n / out`.
    Plain,
    /// As `Plain` with step `n / (out + 0.1)`: the official DINO and DINOv2 code.
    PlainOffset,
    /// `a = -0.5`, support widened when shrinking, taps outside dropped, weights renormalised.
    Antialias,
    /// Bilinear: a triangle, widened when shrinking, weights renormalised (SigLIP 2 NaFlex).
    AntialiasLinear,
}
