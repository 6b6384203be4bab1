//! Several runs of one model made together: each is, to the byte, the run that it would be alone.
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{
    assert_same, command, metrics, probe, probe_args, results, run_for, run_json, succeed,
};

/// The folders inside `out`.
fn folders(out: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn refused(output: Output, word: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(word), "{stderr}");
}

#[test]
fn seeds_made_together_are_those_made_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("seeds");
    let table = succeed(probe(&out, &["--seeds", "3", "--seed", "4"]));
    assert_eq!(folders(&out), ["seed-4", "seed-5", "seed-6"]);
    for seed in ["4", "5", "6"] {
        let alone = dir.path().join(format!("alone-{seed}"));
        succeed(probe(&alone, &["--seed", seed, "--threads", "1"]));
        let together = out.join(format!("seed-{seed}"));
        assert!(table.contains(&together.display().to_string()), "{table}");
        assert_same(&alone, &together);
        assert_eq!(
            run_json(&together)["settings"]["seed"],
            seed.parse::<u64>().unwrap()
        );
        assert!(together.join("report.html").exists() && !together.join("state").exists());
    }
    assert_ne!(results(&out.join("seed-4")), results(&out.join("seed-5")));
    // The passes over the start images and the test images served all three.
    let times = &run_json(&out.join("seed-6"))["times"];
    assert_eq!(times["evaluate_images"], 9.0);
    assert!(times["start_images"].as_f64().unwrap() <= 12.0);
    assert_eq!(times["train_images"], 24.0);
}

#[test]
fn settings_made_together_are_those_made_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("settings");
    let vary = [
        ["--batch", "4,5,3"],
        ["--pca-interval", "1,2"],
        ["--extra-clusters", "0,20"],
        ["--token-norm", "both"],
        ["--layers", "2,3"],
        ["--facets", "key,token"],
        ["--examples", "1"],
    ];
    succeed(probe(&out, vary.as_flattened()));
    assert_eq!(folders(&out).len(), 24);
    for (batch, interval, extra, token) in [
        ("4", "1", "0", "after"),
        ("5", "2", "20", "before"),
        ("3", "1", "20", "before"),
        ("3", "2", "0", "after"),
    ] {
        let name = format!(
            "extra-clusters-{extra}_batch-{batch}_pca-interval-{interval}_token-norm-{token}"
        );
        let alone = dir.path().join(&name);
        let settings = [
            ["--batch", batch],
            ["--pca-interval", interval],
            ["--extra-clusters", extra],
            ["--token-norm", token],
            ["--layers", "2,3"],
            ["--facets", "key,token"],
            ["--examples", "1"],
        ];
        succeed(probe(&alone, settings.as_flattened()));
        assert_same(&alone, &out.join(&name));
    }
    // Twelve images an epoch. Batches of 5 use the first ten and need three epochs for six steps,
    // batches of 4 and 3 stay within the first two.
    let record = run_json(&out.join(&folders(&out)[0]));
    assert_eq!(record["times"]["train_images"], 34.0);
    assert_eq!(record["times"]["evaluate_images"], 9.0);
}

/// One value is no list: the run lies where it always did.
#[test]
fn one_of_each_is_an_ordinary_run() {
    let dir = tempfile::tempdir().unwrap();
    let (one, plain) = (dir.path().join("one"), dir.path().join("plain"));
    succeed(probe(&one, &["--seeds", "1", "--batch", "4"]));
    succeed(probe(&plain, &[]));
    assert_same(&one, &plain);
}

#[test]
fn runs_made_together_resume_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let more = [
        "--steps",
        "30",
        "--threads",
        "1",
        "--seeds",
        "2",
        "--batch",
        "4,6",
    ];
    let whole = dir.path().join("whole");
    let begun = std::time::Instant::now();
    succeed(probe(&whole, &more));
    let length = begun.elapsed();
    let broken = dir.path().join("broken");
    let names = folders(&whole);
    assert_eq!(names.len(), 4);
    for moment in [1, 3, 5] {
        let mut args = probe_args(&broken, &more);
        args.push("--resume".to_owned());
        run_for(args, length * moment / 6);
    }
    let mut args = probe_args(&broken, &more);
    args.push("--resume".to_owned());
    succeed(command().args(args).output().unwrap());
    for name in names {
        assert_same(&whole.join(&name), &broken.join(&name));
        assert!(!broken.join(name).join("state").exists());
    }
}

#[test]
fn attention_beside_the_probes_is_what_its_own_command_says() {
    let dir = tempfile::tempdir().unwrap();
    let [plain, beside, own] = ["plain", "beside", "own"].map(|name| dir.path().join(name));
    succeed(probe(&plain, &[]));
    succeed(probe(&beside, &["--attention"]));
    let mut args = vec!["attention".to_owned()];
    args.extend(crate::common::model());
    args.extend(["--data".to_owned(), crate::common::camvid()]);
    args.extend(["--size", "64", "--limit-test", "9", "--out"].map(str::to_owned));
    args.push(own.display().to_string());
    succeed(command().args(args).output().unwrap());
    let lines = |run: &PathBuf| -> Vec<String> {
        let text = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    };
    // Intervals included, for the same seed.
    assert_eq!(lines(&beside), [lines(&plain), lines(&own)].concat());
    assert_eq!(lines(&own).len(), 3 * 3);
    let mut names = vec!["attention.safetensors".to_owned()];
    names.extend((1..=3).map(|layer| format!("attention/mean.{layer}.png")));
    for name in names {
        let bytes = |run: &Path| std::fs::read(run.join(&name)).unwrap();
        assert!(bytes(&beside) == bytes(&own), "{name} differs");
    }
    let rest = |run: &Path| -> Vec<_> {
        let mut files = results(run);
        // Figures show the locality too, where there is one.
        let more = ["attention", "metrics.csv", "figures/"];
        files.retain(|(name, _)| !more.iter().any(|part| name.starts_with(part)));
        files
    };
    assert!(rest(&plain) == rest(&beside));
}

#[test]
fn the_shown_layer_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    succeed(probe(&plain, &[]));
    for (select, layer) in [("last", 3), ("layer:2", 2)] {
        let out = dir.path().join(select.replace(':', "-"));
        let table = succeed(probe(&out, &["--select", select]));
        let record = run_json(&out);
        for facet in ["key", "query", "value", "token"] {
            assert_eq!(record["selection"][facet], layer);
            assert!(table.contains(&format!("{facet:<6} {layer:>5}")), "{table}");
        }
        assert_eq!(metrics(&plain), metrics(&out));
        let page = |run: &Path| std::fs::read_to_string(run.join("report.html")).unwrap();
        let claim = "at its layer of highest mIoU";
        assert!(page(&plain).contains(claim) && !page(&out).contains(claim));
    }
    let out = dir.path().join("none");
    refused(probe(&out, &["--select", "layer:4"]), "layer:4");
    refused(probe(&out, &["--select", "best"]), "best-miou");
    assert!(!out.exists());
}

#[test]
fn what_cannot_be_made_together_is_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    refused(probe(&out, &["--batch", "4,4"]), "twice");
    refused(probe(&out, &["--seeds", "0"]), "--seeds");
    refused(probe(&out, &["--batch", "4,40"]), "--batch 12");
    refused(probe(&out, &["--token-norm", "beside"]), "both");
    assert!(!out.exists());
    // A run and a folder of runs are two things.
    succeed(probe(&out, &[]));
    refused(probe(&out, &["--seeds", "2"]), "several runs");
}

#[test]
fn a_settings_file_may_hold_lists() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.toml");
    std::fs::write(
        &file,
        "extra-clusters = [0, 5]\nseeds = 2\npca-interval = 2\n",
    )
    .unwrap();
    let out = dir.path().join("runs");
    let name = file.display().to_string();
    succeed(probe(&out, &["--config", &name, "--facets", "key"]));
    assert_eq!(
        folders(&out),
        [
            "extra-clusters-0_seed-0",
            "extra-clusters-0_seed-1",
            "extra-clusters-5_seed-0",
            "extra-clusters-5_seed-1"
        ]
    );
    assert_eq!(
        run_json(&out.join("extra-clusters-5_seed-1"))["settings"]["pca_interval"],
        2
    );
    for bad in ["batch = \"24\"", "batch = []", "batch = -3"] {
        std::fs::write(&file, bad).unwrap();
        refused(
            probe(&dir.path().join("bad"), &["--config", &name]),
            "batch",
        );
    }
}
