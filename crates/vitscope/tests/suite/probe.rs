//! `vitscope probe` end to end.

use std::process::Stdio;
use std::time::Duration;

use std::path::Path;

use crate::common::{assert_same, command, metrics, probe, probe_args, run_for, run_json, succeed};
use vitscope_testkit::{fixture, scenes};

#[test]
fn a_run_leaves_every_file_of_its_format() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let table = succeed(probe(&run, &[]));
    assert!(
        table.contains("key") && table.contains("report.html"),
        "{table}"
    );
    let record = run_json(&run);
    assert_eq!(record["state"], "complete");
    assert_eq!(record["settings"]["steps"], 6);
    assert_eq!(
        (&record["clusters"], &record["data"]["test"]),
        (&11.into(), &9.into())
    );
    assert_eq!(record["examples"].as_array().unwrap().len(), 3);
    let rows = metrics(&run);
    for facet in ["key", "query", "value", "token"] {
        for layer in ["1", "2", "3"] {
            for metric in [
                "miou",
                "accuracy",
                "mi",
                "entropy",
                "nmi",
                "nmi_grid",
                "nmi_null",
                "nmi_excess",
                "nmi_z",
                "loss",
                "clusters_used",
                "largest_cluster",
                "clusters_dead",
                "clusters_twin",
                "common_direction",
                "channel_top1",
                "channel_top3",
                "channel_top10",
                "participation",
            ] {
                let found = rows
                    .iter()
                    .filter(|r| r[0] == facet && r[1] == layer && r[2] == metric);
                assert_eq!(found.count(), 1, "{facet}.{layer} {metric}");
            }
            assert!(run.join(format!("aggregate/{facet}.{layer}.png")).exists());
            assert!(
                run.join(format!(
                    "labels/{facet}.{layer}/{}.png",
                    record["examples"][0].as_str().unwrap()
                ))
                .exists()
            );
        }
    }
    assert!(
        rows.iter()
            .any(|r| r[0] == "ground_truth" && r[2] == "nmi" && r[1].is_empty())
    );
    for metric in [
        "place_alone",
        "place_alone_accuracy",
        "one_class",
        "one_class_accuracy",
    ] {
        let defined =
            |r: &[String; 5]| r[0] == "ground_truth" && r[2] == metric && !r[4].is_empty();
        assert!(rows.iter().any(defined), "{metric}");
    }
    // The interval of mIoU holds it.
    let text = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    for line in text.lines().filter(|line| line.contains(",miou,")) {
        let number = |at| line.split(',').nth(at).unwrap().parse::<f64>().unwrap();
        assert!(
            number(8) <= number(7) + 0.1 && number(7) <= number(9) + 0.1,
            "{line}"
        );
        assert!(number(8) < number(9), "{line}");
    }
    for file in [
        "codebooks.safetensors",
        "counts.safetensors",
        "aggregate/ground_truth.png",
        "report.html",
        "figures/examples.svg",
        "figures/miou-by-layer.csv",
    ] {
        assert!(run.join(file).exists(), "{file}");
    }
    assert!(!run.join("state").exists());
    // Two-thirds of the way to a second run in the same place: it is refused, nothing is lost.
    let again = probe(&run, &[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--resume"));
}

#[test]
fn threads_and_repetition_change_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, threads: &str| {
        let out = dir.path().join(name);
        succeed(probe(
            &out,
            &[
                "--threads",
                threads,
                "--save-labels",
                "all",
                "--save-counts",
                "pixel",
            ],
        ));
        out
    };
    let one = run("one", "1");
    assert_same(&one, &run("two", "2"));
    assert_same(&one, &run("five", "5"));
}

/// Killed at many moments, a run that is taken up again ends in the same bytes.
#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let more = ["--steps", "40", "--threads", "1"];
    let whole = dir.path().join("whole");
    let begun = std::time::Instant::now();
    succeed(probe(&whole, &more));
    let length = begun.elapsed();
    let broken = dir.path().join("broken");
    for moment in 1..=6 {
        let mut args = probe_args(&broken, &more);
        if broken.join("run.json").exists() {
            args.push("--resume".to_owned());
        }
        run_for(args, length * moment / 7);
    }
    let mut args = probe_args(&broken, &more);
    args.push("--resume".to_owned());
    succeed(command().args(args).output().unwrap());
    assert_same(&whole, &broken);
    assert!(!broken.join("state").exists());
}

#[test]
fn resuming_with_other_settings_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let args = probe_args(&run, &["--steps", "2000"]);
    let mut child = command()
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stored = run.join("state/training.safetensors");
    while !stored.exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended before it was stopped"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What images are scaled by is told by no hash of the weights.
    for other in [
        &["--lr", "0.1"][..],
        &["--mean", "0.1,0.5,0.9", "--std", "0.3,0.3,0.3"],
    ] {
        let more = [&["--steps", "2000", "--resume"], other].concat();
        let other = probe(&run, &more);
        assert_eq!(other.status.code(), Some(2), "{more:?}");
        assert!(String::from_utf8_lossy(&other.stderr).contains("other settings"));
    }
}

/// Ctrl-C stops in order: exit code 130, a readable run that says so, and resume works.
#[test]
fn an_interrupted_run_is_readable() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut child = command()
        .args(probe_args(&run, &["--steps", "100000"]))
        .args(["--format", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !run.join("state/training.safetensors").exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(run_json(&run)["state"], "interrupted");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let first: serde_json::Value = serde_json::from_str(stderr.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["event"], &first["phase"]),
        (&"begin".into(), &"check".into())
    );
    assert!(stderr.contains("--resume"), "{stderr}");
}

#[test]
fn a_set_without_ground_truth_is_probed_too() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("set/images");
    std::fs::create_dir_all(&images).unwrap();
    for entry in std::fs::read_dir(scenes::photographs()).unwrap().take(6) {
        let path = entry.unwrap().path();
        std::fs::copy(&path, images.join(path.file_name().unwrap())).unwrap();
    }
    let run = dir.path().join("run");
    let mut args = vec!["probe".to_owned()];
    args.extend(crate::common::model());
    args.extend(
        [
            "--data",
            dir.path().join("set").to_str().unwrap(),
            "--out",
            run.to_str().unwrap(),
        ]
        .map(str::to_owned),
    );
    args.extend(
        [
            "--size",
            "64",
            "--steps",
            "3",
            "--batch",
            "3",
            "--pca-batches",
            "2",
        ]
        .map(str::to_owned),
    );
    succeed(command().args(args).output().unwrap());
    let rows = metrics(&run);
    assert!(
        rows.iter()
            .all(|r| !["miou", "accuracy", "iou"].contains(&r[2].as_str()))
    );
    assert!(rows.iter().any(|r| r[2] == "nmi" && !r[4].is_empty()));
    assert!(rows.iter().any(|r| r[2] == "class_mi" && r[3] == "k26"));
    assert_eq!(run_json(&run)["clusters"], 27);
    assert!(run.join("aggregate/token.3.png").exists());
    assert!(!run.join("aggregate/ground_truth.png").exists());
}

/// Embeddings written by `extract` give the very numbers that the model gives.
#[test]
fn features_stand_in_for_their_model() {
    let dir = tempfile::tempdir().unwrap();
    let features = dir.path().join("features");
    let mut args = vec!["extract".to_owned()];
    args.extend(crate::common::model());
    let out = features.to_str().unwrap();
    args.extend(
        [
            "--data",
            &crate::common::camvid(),
            "--out",
            out,
            "--size",
            "64",
        ]
        .map(str::to_owned),
    );
    succeed(command().args(args).output().unwrap());
    // A feature directory covers the whole data set, so both runs look at all of it.
    let (model, stored) = (dir.path().join("model"), dir.path().join("stored"));
    let all = ["--limit-train", "1000", "--limit-test", "1000"];
    succeed(probe(&model, &all));
    let mut args = vec!["probe", "--features", out];
    let (camvid, stored_out) = (crate::common::camvid(), stored.display().to_string());
    args.extend(["--data", &camvid, "--out", &stored_out]);
    args.extend(
        crate::common::SMALL
            .chunks(2)
            .filter(|p| !all.contains(&p[0]))
            .flatten(),
    );
    args.extend(all);
    succeed(crate::common::run(&args));
    assert_eq!(metrics(&model), metrics(&stored));
    for file in ["codebooks.safetensors", "counts.safetensors"] {
        let bytes = |run: &Path| std::fs::read(run.join(file)).unwrap();
        assert!(bytes(&model) == bytes(&stored), "{file} differs");
    }
}

#[test]
fn settings_change_what_they_say_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        succeed(probe(&out, more));
        metrics(&out)
    };
    let plain = run("plain", &[]);
    let before = run("before", &["--token-norm", "before"]);
    for (a, b) in plain.iter().zip(&before) {
        let last_token = a[0] == "token" && a[1] == "3";
        assert!(last_token || a == b, "{a:?} {b:?}");
    }
    assert_ne!(plain, before);
    let one = run("one", &["--layers", "2", "--facets", "value"]);
    let of_slot: Vec<_> = plain
        .iter()
        .filter(|r| r[0] == "ground_truth" || (r[0] == "value" && r[1] == "2"))
        .cloned()
        .collect();
    assert_eq!(one, of_slot);
    let over = run("over", &["--extra-clusters", "20"]);
    let wrong = over
        .iter()
        .filter(|r| r[2] == "class_mi" && r[0] == "key" && r[1] == "1");
    assert_eq!(wrong.count(), 31);
    let majority = run(
        "majority",
        &["--extra-clusters", "20", "--matching", "majority"],
    );
    let accuracy = |rows: &[[String; 5]]| -> f64 {
        let row = rows
            .iter()
            .find(|r| r[2] == "accuracy" && r[0] == "key" && r[1] == "1")
            .unwrap();
        row[4].parse().unwrap()
    };
    assert!(accuracy(&majority) >= accuracy(&over));
}

#[test]
fn a_settings_file_holds_the_same_names_and_a_flag_wins() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.toml");
    let model = fixture("dino-timm/model.safetensors");
    let text = format!(
        "model = {model:?}\ndata = {:?}\nfamily = \"dino\"\nheads = 2\nsize = 64\nsteps = 3\nbatch = 4\npca-batches = 2\nlimit-train = 8\nlimit-test = 4\nfacets = [\"key\"]\n",
        crate::common::camvid()
    );
    std::fs::write(&file, &text).unwrap();
    let out = dir.path().join("run");
    let (file_name, out_name) = (file.to_str().unwrap(), out.to_str().unwrap());
    succeed(crate::common::run(&[
        "probe", "--config", file_name, "--out", out_name, "--steps", "2",
    ]));
    let settings = &run_json(&out)["settings"];
    assert_eq!(
        (&settings["steps"], &settings["batch"]),
        (&2.into(), &4.into())
    );
    std::fs::write(&file, text + "stepps = 4\n").unwrap();
    let refused = crate::common::run(&["probe", "--config", file_name, "--out", out_name]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stepps"));
}

#[test]
fn facets_kept_on_disk_change_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let [kept, run_anew, small] = ["kept", "anew", "small"].map(|name| dir.path().join(name));
    succeed(probe(&kept, &[]));
    succeed(probe(&run_anew, &["--cache-budget", "0"]));
    // Twelve images of 3 layers, 4 facets, 16 patches and 16 values take 110 kB.
    succeed(probe(&small, &["--cache-budget", "100KB"]));
    assert_same(&kept, &run_anew);
    assert_same(&kept, &small);
    let times = |run: &Path| run_json(run)["times"].clone();
    assert_eq!(times(&kept)["cache_images"], 12.0);
    assert!(times(&run_anew)["cache_images"].is_null());
    assert!(times(&small)["cache_images"].is_null());
    assert!(
        run_json(&kept)["notes"]
            .to_string()
            .contains("kept on disk")
    );
    assert!(!kept.join("state").exists());
    let refused = probe(&dir.path().join("no"), &["--cache-budget", "much"]);
    assert_eq!(refused.status.code(), Some(2));
}
