//! What a sweep would take, before it begins: each piece of work rehearsed once, by a process of its own
//! (memory is the process's largest), and remembered until its jobs change.

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vitscope_run::files;
use vitscope_study::estimate::estimate;
use vitscope_study::observer::Observer;
use vitscope_study::probe::tidy;

use crate::error::SweepError;
use crate::jobs::{PlannedJob, Sweep};
use crate::keys::Work;
use crate::machine::cores;
use crate::pieces::Piece;
use crate::work::request;

/// What a piece of work takes on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds.
    pub secs: f64,
    /// The largest memory in bytes, where the system tells.
    pub memory: Option<u64>,
    /// Bytes of its run directories.
    pub disk: u64,
    /// Bytes of disk that it takes until it ends, for facets of training images.
    pub scratch: u64,
}

fn file(sweep: &Sweep, piece: &Piece) -> PathBuf {
    // Times are those of a number of cores.
    let cores = cores();
    let key = files::hex(&Sha256::digest(format!("{piece} {cores}")));
    let folder = sweep.plan.out.join("estimates");
    folder.join(format!("{}.json", &key[..12]))
}

/// What is remembered of a piece of work.
#[must_use]
pub fn remembered(sweep: &Sweep, piece: &Piece) -> Option<Cost> {
    let bytes = std::fs::read(file(sweep, piece)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What a piece of work takes at most: as it is remembered, and of a part of runs as the whole of them tells. The
/// first part trains and counts a part, so that it takes no longer than the whole; the others count.
#[must_use]
pub fn derived(sweep: &Sweep, piece: &Piece) -> Option<Cost> {
    let whole = || remembered(sweep, &Piece::Run(piece.names().to_vec()));
    match piece {
        Piece::Run(_) => remembered(sweep, piece),
        Piece::Shard { index: 1, .. } | Piece::Merge { .. } => whole(),
        Piece::Shard { of, .. } => whole().map(|cost| Cost {
            secs: cost.secs / (*of).max(1) as f64,
            ..cost
        }),
        Piece::Compare => None,
    }
}

/// Whether a piece of work can be rehearsed: the main job can.
#[must_use]
pub fn can_rehearse(sweep: &Sweep, piece: &Piece) -> bool {
    let is_probe = |name: &String| {
        let job = sweep.job(name);
        job.is_ok_and(|job| matches!(job.spec.work, Work::Probe(_)) && job.problems.is_empty())
    };
    matches!(piece, Piece::Run(_)) && piece.names().iter().all(is_probe)
}

/// Rehearses a piece of work in this process, and remembers what it found.
///
/// # Errors
/// What would stop the work itself.
pub fn rehearse(
    sweep: &Sweep,
    piece: &Piece,
    observer: &mut dyn Observer,
) -> Result<Cost, SweepError> {
    let jobs: Vec<&PlannedJob> = piece
        .names()
        .iter()
        .map(|name| sweep.job(name))
        .collect::<Result<_, _>>()?;
    files::make_dir(&sweep.plan.out)?;
    let (mut request, vary) = request(&jobs, &sweep.runs(), None, None)?;
    request.resume = false;
    let mut found = estimate(&request, &vary, observer)?;
    let drawing = Instant::now();
    for run in &found.runs {
        vitscope_figure::draw(run)?;
        tidy(run)?;
    }
    found.add_figures(drawing.elapsed().as_secs_f64());
    let cost = Cost {
        secs: found.secs,
        memory: found.memory,
        disk: found.disk,
        scratch: found
            .cache
            .filter(|cache| cache.used)
            .map_or(0, |cache| cache.bytes),
    };
    let path = file(sweep, piece);
    let text = serde_json::to_vec(&cost).map_err(|error| SweepError::file(&path, error))?;
    files::write(&path, &text)?;
    Ok(cost)
}
