//! A command that dies before the n-th change of the disk ends, when it is begun again, in the bytes of one
//! that nothing disturbed, and leaves nothing else behind. In the suite some of the changes are tried,
//! spread over all of them; with `VITSCOPE_TEST_EVERY_CHANGE` set, every one is.

use std::path::{Path, PathBuf};
use std::process::Command;

use vitscope_demo::pairs::write_pairs;

use crate::common::{assert_same, camvid, command, model, probe, succeed};

/// What lies in a folder or below and is neither a result nor ours to leave.
pub fn left_over(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with(".vitscope-") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(left_over(&path));
        }
    }
    found
}

/// Dies before every `stride`-th change in turn until none is left, and begins again each time, with these
/// arguments more. Gives how many deaths there were.
fn die_everywhere(stride: usize, begin: impl Fn(&Path) -> Command, again: &[&str]) -> usize {
    let stride = match std::env::var_os("VITSCOPE_TEST_EVERY_CHANGE") {
        Some(_) => 1,
        None => stride,
    };
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    succeed(begin(&whole).output().unwrap());
    let mut deaths = 0;
    loop {
        let at = 1 + deaths * stride;
        let out = dir.path().join(format!("at-{at}"));
        let mut dying = begin(&out);
        dying.env("VITSCOPE_TEST_DIE_AT", at.to_string());
        if dying.output().unwrap().status.success() {
            assert_same(&whole, &out);
            let every = if stride == 1 { "every change" } else { "some" };
            #[expect(clippy::print_stdout, reason = "how much was tried, for --nocapture")]
            {
                println!("{deaths} deaths, at {every} of less than {at} changes");
            }
            return deaths;
        }
        deaths += 1;
        succeed(begin(&out).args(again).output().unwrap());
        assert_same(&whole, &out);
        assert_eq!(left_over(&out), Vec::<PathBuf>::new(), "{at}");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

/// A command on the fixture.
fn on_model(name: &str, data: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = command();
    command.args(["--quiet", name]).args(model());
    command.args(["--data", data, "--out"]).arg(out);
    command.args(["--size", "32", "--layers", "1", "--threads", "1"]);
    command.args(more);
    command
}

const PROBE: [&str; 16] = [
    "--facets",
    "key",
    "--limit-train",
    "4",
    "--limit-test",
    "2",
    "--steps",
    "2",
    "--batch",
    "2",
    "--pca-batches",
    "2",
    "--resamples",
    "2",
    "--save-every",
    "0",
];

#[test]
fn attention_goes_on_from_wherever_it_died() {
    let begin = |out: &Path| on_model("attention", &camvid(), out, &["--limit-test", "2"]);
    let deaths = die_everywhere(9, begin, &["--resume"]);
    assert!(deaths > 1, "{deaths}");
}

#[test]
fn a_probe_goes_on_from_wherever_it_died() {
    let more = [&PROBE[..], &["--examples", "1"]].concat();
    let deaths = die_everywhere(
        31,
        |out| on_model("probe", &camvid(), out, &more),
        &["--resume"],
    );
    assert!(deaths > 2, "{deaths}");
}

#[test]
fn runs_made_together_go_on_from_wherever_they_died() {
    let more = [&PROBE[..], &["--examples", "0", "--seeds", "2"]].concat();
    let deaths = die_everywhere(
        83,
        |out| on_model("probe", &camvid(), out, &more),
        &["--resume"],
    );
    assert!(deaths > 1, "{deaths}");
}

#[test]
fn a_shard_goes_on_and_a_merge_begins_again_from_wherever_they_died() {
    let dir = tempfile::tempdir().unwrap();
    let shard = |out: &Path, index: usize| {
        let part = format!("{index}/2");
        let more = [&PROBE[..], &["--examples", "1", "--shard", &part]].concat();
        on_model("probe", &camvid(), out, &more)
    };
    let deaths = die_everywhere(5, |out| shard(out, 1), &["--resume"]);
    assert!(deaths > 4, "{deaths}");
    let parts = [1, 2].map(|index| dir.path().join(index.to_string()));
    for (index, part) in parts.iter().enumerate() {
        succeed(shard(part, index + 1).output().unwrap());
    }
    let merge = |out: &Path| {
        let mut command = command();
        command.args(["--quiet", "merge"]).args(&parts);
        command.args(["--threads", "1", "--out"]).arg(out);
        command
    };
    let deaths = die_everywhere(31, merge, &[]);
    assert!(deaths > 1, "{deaths}");
}

#[test]
fn what_position_causes_goes_on_from_wherever_it_died() {
    let more = [
        "--layout",
        "timm",
        "--facets",
        "key",
        "--limit-train",
        "4",
        "--limit-test",
        "3",
        "--steps",
        "2",
        "--resamples",
        "2",
    ];
    let begin = |out: &Path| on_model("causes", &camvid(), out, &more);
    let deaths = die_everywhere(13, begin, &["--resume"]);
    assert!(deaths > 1, "{deaths}");
}

#[test]
fn a_data_set_is_checked_again_from_wherever_that_died() {
    let check = |out: &Path| {
        let mut command = command();
        command.args(["--quiet", "data", "check", &camvid(), "--out"]);
        command.arg(out);
        command
    };
    let deaths = die_everywhere(6, check, &[]);
    assert!(deaths > 1, "{deaths}");
}

#[test]
fn correspondence_goes_on_from_wherever_it_died() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = dir.path().join("pairs");
    write_pairs(&pairs, 0, 4).unwrap();
    let data = format!("spair71k:{}", pairs.display());
    let more = ["--facets", "key", "--examples", "2"];
    let begin = |out: &Path| on_model("correspond", &data, out, &more);
    let deaths = die_everywhere(13, begin, &["--resume"]);
    assert!(deaths > 1, "{deaths}");
}

#[test]
fn facets_are_extracted_again_from_wherever_that_died() {
    let more = ["--facets", "key", "--limit-train", "3", "--limit-test", "2"];
    let deaths = die_everywhere(1, |out| on_model("extract", &camvid(), out, &more), &[]);
    assert!(deaths > 4, "{deaths}");
}

#[test]
fn a_comparison_and_a_report_are_made_again_from_wherever_they_died() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    succeed(probe(&run, &["--facets", "key", "--layers", "1"]));
    let compare = |out: &Path| {
        let mut command = command();
        command.arg("compare").arg(&run).arg("--out").arg(out);
        command
    };
    let deaths = die_everywhere(31, compare, &[]);
    assert!(deaths > 1, "{deaths}");
    let report = |at: usize| {
        let mut command = command();
        command.arg("report").arg(&run);
        command.env("VITSCOPE_TEST_DIE_AT", at.to_string());
        command.output().unwrap().status.success()
    };
    let before = crate::common::results(&run);
    for at in [2, 9, 30] {
        assert!(!report(at));
        assert!(report(usize::MAX));
        assert!(before == crate::common::results(&run));
        assert_eq!(left_over(&run), Vec::<PathBuf>::new());
    }
}

#[cfg(feature = "hub")]
#[test]
fn a_download_goes_on_from_wherever_it_died() {
    use vitscope_testkit::fixture;
    use vitscope_testkit::hub::Standin;

    let hub = Standin::start();
    let id = "timm/vit_fixture_patch16.dino";
    let names = ["config.json", "model.safetensors"];
    hub.add_folder(id, &fixture("dino-timm"), &names);
    let begin = |cache: &Path| {
        let mut command = crate::hub::bare(cache, &hub.endpoint);
        command.args(["inspect", id]);
        command
    };
    let deaths = die_everywhere(1, begin, &[]);
    assert!(deaths > 15, "{deaths}");
}
