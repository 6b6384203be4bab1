//! Whether the comparison of a sweep, and what its plan names, are those of the runs that are done.

use std::path::PathBuf;
use std::slice;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vitscope_run::files;
use vitscope_study::observer::Observer;

use crate::claim::claimant;
use crate::claims::Claims;
use crate::error::SweepError;
use crate::jobs::Sweep;
use crate::standing::is_done;

/// How far the comparison has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Pages {
    /// No run is done: there is nothing to compare.
    Early,
    /// It is that of all runs that are done.
    Current,
    /// Somebody makes it.
    Running {
        /// On which machine.
        host: String,
    },
    /// It is missing, unfinished or older than a run.
    Behind {
        /// Which of these.
        why: String,
    },
    /// It was tried, and the runs that are done do not go side by side.
    Refused {
        /// Why.
        why: String,
    },
}

impl Pages {
    /// Whether there is something to make, or to try again.
    pub(crate) fn is_due(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::Refused { .. })
    }
}

/// What the pages that are there were made of; not there while they are made, so that a process that was killed
/// leaves none.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComparedRuns {
    /// The runs, in the order of their names.
    runs: Vec<String>,
    /// A hash of what the plan asks for beside its jobs.
    asked: String,
    /// Why the runs could not stand beside one another; nothing where they do.
    refused: Option<String>,
}

fn file(sweep: &Sweep) -> PathBuf {
    sweep.plan.out.join("compared.json")
}

fn comparison(sweep: &Sweep) -> PathBuf {
    sweep.plan.out.join("comparison")
}

/// The runs that are done.
fn done(sweep: &Sweep) -> Vec<String> {
    let jobs = sweep.jobs.iter();
    let done = jobs.filter(|job| is_done(&sweep.run(&job.name)));
    let mut names: Vec<String> = done.map(|job| job.name.clone()).collect();
    names.sort_unstable();
    names
}

fn asked(sweep: &Sweep) -> String {
    let text = format!("{:?} {:?}", sweep.plan.select, sweep.plan.reports);
    files::hex(&Sha256::digest(text))
}

/// Takes the turn to write the pages: another process that did jobs of the same sweep ends with the same files, one
/// after the other.
pub(crate) fn begin(sweep: &Sweep, observer: &mut dyn Observer) -> Result<Claims, SweepError> {
    let claims = Claims::take(slice::from_ref(&comparison(sweep)), observer)?;
    files::remove_if_there(&file(sweep))?;
    Ok(claims)
}

/// Notes that the pages of these runs are whole, or why there are none.
pub(crate) fn end(
    sweep: &Sweep,
    mut runs: Vec<String>,
    refused: Option<String>,
) -> Result<(), SweepError> {
    runs.sort_unstable();
    let path = file(sweep);
    let compared = ComparedRuns {
        runs,
        asked: asked(sweep),
        refused,
    };
    let text = serde_json::to_vec(&compared).map_err(|error| SweepError::file(&path, error))?;
    Ok(files::write(&path, &text)?)
}

impl Sweep {
    /// How far the comparison has come.
    #[must_use]
    pub fn pages(&self) -> Pages {
        let done = done(self);
        if done.is_empty() {
            return Pages::Early;
        }
        if let Some(claimant) = claimant(&comparison(self)) {
            return Pages::Running {
                host: claimant.process.host,
            };
        }
        let read = std::fs::read(file(self)).ok();
        let made = read.and_then(|bytes| serde_json::from_slice::<ComparedRuns>(&bytes).ok());
        let behind = |why: &str| Pages::Behind {
            why: why.to_owned(),
        };
        let Some(made) = made else {
            return match comparison(self).exists() {
                true => behind("was begun and not finished"),
                false => behind("is not made yet"),
            };
        };
        let newer = done.iter().filter(|name| !made.runs.contains(name)).count();
        if newer > 0 {
            return Pages::Behind {
                why: format!("is older than {newer} of the {} finished runs", done.len()),
            };
        }
        let out = &self.plan.out;
        let page = comparison(self).join("report.html");
        let is_there = (made.refused.is_some() || page.exists())
            && (self.plan.reports.is_empty() || out.join("named/index.csv").exists());
        match (made.runs == done, made.asked == asked(self), is_there) {
            (false, ..) => {
                behind("holds runs that the plan does not list or that are not there any more")
            }
            (_, false, _) => behind("is older than what the plan says under [[report]]"),
            (.., false) => behind("has lost pages"),
            (true, true, true) => match made.refused {
                Some(why) => Pages::Refused { why },
                None => Pages::Current,
            },
        }
    }
}
