//! What `sweep` can be typed with.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use vitscope_study::settings::MAX_THREADS;

use super::whole;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SweepArgs {
    #[command(subcommand)]
    pub verb: Option<SweepVerb>,
    /// The plan: a TOML file
    #[arg(required = true)]
    pub plan: Option<PathBuf>,
    /// Say what there is to do, and what it takes in time, memory and disk by a rehearsal of each piece,
    /// and do no more
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: no rehearsals, only what there is to do
    #[arg(long, requires = "dry_run")]
    pub no_estimate: bool,
    #[command(flatten)]
    pub executor: ExecutorArgs,
    /// What the plan's table [define] names, in place of what stands there; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// Which plan.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The plan: a TOML file
    pub plan: PathBuf,
    /// What the plan's table [define] names, in place of what stands there; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// Who does the work.
#[derive(Clone, Debug, Args)]
pub struct ExecutorArgs {
    /// Who does the work: this machine, or Slurm
    #[arg(long, value_enum, default_value = "local")]
    pub executor: ExecutorWord,
    /// Jobs at once on this machine, which share its cores: a number, or auto for as many as fit into
    /// memory
    #[arg(long, default_value = "1", value_parser = jobs)]
    pub jobs: Jobs,
}

/// Jobs at once; nothing for as many as fit.
#[derive(Clone, Copy, Debug)]
pub struct Jobs(pub Option<usize>);

fn jobs(text: &str) -> Result<Jobs, String> {
    match text {
        "auto" => Ok(Jobs(None)),
        _ => match text.parse() {
            Ok(count @ 1..=4096) => Ok(Jobs(Some(count))),
            _ => Err("expected a number from 1 to 4096, or auto".to_owned()),
        },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExecutorWord {
    Local,
    Slurm,
}

#[derive(Debug, Subcommand)]
pub enum SweepVerb {
    /// How far each job has come, and why what failed did
    Status(PlanArgs),
    /// Do again what failed or was interrupted
    Retry {
        #[command(flatten)]
        plan: PlanArgs,
        #[command(flatten)]
        executor: ExecutorArgs,
    },
    /// Compare what is done, and make the figures and tables that the plan names
    Report(PlanArgs),
    /// Print the scripts that `--executor slurm` would submit
    Script(PlanArgs),
    /// Do one piece of work of a plan: what a scheduler's script calls
    Task(TaskArgs),
}

#[derive(Debug, Args)]
pub struct TaskArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Which piece, from 0: of the plan, or of the list
    #[arg(long, required_unless_present = "piece")]
    pub index: Option<usize>,
    /// A list of pieces, one a line, that `sweep` has written
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    /// The piece itself, as a line of such a list
    #[arg(long, conflicts_with_all = ["index", "list"], value_name = "LINE")]
    pub piece: Option<String>,
    /// Threads [default: what the scheduler gives, else all cores]
    #[arg(long, value_parser = whole::<usize>(1, MAX_THREADS))]
    pub threads: Option<usize>,
    /// Stop when stdin ends
    #[arg(long, hide = true)]
    pub with_parent: bool,
    /// Rehearse the piece, and remember what it takes
    #[arg(long, hide = true)]
    pub rehearse: bool,
}
