//! Readers that are given labels, beside k-means: together, in shards, stopped, from features, and what they find of
//! what was planted.
use std::path::{Path, PathBuf};

use crate::common::{assert_same, metrics, probe, run, run_json, succeed};

const SOME: [&str; 6] = [
    "--layers",
    "2,3",
    "--facets",
    "key,token",
    "--reader-patches",
    "100",
];

fn value(run: &Path, slot: (&str, &str), metric: &str) -> Option<f64> {
    let rows = metrics(run);
    let found = |row: &&[String; 5]| (row[0].as_str(), row[1].as_str()) == slot && row[2] == metric;
    rows.iter().find(found).and_then(|row| row[4].parse().ok())
}

#[test]
fn readers_stand_beside_k_means_and_change_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, read) = (dir.path().join("plain"), dir.path().join("read"));
    succeed(probe(&plain, &SOME));
    let readers = [&SOME[..], &["--readers"]].concat();
    let said = succeed(probe(&read, &[&readers[..], &["--threads", "1"]].concat()));
    assert!(
        said.contains("kNN") && said.contains("given labels"),
        "{said}"
    );
    for slot in [("key", "2"), ("token", "3")] {
        for metric in ["miou", "nmi", "entropy"] {
            assert_eq!(value(&plain, slot, metric), value(&read, slot, metric));
        }
        for metric in ["knn_miou", "knn_accuracy", "linear_miou", "linear_accuracy"] {
            let value = value(&read, slot, metric).unwrap();
            assert!((0.0..=1.0).contains(&value), "{metric} {value}");
        }
        // With labels, more is found than without.
        assert!(value(&read, slot, "linear_accuracy") > value(&read, slot, "accuracy"));
    }
    assert!(value(&read, ("ground_truth", ""), "knn_order").is_some());
    let page = std::fs::read_to_string(read.join("report.html")).unwrap();
    assert!(page.contains("kNN mIoU") && page.contains("linear mIoU"));
    let page = std::fs::read_to_string(plain.join("report.html")).unwrap();
    assert!(!page.contains("kNN mIoU"));
    let notes = run_json(&read)["notes"].to_string();
    assert!(
        notes.contains("supervised") && notes.contains("100 of their patches"),
        "{notes}"
    );

    // The same bytes with other threads, and made together with other seeds and an edit.
    let all = dir.path().join("all");
    let more = ["--transform", "none,mean", "--seeds", "2", "--threads", "7"];
    succeed(probe(&all, &[&readers[..], &more].concat()));
    assert_same(&read, &all.join("transform-none_seed-0"));
    let alone = dir.path().join("alone");
    let more = ["--transform", "mean", "--seed", "1", "--threads", "2"];
    succeed(probe(&alone, &[&readers[..], &more].concat()));
    assert_same(&alone, &all.join("transform-mean_seed-1"));
}

#[test]
fn shards_with_readers_add_up_to_the_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let readers = [&SOME[..], &["--readers"]].concat();
    let whole = dir.path().join("whole");
    succeed(probe(&whole, &readers));
    let shards: Vec<PathBuf> = (1..=2)
        .map(|index| {
            let shard = dir.path().join(format!("shard-{index}"));
            let part = format!("{index}/2");
            succeed(probe(&shard, &[&readers[..], &["--shard", &part]].concat()));
            shard
        })
        .collect();
    let out = dir.path().join("merged");
    let shards: Vec<String> = shards.iter().map(|s| s.display().to_string()).collect();
    let out_name = out.display().to_string();
    succeed(run(&["merge", &shards[0], &shards[1], "--out", &out_name]));
    assert_same(&whole, &out);
}
