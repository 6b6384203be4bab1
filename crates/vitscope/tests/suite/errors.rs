//! Bad input gets one clear sentence that names the file, and the right exit code.

use std::path::Path;

use crate::common::{camvid, command, copy_folder};
use vitscope_testkit::{fixture, scenes};

/// Runs and checks exit code, one line on stderr, and words in it.
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let output = command().args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let last: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("vitscope: "))
        .collect();
    assert_eq!(last.len(), 1, "{stderr}");
    for word in words {
        assert!(last[0].contains(word), "no `{word}` in: {}", last[0]);
    }
    assert!(output.stdout.is_empty());
}

fn probe_with(model: &str, data: &str, out: &Path, more: &[&str], code: i32, words: &[&str]) {
    let out = out.join("run").display().to_string();
    let mut args = vec!["probe", model, "--data", data, "--out", &out];
    args.extend([
        "--size",
        "64",
        "--steps",
        "2",
        "--batch",
        "2",
        "--pca-batches",
        "1",
    ]);
    args.extend(more);
    refused(&args, code, words);
}

const SETTLED: [&str; 4] = ["--heads", "2", "--family", "dino"];

fn model() -> String {
    fixture("dino-timm/model.safetensors").display().to_string()
}

#[test]
fn checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(model()).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let data = camvid();
    let check = |model: &str, words: &[&str]| {
        probe_with(model, &data, dir.path(), &SETTLED, 3, words);
    };
    check("nowhere/model.safetensors", &["nowhere/model.safetensors"]);
    check(
        &file("short.safetensors", &bytes[..bytes.len() / 2]),
        &["short.safetensors"],
    );
    check(&file("empty.safetensors", b""), &["empty.safetensors"]);
    check(&file("text.pth", b"not a checkpoint"), &["text.pth"]);
    let header = String::from_utf8_lossy(&bytes[8..]).into_owned();
    assert!(header.contains("blocks.1.attn.proj.bias"));
    let renamed: Vec<u8> = {
        let at = bytes
            .windows(23)
            .position(|w| w == b"blocks.1.attn.proj.bias")
            .unwrap();
        let mut copy = bytes.clone();
        copy[at..at + 23].copy_from_slice(b"blocks.1.attn.proj.biaz");
        copy
    };
    check(
        &file("missing.safetensors", &renamed),
        &["missing.safetensors", "blocks.1.attn.proj.bias"],
    );
    // os.system in a pickle: refused by name, not run.
    let hostile = b"\x80\x02cos\nsystem\nX\x07\x00\x00\x00touch x\x85R.";
    check(&file("hostile.pth", hostile), &["hostile.pth"]);
}

#[test]
fn data_sets() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    for folder in ["images/train", "images/test", "masks/train", "masks/test"] {
        std::fs::create_dir_all(set.join(folder)).unwrap();
    }
    let source = scenes::camvid().join("train");
    let masks = scenes::camvid().join("trainannot");
    let mut names: Vec<_> = std::fs::read_dir(&source)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    for (index, name) in names.iter().take(6).enumerate() {
        let split = if index < 4 { "train" } else { "test" };
        std::fs::copy(source.join(name), set.join("images").join(split).join(name)).unwrap();
        std::fs::copy(masks.join(name), set.join("masks").join(split).join(name)).unwrap();
    }
    let spec = format!("folder:{}", set.display());
    let model = model();
    let check = |words: &[&str]| probe_with(&model, &spec, dir.path(), &SETTLED, 3, words);
    let victim = |kind: &str| set.join(kind).join("test").join(&names[5]);
    let name = names[5].to_str().unwrap();

    let (image, mask) = (victim("images"), victim("masks"));
    let (good_image, good_mask) = (
        std::fs::read(&image).unwrap(),
        std::fs::read(&mask).unwrap(),
    );
    let clean = || {
        let _ = std::fs::remove_dir_all(dir.path().join("run"));
    };
    std::fs::write(&image, &good_image[..good_image.len() / 3]).unwrap();
    check(&[name]);
    clean();
    std::fs::write(&image, b"").unwrap();
    check(&[name]);
    clean();
    std::fs::write(&image, &good_image).unwrap();
    std::fs::remove_file(&mask).unwrap();
    check(&[name]);
    clean();
    // A mask of another size.
    image::GrayImage::new(10, 20).save(&mask).unwrap();
    check(&[name]);
    clean();
    std::fs::write(&mask, &good_mask).unwrap();
    // A table that is shorter than the ids.
    std::fs::write(set.join("classes.txt"), "sky\nbuilding\n").unwrap();
    check(&["masks"]);
    clean();
    std::fs::remove_file(set.join("classes.txt")).unwrap();
    probe_with(
        &model,
        "folder:nowhere",
        dir.path(),
        &SETTLED,
        3,
        &["nowhere"],
    );
    let strange = dir.path().join("strange");
    std::fs::create_dir_all(strange.join("a/b")).unwrap();
    let strange = strange.to_str().unwrap();
    probe_with(&model, strange, dir.path(), &SETTLED, 3, &[strange]);
    probe_with(&model, "kitti:nowhere", dir.path(), &SETTLED, 3, &["kitti"]);
}

#[test]
fn settings() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = (model(), camvid());
    let check = |more: &[&str], words: &[&str]| {
        let mut all = SETTLED.to_vec();
        all.extend(more);
        probe_with(&model, &data, dir.path(), &all, 2, words);
    };
    check(&["--layers", "9"], &["layer 9", "3"]);
    check(&["--layers", "first"], &["--layers"]);
    check(&["--facets", "keys"], &["keys"]);
    check(&["--matching", "best"], &["--matching", "hungarian"]);
    check(&["--clusters", "300"], &["300", "255"]);
    check(&["--clusters", "0"], &["--clusters"]);
    check(&["--lr", "nan"], &["--lr"]);
    check(&["--device", "cuda"], &["cuda", "cpu"]);
    check(&["--dtype", "f16"], &["f16", "f32", "cuda"]);
    check(&["--limit-train", "1"], &["--batch"]);
    probe_with(
        &model,
        &data,
        dir.path(),
        &["--family", "resnet", "--heads", "2"],
        2,
        &["resnet"],
    );
    let refused = command().args(["probe", &model]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn features() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (data, out) = (camvid(), dir.path().join("run").display().to_string());
    let check = |features: &Path, words: &[&str]| {
        let features = features.display().to_string();
        refused(
            &[
                "probe",
                "--features",
                &features,
                "--data",
                &data,
                "--out",
                &out,
            ],
            3,
            words,
        );
    };
    check(&empty, &["train.safetensors"]);
    check(Path::new("nowhere"), &["nowhere"]);
    std::fs::write(empty.join("train.safetensors"), b"short").unwrap();
    check(&empty, &["train.safetensors"]);
}

#[test]
fn a_file_in_the_way_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, b"in the way").unwrap();
    let out = blocked.join("run").display().to_string();
    let (model, data) = (model(), camvid());
    let mut args = vec!["probe", &model, "--data", &data, "--out", &out];
    args.extend(SETTLED);
    refused(&args, 3, &["file", "create the folder"]);
}

/// Whichever thread comes first to one of several images that cannot be read, the same is said.
#[test]
fn what_is_said_does_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    copy_folder(scenes::camvid(), &set);
    for split in ["train", "test"] {
        for index in [3, 11, 17, 29] {
            let path = set.join(format!("{split}/{split}-{index:04}.png"));
            std::fs::write(path, "no image").unwrap();
        }
    }
    let (model, data) = (model(), format!("camvid:{}", set.display()));
    let out = dir.path().join("out").display().to_string();
    let commands: [&[&str]; 2] = [
        &["data", "check", &data, "--size", "32", "--quiet"],
        &[
            "extract", &model, "--heads", "2", "--family", "dino", "--data", &data, "--out", &out,
            "--size", "32", "--quiet",
        ],
    ];
    for args in commands {
        let said = |threads: &str| {
            let output = command().args(args).args(["--threads", threads]).output();
            let output = output.unwrap();
            assert!(!output.status.success(), "{args:?}");
            (output.stdout, output.stderr)
        };
        let first = said("1");
        for threads in ["2", "7", "7"] {
            assert_eq!(said(threads), first, "{args:?} {threads}");
        }
    }
}
