//! Whose a run is at the moment: a file beside its directory, made by whoever works on it, so that two
//! machines with one file system never do the same work. No daemon, no database. What it says, and whether its maker
//! is at work still; `claims.rs` takes, renews and frees it.
//!
//! The file is locked, by the system, as long as its maker lives, and is renewed every minute. On one machine the lock
//! tells everything, and where the file system has none, the process's number and start. Of another machine the
//! lock may not be seen, or outlive it, so that there the renewing counts.

use std::fs::TryLockError;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vitscope_run::files;

use crate::error::SweepError;
use crate::process::Process;

/// Seconds after which a claim that was not renewed is doubted, or before which one is that comes from the future:
/// either may be a clock that is wrong.
pub(crate) const STALE: u64 = 300;

/// Seconds by which no clock is wrong.
const DAY: u64 = 24 * 3600;

/// Whether a file that is locked can be read by others: elsewhere claims are made without.
pub(crate) const LOCKS: bool = cfg!(unix);

/// Bytes of the longest claim.
const LONGEST: u64 = 64 << 10;

/// What a claim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    /// Who made it.
    #[serde(flatten)]
    pub process: Process,
    /// The scheduler's job, which stays the same when it is queued again.
    pub job: Option<String>,
    /// How often the scheduler has started that job again.
    pub restart: Option<String>,
    /// Seconds since 1970 when it was last renewed.
    pub time: u64,
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Claimant {
    pub(crate) fn this() -> Self {
        Self {
            process: Process::this(),
            job: std::env::var("SLURM_JOB_ID").ok(),
            restart: std::env::var("SLURM_RESTART_COUNT").ok(),
            time: now(),
        }
    }
}

/// Whether whoever made a claim still works on the run, as far as can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    AtWork,
    Gone,
    /// Only whether it is renewed can tell.
    Doubted,
}

/// A claim as it was found.
pub(crate) struct Found {
    pub text: Vec<u8>,
    pub claimant: Claimant,
    /// Whether a process holds its lock; `None` on a file system without locks.
    pub is_locked: Option<bool>,
}

impl Found {
    /// Whether its maker is at work, as seen by `own`.
    pub(crate) fn life(&self, own: &Claimant) -> Life {
        let (by, is_locked) = (&self.claimant, self.is_locked);
        if by.job.is_some() && by.job == own.job && by.restart != own.restart {
            // The scheduler started this job again: the process before it is gone.
            return Life::Gone;
        }
        if by.process.is_beside(&own.process) {
            match (is_locked, by.process.is_running(&own.process)) {
                (Some(true), _) | (_, Some(true)) => return Life::AtWork,
                (_, Some(false)) | (Some(false), None) => return Life::Gone,
                (None, None) => {}
            }
        }
        // This machine before it was started again, another of the same name, or an earlier version of the program, which
        // locked nothing.
        let may_be_gone = by.process.host == own.process.host && is_locked == Some(false);
        match by.time.abs_diff(own.time) {
            ..STALE if !may_be_gone => Life::AtWork,
            DAY.. if is_locked != Some(true) => Life::Gone,
            _ => Life::Doubted,
        }
    }
}

pub(crate) fn file(run: &Path) -> PathBuf {
    run.with_file_name(format!(
        "{}.claim",
        run.file_name().unwrap_or_default().to_string_lossy()
    ))
}

/// The claim at a path; `None` where nothing is.
pub(crate) fn look(path: &Path) -> Result<Option<Found>, SweepError> {
    let foreign = || {
        SweepError::Usage(format!(
            "{}: is no claim that vitscope sweep made, and lies where one belongs: move it away",
            path.display()
        ))
    };
    match path.symlink_metadata() {
        Ok(there) if !there.is_file() => return Err(foreign()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let file = match files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SweepError::io(path, "read")(error)),
    };
    let mut text = Vec::new();
    let read = (&file).take(LONGEST).read_to_end(&mut text);
    read.map_err(SweepError::io(path, "read"))?;
    let claimant = serde_json::from_slice(&text).map_err(|_| foreign())?;
    // Shared, so that of several that look none is taken for the maker.
    let is_locked = match LOCKS.then(|| file.try_lock_shared()) {
        Some(Ok(())) => Some(false),
        Some(Err(TryLockError::WouldBlock)) => Some(true),
        Some(Err(TryLockError::Error(_))) | None => None,
    };
    Ok(Some(Found {
        text,
        claimant,
        is_locked,
    }))
}

/// Who works on a run.
#[must_use]
pub fn claimant(run: &Path) -> Option<Claimant> {
    let found = look(&file(run)).ok()??;
    let is_at_work = found.life(&Claimant::this()) == Life::AtWork;
    is_at_work.then_some(found.claimant)
}

#[cfg(test)]
impl Claimant {
    /// A claim of another machine, as of now.
    pub(crate) fn elsewhere() -> Self {
        let mut other = Self::this();
        other.process.host = "elsewhere".to_owned();
        other.process.boot = None;
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_was_started_again_is_doubted() {
        let mut before = Claimant::this();
        before.process.boot = Some("before".to_owned());
        let found = |is_locked| Found {
            text: Vec::new(),
            claimant: before.clone(),
            is_locked,
        };
        let own = Claimant::this();
        assert_eq!(found(Some(false)).life(&own), Life::Doubted);
        assert_eq!(found(Some(true)).life(&own), Life::AtWork);
        assert_eq!(found(None).life(&own), Life::AtWork);
    }

    #[test]
    fn a_claim_of_an_earlier_version_is_doubted() {
        let own = Claimant::this();
        let mut before = own.clone();
        let of = &mut before.process;
        (of.boot, of.pids, of.started) = (None, None, None);
        let mut found = Found {
            text: Vec::new(),
            claimant: before,
            is_locked: Some(false),
        };
        // Its number may be one of another container, and the number of another process by now.
        if own.process.boot.is_some() {
            assert_eq!(found.life(&own), Life::Doubted);
        }
        found.claimant.time -= 2 * DAY;
        assert_eq!(found.life(&own), Life::Gone);
    }

    #[test]
    fn a_job_that_the_scheduler_started_again_has_its_own_claim() {
        let of = |restart: &str| Claimant {
            job: Some("7".to_owned()),
            restart: Some(restart.to_owned()),
            ..Claimant::elsewhere()
        };
        let found = Found {
            text: Vec::new(),
            claimant: of("0"),
            is_locked: Some(true),
        };
        assert_eq!(found.life(&of("1")), Life::Gone);
        assert_eq!(found.life(&of("0")), Life::AtWork);
    }
}
