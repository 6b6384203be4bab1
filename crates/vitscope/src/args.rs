//! What can be typed. Doc comments are the help texts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, anyhow};
use bytesize::ByteSize;
use clap::{ArgAction, Args, Parser, Subcommand};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use vitscope_study::settings::{Settings, Side};
use vitscope_study::variants::Vary;
use vitscope_vit::identify::Format;

use crate::exit::usage;

/// Shows what a frozen Vision Transformer has learned: every layer and embedding, segmented
/// without supervision, with its positional effect.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// `human` or `json`: how results (stdout) and progress (stderr) are written. `official`,
    /// `timm`, `transformers` or `open_clip`: the checkpoint's format, where its names leave it
    /// open. May be given once for each.
    #[arg(long = "format", global = true, value_name = "WORD")]
    pub formats: Vec<FormatWord>,
    /// No progress, only results and errors
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// One value of `--format`, which settles two things that share a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatWord {
    /// How results are written.
    Output(Output),
    /// How a checkpoint is laid out.
    Checkpoint(Format),
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    #[default]
    Human,
    Json,
}

impl FromStr for FormatWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Self::Output(Output::Human)),
            "json" => Ok(Self::Output(Output::Json)),
            _ => text.parse().map(Self::Checkpoint).map_err(|_| {
                "expected human or json for the output, or official, timm, transformers or open_clip for the checkpoint".to_owned()
            }),
        }
    }
}

impl Cli {
    /// How results are written.
    pub fn output(&self) -> Output {
        let said = self.formats.iter().rev().find_map(|word| match word {
            FormatWord::Output(output) => Some(*output),
            FormatWord::Checkpoint(_) => None,
        });
        said.unwrap_or_default()
    }

    /// How the checkpoint is laid out, if that was said.
    pub fn checkpoint_format(&self) -> Option<Format> {
        self.formats.iter().rev().find_map(|word| match word {
            FormatWord::Checkpoint(format) => Some(*format),
            FormatWord::Output(_) => None,
        })
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole protocol on built-in models and scenes, offline, in about a minute
    Demo(DemoArgs),
    /// The main job: every layer and facet of a model over a data set, in one pass
    Probe(Box<ProbeArgs>),
    /// Write facets as safetensors, for other programs or for `probe --features`
    Extract(Box<ExtractArgs>),
    /// What a checkpoint is: architecture, how it was recognized, every tensor and its use
    Inspect(InspectArgs),
    /// What a data set is worth before any model is run on it
    #[command(subcommand)]
    Data(DataCommand),
    /// Locality bias and attention pictures of every layer, over a data set
    Attention(Box<AttentionArgs>),
    /// Zero-shot correspondence of key points on SPair-71k, every layer and facet
    Correspond(Box<CorrespondArgs>),
    /// Runs of any kind side by side: models, layers, sizes, seeds, settings
    Compare(CompareArgs),
    /// The table of known models: sizes, ids, license, gated or not
    Models {
        /// A short name, for everything about that model, or part of a name
        name: Option<String>,
    },
    /// The shards of one run (`probe --shard`) made into the run, to the byte as if made in one piece
    Merge(MergeArgs),
    /// Compare a model with activations that another program recorded; exit code 1 where they
    /// differ by more than the tolerance
    Verify(VerifyArgs),
    /// Draw figures and page again from what a run has stored
    Report {
        /// Run directories, of probe, attention or correspond
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Which of the stored examples to show: names, or `random:SEED` (all, shuffled), or `class:C`
        /// (those in which a class is largest; `class:k7` for a cluster)
        #[arg(long, num_args = 1.., value_name = "NAME")]
        images: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where scenes, models and runs go: a new folder, or one with an earlier demo, which is replaced
    #[arg(long, default_value = "runs/demo")]
    pub out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Counts, label histogram, bad files, and the set's own positional effect; exit code 3 if
    /// something would stop a run
    Check(DataCheckArgs),
}

#[derive(Debug, Args)]
pub struct DataCheckArgs {
    /// Data set: `kind:root`, a directory, or a TOML description
    pub data: String,
    /// Side of the square crop in pixels; the nearest multiple of the patch is used
    #[arg(long, default_value_t = 320)]
    pub size: usize,
    /// Side of a patch in pixels
    #[arg(long, default_value_t = 16)]
    pub patch: usize,
    /// Circular shifts and bootstrap samples behind the positional effect's error bar
    #[arg(long, default_value_t = 100)]
    pub resamples: usize,
    /// Their seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the aggregate map (ground_truth.png) and the lists of images go
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Threads; all cores unless set
    #[arg(long)]
    pub threads: Option<usize>,
}

/// What settles what a checkpoint leaves open.
#[derive(Clone, Debug, Default, Args)]
pub struct ModelArgs {
    /// Family of the model, where its file cannot tell (DINO, iBOT, MAE and supervised ViTs share
    /// every tensor name)
    #[arg(long)]
    pub family: Option<String>,
    /// Attention heads, where the file cannot tell
    #[arg(long)]
    pub heads: Option<usize>,
    /// The network to look at, where a file holds several: its entry or prefix, such as student
    #[arg(long, value_name = "NAME")]
    pub backbone: Option<String>,
    /// Per-channel mean of the images, in place of what is known of the model: 0.5,0.5,0.5
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', action = ArgAction::Set)]
    pub mean: Option<Vec<f64>>,
    /// Per-channel standard deviation, likewise
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', action = ArgAction::Set)]
    pub std: Option<Vec<f64>>,
    /// What the model is called in tables and captions [default: what it is, DINOv2 ViT-S/14]
    #[arg(long)]
    pub name: Option<String>,
    /// Numerics of `source` (the file's own ecosystem: eps, rotary periods, table resizing) or of
    /// the `official` code
    #[arg(long)]
    pub numerics: Option<String>,
    /// What products multiply: f32; bf16 (on processors that can 1.7 times as fast, figures move in the
    /// third digit); f16 (on a GPU only) [default: f32]
    #[arg(long)]
    pub dtype: Option<String>,
    /// What computes: cpu, or cuda in a build with that feature [default: cpu]
    #[arg(long)]
    pub device: Option<String>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A checkpoint: a file or a folder, a short name of `vitscope models`, or a Hugging Face id
    pub model: PathBuf,
    /// A safetensors file with the normalized `input` `[B,3,H,W]` and any of `embed`,
    /// `block{l}.query|key|value|query_rot|key_rot|attention|token` (l from 0) and `final_norm`,
    /// all tokens included
    #[arg(long, value_name = "FILE")]
    pub against: PathBuf,
    /// Largest difference, relative to the largest magnitude of each tensor
    #[arg(long, default_value_t = vitscope_study::verify::TOLERANCE)]
    pub tolerance: f64,
    #[command(flatten)]
    pub settle: ModelArgs,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A checkpoint: a file or a folder, a short name of `vitscope models`, or a Hugging Face id
    pub checkpoint: PathBuf,
    /// Write a first draft of the TOML description of an own model, guessed from names and
    /// shapes, to this file, or to the output
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub draft: Option<Option<PathBuf>>,
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// A checkpoint: a file or a folder, a short name of `vitscope models`, or a Hugging Face id
    pub model: PathBuf,
    /// Data set: `kind:root`, a directory, or a TOML description
    #[arg(long, required_unless_present_any = ["images", "tensor"])]
    pub data: Option<String>,
    /// A folder of images without ground truth
    #[arg(long, conflicts_with_all = ["data", "tensor"])]
    pub images: Option<PathBuf>,
    /// A safetensors file whose `input` `[B,3,H,W]` is already normalized
    #[arg(long, conflicts_with = "data")]
    pub tensor: Option<PathBuf>,
    /// Where the feature directory goes
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub settle: ModelArgs,
    /// Side of the square crop in pixels; the nearest multiple of the patch is used
    #[arg(long, default_value_t = 320)]
    pub size: usize,
    /// Layers: all, last, or a list such as 1,3,9-12
    #[arg(long, default_value = "all")]
    pub layers: String,
    /// Facets: any of key,query,value,token
    #[arg(long, value_delimiter = ',', default_value = "key,query,value,token")]
    pub facets: Vec<String>,
    /// Last token after or before the final LayerNorm
    #[arg(long, default_value = "after")]
    pub token_norm: String,
    /// Keys and queries before or after rotary rotation
    #[arg(long, default_value = "before")]
    pub rope: String,
    /// Also write the class token and the registers (with --tensor)
    #[arg(long, requires = "tensor")]
    pub prefix_tokens: bool,
    /// Also write the attention weights (with --tensor)
    #[arg(long, requires = "tensor")]
    pub attention: bool,
    /// Store as f32 or f16
    #[arg(long, default_value = "f32")]
    pub store: String,
    /// Only the first so many training images
    #[arg(long)]
    pub limit_train: Option<usize>,
    /// Only the first so many test images
    #[arg(long)]
    pub limit_test: Option<usize>,
    /// Threads; all cores unless set
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Debug, Args)]
pub struct AttentionArgs {
    /// A checkpoint: a file or a folder, a short name of `vitscope models`, or a Hugging Face id
    pub model: PathBuf,
    /// Data set: `kind:root`, a directory, or a TOML description
    #[arg(long)]
    pub data: String,
    /// Run directory [default: runs/MODEL-DATA-attention]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Continue a run that was stopped or killed; it ends in the same bytes as an unbroken one
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub settle: ModelArgs,
    /// Side of the square crop in pixels; the nearest multiple of the patch is used
    #[arg(long, default_value_t = 320)]
    pub size: usize,
    /// Layers: all, last, or a list such as 1,3,9-12
    #[arg(long, default_value = "all")]
    pub layers: String,
    /// Which images: train or test
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Only the first so many training images
    #[arg(long)]
    pub limit_train: Option<usize>,
    /// Only the first so many test images
    #[arg(long)]
    pub limit_test: Option<usize>,
    /// Patches whose attention over their image is kept and drawn: image name, then row and column
    /// of the patch from 0, such as 0001TP_008550:3,12
    #[arg(long, num_args = 1.., value_name = "NAME:ROW,COLUMN")]
    pub queries: Vec<String>,
    /// Bootstrap samples behind the intervals over images; 0 for none
    #[arg(long, default_value_t = 1000)]
    pub resamples: usize,
    /// Their seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads; all cores unless set. Results do not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Debug, Args)]
pub struct CorrespondArgs {
    /// A checkpoint: a file or a folder, a short name of `vitscope models`, or a Hugging Face id
    pub model: PathBuf,
    /// The directory of SPair-71k, with or without `spair71k:` before it
    #[arg(long)]
    pub data: String,
    /// Run directory [default: runs/MODEL-spair71k]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Continue a run that was stopped or killed; it ends in the same bytes as an unbroken one
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub settle: ModelArgs,
    /// Which pairs: trn, val or test
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Which list of them: large or small
    #[arg(long, default_value = "large")]
    pub layout: String,
    /// A match counts within so many times the longer side of the target's box; one or more. The
    /// first one selects the best layers
    #[arg(long, num_args = 1.., default_values_t = [0.1])]
    pub alpha: Vec<f64>,
    /// Side of the network's square input in pixels; the nearest multiple of the patch is used
    #[arg(long, default_value_t = 320)]
    pub size: usize,
    /// How a photograph becomes that square: stretch, or pad (in proportion, on black)
    #[arg(long, default_value = "stretch")]
    pub fit: String,
    /// Layers: all, last, or a list such as 1,3,9-12
    #[arg(long, default_value = "all")]
    pub layers: String,
    /// Facets: any of key,query,value,token
    #[arg(long, value_delimiter = ',', default_value = "key,query,value,token")]
    pub facets: Vec<String>,
    /// Last token after or before the final LayerNorm
    #[arg(long, default_value = "after")]
    pub token_norm: String,
    /// Keys and queries of a rotary model before or after rotation
    #[arg(long, default_value = "before")]
    pub rope: String,
    /// Only the first so many pairs
    #[arg(long)]
    pub limit_pairs: Option<usize>,
    /// Pairs whose similarity maps are kept
    #[arg(long, default_value_t = 6)]
    pub examples: usize,
    /// Memory for the embeddings of one category, in MiB; photographs beyond it are run twice, which
    /// changes no figure
    #[arg(long, default_value_t = 2048)]
    pub memory_mib: usize,
    /// Threads; all cores unless set. Results do not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Run directories that `probe`, `attention` and `correspond` have written
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// Where tables, figures and page go
    #[arg(long)]
    pub out: PathBuf,
    /// Layer at which each facet is shown: best-miou, layer:N or last
    #[arg(long, default_value = "best-miou")]
    pub select: String,
    /// Which of the stored examples to show: names, or `random:SEED`, or `class:C`
    #[arg(long, num_args = 1.., value_name = "NAME")]
    pub images: Vec<String>,
    /// Set the paper's figures beside those of the same model and data set
    #[arg(long)]
    pub paper: bool,
}

#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The directories of all shards of one run
    #[arg(required = true)]
    pub shards: Vec<PathBuf>,
    /// Run directory
    #[arg(long)]
    pub out: PathBuf,
    /// The data set, where it does not lie where the shards found it
    #[arg(long)]
    pub data: Option<String>,
    /// Threads; all cores unless set. Results do not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// A checkpoint: a file or a folder, a short name of `vitscope models`, or a Hugging Face id
    #[arg(required_unless_present_any = ["features", "config"])]
    pub model: Option<PathBuf>,
    /// A TOML file with any of these settings under the same names; a flag wins
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Continue a run that was stopped or killed; it ends in the same bytes as an unbroken one
    #[arg(long)]
    pub resume: bool,
    /// Say what the run would take in time, memory and disk, from a rehearsal on a few images, and do
    /// no more
    #[arg(long, conflicts_with = "resume")]
    pub plan: bool,
    #[command(flatten)]
    pub flags: ProbeFlags,
}

/// Settings that may stand on the command line or in a file.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProbeFlags {
    /// Model, in a settings file
    #[arg(skip)]
    pub model: Option<PathBuf>,
    /// A feature directory in place of a model
    #[arg(long, conflicts_with = "model")]
    pub features: Option<PathBuf>,
    /// Data set: `kind:root`, a directory, or a TOML description
    #[arg(long, required_unless_present = "config")]
    pub data: Option<String>,
    /// Run directory [default: runs/MODEL-DATA]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Family of the model, where its file cannot tell (DINO, iBOT, MAE and supervised ViTs share
    /// every tensor name)
    #[arg(long)]
    pub family: Option<String>,
    /// Attention heads, where the file cannot tell
    #[arg(long)]
    pub heads: Option<usize>,
    /// The network to look at, where a file holds several: its entry or prefix, such as student
    #[arg(long, value_name = "NAME")]
    pub backbone: Option<String>,
    /// Per-channel mean of the images, in place of what is known of the model: 0.5,0.5,0.5
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', action = ArgAction::Set)]
    pub mean: Option<Vec<f64>>,
    /// Per-channel standard deviation, likewise
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', action = ArgAction::Set)]
    pub std: Option<Vec<f64>>,
    /// What the model is called in tables and captions [default: what it is, DINOv2 ViT-S/14]
    #[arg(long)]
    pub name: Option<String>,
    /// Numerics of `source` (the file's own ecosystem: eps, rotary periods, table resizing) or of
    /// the `official` code
    #[arg(long)]
    pub numerics: Option<String>,
    /// Format of the checkpoint, in a settings file
    #[arg(skip)]
    pub format: Option<String>,
    /// Side of the square crop in pixels; the nearest multiple of the patch is used [default: 320]
    #[arg(long)]
    pub size: Option<usize>,
    /// Clusters [default: the number of classes; 27 without ground truth]
    #[arg(long)]
    pub clusters: Option<usize>,
    /// Clusters beyond that (the paper's overclustering uses 70); several, such as 0,70, make a run
    /// each [default: 0]
    #[arg(long, value_delimiter = ',', action = ArgAction::Set)]
    #[serde(deserialize_with = "one_or_more")]
    pub extra_clusters: Option<Vec<usize>>,
    /// Training steps [default: 5000]
    #[arg(long)]
    pub steps: Option<usize>,
    /// Images per step; several, such as 24,32,48, make a run each [default: 24]
    #[arg(long, value_delimiter = ',', action = ArgAction::Set)]
    #[serde(deserialize_with = "one_or_more")]
    pub batch: Option<Vec<usize>>,
    /// Adam's rate [default: 0.005]
    #[arg(long)]
    pub lr: Option<f64>,
    /// Training batches that give the principal directions [default: 96]
    #[arg(long)]
    pub pca_batches: Option<usize>,
    /// Every how many-th training batch is one of those; several, such as 1,2,4, make a run each
    /// [default: 1]
    #[arg(long, value_delimiter = ',', action = ArgAction::Set)]
    #[serde(deserialize_with = "one_or_more")]
    pub pca_interval: Option<Vec<usize>>,
    /// Seed of everything drawn at random [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// As many runs, with seeds from --seed upward
    #[arg(long)]
    pub seeds: Option<usize>,
    /// Layers: all, last, or a list such as 1,3,9-12 [default: all]
    #[arg(long)]
    pub layers: Option<String>,
    /// Facets: any of key,query,value,token [default: all four]
    #[arg(long, value_delimiter = ',')]
    pub facets: Option<Vec<String>>,
    /// Take training images in file order
    #[arg(long)]
    pub no_shuffle: bool,
    /// Matching with extra clusters: hungarian or majority [default: hungarian]
    #[arg(long)]
    pub matching: Option<String>,
    /// Pixels that count for the positional effect: all or labeled [default: all]
    #[arg(long)]
    pub positions: Option<String>,
    /// Last token after or before the final LayerNorm, or a run for both [default: after]
    #[arg(long)]
    pub token_norm: Option<String>,
    /// Keys and queries of a rotary model before or after rotation [default: before]
    #[arg(long)]
    pub rope: Option<String>,
    /// Label maps to keep: none, examples or all [default: examples]
    #[arg(long)]
    pub save_labels: Option<String>,
    /// Position counts to keep: grid (patches) or pixel [default: grid]
    #[arg(long)]
    pub save_counts: Option<String>,
    /// Measure the locality bias of every layer's attention too, in the same forward pass
    #[arg(long)]
    pub attention: bool,
    /// Layer at which each facet is shown: best-miou, layer:N or last [default: best-miou]
    #[arg(long)]
    pub select: Option<String>,
    /// Example images [default: 12]
    #[arg(long)]
    pub examples: Option<usize>,
    /// Circular shifts and bootstrap samples behind the positional effect's error bar
    /// [default: 100]
    #[arg(long)]
    pub resamples: Option<usize>,
    /// Only the first so many training images
    #[arg(long)]
    pub limit_train: Option<usize>,
    /// Only the first so many test images
    #[arg(long)]
    pub limit_test: Option<usize>,
    /// Leave out up to so many images that cannot be used, instead of stopping at the first
    /// [default: 0]
    #[arg(long)]
    pub skip_bad: Option<usize>,
    /// Threads; all cores unless set. Results do not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
    /// Disk that facets of training images may take until the run ends, so that each is run through
    /// the model once: 20GB, say, or 0 for none [default: 10 GiB or half of what is free]
    #[arg(long)]
    pub cache_budget: Option<ByteSize>,
    /// Count only a part of the test images, such as 2/4 (the second quarter); `merge` makes a run of
    /// all parts
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// Take over the training of another shard of the same run, instead of training again
    #[arg(long, value_name = "RUN")]
    pub trained: Option<PathBuf>,
    /// Seconds after which unfinished work is stored, for --resume [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub save_every: Option<u64>,
    /// What computes: cpu, or cuda in a build with that feature [default: cpu]
    #[arg(long)]
    pub device: Option<String>,
    /// What products multiply: f32; bf16 (on processors that can 1.7 times as fast, figures move in the
    /// third digit); f16 (on a GPU only) [default: f32]
    #[arg(long)]
    pub dtype: Option<String>,
}

impl ProbeFlags {
    /// Reads a settings file.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot read the settings file", path.display()))
            .map_err(usage)?;
        toml::from_str(&text)
            .with_context(|| format!("{}: is not a file of settings", path.display()))
            .map_err(usage)
    }

    /// These settings, with those of a file where the command line is silent.
    #[must_use]
    pub fn over(self, file: Self) -> Self {
        Self {
            model: self.model.or(file.model),
            features: self.features.or(file.features),
            data: self.data.or(file.data),
            out: self.out.or(file.out),
            family: self.family.or(file.family),
            heads: self.heads.or(file.heads),
            backbone: self.backbone.or(file.backbone),
            mean: self.mean.or(file.mean),
            std: self.std.or(file.std),
            name: self.name.or(file.name),
            numerics: self.numerics.or(file.numerics),
            format: self.format.or(file.format),
            size: self.size.or(file.size),
            clusters: self.clusters.or(file.clusters),
            extra_clusters: self.extra_clusters.or(file.extra_clusters),
            steps: self.steps.or(file.steps),
            batch: self.batch.or(file.batch),
            lr: self.lr.or(file.lr),
            pca_batches: self.pca_batches.or(file.pca_batches),
            pca_interval: self.pca_interval.or(file.pca_interval),
            seed: self.seed.or(file.seed),
            seeds: self.seeds.or(file.seeds),
            layers: self.layers.or(file.layers),
            facets: self.facets.or(file.facets),
            no_shuffle: self.no_shuffle || file.no_shuffle,
            matching: self.matching.or(file.matching),
            positions: self.positions.or(file.positions),
            token_norm: self.token_norm.or(file.token_norm),
            rope: self.rope.or(file.rope),
            save_labels: self.save_labels.or(file.save_labels),
            save_counts: self.save_counts.or(file.save_counts),
            attention: self.attention || file.attention,
            select: self.select.or(file.select),
            examples: self.examples.or(file.examples),
            resamples: self.resamples.or(file.resamples),
            limit_train: self.limit_train.or(file.limit_train),
            limit_test: self.limit_test.or(file.limit_test),
            skip_bad: self.skip_bad.or(file.skip_bad),
            threads: self.threads.or(file.threads),
            cache_budget: self.cache_budget.or(file.cache_budget),
            shard: self.shard.or(file.shard),
            trained: self.trained.or(file.trained),
            save_every: self.save_every.or(file.save_every),
            device: self.device.or(file.device),
            dtype: self.dtype.or(file.dtype),
        }
    }

    /// What the settings mean; of those that vary, the first.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let defaults = Settings::default();
        Ok(Settings {
            size: self.size.unwrap_or(defaults.size),
            clusters: self.clusters,
            extra_clusters: first(self.extra_clusters.as_ref(), defaults.extra_clusters),
            steps: self.steps.unwrap_or(defaults.steps),
            batch: first(self.batch.as_ref(), defaults.batch),
            lr: self.lr.unwrap_or(defaults.lr),
            pca_batches: self.pca_batches.unwrap_or(defaults.pca_batches),
            pca_interval: first(self.pca_interval.as_ref(), defaults.pca_interval),
            seed: self.seed.unwrap_or(defaults.seed),
            layers: word("--layers", self.layers.as_deref(), defaults.layers)?,
            facets: match &self.facets {
                Some(names) => facets(names)?,
                None => defaults.facets,
            },
            shuffle: !self.no_shuffle,
            matching: word("--matching", self.matching.as_deref(), defaults.matching)?,
            positions: word("--positions", self.positions.as_deref(), defaults.positions)?,
            token_norm: first(self.token_norms()?.as_ref(), defaults.token_norm),
            rope: word("--rope", self.rope.as_deref(), defaults.rope)?,
            save_labels: word(
                "--save-labels",
                self.save_labels.as_deref(),
                defaults.save_labels,
            )?,
            save_counts: word(
                "--save-counts",
                self.save_counts.as_deref(),
                defaults.save_counts,
            )?,
            attention: self.attention,
            select: word("--select", self.select.as_deref(), defaults.select)?,
            examples: self.examples.unwrap_or(defaults.examples),
            resamples: self.resamples.unwrap_or(defaults.resamples),
            limit_train: self.limit_train,
            limit_test: self.limit_test,
            skip_bad: self.skip_bad.unwrap_or(defaults.skip_bad),
            threads: self.threads,
            cache_budget: self.cache_budget.map(|size| size.as_u64()),
            shard: match &self.shard {
                Some(text) => {
                    let problem = |problem| usage(anyhow!("--shard: {problem}"));
                    Some(text.parse().map_err(problem)?)
                }
                None => None,
            },
            save_every: self.save_every.unwrap_or(defaults.save_every),
        })
    }

    /// What varies between runs that are made together.
    pub fn vary(&self) -> anyhow::Result<Vary> {
        Ok(Vary {
            extra_clusters: self.extra_clusters.clone().unwrap_or_default(),
            batch: self.batch.clone().unwrap_or_default(),
            pca_interval: self.pca_interval.clone().unwrap_or_default(),
            token_norm: self.token_norms()?.unwrap_or_default(),
            seeds: self.seeds,
        })
    }

    fn token_norms(&self) -> anyhow::Result<Option<Vec<Side>>> {
        match self.token_norm.as_deref() {
            None => Ok(None),
            Some("both") => Ok(Some(vec![Side::After, Side::Before])),
            Some(text) => {
                let problem =
                    || anyhow!("--token-norm: `{text}` is not one of before, after, both");
                let side = text.parse().map_err(|_| usage(problem()))?;
                Ok(Some(vec![side]))
            }
        }
    }

    /// What settles the model.
    pub fn model_args(&self) -> ModelArgs {
        ModelArgs {
            family: self.family.clone(),
            heads: self.heads,
            backbone: self.backbone.clone(),
            mean: self.mean.clone(),
            std: self.std.clone(),
            name: self.name.clone(),
            numerics: self.numerics.clone(),
            dtype: self.dtype.clone(),
            device: self.device.clone(),
        }
    }
}

fn first<T: Copy>(values: Option<&Vec<T>>, default: T) -> T {
    values
        .and_then(|values| values.first().copied())
        .unwrap_or(default)
}

/// Reads a number or a list of numbers from a settings file.
fn one_or_more<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Vec<usize>>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number from 0, or a list of them such as [24, 32]")
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
            let wrong = |_| E::invalid_value(de::Unexpected::Signed(value), &self);
            usize::try_from(value)
                .map(|value| vec![value])
                .map_err(wrong)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = list.next_element()? {
                values.push(value);
            }
            if values.is_empty() {
                return Err(de::Error::invalid_length(0, &self));
            }
            Ok(values)
        }
    }

    reader.deserialize_any(OneOrMore).map(Some)
}

/// Reads a word-like setting.
pub fn word<T: FromStr<Err = String>>(
    flag: &str,
    text: Option<&str>,
    default: T,
) -> anyhow::Result<T> {
    text.map_or(Ok(default), |text| {
        text.parse()
            .map_err(|problem| usage(anyhow!("{flag}: {problem}")))
    })
}

/// Reads a list of facets, in the order in which they are listed everywhere.
pub fn facets(names: &[String]) -> anyhow::Result<Vec<vitscope_run::Facet>> {
    let mut list = Vec::new();
    for name in names {
        list.push(
            name.trim()
                .parse()
                .map_err(|problem| usage(anyhow!("--facets: {problem}")))?,
        );
    }
    list.sort_unstable();
    list.dedup();
    Ok(list)
}
