//! `probe --plan`: what a run will take, said before it begins.

use crate::common::{probe, run_json, size_of, succeed};

fn json(output: std::process::Output) -> serde_json::Value {
    serde_json::from_str(&succeed(output)).unwrap()
}

/// Name, images and seconds of every part.
fn parts(plan: &serde_json::Value) -> Vec<(&str, f64, f64)> {
    plan["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            let number = |key: &str| part[key].as_f64().unwrap();
            let (images, secs) = (number("images"), number("secs"));
            // A part that images go through takes time for each of them.
            let per_image = number("secs_per_image");
            assert_eq!(images > 0.0, per_image > 0.0, "{part}");
            assert!(secs >= 0.999 * images * per_image, "{part}");
            (part["phase"].as_str().unwrap(), images, secs)
        })
        .collect()
}

#[test]
fn a_plan_counts_what_the_run_will_do_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let more = ["--format", "json", "--limit-test", "40", "--steps", "50"];
    let plan = json(probe(&run, &[&more[..], &["--plan"]].concat()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    succeed(probe(&run, &more));
    let times = &run_json(&run)["times"];
    let parts = parts(&plan);
    let names: Vec<&str> = parts.iter().map(|part| part.0).collect();
    assert_eq!(
        names,
        [
            "open", "cache", "start", "train", "evaluate", "write", "figures"
        ]
    );
    // Twelve training images go through the model once, into the cache; two batches of four for the start and
    // fifty for the training come from it.
    for (phase, images) in [
        ("cache", 12.0),
        ("start", 8.0),
        ("train", 200.0),
        ("evaluate", 40.0),
    ] {
        let planned = parts.iter().find(|part| part.0 == phase).unwrap().1;
        let made = times[format!("{phase}_images")].as_f64();
        assert_eq!((planned, made), (images, Some(images)), "{phase}");
    }
    let sum: f64 = parts.iter().map(|part| part.2).sum();
    assert!((plan["secs"].as_f64().unwrap() - sum).abs() < 1e-6 * sum);
    assert_eq!(
        (&plan["cache"]["used"], &plan["cache"]["with"]),
        (&true.into(), &12.into())
    );
    // Twelve images of 3 layers, 4 facets, 16 patches and 16 values.
    assert_eq!(plan["cache"]["bytes"], 12 * 3 * 4 * 16 * 16 * 4);
    let (planned, made) = (plan["disk"].as_f64().unwrap(), size_of(&run) as f64);
    assert!(
        (0.5..2.0).contains(&(planned / made)),
        "planned {planned} bytes, made {made}"
    );
}

/// Ten thousand times the steps take many times as long, on a machine however busy.
#[test]
fn a_plan_of_more_work_takes_longer() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let secs = |steps: &str| {
        let plan = json(probe(
            &run,
            &["--plan", "--format", "json", "--steps", steps],
        ));
        parts(&plan)
            .iter()
            .find(|part| part.0 == "train")
            .unwrap()
            .2
    };
    let (few, many) = (secs("100"), secs("1000000"));
    assert!(
        many > 5.0 * few,
        "{few} s for 100 steps, {many} s for 1,000,000"
    );
}

#[test]
fn a_plan_says_what_would_stop_the_run_and_why_no_facets_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let said = succeed(probe(&run, &["--plan", "--cache-budget", "0"]));
    assert!(
        said.contains("not kept on disk") && said.contains("--cache-budget"),
        "{said}"
    );
    let said = succeed(probe(&run, &["--plan", "--seeds", "2", "--batch", "3,4"]));
    assert!(
        said.contains("memory") && said.contains("from a rehearsal"),
        "{said}"
    );
    let refused = probe(&run, &["--plan", "--batch", "1000"]);
    assert_eq!(refused.status.code(), Some(2));
    let refused = probe(&run, &["--plan", "--resume"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(!run.exists());
}
