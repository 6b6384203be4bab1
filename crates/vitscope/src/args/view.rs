//! What `vitscope view` takes.

use std::path::PathBuf;

use clap::Args;
use vitscope_study::settings::MAX_THREADS;

use super::limits::MAX_SIDE;
use super::model::ModelArgs;
use super::words::whole;

#[derive(Debug, Args)]
pub struct ViewArgs {
    /// Run directories, which are opened as they were read, and checkpoints, side by side: a file or a folder, a short
    /// name of `vitscope models`, or a Hugging Face id
    #[arg(required = true, num_args = 1..=4, value_name = "RUN|MODEL")]
    pub what: Vec<PathBuf>,
    /// Data set to pick images from and to fit colors on: `kind:root`, a directory, or a TOML description
    /// [default: the first run's]
    #[arg(long)]
    pub data: Option<String>,
    /// The port on 127.0.0.1; 0 is any that is free
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Side of the square crop of a model that comes without a run, in pixels; the nearest multiple of the patch is used
    #[arg(long, default_value_t = 320, value_parser = whole::<usize>(1, MAX_SIDE))]
    pub size: usize,
    #[command(flatten)]
    pub settle: ModelArgs,
    /// Threads; all cores unless set
    #[arg(long, value_parser = whole::<usize>(1, MAX_THREADS))]
    pub threads: Option<usize>,
}
