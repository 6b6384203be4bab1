//! The main job on every kind of data set, in the exact layout of its official download: on drawn
//! photographs, and on real samples where the maintainers' folder of them is at hand.

use std::fs;
use std::path::Path;

use crate::common::{camvid, metrics, model, run, run_json, succeed};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use vitscope_testkit::{samples, scenes};

/// Four drawn photographs.
fn photographs() -> Vec<DynamicImage> {
    (0..4)
        .map(|index| {
            let path = scenes::photographs().join(format!("{index:04}.png"));
            image::open(path).unwrap()
        })
        .collect()
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
fn camvid_in_its_layout() {
    let more = ["--batch", "2", "--limit-train", "6", "--limit-test", "3"];
    probe(&camvid(), "camvid", 11, &more);
}

#[test]
fn ade20k_in_its_layout() {
    let dir = tempfile::tempdir().unwrap();
    let splits = ["training", "training", "validation", "validation"];
    for (index, (image, split)) in photographs().iter().zip(splits).enumerate() {
        let stem = format!("ADE_{}_{index:08}", &split[..split.len() - 3]);
        save(
            image,
            &dir.path().join(format!("images/{split}/{stem}.jpg")),
        );
        save_bands(
            image,
            &[0, 1, 17, 80, 149, 150],
            &dir.path().join(format!("annotations/{split}/{stem}.png")),
        );
    }
    let data = dir.path().display().to_string();
    probe(&data, "ade20k", 150, &["--batch", "2"]);
}

#[test]
fn voc_with_its_lists() {
    let dir = tempfile::tempdir().unwrap();
    let stems = ["2007_000032", "2007_000039", "2007_000063", "2007_000068"];
    for (image, stem) in photographs().iter().zip(stems) {
        save(image, &dir.path().join(format!("JPEGImages/{stem}.jpg")));
        save_bands(
            image,
            &[0, 1, 9, 15, 20, 255],
            &dir.path().join(format!("SegmentationClass/{stem}.png")),
        );
    }
    let lists = dir.path().join("ImageSets/Segmentation");
    fs::create_dir_all(&lists).unwrap();
    fs::write(lists.join("train.txt"), stems[..2].join("\n")).unwrap();
    fs::write(lists.join("val.txt"), stems[2..].join("\n")).unwrap();
    let data = dir.path().display().to_string();
    probe(&data, "voc", 21, &["--batch", "2"]);
}

/// Photographs and masks as Cityscapes has them: so many for training, and two to test on.
pub fn cityscapes(root: &Path, photographs: &[DynamicImage], train: usize) {
    for index in 0..train + 2 {
        let image = &photographs[index % photographs.len()];
        let (split, city) = match index < train {
            true => ("train", "ulm"),
            false => ("val", "bonn"),
        };
        let stem = format!("{city}_{index:06}_000019");
        let images = root.join(format!("leftImg8bit/{split}/{city}"));
        save(image, &images.join(format!("{stem}_leftImg8bit.png")));
        let masks = root.join(format!("gtFine/{split}/{city}"));
        let ids = [0, 7, 11, 21, 23, 26, 33];
        save_bands(
            image,
            &ids,
            &masks.join(format!("{stem}_gtFine_labelIds.png")),
        );
    }
}

#[test]
fn cityscapes_in_its_layout() {
    let dir = tempfile::tempdir().unwrap();
    cityscapes(dir.path(), &photographs(), 2);
    let data = dir.path().display().to_string();
    probe(&data, "cityscapes27", 27, &["--batch", "2"]);
}

/// Photographs, masks and lists as COCO-Stuff has them: so many for training, and two to test on.
pub fn coco_stuff(root: &Path, nested: bool, photographs: &[DynamicImage], train: usize) {
    let ids = [0, 16, 91, 123, 156, 181, 255];
    let (images, masks) = match nested {
        true => ("images", "annotations"),
        false => (".", "stuffthingmaps"),
    };
    for index in 0..train + 2 {
        let image = &photographs[index % photographs.len()];
        let split = match index < train {
            true => "train2017",
            false => "val2017",
        };
        let stem = format!("{:012}", 9 + 16 * index);
        save(image, &root.join(format!("{images}/{split}/{stem}.jpg")));
        save_bands(
            image,
            &ids,
            &root.join(format!("{masks}/{split}/{stem}.png")),
        );
        let list = root.join(format!("curated/{split}/Coco164kFull_Stuff_Coarse_7.txt"));
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        let known = fs::read_to_string(&list).unwrap_or_default();
        fs::write(list, format!("{known}{stem}\n")).unwrap();
    }
}

#[test]
fn coco_stuff_nested_and_not() {
    for nested in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        coco_stuff(dir.path(), nested, &photographs(), 2);
        let data = dir.path().display().to_string();
        probe(&data, "coco-stuff27", 27, &["--batch", "2"]);
    }
}

/// Annotations of COCO panoptic: a PNG of segment numbers, red + 256 green + 65536 blue, and a JSON file that
/// gives every segment its category.
#[test]
fn coco_panoptic_in_its_layout() {
    // person, bicycle, banner, tree-merged: a thing, a thing, and two kinds of stuff.
    let categories = [1, 2, 92, 184];
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (image, (split, stem)) in photographs()
        .iter()
        .zip([("train2017", "000000000009"), ("val2017", "000000000139")])
    {
        save(image, &root.join(format!("{split}/{stem}.jpg")));
        let number = |category: u32| 70_000 + 300 * category;
        let (width, height) = (image.width(), image.height());
        let mask = RgbImage::from_fn(width, height, |x, y| {
            let band = (x + y) as usize * categories.len() / (width + height) as usize;
            let number = number(categories[band]);
            Rgb([number as u8, (number >> 8) as u8, (number >> 16) as u8])
        });
        let masks = root.join(format!("annotations/panoptic_{split}"));
        fs::create_dir_all(&masks).unwrap();
        mask.save(masks.join(format!("{stem}.png"))).unwrap();
        let segments = categories
            .map(|category| serde_json::json!({ "id": number(category), "category_id": category }));
        let table = serde_json::json!({ "annotations": [{
            "file_name": format!("{stem}.png"), "segments_info": segments,
        }] });
        fs::write(masks.with_extension("json"), table.to_string()).unwrap();
        let list = root.join(format!("curated/{split}/Coco164kFull_Stuff_Coarse_7.txt"));
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        fs::write(list, stem).unwrap();
    }
    let data = root.display().to_string();
    probe(&data, "coco-stuff27", 27, &["--batch", "1"]);
}

/// A few real photographs of each set that has them beside the repository.
#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
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
        let data = format!("{kind}:{}", samples(folder).display());
        probe(&data, kind, classes, more);
    }
}
