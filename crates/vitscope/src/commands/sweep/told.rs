//! What a sweep says: how far its jobs are, what was submitted, and what it came to.

use std::fmt::Write;

use serde_json::json;
use vitscope_sweep::{Pages, PlannedJob, Reported, Sweep, SweepError, is_done, slurm};

use crate::args::{Cli, Output};
use crate::commands::compare::columns;
use crate::commands::note::note;
use crate::exit::missed;
use crate::stdout::{print, print_exactly};

pub(super) fn jobs_json(sweep: &Sweep) -> Vec<serde_json::Value> {
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
pub(super) fn states(sweep: &Sweep, queued: &[(String, String)]) -> String {
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

pub(super) fn counted(sweep: &Sweep) -> String {
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

pub(super) fn status(cli: &Cli, sweep: &Sweep) -> anyhow::Result<()> {
    let queued = slurm::queued(sweep)?;
    match cli.output() {
        Output::Json => print_exactly(&serde_json::to_string(&json!({
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

pub(super) fn print_submitted(
    cli: &Cli,
    sweep: &Sweep,
    made: &slurm::Submission,
) -> anyhow::Result<()> {
    if cli.output() == Output::Json {
        return print_exactly(&serde_json::to_string(&json!({
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

/// "1 pass", "2 passes".
pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The final table, and an error where a job failed.
pub(super) fn print_report(cli: &Cli, sweep: &Sweep, reported: &Reported) -> anyhow::Result<()> {
    match cli.output() {
        Output::Json => print_exactly(&serde_json::to_string(&json!({
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

/// An error where one of the `asked` jobs is not done, though none failed: somebody else is at work on it.
pub(super) fn all_done(sweep: &Sweep, asked: &[&PlannedJob]) -> anyhow::Result<()> {
    let left = |job: &&&PlannedJob| !is_done(&sweep.run(&job.name));
    match asked.iter().filter(left).count() {
        0 => Ok(()),
        count => Err(missed(format!(
            "{} not done: `vitscope sweep status` says who is at work on what is running, and the same command does what is left",
            plural(count, "job is", "jobs are")
        ))),
    }
}
