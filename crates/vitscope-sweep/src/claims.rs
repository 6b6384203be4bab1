//! Claims taken, renewed and given back; see [`claim`](crate::claim).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use vitscope_run::files;
use vitscope_study::observer::Observer;

use crate::claim::{Claimant, Found, LOCKS, Life, file, look};
use crate::error::SweepError;
use crate::process::Process;

/// How often a claim says that its process is alive.
const RENEWED: Duration = Duration::from_secs(60);

/// How long others are waited for.
#[derive(Clone, Copy)]
struct Patience {
    /// For a process of this machine: one that was asked to stop ends its batch first.
    end: Duration,
    /// For a claim that is doubted to be renewed: a network file system shows that late.
    renewal: Duration,
}

const PATIENCE: Patience = Patience {
    end: Duration::from_secs(60),
    renewal: Duration::from_secs(180),
};

/// A claim of this process.
#[derive(Debug)]
struct OwnClaim {
    path: PathBuf,
    /// Open, for its lock.
    _file: Option<File>,
}

impl OwnClaim {
    /// Says again that this process is alive, unless somebody else has taken the claim: a process may be halted for
    /// long.
    fn renew(&mut self) {
        if !is_own(&self.path) {
            return;
        }
        // A disk that refuses now may not refuse in a minute.
        if let Ok((beside, file)) = written(&self.path)
            && files::put(beside, &self.path).is_ok()
        {
            self._file = file;
        }
    }
}

/// Whether a claim is this process's.
fn is_own(path: &Path) -> bool {
    let found = look(path).ok().flatten();
    found.is_some_and(|found| found.claimant.process == Process::this())
}

/// A claim of this process that has no name yet, and the same file as what holds its lock.
fn written(path: &Path) -> Result<(NamedTempFile, Option<File>), SweepError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let text =
        serde_json::to_vec(&Claimant::this()).map_err(|error| SweepError::file(path, error))?;
    files::make_dir(folder)?;
    let mut beside = files::temporary(folder, path)?;
    let io = |action| SweepError::io(path, action);
    beside.write_all(&text).map_err(io("write"))?;
    // No power cut leaves an empty file under the name of a claim.
    beside.as_file().sync_data().map_err(io("write"))?;
    let file = LOCKS.then(|| beside.as_file().try_clone()).transpose();
    let file = file.map_err(io("write"))?;
    Ok((beside, file))
}

/// Runs that this process works on, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Claims {
    held: Arc<Mutex<Vec<OwnClaim>>>,
    /// Dropped to end the renewing.
    stop: Option<Sender<()>>,
    renewing: Option<JoinHandle<()>>,
}

impl Claims {
    /// Claims runs; while another process of this machine ends its work on one, it waits, and where it is in doubt
    /// whether one of another machine works, it says so and watches for that, all of them at once, unless the
    /// observer wants it to stop.
    ///
    /// # Errors
    /// [`SweepError::Stopped`]; a sentence, where another process works on one of them, or something that is no claim
    /// lies in its place; and when the disk refuses.
    pub fn take(runs: &[PathBuf], observer: &mut dyn Observer) -> Result<Self, SweepError> {
        Self::take_with(runs, PATIENCE, observer)
    }

    fn take_with(
        runs: &[PathBuf],
        patience: Patience,
        observer: &mut dyn Observer,
    ) -> Result<Self, SweepError> {
        let (stop, stopped) = channel();
        let held: Arc<Mutex<Vec<OwnClaim>>> = Arc::default();
        let renewed = Arc::clone(&held);
        // From the first on: whoever waits for the last must not lose it meanwhile.
        let renewing = std::thread::spawn(move || {
            while stopped.recv_timeout(RENEWED) == Err(RecvTimeoutError::Timeout) {
                all(&renewed).iter_mut().for_each(OwnClaim::renew);
            }
        });
        let claims = Self {
            held,
            stop: Some(stop),
            renewing: Some(renewing),
        };
        let mut watch = ClaimWatch::begin(runs, patience);
        for run in runs {
            let claim = claim(run, &mut watch, observer)?;
            all(&claims.held).push(claim);
        }
        Ok(claims)
    }
}

/// What is held, whatever became of another thread that held it.
fn all(held: &Mutex<Vec<OwnClaim>>) -> MutexGuard<'_, Vec<OwnClaim>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Claims of others, watched from one moment on.
struct ClaimWatch {
    patience: Patience,
    begun: Instant,
    /// What each said then.
    first: BTreeMap<PathBuf, Vec<u8>>,
    /// Which kinds of waiting were told.
    told: Vec<Life>,
}

impl ClaimWatch {
    fn begin(runs: &[PathBuf], patience: Patience) -> Self {
        let paths = runs.iter().map(|run| file(run));
        // What cannot be read is told when its turn comes.
        let first = paths.filter_map(|path| Some((path.clone(), look(&path).ok()??.text)));
        Self {
            patience,
            begun: Instant::now(),
            first: first.collect(),
            told: Vec::new(),
        }
    }

    /// Whether the maker of a claim is at work.
    fn life(&mut self, path: &Path, found: &Found) -> Life {
        match found.life(&Claimant::this()) {
            Life::Doubted => {}
            life => return life,
        }
        match self.first.get(path) {
            Some(first) if *first != found.text => Life::AtWork,
            Some(_) if self.begun.elapsed() >= self.patience.renewal => Life::Gone,
            Some(_) => Life::Doubted,
            // It came after the watch began, and is as new as that.
            None => Life::AtWork,
        }
    }

    /// Says once for whom it is waited, from when on for this run, and for how long.
    fn tell(
        &mut self,
        run: &Path,
        other: &Process,
        life: Life,
        begun: Instant,
        observer: &mut dyn Observer,
    ) {
        if self.told.contains(&life) {
            return;
        }
        self.told.push(life);
        let (run, pid, host) = (run.display(), other.pid, &other.host);
        let left = |patience: Duration, begun: Instant| {
            patience
                .saturating_sub(begun.elapsed())
                .as_secs_f64()
                .ceil()
        };
        observer.wait(&match life {
            Life::Doubted => format!(
                "{run}: process {pid} of {host} may have ended without giving it back: it is taken over in {} s, or left to that process if its claim is renewed meanwhile",
                left(self.patience.renewal, self.begun)
            ),
            _ => format!(
                "{run}: process {pid} is at work on it: its end is waited for, for {} s at most",
                left(self.patience.end, begun)
            ),
        });
    }
}

fn claim(
    run: &Path,
    watch: &mut ClaimWatch,
    observer: &mut dyn Observer,
) -> Result<OwnClaim, SweepError> {
    let path = file(run);
    let (mut beside, file) = written(&path)?;
    let own = Claimant::this().process;
    let begun = Instant::now();
    loop {
        match files::put_if_free(beside, &path)? {
            None => {
                let mut claim = OwnClaim { path, _file: file };
                // What it says of the time is as old as the waiting was long.
                if begun.elapsed() > Duration::from_secs(1) {
                    claim.renew();
                }
                return Ok(claim);
            }
            Some(file) => beside = file,
        }
        let Some(found) = look(&path)? else {
            continue;
        };
        let life = watch.life(&path, &found);
        if life == Life::Gone {
            free(&path, &found.text)?;
            continue;
        }
        if observer.stop() {
            return Err(SweepError::Stopped);
        }
        let other = &found.claimant.process;
        let is_ending =
            other.is_beside(&own) && *other != own && begun.elapsed() < watch.patience.end;
        if life == Life::Doubted || is_ending {
            watch.tell(run, other, life, begun, observer);
        } else {
            return Err(SweepError::Usage(format!(
                "{}: {} is at work on it (process {}): wait for its end",
                run.display(),
                other.host,
                other.pid
            )));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Takes a claim away that is nobody's, as it was `seen`: of several that try, one does. Meanwhile it has a name by
/// which every sweep removes what a killed process leaves.
fn free(path: &Path, seen: &[u8]) -> Result<(), SweepError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let aside = files::temporary(folder, path)?.into_temp_path();
    files::step();
    if std::fs::rename(path, &aside).is_ok()
        && std::fs::read(&aside).is_ok_and(|taken| taken != seen)
    {
        // Meanwhile somebody else took it: it goes back.
        let _ = std::fs::hard_link(&aside, path);
    }
    Ok(files::remove_if_there(&aside)?)
}

/// Removes the claims that killed processes of this machine left in a folder of runs. Whether a process of another
/// machine is alive is not seen for certain from here, and nothing waits for that but whoever wants its run.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn sweep(runs: &Path) -> Result<(), SweepError> {
    let own = Claimant::this();
    for entry in std::fs::read_dir(runs).map_err(SweepError::io(runs, "list"))? {
        let path = entry.map_err(SweepError::io(runs, "list"))?.path();
        if path.extension().is_none_or(|ending| ending != "claim") {
            continue;
        }
        // What is no claim is not ours.
        let Ok(Some(found)) = look(&path) else {
            continue;
        };
        let is_here = found.claimant.process.is_beside(&own.process);
        if is_here && found.life(&own) == Life::Gone {
            free(&path, &found.text)?;
        }
    }
    Ok(())
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(renewing) = self.renewing.take() {
            // It ends with what it waits for, and has nothing to tell.
            let _ = renewing.join();
        }
        for held in all(&self.held).iter().filter(|held| is_own(&held.path)) {
            let _ = files::remove_if_there(&held.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use vitscope_study::observer::Silent;

    use super::*;
    use crate::claim::{STALE, claimant, now};

    const HASTE: Patience = Patience {
        end: Duration::ZERO,
        renewal: Duration::from_millis(500),
    };

    fn lay(run: &Path, claim: &Claimant) {
        std::fs::write(file(run), serde_json::to_vec(claim).unwrap()).unwrap();
    }

    /// Takes a claim and gives it back.
    fn take(run: &Path) -> Result<(), String> {
        let runs = [run.to_owned()];
        let mut watch = ClaimWatch::begin(&runs, HASTE);
        let held = claim(run, &mut watch, &mut Silent).map_err(|error| error.to_string())?;
        assert!(is_own(&held.path));
        std::fs::remove_file(&held.path).unwrap();
        Ok(())
    }

    #[test]
    fn a_run_is_one_processs_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/a");
        let held = Claims::take(std::slice::from_ref(&run), &mut Silent).unwrap();
        let refused = Claims::take(std::slice::from_ref(&run), &mut Silent).unwrap_err();
        assert!(refused.to_string().contains("is at work"), "{refused}");
        assert!(claimant(&run).is_some());
        drop(held);
        assert!(claimant(&run).is_none());
        Claims::take(&[run], &mut Silent).unwrap();
    }

    #[test]
    fn a_claim_stays_locked_when_it_is_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("a");
        let mut watch = ClaimWatch::begin(std::slice::from_ref(&run), HASTE);
        let mut held = claim(&run, &mut watch, &mut Silent).unwrap();
        let locked = || look(&file(&run)).unwrap().unwrap().is_locked;
        assert_eq!(locked(), Some(true));
        held.renew();
        assert_eq!(locked(), Some(true));
        drop(held);
        assert_eq!(locked(), Some(false));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_claim_of_a_dead_process_is_nobodys_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("a");
        // The same number, of a process that was started before; and of another container, which ended.
        let own = Claimant::this();
        let (mut before, mut container) = (own.clone(), own.clone());
        before.process.started = Some(1);
        container.process.pids = Some("pid:[1]".to_owned());
        for dead in [&before, &container] {
            lay(&run, dead);
            assert!(claimant(&run).is_none());
            take(&run).unwrap();
            lay(&run, dead);
            sweep(dir.path()).unwrap();
            assert!(!file(&run).exists());
        }
        // That container, at work.
        lay(&run, &container);
        let at_work = File::open(file(&run)).unwrap();
        at_work.lock().unwrap();
        assert!(claimant(&run).is_some());
        assert!(take(&run).unwrap_err().contains("is at work"));
        sweep(dir.path()).unwrap();
        assert!(file(&run).exists());
    }

    #[test]
    fn another_machines_claim_counts_while_it_is_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("a");
        let other = Claimant::elsewhere();
        let at = |time| Claimant {
            time,
            ..other.clone()
        };
        lay(&run, &other);
        assert!(claimant(&run).is_some());
        assert!(take(&run).unwrap_err().contains("elsewhere is at work"));
        // No clock is as wrong as these.
        for time in [1000, 99_999_999_999] {
            lay(&run, &at(time));
            let begun = Instant::now();
            take(&run).unwrap();
            assert!(begun.elapsed() < HASTE.renewal);
        }
        // It may only be slow to be seen, or its clock be wrong.
        for time in [now() - 2 * STALE, now() + 2 * STALE] {
            lay(&run, &at(time));
            assert!(claimant(&run).is_none());
            sweep(dir.path()).unwrap();
            let begun = Instant::now();
            take(&run).unwrap();
            assert!(begun.elapsed() >= HASTE.renewal);
            lay(&run, &at(time));
            let renewing = std::thread::scope(|scope| {
                let taking = scope.spawn(|| take(&run));
                std::thread::sleep(HASTE.renewal / 2);
                files::write(&file(&run), &serde_json::to_vec(&at(time + 1)).unwrap()).unwrap();
                taking.join().unwrap()
            });
            assert!(renewing.unwrap_err().contains("elsewhere is at work"));
        }
    }

    #[test]
    fn claims_that_are_doubted_are_watched_together_and_that_is_said_once() {
        struct Told(Vec<String>);
        impl Observer for Told {
            fn note(&mut self, note: &str) {
                self.0.push(note.to_owned());
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let runs: Vec<PathBuf> = (0..4).map(|run| dir.path().join(run.to_string())).collect();
        for run in &runs {
            let mut old = Claimant::elsewhere();
            old.time -= 2 * STALE;
            lay(run, &old);
        }
        let (begun, mut told) = (Instant::now(), Told(Vec::new()));
        let held = Claims::take_with(&runs, HASTE, &mut told).unwrap();
        assert!((HASTE.renewal..3 * HASTE.renewal).contains(&begun.elapsed()));
        let [said] = &told.0[..] else {
            panic!("{:?}", told.0);
        };
        assert!(said.contains("of elsewhere may have ended"), "{said}");
        assert!(runs.iter().all(|run| is_own(&file(run))));
        drop(held);
        assert!(runs.iter().all(|run| !file(run).exists()));
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_claim_is_left_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let runs = ["notes", "folder", "link", "pipe"].map(|name| dir.path().join(name));
        let [notes, folder, link, pipe] = runs.each_ref().map(|run| file(run));
        std::fs::write(&notes, "my notes").unwrap();
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/nowhere", &link).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        sweep(dir.path()).unwrap();
        for run in &runs {
            let told = take(run).unwrap_err();
            assert!(
                told.contains(".claim: is no claim") && told.ends_with("move it away"),
                "{told}"
            );
            assert!(claimant(run).is_none());
            assert!(file(run).symlink_metadata().is_ok());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), runs.len());
        assert_eq!(std::fs::read(&notes).unwrap(), b"my notes");
    }
}
