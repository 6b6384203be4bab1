//! What settles what a checkpoint leaves open.

use clap::{ArgAction, Args};
use vitscope_vit::config::{Device, Precision};
use vitscope_vit::identify::Numerics;

use super::words::{LayoutWord, one_of, whole};

/// What settles what a checkpoint leaves open. `-h` shows what most need, `--help` all.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Family of the model, where its file cannot tell (DINO, iBOT, MAE and supervised ViTs share
    /// every tensor name)
    #[arg(long)]
    pub family: Option<String>,
    /// Attention heads, where the file cannot tell
    #[arg(long, value_parser = whole::<u64>(1, 1024))]
    pub heads: Option<u64>,
    /// The network to look at, where a file holds several: its entry or prefix, such as student
    #[arg(long, hide_short_help = true, value_name = "NAME")]
    pub backbone: Option<String>,
    /// Per-channel mean of the images, in place of what is known of the model: 0.5,0.5,0.5
    #[arg(long, hide_short_help = true, value_name = "R,G,B", value_delimiter = ',', action = ArgAction::Set)]
    pub mean: Option<Vec<f64>>,
    /// Per-channel standard deviation, likewise
    #[arg(long, hide_short_help = true, value_name = "R,G,B", value_delimiter = ',', action = ArgAction::Set)]
    pub std: Option<Vec<f64>>,
    /// What the model is called in tables and captions [default: what it is, DINOv2 ViT-S/14]
    #[arg(long, hide_short_help = true)]
    pub name: Option<String>,
    /// Numerics of the file's own ecosystem (eps, rotary periods, table resizing), or of the official
    /// code
    #[arg(long, hide_short_help = true, value_parser = one_of::<Numerics>(Numerics::WORDS))]
    pub numerics: Option<Numerics>,
    /// What products multiply: f32; bf16 (1.7 times as fast on processors that can; numbers move in the
    /// third digit); f16 (on a GPU only) [default: f32]
    #[arg(long, value_parser = one_of::<Precision>(Precision::WORDS))]
    pub dtype: Option<Precision>,
    /// What computes; cuda in a build with that feature [default: cpu]
    #[arg(long, value_parser = one_of::<Device>(Device::WORDS))]
    pub device: Option<Device>,
    /// Whose names the checkpoint's tensors carry, where they leave it open
    #[arg(long, hide_short_help = true, value_enum)]
    pub layout: Option<LayoutWord>,
}
