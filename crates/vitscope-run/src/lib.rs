//! The run directory: its format, and nothing else.
//!
//! Whatever writes a run directory or reads one does it through this crate, so that there is one
//! definition of every word in it and one parser of every file.
//!
//! - [`Run::open`] reads a directory: its [`Record`] (`run.json`) and its [`Metrics`] (`metrics.csv`).
//!   [`Run::finished`] does the same and refuses a run that is not complete, or whose files have changed since.
//! - [`Facet`], [`Slot`] (a layer's facet), [`Subject`] (what a number is about: a slot, a layer's
//!   attention, the ground truth) and [`Select`] (which layer stands for a facet) are the words.
//! - [`Table`] writes `metrics.csv`; [`NUMBERS`] lists every number that may stand in it, with its unit,
//!   its range and where it is defined.
//! - [`settings::effect`] says what a setting can change, and so whether two runs are the same but
//!   for it.
//! - [`Session`] is a run directory at work: begun, interrupted or complete, and tidied. [`Folder`] is a
//!   folder of results that is no run. Both are locked, and neither touches what is not ours.
//! - [`files`] writes a file whole or not at all; [`tensors`] reads and writes safetensors files one
//!   tensor at a time; [`names`] says what the files of a run are called.
//!
//! A directory as it may be read while the run goes on:
//!
//! ```text
//! run.json               what the run was, and how far it has come
//! metrics.csv            one row per number
//! codebooks.safetensors  "{facet}.{layer}" [K, D] f32 unit rows; "match.{facet}.{layer}" [K] i64, the class of
//!                        each cluster, -1 for none
//! counts.safetensors     "confusion.{facet}.{layer}" [K, C] i64; "position.{facet}.{layer}" and
//!                        "position.ground_truth" [K or C, Hp, Wp] u32 (or at every pixel)
//! samples.safetensors    "miou.{facet}.{layer}" [R] f64: mIoU of the bootstrap samples of the test images, the same
//!                        samples in every run of one seed over as many images
//! soft.safetensors       "soft.{facet}.{layer}" [K, Hp, Wp] f32: how probable each cluster is at each patch, in the
//!                        mean over test images; absent where that was not summed
//! patches.safetensors    "patches.{facet}.{layer}" [E, N, r] i8: every patch of the first E examples, in 32nds, in a basis of r
//!                        directions, at the layers that are shown; "patch_rest.{facet}.{layer}" [1] f64: the share of what lies outside that
//!                        goes to cosines; "patch_error.{facet}.{layer}" [1] f64: by how much those are off
//! transforms.safetensors where vectors were edited before they were probed: the arrays of every slot's transform
//! aggregate/, labels/, images/, figures/, report.html
//! state/                 unfinished work, until the figures exist
//! ```
//!
//! ```
//! use vitscope_run::{Facet, Part, Run, Select, Slot, Subject, Table};
//!
//! let dir = tempfile::tempdir()?;
//! let slot = Slot { facet: Facet::Key, layer: 9 };
//! let mut table = Table::new("vit_base", "dino", "B");
//! table.add(Subject::Slot(slot), "miou", Part::Whole, Some(0.25), None);
//! table.write(&dir.path().join(vitscope_run::names::METRICS))?;
//! std::fs::write(dir.path().join(vitscope_run::names::RECORD), r#"{"format": 1, "state": "complete"}"#)?;
//!
//! let run = Run::finished(dir.path())?;
//! assert_eq!(run.metrics.value(Subject::Slot(slot), "miou"), Some(0.25));
//! assert_eq!(run.selected(Facet::Key, Select::BestMiou), Some(9));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decimals;
mod error;
pub mod files;
mod folder;
pub mod limits;
mod metrics;
pub mod names;
mod numbers;
pub mod plain;
mod proof;
mod record;
mod run;
mod select;
pub mod session;
pub mod settings;
mod slot;
mod state;
pub mod tensors;
mod varying;

pub use decimals::decimals;
pub use error::RunError;
pub use folder::{Folder, apart, whole};
pub use metrics::{COLUMNS, EARNED, Measured, Metrics, Part, Row, Table, cell, to_csv};
pub use numbers::{NUMBERS, Number, number};
pub use record::{
    ClassRecord, DataRecord, Decision, Fixed, Machine, ModelRecord, Program, Record, RunKind,
    RunState, Skipped,
};
pub use run::Run;
pub use select::Select;
pub use session::Session;
pub use slot::{Facet, Slot, Subject};
pub use varying::{Varying, facts, in_order, named_settings};

/// The version of the run directory's format that this crate writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
