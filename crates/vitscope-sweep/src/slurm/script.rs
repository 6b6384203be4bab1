//! The script of an array, as `sbatch` reads it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::batches::{Batch, MAX_ARRAY, batches_due, place};
use crate::estimate::{Cost, derived};
use crate::jobs::{PlannedJob, Sweep};
use crate::pieces::Piece;

/// Seconds before the end of its time at which a task is told.
const WARNING: u32 = 180;

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

/// Memory and time where the plan does not say them: the largest of what is known of its elements, with room, since a
/// machine of the cluster may be half as fast as this one.
fn estimated(sweep: &Sweep, batch: &Batch) -> Vec<String> {
    let costs: Vec<Cost> = batch
        .pieces
        .iter()
        .filter_map(|piece| derived(sweep, piece))
        .collect();
    let mut lines = Vec::new();
    let memory = costs.iter().filter_map(|cost| cost.memory).max();
    if let (false, Some(bytes)) = (sweep.plan.slurm.says("mem"), memory) {
        lines.push(format!("--mem={}M", bytes * 5 / 4 / 1_000_000 + 1000));
    }
    let secs = costs.iter().map(|cost| cost.secs).reduce(f64::max);
    if let (false, Some(secs)) = (sweep.plan.slurm.says("time"), secs) {
        lines.push(format!("--time={}", (secs * 2.0 / 60.0).ceil() as u64 + 10));
    }
    lines
}

/// What is submitted without an estimate of what it takes, where the plan does not say it either: one sentence.
#[must_use]
pub fn unestimated(sweep: &Sweep, jobs: &[&PlannedJob]) -> Option<String> {
    unestimated_of(sweep, &batches_due(sweep, jobs, MAX_ARRAY))
}

/// An option of Slurm, how it may be written, and whether a cost tells it.
type OptionOfCost = (&'static str, &'static str, fn(&Cost) -> bool);

/// The same for what is made into arrays already.
pub(super) fn unestimated_of(sweep: &Sweep, all: &[Batch]) -> Option<String> {
    // A comparison takes little, and no rehearsal tells how much.
    let pieces = || {
        let pieces = all.iter().flat_map(|batch| &batch.pieces);
        pieces.filter(|piece| **piece != Piece::Compare)
    };
    let without = |is_known: fn(&Cost) -> bool| -> Vec<&Piece> {
        let is_open = |piece: &&Piece| !derived(sweep, piece).is_some_and(|cost| is_known(&cost));
        pieces().filter(is_open).collect()
    };
    let mut open: Vec<&Piece> = Vec::new();
    let mut write = Vec::new();
    let asked: [OptionOfCost; 2] = [
        ("mem", "mem = \"16G\"", |cost| cost.memory.is_some()),
        ("time", "time = \"08:00:00\"", |_| true),
    ];
    for (name, example, is_known) in asked {
        let without = without(is_known);
        if !sweep.plan.slurm.says(name) && !without.is_empty() {
            write.push((name, example));
            if without.len() > open.len() {
                open = without;
            }
        }
    }
    if open.is_empty() {
        return None;
    }
    let what: Vec<&str> = write
        .iter()
        .map(|(name, _)| match *name {
            "mem" => "memory",
            other => other,
        })
        .collect();
    let mut named: Vec<String> = open.iter().take(3).map(|piece| piece.log_name()).collect();
    if open.len() > named.len() {
        named.push(format!("{} more", open.len() - named.len()));
    }
    let examples: Vec<&str> = write.iter().map(|(_, example)| *example).collect();
    Some(format!(
        "there is no estimate of {} for {}: their arrays ask Slurm for the largest that is known of their other elements, and for nothing where none is, so that the cluster's default holds; write {} under [slurm], or make a --dry-run first, which estimates probes",
        what.join(" and "),
        named.join(", "),
        examples.join(" and "),
    ))
}

/// The script of an array whose elements are the lines of `list`.
pub(super) fn script(
    sweep: &Sweep,
    batch: &Batch,
    list: &Path,
    program: &Path,
    more: &[String],
) -> String {
    let slurm = &sweep.plan.slurm;
    let out = absolute(&sweep.plan.out);
    let here = std::env::current_dir().unwrap_or_default();
    let throttle = slurm
        .max_parallel
        .map_or(String::new(), |most| format!("%{most}"));
    let mut lines = vec![
        format!("--job-name={}", job_name(sweep)),
        format!("--array=0-{}{throttle}", batch.pieces.len() - 1),
        "--requeue".to_owned(),
        "--open-mode=append".to_owned(),
        format!("--signal=B:USR1@{WARNING}"),
        format!("--output={}", logs(&out)),
        format!("--chdir={}", worded(&here.display().to_string())),
    ];
    for (name, value) in &slurm.options {
        lines.push(format!("--{name}={}", worded(value)));
    }
    lines.extend(estimated(sweep, batch));
    if let Some(cpus) = slurm.cpus {
        lines.push(format!("--cpus-per-task={cpus}"));
    }
    if slurm.gpus > 0 && batch.pieces != [Piece::Compare] {
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
pub(super) fn job_name(sweep: &Sweep) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let name = sweep.plan.name.chars();
    let name = name.map(|letter| if kept(letter) { letter } else { '_' });
    format!("vitscope-{}", name.collect::<String>())
}

/// What would be submitted: every script, with its list and what it waits for.
#[must_use]
pub fn scripts(sweep: &Sweep, jobs: &[&PlannedJob], program: &Path, more: &[String]) -> String {
    let all = batches_due(sweep, jobs, MAX_ARRAY);
    // The ids are not known before they are submitted.
    let ids: Vec<String> = (0..all.len()).map(|index| format!("$JOB{index}")).collect();
    let mut text = String::new();
    if let Some(sentence) = unestimated_of(sweep, &all) {
        let _ = writeln!(text, "# {sentence}\n");
    }
    for (index, batch) in all.iter().enumerate() {
        let list = place(sweep, 1, index, "txt");
        let _ = writeln!(text, "# {}", list.display());
        for piece in &batch.pieces {
            let _ = writeln!(text, "#   {piece}");
        }
        if let Some(dependency) = batch.dependency(&ids) {
            let _ = writeln!(text, "# sbatch --dependency={dependency}");
        }
        text += &script(sweep, batch, &list, program, more);
        text.push('\n');
    }
    text
}
