//! `vitscope data check`, on a sound set and on one that is broken in more than twenty ways; images
//! that `probe --skip-bad` leaves out; and features that a Python program wrote.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{camvid, command, metrics, probe_args, run, run_json, succeed};
use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba};
use serde_json::Value;
use vitscope_testkit::{samples, scenes};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The whole report on a drawn set in CamVid's layout, whose masks are counted here once more.
#[test]
fn a_drawn_camvid_is_sound() {
    let out = tempfile::tempdir().unwrap();
    let report = check_camvid(&camvid(), out.path(), scenes::CAMVID);
    let count = |folder: &str| {
        let mut pixels = [0_u64; 12];
        for entry in fs::read_dir(scenes::camvid().join(folder)).unwrap() {
            let mask = image::open(entry.unwrap().path()).unwrap().into_luma8();
            for id in mask.into_raw() {
                pixels[usize::from(id)] += 1;
            }
        }
        pixels
    };
    for (split, folder) in [("train", "trainannot"), ("test", "testannot")] {
        let pixels = count(folder);
        for (class, pixels) in pixels[..11].iter().enumerate() {
            assert_eq!(
                report[split]["classes"][class]["pixels"], *pixels,
                "{split} {class}"
            );
        }
        assert_eq!(report[split]["ignored_pixels"], pixels[11], "{split}");
    }
    assert_eq!(report["test"]["classes"][3]["name"], "Road");
}

/// What `data check` says of a model that sees no image is what a run sets beside its slots; without training labels,
/// each image is named by the others.
#[test]
fn the_accuracies_of_no_look_are_those_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let all = ["--limit-train", "40", "--limit-test", "94"];
    let more = ["--layers", "1", "--facets", "key", "--size", "64"];
    let args = probe_args(&out, &[&more[..], &all].concat());
    succeed(command().args(args).output().unwrap());
    let check = |data: &str, more: &[&str]| {
        let args = ["data", "check", data, "--patch", "8", "--resamples", "0"];
        succeed(run(&[&args[..], more].concat()))
    };
    let report = json(&check(&camvid(), &["--size", "64", "--format", "json"]));
    let rows = metrics(&out);
    for (of_run, of_check) in [
        ("place_alone_accuracy", "accuracy_of_position"),
        ("one_class_accuracy", "accuracy_of_commonest"),
    ] {
        let row = rows.iter().find(|row| row[2] == of_run).unwrap();
        let value: f64 = row[4].parse().unwrap();
        assert_eq!(report["position"][of_check], value, "{of_check}");
    }
    assert_eq!(report["position"]["accuracies_from"], "training_labels");

    // One list: what an image shows is not what names it.
    let set = dir.path().join("set");
    for folder in ["images", "masks"] {
        fs::create_dir_all(set.join(folder)).unwrap();
    }
    for (index, classes) in [[0, 1], [1, 0]].into_iter().enumerate() {
        let name = format!("{index}.png");
        let image = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8 * 6, y as u8 * 8, index as u8]));
        image.save(set.join("images").join(&name)).unwrap();
        let mask = GrayImage::from_fn(32, 32, |x, _| Luma([classes[usize::from(x > 15)]]));
        mask.save(set.join("masks").join(&name)).unwrap();
    }
    let human = check(&set.display().to_string(), &["--size", "32"]);
    assert!(
        human.contains("0.00 % by naming the commonest class of each position, 50.00 % the commonest of all, of all other test images' labels")
            && human.contains("the place adds nothing to the commonest class"),
        "{human}"
    );
}

/// The counts that NumPy gives, in the note beside the samples.
#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn the_real_camvid_is_sound() {
    let out = tempfile::tempdir().unwrap();
    let data = format!("camvid:{}", samples("data/camvid").display());
    let report = check_camvid(&data, out.path(), (150, 94));
    assert_eq!(report["test"]["classes"][3]["name"], "Road");
    assert_eq!(report["test"]["classes"][3]["pixels"], 4_194_596);
    assert_eq!(report["train"]["classes"][10]["pixels"], 79_837);
    assert_eq!(report["test"]["ignored_pixels"], 599_787);
    let nmi = report["position"]["nmi"].as_f64().unwrap();
    assert!((nmi - 0.5418).abs() < 1e-3, "{nmi}");
}

/// What must hold of a sound set with a strong positional effect, and its report.
fn check_camvid(data: &str, out: &Path, (train, test): (usize, usize)) -> Value {
    let folder = out.display().to_string();
    let report = json(&succeed(run(&[
        "data", "check", data, "--format", "json", "--out", &folder,
    ])));
    assert_eq!(report["usable"], true);
    assert_eq!(report["problems"]["count"], 0);
    for (name, images) in [("train", train), ("test", test)] {
        assert_eq!(
            (&report[name]["images"], &report[name]["sound"]),
            (&Value::from(images), &Value::from(images))
        );
    }
    let position = &report["position"];
    let value = |name: &str| position[name].as_f64().unwrap();
    assert!(value("nmi_excess_low") < value("nmi_excess"), "{position}");
    assert!(value("nmi_excess") < value("nmi_grid"), "{position}");
    assert!(value("nmi_z") > 50.0, "{position}");
    assert!(value("accuracy_of_commonest") < value("accuracy_of_position"));
    let map = image::open(out.join("ground_truth.png")).unwrap();
    assert_eq!((map.width(), map.height()), (320, 320));
    let lists = ["train.txt", "test.txt"].map(|name| {
        let text = fs::read_to_string(out.join(name)).unwrap();
        assert!(text.lines().all(|line| Path::new(line).is_file()));
        text.lines().count()
    });
    assert_eq!(lists, [train, test]);
    let human = succeed(run(&["data", "check", data, "--patch", "14"]));
    for words in [
        &format!("{train} images, {train} masks, all sound"),
        &format!("322x322 crops of {test}"),
        "nothing would stop a run",
    ] {
        assert!(human.contains(words), "no `{words}` in\n{human}");
    }
    report
}

/// A set of 24 training and 2 test images of 40 x 30 pixels, with three classes.
fn sound_set(root: &Path) {
    for (split, count) in [("train", 24), ("test", 2)] {
        for folder in ["images", "masks"] {
            fs::create_dir_all(root.join(folder).join(split)).unwrap();
        }
        for index in 0..count {
            pair(root, split, &format!("sound{index:02}"));
        }
    }
    fs::write(root.join("classes.txt"), "ground\nsky\ntree\n").unwrap();
}

fn pair(root: &Path, split: &str, stem: &str) {
    let image = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8 * 6, y as u8 * 8, 90]));
    image
        .save(root.join(format!("images/{split}/{stem}.png")))
        .unwrap();
    let mask = GrayImage::from_fn(40, 30, |_, y| Luma([u8::from(y < 12)]));
    mask.save(root.join(format!("masks/{split}/{stem}.png")))
        .unwrap();
}

/// Breaks a set: each damage with the sort of problem it is, in the training split.
fn broken_set(root: &Path) -> Vec<&'static str> {
    sound_set(root);
    let mut expected = Vec::new();
    let mut damage = |stem: &str, sort: &'static str, break_it: &dyn Fn(&Path, &Path)| {
        pair(root, "train", stem);
        let image = root.join(format!("images/train/{stem}.png"));
        let mask = root.join(format!("masks/train/{stem}.png"));
        break_it(&image, &mask);
        expected.push(sort);
    };
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    };
    damage("a-image-cut", "damaged file", &|image, _| cut(image));
    damage("b-image-empty", "empty file", &|image, _| {
        fs::write(image, "").unwrap()
    });
    damage("c-image-text", "not an image", &|image, _| {
        fs::write(image, "hello").unwrap()
    });
    damage("d-image-gif", "unsupported format", &|image, _| {
        fs::write(image, "GIF89a").unwrap()
    });
    damage("e-image-tiff", "unsupported format", &|image, _| {
        fs::write(image, b"II*\0").unwrap()
    });
    damage("f-image-mat", "unsupported format", &|image, _| {
        fs::write(image, "MATLAB 5.0").unwrap()
    });
    damage("g-image-jpeg-cut", "damaged file", &|image, _| {
        let jpeg = image.with_extension("jpg");
        image::open(image).unwrap().save(&jpeg).unwrap();
        fs::remove_file(image).unwrap();
        cut(&jpeg);
    });
    damage("h-image-header-only", "damaged file", &|image, _| {
        fs::write(image, b"\x89PNG\r\n\x1a\n").unwrap();
    });
    damage("i-no-mask", "image without mask", &|_, mask| {
        fs::remove_file(mask).unwrap()
    });
    damage("j-two-images", "duplicate stem", &|image, _| {
        fs::copy(image, image.with_extension("bmp")).unwrap();
    });
    damage("k-two-masks", "duplicate stem", &|_, mask| {
        fs::copy(mask, mask.with_extension("bmp")).unwrap();
    });
    damage("l-mask-small", "mask size", &|_, mask| {
        GrayImage::new(39, 30).save(mask).unwrap();
    });
    damage("m-mask-turned", "mask size", &|_, mask| {
        GrayImage::new(30, 40).save(mask).unwrap();
    });
    damage("n-mask-id", "label off the table", &|_, mask| {
        GrayImage::from_pixel(40, 30, Luma([7])).save(mask).unwrap();
    });
    damage("o-mask-16-bit-id", "label off the table", &|_, mask| {
        let wide = ImageBuffer::<Luma<u16>, _>::from_pixel(40, 30, Luma([4000]));
        wide.save(mask).unwrap();
    });
    damage("p-mask-jpeg", "mask coding", &|image, mask| {
        let jpeg = mask.with_extension("jpg");
        image::open(image).unwrap().save(&jpeg).unwrap();
        fs::rename(jpeg, mask).unwrap();
    });
    damage("q-mask-colors", "mask coding", &|image, mask| {
        fs::copy(image, mask).unwrap();
    });
    damage("r-mask-deep-colors", "mask coding", &|_, mask| {
        let deep = ImageBuffer::<Rgba<u16>, _>::from_pixel(40, 30, Rgba([1, 2, 3, 4]));
        deep.save(mask).unwrap();
    });
    damage("s-mask-empty", "empty file", &|_, mask| {
        fs::write(mask, "").unwrap()
    });
    damage("t-mask-cut", "damaged file", &|_, mask| cut(mask));
    damage("u-mask-text", "not an image", &|_, mask| {
        fs::write(mask, "0 1 2").unwrap()
    });
    #[cfg(unix)]
    {
        let image = |name: &str| root.join("images/train").join(name);
        std::os::unix::fs::symlink("nowhere.png", image("v-link-to-nothing.png")).unwrap();
        std::os::unix::fs::symlink("w-loop.png", image("w-loop.png")).unwrap();
        expected.extend(["unreadable file", "unreadable file"]);
    }
    // Two things that stop nothing: a mask of no image, and a file that is none.
    GrayImage::new(4, 4)
        .save(root.join("masks/train/x-unclaimed.png"))
        .unwrap();
    fs::write(root.join("images/train/notes.txt"), "a note").unwrap();
    expected
}

#[test]
fn a_set_broken_in_twenty_ways_is_told_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let expected = broken_set(dir.path());
    assert!(expected.len() >= 21);
    let data = dir.path().display().to_string();
    let output = run(&["data", "check", &data, "--size", "64", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let report = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(report["usable"], false);
    let listed = report["problems"]["listed"].as_array().unwrap();
    let mut sorts: Vec<&str> = listed.iter().map(|p| p["sort"].as_str().unwrap()).collect();
    let mut expected = expected;
    sorts.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorts, expected, "{listed:#?}");
    assert_eq!(report["problems"]["count"], expected.len());
    for problem in listed {
        let message = problem["message"].as_str().unwrap();
        assert!(
            !message.contains('\n') && !message.ends_with('.'),
            "{message}"
        );
        let path = problem["path"].as_str().unwrap();
        assert!(
            message.contains(path) && path.starts_with(&data),
            "{message}"
        );
    }
    let values: Vec<&Value> = report["off_the_table"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["value"])
        .collect();
    assert_eq!(values, ["4000", "7"]);
    assert_eq!(report["off_the_table"][1]["pixels"], 1200);
    assert_eq!(report["unclaimed_masks"]["count"], 1);
    // The sound images of the split still count.
    assert_eq!(report["test"]["sound"], 2);
    assert_eq!(report["test"]["classes"][1]["pixels"], 2 * 12 * 40);
    assert_eq!(report["test"]["classes"][2]["images"], 0);
    // The same in words, and one line on stderr.
    let output = run(&["data", "check", &data, "--size", "64", "--quiet"]);
    assert_eq!(output.status.code(), Some(3));
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(stdout.contains("problems would stop a run"), "{stdout}");
    assert!(
        stdout.contains("1 of 3 classes occur in no test image: tree"),
        "{stdout}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("problems that would stop a run"),
        "{stderr}"
    );
}

/// Four images with a disc, which the masks draw in white.
fn white_set(root: &Path) {
    for index in 0..4u32 {
        let inside = |x: u32, y: u32| (x + index).abs_diff(32).pow(2) + y.abs_diff(30).pow(2) < 200;
        let image = RgbImage::from_fn(64, 64, |x, y| {
            let red = if inside(x, y) { 250 } else { 20 };
            Rgb([red, (3 * x) as u8, (2 * y) as u8])
        });
        let mask = GrayImage::from_fn(64, 64, |x, y| Luma([255 * u8::from(inside(x, y))]));
        for (folder, picture) in [("images", image.into()), ("masks", mask.into())] {
            let picture: image::DynamicImage = picture;
            fs::create_dir_all(root.join(folder)).unwrap();
            picture
                .save(root.join(folder).join(format!("{index}.png")))
                .unwrap();
        }
    }
}

/// A doubt is said by the check and by a run, and its advice works.
#[test]
fn masks_that_lie_are_doubted_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    white_set(&dir.path().join("set"));
    let (set, draft) = (path("set"), path("set.toml"));
    let check = ["data", "check", &set, "--size", "64", "--draft", &draft];
    let report = json(&succeed(run(&[&check[..], &["--format", "json"]].concat())));
    assert_eq!(report["usable"], true);
    assert_eq!(report["test"]["classes_present"], 1);
    assert_eq!(report["draft"], draft.as_str());
    let warning = &report["warnings"][0];
    assert_eq!(warning["sort"], "ignored class");
    let message = warning["message"].as_str().unwrap();
    assert!(
        message.contains("ids = [255]") && message.contains("--draft"),
        "{message}"
    );
    // In words; and a draft replaces nothing.
    let human = succeed(run(&check[..5]));
    assert!(human.contains("warning    255 counts nowhere"), "{human}");
    assert_eq!(run(&check).status.code(), Some(2));
    // What it wrote is a set of two classes, of which nothing is doubted.
    let described = ["data", "check", &draft, "--size", "64", "--format", "json"];
    let report = json(&succeed(run(&described)));
    assert_eq!(report["warnings"].as_array().unwrap().len(), 0, "{report}");
    assert_eq!(report["test"]["classes_present"], 2);
    // A run says the same, and keeps it.
    let mut warnings = Vec::new();
    for (data, out) in [(&set, path("white")), (&draft, path("described"))] {
        let mut args = vec!["probe".to_owned()];
        args.extend(crate::common::model());
        let given = "--size 64 --steps 2 --batch 2 --pca-batches 1 --layers last --facets key --resamples 0 --examples 1";
        args.extend(given.split(' ').map(str::to_owned));
        args.extend(["--data", data, "--out", &out].map(str::to_owned));
        let said = succeed(command().args(&args).output().unwrap());
        let line = format!("warning: {message}");
        assert_eq!(said.contains(&line), warnings.is_empty(), "{said}");
        let record = run_json(Path::new(&out));
        warnings.push(record["warnings"].as_array().cloned().unwrap_or_default());
        let page = fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
        assert_eq!(page.contains("255 counts nowhere"), warnings.len() == 1);
    }
    assert_eq!(warnings[0], [Value::from(message)]);
    assert!(warnings[1].is_empty(), "{warnings:?}");
}

#[test]
fn a_draft_begins_a_description_of_what_does_not_open() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("odd");
    for (folder, ending) in [("a", "jpg"), ("b", "png"), ("c", "png")] {
        fs::create_dir_all(root.join("masks").join(folder)).unwrap();
        for name in ["one", "two", "three"]
            .iter()
            .take(if folder == "c" { 1 } else { 3 })
        {
            fs::write(
                root.join("masks")
                    .join(folder)
                    .join(format!("{name}.{ending}")),
                b"x",
            )
            .unwrap();
        }
    }
    let (data, draft) = (root.to_str().unwrap(), scratch.path().join("odd.toml"));
    let args = ["data", "check", data, "--draft", draft.to_str().unwrap()];
    let output = run(&args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("odd.toml begins a description of it: correct it and give it as --data"),
        "{said}"
    );
    let text = fs::read_to_string(&draft).unwrap();
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["test"]["images"].as_str(), Some("masks/a"), "{text}");
    assert_eq!(table["test"]["masks"].as_str(), Some("masks/b"), "{text}");
    assert!(
        text.contains("#   masks/b: 3 files: one.png, three.png, two.png"),
        "{text}"
    );
    // It replaces nothing, and nothing is begun where there are no images.
    assert_eq!(run(&args).status.code(), Some(2));
    let empty = tempfile::tempdir().unwrap();
    let none = empty.path().join("none.toml");
    let output = run(&[
        "data",
        "check",
        empty.path().to_str().unwrap(),
        "--draft",
        none.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!none.exists());
}

#[test]
fn what_cannot_be_checked() {
    for (args, code) in [
        (vec!["data", "check", "/no/such/place"], 3),
        (vec!["data", "check", ".", "--size", "0"], 2),
        (vec!["data", "check", ".", "--resamples", "1"], 2),
        (vec!["data"], 2),
    ] {
        assert_eq!(run(&args).status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn bad_images_are_left_out_as_far_as_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    sound_set(&root);
    for stem in ["sound03", "sound07"] {
        fs::write(root.join(format!("images/train/{stem}.png")), "no image").unwrap();
    }
    pair(&root, "test", "tiny-mask");
    GrayImage::new(2, 2)
        .save(root.join("masks/test/tiny-mask.png"))
        .unwrap();
    let data = root.display().to_string();
    let probe = |out: &str, more: &[&str]| {
        let run = dir.path().join(out);
        let mut args = probe_args(&run, more);
        let at = args.iter().position(|arg| *arg == camvid()).unwrap();
        args[at].clone_from(&data);
        (command().args(args).output().unwrap(), run)
    };
    // Without the flag, or with too few allowed, the run stops with the image's name; for a test image, which comes
    // after all training, before anything is begun.
    let (stopped, run) = probe("a", &["--limit-train", "24"]);
    assert_eq!(stopped.status.code(), Some(3));
    let stderr = String::from_utf8(stopped.stderr).unwrap();
    assert!(stderr.contains("tiny-mask.png"), "{stderr}");
    assert!(!run.exists());
    let (stopped, _) = probe("b", &["--limit-train", "24", "--skip-bad", "2"]);
    assert_eq!(stopped.status.code(), Some(3));
    let stderr = String::from_utf8(stopped.stderr).unwrap();
    assert!(stderr.contains("tiny-mask.png"), "{stderr}");
    let told = "at least 3 images cannot be used, and --skip-bad allows 2: raise --skip-bad, or";
    assert!(stderr.contains(told), "{stderr}");
    let (done, run) = probe("c", &["--limit-train", "24", "--skip-bad", "3"]);
    succeed(done);
    let record = run_json(&run);
    assert_eq!(
        (&record["data"]["train"], &record["data"]["test"]),
        (&22.into(), &2.into())
    );
    let skipped = record["skipped"].as_array().unwrap();
    let names: Vec<&Value> = skipped.iter().map(|image| &image["name"]).collect();
    assert_eq!(names, ["sound03", "sound07", "tiny-mask"]);
    assert!(
        skipped[0]["problem"]
            .as_str()
            .unwrap()
            .contains("sound03.png is not an image")
    );
    // The same numbers as on a set that never had them.
    for file in ["images/train/sound03.png", "images/train/sound07.png"] {
        fs::remove_file(root.join(file)).unwrap();
    }
    fs::remove_file(root.join("images/test/tiny-mask.png")).unwrap();
    let (done, clean) = probe("d", &["--limit-train", "24"]);
    succeed(done);
    crate::common::assert_same(&run, &clean);
}

#[test]
fn a_bad_image_of_both_splits_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    for folder in ["images", "masks"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for index in 0..13 {
        pair(&root, ".", &format!("{index:02}"));
    }
    fs::write(root.join("images/07.png"), "no image").unwrap();
    let run = dir.path().join("run");
    let mut args = probe_args(&run, &["--skip-bad", "1"]);
    let at = args.iter().position(|arg| *arg == camvid()).unwrap();
    args[at] = root.display().to_string();
    succeed(command().args(args).output().unwrap());
    let record = run_json(&run);
    assert_eq!(record["skipped"].as_array().unwrap().len(), 2);
    // Where no test image is left, nothing is begun.
    fs::write(root.join("classes.txt"), "ground\n").unwrap();
    let none = dir.path().join("none");
    let mut args = probe_args(&none, &["--skip-bad", "13"]);
    args[at] = root.display().to_string();
    let refused = command().args(args).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    let told = "none of its 13 test images can be used";
    assert!(stderr.contains(told) && !none.exists(), "{stderr}");
}

/// A Python with NumPy and safetensors: the one that `VITSCOPE_PYTHON` names, else `python3`.
fn python() -> Option<String> {
    let python = std::env::var("VITSCOPE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "import numpy, safetensors.numpy"])
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(
        has || std::env::var_os("VITSCOPE_PYTHON").is_none(),
        "{python} lacks NumPy or safetensors"
    );
    has.then_some(python)
}

#[test]
fn features_written_in_python_are_probed() {
    let Some(python) = python() else {
        vitscope_testkit::left_out(
            "features from Python",
            "python3 has no NumPy and safetensors; VITSCOPE_PYTHON may name one that has",
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    sound_set(&dir.path().join("set"));
    let (set, lists, features, out) = (path("set"), path("lists"), path("features"), path("run"));
    succeed(run(&[
        "data", "check", &set, "--size", "64", "--out", &lists,
    ]));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/features.py");
    let written = Command::new(python)
        .args([script, &lists, &features])
        .output()
        .unwrap();
    assert!(
        written.status.success(),
        "{}",
        String::from_utf8_lossy(&written.stderr)
    );
    assert!(
        Path::new(&features)
            .join("train-00003-of-00003.safetensors")
            .is_file()
    );
    let probe = [
        "probe",
        "--features",
        &features,
        "--data",
        &set,
        "--out",
        &out,
        "--steps",
        "4",
        "--batch",
        "4",
        "--pca-batches",
        "2",
        "--examples",
        "1",
    ];
    succeed(run(&probe));
    let record = run_json(Path::new(&out));
    assert_eq!(
        (&record["size"], &record["model"]["source"]),
        (&64.into(), &"features".into())
    );
    // An image more in the set than in the features is said so.
    pair(&dir.path().join("set"), "test", "zz-new");
    let again = path("again");
    let probe = probe.map(|arg| if arg == out { again.as_str() } else { arg });
    let output = run(&probe);
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("has 2 test images where the data set has 3")
            && stderr.contains("or use --limit-test 2 if these are its first 2"),
        "{stderr}"
    );
    let first = probe.iter().copied().chain(["--limit-test", "2"]);
    succeed(run(&first.collect::<Vec<&str>>()));
    // In place of a model it is no checkpoint, and says what it is.
    let output = run(&["probe", &features, "--data", &set, "--out", &path("no")]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("a probe takes it as --features"),
        "{stderr}"
    );
    // The documented lines are the example's.
    let example = fs::read_to_string(script).unwrap();
    let start = example.find("def write").unwrap();
    let end = example[start..].find("\n\n").unwrap() + start;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/features.md");
    assert!(
        fs::read_to_string(page)
            .unwrap()
            .contains(&example[start..end])
    );
}

/// A description often lies where all work of a user does, and what it finds may lie behind a link.
#[test]
#[cfg(unix)]
fn outputs_lie_where_a_description_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, elsewhere) = (dir.path().join("work/photos"), dir.path().join("elsewhere"));
    for folder in [&photos, &elsewhere] {
        fs::create_dir_all(folder).unwrap();
    }
    for name in ["a.png", "b.png"] {
        RgbImage::new(32, 32).save(elsewhere.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(&elsewhere, photos.join("link")).unwrap();
    let work = dir.path().join("work");
    fs::write(work.join("set.toml"), "test.images = \"photos/**/*.png\"\n").unwrap();
    let check = |out: &str| {
        let mut check = command();
        check.args(["data", "check", "set.toml", "--size", "32", "--out", out]);
        check.current_dir(&work).output().unwrap()
    };
    for out in ["../elsewhere/new", "photos/link/new", "new/../photos/new"] {
        let output = check(out);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{out}: {said}");
        assert!(said.contains("is never written into"), "{said}");
    }
    assert!(!work.join("new").exists());
    succeed(check("runs/new"));
    assert!(work.join("runs/new/test.txt").is_file());
}
