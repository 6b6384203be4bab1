//! Vectors edited before they are probed: runs made together, alone, again, in shards, from features; and what a
//! planted ramp does to them.
use std::path::{Path, PathBuf};
use std::process::Output;

use safetensors::{serialize, tensor::Dtype, tensor::TensorView};
use vitscope_demo::planted::{CODES, GRID, Meaning, codes};
use vitscope_demo::{SIDE, Scene, SceneSplit, Scenes};
use vitscope_testkit::lcg::Lcg;

use crate::common::{
    assert_same, camvid, command, metrics, model, probe, probe_args, run, run_for, run_json,
    succeed, take_proofs,
};

fn refused(output: Output, word: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(word), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

fn number(run: &Path, slot: (&str, &str), metric: &str) -> f64 {
    let rows = metrics(run);
    let found = |row: &&[String; 5]| (row[0].as_str(), row[1].as_str()) == slot && row[2] == metric;
    rows.iter().find(found).unwrap()[4].parse().unwrap()
}

/// Two layers of two facets, to keep it short.
const SOME: [&str; 4] = ["--layers", "2,3", "--facets", "key,token"];

#[test]
fn transforms_made_together_are_those_made_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("all");
    let list = "none,mean,svd:3,leace:2,random:3x2";
    let more = [&SOME[..], &["--transform", list, "--seeds", "2"]].concat();
    succeed(probe(&out, &more));
    for (transform, seed) in [("leace:2", "1"), ("random:3", "0"), ("random:3@2", "1")] {
        let named = transform.replace(':', "-");
        let alone = dir.path().join(format!("alone-{named}"));
        let more = ["--transform", transform, "--seed", seed, "--threads", "1"];
        succeed(probe(&alone, &[&SOME[..], &more].concat()));
        let together = out.join(format!("transform-{named}_seed-{seed}"));
        assert_same(&alone, &together);
        let record = run_json(&together);
        assert_eq!(record["settings"]["transform"], transform);
        assert!(record["notes"].to_string().contains("was fitted on"));
    }
    // Nothing taken out is the run as it always was.
    let plain = dir.path().join("plain");
    succeed(probe(&plain, &SOME));
    assert_same(&plain, &out.join("transform-none_seed-0"));
    assert!(!plain.join("transforms.safetensors").exists());
    let times = &run_json(&out.join("transform-none_seed-0"))["times"];
    assert!(times["fit_images"].as_f64().unwrap() <= 12.0);
    assert_eq!(times["train_images"], 24.0);
    // The rest of them, and every one leaves something else.
    let rest = dir.path().join("rest");
    let list = "center,standardize,blank:2,rasa:1,content:3";
    succeed(probe(&rest, &[&SOME[..], &["--transform", list]].concat()));
    let mut found = Vec::new();
    for entry in [&out, &rest]
        .into_iter()
        .flat_map(|out| std::fs::read_dir(out).unwrap())
    {
        let folder = entry.unwrap().path();
        found.push(std::fs::read(folder.join("codebooks.safetensors")).unwrap());
        let name = folder.to_string_lossy().into_owned();
        if !name.contains("none") {
            let of = |metric: &str| number(&folder, ("key", "2"), metric);
            let (before, left) = (of("position_r2"), of("position_r2_left"));
            let most = match ["mean", "leace"].iter().any(|part| name.contains(part)) {
                true => before / 50.0,
                // Standardizing takes none out; what the ridge does differs a little.
                false => before + 0.01,
            };
            assert!(left <= most, "{name}: {before} {left}");
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 17);
}

#[test]
fn a_broken_run_and_shards_end_in_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let more = [
        &SOME[..],
        &[
            "--transform",
            "mean,random:2",
            "--steps",
            "30",
            "--threads",
            "1",
        ],
    ]
    .concat();
    let whole = dir.path().join("whole");
    let begun = std::time::Instant::now();
    succeed(probe(&whole, &more));
    let length = begun.elapsed();
    let broken = dir.path().join("broken");
    let mut args = probe_args(&broken, &more);
    args.push("--resume".to_owned());
    for moment in 1..=2 {
        run_for(args.clone(), length * moment / 3);
    }
    succeed(command().args(args).output().unwrap());
    for name in ["transform-mean", "transform-random-2"] {
        assert_same(&whole.join(name), &broken.join(name));
    }
    let more = [&SOME[..], &["--transform", "mean", "--steps", "30"]].concat();
    let shards: Vec<PathBuf> = ["1/2", "2/2"]
        .map(|part| {
            let shard = dir.path().join(part.replace('/', "-"));
            succeed(probe(&shard, &[&more[..], &["--shard", part]].concat()));
            shard
        })
        .to_vec();
    let merged = dir.path().join("merged");
    let shown = |path: &PathBuf| path.display().to_string();
    let (first, second, out) = (shown(&shards[0]), shown(&shards[1]), shown(&merged));
    succeed(run(&["merge", &first, &second, "--out", &out]));
    assert_same(&whole.join("transform-mean"), &merged);
}

fn extract(out: &Path, more: &[&str]) -> Output {
    let mut args = vec!["extract".to_owned()];
    args.extend(model());
    args.extend(["--data".to_owned(), camvid(), "--out".to_owned()]);
    args.push(out.display().to_string());
    args.extend(["--size", "64"].map(str::to_owned));
    args.extend(more.iter().map(|&more| more.to_owned()));
    command().args(args).output().unwrap()
}

/// What is typed to probe features as `probe` does the model.
fn probe_features<'a>(features: &'a str, data: &'a str, out: &'a str) -> Vec<&'a str> {
    let mut args = vec![
        "probe",
        "--features",
        features,
        "--data",
        data,
        "--out",
        out,
    ];
    let small = crate::common::SMALL.chunks(2);
    args.extend(small.filter(|pair| pair[0] != "--size").flatten());
    args
}

/// From features as from the model; with the transform of a run in place of a fit; and as `extract` writes them.
#[test]
fn a_transform_serves_features_other_runs_and_extraction() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own");
    let more = [&SOME[..], &["--transform", "leace:2"]].concat();
    succeed(probe(&own, &more));
    let features = dir.path().join("features");
    succeed(extract(&features, &SOME));
    let from_features = dir.path().join("from-features");
    let path = |path: &Path| path.display().to_string();
    let (of_features, to, data) = (path(&features), path(&from_features), camvid());
    let mut args = probe_features(&of_features, &data, &to);
    args.extend(["--transform", "leace:2"]);
    succeed(run(&args));
    let books = |run: &Path| std::fs::read(run.join("codebooks.safetensors")).unwrap();
    assert!(books(&own) == books(&from_features));
    refused(
        run(&[&args[..args.len() - 1], &["blank:2"]].concat()),
        "needs a model",
    );
    let neutral = [
        &args[..args.len() - 2],
        &["--transform", "mean", "--transform-fit", "neutral"],
    ]
    .concat();
    refused(run(&neutral), "needs a model");

    let again = dir.path().join("again");
    let from = path(&own);
    succeed(probe(
        &again,
        &[&SOME[..], &["--transform-from", &from]].concat(),
    ));
    assert!(books(&own) == books(&again));
    assert_eq!(run_json(&again)["settings"]["transform"], "leace:2");

    let edited = dir.path().join("edited");
    succeed(extract(
        &edited,
        &[&SOME[..], &["--transform-from", &from]].concat(),
    ));
    // What is written is what the probes saw: probed as it is, it gives their centroids.
    let of_edited = path(&edited);
    let from_edited = dir.path().join("from-edited");
    let to = path(&from_edited);
    succeed(run(&probe_features(&of_edited, &data, &to)));
    assert!(books(&own) == books(&from_edited));

    // Of another size, other slots, no transform at all.
    for (more, word) in [
        (
            &["--transform-from", &from, "--size", "32"][..],
            "was fitted at 64 pixels",
        ),
        (
            &["--transform-from", &from, "--layers", "1"],
            "holds no transform of key.1",
        ),
        (
            &["--transform-from", &from, "--transform", "mean"],
            "holds the transform leace:2",
        ),
        (
            &[
                "--transform-from",
                &from,
                "--layers",
                "3",
                "--token-norm",
                "before",
            ],
            "was fitted with --token-norm after",
        ),
    ] {
        refused(probe(&dir.path().join("none"), more), word);
    }
    let plain = dir.path().join("plain");
    succeed(probe(&plain, &SOME));
    let plain = path(&plain);
    refused(
        probe(&dir.path().join("none"), &["--transform-from", &plain]),
        "made with --transform",
    );
    assert!(!dir.path().join("none").exists());
}

#[test]
fn what_cannot_be_taken_out_is_told_before_anything_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    for (transform, word) in [
        ("svd:500", "takes out 500 directions, and there are 1"),
        ("leace:9", "takes out 80 directions"),
        ("random:16", "there are 15"),
        ("median", "is not one of"),
        ("svd", "needs a number"),
        ("mean,mean", "twice"),
    ] {
        refused(probe(&out, &["--transform", transform]), word);
    }
    let one = ["--transform", "mean", "--batch", "1", "--pca-batches", "1"];
    refused(
        probe(&out, &one),
        "needs 2 training images to be fitted on, and there are 1",
    );
    assert!(!out.exists());
}

/// Width of planted vectors: an axis for each class, two for the ramp, the rest for noise.
const WIDTH: usize = 64;
const TRAIN: u64 = 40;
const TEST: u64 = 48;

/// A picture's patches: the class of each along its axis, place along two more axes (`ramp` strong), some noise.
fn vectors(codes: &[usize], ramp: f32, seed: u64) -> Vec<f32> {
    let mut rng = Lcg(seed);
    let at = |index: usize| 2.0 * (index as f32 + 0.5) / GRID as f32 - 1.0;
    let mut values = Vec::with_capacity(codes.len() * WIDTH);
    for (place, &code) in codes.iter().enumerate() {
        for axis in 0..WIDTH {
            let signal = match axis {
                axis if axis == code => 1.0,
                // The mean of a class's axis is taken off, so that no direction is common to all.
                axis if axis < CODES => -0.1,
                CODES => ramp * at(place / GRID),
                axis if axis == CODES + 1 => ramp * at(place % GRID),
                _ => 0.0,
            };
            values.push(signal + 0.2 * rng.uniform());
        }
    }
    values
}

/// Features of scenes with a ramp in layer 1, and without one in layer 2, in which training images show classes at
/// random places; gives the data set.
fn planted(folder: &Path) -> (PathBuf, PathBuf) {
    let (data, features) = (folder.join("scenes"), folder.join("features"));
    let scenes = Scenes {
        seed: 7,
        bias: 0.0,
        train: TRAIN as usize,
        test: TEST as usize,
    };
    scenes.write(&data).unwrap();
    std::fs::create_dir(&features).unwrap();
    let test = |index: u64| {
        codes(
            Meaning::Class,
            7,
            index,
            &Scene::new(7, SceneSplit::Test, index, 0.0).picture(),
        )
    };
    // Frequent classes and rare ones, so that principal directions are no matter of chance.
    let train = |index: u64| {
        let mut rng = Lcg(1000 + index);
        let draw = |rng: &mut Lcg| rng.below(CODES as u64).max(rng.below(CODES as u64));
        (0..GRID * GRID).map(|_| draw(&mut rng)).collect::<Vec<_>>()
    };
    let write = |name: &str, images: u64, codes: &dyn Fn(u64) -> Vec<usize>| {
        let layers: Vec<(String, Vec<u8>)> = [("token.1", 1.5), ("token.2", 0.0)]
            .map(|(name, ramp)| {
                let values = (0..images).flat_map(|index| vectors(&codes(index), ramp, index));
                (name.to_owned(), values.flat_map(f32::to_le_bytes).collect())
            })
            .to_vec();
        let shape = vec![images as usize, GRID, GRID, WIDTH];
        let views = layers.iter().map(|(name, bytes)| {
            (
                name,
                TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
            )
        });
        std::fs::write(features.join(name), serialize(views, None).unwrap()).unwrap();
    };
    write("train.safetensors", TRAIN, &train);
    write("test.safetensors", TEST, &test);
    let about = format!(
        "{{\"patch\": {}, \"size\": {SIDE}, \"model\": \"planted\"}}",
        SIDE / GRID
    );
    std::fs::write(features.join("features.json"), about).unwrap();
    (data, features)
}

/// A ramp beside the classes: what takes position out brings the positional effect down to the ground truth's and mIoU
/// up; random directions move nothing, content lowers mIoU, and the mean, which is 0, does neither. Without a ramp
/// nothing gains.
#[test]
fn a_planted_ramp_is_taken_out_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (data, features) = planted(dir.path());
    let out = dir.path().join("runs");
    succeed(run(&[
        "probe",
        "--quiet",
        "--features",
        features.to_str().unwrap(),
        "--data",
        &format!("folder:{}", data.display()),
        "--out",
        out.to_str().unwrap(),
        "--steps",
        "300",
        "--batch",
        "8",
        "--examples",
        "2",
        "--seeds",
        "2",
        "--transform",
        "none,center,mean,svd:2,leace:2,rasa:1,random:2,content:2",
    ]));
    let of = |transform: &str, seed: usize, layer: &str, metric: &str| {
        let folder = format!("transform-{}_seed-{seed}", transform.replace(':', "-"));
        number(&out.join(folder), ("token", layer), metric)
    };
    let truth = number(
        &out.join("transform-none_seed-0"),
        ("ground_truth", ""),
        "nmi_excess",
    );
    for seed in 0..2 {
        for transform in [
            "none",
            "center",
            "mean",
            "svd:2",
            "leace:2",
            "rasa:1",
            "random:2",
            "content:2",
        ] {
            let both = |metric: &str| ["1", "2"].map(|layer| of(transform, seed, layer, metric));
            println!(
                "{seed} {transform:<10} mIoU {:.3?} effect {:.3?}",
                both("miou"),
                both("nmi_excess")
            );
        }
        let (miou, effect) = (
            of("none", seed, "1", "miou"),
            of("none", seed, "1", "nmi_excess"),
        );
        assert!(effect > 0.2 && truth < 0.05, "{effect} {truth}");
        for edit in ["mean", "svd:2", "leace:2", "rasa:1"] {
            assert!(of(edit, seed, "1", "nmi_excess") < truth + 0.02, "{edit}");
            assert!(of(edit, seed, "1", "miou") > miou + 0.2, "{edit}");
            let r2 = ["position_r2", "position_r2_left"].map(|metric| of(edit, seed, "1", metric));
            // One round of readers leaves what lies aslant to them.
            let least = if edit == "rasa:1" { 1.0 } else { 4.0 };
            assert!(r2[1] < r2[0] / least, "{edit} {r2:?}");
            let gain = of(edit, seed, "2", "miou") - of("none", seed, "2", "miou");
            assert!(gain < 0.03, "{edit} gains {gain} without a ramp");
        }
        for control in ["center", "random:2"] {
            assert!(
                (of(control, seed, "1", "nmi_excess") - effect).abs() < 0.15,
                "{control}"
            );
            assert!(
                (of(control, seed, "1", "miou") - miou).abs() < 0.15,
                "{control}"
            );
        }
        let lost = of("none", seed, "2", "miou") - of("content:2", seed, "2", "miou");
        assert!(lost > 0.05, "content loses {lost}");
    }
    report(dir.path(), &out);
}

/// An edit on top of `center`: of the vectors that a run with `center` saw, `none` is that run, and edits and controls are
/// judged as always.
#[test]
fn centered_vectors_are_asked_as_features() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (center, centered, out) = (path("center"), path("centered"), path("runs"));
    let more = [&SOME[..], &["--transform", "center"]].concat();
    succeed(probe(Path::new(&center), &more));
    let more = [&SOME[..], &["--transform-from", &center]].concat();
    succeed(extract(Path::new(&centered), &more));
    let data = camvid();
    let mut args = probe_features(&centered, &data, &out);
    args.extend(["--transform", "none,center,mean,random:2,content:2"]);
    succeed(run(&args));
    let numbers = |run: &Path| std::fs::read(run.join("codebooks.safetensors")).unwrap();
    let plain = Path::new(&out).join("transform-none");
    assert!(numbers(Path::new(&center)) == numbers(&plain));
    let runs = ["none", "center", "mean", "random-2", "content-2"];
    let runs = runs.map(|name| format!("{out}/transform-{name}"));
    let compared = path("compared");
    let mut args = vec!["compare", "--out", &compared];
    args.extend(runs.iter().map(String::as_str));
    let said = succeed(run(&args));
    assert!(said.contains("key 2, mean:"), "{said}");
    assert!(!said.contains("Nothing can be said without"), "{said}");
}

/// What a comparison of those runs says: the rules, end to end.
fn report(dir: &Path, runs: &Path) {
    let compared = dir.join("compared");
    let mut args = vec![
        "compare".to_owned(),
        "--out".to_owned(),
        compared.display().to_string(),
    ];
    let folders = |runs: &Path, without: &str| {
        let entries = std::fs::read_dir(runs).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path().display().to_string());
        let mut paths: Vec<String> = paths.filter(|path| !path.contains(without)).collect();
        paths.sort();
        paths
    };
    args.extend(folders(runs, "nothing"));
    let said = succeed(command().args(&args).output().unwrap());
    let sentence = |start: &str| {
        let mut lines = said.lines();
        lines
            .find(|line| line.starts_with(start))
            .unwrap()
            .to_owned()
    };
    for edit in ["mean", "svd:2", "leace:2", "rasa:1"] {
        let found = sentence(&format!("token 1, {edit}:"));
        assert!(found.contains("Position lowers mIoU here"), "{found}");
        assert!(found.contains("2 seeds"), "{found}");
        // One draw a seed is few.
        assert!(found.contains("drawn 2 times"), "{found}");
        let found = sentence(&format!("token 2, {edit}:"));
        assert!(
            found.contains("does not lie beyond the ground truth's"),
            "{found}"
        );
    }
    let table = std::fs::read_to_string(compared.join("causes.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 2 * 8 * 2);
    let page = std::fs::read_to_string(compared.join("report.html")).unwrap();
    assert!(page.contains("Position lowers mIoU here"));
    assert!(
        compared.join("figures/causes.svg").exists()
            && compared.join("figures/cause-maps.svg").exists()
    );
    // Without a control, nothing.
    let other = dir.join("uncontrolled");
    let mut args = vec![
        "compare".to_owned(),
        "--out".to_owned(),
        other.display().to_string(),
    ];
    args.extend(folders(runs, "random"));
    let said = succeed(command().args(&args).output().unwrap());
    assert!(
        said.contains("Nothing can be said without the controls random:R"),
        "{said}"
    );
    assert!(!said.contains("Position lowers mIoU here"));
    // Nor with one that is collapsed in the slot: to be above it says nothing.
    collapse(&runs.join("transform-content-2_seed-1"), ",1,token,");
    let args = |out: &str| {
        let out = dir.join(out).display().to_string();
        let mut args = vec!["compare".to_owned(), "--out".to_owned(), out];
        args.extend(folders(runs, "nothing"));
        args
    };
    let said = succeed(command().args(args("collapsed")).output().unwrap());
    for edit in ["mean", "svd:2", "leace:2", "rasa:1"] {
        let start = format!("token 1, {edit}:");
        let found = said.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!(
            found.contains("Nothing can be said: a control is collapsed"),
            "{found}"
        );
    }
}

/// Makes a slot of a run one that says it uses a single cluster.
fn collapse(run: &Path, slot: &str) {
    let path = run.join("metrics.csv");
    let table = std::fs::read_to_string(&path).unwrap();
    let mut header = table.lines().next().unwrap().split(',');
    let value = header.position(|name| name == "value").unwrap();
    let (mut found, mut changed) = (0, String::new());
    for line in table.lines() {
        let number = match line {
            line if line.contains(&format!("{slot}clusters_used,")) => Some("1"),
            line if line.contains(&format!("{slot}largest_cluster,")) => Some("0.99"),
            _ => None,
        };
        let mut fields: Vec<&str> = line.split(',').collect();
        if let Some(number) = number {
            found += 1;
            fields[value] = number;
        }
        changed += &format!("{}\n", fields.join(","));
    }
    assert_eq!(found, 2);
    take_proofs(run);
    std::fs::write(&path, changed).unwrap();
}
