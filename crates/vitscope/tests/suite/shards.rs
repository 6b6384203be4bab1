//! The test images of a run shared among several: counts add up to the run made in one piece.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{assert_same, command, probe, probe_args, run, run_for, run_json, succeed};

fn merge(shards: &[PathBuf], out: &Path, more: &[&str]) -> Output {
    let out = out.display().to_string();
    let shards: Vec<String> = shards.iter().map(|s| s.display().to_string()).collect();
    let mut args = vec!["merge", "--out", &out];
    args.extend(shards.iter().map(String::as_str));
    args.extend(more);
    run(&args)
}

fn refused(output: Output, code: i32, word: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(word), "{stderr}");
}

/// Settings under which every file of a run depends on the counts.
const ALL: [&str; 7] = [
    "--attention",
    "--save-labels",
    "all",
    "--save-counts",
    "pixel",
    "--positions",
    "labeled",
];

#[test]
fn shards_add_up_to_the_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let table = succeed(probe(&whole, &ALL));
    let shards: Vec<PathBuf> = (1..=3)
        .map(|index| dir.path().join(format!("shard-{index}")))
        .collect();
    for (index, shard) in shards.iter().enumerate() {
        let part = format!("{}/3", index + 1);
        let mut more = [&ALL[..], &["--shard", &part]].concat();
        let first = shards[0].display().to_string();
        if index == 1 {
            more.extend(["--trained", &first]);
        }
        if index == 2 {
            more.extend(["--threads", "1"]);
        }
        let said = succeed(probe(shard, &more));
        assert!(said.contains(&part) && said.contains("merge"), "{said}");
        let record = run_json(shard);
        assert_eq!(
            (&record["state"], &record["settings"]["shard"]),
            (&"shard".into(), &part.into())
        );
        assert_eq!(record["times"]["evaluate_images"], 3.0);
        assert_eq!(record["times"]["train_images"].is_null(), index == 1);
    }
    let merged = dir.path().join("merged");
    let shuffled = [&shards[2], &shards[0], &shards[1]].map(Clone::clone);
    let of_merged = succeed(merge(&shuffled, &merged, &[]));
    assert_eq!(
        table.replace(&whole.display().to_string(), ""),
        of_merged.replace(&merged.display().to_string(), "")
    );
    assert_same(&whole, &merged);
    assert!(!merged.join("state").exists());
    // Killed between its last number and its figures, a merge is repeated; one that is done is not.
    std::fs::create_dir(merged.join("state")).unwrap();
    std::fs::remove_dir_all(merged.join("figures")).unwrap();
    let again = succeed(merge(&shuffled, &merged, &[]));
    assert_eq!(again, of_merged);
    assert!(merged.join("figures").exists() && !merged.join("state").exists());
    assert_same(&whole, &merged);
    assert_eq!(merge(&shuffled, &merged, &[]).status.code(), Some(2));
    let (of_whole, of_merged) = (run_json(&whole), run_json(&merged));
    for part in [
        "settings",
        "model",
        "data",
        "examples",
        "selection",
        "state",
    ] {
        assert_eq!(of_whole[part], of_merged[part], "{part}");
    }
    assert_eq!(of_merged["times"]["evaluate_images"], 9.0);
    // The shards are as they were, and may be merged again.
    succeed(merge(
        &shards,
        &dir.path().join("again"),
        &["--data", &crate::common::camvid()],
    ));
}

#[test]
fn what_is_not_all_shards_of_one_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shard = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        succeed(probe(&out, more));
        out
    };
    let one = shard("one", &["--shard", "1/2"]);
    let two = shard("two", &["--shard", "2/2"]);
    let other = shard("other", &["--shard", "2/2", "--seed", "1"]);
    let whole = shard("whole", &[]);
    let out = dir.path().join("out");
    let refuse = |shards: &[&PathBuf], code, word| {
        let shards: Vec<PathBuf> = shards.iter().map(|&shard| shard.clone()).collect();
        refused(merge(&shards, &out, &[]), code, word);
        assert!(!out.exists());
    };
    refuse(&[&one], 2, "2/2 is missing");
    refuse(&[&one, &two, &one], 2, "twice");
    refuse(&[&one, &other], 2, "one run");
    refuse(&[&one, &whole], 3, "--shard");
    refuse(&[&one, &dir.path().join("none")], 3, "run.json");
    let data = vitscope_testkit::scenes::photographs()
        .display()
        .to_string();
    let shards = [one.clone(), two.clone()];
    refused(merge(&shards, &out, &["--data", &data]), 2, "--data");
    refused(merge(&shards, &whole, &[]), 2, "--out");
    let path = one.display().to_string();
    refused(run(&["report", &path]), 3, "vitscope merge");
    refused(run(&["compare", &path, "--out", "x"]), 3, "vitscope merge");
    refused(probe(&out, &["--shard", "3/2"]), 2, "2/4");
    let no_training = whole.display().to_string();
    refused(
        probe(&out, &["--shard", "1/2", "--trained", &no_training]),
        3,
        "whole: holds no training",
    );
    assert!(!out.exists());
    // Counts that were cut off are told.
    let counts = two.join("state/evaluation.safetensors");
    let bytes = std::fs::read(&counts).unwrap();
    std::fs::write(&counts, &bytes[..bytes.len() / 2]).unwrap();
    refused(merge(&shards, &dir.path().join("cut"), &[]), 3, "damaged");
}

/// Killed again and again while it counts, a job of two runs goes on from what each has stored, and ends
/// in the same bytes; so does a shard.
#[test]
fn counting_resumes_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let more = [
        &ALL[..1],
        &[
            "--seeds",
            "2",
            "--steps",
            "1",
            "--threads",
            "1",
            "--limit-test",
            "200",
        ],
        &[
            "--size",
            "192",
            "--save-every",
            "0",
            "--facets",
            "key,token",
            "--examples",
            "1",
        ],
    ]
    .concat();
    let whole = dir.path().join("whole");
    let begun = std::time::Instant::now();
    succeed(probe(&whole, &more));
    let length = begun.elapsed();
    let broken = dir.path().join("broken");
    let mut stored = 0;
    for moment in 1..=6 {
        let mut args = probe_args(&broken, &more);
        if broken.join("seed-0/run.json").exists() {
            args.push("--resume".to_owned());
        }
        run_for(args, length * moment / 8);
        stored += usize::from(broken.join("seed-0/state/evaluation.safetensors").exists());
    }
    assert!(stored > 0, "no kill came while it counted");
    let mut args = probe_args(&broken, &more);
    args.push("--resume".to_owned());
    succeed(command().args(args).output().unwrap());
    for seed in ["seed-0", "seed-1"] {
        assert_same(&whole.join(seed), &broken.join(seed));
    }
}
