//! What can be typed. Doc comments are the help texts.

mod causes;
mod limits;
mod model;
mod probe;
mod slots;
mod sweep;
mod view;
mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use vitscope_data::Split;
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_run::Select;
use vitscope_study::attention::PatchQuery;
use vitscope_study::compare::checks::Condition;
use vitscope_study::compare::summary::SummaryFile;
use vitscope_study::correspond::Fit;
use vitscope_study::layers::Layers;
use vitscope_study::settings::MAX_THREADS;

pub use self::causes::CausesArgs;
use self::limits::{MANY, MAX_RESAMPLES, MAX_SIDE};
pub use self::model::ModelArgs;
pub use self::probe::ProbeArgs;
pub use self::slots::SlotArgs;
pub use self::sweep::{ExecutorArgs, ExecutorWord, PlanArgs, SweepArgs, SweepVerb, TaskArgs};
pub use self::view::ViewArgs;
use self::words::{FormatWord, one_of, pair_split, positive, read, whole};
pub use self::words::{LayoutWord, Output, StoreWord};

/// Shows what a frozen Vision Transformer has learned: every layer and embedding, segmented
/// without supervision, with its positional effect.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// How results (stdout) and progress (stderr) are written
    #[arg(long = "format", global = true, value_enum, value_name = "FORMAT")]
    pub formats: Vec<FormatWord>,
    /// No progress, only results and errors
    #[arg(long, global = true)]
    pub quiet: bool,
}

impl Cli {
    /// How results are written.
    pub fn output(&self) -> Output {
        let said = self.formats.iter().rev().find_map(|word| word.output());
        said.unwrap_or_default()
    }

    /// How the checkpoint is laid out, where that was said with `--format`, as in earlier versions.
    pub fn old_layout(&self) -> Option<LayoutWord> {
        self.formats.iter().rev().find_map(|word| word.layout())
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
    /// Zero-shot correspondence of keypoints on SPair-71k, every layer and facet
    Correspond(Box<CorrespondArgs>),
    /// What position causes, without an edit of features: the same content at another place, other position codes,
    /// class token and registers cut off
    Causes(Box<CausesArgs>),
    /// What is odd about the embeddings of a run: collapsed slots, strong channels, position, each with what to do
    Artifacts {
        /// A run directory of `probe`
        run: PathBuf,
    },
    /// Runs side by side, of any kind but causes: models, layers, sizes, seeds, settings
    Compare(CompareArgs),
    /// The table of known models: sizes, ids, license, gated or not
    Models {
        /// A short name, for everything about that model, or part of a name
        name: Option<String>,
    },
    /// The shards of one run (`probe --shard`) made into the run, to the byte as if made in one piece
    Merge(MergeArgs),
    /// Many runs as one plan, on this machine or through a cluster's scheduler
    Sweep(SweepArgs),
    /// Compare a model with activations that another program recorded; exit code 1 where they
    /// differ by more than the tolerance
    Verify(VerifyArgs),
    /// A page on this machine that looks into models: click a patch of any image and see what is like it, at every
    /// layer and facet
    View(Box<ViewArgs>),
    /// Print the completions of a shell, for its startup file
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Draw figures and page again from what a run has stored
    Report {
        /// Run directories, of probe, attention or correspond
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Which of the stored examples to show: names, or `random:SEED` (all, shuffled), or `class:C`
        /// (those in which a class is largest; `class:k7` for a cluster)
        #[arg(long, num_args = 1.., value_name = "NAME")]
        images: Vec<String>,
        #[command(flatten)]
        look: LookArgs,
    },
}

/// How figures look, for authors who set their own captions.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// What a run is called in figures and page; given once for each run, in their order
    #[arg(long = "label", value_name = "NAME")]
    pub labels: Vec<String>,
    /// Leave captions out of the figures, and write each into a text file beside its figure
    #[arg(long)]
    pub no_caption: bool,
    /// Give the panels of a figure letters
    #[arg(long)]
    pub letters: bool,
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
    #[arg(long, default_value_t = 320, value_parser = whole::<usize>(1, MAX_SIDE))]
    pub size: usize,
    /// Side of a patch in pixels
    #[arg(long, default_value_t = 16, value_parser = whole::<usize>(1, MAX_SIDE))]
    pub patch: usize,
    /// Circular shifts and bootstrap samples behind the positional effect's error bar
    #[arg(long, default_value_t = 100, value_parser = whole::<usize>(0, MAX_RESAMPLES))]
    pub resamples: usize,
    /// Their seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the aggregate map (ground_truth.png) and the lists of images go
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// A TOML file to write: a description of the set as it was found, to correct and give as DATA
    #[arg(long, value_name = "FILE")]
    pub draft: Option<PathBuf>,
    /// Threads; all cores unless set
    #[arg(long, value_parser = whole::<usize>(1, MAX_THREADS))]
    pub threads: Option<usize>,
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
    #[arg(long, default_value_t = vitscope_study::verify::TOLERANCE, value_parser = positive(1e6))]
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
    #[arg(long, default_value_t = 320, value_parser = whole::<usize>(1, MAX_SIDE))]
    pub size: usize,
    #[command(flatten)]
    pub slots: SlotArgs,
    /// Also write the class token and the registers (with --tensor)
    #[arg(long, requires = "tensor")]
    pub prefix_tokens: bool,
    /// Also write the attention weights (with --tensor)
    #[arg(long, requires = "tensor")]
    pub attention: bool,
    /// Apply the transforms that this run has stored, and write what its probes saw
    #[arg(long, value_name = "RUN", conflicts_with = "tensor")]
    pub transform_from: Option<PathBuf>,
    /// How values are stored
    #[arg(long, value_enum, default_value = "f32")]
    pub store: StoreWord,
    /// Only this many training images, the first ones
    #[arg(long, value_parser = whole::<usize>(1, MANY))]
    pub limit_train: Option<usize>,
    /// Only this many test images, the first ones
    #[arg(long, value_parser = whole::<usize>(1, MANY))]
    pub limit_test: Option<usize>,
    /// Threads; all cores unless set
    #[arg(long, value_parser = whole::<usize>(1, MAX_THREADS))]
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
    #[arg(long, default_value_t = 320, value_parser = whole::<usize>(1, MAX_SIDE))]
    pub size: usize,
    /// Layers: all, last, or a list such as 1,3,9-12
    #[arg(long, default_value = "all", value_parser = read::<Layers>)]
    pub layers: Layers,
    /// Which images
    #[arg(long, default_value = "test", value_parser = one_of::<Split>(Split::WORDS))]
    pub split: Split,
    /// Only this many training images, the first ones
    #[arg(long, value_parser = whole::<usize>(1, MANY))]
    pub limit_train: Option<usize>,
    /// Only this many test images, the first ones
    #[arg(long, value_parser = whole::<usize>(1, MANY))]
    pub limit_test: Option<usize>,
    /// Patches whose attention over their image is kept and drawn: image name, then row and column
    /// of the patch from 0, such as 0001TP_008550:3,12
    #[arg(long, num_args = 1.., value_name = "NAME:ROW,COLUMN", value_parser = read::<PatchQuery>)]
    pub queries: Vec<PatchQuery>,
    /// Bootstrap samples behind the intervals over images; 0 for none
    #[arg(long, default_value_t = 1000, value_parser = whole::<usize>(0, MAX_RESAMPLES))]
    pub resamples: usize,
    /// Their seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads; all cores unless set. Results do not depend on it
    #[arg(long, value_parser = whole::<usize>(1, MAX_THREADS))]
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
    /// Which pairs
    #[arg(long, default_value = "test", value_parser = pair_split())]
    pub split: PairSplit,
    /// Which list of them
    #[arg(long, default_value = "large", value_parser = one_of::<Layout>(Layout::WORDS))]
    pub list: Layout,
    /// A match counts within this many times the longer side of the target's box; one or more. The
    /// first one selects the best layers
    #[arg(long, num_args = 1.., default_values_t = [0.1], value_parser = positive(1e3))]
    pub alpha: Vec<f64>,
    /// Side of the network's square input in pixels; the nearest multiple of the patch is used
    #[arg(long, default_value_t = 320, value_parser = whole::<usize>(1, MAX_SIDE))]
    pub size: usize,
    /// How a photograph becomes that square: stretched, or in proportion on black
    #[arg(long, default_value = "stretch", value_parser = one_of::<Fit>(Fit::WORDS))]
    pub fit: Fit,
    #[command(flatten)]
    pub slots: SlotArgs,
    /// Only this many pairs, the first ones
    #[arg(long, value_parser = whole::<usize>(0, MANY))]
    pub limit_pairs: Option<usize>,
    /// Pairs whose similarity maps are kept
    #[arg(long, default_value_t = 6, value_parser = whole::<usize>(0, 10_000))]
    pub examples: usize,
    /// Memory for the embeddings of one category, in MiB: 2048 unless set, on a GPU half of what is free there.
    /// Photographs beyond it are run twice, which changes no number
    #[arg(long, value_parser = whole::<usize>(0, 1 << 30))]
    pub memory_mib: Option<usize>,
    /// Threads; all cores unless set. Results do not depend on it
    #[arg(long, value_parser = whole::<usize>(1, MAX_THREADS))]
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
    #[arg(long, default_value = "best-miou", value_parser = read::<Select>)]
    pub select: Select,
    /// Which of the stored examples to show: names, or `random:SEED`, or `class:C`
    #[arg(long, num_args = 1.., value_name = "NAME")]
    pub images: Vec<String>,
    /// Set the paper's numbers beside those of the same model and data set
    #[arg(long)]
    pub paper: bool,
    /// The runs are checkpoints of one training: numbers over steps, which the runs' names say
    #[arg(long)]
    pub series: bool,
    /// The step of every run, in their order, where names do not say it: 1000,2000,5000
    #[arg(long, requires = "series", value_delimiter = ',', value_name = "N,...")]
    pub steps: Vec<u64>,
    /// Exit code 1 where this holds of any run (of a series: its last), such as 'nmi_excess > 0.1' or
    /// 'key.9.miou < 0.2'; may be given several times
    #[arg(long, value_name = "CONDITION", value_parser = read::<Condition>)]
    pub fail_if: Vec<Condition>,
    /// Exit code 1 where a run (of a series: the last) is worse than this one, with intervals apart
    #[arg(long, value_name = "RUN")]
    pub baseline: Option<PathBuf>,
    /// What was asked and found, as Markdown (.md) or JUnit (.xml)
    #[arg(long, value_name = "FILE", value_parser = read::<SummaryFile>)]
    pub summary: Option<SummaryFile>,
    #[command(flatten)]
    pub look: LookArgs,
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
    #[arg(long, value_parser = whole::<usize>(1, MAX_THREADS))]
    pub threads: Option<usize>,
}
