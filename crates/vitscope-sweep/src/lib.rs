//! Many runs as one plan, on one machine or through a cluster's scheduler.
//!
//! - [`Plan`] is a plan as it is written; [`Sweep`] the same with models and data found: every [`PlannedJob`] has
//!   the name of its run, which is the same for the same settings, weights and data.
//! - [`Piece`] is a piece of work: what one process does. Jobs that can share a forward pass are one piece.
//! - [`work()`] does a piece in this process. [`Local`] has processes of this machine do all of them,
//!   [`slurm`] those of a cluster.
//! - [`Standing`] says how far a job has come. The file system is the database: a run directory says that
//!   it is complete, a [`claim`] beside it that somebody works on it. There is no daemon.
//! - [`report()`] compares everything that is done, and makes the figures and tables that a plan names.
//!
//! A sweep's folder:
//!
//! ```text
//! runs/NAME/          the runs, and NAME.claim while somebody works on one
//! shards/I-of-N/NAME  parts of runs, until they are merged
//! comparison/         everything side by side
//! compared.json       of which runs that was made; not there until it is whole
//! reports/, named/    what the plan names
//! logs/, failed/      what processes said, and why jobs failed
//! slurm/              scripts and lists that were submitted
//! demo/               built-in models and data that the plan names
//! hashes.json, estimates/   what need not be computed again
//! .vitscope-sweep     says that the folder is a sweep's
//! ```

mod builtin;
pub mod claim;
mod claims;
mod error;
mod estimate;
mod expand;
mod hashes;
mod jobs;
mod keys;
mod local;
mod machine;
mod naming;
mod number_list;
mod pages;
mod pieces;
mod plan;
mod problems;
mod process;
mod report;
mod report_table;
mod signals;
pub mod slurm;
mod slurm_table;
mod standing;
mod values;
mod work;

pub use error::{Again, SweepError};
pub use estimate::{Cost, can_rehearse, rehearse, remembered};
pub use jobs::{PlannedJob, Sweep, Weights};
pub use keys::{Spec, Work};
pub use local::{Ended, Local, Watch};
pub use machine::cores;
pub use pages::Pages;
pub use pieces::{Piece, groups, whole};
pub use plan::Plan;
pub use process::Process;
pub use report::{Named, Reported, report};
pub use report_table::Report;
pub use signals::{Attentive, StopAsked};
pub use slurm_table::Slurm;
pub use standing::{Standing, is_done};

pub use work::{shard_folder, work};
