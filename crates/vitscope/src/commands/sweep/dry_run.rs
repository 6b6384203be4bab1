//! What a sweep would do and take, before anything of it is done.

use std::fmt::Write;

use serde_json::json;
use vitscope_sweep::{Cost, Local, Piece, PlannedJob, Sweep, SweepError, is_done, slurm, whole};

use super::told::{jobs_json, plural};
use crate::args::{Cli, Output};
use crate::commands::compare::columns;
use crate::commands::note::note;
use crate::commands::probe::{bytes, duration};
use crate::stdout::{print, print_exactly};

/// What a piece takes, where that is known, or why its rehearsal failed.
type Rehearsed = Result<Option<Cost>, String>;

/// A table of all jobs with what they would take, and what they would take together; then, as the sweep itself
/// would, it fails where a job cannot begin.
pub(super) fn dry_run(cli: &Cli, sweep: &Sweep, local: &Local, bare: bool) -> anyhow::Result<()> {
    let pending: Vec<&PlannedJob> = sweep
        .pending()
        .into_iter()
        .filter(|job| job.problems.is_empty())
        .collect();
    let pieces = whole(sweep, pending);
    let mut costs: Vec<(Piece, Rehearsed)> = Vec::new();
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
    let ready = sweep.ready();
    if cli.output() == Output::Json {
        print_exactly(&serde_json::to_string(&json!({
            "jobs": jobs_json(sweep),
            "pieces": costs.iter().map(|(piece, cost)| json!({
                "piece": piece.to_string(),
                "cost": cost.as_ref().ok(),
                "problem": cost.as_ref().err(),
            })).collect::<Vec<_>>(),
            "secs": secs, "memory": memory, "disk": disk, "scratch": scratch, "unknown": unknown,
        }))?)?;
        return Ok(ready?);
    }
    let mut text = columns(&cost_rows(sweep, &costs));
    let _ = writeln!(
        text,
        "\n{}, {} of them done, {} to make",
        plural(sweep.jobs.len(), "job", "jobs"),
        sweep
            .jobs
            .iter()
            .filter(|job| is_done(&sweep.run(&job.name)))
            .count(),
        plural(costs.len(), "pass", "passes"),
    );
    let has_sums = unknown == 0 || known().next().is_some();
    if has_sums {
        let _ = writeln!(
            text,
            "time      {} one after another on this machine\nmemory    {} at most\ndisk      {}, and {} while facets are kept",
            duration(secs),
            memory.map_or("-".to_owned(), bytes),
            bytes(disk),
            bytes(scratch),
        );
    }
    text += &left_out(unknown, bare, has_sums);
    let mut why: Vec<String> = costs
        .iter()
        .filter_map(|(piece, cost)| Some(format!("{}: {}", piece.names()[0], cost.as_ref().err()?)))
        .collect();
    let refused = ready
        .as_ref()
        .err()
        .map_or_else(String::new, ToString::to_string);
    let others = problems(sweep).into_iter();
    why.extend(others.filter(|problem| !refused.contains(problem)));
    print(&(text + &lines(&why)))?;
    Ok(ready?)
}

/// A row for every job: how far it is, in which pass it is made, and what that takes.
fn cost_rows(sweep: &Sweep, costs: &[(Piece, Rehearsed)]) -> Vec<[String; 6]> {
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
    rows
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

/// Which passes the sums of a dry run do not hold; nothing where they hold all.
fn left_out(passes: usize, bare: bool, has_sums: bool) -> String {
    let why = match bare {
        true => "since no rehearsals were made",
        false => "since attention and correspond have no rehearsal, or one failed",
    };
    let what = match has_sums {
        true => "not in these sums",
        false => "not estimated",
    };
    match passes {
        0 => String::new(),
        _ => format!("{what}: {}, {why}\n", plural(passes, "pass", "passes")),
    }
}
