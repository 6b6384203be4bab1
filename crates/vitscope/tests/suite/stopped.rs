//! A run that dies before the n-th change of the disk, for every n, is finished by `--resume` to the same
//! bytes, or is complete.

use std::path::Path;
use std::process::Command;

use crate::common::{assert_same, camvid, command, model, run_json, succeed};

/// The names that lie in a run directory and are neither results nor ours to leave.
fn left_over(run: &Path) -> Vec<String> {
    let names = std::fs::read_dir(run).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name == "state" || name.starts_with(".vitscope"))
        .collect()
}

/// Dies before every change in turn until none is left, and goes on each time. Gives how many changes there
/// were.
fn die_everywhere(begin: impl Fn(&Path) -> Command, resumes: bool) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    succeed(begin(&whole).output().unwrap());
    for at in 1.. {
        let run = dir.path().join(format!("at-{at}"));
        let mut dying = begin(&run);
        dying.env("VITSCOPE_TEST_DIE_AT", at.to_string());
        if dying.output().unwrap().status.success() {
            assert_same(&whole, &run);
            return at - 1;
        }
        let mut again = begin(&run);
        if resumes && run.join("run.json").exists() {
            again.arg("--resume");
        }
        succeed(again.output().unwrap());
        assert_same(&whole, &run);
        if resumes {
            assert_eq!(run_json(&run)["state"], "complete", "{at}");
            assert_eq!(left_over(&run), Vec::<String>::new(), "{at}");
        }
        std::fs::remove_dir_all(&run).unwrap();
    }
    unreachable!("a run changes the disk a finite number of times")
}

#[test]
fn attention_goes_on_from_wherever_it_died() {
    let begin = |run: &Path| {
        let mut command = command();
        command.arg("attention").args(model());
        command.args(["--data", &camvid(), "--out"]).arg(run);
        command.args(["--size", "32", "--limit-test", "2", "--layers", "1"]);
        command.args(["--threads", "1", "--quiet"]);
        command
    };
    let changes = die_everywhere(begin, true);
    assert!(changes > 10, "{changes}");
}

#[test]
fn a_probe_goes_on_from_wherever_it_died() {
    let begin = |run: &Path| {
        let mut command = command();
        command.arg("probe").args(model());
        command.args(["--data", &camvid(), "--out"]).arg(run);
        command.args(["--size", "32", "--limit-train", "4", "--limit-test", "2"]);
        command.args([
            "--layers", "1", "--facets", "key", "--steps", "2", "--batch", "2",
        ]);
        command.args(["--pca-batches", "2", "--examples", "1", "--resamples", "2"]);
        command.args(["--save-every", "0", "--threads", "1", "--quiet"]);
        command
    };
    let changes = die_everywhere(begin, true);
    assert!(changes > 20, "{changes}");
}
