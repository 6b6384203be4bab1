//! `probe --plan`: what a run will take, said before it begins.

use crate::common::{probe, run_json, succeed};

#[test]
fn a_plan_counts_what_the_run_will_do_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let more = ["--format", "json", "--limit-test", "40", "--steps", "50"];
    let plan = succeed(probe(&run, &[&more[..], &["--plan"]].concat()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    succeed(probe(&run, &more));
    let times = &run_json(&run)["times"];
    for part in plan["parts"].as_array().unwrap() {
        let (phase, images) = (part["phase"].as_str().unwrap(), part["images"].as_f64());
        assert!(part["secs"].as_f64().unwrap() >= 0.0, "{part}");
        if images != Some(0.0) {
            assert_eq!(images, times[format!("{phase}_images")].as_f64(), "{phase}");
        }
    }
    let names = plan["parts"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|part| part["phase"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "open", "cache", "start", "train", "evaluate", "write", "figures"
        ]
    );
    assert_eq!(
        (&plan["cache"]["used"], &plan["cache"]["with"]),
        (&true.into(), &12.into())
    );
    // Twelve images of 3 layers, 4 facets, 16 patches and 16 values.
    assert_eq!(plan["cache"]["bytes"], 12 * 3 * 4 * 16 * 16 * 4);
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
