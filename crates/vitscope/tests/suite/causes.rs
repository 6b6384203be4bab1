//! `vitscope causes` end to end, on models that know place alone, or content alone, by construction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{SafeTensors, serialize, tensor::TensorView};
use vitscope_testkit::fixture;

use vitscope_study::StudyError;
use vitscope_study::causes::{CausesOutcome, CausesRequest, CausesSettings, causes};
use vitscope_study::observer::{self, Observer, Phase, Silent};

use crate::common::{assert_same, camvid, checkpoint, command, run_json, settled, succeed};

/// Slots and what `metrics.csv` says of each: value, low, high by the number's name.
type Numbers = BTreeMap<String, BTreeMap<String, [Option<f64>; 3]>>;

fn run(model: &Path, out: &Path, more: &[&str]) -> (Numbers, String) {
    let mut args = vec!["causes", model.to_str().unwrap(), "--data"];
    let (data, out_text) = (camvid(), out.display().to_string());
    args.extend([data.as_str(), "--out", &out_text, "--heads", "2"]);
    if !model.ends_with("dinov3-timm") {
        args.extend(["--family", "dino", "--layout", "timm"]);
    }
    for pair in [
        ["--size", "64"],
        ["--limit-train", "12"],
        ["--limit-test", "9"],
        ["--steps", "20"],
        ["--resamples", "20"],
    ] {
        args.extend(pair);
    }
    args.extend(more);
    let said = succeed(command().args(&args).output().unwrap());
    (read(out), said)
}

fn read(out: &Path) -> Numbers {
    let text = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
    let mut numbers = Numbers::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [layer, facet, metric, _, value, low, high] = fields[fields.len() - 7..] else {
            panic!("{line}")
        };
        let parsed = [value, low, high].map(|text| text.parse().ok());
        let slot = format!("{facet}.{layer}");
        let of_slot = numbers.entry(slot).or_default();
        of_slot.insert(metric.to_owned(), parsed);
    }
    numbers
}

fn value(numbers: &Numbers, slot: &str, name: &str) -> f64 {
    let value = numbers[slot][name][0];
    value.unwrap_or_else(|| panic!("{slot} {name} is undefined"))
}

/// The tiny model with some of its tensors changed.
pub(crate) fn changed(folder: &Path, change: impl Fn(&str, &[usize], &mut [f32])) -> PathBuf {
    let bytes = std::fs::read(checkpoint()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let (values, _) = view.data().as_chunks::<4>();
        let mut values: Vec<f32> = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
        change(name, view.shape(), &mut values);
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        (name.to_owned(), view.dtype(), view.shape().to_vec(), bytes)
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let path = folder.join("model.safetensors");
    std::fs::write(&path, serialize(views, None).unwrap()).unwrap();
    path
}

#[test]
fn a_model_that_sees_nothing_follows_the_place_and_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let model = changed(dir.path(), |name, _, values| {
        if name.starts_with("patch_embed.") {
            values.fill(0.0);
        }
    });
    let (numbers, said) = run(&model, &dir.path().join("run"), &[]);
    let slots: Vec<&String> = numbers
        .keys()
        .filter(|slot| *slot != "ground_truth.")
        .collect();
    assert_eq!(slots.len(), 12);
    for slot in slots {
        let of = |name: &str| value(&numbers, slot, name);
        for view in ["shift", "flip", "roll", "permute"] {
            let [content, place, reference, lean] = [
                "agree_content",
                "agree_place",
                "agree_reference",
                "place_lean",
            ]
            .map(|name| of(&format!("{name}@{view}")));
            assert_eq!(place, 1.0, "{slot} {view}");
            assert!((content - reference).abs() < 1e-12, "{slot} {view}");
            assert!((lean - (place - content)).abs() < 1e-12 && lean > 0.0);
        }
        // Labels lie by their codes as they lay by their places before; by their places they lie anyhow.
        for view in ["roll", "permute"] {
            assert_eq!(of(&format!("code_nmi@{view}")), of("place_nmi@plain"));
            assert!(of(&format!("place_nmi@{view}")) < 0.5 * of("place_nmi@plain"));
        }
        // One code: one label everywhere.
        assert_eq!(of("agree_content@one_code"), 0.0);
        assert_eq!(numbers[slot]["place_nmi@one_code"], [None; 3]);
    }
    // What it comes to is told of both views, and of the code.
    for when in ["the crop is moved", "the image is mirrored"] {
        let sentence = format!(
            "When {when}, labels follow the place more than the content in 12 of 12 slots, and the content more than the place in 0 of 12 (95 %"
        );
        assert!(said.contains(&sentence), "{said}");
    }
    assert!(
        said.contains("and it goes with the position code"),
        "{said}"
    );
    // The classes' own agreement at one place stands beside.
    let truth = &numbers["ground_truth."];
    assert!(truth["agree_place@shift"][0].unwrap() < 0.9 && truth["place_nmi@plain"][0].is_some());
}

#[test]
fn a_model_without_positions_follows_the_content() {
    let dir = tempfile::tempdir().unwrap();
    // Patches that look the same in a mirror, so that a flip changes nothing but their places.
    let model = changed(dir.path(), |name, shape, values| {
        if name == "pos_embed" {
            values.fill(0.0);
        }
        if name == "patch_embed.proj.weight" {
            for row in values.chunks_exact_mut(shape[3]) {
                let mirrored: Vec<f32> = row.iter().rev().copied().collect();
                row.iter_mut()
                    .zip(mirrored)
                    .for_each(|(w, m)| *w = (*w + m) / 2.0);
            }
        }
    });
    let (numbers, said) = run(
        &model,
        &dir.path().join("run"),
        &["--facets", "key,value,token"],
    );
    assert!(
        !said.contains("and it goes with the position code"),
        "{said}"
    );
    assert!(said.contains("in none the place more"), "{said}");
    for slot in numbers.keys().filter(|slot| *slot != "ground_truth.") {
        let of = |name: &str| value(&numbers, slot, name);
        for view in ["roll", "permute", "one_code"] {
            assert_eq!(of(&format!("agree_content@{view}")), 1.0, "{slot} {view}");
            assert_eq!(of(&format!("place_nmi@{view}")), of("place_nmi@plain"));
            assert_eq!(of(&format!("patch_miou@{view}")), of("patch_miou@plain"));
        }
        assert!(of("code_nmi@permute").abs() < 0.25);
        // What a patch is before it has looked at others does not depend on what else the crop shows; a flip
        // shows the same, so that all layers see the same.
        let exact = ["key.1", "value.1"].contains(&slot.as_str());
        for view in ["shift", "flip"] {
            let [content, place, reference] =
                ["content", "place", "reference"].map(|name| of(&format!("agree_{name}@{view}")));
            if exact || view == "flip" {
                assert!(content > 0.99, "{slot} {view} {content}");
                assert!((place - reference).abs() < 0.01, "{slot} {view}");
                assert!(of(&format!("place_lean@{view}")) < 0.0, "{slot} {view}");
            }
        }
    }
}

#[test]
fn a_rotary_model_is_moved_and_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let (numbers, _) = run(&fixture("dinov3-timm"), &one, &["--layers", "1,2"]);
    // The first layer's keys are made before any attention: neither reaches them.
    for view in ["move", "cut", "cut_mean"] {
        let name = format!("agree_content@{view}");
        assert_eq!(value(&numbers, "key.1", &name), 1.0);
        let token = numbers["token.2"][&name];
        let [Some(agreed), Some(low), Some(high)] = token else {
            panic!("{token:?}")
        };
        assert!(low <= agreed && agreed <= high);
        assert!(!numbers["token.2"].contains_key(&format!("agree_place@{view}")));
    }
    // A rotary code reaches no key before it is rotated, either.
    assert_eq!(value(&numbers, "key.1", "agree_content@roll"), 1.0);
    let record = run_json(&one);
    assert_eq!(record["command"], "causes");
    assert_eq!(record["data"]["train"], 12);
    // Same bytes at any number of threads.
    run(
        &fixture("dinov3-timm"),
        &two,
        &["--layers", "1,2", "--threads", "1"],
    );
    let bytes = |run: &Path| std::fs::read(run.join("metrics.csv")).unwrap();
    assert_eq!(bytes(&one), bytes(&two));
    // Its page is its own; it is not compared with others.
    for figure in ["followed", "place-and-code"] {
        let drawn = std::fs::read_to_string(one.join(format!("figures/{figure}.csv"))).unwrap();
        assert!(drawn.lines().count() > 8, "{drawn}");
        assert!(drawn.contains("cut_mean") == (figure == "place-and-code"));
    }
    let page = std::fs::read(one.join("report.html")).unwrap();
    std::fs::remove_file(one.join("report.html")).unwrap();
    let [one_text, two_text] = [&one, &two].map(|path| path.to_str().unwrap());
    succeed(command().args(["report", one_text]).output().unwrap());
    assert_eq!(std::fs::read(one.join("report.html")).unwrap(), page);
    let out = dir.path().join("compared");
    let output = command()
        .args(["compare", one_text, two_text, "--out"])
        .arg(&out)
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(!out.join("report.html").exists());
}

#[test]
fn what_cannot_be_tested_is_said_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let (data, model) = (camvid(), checkpoint().display().to_string());
    let out = dir.path().join("run").display().to_string();
    let taken = dir.path().display().to_string();
    let base = [
        "causes", &model, "--heads", "2", "--family", "dino", "--data", &data,
    ];
    for (more, expected) in [
        (
            vec!["--size", "64", "--shift", "4", "--out", &out],
            "choose 1 to 3",
        ),
        (vec!["--size", "16", "--out", &out], "choose a larger"),
        (vec!["--out", &taken], "holds something"),
        (vec!["--layers", "9", "--out", &out], "layer 9"),
    ] {
        let args: Vec<&str> = base.into_iter().chain(more).collect();
        let output = command().args(&args).output().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(expected), "{error}");
        assert!(!dir.path().join("run").exists());
    }
}

/// Stops a run when so much is done of a phase.
struct StopsAt {
    phase: Phase,
    after: u64,
    now: Option<Phase>,
    done: u64,
}

impl Observer for StopsAt {
    fn begin(&mut self, phase: Phase, done: u64, _: u64) {
        (self.now, self.done) = (Some(phase), done);
    }
    fn advance(&mut self, images: u64, _: Option<f64>) {
        self.done += images;
    }
    fn stop(&self) -> bool {
        self.now == Some(self.phase) && self.done >= self.after
    }
}

#[test]
fn a_stopped_or_killed_run_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    let request = |out: &Path, resume| CausesRequest {
        model: checkpoint(),
        settle: settled(),
        data: camvid(),
        out: Some(out.to_owned()),
        settings: CausesSettings {
            size: 64,
            layers: "1,3".parse().unwrap(),
            limit_train: 12,
            limit_test: 20,
            steps: 10,
            resamples: 20,
            ..CausesSettings::default()
        },
        resume,
    };
    let end = |outcome: CausesOutcome| {
        vitscope_figure::draw(&outcome.run).unwrap();
        outcome.session.tidy().unwrap();
        outcome.slots
    };
    let expected = end(causes(&request(&whole, false), &mut Silent).unwrap());
    for (phase, after) in [
        (observer::FIT, 8),
        (observer::CAUSES, 8),
        (observer::CAUSES, 16),
    ] {
        let mut stops = StopsAt {
            phase,
            after,
            now: None,
            done: 0,
        };
        let stopped = causes(&request(&broken, true), &mut stops);
        assert!(matches!(stopped, Err(StudyError::Interrupted { .. })));
        // It went on where it was.
        assert_eq!((stops.now, stops.done), (Some(phase), after));
    }
    let refused = causes(&request(&broken, false), &mut Silent).unwrap_err();
    assert!(refused.to_string().contains("`resume`"), "{refused}");
    let outcome = causes(&request(&broken, true), &mut Silent).unwrap();
    assert_eq!(outcome.slots, expected);
    // Killed before its figures were drawn: complete, and only those are left to do.
    drop(outcome);
    let again = causes(&request(&broken, true), &mut Silent).unwrap();
    assert_eq!(end(again), expected);
    assert_same(&whole, &broken);
    assert!(!broken.join("state").exists());
}
