//! Slurm as executor: arrays through `sbatch`, on a file system that all machines share.
//!
//! What people get wrong, and how it is done here:
//! - `--signal=B:USR1@180` reaches the batch shell only, so the script's last line is `exec vitscope`.
//! - One element of an array is queued again by `ARRAY_TASK`; its job id alone would take the whole array.
//! - A requeued job's log is emptied unless it is opened to append.
//! - Where preemption cancels, `--requeue` does nothing: the same command again submits what is left.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use vitscope_run::files;

use crate::error::SweepError;
use crate::estimate::{Cost, remembered};
use crate::jobs::{PlannedJob, Sweep};
use crate::plan::PlanProblems;
use crate::units::{Unit, groups, whole};

/// Elements of an array where the scheduler does not say how many there may be.
const MAX_ARRAY: usize = 1000;

/// Seconds before the end of its time at which a task is told.
const WARNING: u32 = 180;

/// The exit code of a task that was stopped and goes on when it is started again: `EX_TEMPFAIL`.
pub const STOPPED: u8 = 75;

/// What `[slurm]` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slurm {
    /// `--partition`, `--account`, `--qos`, `--constraint`, `--time`, `--mem`, where they are said.
    options: Vec<(&'static str, String)>,
    /// Cores of a task.
    pub cpus: Option<usize>,
    /// Cards of a task.
    pub gpus: usize,
    /// Elements of an array at work at once.
    pub max_parallel: Option<usize>,
    /// How often a task may queue itself again when its time is up.
    pub max_requeues: usize,
    /// Lines before the program.
    pub setup: Vec<String>,
    /// Further options, as they are.
    pub extra: Vec<String>,
}

const OPTIONS: [&str; 6] = ["partition", "account", "qos", "constraint", "time", "mem"];

impl Slurm {
    pub(crate) fn read(table: &Table, problems: &mut PlanProblems) -> Self {
        let mut slurm = Self {
            max_requeues: 3,
            ..Self::default()
        };
        for (key, value) in table {
            let place = format!("[slurm] {key}");
            let option = OPTIONS.into_iter().find(|option| option == key);
            match (option, key.as_str(), value) {
                (Some(_), _, Value::String(text)) if text.is_empty() => {}
                (Some(_), _, Value::String(text)) if text.contains(['\n', '\r']) => {
                    problems.add(&place, "expected one line of text");
                }
                (Some(option), _, Value::String(text)) => {
                    slurm.options.push((option, text.clone()));
                }
                (_, "cpus", &Value::Integer(count)) if count > 0 => {
                    slurm.cpus = Some(count as usize);
                }
                (_, "gpus", &Value::Integer(count)) if count >= 0 => slurm.gpus = count as usize,
                (_, "max_parallel", &Value::Integer(count)) if count > 0 => {
                    slurm.max_parallel = Some(count as usize);
                }
                (_, "max_requeues", &Value::Integer(count)) if count >= 0 => {
                    slurm.max_requeues = count as usize;
                }
                (_, "setup" | "extra", Value::Array(list)) => {
                    let lines = list.iter().map(|line| line.as_str().map(str::to_owned));
                    match lines.collect::<Option<Vec<String>>>() {
                        Some(lines) if key == "setup" => slurm.setup = lines,
                        Some(lines) => slurm.extra = lines,
                        None => problems.add(&place, "expected lines of text"),
                    }
                }
                (None, "cpus" | "gpus" | "max_parallel" | "max_requeues" | "setup" | "extra", _)
                | (Some(_), _, _) => {
                    problems.add(&place, "is of the wrong kind: texts for options, numbers for counts, lists of texts for setup and extra");
                }
                _ => problems.add(
                    &place,
                    format!(
                        "is no setting of Slurm here: there are {}, cpus, gpus, max_parallel, max_requeues, setup, extra",
                        OPTIONS.join(", ")
                    ),
                ),
            }
        }
        slurm
    }
}

/// One array, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its elements.
    pub units: Vec<Unit>,
    /// What must have ended well before it: another batch, or one element of it.
    after: Vec<(usize, Option<usize>)>,
    /// Whether it is enough that they have ended.
    anyhow: bool,
}

/// The arrays that make these jobs: whole runs and first parts, then the other parts, then their merging,
/// and a comparison when all have ended.
#[must_use]
pub fn batches(sweep: &Sweep, jobs: &[&PlannedJob], most: usize) -> Vec<Batch> {
    let (sharded, plain): (Vec<&PlannedJob>, Vec<&PlannedJob>) =
        jobs.iter().partition(|job| job.spec.shards > 1);
    let mut first = whole(sweep, plain);
    let sharded: Vec<(Vec<String>, usize)> = groups(sweep, sharded)
        .into_iter()
        .map(|group| {
            let names = group.iter().map(|job| job.name.clone()).collect();
            (names, group[0].spec.shards)
        })
        .collect();
    // Which element trains for a group of parts.
    let mut trainers = Vec::new();
    for (names, of) in &sharded {
        trainers.push(first.len());
        first.push(Unit::Shard {
            names: names.clone(),
            index: 1,
            of: *of,
        });
    }
    let mut all: Vec<Batch> = first
        .chunks(most.max(1))
        .map(|units| Batch {
            units: units.to_vec(),
            after: Vec::new(),
            anyhow: false,
        })
        .collect();
    for ((names, of), trainer) in sharded.into_iter().zip(trainers) {
        let trained = (trainer / most.max(1), Some(trainer % most.max(1)));
        let rest: Vec<Unit> = (2..=of)
            .map(|index| Unit::Shard {
                names: names.clone(),
                index,
                of,
            })
            .collect();
        let mut parts = Vec::new();
        for units in rest.chunks(most.max(1)) {
            parts.push((all.len(), None));
            all.push(Batch {
                units: units.to_vec(),
                after: vec![trained],
                anyhow: false,
            });
        }
        all.push(Batch {
            units: vec![Unit::Merge { names, of }],
            after: parts,
            anyhow: false,
        });
    }
    if !all.is_empty() {
        all.push(Batch {
            units: vec![Unit::Compare],
            after: (0..all.len()).map(|batch| (batch, None)).collect(),
            anyhow: true,
        });
    }
    all
}

impl Batch {
    /// `--dependency`, given the ids of the batches before it.
    fn dependency(&self, ids: &[String]) -> Option<String> {
        let place = |(batch, element): &(usize, Option<usize>)| match element {
            Some(element) => format!("{}_{element}", ids[*batch]),
            None => ids[*batch].clone(),
        };
        let places: Vec<String> = self.after.iter().map(place).collect();
        let kind = if self.anyhow { "afterany" } else { "afterok" };
        (!places.is_empty()).then(|| format!("{kind}:{}", places.join(":")))
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// An option's value as `sbatch` reads it in a script: one word, in quotes where it has blanks or signs of its own.
fn worded(value: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:%,=+@".contains(letter);
    match value.chars().all(plain) && !value.is_empty() {
        true => value.to_owned(),
        false => quoted(value),
    }
}

/// The pattern of the logs of an array: a sign `%` of the folder itself is no placeholder.
fn logs(out: &Path) -> String {
    let folder = out.display().to_string().replace('%', "%%");
    worded(&format!("{folder}/logs/%x-%A_%a.log"))
}

/// The script of an array whose elements are the lines of `list`.
fn script(sweep: &Sweep, batch: &Batch, list: &Path, program: &Path, more: &[String]) -> String {
    let slurm = &sweep.plan.slurm;
    let out = absolute(&sweep.plan.out);
    let here = std::env::current_dir().unwrap_or_default();
    let throttle = slurm
        .max_parallel
        .map_or(String::new(), |most| format!("%{most}"));
    let mut lines = vec![
        format!("--job-name={}", job_name(sweep)),
        format!("--array=0-{}{throttle}", batch.units.len() - 1),
        "--requeue".to_owned(),
        "--open-mode=append".to_owned(),
        format!("--signal=B:USR1@{WARNING}"),
        format!("--output={}", logs(&out)),
        format!("--chdir={}", worded(&here.display().to_string())),
    ];
    let costs: Vec<Cost> = batch
        .units
        .iter()
        .filter_map(|unit| remembered(sweep, unit))
        .collect();
    for (name, value) in &slurm.options {
        lines.push(format!("--{name}={}", worded(value)));
    }
    let said = |name: &str| slurm.options.iter().any(|(own, _)| *own == name);
    // The estimates, with room: a machine of the cluster may be half as fast as this one.
    if costs.len() == batch.units.len() {
        let memory = costs.iter().filter_map(|cost| cost.memory).max();
        if let (false, Some(bytes)) = (said("mem"), memory) {
            lines.push(format!("--mem={}M", bytes * 5 / 4 / 1_000_000 + 1000));
        }
        let secs = costs.iter().map(|cost| cost.secs).fold(0.0, f64::max);
        if !said("time") {
            lines.push(format!("--time={}", (secs * 2.0 / 60.0).ceil() as u64 + 10));
        }
    }
    if let Some(cpus) = slurm.cpus {
        lines.push(format!("--cpus-per-task={cpus}"));
    }
    if slurm.gpus > 0 && batch.units != [Unit::Compare] {
        lines.push(format!("--gres=gpu:{}", slurm.gpus));
    }
    if !batch.after.is_empty() && !batch.anyhow {
        lines.push("--kill-on-invalid-dep=yes".to_owned());
    }
    lines.extend(slurm.extra.iter().cloned());
    let mut text = "#!/bin/bash\n".to_owned();
    for line in lines {
        let _ = writeln!(text, "#SBATCH {line}");
    }
    text += "\n";
    for line in &slurm.setup {
        text += line;
        text.push('\n');
    }
    let words: Vec<String> = more.iter().map(|word| quoted(word)).collect();
    let _ = writeln!(
        text,
        "exec {} sweep task {} {} --list {} --index \"$SLURM_ARRAY_TASK_ID\"",
        quoted(&program.display().to_string()),
        quoted(&absolute(&sweep.plan.path).display().to_string()),
        words.join(" "),
        quoted(&absolute(list).display().to_string()),
    );
    text
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The plan's name, which may be that of its file, as one word that `squeue` can be asked for.
fn job_name(sweep: &Sweep) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let name = sweep.plan.name.chars();
    let name = name.map(|letter| if kept(letter) { letter } else { '_' });
    format!("vitscope-{}", name.collect::<String>())
}

/// What would be submitted: every script, with its list and what it waits for.
#[must_use]
pub fn scripts(sweep: &Sweep, jobs: &[&PlannedJob], program: &Path, more: &[String]) -> String {
    let all = batches(sweep, jobs, MAX_ARRAY);
    // The ids are not known before they are submitted.
    let ids: Vec<String> = (0..all.len()).map(|index| format!("$JOB{index}")).collect();
    let mut text = String::new();
    for (index, batch) in all.iter().enumerate() {
        let list = place(sweep, 1, index, "txt");
        let _ = writeln!(text, "# {}", list.display());
        for unit in &batch.units {
            let _ = writeln!(text, "#   {unit}");
        }
        if let Some(dependency) = batch.dependency(&ids) {
            let _ = writeln!(text, "# sbatch --dependency={dependency}");
        }
        text += &script(sweep, batch, &list, program, more);
        text.push('\n');
    }
    text
}

fn folder(sweep: &Sweep) -> PathBuf {
    sweep.plan.out.join("slurm")
}

fn place(sweep: &Sweep, submission: usize, batch: usize, ending: &str) -> PathBuf {
    folder(sweep).join(format!("{submission:03}-{batch:03}.{ending}"))
}

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

/// The runs that are in the queue or at work, as the scheduler says.
///
/// # Errors
/// A sentence, where something was submitted and the scheduler does not answer.
pub fn queued(sweep: &Sweep) -> Result<Vec<(String, String)>, SweepError> {
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
        if let (Ok(units), Ok(element)) = (read_list(&own.list), element.parse::<usize>()) {
            let names = units.get(element).map_or(&[][..], Unit::names);
            found.extend(
                names
                    .iter()
                    .map(|name| (name.clone(), state.trim().to_owned())),
            );
        }
    }
    Ok(found)
}

/// Submits what makes these jobs; those that are in the queue already are left out.
///
/// # Errors
/// What the scheduler answered.
pub fn submit(
    sweep: &Sweep,
    jobs: &[&PlannedJob],
    program: &Path,
    more: &[String],
) -> Result<Vec<Submitted>, SweepError> {
    let queued = queued(sweep)?;
    let is_free = |job: &&&PlannedJob| queued.iter().all(|(name, _)| *name != job.name);
    let jobs: Vec<&PlannedJob> = jobs.iter().filter(is_free).copied().collect();
    let all = batches(sweep, &jobs, max_array());
    let mut before = submitted(sweep);
    let number = |own: &Submitted| -> Option<usize> {
        let name = own.list.file_stem()?.to_str()?;
        name.split_once('-')?.0.parse().ok()
    };
    let submission = before.iter().filter_map(number).max().unwrap_or(0) + 1;
    files::make_dir(&sweep.plan.out.join("logs"))?;
    let mut ids = Vec::new();
    let mut made = Vec::new();
    for (index, batch) in all.iter().enumerate() {
        let list = place(sweep, submission, index, "txt");
        let lines: String = batch.units.iter().map(|unit| format!("{unit}\n")).collect();
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
    Ok(made)
}

/// The pieces of work in a list.
///
/// # Errors
/// A sentence, for a line that is none.
pub fn read_list(path: &Path) -> Result<Vec<Unit>, SweepError> {
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
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
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
/// doing the same already, so its answer does not matter.
pub fn requeue(sweep: &Sweep) -> bool {
    let number = |name: &str| std::env::var(name).ok();
    let restarts = number("SLURM_RESTART_COUNT").and_then(|text| text.parse().ok());
    let element = number("SLURM_ARRAY_JOB_ID").zip(number("SLURM_ARRAY_TASK_ID"));
    match element {
        Some((array, task)) if restarts.unwrap_or(0) < sweep.plan.slurm.max_requeues => {
            ask("scontrol", &["requeue", &format!("{array}_{task}")]).is_ok()
        }
        _ => false,
    }
}
