//! Slurm as executor: arrays through `sbatch`, on a file system that all machines share.
//!
//! What people get wrong, and how it is done here:
//! - `--signal=B:USR1@180` reaches the batch shell only, so the script's last line is `exec vitscope`.
//! - One element of an array is queued again by `ARRAY_TASK`; its job id alone would take the whole array.
//! - A requeued job's log is emptied unless it is opened to append.
//! - Where preemption cancels, `--requeue` does nothing: the same command again submits what is left.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::slice;

use serde::{Deserialize, Serialize};
use vitscope_run::files;
use vitscope_study::observer::Observer;

use crate::claims::Claims;
use crate::error::{Again, SweepError};
use crate::jobs::{PlannedJob, Sweep};
use crate::pieces::Piece;

mod batches;
mod script;

pub use batches::{Batch, batches};
use batches::{MAX_ARRAY, batches_due, comparing, folder, place};
use script::{job_name, script};
pub use script::{scripts, unestimated};

/// The exit code of a task that was stopped and goes on when it is started again: `EX_TEMPFAIL`.
pub const STOPPED: u8 = 75;

/// An array that was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The scheduler's id of the array.
    pub id: String,
    /// The list of its elements.
    pub list: PathBuf,
}

/// Everything that was submitted for a sweep, oldest first.
#[must_use]
pub fn submitted(sweep: &Sweep) -> Vec<Submitted> {
    let bytes = std::fs::read(folder(sweep).join("submitted.json")).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// What stands in the queue for the comparison, as runs do under their names.
pub const COMPARISON: &str = "comparison";

/// An element that is in the queue or at work.
struct Queued {
    array: String,
    piece: Piece,
    state: String,
}

fn elements(sweep: &Sweep) -> Result<Vec<Queued>, SweepError> {
    let submitted = submitted(sweep);
    if submitted.is_empty() {
        return Ok(Vec::new());
    }
    let name = job_name(sweep);
    let answer = ask(
        "squeue",
        &["--noheader", "--array", "--format=%i %T", "--name", &name],
    )?;
    let mut found = Vec::new();
    for line in answer.lines() {
        let Some((id, state)) = line.trim().split_once(' ') else {
            continue;
        };
        let (array, element) = id.split_once('_').unwrap_or((id, "0"));
        let Some(own) = submitted.iter().find(|own| own.id == array) else {
            continue;
        };
        if let (Ok(mut pieces), Ok(element)) = (read_list(&own.list), element.parse::<usize>())
            && element < pieces.len()
        {
            found.push(Queued {
                array: array.to_owned(),
                piece: pieces.swap_remove(element),
                state: state.trim().to_owned(),
            });
        }
    }
    Ok(found)
}

/// The runs, and the [`COMPARISON`], that are in the queue or at work, as the scheduler says.
///
/// # Errors
/// A sentence, where something was submitted and the scheduler does not answer.
pub fn queued(sweep: &Sweep) -> Result<Vec<(String, String)>, SweepError> {
    let named = |own: Queued| -> Vec<(String, String)> {
        match &own.piece {
            Piece::Compare => vec![(COMPARISON.to_owned(), own.state)],
            piece => {
                let names = piece.names().iter();
                names
                    .map(|name| (name.clone(), own.state.clone()))
                    .collect()
            }
        }
    };
    Ok(elements(sweep)?.into_iter().flat_map(named).collect())
}

/// What was submitted at once.
#[derive(Debug)]
pub struct Submission {
    /// Its arrays.
    pub arrays: Vec<Submitted>,
    /// Whether they are all, since it was not stopped.
    pub is_whole: bool,
    /// What has no estimate.
    pub note: Option<String>,
}

/// Submits what makes these jobs, and the comparison; what is in the queue already, or cannot begin, is left out.
///
/// # Errors
/// What the scheduler answered; [`SweepError::Stopped`], where `observer` asked for it while another process submits.
pub fn submit(
    sweep: &Sweep,
    jobs: &[&PlannedJob],
    program: &Path,
    more: &[String],
    observer: &mut dyn Observer,
) -> Result<Submission, SweepError> {
    // Another process that submits the same: this one then finds its arrays in the queue.
    let _turn = Claims::take(slice::from_ref(&folder(sweep)), observer)?;
    let queued = elements(sweep)?;
    let is_free = |job: &&&PlannedJob| {
        let mut pieces = queued.iter().map(|own| &own.piece);
        pieces.all(|piece| !piece.names().contains(&job.name))
    };
    let jobs = jobs.iter().filter(is_free).copied();
    // What cannot begin fails without being waited for in the queue.
    let jobs: Vec<&PlannedJob> = jobs.filter(|job| job.problems.is_empty()).collect();
    let (compared, at_work): (Vec<&Queued>, Vec<&Queued>) =
        queued.iter().partition(|own| own.piece == Piece::Compare);
    let mut all = match (compared.is_empty(), jobs.is_empty(), at_work.is_empty()) {
        (false, true, _) => Vec::new(),
        // Its element was canceled, and those that it waited for go on.
        (true, true, false) => vec![comparing(Vec::new())],
        _ => batches_due(sweep, &jobs, max_array()),
    };
    if let Some(last) = all.last_mut() {
        last.others = at_work.iter().map(|own| own.array.clone()).collect();
        last.others.dedup();
    }
    let note = script::unestimated_of(sweep, &all);
    let mut before = submitted(sweep);
    let number = |own: &Submitted| -> Option<usize> {
        let name = own.list.file_stem()?.to_str()?;
        name.split_once('-')?.0.parse().ok()
    };
    let submission = before.iter().filter_map(number).max().unwrap_or(0) + 1;
    files::make_dir(&sweep.plan.out.join("logs"))?;
    let mut ids = Vec::new();
    let mut made = Vec::new();
    let mut is_whole = true;
    for (index, batch) in all.iter().enumerate() {
        let list = place(sweep, submission, index, "txt");
        let lines: String = batch
            .pieces
            .iter()
            .map(|piece| format!("{piece}\n"))
            .collect();
        files::write(&list, lines.as_bytes())?;
        let path = place(sweep, submission, index, "sh");
        files::write(&path, script(sweep, batch, &list, program, more).as_bytes())?;
        let mut arguments = vec!["--parsable".to_owned()];
        arguments.extend(
            batch
                .dependency(&ids)
                .map(|dependency| format!("--dependency={dependency}")),
        );
        arguments.push(path.display().to_string());
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // What was submitted before stands, and is not submitted again.
        is_whole = !observer.stop();
        if !is_whole {
            break;
        }
        let answer = ask("sbatch", &words)?;
        let id = answer
            .trim()
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();
        if id.is_empty() {
            return Err(SweepError::Scheduler(
                "sbatch: answered without a job id".to_owned(),
            ));
        }
        ids.push(id.clone());
        let own = Submitted { id, list };
        made.push(own.clone());
        before.push(own);
        // After each: what was submitted is known even if the next is refused.
        let place = folder(sweep).join("submitted.json");
        let text =
            serde_json::to_vec_pretty(&before).map_err(|error| SweepError::file(&place, error))?;
        files::write(&place, &text)?;
    }
    Ok(Submission {
        arrays: made,
        is_whole,
        note,
    })
}

/// The pieces of work in a list.
///
/// # Errors
/// A sentence, for a line that is none.
pub fn read_list(path: &Path) -> Result<Vec<Piece>, SweepError> {
    let text = std::fs::read_to_string(path).map_err(SweepError::io(path, "read"))?;
    let lines = text.lines().map(str::parse);
    lines
        .collect::<Result<_, String>>()
        .map_err(|problem| SweepError::file(path, problem))
}

/// Elements that an array may have.
fn max_array() -> usize {
    let answer = ask("scontrol", &["show", "config"]).unwrap_or_default();
    let line = answer
        .lines()
        .find(|line| line.trim().starts_with("MaxArraySize"));
    let size = line.and_then(|line| line.split_once('=')?.1.trim().parse().ok());
    size.unwrap_or(MAX_ARRAY).max(1)
}

fn ask(program: &str, arguments: &[&str]) -> Result<String, SweepError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // Ctrl-C is for this program, which ends when the answer is noted.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let output = command
        .output()
        .map_err(|error| {
            SweepError::Scheduler(format!(
                "{program}: cannot be started ({error}): run this where Slurm's commands are, or without `executor` slurm"
            ))
        })?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(SweepError::Scheduler(format!(
            "{program}: {}",
            told.trim().replace('\n', "; ")
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether this process is an element of an array.
#[must_use]
pub fn is_task() -> bool {
    std::env::var_os("SLURM_ARRAY_TASK_ID").is_some()
}

/// Queues this element of an array again, unless that was done as often as the plan allows. Slurm may be
/// doing the same already, and then refuses.
#[must_use]
pub fn requeue(sweep: &Sweep) -> Again {
    let number = |name: &str| std::env::var(name).ok();
    let restarts = number("SLURM_RESTART_COUNT").and_then(|text| text.parse().ok());
    let most = sweep.plan.slurm.max_requeues;
    if restarts.unwrap_or(0) >= most {
        return Again::UsedUp(most);
    }
    let element = number("SLURM_ARRAY_JOB_ID").zip(number("SLURM_ARRAY_TASK_ID"));
    let asked = element
        .map(|(array, task)| ask("scontrol", &["requeue", &format!("{array}_{task}")]).is_ok());
    match asked {
        Some(true) => Again::Queued,
        _ => Again::Unknown,
    }
}
