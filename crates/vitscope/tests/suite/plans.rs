//! The plans that ship, as they are: the small one from end to end, and the paper on stand-ins for its weights and
//! data in their official layouts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use image::DynamicImage;
use image::imageops::FilterType;
use serde_json::{Value, json};
use vitscope_testkit::{fixture, scenes};

use crate::common::pairs::make_set;
use crate::common::{command, succeed};
use crate::kinds::{cityscapes, coco_stuff};

/// A plan that ships.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plans")
        .join(name)
}

fn sweep(here: &Path, args: &[String]) -> Output {
    let mut command = command();
    command.current_dir(here).args(["--format", "json"]);
    command.arg("sweep").args(args).output().unwrap()
}

fn made(here: &Path, args: &[String]) -> Value {
    serde_json::from_str(&succeed(sweep(here, args))).unwrap()
}

/// The figures and tables that a plan's text names.
fn promised(plan: &Path) -> Vec<String> {
    let text = fs::read_to_string(plan).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(|line| line.split([' ', '{', ',']));
    let kinds = ["figure-", "table-", "cityscapes-", "parts-"];
    let own = words.filter(|word| kinds.iter().any(|kind| word.starts_with(kind)));
    let mut own: Vec<String> = own.map(str::to_owned).collect();
    own.sort();
    own
}

/// Whether every name has come out as files that are there and not empty.
fn all_named(plan: &Path, out: &Path, made: &Value) {
    let named = made["report"]["named"].as_array().unwrap();
    let mut names: Vec<String> = Vec::new();
    for entry in named {
        assert_eq!(entry["why"], Value::Null, "{entry}");
        let files = entry["files"].as_array().unwrap();
        assert!(!files.is_empty(), "{entry}");
        for file in files {
            let file = out
                .join("named")
                .join(Path::new(file.as_str().unwrap()).file_name().unwrap());
            assert!(file.metadata().unwrap().len() > 20, "{}", file.display());
        }
        names.push(entry["name"].as_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, promised(plan));
    assert!(out.join("comparison/report.html").exists());
    assert!(out.join("named/index.csv").exists());
}

/// A table of numbers: its rows without the header.
fn rows(out: &Path, name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(out.join("named").join(name)).unwrap();
    let row = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().skip(1).map(row).collect()
}

#[test]
fn the_small_plan_makes_every_figure_that_it_names() {
    let here = tempfile::tempdir().unwrap();
    let plan = shipped("small.toml");
    let args = [plan.display().to_string()];
    let done = made(here.path(), &args);
    let jobs = done["jobs"].as_array().unwrap();
    assert!(
        jobs.iter().all(|job| job["standing"]["state"] == "done"),
        "{jobs:?}"
    );
    let out = here.path().join("sweeps/small");
    all_named(&plan, &out, &done);
    // Three models, the last token before and after the final LayerNorm.
    assert_eq!(rows(&out, "table-4.csv").len(), 6);
    assert_eq!(rows(&out, "table-5.csv").len(), 6);
    assert_eq!(rows(&out, "table-3.csv").len(), 12);
    // Of every setting that is varied, the usual value and the others.
    let mut varied: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(&out, "figure-10.csv") {
        let [_, setting, value, ..] = &row[..] else {
            panic!("{row:?}");
        };
        varied
            .entry(setting.clone())
            .or_default()
            .insert(value.clone());
    }
    let expected = [
        ("batch", &["8", "12"][..]),
        ("pca_interval", &["1", "2", "4"]),
        ("seed", &["0", "1"]),
    ];
    let expected = expected.map(|(setting, values)| {
        let values = values.iter().map(|value| (*value).to_owned());
        (setting.to_owned(), values.collect::<BTreeSet<String>>())
    });
    assert_eq!(varied, BTreeMap::from(expected));
    // All is done: the same again does nothing.
    let record = here
        .path()
        .join(jobs[0]["run"].as_str().unwrap())
        .join("run.json");
    let before = record.metadata().unwrap().modified().unwrap();
    made(here.path(), &args);
    assert_eq!(record.metadata().unwrap().modified().unwrap(), before);
}

/// PASCAL-Part's archive beside VOC2010: drawn annotations under many names.
fn pascal_part(root: &Path, photograph: &DynamicImage, train: usize) {
    let voc = root.join("VOCdevkit/VOC2010");
    let places = [
        root.join("Annotations_Part"),
        voc.join("JPEGImages"),
        voc.join("ImageSets/Main"),
    ];
    for place in &places {
        fs::create_dir_all(place).unwrap();
    }
    let drawn = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../vitscope-data/tests/golden/parts/Annotations_Part/2008_000003.mat");
    let stem = |index: usize| format!("2008_{:06}", index + 1);
    // The size that the annotation has.
    let image = photograph.resize_exact(120, 64, FilterType::Triangle);
    for index in 0..train + 2 {
        fs::copy(&drawn, places[0].join(format!("{}.mat", stem(index)))).unwrap();
        let jpeg = places[1].join(format!("{}.jpg", stem(index)));
        image.to_rgb8().save(jpeg).unwrap();
    }
    let list = |from: usize, to: usize| (from..to).map(|i| stem(i) + "\n").collect::<String>();
    fs::write(places[2].join("train.txt"), list(0, train)).unwrap();
    fs::write(places[2].join("val.txt"), list(train, train + 2)).unwrap();
}

/// Stand-ins for the four data sets of the paper, where its plan looks for them.
fn stand_ins(here: &Path) {
    let small = |index: usize| {
        let path = scenes::photographs().join(format!("{index:04}.png"));
        let image = image::open(path).unwrap();
        image.resize_exact(96, 80, FilterType::Triangle)
    };
    let photographs = [0, 1, 2].map(small);
    let data = here.join("data");
    // As many as the largest batch of the plan.
    coco_stuff(&data.join("coco"), true, &photographs, 48);
    cityscapes(&data.join("cityscapes"), &photographs, 24);
    pascal_part(&data.join("pascal-part"), &photographs[0], 24);
    make_set(&data.join("SPair-71k"));
}

/// A definition as `--set` takes it: models with the heads of tiny ones, which released ones tell by their sizes.
fn set(name: &str, models: &[PathBuf]) -> [String; 2] {
    let one = |path: &PathBuf| format!("{{ model = {:?}, heads = 2 }}", path.display().to_string());
    let models: Vec<String> = models.iter().map(one).collect();
    [
        "--set".to_owned(),
        format!("{name}=[{}]", models.join(", ")),
    ]
}

#[test]
fn every_job_of_the_paper_resolves_on_the_official_layouts() {
    let here = tempfile::tempdir().unwrap();
    stand_ins(here.path());
    let plan = shipped("paper.toml");
    // The ten families, in the layouts in which they were released.
    let models = [
        "supervised-timm",
        "openclip-openclip",
        "mae-official/mae_pretrain_vit_tiny.pth",
        "mocov3-official/vit-t-300ep.pth.tar",
        "mugs-official/vit_tiny_backbone.pth",
        "dino-official-full-p8/dino_vittiny8_pretrain_full_checkpoint.pth",
        "ibot-official/checkpoint_teacher.pth",
        "dinov2-timm",
        "dinov2reg-transformers",
        "dinov3-official/dinov3_vitt16_pretrain.pth",
    ]
    .map(fixture);
    let mut args = vec![plan.display().to_string(), "--dry-run".to_owned()];
    args.push("--no-estimate".to_owned());
    args.extend(set("models", &models));
    args.extend(set("sizes", &models[9..]));
    args.extend(set("sensitive", &models[5..6]));
    args.extend(set(
        "overclustered",
        &[&models[2..3], &models[5..6]].concat(),
    ));
    let dry = made(here.path(), &args);
    let jobs = dry["jobs"].as_array().unwrap();
    for job in jobs {
        assert_eq!(job["standing"]["state"], "waiting", "{job}");
        assert_eq!(job["problem"], Value::Null, "{job}");
    }
    // COCO twice, Cityscapes and parts once, pairs twice; overclustering; interval, batch and seed, two each.
    assert_eq!(jobs.len(), 10 * 6 + 2 + 6);
    assert!(!here.path().join("sweeps/paper/runs").exists());
}

#[test]
fn the_paper_comes_out_under_its_names_beside_its_values() {
    let here = tempfile::tempdir().unwrap();
    stand_ins(here.path());
    let plan = shipped("paper.toml");
    // One whose clusters do not collapse: a slot that has fewer is left out of figures.
    let model = [fixture("dinov2-timm")];
    let mut args = vec![plan.display().to_string()];
    for name in ["models", "sizes", "sensitive", "overclustered"] {
        args.extend(set(name, &model));
    }
    for given in ["steps=4", "size=64"] {
        args.extend(["--set".to_owned(), given.to_owned()]);
    }
    let done = made(here.path(), &args);
    let out = here.path().join("sweeps/paper");
    all_named(&plan, &out, &done);
    // A model of no size that the paper has stands beside nothing. With the size of one that it has, its values
    // are there: Table 4 of the last token, Tables 3 and 5 of key points.
    let column = |name: &str| -> Vec<String> {
        let paper = rows(&out, name).into_iter().map(|row| row[10].clone());
        paper.collect()
    };
    assert!(column("table-4.csv").iter().all(String::is_empty));
    for job in done["jobs"].as_array().unwrap() {
        let record = here
            .path()
            .join(job["run"].as_str().unwrap())
            .join("run.json");
        let mut value: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        value["model"]["size"] = json!("B");
        fs::write(record, value.to_string()).unwrap();
    }
    let mut again = vec!["report".to_owned()];
    again.extend(args);
    succeed(sweep(here.path(), &again));
    for (name, count) in [("table-4.csv", 2), ("table-3.csv", 4), ("table-5.csv", 2)] {
        let paper = column(name);
        let there = |value: &String| value.parse::<f64>().is_ok_and(|value| value > 0.0);
        assert!(
            paper.len() == count && paper.iter().all(there),
            "{name} {paper:?}"
        );
    }
}
