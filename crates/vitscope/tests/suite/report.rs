//! `vitscope report` on runs of every command.
use std::path::Path;
use std::process::Output;

use vitscope_testkit::scenes;

use crate::common::{camvid, command, model, probe, run_json, succeed};

fn report(run: &Path, more: &[&str]) -> Output {
    command()
        .arg("report")
        .arg(run)
        .args(more)
        .output()
        .unwrap()
}

/// Every line of the table is about a slot of the run, what to do is said once, and what is no run of probes is
/// refused as damaged data are.
#[test]
fn artifacts_are_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    succeed(probe(&run, &["--layers", "2,3", "--facets", "key,token"]));
    let artifacts = |path: &Path, more: &[&str]| {
        let command = command().arg("artifacts").arg(path).args(more).output();
        command.unwrap()
    };
    let found: serde_json::Value =
        serde_json::from_str(&succeed(artifacts(&run, &["--format", "json"]))).unwrap();
    let found = found["findings"].as_array().unwrap();
    let odd = found.iter().filter(|finding| finding["health"] != "ok");
    let odd = odd.count();
    let said = succeed(artifacts(&run, &[]));
    let rows = said
        .lines()
        .filter(|line| line.starts_with("look") || line.starts_with("broken"));
    assert_eq!(rows.count(), odd, "{said}");
    let sum = format!("{} of {} measures ok", found.len() - odd, found.len());
    let mut steps = said.lines().skip_while(|line| *line != sum);
    assert!(steps.next().is_some(), "{said}");
    let mut steps: Vec<&str> = steps.collect();
    assert!(steps.iter().all(|step| step.contains(": ")), "{said}");
    let count = steps.len();
    steps.dedup();
    assert_eq!(steps.len(), count, "{said}");
    for path in [dir.path().join("none"), dir.path().to_path_buf()] {
        let output = artifacts(&path, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("is not a run directory"), "{stderr}");
    }
}

#[test]
fn chosen_images_are_shown_and_unknown_ones_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    succeed(probe(&run, &[]));
    let record = run_json(&run);
    let stems: Vec<&str> = record["examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stem| stem.as_str().unwrap())
        .collect();
    let shown = |more: &[&str]| {
        let page = succeed(report(&run, more));
        assert!(page.trim_end().ends_with("report.html"), "{page}");
        let csv = std::fs::read_to_string(run.join("figures/examples.csv")).unwrap();
        csv.lines()
            .nth(1)
            .unwrap()
            .split(',')
            .nth(2)
            .unwrap()
            .to_owned()
    };
    let [first, second, third] = stems[..] else {
        panic!("three examples")
    };
    assert_eq!(shown(&[]), format!("{first} {second} {third}"));
    assert_eq!(
        shown(&["--images", third, first]),
        format!("{third} {first}")
    );
    // The examples that show the class at all, those first that show most of it.
    let pixels = |stem: &str| {
        let mask = scenes::camvid().join(format!("testannot/{stem}.png"));
        let mask = image::open(mask).unwrap().into_luma8();
        let (width, height) = mask.dimensions();
        let crop = image::imageops::crop_imm(&mask, (width - height) / 2, 0, height, height);
        let road = 3;
        crop.to_image().pixels().filter(|id| id.0 == [road]).count()
    };
    let mut roads: Vec<&str> = stems.iter().copied().filter(|s| pixels(s) > 0).collect();
    roads.sort_by_key(|stem| std::cmp::Reverse(pixels(stem)));
    assert!(!roads.is_empty());
    assert_eq!(shown(&["--images", "class:Road"]), roads.join(" "));
    for (word, sentence) in [
        ("nowhere", "--images nowhere: no example has this name"),
        ("random:x", "has no whole number as seed"),
        ("class:Moon", "no class has this name"),
    ] {
        let output = report(&run, &["--images", word]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(sentence), "{stderr}");
    }
}

#[test]
fn attention_runs_have_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut args = vec!["attention".to_owned()];
    args.extend(model());
    args.extend(["--data".to_owned(), camvid(), "--out".to_owned()]);
    args.push(run.display().to_string());
    let more = [
        "--size",
        "64",
        "--limit-test",
        "3",
        "--queries",
        "test-0000:1,2",
    ];
    args.extend(more.map(str::to_owned));
    succeed(command().args(args).output().unwrap());
    succeed(report(&run, &[]));
    for figure in ["attention", "locality-by-layer"] {
        for form in ["svg", "png", "pdf", "csv"] {
            assert!(run.join(format!("figures/{figure}.{form}")).exists());
        }
    }
    assert!(run.join("report.html").exists());
}
