//! Looking at the disk while a command is at work: every state that a kill could leave there, from one run of it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// Runs a command to its end and stops it before every `stride`-th change of the disk (before every one with
/// `VITSCOPE_TEST_EVERY_CHANGE`), while `look` is given the number of the change. Gives what it printed, and how
/// often it was stopped.
pub fn paused(
    command: &mut Command,
    stride: usize,
    mut look: impl FnMut(usize),
) -> (String, usize) {
    let stride = match std::env::var_os("VITSCOPE_TEST_EVERY_CHANGE") {
        Some(_) => 1,
        None => stride,
    };
    let dir = tempfile::tempdir().unwrap();
    let pause = format!("{stride}:{}", dir.path().display());
    // A pipe that nobody empties would hold it up.
    let printed = dir.path().join("printed");
    let stdout = fs::File::create(&printed).unwrap();
    command.env("VITSCOPE_TEST_PAUSE_AT", pause).stdout(stdout);
    let mut child = command.spawn().unwrap();
    let mut pauses = 0;
    loop {
        let change = (pauses + 1) * stride;
        let here = dir.path().join(change.to_string());
        if !waits(&mut child, &here) {
            assert!(child.wait().unwrap().success());
            return (fs::read_to_string(printed).unwrap(), pauses);
        }
        look(change);
        pauses += 1;
        fs::remove_file(here).unwrap();
    }
}

/// Waits until a process is stopped, which it says by this file, or has ended.
fn waits(child: &mut Child, here: &Path) -> bool {
    loop {
        if here.exists() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What a kill would leave in a folder now, in another folder: files are linked, since whatever changes them puts
/// others in their places, but for what is locked, which is copied and so is not.
pub fn as_a_kill_would_leave(folder: &Path, copy: &Path) {
    fs::create_dir(copy).unwrap();
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let there = copy.join(&name);
        let made = if path.is_dir() {
            as_a_kill_would_leave(&path, &there);
            Ok(())
        } else if name == "lock" || name.starts_with(".vitscope-") {
            fs::copy(&path, there).map(|_| ())
        } else {
            fs::hard_link(&path, there)
        };
        // Another thread may still remove or name what it has begun.
        assert!(made.is_ok() || !path.exists(), "{}", path.display());
    }
}
