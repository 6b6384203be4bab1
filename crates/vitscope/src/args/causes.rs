//! What `vitscope causes` can be told.

use std::path::PathBuf;

use clap::Args;
use vitscope_study::settings::MAX_THREADS;

use super::limits::{MANY, MAX_RESAMPLES, MAX_SIDE};
use super::model::ModelArgs;
use super::slots::SlotArgs;
use super::words::whole;

#[derive(Debug, Args)]
pub struct CausesArgs {
    /// A checkpoint: a file or a folder, a short name of `vitscope models`, or a Hugging Face id
    pub model: PathBuf,
    /// Data set: `kind:root`, a directory, or a TOML description
    #[arg(long)]
    pub data: String,
    /// Run directory [default: runs/MODEL-DATA-causes]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Continue a run that was stopped or killed; it ends in the same bytes as an unbroken one
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub settle: ModelArgs,
    #[command(flatten)]
    pub slots: SlotArgs,
    /// Side of the square crop in pixels; the nearest multiple of the patch is used
    #[arg(long, default_value_t = 320, value_parser = whole::<usize>(1, MAX_SIDE))]
    pub size: usize,
    /// Patches by which the crop is moved [default: a fifth of its side]
    #[arg(long, value_parser = whole::<usize>(1, MAX_SIDE))]
    pub shift: Option<usize>,
    /// Clusters [default: the classes of the data set; 27 without]
    #[arg(long, value_parser = whole::<usize>(2, 255))]
    pub clusters: Option<usize>,
    /// Training steps of the centroids
    #[arg(long, default_value_t = 300, value_parser = whole::<usize>(1, MANY))]
    pub steps: usize,
    /// Only this many training images, the first ones
    #[arg(long, default_value_t = 48, value_parser = whole::<usize>(1, MANY))]
    pub limit_train: usize,
    /// Only this many test images, the first ones
    #[arg(long, default_value_t = 32, value_parser = whole::<usize>(1, MANY))]
    pub limit_test: usize,
    /// Bootstrap samples behind the intervals, and random shifts behind the null of the positional effect
    #[arg(long, default_value_t = 100, value_parser = whole::<usize>(2, MAX_RESAMPLES))]
    pub resamples: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads; all cores unless set. Results do not depend on it
    #[arg(long, value_parser = whole::<usize>(1, MAX_THREADS))]
    pub threads: Option<usize>,
}
