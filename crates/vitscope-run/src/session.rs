//! A run directory while it is made: begun, at work, interrupted or complete, and tidied.
//!
//! Whatever the moment at which a process is killed, the directory is one of these: blank (a new run
//! may begin in it), unfinished (`--resume` goes on from what is stored), or complete (`--resume` finds
//! that nothing is left to do but figures and tidying).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::RunError;
use crate::record::{Record, RunState};
use crate::run::Run;
use crate::{files, names, proof, state};

/// The file inside [`names::STATE`] that is locked as long as a process is at work.
const LOCK: &str = "lock";

/// What lies in the directory that a run is to be made in.
#[derive(Debug)]
pub enum Held {
    /// Nothing yet.
    Blank,
    /// This run, not at its end, with the times that it has taken so far.
    Unfinished(BTreeMap<String, f64>),
    /// This run, with all of its numbers.
    Complete(Box<Run>),
}

/// A run directory in which this process, and no other, is at work.
#[derive(Debug)]
pub struct Session {
    run: PathBuf,
    held: Held,
    /// Held until the session ends; a kill frees it.
    _lock: Lock,
}

impl Session {
    /// Begins the run that `record` describes, or takes it up with `resume`. The record is written
    /// unless the run is complete.
    ///
    /// # Errors
    /// As [`look`]; and a sentence, where another process is at work in the directory.
    pub fn begin(run: &Path, record: &Record, resume: bool) -> Result<Self, RunError> {
        look(run, record, resume)?;
        files::make_dir(run)?;
        let lock = Lock::take(&run.join(names::STATE), run)?;
        // Another process may have been at work until the lock was free.
        let held = look(run, record, resume)?;
        files::sweep(run)?;
        match &held {
            Held::Complete(_) => {}
            Held::Blank => record.write(run)?,
            Held::Unfinished(times) => {
                let mut record = record.clone();
                record.times.clone_from(times);
                record.write(run)?;
            }
        }
        Ok(Self {
            run: run.to_owned(),
            held,
            _lock: lock,
        })
    }

    /// The directory.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The finished run, where there was nothing left to do.
    #[must_use]
    pub fn complete(&self) -> Option<&Run> {
        match &self.held {
            Held::Complete(run) => Some(run),
            _ => None,
        }
    }

    /// What the run has taken so far, as far as it was stopped in an orderly way; times of the work that is
    /// left are added to it.
    #[must_use]
    pub fn earlier_times(&self) -> BTreeMap<String, f64> {
        match &self.held {
            Held::Unfinished(times) => times.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// Notes that the work was stopped in an orderly way. A run that was complete stays so.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn interrupt(&self, record: &mut Record) -> Result<(), RunError> {
        match self.complete() {
            Some(_) => Ok(()),
            None => self.set(record, RunState::Interrupted),
        }
    }

    /// Notes that the work is done: complete, or a shard. Unfinished state stays until
    /// [`Session::tidy`], so that a kill while figures are drawn costs the figures alone.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set(&self, record: &mut Record, state: RunState) -> Result<(), RunError> {
        record.state = state;
        match state {
            RunState::Complete => record.files = proof::of(&self.run)?,
            RunState::Shard => record.files = proof::of_shard(&self.run, record)?,
            RunState::Running | RunState::Interrupted => {}
        }
        record.write(&self.run)
    }

    /// Removes the unfinished state, once the figures exist.
    ///
    /// # Errors
    /// When the disk refuses; the run is complete all the same.
    pub fn tidy(&self) -> Result<(), RunError> {
        tidy(&self.run)
    }
}

/// Removes the unfinished state of a run: by one rename, then deletion. Where somebody has put files of
/// their own among it, those stay.
///
/// # Errors
/// When the disk refuses.
pub fn tidy(run: &Path) -> Result<(), RunError> {
    let state = run.join(names::STATE);
    match state::holds_foreign(&state)? {
        false => files::remove_folder(&state),
        true => state::clear(&state),
    }
}

/// Drops all that an unfinished run has computed: its files of numbers, then its state.
///
/// # Errors
/// When the disk refuses.
pub fn undo(run: &Path) -> Result<(), RunError> {
    for name in proof::PROVED {
        files::remove_if_there(&run.join(name))?;
    }
    tidy(run)
}

/// Whether nothing of ours is left of the unfinished state of a run, nor of its removal.
///
/// # Errors
/// When the folder cannot be listed.
pub fn is_tidy(run: &Path) -> Result<bool, RunError> {
    let state = run.join(names::STATE);
    if files::holds_removed(run)? {
        return Ok(false);
    }
    // An empty folder is what is left of ours.
    Ok(!state.exists() || state::holds_foreign(&state)? && !state::holds_ours(&state)?)
}

/// Looks at what lies in a directory, and changes nothing.
///
/// # Errors
/// [`RunError::Refused`], for a folder that is not ours, that holds a run and `resume` was not asked
/// for, or that holds another run.
pub fn look(run: &Path, record: &Record, resume: bool) -> Result<Held, RunError> {
    let refused = |sentence: &str| Err(RunError::Refused(format!("{}: {sentence}", run.display())));
    // What could not be read again is not made.
    if let Some((what, found, most)) = record.beyond() {
        return refused(&format!(
            "would have {what} {found}, and a run may have no more than {most}"
        ));
    }
    let found = match Record::read(run) {
        Ok(found) => found,
        Err(RunError::NotARun { .. }) if files::is_blank(run)? => return Ok(Held::Blank),
        Err(RunError::NotARun { .. }) => {
            return refused(
                "holds something, and no run.json that says vitscope made it: choose another `out`",
            );
        }
        Err(error) => return Err(error),
    };
    if !resume {
        return refused("holds a run already: continue it with `resume`, or choose another `out`");
    }
    if found.fingerprint() != record.fingerprint() {
        return refused(
            "belongs to a run of other settings, model, data or program version: repeat the command that began it, or choose another `out`",
        );
    }
    match found.state {
        RunState::Complete => {
            let complete = Run::open(run)?;
            complete.record.prove(run)?;
            Ok(Held::Complete(Box::new(complete)))
        }
        _ => Ok(Held::Unfinished(found.times)),
    }
}

/// Looks at a directory for a command that stores nothing before its end: whether it holds what a killed process has
/// left of this same run, which is made anew.
///
/// # Errors
/// As [`look`]; and [`RunError::Refused`], for a run that is complete or another one.
pub fn look_anew(run: &Path, record: &Record) -> Result<bool, RunError> {
    let left = match Record::read(run) {
        Err(RunError::NotARun { .. }) => false,
        Err(error) => return Err(error),
        // Complete and not tidied: it was killed while figures were drawn.
        Ok(found)
            if found.fingerprint() == record.fingerprint()
                && (found.state != RunState::Complete || !is_tidy(run)?) =>
        {
            true
        }
        Ok(_) => {
            return Err(RunError::Refused(format!(
                "{}: holds a run already: choose another `out`",
                run.display()
            )));
        }
    };
    look(run, record, left)?;
    Ok(left)
}

/// The directory of a run where the user names none: `runs/` and some names, joined by `-`.
#[must_use]
pub fn default_place(names: &[&str]) -> PathBuf {
    Path::new("runs").join(names.join("-").replace(['/', '\\'], "_"))
}

/// A file that is locked, by the system, as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Locks `folder`/lock on behalf of what the user knows as `shown`.
    pub(crate) fn take(folder: &Path, shown: &Path) -> Result<Self, RunError> {
        let path = folder.join(LOCK);
        loop {
            files::make_dir(folder)?;
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(RunError::io(&path, "open"))?;
            match file.try_lock() {
                // A file system that knows no locks: nothing can be said of other processes.
                Err(TryLockError::Error(error))
                    if error.kind() == std::io::ErrorKind::Unsupported => {}
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(RunError::Refused(format!(
                        "{}: another vitscope is at work in it: wait for its end, or choose another `out`",
                        shown.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(RunError::io(&path, "lock")(error)),
            }
            // The one that held it may have removed the file in the meantime.
            if files::is_at(&file, &path) {
                return Ok(Self { _file: file });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fixed, RunKind};

    fn record(size: usize) -> Record {
        let fixed = Fixed {
            settings: serde_json::json!({ "steps": 3 }),
            model: Default::default(),
            data: Default::default(),
            clusters: 2,
            grid: [2, 2],
            size,
            seed: 0,
            threads: 1,
        };
        Record::new(RunKind::Probe, "folder:x", fixed, Vec::new())
    }

    fn refusal(result: Result<Session, RunError>) -> String {
        match result {
            Err(RunError::Refused(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_goes_from_blank_to_complete_and_tidy() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("a/run");
        let mut own = record(32);
        let session = Session::begin(&run, &own, false).unwrap();
        assert!(refusal(Session::begin(&run, &own, true)).contains("at work"));
        session.interrupt(&mut own).unwrap();
        drop(session);
        assert!(refusal(Session::begin(&run, &own, false)).contains("`resume`"));
        assert!(refusal(Session::begin(&run, &record(64), true)).contains("other settings"));
        let session = Session::begin(&run, &own, true).unwrap();
        assert!(session.complete().is_none());
        session.set(&mut own, RunState::Complete).unwrap();
        drop(session);
        let session = Session::begin(&run, &record(32), true).unwrap();
        assert!(session.complete().is_some());
        session.interrupt(&mut own).unwrap();
        assert_eq!(Record::read(&run).unwrap().state, RunState::Complete);
        session.tidy().unwrap();
        let left: Vec<_> = std::fs::read_dir(&run).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn what_could_not_be_read_again_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let mut own = record(32);
        own.model.name = "x".repeat(1001);
        let said = refusal(Session::begin(&dir.path().join("run"), &own, false));
        assert!(
            said.contains("letters of its model's name, namely 1001"),
            "{said}"
        );
        assert!(!dir.path().join("run").exists());
        own.model.name.pop();
        Session::begin(&dir.path().join("run"), &own, false).unwrap();
    }

    #[test]
    fn what_stores_nothing_is_made_anew_until_it_is_complete_and_tidy() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let mut own = record(32);
        assert!(!look_anew(&run, &own).unwrap());
        let session = Session::begin(&run, &own, false).unwrap();
        assert!(look_anew(&run, &own).unwrap());
        session.set(&mut own, RunState::Complete).unwrap();
        assert!(look_anew(&run, &own).unwrap());
        let other = look_anew(&run, &record(64)).unwrap_err().to_string();
        assert!(other.contains("choose another `out`") && !other.contains("resume"));
        session.tidy().unwrap();
        drop(session);
        // Killed between the rename of the state and its removal.
        let removed = run.join(".vitscope-abcdefghijkl.writing");
        std::fs::create_dir(&removed).unwrap();
        assert!(look_anew(&run, &own).unwrap());
        drop(Session::begin(&run, &own, true).unwrap());
        assert!(!removed.exists());
        tidy(&run).unwrap();
        let done = look_anew(&run, &own).unwrap_err().to_string();
        assert!(done.contains("choose another `out`") && !done.contains("resume"));
    }

    #[test]
    fn times_add_up_and_what_is_not_ours_stays_in_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let mut own = record(32);
        let session = Session::begin(&run, &own, false).unwrap();
        own.times.insert("train_secs".to_owned(), 2.0);
        session.interrupt(&mut own).unwrap();
        drop(session);
        let mut own = record(32);
        let session = Session::begin(&run, &own, true).unwrap();
        assert_eq!(session.earlier_times()["train_secs"], 2.0);
        assert_eq!(Record::read(&run).unwrap().times["train_secs"], 2.0);
        let ours = ["data.json", "training.safetensors", "labels/key.1/a/b.png"];
        let foreign = ["notes.txt", "labels/mine.png", "mine/data.json"];
        for name in ours.into_iter().chain(foreign) {
            files::write(&run.join(names::STATE).join(name), b"x").unwrap();
        }
        session.set(&mut own, RunState::Complete).unwrap();
        assert!(!is_tidy(&run).unwrap());
        session.tidy().unwrap();
        assert!(is_tidy(&run).unwrap());
        for name in foreign {
            assert!(run.join(names::STATE).join(name).exists(), "{name}");
        }
        for name in ours {
            assert!(!run.join(names::STATE).join(name).exists(), "{name}");
        }
    }

    #[test]
    fn what_a_kill_before_the_first_record_leaves_is_blank() {
        let dir = tempfile::tempdir().unwrap();
        drop(Lock::take(&dir.path().join(names::STATE), dir.path()).unwrap());
        let (_, left) = files::temporary(dir.path(), &dir.path().join("run.json"))
            .unwrap()
            .keep()
            .unwrap();
        Session::begin(dir.path(), &record(32), false).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        for name in ["notes.txt", "state/mine"] {
            let path = dir.path().join(name);
            std::fs::write(&path, "mine").unwrap();
            let own = record(32);
            assert!(refusal(Session::begin(dir.path(), &own, true)).contains("no run.json"));
            assert_eq!(std::fs::read(&path).unwrap(), b"mine");
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::write(dir.path().join("run.json"), "{}").unwrap();
        assert!(Session::begin(dir.path(), &record(32), true).is_err());
        assert_eq!(std::fs::read(dir.path().join("run.json")).unwrap(), b"{}");
    }
}
