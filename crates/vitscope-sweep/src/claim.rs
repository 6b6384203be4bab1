//! Whose a run is at the moment: a file beside its directory, made by whoever works on it, so that two
//! machines with one file system never do the same work. No daemon, no database.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vitscope_run::files;

use crate::error::SweepError;

/// How often a claim says that its process is alive.
const RENEWED: Duration = Duration::from_secs(60);

/// How long a process of this machine is waited for: one that was asked to stop ends its batch first.
const WAITED: Duration = Duration::from_secs(60);

/// A claim that was not renewed for so long is nobody's.
const STALE: u64 = 300;

/// What a claim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The scheduler's job, which stays the same when it is queued again.
    pub job: Option<String>,
    /// How often the scheduler has started that job again.
    pub restart: Option<String>,
    /// Seconds since 1970 when it was last renewed.
    pub time: u64,
}

/// The name of this machine.
fn host() -> String {
    let system = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = system.or_else(|| std::env::var("HOSTNAME").ok());
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Claimant {
    fn this() -> Self {
        Self {
            host: host(),
            pid: std::process::id(),
            job: std::env::var("SLURM_JOB_ID").ok(),
            restart: std::env::var("SLURM_RESTART_COUNT").ok(),
            time: now(),
        }
    }

    /// Whether it still works on the run, as far as can be seen from here.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let own = Self::this();
        if self.job.is_some() && self.job == own.job && self.restart != own.restart {
            // The scheduler started this job again: the process before it is gone.
            return false;
        }
        if self.host == own.host && Path::new("/proc/self").exists() {
            return is_running(self.pid);
        }
        now().saturating_sub(self.time) < STALE
    }
}

/// Whether this machine has a process of that number, as far as it tells.
fn is_running(pid: u32) -> bool {
    let processes = Path::new("/proc");
    !processes.join("self").exists() || processes.join(pid.to_string()).exists()
}

fn file(run: &Path) -> PathBuf {
    run.with_file_name(format!(
        "{}.claim",
        run.file_name().unwrap_or_default().to_string_lossy()
    ))
}

/// Who works on a run.
#[must_use]
pub fn claimant(run: &Path) -> Option<Claimant> {
    alive(&std::fs::read(file(run)).ok()?)
}

/// What a claim says, if whoever made it is still there.
fn alive(claim: &[u8]) -> Option<Claimant> {
    let found: Claimant = serde_json::from_slice(claim).ok()?;
    found.is_alive().then_some(found)
}

/// Runs that this process works on, for as long as this lives.
#[derive(Debug)]
pub struct Claims {
    files: Vec<PathBuf>,
    /// Dropped to end the renewing.
    stop: Option<Sender<()>>,
    renewing: Option<JoinHandle<()>>,
}

impl Claims {
    /// Claims runs; while another process of this machine ends its work on one, it waits, unless it is asked to
    /// `stop`.
    ///
    /// # Errors
    /// [`SweepError::Stopped`]; a sentence, where another process works on one of them; and when the disk refuses.
    pub fn take(runs: &[PathBuf], stop: &dyn Fn() -> bool) -> Result<Self, SweepError> {
        let mut claims = Self {
            files: Vec::new(),
            stop: None,
            renewing: None,
        };
        for run in runs {
            let path = file(run);
            claim(run, &path, stop)?;
            claims.files.push(path);
        }
        let (stop, stopped) = channel();
        let files = claims.files.clone();
        claims.stop = Some(stop);
        claims.renewing = Some(std::thread::spawn(move || {
            while stopped.recv_timeout(RENEWED) == Err(RecvTimeoutError::Timeout) {
                for path in files.iter().filter(|path| is_own(path)) {
                    // A disk that refuses now may not refuse in a minute.
                    let _ = text().map(|text| files::write(path, &text));
                }
            }
        }));
        Ok(claims)
    }
}

/// Whether a claim is still this process's: of one that was halted for long, somebody else may have taken it.
fn is_own(path: &Path) -> bool {
    let claim = std::fs::read(path).ok();
    let claim = claim.and_then(|claim| serde_json::from_slice::<Claimant>(&claim).ok());
    claim.is_some_and(|claim| claim.host == host() && claim.pid == std::process::id())
}

fn text() -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Claimant::this())
}

fn claim(run: &Path, path: &Path, stop: &dyn Fn() -> bool) -> Result<(), SweepError> {
    let text = text().map_err(|error| SweepError::file(path, error))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    files::make_dir(folder)?;
    let mut beside = files::temporary(folder, path)?;
    beside
        .write_all(&text)
        .map_err(SweepError::io(path, "write"))?;
    let begun = Instant::now();
    loop {
        match files::put_if_free(beside, path)? {
            None => return Ok(()),
            Some(file) => beside = file,
        }
        let seen = std::fs::read(path).ok();
        if let Some(other) = seen.as_deref().and_then(alive) {
            if stop() {
                return Err(SweepError::Stopped);
            }
            let here = other.host == host() && other.pid != std::process::id();
            if here && begun.elapsed() < WAITED {
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
            return Err(SweepError::Usage(format!(
                "{}: {} is at work on it (process {}): wait for its end",
                run.display(),
                other.host,
                other.pid
            )));
        }
        free(path, seen)?;
    }
}

/// How a claim ends that a process of this machine takes away, before the number of that process.
fn aside() -> String {
    format!(".stale-{}-", host())
}

/// Takes a claim away that is nobody's, as it was `seen`: of several that try, one does.
fn free(path: &Path, seen: Option<Vec<u8>>) -> Result<(), SweepError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{name}{}{}", aside(), std::process::id()));
    files::step();
    if std::fs::rename(path, &aside).is_ok() {
        if std::fs::read(&aside).ok() != seen {
            // Meanwhile somebody else took it: it goes back.
            let _ = std::fs::hard_link(&aside, path);
        }
        files::remove_if_there(&aside)?;
    }
    Ok(())
}

/// Removes what killed processes of this machine left in a folder of runs: their claims, and claims that they were
/// taking away. Whether a process of another machine is alive is not seen for certain from here, and nothing waits for
/// that but whoever wants its run.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn sweep(runs: &Path) -> Result<(), SweepError> {
    let is_gone = |pid: &str| pid.parse().is_ok_and(|pid: u32| !is_running(pid));
    for entry in std::fs::read_dir(runs).map_err(SweepError::io(runs, "list"))? {
        let path = entry.map_err(SweepError::io(runs, "list"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_claim = name.ends_with(".claim");
        let taken = name.rsplit_once(aside().as_str());
        let is_left = taken.is_some_and(|(_, pid)| is_gone(pid));
        if !is_claim && !is_left {
            continue;
        }
        let seen = std::fs::read(&path).ok();
        let said = seen
            .as_deref()
            .and_then(|claim| serde_json::from_slice::<Claimant>(claim).ok());
        // What says nothing of the kind is not ours.
        match said {
            Some(_) if is_left => files::remove_if_there(&path)?,
            Some(said) if said.host == host() && !said.is_alive() => free(&path, seen)?,
            _ => {}
        }
    }
    Ok(())
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(renewing) = self.renewing.take() {
            let _ = renewing.join();
        }
        for path in self.files.iter().filter(|path| is_own(path)) {
            let _ = files::remove_if_there(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_processs_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/a");
        let held = Claims::take(std::slice::from_ref(&run), &|| false).unwrap();
        let refused = Claims::take(std::slice::from_ref(&run), &|| false).unwrap_err();
        assert!(refused.to_string().contains("is at work"), "{refused}");
        assert!(claimant(&run).is_some());
        drop(held);
        assert!(claimant(&run).is_none());
        Claims::take(&[run], &|| false).unwrap();
    }

    #[test]
    fn a_claim_of_a_dead_process_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("a");
        let of = |other: Claimant| std::fs::write(file(&run), serde_json::to_vec(&other).unwrap());
        let other = Claimant {
            host: "elsewhere".to_owned(),
            pid: 1,
            job: None,
            restart: None,
            time: now(),
        };
        of(other.clone()).unwrap();
        assert!(Claims::take(std::slice::from_ref(&run), &|| false).is_err());
        // Not renewed for long; or of this machine, and no process of that number.
        let stale = Claimant {
            time: now() - STALE - 1,
            ..other.clone()
        };
        let dead = Claimant {
            host: host(),
            pid: u32::MAX,
            ..other
        };
        let mine = dir.path().join("mine.claim");
        std::fs::write(&mine, "mine").unwrap();
        sweep(dir.path()).unwrap();
        assert!(file(&run).exists() && mine.exists());
        for nobodys in [&stale, &dead] {
            of(nobodys.clone()).unwrap();
            drop(Claims::take(std::slice::from_ref(&run), &|| false).unwrap());
        }
        // Another machine's may only be slow to be seen.
        of(stale).unwrap();
        sweep(dir.path()).unwrap();
        assert!(file(&run).exists());
        of(dead.clone()).unwrap();
        // One that was killed while it took a claim away.
        let ends = [u32::MAX, 1].map(|pid| format!("a{}{pid}", aside()));
        let [left, taking] = ends.map(|name| dir.path().join(name));
        for path in [&left, &taking] {
            std::fs::write(path, serde_json::to_vec(&dead).unwrap()).unwrap();
        }
        sweep(dir.path()).unwrap();
        assert!(!file(&run).exists() && !left.exists());
        assert!(mine.exists() && taking.exists());
    }
}
