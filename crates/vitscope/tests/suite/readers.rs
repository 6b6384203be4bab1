//! Readers that are given labels, beside k-means: together, in shards, stopped, from features, and what they find of
//! what was planted.
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use safetensors::{serialize, tensor::Dtype, tensor::TensorView};
use vitscope_demo::planted::{CODES, GRID, Meaning, codes};
use vitscope_demo::{SIDE, Scene, SceneSplit, Scenes};
use vitscope_testkit::lcg::Lcg;

use crate::common::{
    SMALL, assert_same, camvid, command, metrics, model, probe, probe_args, run, run_for, run_json,
    succeed,
};

const SOME: [&str; 6] = [
    "--layers",
    "2,3",
    "--facets",
    "key,token",
    "--reader-patches",
    "100",
];

fn value(run: &Path, slot: (&str, &str), metric: &str) -> Option<f64> {
    let rows = metrics(run);
    let found = |row: &&[String; 5]| (row[0].as_str(), row[1].as_str()) == slot && row[2] == metric;
    rows.iter().find(found).and_then(|row| row[4].parse().ok())
}

#[test]
fn readers_stand_beside_k_means_and_change_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, read) = (dir.path().join("plain"), dir.path().join("read"));
    succeed(probe(&plain, &SOME));
    let readers = [&SOME[..], &["--readers"]].concat();
    let said = succeed(probe(&read, &[&readers[..], &["--threads", "1"]].concat()));
    assert!(
        said.contains("kNN") && said.contains("given labels"),
        "{said}"
    );
    for slot in [("key", "2"), ("token", "3")] {
        for metric in ["miou", "nmi", "entropy"] {
            assert_eq!(value(&plain, slot, metric), value(&read, slot, metric));
        }
        for metric in ["knn_miou", "knn_accuracy", "linear_miou", "linear_accuracy"] {
            let value = value(&read, slot, metric).unwrap();
            assert!((0.0..=1.0).contains(&value), "{metric} {value}");
        }
    }
    // Undefined where too few of the four slots of this untrained model use their clusters, but told.
    let order = |row: &[String; 5]| row[0] == "ground_truth" && row[2] == "knn_order";
    assert!(metrics(&read).iter().any(order));
    let page = std::fs::read_to_string(read.join("report.html")).unwrap();
    assert!(page.contains("kNN mIoU") && page.contains("linear mIoU"));
    let page = std::fs::read_to_string(plain.join("report.html")).unwrap();
    assert!(!page.contains("kNN mIoU"));
    let notes = run_json(&read)["notes"].to_string();
    assert!(
        notes.contains("supervised") && notes.contains("100 of their patches"),
        "{notes}"
    );

    // The same bytes with other threads, and made together with other seeds and an edit.
    let all = dir.path().join("all");
    let more = ["--transform", "none,mean", "--seeds", "2", "--threads", "7"];
    succeed(probe(&all, &[&readers[..], &more].concat()));
    assert_same(&read, &all.join("transform-none_seed-0"));
    let alone = dir.path().join("alone");
    let more = ["--transform", "mean", "--seed", "1", "--threads", "2"];
    succeed(probe(&alone, &[&readers[..], &more].concat()));
    assert_same(&alone, &all.join("transform-mean_seed-1"));
}

#[test]
fn shards_with_readers_add_up_to_the_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let readers = [&SOME[..], &["--readers"]].concat();
    let whole = dir.path().join("whole");
    succeed(probe(&whole, &readers));
    let shards: Vec<PathBuf> = (1..=2)
        .map(|index| {
            let shard = dir.path().join(format!("shard-{index}"));
            let part = format!("{index}/2");
            succeed(probe(&shard, &[&readers[..], &["--shard", &part]].concat()));
            shard
        })
        .collect();
    let out = dir.path().join("merged");
    let shards: Vec<String> = shards.iter().map(|s| s.display().to_string()).collect();
    let out_name = out.display().to_string();
    succeed(run(&["merge", &shards[0], &shards[1], "--out", &out_name]));
    assert_same(&whole, &out);
}

#[test]
fn a_killed_run_with_readers_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    let readers = [&SOME[..], &["--readers", "--save-every", "0"]].concat();
    let begun = Instant::now();
    succeed(probe(&whole, &readers));
    let length = begun.elapsed();
    for moment in [5, 7] {
        let mut args = probe_args(&broken, &readers);
        if broken.join("run.json").exists() {
            args.push("--resume".to_owned());
        }
        run_for(args, (length * moment / 8).max(Duration::from_millis(50)));
    }
    let mut args = probe_args(&broken, &readers);
    args.push("--resume".to_owned());
    succeed(command().args(args).output().unwrap());
    assert_same(&whole, &broken);
}

#[test]
fn readers_read_features_too_and_need_labels() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (own, features, from, data) = (path("own"), path("features"), path("from"), camvid());
    let readers = [&SOME[..], &["--readers"]].concat();
    succeed(probe(Path::new(&own), &readers));
    let model = model();
    let mut args = vec!["extract"];
    args.extend(model.iter().map(String::as_str));
    args.extend(["--data", &data, "--out", &features, "--size", "64"]);
    args.extend(&SOME[..4]);
    succeed(run(&args));
    let mut args = vec![
        "probe",
        "--features",
        &features,
        "--data",
        &data,
        "--out",
        &from,
    ];
    args.extend(SMALL.chunks(2).filter(|pair| pair[0] != "--size").flatten());
    args.extend(["--readers", "--reader-patches", "100"]);
    succeed(run(&args));
    for metric in ["knn_miou", "linear_miou"] {
        let of = |run: &str| value(Path::new(run), ("key", "2"), metric).unwrap();
        assert!((of(&own) - of(&from)).abs() < 1e-9, "{metric}");
    }

    // Images alone.
    let images = dir.path().join("set/images");
    std::fs::create_dir_all(&images).unwrap();
    for entry in std::fs::read_dir(vitscope_testkit::scenes::camvid().join("train")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, images.join(from.file_name().unwrap())).unwrap();
    }
    let set = format!("folder:{}", dir.path().join("set").display());
    let mut args: Vec<&str> = vec!["probe"];
    args.extend(model.iter().map(String::as_str));
    let out = path("out");
    args.extend(["--data", &set, "--out", &out, "--size", "64", "--readers"]);
    let refused = run(&args);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("given labels") && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert!(!Path::new(&out).exists());
}

/// Width of planted vectors: an axis for each class, two for place, the rest for noise.
const WIDTH: usize = 24;

/// Vectors of a picture's patches: the class of each along its axis (`class` strong), place along two more, some noise.
fn vectors(codes: &[usize], class: f32, seed: u64) -> Vec<u8> {
    let mut rng = Lcg(seed);
    let at = |index: usize| 2.0 * (index as f32 + 0.5) / GRID as f32 - 1.0;
    let mut bytes = Vec::new();
    for (place, &code) in codes.iter().enumerate() {
        for axis in 0..WIDTH {
            let signal = match axis {
                axis if axis == code => class,
                CODES => 1.5 * at(place / GRID),
                axis if axis == CODES + 1 => 1.5 * at(place % GRID),
                _ => 0.0,
            };
            bytes.extend((signal + 0.2 * rng.uniform()).to_le_bytes());
        }
    }
    bytes
}

/// Classes under a strong ramp of place: k-means follows the ramp, readers that know the classes do not. Where nothing
/// of the classes is there, readers do no better than labels alone.
#[test]
fn readers_find_planted_classes_and_nothing_where_there_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let (data, features) = (dir.path().join("scenes"), dir.path().join("features"));
    let scenes = Scenes {
        seed: 7,
        bias: 0.0,
        train: 24,
        test: 24,
    };
    scenes.write(&data).unwrap();
    std::fs::create_dir(&features).unwrap();
    for (name, split) in [("train", SceneSplit::Train), ("test", SceneSplit::Test)] {
        let codes = |index| {
            let picture = Scene::new(7, split, index, 0.0).picture();
            codes(Meaning::Class, 7, index, &picture)
        };
        let salt = if name == "train" { 100 } else { 200 };
        let layers = [("token.1", 1.0), ("token.2", 0.0), ("token.3", 0.6)].map(|(slot, class)| {
            let all = (0..24).flat_map(|index| vectors(&codes(index), class, salt + index));
            (slot, all.collect::<Vec<u8>>())
        });
        let shape = vec![24, GRID, GRID, WIDTH];
        let views = layers.iter().map(|(slot, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (*slot, view.unwrap())
        });
        let file = features.join(format!("{name}.safetensors"));
        std::fs::write(file, serialize(views, None).unwrap()).unwrap();
    }
    let about = format!(
        "{{\"patch\": {}, \"size\": {SIDE}, \"model\": \"planted\"}}",
        SIDE / GRID
    );
    std::fs::write(features.join("features.json"), about).unwrap();
    let out = dir.path().join("run");
    let (shown, set) = (features.display().to_string(), data.display().to_string());
    let (set, to) = (format!("folder:{set}"), out.display().to_string());
    let mut args = vec!["probe", "--features", &shown, "--data", &set, "--out", &to];
    args.extend([
        "--steps",
        "50",
        "--batch",
        "8",
        "--examples",
        "1",
        "--readers",
    ]);
    succeed(run(&args));
    let of = |layer: &str, metric: &str| value(&out, ("token", layer), metric).unwrap();
    let truth = |metric: &str| value(&out, ("ground_truth", ""), metric).unwrap();
    for reader in ["knn", "linear"] {
        let found = of("1", &format!("{reader}_accuracy"));
        assert!(
            found > of("1", "accuracy") + 0.2 && found > 0.75,
            "{reader} {found}"
        );
        let nothing = of("2", &format!("{reader}_miou"));
        let labels = truth("place_alone").max(truth("one_class"));
        assert!(nothing < labels + 0.05, "{reader} {nothing} {labels}");
    }
    // Spearman's correlation of three slots, by its closed form.
    let ranks = |metric: &str| {
        let values = ["1", "2", "3"].map(|layer| of(layer, metric));
        values.map(|value| values.iter().filter(|&&other| other < value).count() as f64)
    };
    let own = ranks("miou");
    for reader in ["knn", "linear"] {
        let read = ranks(&format!("{reader}_miou"));
        let apart = own.iter().zip(read).map(|(a, b)| (a - b).powi(2));
        let expected = 1.0 - apart.sum::<f64>() / 4.0;
        let order = truth(&format!("{reader}_order"));
        assert!(
            (order - expected).abs() < 1e-12,
            "{reader} {order} {expected}"
        );
    }
}
