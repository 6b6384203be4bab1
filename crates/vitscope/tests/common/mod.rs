//! Running the program as a user would, on the smallest real things there are.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test fails by panicking; each test file uses its own part"
)]

pub mod pairs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use vitscope_data::{DataSet, Geometry, Split};
use vitscope_study::observer::Observer;
use vitscope_testkit::{fixture, scenes};
use vitscope_vit::identify::{Family, Settle};

/// A fixture of width 16 with 3 blocks, and what its file leaves open.
pub fn model() -> Vec<String> {
    let path = checkpoint().display().to_string();
    [&path, "--heads", "2", "--family", "dino"]
        .map(str::to_owned)
        .to_vec()
}

pub fn checkpoint() -> PathBuf {
    fixture("dino-timm/model.safetensors")
}

/// The same for the library.
pub fn settled() -> Settle {
    Settle {
        family: Some(Family::Dino),
        heads: Some(2),
        ..Settle::default()
    }
}

/// Asks a run to stop at its first chance.
pub struct Impatient;

impl Observer for Impatient {
    fn stop(&self) -> bool {
        true
    }
}

/// Asks a run to stop once it has had so many chances.
pub struct Patience(pub std::cell::Cell<usize>);

impl Observer for Patience {
    fn stop(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() == 0
    }
}

/// A drawn data set in CamVid's layout.
pub fn camvid() -> String {
    format!("camvid:{}", scenes::camvid().display())
}

/// Settings that make a run of a second.
pub const SMALL: [&str; 14] = [
    "--size",
    "64",
    "--steps",
    "6",
    "--batch",
    "4",
    "--pca-batches",
    "2",
    "--limit-train",
    "12",
    "--limit-test",
    "9",
    "--examples",
    "3",
];

pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vitscope"))
}

pub fn run(args: &[&str]) -> Output {
    command().args(args).output().unwrap()
}

/// Arguments of a small run of the fixture over that data set.
pub fn probe_args(out: &Path, more: &[&str]) -> Vec<String> {
    let mut args = vec!["probe".to_owned()];
    args.extend(model());
    args.extend([
        "--data".to_owned(),
        camvid(),
        "--out".to_owned(),
        out.display().to_string(),
    ]);
    // A setting that is given twice would be refused: what is asked for replaces the default.
    for pair in SMALL.chunks(2) {
        if !more.contains(&pair[0]) {
            args.extend(pair.iter().map(|&arg| arg.to_owned()));
        }
    }
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    args
}

pub fn probe(out: &Path, more: &[&str]) -> Output {
    command().args(probe_args(out, more)).output().unwrap()
}

/// Runs the program until it ends or so much time has passed; then it is killed.
pub fn run_for(args: Vec<String>, time: Duration) {
    let mut child = command()
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(time);
    // It may have ended before.
    let _ = child.kill();
    child.wait().unwrap();
}

/// The output of a run that must succeed.
pub fn succeed(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Every file of a run that must not depend on how it was made, with its bytes.
pub fn results(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    collect(run, run, &mut files);
    // Runs that were made together lie in folders of one.
    let varies = |name: &str| matches!(name.rsplit('/').next(), Some("run.json" | "report.html"));
    files.retain(|(name, _)| !varies(name));
    files.sort();
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            files.push((name, std::fs::read(&path).unwrap()));
        }
    }
}

pub fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (results(a), results(b));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{name} differs");
    }
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_folder(&path, &place),
            false => std::fs::copy(&path, &place).map(|_| ()).unwrap(),
        }
    }
}

/// Bytes of all files in a folder.
pub fn size_of(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                size_of(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

pub fn run_json(run: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// Takes the proofs out of a finished run, whose files a test then bends.
pub fn take_proofs(run: &Path) {
    let mut record = run_json(run);
    record.as_object_mut().unwrap().remove("files").unwrap();
    std::fs::write(run.join("run.json"), record.to_string()).unwrap();
}

/// Rows of `metrics.csv` as (facet, layer, metric, class, value).
pub fn metrics(run: &Path) -> Vec<[String; 5]> {
    let text = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let field: Vec<&str> = line.split(',').collect();
            [field[4], field[3], field[5], field[6], field[7]].map(str::to_owned)
        })
        .collect()
}

/// A tensor of a file: its shape, and its numbers.
pub fn floats(file: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor(name).unwrap();
    let (chunks, _) = view.data().as_chunks::<4>();
    let values = chunks.iter().map(|&bytes| f32::from_le_bytes(bytes));
    (view.shape().to_vec(), values.collect())
}

/// What `extract` writes for the crops of some test images: facets, `[images, Hp, Wp, D]` per slot, and attention, `[images, heads, T, T]`
/// per layer.
pub fn extracted(dir: &Path, images: &[usize]) -> PathBuf {
    let set = DataSet::open(&camvid()).unwrap();
    let geometry = Geometry::for_patch(64, 16);
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let mut input: Vec<u8> = Vec::new();
    for &image in images {
        let crop = set
            .image(&set.split(Split::Test)[image], &geometry)
            .unwrap();
        for c in 0..3 {
            for pixel in crop.pixels.chunks_exact(3) {
                let value = (f32::from(pixel[c]) / 255.0 - mean[c]) / std[c];
                input.extend(value.to_le_bytes());
            }
        }
    }
    let view = TensorView::new(Dtype::F32, vec![images.len(), 3, 64, 64], &input).unwrap();
    let file = dir.join("input.safetensors");
    std::fs::write(&file, serialize([("input", view)], None).unwrap()).unwrap();
    let mut args = vec!["extract".to_owned()];
    args.extend(model());
    let out = dir.join("features");
    args.extend(["--attention", "--tensor"].map(str::to_owned));
    args.extend([
        file.display().to_string(),
        "--out".to_owned(),
        out.display().to_string(),
    ]);
    succeed(command().args(args).output().unwrap());
    out.join("features.safetensors")
}
