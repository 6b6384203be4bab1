//! The main job on every kind of data set: on real samples where there are some, and elsewhere on
//! photographs in the exact layout of the official download.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{metrics, model, run, run_json, shared, succeed};
use image::{DynamicImage, GrayImage, ImageFormat, Luma};

/// Photographs of the samples, alphabetically.
fn photographs() -> Vec<DynamicImage> {
    let folder = shared("data/camvid/train");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let some = paths.iter().step_by(30).take(4);
    some.map(|path| image::open(path).unwrap()).collect()
}

fn save(image: &DynamicImage, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let format = ImageFormat::from_path(path).unwrap();
    image.to_rgb8().save_with_format(path, format).unwrap();
}

/// A mask of the photograph's size: bands of the given ids, so that every id occurs.
fn save_bands(image: &DynamicImage, ids: &[u8], path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (width, height) = (image.width(), image.height());
    let mask = GrayImage::from_fn(width, height, |x, y| {
        let band = (u64::from(x + y) * ids.len() as u64) / u64::from(width + height);
        Luma([ids[band as usize]])
    });
    mask.save(path).unwrap();
}

/// Runs the main job and looks at what it left: the kind, classes with a score, label maps.
fn probe(data: &str, kind: &str, classes: usize, more: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut args = vec!["probe".to_owned()];
    args.extend(model());
    let out_name = out.display().to_string();
    let given = [
        "--data",
        data,
        "--out",
        &out_name,
        "--size",
        "64",
        "--steps",
        "3",
        "--pca-batches",
        "1",
        "--layers",
        "3",
        "--facets",
        "key,token",
        "--examples",
        "1",
    ];
    args.extend(given.iter().chain(more).map(|&arg| arg.to_owned()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    succeed(run(&args));
    let record = run_json(&out);
    assert_eq!(record["data"]["kind"], kind);
    assert_eq!(record["data"]["classes"].as_array().unwrap().len(), classes);
    let rows = metrics(&out);
    for facet in ["key", "token"] {
        let value = |metric: &str| {
            let row = rows.iter().find(|row| row[0] == facet && row[2] == metric);
            row.unwrap()[4].parse::<f64>().ok()
        };
        for metric in ["miou", "accuracy"] {
            assert!(
                (0.0..=1.0).contains(&value(metric).unwrap()),
                "{facet} {metric}"
            );
        }
        // Undefined where a fixture's random weights put everything into one cluster.
        match value("nmi") {
            Some(nmi) => assert!((0.0..=1.0).contains(&nmi), "{facet} {nmi}"),
            None => assert_eq!(value("entropy"), Some(0.0), "{facet}"),
        }
        assert!(out.join(format!("labels/{facet}.3")).is_dir());
        assert!(out.join(format!("aggregate/{facet}.3.png")).is_file());
    }
    assert!(out.join("report.html").is_file());
    dir
}

#[test]
fn real_samples() {
    for (folder, kind, classes, more) in [
        ("data/ade20k", "ade20k", 150, ["--batch", "1"].as_slice()),
        (
            "data/pascal-part",
            "pascal-part-animals",
            6,
            &["--batch", "2"],
        ),
        (
            "data/camvid",
            "camvid",
            11,
            &["--batch", "2", "--limit-train", "6", "--limit-test", "3"],
        ),
    ] {
        let data = format!("{kind}:{}", shared(folder).display());
        probe(&data, kind, classes, more);
    }
}

#[test]
fn voc_with_its_lists() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let sample = shared("data/voc-layout");
    let mut stems = Vec::new();
    for folder in ["JPEGImages", "SegmentationClass", "SegmentationClassPNG"] {
        let Ok(entries) = fs::read_dir(sample.join(folder)) else {
            continue;
        };
        let to = root.join(folder.strip_suffix("PNG").unwrap_or(folder));
        fs::create_dir_all(&to).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()) {
            if folder == "JPEGImages" {
                stems.push(path.file_stem().unwrap().to_string_lossy().into_owned());
            }
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    stems.sort();
    let lists = root.join("ImageSets/Segmentation");
    fs::create_dir_all(&lists).unwrap();
    fs::write(lists.join("train.txt"), stems[..2].join("\n")).unwrap();
    fs::write(lists.join("val.txt"), &stems[2]).unwrap();
    probe(&root.display().to_string(), "voc", 21, &["--batch", "2"]);
}

#[test]
fn cityscapes_in_its_layout() {
    let dir = tempfile::tempdir().unwrap();
    let cities = [
        ("train", "ulm"),
        ("train", "ulm"),
        ("val", "bonn"),
        ("val", "bonn"),
    ];
    for (index, (image, (split, city))) in photographs().iter().zip(cities).enumerate() {
        let stem = format!("{city}_{index:06}_000019");
        let images = dir.path().join(format!("leftImg8bit/{split}/{city}"));
        save(image, &images.join(format!("{stem}_leftImg8bit.png")));
        let masks = dir.path().join(format!("gtFine/{split}/{city}"));
        let ids = [0, 7, 11, 21, 23, 26, 33];
        save_bands(
            image,
            &ids,
            &masks.join(format!("{stem}_gtFine_labelIds.png")),
        );
    }
    let data = dir.path().display().to_string();
    probe(&data, "cityscapes27", 27, &["--batch", "2"]);
}

#[test]
fn coco_stuff_nested_and_not() {
    let ids = [0, 16, 91, 123, 156, 181, 255];
    for nested in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let places = [
            ("train2017", 9),
            ("train2017", 25),
            ("val2017", 139),
            ("val2017", 285),
        ];
        let (images, masks) = if nested {
            ("images", "annotations")
        } else {
            (".", "stuffthingmaps")
        };
        for (image, (split, number)) in photographs().iter().zip(places) {
            let stem = format!("{number:012}");
            save(
                image,
                &dir.path().join(format!("{images}/{split}/{stem}.jpg")),
            );
            save_bands(
                image,
                &ids,
                &dir.path().join(format!("{masks}/{split}/{stem}.png")),
            );
            let list = dir
                .path()
                .join(format!("curated/{split}/Coco164kFull_Stuff_Coarse_7.txt"));
            fs::create_dir_all(list.parent().unwrap()).unwrap();
            let known = fs::read_to_string(&list).unwrap_or_default();
            fs::write(list, format!("{known}{stem}\n")).unwrap();
        }
        let data = dir.path().display().to_string();
        probe(&data, "coco-stuff27", 27, &["--batch", "2"]);
    }
}

#[test]
fn coco_panoptic_sample() {
    let dir = tempfile::tempdir().unwrap();
    let sample = shared("data/coco-panoptic");
    let root = dir.path();
    let text = fs::read(sample.join("panoptic_examples.json")).unwrap();
    let mut table: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let all = table["annotations"].as_array().unwrap().clone();
    for (split, stem) in [("train2017", "000000439180"), ("val2017", "000000142238")] {
        let images = root.join(split);
        let masks = root.join(format!("annotations/panoptic_{split}"));
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(&masks).unwrap();
        let photograph = sample.join(format!("input_images/{stem}.jpg"));
        fs::copy(photograph, images.join(format!("{stem}.jpg"))).unwrap();
        let mask = sample.join(format!("panoptic_examples/{stem}.png"));
        fs::copy(mask, masks.join(format!("{stem}.png"))).unwrap();
        let one =
            |annotation: &&serde_json::Value| annotation["file_name"] == format!("{stem}.png");
        table["annotations"] = all.iter().filter(one).cloned().collect();
        let file = root.join(format!("annotations/panoptic_{split}.json"));
        fs::write(file, table.to_string()).unwrap();
    }
    let lists = root.join("curated");
    for (split, stem) in [("train2017", "000000439180"), ("val2017", "000000142238")] {
        fs::create_dir_all(lists.join(split)).unwrap();
        let list = lists.join(split).join("Coco164kFull_Stuff_Coarse_7.txt");
        fs::write(list, stem).unwrap();
    }
    probe(
        &root.display().to_string(),
        "coco-stuff27",
        27,
        &["--batch", "1"],
    );
}
