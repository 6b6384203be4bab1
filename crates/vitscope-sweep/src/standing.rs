//! How far each job has come, from what lies on the disk: the runs are the truth, and nothing else is kept.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vitscope_run::{Record, Run, RunError, RunState, files, names, session};

use crate::claim::{Claimant, claimant};
use crate::error::SweepError;
use crate::jobs::{PlannedJob, Sweep};

/// How far a job has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Standing {
    /// All of it is there.
    Done,
    /// Somebody works on it.
    Running {
        /// On which machine.
        host: String,
    },
    /// It failed.
    Failed {
        /// Why, in one sentence.
        why: String,
    },
    /// It was begun and goes on from what is stored.
    Interrupted,
    /// Its weights or data are not there.
    Missing {
        /// What is in its way.
        why: String,
    },
    /// Nothing of it is there.
    Waiting,
}

impl Standing {
    /// One word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Running { .. } => "running",
            Self::Failed { .. } => "failed",
            Self::Interrupted => "interrupted",
            Self::Missing { .. } => "missing",
            Self::Waiting => "waiting",
        }
    }

    /// What there is to say beside the word.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Failed { why } | Self::Missing { why } => why,
            Self::Running { host } => host,
            _ => "",
        }
    }
}

/// Why a job failed.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    why: String,
}

fn failure_file(sweep: &Sweep, name: &str) -> PathBuf {
    sweep.plan.out.join("failed").join(format!("{name}.json"))
}

/// Notes why a job failed, until it is tried again; not where somebody else is at work on it, who has its end to tell,
/// nor where the folder of the sweep was removed.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn note_failure(sweep: &Sweep, name: &str, why: &str) -> Result<(), SweepError> {
    if sweep.at_work(name).is_some() || sweep.is_there().is_err() {
        return Ok(());
    }
    let path = failure_file(sweep, name);
    let failure = Failure {
        why: why.to_owned(),
    };
    let text = serde_json::to_vec(&failure).map_err(|error| SweepError::file(&path, error))?;
    Ok(files::write(&path, &text)?)
}

/// Forgets that a job failed.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn forget_failure(sweep: &Sweep, name: &str) -> Result<(), SweepError> {
    Ok(files::remove_if_there(&failure_file(sweep, name))?)
}

/// Whether a run is complete with its page, and tidied, and can be read.
#[must_use]
pub fn is_done(run: &Path) -> bool {
    look(run).is_ok_and(|done| done)
}

/// Whether a run is done; a sentence with the way out, where it is and cannot be read.
pub(crate) fn look(run: &Path) -> Result<bool, String> {
    let record = match Record::read(run) {
        Ok(record) => record,
        Err(RunError::NotARun { .. }) => return Ok(false),
        Err(error) => return Err(format!("{error} (the same sweep does)")),
    };
    let is_tidy = session::is_tidy(run).map_err(|error| error.to_string())?;
    // Without its page it is drawn again.
    let is_whole = is_tidy && run.join(names::PAGE).exists();
    if record.state != RunState::Complete || !is_whole {
        return Ok(false);
    }
    if let Err(error) = Run::open(run) {
        return Err(format!("{error} (the same sweep does)"));
    }
    match record.files.keys().find(|name| !run.join(name).exists()) {
        Some(name) => Err(format!(
            "{}: is missing: remove the folder of its run, and the same sweep makes it again",
            run.join(name).display()
        )),
        None => Ok(true),
    }
}

impl Sweep {
    /// How far a job has come.
    #[must_use]
    pub fn standing(&self, job: &PlannedJob) -> Standing {
        let run = self.run(&job.name);
        match look(&run) {
            Ok(true) => return Standing::Done,
            Ok(false) => {}
            Err(why) => return Standing::Failed { why },
        }
        if !job.problems.is_empty() {
            let why = job.problems.join("; ");
            return match job.is_damaged {
                true => Standing::Failed { why },
                false => Standing::Missing { why },
            };
        }
        if let Some(claimant) = self.at_work(&job.name) {
            return Standing::Running {
                host: claimant.process.host,
            };
        }
        let failure = std::fs::read(failure_file(self, &job.name)).ok();
        let failure = failure.and_then(|bytes| serde_json::from_slice::<Failure>(&bytes).ok());
        if let Some(Failure { why }) = failure {
            return Standing::Failed { why };
        }
        // A part of it that is whole waits for the others.
        let is_begun = |place: PathBuf| place.join(names::RECORD).exists() && !is_done(&place);
        match self.places(&job.name).into_iter().any(is_begun) {
            true => Standing::Interrupted,
            false => Standing::Waiting,
        }
    }

    /// Where a job or a part of it is made.
    fn places(&self, name: &str) -> Vec<PathBuf> {
        let parts = std::fs::read_dir(self.plan.out.join("shards"));
        let parts = parts.into_iter().flatten().flatten();
        let parts = parts.map(|part| part.path().join(name));
        std::iter::once(self.run(name)).chain(parts).collect()
    }

    /// Who works on a job, or on a part of it.
    fn at_work(&self, name: &str) -> Option<Claimant> {
        let mut places = self.places(name).into_iter();
        places.find_map(|place| claimant(&place))
    }

    /// The jobs of which something is left to do.
    #[must_use]
    pub fn pending(&self) -> Vec<&PlannedJob> {
        let jobs = self.jobs.iter();
        jobs.filter(|job| !is_done(&self.run(&job.name))).collect()
    }

    /// The jobs that failed, and those that were begun and are nobody's now.
    #[must_use]
    pub fn to_retry(&self) -> Vec<&PlannedJob> {
        let jobs = self.jobs.iter();
        jobs.filter(|job| {
            let standing = self.standing(job);
            matches!(standing, Standing::Failed { .. } | Standing::Interrupted)
        })
        .collect()
    }

    /// The jobs that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<&PlannedJob> {
        let jobs = self.jobs.iter();
        jobs.filter(|job| matches!(self.standing(job), Standing::Failed { .. }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use vitscope_study::observer::Silent;

    use super::*;
    use crate::claims::Claims;

    #[test]
    fn a_job_that_somebody_else_is_at_work_on_has_not_failed() {
        let dir = tempfile::tempdir().unwrap();
        let sweep = Sweep::of_nothing(dir.path()).unwrap();
        let name = &sweep.jobs[0].name;
        let held = Claims::take(&[sweep.run(name)], &mut Silent).unwrap();
        note_failure(&sweep, name, "it is at work on it").unwrap();
        assert!(!failure_file(&sweep, name).exists());
        drop(held);
        note_failure(&sweep, name, "the disk is full").unwrap();
        assert!(failure_file(&sweep, name).exists());
    }
}
