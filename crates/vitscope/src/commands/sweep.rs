//! `vitscope sweep`.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;
use vitscope_sweep::{
    Again, Attentive, Cost, Ended, Local, Pages, Piece, Plan, PlannedJob, Reported, Standing,
    StopAsked, Sweep, SweepError, Watch as _, Weights, cores, is_done, slurm, whole,
};

use super::compare::columns;
use super::locate::DownloadTeller;
use super::note::note;
use super::probe::{bytes, duration};
use super::threads::use_threads;
use crate::args::{
    Cli, ExecutorArgs, ExecutorWord, Output, PlanArgs, SweepArgs, SweepVerb, TaskArgs,
};
use crate::exit::missed;
use crate::progress::{SweepTeller, Teller};
use crate::stdout::print;

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
            dry_run(cli, &sweep, &args.set, args.no_estimate)
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
            let reported = vitscope_sweep::report(&sweep)?;
            print_report(cli, &sweep, &reported)
        }
        (Some(SweepVerb::Script(plan)), _) => {
            let sweep = of(plan, Weights::AsTheyAre)?;
            let program = std::env::current_exe()?;
            print(&slurm::scripts(
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
        let submitted = slurm::submit(sweep, jobs, &local.program, &local.more)?;
        return print_submitted(cli, sweep, &submitted);
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
    match vitscope_sweep::report(sweep) {
        Ok(reported) => print_report(cli, sweep, &reported),
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

/// A table of all jobs with what they would take, and what they would take together.
fn dry_run(cli: &Cli, sweep: &Sweep, set: &[String], bare: bool) -> anyhow::Result<()> {
    let local = local(None, set)?;
    let pending: Vec<&PlannedJob> = sweep
        .pending()
        .into_iter()
        .filter(|job| job.problems.is_empty())
        .collect();
    let pieces = whole(sweep, pending);
    let mut costs: Vec<(Piece, Result<Option<Cost>, String>)> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let cost = match bare {
            true => Ok(vitscope_sweep::remembered(sweep, piece)),
            false => {
                note(
                    cli,
                    &format!("rehearsing {} of {}", index + 1, pieces.len()),
                )?;
                match local.rehearse(sweep, piece) {
                    Err(SweepError::Stopped) => return Err(SweepError::Stopped.into()),
                    Err(error) => Err(error.to_string()),
                    Ok(cost) => Ok(cost),
                }
            }
        };
        costs.push((piece.clone(), cost));
    }
    let known = || {
        costs
            .iter()
            .filter_map(|(_, cost)| cost.as_ref().ok()?.as_ref())
    };
    let secs = known()
        .map(|cost| cost.secs)
        .fold(0.0, |all, secs| all + secs);
    let disk: u64 = known().map(|cost| cost.disk).sum();
    let scratch = known().map(|cost| cost.scratch).max().unwrap_or(0);
    let memory = known().filter_map(|cost| cost.memory).max();
    let unknown = costs
        .iter()
        .filter(|(_, cost)| !matches!(cost, Ok(Some(_))))
        .count();
    if cli.output() == Output::Json {
        return print(&serde_json::to_string(&json!({
            "jobs": jobs_json(sweep),
            "pieces": costs.iter().map(|(piece, cost)| json!({
                "piece": piece.to_string(),
                "cost": cost.as_ref().ok(),
                "problem": cost.as_ref().err(),
            })).collect::<Vec<_>>(),
            "secs": secs, "memory": memory, "disk": disk, "scratch": scratch, "unknown": unknown,
        }))?);
    }
    let mut rows = vec![["run", "state", "pass", "time", "memory", "disk"].map(str::to_owned)];
    for job in &sweep.jobs {
        let place = costs
            .iter()
            .position(|(piece, _)| piece.names().contains(&job.name));
        let [time, memory, disk] = match place.map(|place| &costs[place]) {
            // What is made together takes its time together: told once, in its first line.
            Some((piece, Ok(Some(cost)))) if piece.names()[0] == job.name => [
                duration(cost.secs),
                cost.memory.map_or("-".to_owned(), bytes),
                bytes(cost.disk),
            ],
            Some((_, Ok(Some(_)))) => ["\"", "\"", "\""].map(str::to_owned),
            Some((_, Err(_))) => ["fails", "", ""].map(str::to_owned),
            _ => ["-", "-", "-"].map(str::to_owned),
        };
        rows.push([
            job.name.clone(),
            sweep.standing(job).word().to_owned(),
            place.map_or("-".to_owned(), |place| (place + 1).to_string()),
            time,
            memory,
            disk,
        ]);
    }
    let mut text = columns(&rows);
    let _ = writeln!(
        text,
        "\n{}, {} of them done, {} to make\ntime      {} one after another on this machine\nmemory    {} at most\ndisk      {}, and {} while facets are kept",
        plural(sweep.jobs.len(), "job", "jobs"),
        sweep
            .jobs
            .iter()
            .filter(|job| is_done(&sweep.run(&job.name)))
            .count(),
        plural(costs.len(), "pass", "passes"),
        duration(secs),
        memory.map_or("-".to_owned(), bytes),
        bytes(disk),
        bytes(scratch),
    );
    text += &left_out(unknown, bare);
    let mut why: Vec<String> = costs
        .iter()
        .filter_map(|(piece, cost)| Some(format!("{}: {}", piece.names()[0], cost.as_ref().err()?)))
        .collect();
    why.extend(problems(sweep));
    print(&(text + &lines(&why)))
}

/// What keeps jobs from beginning, each sentence once, and what a cluster would be asked for without an estimate.
fn problems(sweep: &Sweep) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for problem in sweep.jobs.iter().flat_map(|job| &job.problems) {
        if !list.contains(problem) {
            list.push(problem.clone());
        }
    }
    if sweep.plan.slurm.is_said {
        list.extend(slurm::unestimated(sweep, &sweep.pending()));
    }
    list
}

fn lines(list: &[String]) -> String {
    match list.is_empty() {
        true => String::new(),
        false => format!("\n{}\n", list.join("\n")),
    }
}

fn jobs_json(sweep: &Sweep) -> Vec<serde_json::Value> {
    let object = |job: &PlannedJob| {
        json!({
            "run": sweep.run(&job.name),
            "name": job.name,
            "command": job.spec.work.kind().name(),
            "keys": job.spec.keys,
            "images": job.images,
            "standing": sweep.standing(job),
        })
    };
    sweep.jobs.iter().map(object).collect()
}

/// How far each job has come.
fn states(sweep: &Sweep, queued: &[(String, String)]) -> String {
    let mut rows = vec![["run", "state", "queue", ""].map(str::to_owned)];
    for job in &sweep.jobs {
        let standing = sweep.standing(job);
        let queue = queued.iter().find(|(name, _)| *name == job.name);
        rows.push([
            job.name.clone(),
            standing.word().to_owned(),
            queue.map_or(String::new(), |(_, state)| state.to_lowercase()),
            standing.why().to_owned(),
        ]);
    }
    columns(&rows)
}

fn counted(sweep: &Sweep) -> String {
    let words = [
        "done",
        "failed",
        "running",
        "interrupted",
        "waiting",
        "missing",
    ];
    let count = |word: &str| {
        let jobs = sweep.jobs.iter();
        jobs.filter(|job| sweep.standing(job).word() == word)
            .count()
    };
    let parts: Vec<String> = words
        .iter()
        .map(|word| (count(word), word))
        .filter(|(count, word)| *count > 0 || **word == "done")
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let all = plural(sweep.jobs.len(), "job", "jobs");
    format!("{all}: {}\n", parts.join(", "))
}

fn status(cli: &Cli, sweep: &Sweep) -> anyhow::Result<()> {
    let queued = slurm::queued(sweep)?;
    match cli.output() {
        Output::Json => print(&serde_json::to_string(&json!({
            "jobs": jobs_json(sweep),
            "comparison": sweep.pages(),
            "queued": queued,
        }))?),
        Output::Human => print(&format!(
            "{}\n{}{}",
            states(sweep, &queued),
            counted(sweep),
            compared(sweep, &queued)
        )),
    }
}

/// How far the comparison has come.
fn compared(sweep: &Sweep, queued: &[(String, String)]) -> String {
    let queue = queued.iter().find(|(name, _)| name == slurm::COMPARISON);
    let told = match (sweep.pages(), queue) {
        (Pages::Early, None) => return String::new(),
        (Pages::Current, None) => "holds every run that is done".to_owned(),
        (Pages::Running { host }, None) => format!("{host} is at work on it"),
        (Pages::Behind { why }, None) => {
            format!(
                "{why}: the same `vitscope sweep` command makes it when it has made what is left"
            )
        }
        (Pages::Refused { why }, None) => format!("could not be made: {why}"),
        (Pages::Behind { why } | Pages::Refused { why }, Some((_, state))) => {
            format!("{why}, and is in the queue: {}", state.to_lowercase())
        }
        (_, Some((_, state))) => format!("in the queue: {}", state.to_lowercase()),
    };
    format!("comparison: {told}\n")
}

fn print_submitted(cli: &Cli, sweep: &Sweep, made: &slurm::Submission) -> anyhow::Result<()> {
    if cli.output() == Output::Json {
        return print(&serde_json::to_string(&json!({
            "submitted": made.arrays,
            "note": made.note,
        }))?);
    }
    if let Some(text) = &made.note {
        note(cli, text)?;
    }
    let line = |own: &slurm::Submitted| format!("submitted {} of {}\n", own.id, own.list.display());
    if !made.arrays.is_empty() {
        return print(&made.arrays.iter().map(line).collect::<String>());
    }
    print(&format!("nothing to submit: {}", left(sweep)?))
}

/// What there is where nothing is to be submitted.
fn left(sweep: &Sweep) -> anyhow::Result<String> {
    let queued = slurm::queued(sweep)?;
    let is_free = |job: &&PlannedJob| queued.iter().all(|(name, _)| *name != job.name);
    let free = sweep.pending().into_iter().filter(is_free).count();
    let all = "every job is done or in the queue";
    Ok(match (free, sweep.pages()) {
        (0, Pages::Running { host }) => format!("{all}, and {host} makes the comparison"),
        (0, Pages::Current) => format!("{all}, and the comparison holds all that is done"),
        (0, Pages::Refused { why }) => format!("{all}, and nothing was compared: {why}"),
        (0, _) => format!("{all}, the comparison too"),
        _ => format!(
            "{} not done and not in the queue",
            plural(free, "job is", "jobs are")
        ),
    })
}

/// Which passes the sums of a dry run do not hold; nothing where they hold all.
fn left_out(passes: usize, bare: bool) -> String {
    let why = match bare {
        true => "since no rehearsals were made",
        false => "since attention and correspond have no rehearsal, or one failed",
    };
    match passes {
        0 => String::new(),
        _ => format!(
            "not in these sums: {}, {why}\n",
            plural(passes, "pass", "passes")
        ),
    }
}

/// "1 pass", "2 passes".
fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The final table, and an error where a job failed.
fn print_report(cli: &Cli, sweep: &Sweep, reported: &Reported) -> anyhow::Result<()> {
    match cli.output() {
        Output::Json => print(&serde_json::to_string(&json!({
            "jobs": jobs_json(sweep),
            "report": reported,
        }))?)?,
        Output::Human => {
            for text in &reported.notes {
                note(cli, text)?;
            }
            let mut text = format!("{}\n{}", states(sweep, &[]), counted(sweep));
            for named in &reported.named {
                let _ = match (&named.why, named.files.len()) {
                    (Some(why), _) => writeln!(text, "{}: not made: {why}", named.name),
                    (None, 1) => writeln!(text, "{}: {}", named.name, named.files[0].display()),
                    (None, count) => writeln!(
                        text,
                        "{}: {count} files beside {}",
                        named.name,
                        named.files[0].display()
                    ),
                };
            }
            if let Some(page) = &reported.page {
                let _ = writeln!(text, "page: {}", page.display());
            }
            print(&text)?;
        }
    }
    let failed = sweep.failed().len();
    let done = sweep.jobs.len() - reported.missing.len();
    match (failed, &reported.page, reported.notes.last()) {
        // Runs are there, and nothing stands beside anything.
        (0, None, Some(why)) if done > 0 => Err(missed(format!("nothing was compared: {why}"))),
        (0, None, _) if done == 0 => note(cli, "nothing is done yet, so nothing was compared"),
        (0, ..) => Ok(()),
        _ => Err(SweepError::Failed {
            failed,
            all: sweep.jobs.len(),
        }
        .into()),
    }
}
