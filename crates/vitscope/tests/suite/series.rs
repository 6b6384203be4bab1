//! `vitscope compare --series`, and what it asks of runs: exit codes and summaries.
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};

use crate::compare::{Made, compare, rows};

/// Three checkpoints: mIoU rises, falls a little, and falls far; the positional effect ends high.
fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    let figures = [
        (500, "0.30,0.28,0.32", "0.05,0.04,0.06"),
        (1000, "0.31,0.29,0.33", "0.06,0.05,0.07"),
        (20000, "0.20,0.18,0.22", "0.30,0.28,0.32"),
    ];
    // Given out of order, as a shell lists them.
    let runs = figures.iter().rev().map(|&(step, miou, excess)| {
        let mut run = Made::default();
        // The first is best at another layer, which a series does not follow.
        let other = match step {
            500 => "0.35,0.33,0.37",
            _ => "0.1,0.09,0.11",
        };
        for layer in [1, 2] {
            run.row(layer, "key", "miou", if layer == 2 { miou } else { other });
            run.row(layer, "key", "nmi_excess", excess);
        }
        run.write(&dir.join(format!("vitb16-step-{step}")))
    });
    runs.collect()
}

#[test]
fn a_series_is_in_the_order_of_steps_and_names_its_best() {
    let dir = tempfile::tempdir().unwrap();
    let runs = checkpoints(dir.path());
    let out = dir.path().join("out");
    let output = compare(&out, &runs, &["--series"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let best =
        "key: step 1000 at layer 2, mIoU 0.3100 [0.2900, 0.3300]; not told apart from step 500";
    assert!(text.contains(best), "{text}");
    let table = rows(&out.join("series.csv"));
    let steps: Vec<&str> = table[1..].iter().map(|row| row[0].as_str()).collect();
    assert!(table[1..].iter().all(|row| row[3] == "2"), "{table:?}");
    assert_eq!(steps, ["500", "500", "1000", "1000", "20000", "20000"]);
    assert!(out.join("figures/series.svg").exists());
    // Steps that are given take the place of those in names.
    let output = compare(&out, &runs, &["--series", "--steps", "3,2,1"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("key: step 2 at layer 2"), "{text}");
    // A comparison that is no series has no figure of one left.
    assert!(compare(&out, &runs, &[]).status.success());
    assert!(!out.join("series.csv").exists() && !out.join("figures/series.svg").exists());
}

/// The bootstrap samples of a run's slot key.2, as `probe` stores them.
fn draw(run: &Path, samples: &[f64]) {
    let bytes: Vec<u8> = samples.iter().flat_map(|miou| miou.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F64, vec![samples.len()], &bytes).unwrap();
    let file = safetensors::serialize([("miou.key.2", view)], None).unwrap();
    std::fs::write(run.join("samples.safetensors"), file).unwrap();
}

/// Effective rank rises while clusters close up: DSE weighs both alike, here to no difference at one step.
#[test]
fn dse_is_weighed_over_the_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [
        (1, 0.5, 0.1, 20.0),
        (2, 0.4, 0.2, 40.0),
        (3, 0.5, 0.3, 60.0),
    ];
    let runs = runs.map(|(step, inter, intra, rank)| {
        let mut run = Made::default();
        run.row(2, "key", "miou", "0.3,0.28,0.32");
        for (metric, value) in [
            ("dse_inter", inter),
            ("dse_intra", intra),
            ("effective_rank", rank),
        ] {
            run.row(2, "key", metric, &f64::to_string(&value));
        }
        run.write(&dir.path().join(format!("step-{step}")))
    });
    let out = dir.path().join("out");
    assert!(compare(&out, &runs, &["--series"]).status.success());
    let table = rows(&out.join("series.csv"));
    let value = |step: &str, metric: &str| {
        let row = table.iter().find(|row| row[0] == step && row[4] == metric);
        row.unwrap()[5].parse::<f64>().unwrap()
    };
    // inter - intra is 0.4, 0.2, 0.2, rank 20, 40, 60: deviations sqrt(2)/15 and 20 sqrt(2/3).
    let lambda = (2.0_f64.sqrt() / 15.0) / (20.0 * (2.0_f64 / 3.0).sqrt());
    for (step, apart, rank) in [("1", 0.4, 20.0), ("2", 0.2, 40.0), ("3", 0.2, 60.0)] {
        let found = value(step, "dse");
        assert!(
            (found - (apart + lambda * rank)).abs() < 1e-9,
            "{step} {found}"
        );
        assert_eq!(value(step, "effective_rank"), rank);
    }
    let figure = std::fs::read_to_string(out.join("figures/series.svg")).unwrap();
    assert!(figure.contains("DSE") && figure.contains("effective rank"));
}

/// Two checkpoints whose intervals overlap by far, while one is better on every draw of images: pairs tell them apart.
#[test]
fn the_same_images_are_held_against_each_other_in_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [(1, "0.30,0.20,0.40"), (2, "0.33,0.23,0.43")].map(|(step, miou)| {
        let mut run = Made::default();
        run.row(2, "key", "miou", miou);
        run.write(&dir.path().join(format!("step-{step}")))
    });
    let out = dir.path().join("out");
    let best = |more: &[&str]| {
        let output = compare(&out, &runs, &[&["--series"], more].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (_, said) = best(&[]);
    assert!(said.contains("; not told apart from step 1"), "{said}");
    let later = runs[1].to_str().unwrap().to_owned();
    let asked = compare(&out, &runs[..1], &["--baseline", &later]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    for (run, gain) in runs.iter().zip([0.0, 0.03]) {
        let samples: Vec<f64> = (0..40).map(|r| 0.2 + f64::from(r) / 200.0 + gain).collect();
        draw(run, &samples);
    }
    let (_, said) = best(&[]);
    assert!(
        said.contains("key: step 2 at layer 2") && !said.contains("not told apart"),
        "{said}"
    );
    assert_eq!(rows(&out.join("best_steps.csv"))[1][7], "true");
    let asked = compare(&out, &runs[..1], &["--baseline", &later]);
    let said = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert!(
        said.contains("worse, -0.0300 [-0.0300, -0.0300] in pairs over images"),
        "{said}"
    );
    // A draw in which it is no better is in the interval of the difference.
    draw(
        &runs[1],
        &(0..40)
            .map(|r| 0.2 + f64::from(r) / 200.0)
            .collect::<Vec<_>>(),
    );
    let (_, said) = best(&[]);
    assert!(
        said.contains("; not told apart in pairs over images from step 1"),
        "{said}"
    );
}

#[test]
fn conditions_and_a_baseline_decide_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let runs = checkpoints(dir.path());
    let out = dir.path().join("out");
    let code = |more: &[&str]| {
        let output = compare(&out, &runs, more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), said)
    };
    // Of a series the last step is asked, without one every run.
    assert_eq!(code(&["--series", "--fail-if", "miou > 0.25"]).0, 0);
    assert_eq!(code(&["--fail-if", "miou > 0.25"]).0, 1);
    let (failed, said) = code(&["--series", "--fail-if", "nmi_excess > 0.1"]);
    assert!(
        failed == 1 && said.contains("nmi_excess of key.2 is 0.3000"),
        "{said}"
    );
    assert_eq!(code(&["--series", "--fail-if", "key.1.miou >= 0.11"]).0, 0);
    let baseline = runs[1].to_str().unwrap();
    let xml = dir.path().join("summary.xml");
    let md = dir.path().join("summary.md");
    let asked = ["--series", "--baseline", baseline, "--summary"];
    let with = |file: &Path| -> Vec<String> {
        let asked = asked.iter().map(|word| (*word).to_owned());
        asked.chain([file.display().to_string()]).collect()
    };
    for file in [&xml, &md] {
        let more = with(file);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let (failed, said) = code(&more);
        assert!(
            failed == 1 && said.contains("worse, with intervals apart"),
            "{said}"
        );
    }
    let text = std::fs::read_to_string(&xml).unwrap();
    assert!(text.contains("tests=\"2\" failures=\"2\""), "{text}");
    let text = std::fs::read_to_string(&md).unwrap();
    assert!(
        text.contains("2 of 2 checks failed.") && text.contains("- key: step 1000"),
        "{text}"
    );
    // What somebody has written is no summary of ours.
    std::fs::write(&md, "# Mine\n").unwrap();
    let more = with(&md);
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let (refused, said) = code(&more);
    assert!(
        refused == 2 && said.contains("is not replaced"),
        "{refused} {said}"
    );
    assert_eq!(std::fs::read_to_string(&md).unwrap(), "# Mine\n");
    // The step before is no worse than the first.
    let earlier = compare(
        &out,
        &runs[1..2],
        &["--baseline", runs[2].to_str().unwrap()],
    );
    assert_eq!(earlier.status.code(), Some(0), "{earlier:?}");
}

/// A slot that collapsed has no positional effect, and that is no small one.
#[test]
fn an_undefined_number_is_no_pass() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str, effect: &str| {
        let mut run = Made::default();
        run.row(2, "key", "miou", "0.3,0.28,0.32");
        run.row(2, "key", "nmi_excess", effect);
        run.write(&dir.path().join(name))
    };
    let (defined, not) = (made("one", "0.05,0.04,0.06"), made("two", ",,"));
    let out = dir.path().join("out");
    let asked = compare(
        &out,
        &[defined.clone(), not.clone()],
        &["--fail-if", "nmi_excess > 0.1"],
    );
    let said = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert!(
        said.contains("two: nmi_excess of key.2 is undefined"),
        "{said}"
    );
    let against = compare(&out, &[not], &["--baseline", defined.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&against.stderr);
    assert_eq!(against.status.code(), Some(1), "{said}");
    assert!(said.contains("undefined here"), "{said}");
}

/// Figures and the page go when others are there to take their place, not before.
#[test]
fn a_comparison_that_is_refused_leaves_the_page_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let runs = checkpoints(dir.path());
    let out = dir.path().join("out");
    assert!(compare(&out, &runs, &["--series"]).status.success());
    let page = std::fs::read(out.join("report.html")).unwrap();
    let refused = compare(&out, &runs, &["--images", "nowhere.png"]);
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(std::fs::read(out.join("report.html")).unwrap(), page);
    assert!(out.join("figures/series.svg").exists());
}

#[test]
fn what_cannot_be_asked_is_refused_before_it_passes() {
    let dir = tempfile::tempdir().unwrap();
    let runs = checkpoints(dir.path());
    let other = Made {
        list: "2",
        ..Made::default()
    };
    let other = other.write(&dir.path().join("other"));
    let out = dir.path().join("out");
    let other = other.to_str().unwrap();
    let nameless: &[&str] = &["--series", "--steps", "1,2"];
    for (more, word) in [
        (&["--fail-if", "mIoU < 0.1"][..], "no number of metrics.csv"),
        (&["--fail-if", "pck < 0.1"], "no such number"),
        (&["--fail-if", "key.7.miou < 0.1"], "no such number"),
        (&["--baseline", other], "of other images"),
        (&["--summary", "x.txt"], "nor in .xml"),
        (nameless, "2 numbers for 3 runs"),
        (&["--series", "--steps", "1,1,2"], "both of step 1"),
    ] {
        let output = compare(&out, &runs, more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {said}");
        assert!(
            said.contains(word) && said.trim().lines().count() <= 3,
            "{more:?}: {said}"
        );
    }
}
