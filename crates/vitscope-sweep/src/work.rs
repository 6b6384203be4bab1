//! One piece of work, done in this process.

use std::path::{Path, PathBuf};

use vitscope_run::files;
use vitscope_study::StudyError;
use vitscope_study::attention::{AttentionRequest, attention};
use vitscope_study::correspond::{CorrespondRequest, correspond};
use vitscope_study::merge::{MergeRequest, merge};
use vitscope_study::model::Model;
use vitscope_study::observer::Observer;
use vitscope_study::probe::{Made, ProbeRequest, probe_together, tidy};
use vitscope_study::settings::Settings;
use vitscope_study::shard::Shard;
use vitscope_study::variants::{Variant, Vary};
use vitscope_vit::identify::Settle;

use crate::claims::Claims;
use crate::error::SweepError;
use crate::jobs::{PlannedJob, Sweep};
use crate::keys::Work;
use crate::pieces::Piece;
use crate::report::report;
use crate::standing::{forget_failure, is_done, look, note_failure};

/// Does a piece of work; what is done of it already is not done again.
///
/// # Errors
/// One sentence, which is noted for `sweep status` too. [`SweepError::Stopped`], where `observer` asked
/// for it: the next call goes on from what is stored.
pub fn work(sweep: &Sweep, piece: &Piece, observer: &mut dyn Observer) -> Result<(), SweepError> {
    if *piece == Piece::Compare {
        return report(sweep, observer).map(|_| ());
    }
    let mut jobs = Vec::new();
    for name in piece.names() {
        let job = sweep.job(name)?;
        if !look(&sweep.run(name)).map_err(SweepError::Usage)? {
            jobs.push(job);
        }
    }
    if jobs.is_empty() {
        return Ok(());
    }
    let result = attempt(sweep, piece, &jobs, observer);
    let stopped = |error: &StudyError| {
        matches!(
            error,
            StudyError::Interrupted { .. } | StudyError::StoppedEarly
        )
    };
    match result {
        Ok(()) => Ok(()),
        Err(SweepError::Stopped) => Err(SweepError::Stopped),
        Err(SweepError::Study(error)) if stopped(&error) => Err(SweepError::Stopped),
        Err(error) => {
            for job in jobs {
                note_failure(sweep, &job.name, &error.to_string())?;
            }
            Err(error)
        }
    }
}

fn attempt(
    sweep: &Sweep,
    piece: &Piece,
    jobs: &[&PlannedJob],
    observer: &mut dyn Observer,
) -> Result<(), SweepError> {
    if let Some(problem) = jobs.iter().find_map(|job| job.problems.first().cloned()) {
        return Err(SweepError::Usage(problem));
    }
    let folder = match *piece {
        Piece::Shard { index, of, .. } => shard_folder(sweep, index, of),
        _ => sweep.runs(),
    };
    let runs: Vec<PathBuf> = jobs.iter().map(|job| folder.join(&job.name)).collect();
    let _claims = Claims::take(&runs, observer)?;
    // Whoever had them before may have come to the end.
    let jobs: Vec<&PlannedJob> = jobs
        .iter()
        .copied()
        .filter(|job| !is_done(&sweep.run(&job.name)))
        .collect();
    let (jobs, Some(first)) = (&jobs[..], jobs.first()) else {
        return Ok(());
    };
    for job in jobs {
        forget_failure(sweep, &job.name)?;
    }
    match (piece, &first.spec.work) {
        (&Piece::Merge { of, .. }, _) => {
            for job in jobs {
                merge_shards(sweep, job, of)?;
            }
            Ok(())
        }
        (&Piece::Shard { index, of, .. }, Work::Probe(_)) => {
            let leading = shard_folder(sweep, 1, of);
            let trained = (index > 1).then_some(leading);
            let shard = Some(Shard { index, of });
            probe(jobs, &folder, shard, trained, observer)
        }
        (_, Work::Probe(_)) => probe(jobs, &folder, None, None, observer),
        (_, Work::Attention(settings)) => {
            let (model, settle) = checkpoint(first)?;
            let request = AttentionRequest {
                model,
                settle,
                data: first.data.clone(),
                out: Some(folder.join(&first.name)),
                settings: settings.clone(),
                resume: true,
            };
            let outcome = attention(&request, observer)?;
            vitscope_figure::draw(&outcome.run)?;
            Ok(outcome.session.tidy()?)
        }
        (_, Work::Correspond(settings)) => {
            let (model, settle) = checkpoint(first)?;
            let request = CorrespondRequest {
                model,
                settle,
                data: first.data.clone(),
                out: Some(folder.join(&first.name)),
                settings: settings.clone(),
                resume: true,
            };
            let outcome = correspond(&request, observer)?;
            vitscope_figure::draw(&outcome.run)?;
            Ok(outcome.session.tidy()?)
        }
    }
}

fn checkpoint(job: &PlannedJob) -> Result<(PathBuf, Settle), SweepError> {
    match &job.model {
        Model::Checkpoint(path, settle) => Ok((path.clone(), settle.clone())),
        Model::Features(path) => Err(SweepError::file(path, "holds features: expected a model")),
    }
}

/// Where a part of the runs' test images is counted.
#[must_use]
pub fn shard_folder(sweep: &Sweep, index: usize, of: usize) -> PathBuf {
    let parts = sweep.plan.out.join("shards");
    parts.join(format!("{index}-of-{of}"))
}

/// What the main job is asked for, by one process that makes these runs.
///
/// # Errors
/// A sentence, where they cannot be made together.
pub(crate) fn request(
    jobs: &[&PlannedJob],
    folder: &Path,
    shard: Option<Shard>,
    trained: Option<PathBuf>,
) -> Result<(ProbeRequest, Vary), SweepError> {
    let mut list = Vec::new();
    for job in jobs {
        let Work::Probe(settings) = &job.spec.work else {
            return Err(SweepError::Usage(format!("{}: is no probe", job.name)));
        };
        list.push(Variant {
            name: job.name.clone(),
            settings: Settings {
                shard,
                ..(**settings).clone()
            },
        });
    }
    let request = ProbeRequest {
        model: jobs[0].model.clone(),
        data: jobs[0].data.clone(),
        out: Some(folder.to_owned()),
        settings: list[0].settings.clone(),
        resume: true,
        trained,
    };
    Ok((request, Vary::listed(list)?))
}

fn probe(
    jobs: &[&PlannedJob],
    folder: &Path,
    shard: Option<Shard>,
    trained: Option<PathBuf>,
    observer: &mut dyn Observer,
) -> Result<(), SweepError> {
    let (request, vary) = request(jobs, folder, shard, trained)?;
    let made = probe_together(&request, &vary, observer)?;
    let mut drawn = Vec::new();
    for made in made {
        if let Made::Run(outcome) = made {
            vitscope_figure::draw(&outcome.run)?;
            drawn.push(outcome.run.clone());
        }
    }
    // Only now: a run whose unfinished work is gone would begin again.
    for run in drawn {
        tidy(&run)?;
    }
    Ok(())
}

/// Makes a run of its parts, and removes them.
fn merge_shards(sweep: &Sweep, job: &PlannedJob, of: usize) -> Result<(), SweepError> {
    let parts = (1..=of).map(|index| shard_folder(sweep, index, of).join(&job.name));
    let shards: Vec<PathBuf> = parts.collect();
    let outcome = merge(&MergeRequest {
        shards: shards.clone(),
        data: Some(job.data.clone()),
        out: sweep.run(&job.name),
    })?;
    vitscope_figure::draw(&outcome.run)?;
    tidy(&outcome.run)?;
    for shard in shards {
        files::remove_folder(&shard)?;
    }
    Ok(())
}
