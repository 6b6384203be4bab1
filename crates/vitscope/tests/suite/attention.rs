//! `vitscope attention` end to end.
use std::path::Path;

use crate::common::{assert_same, command, extracted, floats, metrics, run_json, succeed};
use vitscope_study::attention::{AttentionRequest, AttentionSettings, attention};
use vitscope_study::observer::Silent;

fn args(out: &Path, more: &[&str]) -> Vec<String> {
    let mut args = vec!["attention".to_owned()];
    args.extend(crate::common::model());
    let out = out.display().to_string();
    args.extend([
        "--data".to_owned(),
        crate::common::camvid(),
        "--out".to_owned(),
        out,
    ]);
    for pair in [["--size", "64"], ["--limit-test", "5"]] {
        if !more.contains(&pair[0]) {
            args.extend(pair.map(str::to_owned));
        }
    }
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    args
}

/// Mutual information by its definition, in f64.
fn brute(matrix: &[f64], n: usize) -> f64 {
    let total: f64 = matrix.iter().sum();
    let row = |q: usize| (0..n).map(|k| matrix[q * n + k] / total).sum::<f64>();
    let column = |k: usize| (0..n).map(|q| matrix[q * n + k] / total).sum::<f64>();
    let mut sum = 0.0;
    for q in 0..n {
        for k in 0..n {
            let p = matrix[q * n + k] / total;
            sum += p * (p / (row(q) * column(k))).ln();
        }
    }
    sum
}

#[test]
fn figures_are_those_of_the_extracted_attention() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let queries = ["--queries", "test-0000:1,2", "test-0003:3,0"];
    let table = succeed(command().args(args(&run, &queries)).output().unwrap());
    assert!(table.contains("I(K,Q)"), "{table}");
    let record = run_json(&run);
    assert_eq!(
        (&record["command"], &record["state"]),
        (&"attention".into(), &"complete".into())
    );
    let rows = metrics(&run);
    assert_eq!(rows.len(), 3 * (1 + 2));
    let features = extracted(dir.path(), &[0, 1, 2, 3, 4]);
    let stored = run.join("attention.safetensors");
    for layer in 1..=3 {
        let (shape, weights) = floats(&features, &format!("attention.{layer}"));
        let [images, heads, tokens] = [shape[0], shape[1], shape[2]];
        assert_eq!((images, heads, tokens), (5, 2, 17));
        let n = tokens - 1;
        let matrix = |image: usize, head: usize| -> Vec<f64> {
            let at = (image * heads + head) * tokens * tokens;
            let weight = |q: usize, k: usize| weights[at + (q + 1) * tokens + k + 1];
            (0..n * n)
                .map(|i| f64::from(weight(i / n, i % n)))
                .collect()
        };
        let averaged = |image: usize| -> Vec<f64> {
            let (a, b) = (matrix(image, 0), matrix(image, 1));
            a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect()
        };
        let figure = |metric: &str, class: &str| -> f64 {
            let wanted = |r: &&[String; 5]| {
                r[0].is_empty() && r[1] == layer.to_string() && r[2] == metric && r[3] == class
            };
            rows.iter().find(wanted).unwrap()[4].parse().unwrap()
        };
        let whole = (0..5).map(|i| brute(&averaged(i), n)).sum::<f64>() / 5.0;
        assert!(
            (figure("locality", "") - whole).abs() < 1e-6,
            "layer {layer}: {whole}"
        );
        for head in 0..2 {
            let expected = (0..5).map(|i| brute(&matrix(i, head), n)).sum::<f64>() / 5.0;
            let found = figure("locality_head", &head.to_string());
            assert!((found - expected).abs() < 1e-6, "layer {layer} head {head}");
        }
        let (shape, mean) = floats(&stored, &format!("mean.{layer}"));
        assert_eq!(shape, [n, n]);
        for (at, &found) in mean.iter().enumerate() {
            let expected = (0..5).map(|i| averaged(i)[at]).sum::<f64>() / 5.0;
            assert!((f64::from(found) - expected).abs() < 1e-6);
        }
        let (shape, row) = floats(&stored, &format!("query.{layer}.test-0000.1-2"));
        assert_eq!(shape, [4, 4]);
        for (k, &found) in row.iter().enumerate() {
            assert!((f64::from(found) - averaged(0)[6 * n + k]).abs() < 1e-6);
        }
        for picture in [
            format!("mean.{layer}"),
            format!("query.{layer}.test-0003.3-0"),
        ] {
            let picture = image::open(run.join(format!("attention/{picture}.png"))).unwrap();
            assert!(picture.width() == picture.height());
        }
    }
}

#[test]
fn threads_change_no_byte_and_a_run_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, threads: &str| {
        let out = dir.path().join(name);
        let more = ["--threads", threads, "--queries", "test-0000:0,0"];
        succeed(command().args(args(&out, &more)).output().unwrap());
        out
    };
    let one = run("one", "1");
    assert_same(&one, &run("three", "3"));
    let again = command().args(args(&one, &[])).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("holds a run already"));
}

/// Stopped after every batch, a run that is taken up again and again ends in the same bytes.
#[test]
fn a_broken_run_resumes_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let more = ["--queries", "test-0000:1,2", "--limit-test", "21"];
    let [whole, broken] = ["whole", "broken"].map(|name| dir.path().join(name));
    succeed(command().args(args(&whole, &more)).output().unwrap());
    let settings = AttentionSettings {
        size: 64,
        limit: Some(21),
        queries: vec!["test-0000:1,2".parse().unwrap()],
        ..AttentionSettings::default()
    };
    let mut request = AttentionRequest {
        model: crate::common::checkpoint(),
        settle: crate::common::settled(),
        data: crate::common::camvid(),
        out: Some(broken.clone()),
        settings,
        resume: false,
    };
    for resume in [false, true] {
        request.resume = resume;
        let error = attention(&request, &mut crate::common::Impatient).unwrap_err();
        assert!(
            error.to_string().contains("continue with `resume`"),
            "{error}"
        );
        assert_eq!(run_json(&broken)["state"], "interrupted");
    }
    let mut other = request.clone();
    other.settings.seed = 1;
    let error = attention(&other, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("other settings"), "{error}");
    let outcome = attention(&request, &mut Silent).unwrap();
    vitscope_figure::draw(&broken).unwrap();
    outcome.session.tidy().unwrap();
    assert_same(&whole, &broken);
    assert!(!broken.join("state").exists());
}

#[test]
fn wrong_words_are_told() {
    let dir = tempfile::tempdir().unwrap();
    for (more, word) in [
        (["--queries", "nowhere:0,0"], "nowhere"),
        (["--queries", "test-0000:4,0"], "4 x 4"),
        (["--queries", "test-0000"], "query"),
        (["--split", "all"], "--split"),
        (["--layers", "4"], "layer 4"),
    ] {
        let out = command()
            .args(args(&dir.path().join("run"), &more))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(word), "{stderr}");
        assert!(!dir.path().join("run/run.json").exists());
    }
}
