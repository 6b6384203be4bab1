//! Resizes and crops against Pillow 13.0.0 and torchvision 0.29.2, bit for bit.
//!
//! The records come from `tools/geometry/record_golden.py`; the inputs are made here by the same
//! formula.

use std::path::Path;

use image::{GrayImage, RgbImage as Picture};
use serde_json::Value;
use sha2::{Digest, Sha256};
use vitscope_data::resize::{RgbImage, pil_resize};
use vitscope_data::{DataSet, Geometry};

fn noise(count: usize, seed: u64) -> Vec<u8> {
    (0..count as u64)
        .map(|index| {
            let mut v = ((index + seed * 7919) as u32).wrapping_mul(2_654_435_761);
            v ^= v >> 15;
            v = v.wrapping_mul(2_246_822_519);
            v ^= v >> 13;
            (v >> 8) as u8
        })
        .collect()
}

fn picture(width: usize, height: usize, seed: u64) -> Vec<u8> {
    let mut values = noise(width * height * 3, seed);
    for (index, value) in values.iter_mut().enumerate() {
        let (x, y, c) = (index / 3 % width, index / 3 / width, index % 3);
        *value = match seed % 3 {
            0 if *value < 128 => 0,
            0 => 255,
            1 => *value,
            _ => (x * 3 + y * 2 + c * 40 + usize::from(*value) / 8) as u8,
        };
    }
    values
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn records(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn pair(value: &Value) -> (usize, usize) {
    let side = |index: usize| value[index].as_u64().unwrap() as usize;
    (side(0), side(1))
}

#[test]
fn resize_equals_pillow() {
    let records = records(include_str!("../golden/resize.json"));
    assert_eq!(records.len(), 70);
    for record in records {
        let ((width, height), (new_width, new_height)) =
            (pair(&record["from"]), pair(&record["to"]));
        let seed = record["seed"].as_u64().unwrap();
        let source = RgbImage::new(width, height, picture(width, height, seed)).unwrap();
        let resized = pil_resize(&source, new_width, new_height);
        if let Some(pixels) = record["pixels"].as_array() {
            let expected: Vec<u8> = pixels.iter().map(|v| v.as_u64().unwrap() as u8).collect();
            assert_eq!(resized.pixels(), expected, "{record}");
        }
        assert_eq!(
            sha256(resized.pixels()),
            record["sha256"].as_str().unwrap(),
            "{record}"
        );
    }
}

/// Images and masks through files, as a user has them.
#[test]
fn crops_equal_torchvision() {
    let records = records(include_str!("../golden/crop.json"));
    assert!(records.len() > 100);
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| std::fs::create_dir(folder.path().join(name)).unwrap();
    make("images");
    make("masks");
    let file = |kind: &str, seed: u64| folder.path().join(kind).join(format!("{seed:03}.png"));
    let mut written = std::collections::BTreeSet::new();
    for record in &records {
        let ((width, height), seed) = (pair(&record["from"]), record["seed"].as_u64().unwrap());
        if written.insert(seed) {
            let (w, h) = (width as u32, height as u32);
            let image = Picture::from_raw(w, h, picture(width, height, seed)).unwrap();
            image.save(file("images", seed)).unwrap();
            let mask = GrayImage::from_raw(w, h, noise(width * height, seed + 1000)).unwrap();
            mask.save(file("masks", seed)).unwrap();
        }
    }
    let set = open_with_all_ids(folder.path());
    for record in &records {
        let geometry = Geometry {
            size: record["size"].as_u64().unwrap() as usize,
        };
        let item = &set.test[record["seed"].as_u64().unwrap() as usize];
        let image = set.image(item, &geometry).unwrap();
        assert_eq!(
            sha256(&image.pixels),
            record["image_sha256"].as_str().unwrap(),
            "{record}"
        );
        let label = set.label(item, &geometry).unwrap().unwrap();
        assert_eq!(
            sha256(&label.ids),
            record["label_sha256"].as_str().unwrap(),
            "{record}"
        );
    }
}

/// Ids 0 to 254 are classes of the same index and 255 is ignored, so labels are the mask's bytes.
fn open_with_all_ids(root: &Path) -> DataSet {
    let names: String = (0..255).map(|id| format!("class {id}\n")).collect();
    std::fs::write(root.join("classes.txt"), names).unwrap();
    DataSet::open(&format!("folder:{}", root.display())).unwrap()
}
