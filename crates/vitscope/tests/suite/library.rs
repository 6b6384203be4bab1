//! The protocol as a library gives the bytes of the program: from arrays, from a feature directory, and from a
//! backbone.

use std::path::Path;

use ndarray::{Array3, Array4, Axis};
use safetensors::{SafeTensors, serialize, tensor::Dtype, tensor::TensorView};
use vitscope_data::{DataSet, Split};
use vitscope_demo::models::{MASKED, write_models};
use vitscope_demo::{SIDE, Scenes};
use vitscope_protocol::{CheckedProtocol, Embeddings, Probe, Protocol, Scores};
use vitscope_run::{Facet, Slot};
use vitscope_study::embeddings::SlotEmbeddings;
use vitscope_study::layers::Layers;
use vitscope_study::model::{Model, Opened};
use vitscope_study::settings::Side;
use vitscope_study::source::Source;
use vitscope_vit::identify::Settle;

use crate::common::{command, metrics, succeed};

const GRID: usize = 16;
const WIDTH: usize = 12;
const CLASSES: usize = 10;
/// As many clusters as classes, and some that the directions of 12 numbers do not suffice for.
const EXTRA: usize = 5;
const SETTINGS: [&str; 14] = [
    "--steps",
    "25",
    "--batch",
    "6",
    "--pca-batches",
    "4",
    "--pca-interval",
    "2",
    "--seed",
    "3",
    "--extra-clusters",
    "5",
    "--save-counts",
    "pixel",
];

fn protocol() -> CheckedProtocol {
    Protocol::new(CLASSES + EXTRA)
        .classes(CLASSES)
        .steps(25)
        .batch(6)
        .pca_batches(4)
        .pca_interval(2)
        .seed(3)
        .check()
        .unwrap()
}

fn scenes(folder: &Path) -> String {
    let scenes = Scenes {
        seed: 5,
        bias: 0.5,
        train: 21,
        test: 11,
    };
    let root = folder.join("scenes");
    scenes.write(&root).unwrap();
    format!("folder:{}", root.display())
}

/// Something with a little structure, another for each layer.
fn features(layer: usize, images: usize, first: usize) -> Array4<f32> {
    Array4::from_shape_fn((images, GRID, GRID, WIDTH), |(image, row, column, d)| {
        let part = ((first + image) / 2 + row / 5 + column / 4 * layer) % 7;
        let noise = ((image + first) * 131 + row * 37 + column * 17 + d * 71 * layer) as f32;
        noise.sin() + if d == part { 2.0 } else { 0.0 }
    })
}

fn write(path: &Path, tensors: &[(String, Array4<f32>)]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, values)| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, values), bytes)| {
        (
            name,
            TensorView::new(Dtype::F32, values.shape().to_vec(), bytes).unwrap(),
        )
    });
    std::fs::write(path, serialize(views, None).unwrap()).unwrap();
}

/// Classes of every pixel of the test images.
fn truth(data: &DataSet, model: &Model) -> Array3<u8> {
    let (_, opened) = model.open(SIDE, &Layers::All, &Facet::ALL).unwrap();
    let items = data.split(Split::Test);
    let maps: Vec<u8> = items
        .iter()
        .flat_map(|item| data.label(item, &opened.geometry).unwrap().unwrap().ids)
        .collect();
    Array3::from_shape_vec((items.len(), SIDE, SIDE), maps).unwrap()
}

/// Holds what the library made of one slot against the files of a run.
fn assert_same(run: &Path, slot: Slot, probe: &Probe, scores: &Scores) {
    let (codebook, loss, spread) = (
        probe.codebook(),
        probe.loss().unwrap(),
        probe.spread().unwrap(),
    );
    let file = |name: &str| std::fs::read(run.join(name)).unwrap();
    let (books, counts) = (file("codebooks.safetensors"), file("counts.safetensors"));
    let (books, counts) = (
        SafeTensors::deserialize(&books).unwrap(),
        SafeTensors::deserialize(&counts).unwrap(),
    );
    let bytes = |values: Vec<[u8; 4]>| values.concat();
    let book = books.tensor(&slot.to_string()).unwrap();
    assert_eq!(book.shape(), codebook.shape());
    assert!(book.data() == bytes(codebook.iter().map(|v| v.to_le_bytes()).collect()));
    let matched = books.tensor(&format!("match.{slot}")).unwrap();
    let class_of = scores
        .class_of
        .iter()
        .map(|class| class.map_or(-1, |c| c as i64));
    assert!(matched.data() == class_of.flat_map(i64::to_le_bytes).collect::<Vec<u8>>());
    let confusion = counts.tensor(&format!("confusion.{slot}")).unwrap();
    assert!(
        confusion.data()
            == scores
                .confusion
                .iter()
                .flat_map(|c| c.to_le_bytes())
                .collect::<Vec<u8>>()
    );
    let position = counts.tensor(&format!("position.{slot}")).unwrap();
    assert!(
        position.data()
            == bytes(
                scores
                    .position_pixel
                    .iter()
                    .map(|v| v.to_le_bytes())
                    .collect()
            )
    );

    let rows = metrics(run);
    let said = |metric: &str, class: &str| -> f64 {
        let row = rows.iter().find(|row| {
            row[0] == slot.facet.name()
                && row[1] == slot.layer.to_string()
                && (row[2] == metric && row[3] == class)
        });
        row.unwrap()[4].parse().unwrap()
    };
    let (quality, test) = (
        scores.quality.as_ref().unwrap(),
        scores.test.as_ref().unwrap(),
    );
    let nmi = test.nmi.unwrap();
    for (metric, value) in [
        ("miou", quality.miou.unwrap()),
        ("accuracy", quality.accuracy.unwrap()),
        ("mi", scores.positional.mi),
        ("entropy", scores.positional.entropy),
        ("nmi", scores.positional.nmi.unwrap()),
        ("nmi_grid", scores.positional_grid.nmi.unwrap()),
        ("nmi_null", nmi.null_mean),
        ("nmi_excess", nmi.excess),
        ("nmi_z", nmi.z.unwrap()),
        ("loss", loss),
        ("clusters_used", scores.usage.unwrap().used),
        ("largest_cluster", scores.usage.unwrap().largest),
        ("common_direction", spread.common_direction.unwrap()),
        ("channel_top3", spread.channel_top3),
        ("participation", spread.participation),
    ] {
        assert_eq!(
            said(metric, "").to_bits(),
            value.to_bits(),
            "{slot} {metric}"
        );
    }
    for (class, iou) in quality.iou.iter().enumerate() {
        if let Some(iou) = iou {
            assert_eq!(said("iou", &class.to_string()).to_bits(), iou.to_bits());
        }
    }
}

/// One slot of what was opened.
fn slot_of<'a>(
    opened: &'a mut (Source, Opened),
    data: &'a DataSet,
    split: Split,
    slot: Slot,
) -> SlotEmbeddings<'a> {
    let (source, opened) = opened;
    SlotEmbeddings::new(source, opened, data, split, slot, Side::After, Side::Before).unwrap()
}

/// Fits and measures a slot and holds it against a run.
fn check(
    run: &Path,
    slot: Slot,
    train: &impl Embeddings,
    test: &impl Embeddings,
    truth: &Array3<u8>,
) {
    let probe = protocol().fit(train).unwrap();
    let scores = probe.evaluate(test, truth).unwrap();
    assert_same(run, slot, &probe, &scores);
}

#[test]
fn arrays_and_feature_directories_give_the_programs_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, dir, run) = (
        scenes(folder.path()),
        folder.path().join("features"),
        folder.path().join("run"),
    );
    std::fs::create_dir(&dir).unwrap();
    let slots = [("token.2", 2), ("key.1", 1)];
    let of = |images, first| {
        slots.map(|(name, layer)| (name.to_owned(), features(layer, images, first)))
    };
    let (train, test) = (of(21, 0), of(11, 500));
    write(&dir.join("train.safetensors"), &train);
    write(&dir.join("test.safetensors"), &test);
    let mut program = command();
    program.args(["probe", "--quiet", "--features"]).arg(&dir);
    program
        .args(["--data", &data, "--out"])
        .arg(&run)
        .args(SETTINGS);
    succeed(program.args(["--size", "128"]).output().unwrap());

    let set = DataSet::open(&data).unwrap();
    let model = Model::Features(dir);
    let truth = truth(&set, &model);
    for ((name, train), (_, test)) in train.iter().zip(&test) {
        let slot: Slot = name.parse().unwrap();
        // In a pool of its own, and from views that are not contiguous as well.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        pool.install(|| check(&run, slot, train, test, &truth));
        let mut wide = Array4::zeros((21, GRID, GRID, 2 * WIDTH));
        let (mut half, _) = wide.view_mut().split_at(Axis(3), WIDTH);
        half.assign(train);
        check(&run, slot, &half, test, &truth);

        let opened = || model.open(128, &Layers::All, &Facet::ALL).unwrap();
        let (mut one, mut other) = (opened(), opened());
        let train = slot_of(&mut one, &set, Split::Train, slot);
        let test = slot_of(&mut other, &set, Split::Test, slot);
        check(&run, slot, &train, &test, &truth);
    }
}

#[test]
fn a_backbone_gives_the_programs_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, models, run) = (
        scenes(folder.path()),
        folder.path().join("models"),
        folder.path().join("run"),
    );
    write_models(&models).unwrap();
    let path = MASKED.path(&models);
    let mut program = command();
    program.args(["probe", "--quiet"]).arg(&path);
    program
        .args(["--data", &data, "--out"])
        .arg(&run)
        .args(SETTINGS);
    program.args(["--size", "128", "--layers", "2", "--facets", "key"]);
    succeed(program.output().unwrap());

    let set = DataSet::open(&data).unwrap();
    let model = Model::Checkpoint(path, Settle::default());
    let opened = || model.open(128, &Layers::All, &[Facet::Key]).unwrap();
    let (mut one, mut other) = (opened(), opened());
    let slot: Slot = "key.2".parse().unwrap();
    let train = slot_of(&mut one, &set, Split::Train, slot);
    let test = slot_of(&mut other, &set, Split::Test, slot);
    check(&run, slot, &train, &test, &truth(&set, &model));
}
