//! `vitscope sweep`.

mod dry_run;
mod told;

use std::path::Path;

use vitscope_sweep::{
    Again, Attentive, Ended, Local, Piece, Plan, PlannedJob, Standing, StopAsked, Sweep,
    SweepError, Watch as _, Weights, cores, slurm, whole,
};

use self::dry_run::dry_run;
use self::told::{all_done, counted, plural, print_report, print_submitted, states, status};
use super::locate::DownloadTeller;
use super::note::note;
use super::threads::use_threads;
use crate::args::{
    Cli, ExecutorArgs, ExecutorWord, Output, PlanArgs, SweepArgs, SweepVerb, TaskArgs,
};
use crate::progress::{SweepTeller, Teller};
use crate::stdout::{print, print_exactly};

/// Does what was typed with a plan.
pub fn run(cli: &Cli, args: &SweepArgs) -> anyhow::Result<()> {
    let open = |plan: &Path, set: &[String], weights| -> anyhow::Result<Sweep> {
        let plan = Plan::read(plan, set)?;
        Ok(Sweep::open(plan, weights, &mut DownloadTeller::new(cli))?)
    };
    let of = |args: &PlanArgs, weights| open(&args.plan, &args.set, weights);
    match (&args.verb, &args.plan) {
        (None, Some(plan)) if args.dry_run => {
            let sweep = open(plan, &args.set, Weights::AsTheyAre)?;
            dry_run(cli, &sweep, &local(None, &args.set)?, args.no_estimate)
        }
        (None, Some(plan)) => {
            let sweep = open(plan, &args.set, Weights::Fetched)?;
            sweep.ready()?;
            make(cli, &sweep, &sweep.pending(), &args.executor, &args.set)
        }
        (Some(SweepVerb::Status(plan)), _) => status(cli, &of(plan, Weights::AsTheyAre)?),
        (Some(SweepVerb::Retry { plan, executor }), _) => {
            let sweep = of(plan, Weights::Fetched)?;
            sweep.ready()?;
            let again = sweep.to_retry();
            let queued = slurm::queued(&sweep)?;
            let is_open = |job: &&&PlannedJob| {
                let is_queued = queued.iter().any(|(name, _)| *name == job.name);
                sweep.standing(job) == Standing::Waiting && !is_queued
            };
            let waiting = sweep.pending().iter().filter(is_open).count();
            if again.is_empty() && waiting > 0 {
                let what = plural(waiting, "other job is", "other jobs are");
                let why = "no job failed or was interrupted";
                note(
                    cli,
                    &format!(
                        "{why}; {what} not done: that is for `vitscope sweep` without `retry`"
                    ),
                )?;
            }
            make(cli, &sweep, &again, executor, &plan.set)
        }
        (Some(SweepVerb::Report(plan)), _) => {
            let sweep = of(plan, Weights::AsTheyAre)?;
            let reported = vitscope_sweep::report(&sweep, &mut Teller::new(cli))?;
            print_report(cli, &sweep, &reported)
        }
        (Some(SweepVerb::Script(plan)), _) => {
            let sweep = of(plan, Weights::AsTheyAre)?;
            let program = std::env::current_exe()?;
            print_exactly(&slurm::scripts(
                &sweep,
                &sweep.pending(),
                &program,
                &typed(&plan.set),
            ))
        }
        (Some(SweepVerb::Task(task)), _) => {
            // Before anything else: a signal that nobody listens for ends a process.
            let asked = StopAsked::listen(task.with_parent);
            // Before anything uses threads.
            use_threads(Some(task.threads.unwrap_or_else(cores)))?;
            let weights = match slurm::is_task() {
                // The process that submitted it has fetched them.
                true => Weights::AsTheyAre,
                false => Weights::Fetched,
            };
            work(cli, &of(&task.plan, weights)?, task, &asked)
        }
        (None, None) => Ok(()),
    }
}

/// Definitions as a process that is started needs them.
fn typed(set: &[String]) -> Vec<String> {
    let words = set
        .iter()
        .flat_map(|text| ["--set".to_owned(), text.clone()]);
    words.collect()
}

fn local(executor: Option<&ExecutorArgs>, set: &[String]) -> anyhow::Result<Local> {
    Ok(Local {
        program: std::env::current_exe()?,
        more: typed(set),
        jobs: executor.map_or(Some(1), |executor| executor.jobs.0),
    })
}

/// Makes the runs of some jobs.
fn make(
    cli: &Cli,
    sweep: &Sweep,
    jobs: &[&PlannedJob],
    executor: &ExecutorArgs,
    set: &[String],
) -> anyhow::Result<()> {
    let local = local(Some(executor), set)?;
    if executor.executor == ExecutorWord::Slurm {
        let submitted = slurm::submit(
            sweep,
            jobs,
            &local.program,
            &local.more,
            &mut Teller::new(cli),
        )?;
        if submitted.is_whole || !submitted.arrays.is_empty() {
            print_submitted(cli, sweep, &submitted)?;
        }
        return match submitted.is_whole {
            true => Ok(()),
            false => Err(SweepError::Stopped.into()),
        };
    }
    let pieces = whole(sweep, jobs.iter().copied());
    let mut teller = SweepTeller::new(cli, sweep.jobs.len(), jobs.len());
    let ended = local.run(sweep, pieces, &mut teller)?;
    let stopped = teller.stop()
        || ended
            .iter()
            .any(|(_, ended)| matches!(ended, Ended::Stopped));
    drop(teller);
    if stopped {
        return Err(SweepError::Stopped.into());
    }
    match vitscope_sweep::report(sweep, &mut Teller::new(cli)) {
        Ok(reported) => {
            print_report(cli, sweep, &reported)?;
            all_done(sweep, jobs)
        }
        // What is done is told even where it cannot be compared, as on a full disk.
        Err(error) => {
            if cli.output() == Output::Human {
                print(&format!("{}\n{}", states(sweep, &[]), counted(sweep)))?;
            }
            Err(error.into())
        }
    }
}

/// Does one piece of work.
fn work(cli: &Cli, sweep: &Sweep, task: &TaskArgs, asked: &StopAsked) -> anyhow::Result<()> {
    let piece: Piece = match (&task.piece, &task.list, task.index) {
        (Some(line), _, _) => line.parse().map_err(SweepError::Usage)?,
        (None, list, index) => {
            let pieces = match list {
                Some(list) => slurm::read_list(list)?,
                None => whole(sweep, &sweep.jobs),
            };
            let index = index.unwrap_or(0);
            pieces.get(index).cloned().ok_or_else(|| {
                SweepError::Usage(format!(
                    "there is no piece {index}: there are {}, from 0",
                    pieces.len()
                ))
            })?
        }
    };
    let mut teller = Teller::new(cli);
    let mut attentive = Attentive {
        observer: &mut teller,
        asked: asked.clone(),
    };
    if task.rehearse {
        vitscope_sweep::rehearse(sweep, &piece, &mut attentive)?;
        return Ok(());
    }
    match vitscope_sweep::work(sweep, &piece, &mut attentive) {
        Err(SweepError::Stopped) if slurm::is_task() => {
            let again = match asked.time_is_up() {
                true => slurm::requeue(sweep),
                false => Again::Unknown,
            };
            Err(SweepError::Preempted(again).into())
        }
        result => Ok(result?),
    }
}
