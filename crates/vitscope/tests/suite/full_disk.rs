//! Disks that fill up in the middle of a run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{assert_same, command, probe, probe_args, size_of, succeed};

/// What a run that was refused says, in its one line.
fn sentence(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let lines: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("vitscope: "))
        .collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    lines[0].to_owned()
}

/// A small file system in memory, which root may make.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(folder: &Path, kilobytes: usize) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={kilobytes}k"),
                "vitscope",
            ])
            .arg(folder)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }

    /// Gives it more room, as somebody does who deletes files.
    fn grow(&self) {
        let done = Command::new("mount")
            .args(["-o", "remount,size=256m"])
            .arg(&self.0)
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Whether it runs out of space at its first file or at its last figure, a run says so in one sentence, and goes
/// on once there is space: to the bytes of a run that nothing disturbed.
#[test]
fn a_full_disk_is_one_sentence_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let more = ["--save-every", "0", "--threads", "1"];
    let whole = dir.path().join("whole");
    succeed(probe(&whole, &more));
    // Too little for the first state, for its growth, for the counts, and for the last pictures.
    let most = size_of(&whole) as usize / 1024 * 3 / 4;
    for kilobytes in [16, 100, 900, most] {
        let Some(disk) = SmallDisk::new(&dir.path().join("disk"), kilobytes) else {
            vitscope_testkit::left_out("a full disk", "only root can mount a small one, on Linux");
            return;
        };
        let run = disk.0.join("run");
        let said = sentence(&probe(&run, &more));
        assert!(
            said.contains("free some space") && said.contains(&disk.0.display().to_string()),
            "{kilobytes} kB: {said}"
        );
        disk.grow();
        let mut args = probe_args(&run, &more);
        if run.join("run.json").exists() {
            args.push("--resume".to_owned());
        }
        succeed(command().args(args).output().unwrap());
        assert_same(&whole, &run);
    }
}

/// The same where files may not grow beyond a limit, which anyone can ask for.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    // 8 blocks of 512 or 1,024 bytes.
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 8; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_vitscope"))
        .args(probe_args(&run, &[]))
        .output()
        .unwrap();
    let said = sentence(&output);
    assert!(
        said.contains(&run.display().to_string())
            && said.contains("File too large")
            && said.contains("raise the limit on the size of a file"),
        "{said}"
    );
    let mut args = probe_args(&run, &[]);
    args.push("--resume".to_owned());
    succeed(command().args(args).output().unwrap());
}

/// Where neither results nor errors can be told, the exit code still says what happened.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_told_is_no_panic() {
    for (args, code) in [("models", 3), ("compare x --select y", 2)] {
        let status = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" >/dev/full 2>/dev/full"])
            .arg(env!("CARGO_BIN_EXE_vitscope"))
            .args(args.split(' '))
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{args}");
    }
}
