//! `vitscope correspond` end to end, on pairs made of drawn photographs by known warps.
use std::path::Path;

use crate::common::pairs::{self, CATEGORIES, WARPS, make_set};
use crate::common::{Patience, assert_same, command, metrics, run_json, succeed};
use image::{DynamicImage, GenericImageView};
use safetensors::{SafeTensors, serialize, tensor::Dtype, tensor::TensorView};
use vitscope_data::resize::{RgbImage, pil_resize};
use vitscope_study::correspond::correspond;
use vitscope_study::observer::Silent;
use vitscope_testkit::samples;

fn args(set: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let mut args = vec!["correspond".to_owned()];
    args.extend(crate::common::model());
    let (set, out) = (
        format!("spair71k:{}", set.display()),
        out.display().to_string(),
    );
    args.extend(["--data".to_owned(), set, "--out".to_owned(), out]);
    args.extend(["--size", "64"].map(str::to_owned));
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    args
}

pub(crate) fn tensor(file: &Path, name: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor(name).unwrap();
    (view.shape().to_vec(), view.data().to_vec())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect()
}

/// Where a slot finds each keypoint, in pixels of the target.
pub(crate) fn matches(run: &Path, slot: &str) -> Vec<[u16; 2]> {
    let (shape, bytes) = tensor(&run.join("pairs.safetensors"), &format!("match.{slot}"));
    let (chunks, _) = bytes.as_chunks::<4>();
    assert_eq!(shape, [chunks.len(), 2]);
    let at = |b: &[u8; 4]| {
        [
            u16::from_le_bytes([b[0], b[1]]),
            u16::from_le_bytes([b[2], b[3]]),
        ]
    };
    chunks.iter().map(at).collect()
}

/// What `extract` gives for a photograph stretched to the network's square, `[16, D]` per slot.
fn extracted(dir: &Path, photograph: &Path, slots: &[String]) -> Vec<Vec<f32>> {
    let square = pil_resize(&RgbImage::open(photograph).unwrap(), 64, 64);
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let mut input: Vec<u8> = Vec::new();
    for c in 0..3 {
        for pixel in square.pixels().chunks_exact(3) {
            let value: f32 = (f32::from(pixel[c]) / 255.0 - mean[c]) / std[c];
            input.extend(value.to_le_bytes());
        }
    }
    let view = TensorView::new(Dtype::F32, vec![1, 3, 64, 64], &input).unwrap();
    let file = dir.join("input.safetensors");
    std::fs::write(&file, serialize([("input", view)], None).unwrap()).unwrap();
    let mut args = vec!["extract".to_owned()];
    args.extend(crate::common::model());
    let out = dir.join("features");
    args.extend(["--tensor".to_owned(), file.display().to_string()]);
    args.extend(["--out".to_owned(), out.display().to_string()]);
    succeed(command().args(args).output().unwrap());
    let file = out.join("features.safetensors");
    slots
        .iter()
        .map(|slot| floats(&tensor(&file, slot).1))
        .collect()
}

/// The unit embedding at a pixel, upsampled in f64 (`align_corners=False`).
fn upsampled(features: &[f32], [x, y]: [usize; 2], [width, height]: [usize; 2]) -> Vec<f64> {
    let axis = |at: usize, size: usize| {
        let place = ((at as f64 + 0.5) * 4.0 / size as f64 - 0.5).clamp(0.0, 3.0);
        (place as usize, (place as usize + 1).min(3), place.fract())
    };
    let ((x0, x1, t), (y0, y1, u)) = (axis(x, width), axis(y, height));
    let d = features.len() / 16;
    let value = |y: usize, x: usize, i: usize| f64::from(features[(y * 4 + x) * d + i]);
    let mixed: Vec<f64> = (0..d)
        .map(|i| {
            (1.0 - u) * ((1.0 - t) * value(y0, x0, i) + t * value(y0, x1, i))
                + u * ((1.0 - t) * value(y1, x0, i) + t * value(y1, x1, i))
        })
        .collect();
    let norm = mixed.iter().map(|v| v * v).sum::<f64>().sqrt();
    mixed.iter().map(|v| v / norm).collect()
}

#[test]
fn matches_and_pck_are_those_of_brute_force() {
    let dir = tempfile::tempdir().unwrap();
    let (set, run) = (dir.path().join("set"), dir.path().join("run"));
    make_set(&set);
    let more = ["--alpha", "0.1", "0.05", "--layers", "1,3"];
    let table = succeed(command().args(args(&set, &run, &more)).output().unwrap());
    assert!(table.contains("72 keypoints of 6 pairs"), "{table}");
    let record = run_json(&run);
    assert_eq!(record["command"], "correspond");
    assert_eq!(record["state"], "complete");
    let rows = metrics(&run);
    let slots: Vec<String> = ["key", "query", "value", "token"]
        .iter()
        .flat_map(|facet| [1, 3].map(|layer| format!("{facet}.{layer}")))
        .collect();
    let (mut same, mut near) = (0, 0);
    let mut hits = vec![[0.0_f64; 2]; slots.len()];
    for (c, category) in CATEGORIES.iter().enumerate() {
        let folder = set.join("JPEGImages").join(category);
        let source = extracted(dir.path(), &folder.join("original.jpg"), &slots);
        let size_of = |name: &str| {
            let (width, height) = image::image_dimensions(folder.join(name)).unwrap_or_else(|_| {
                image::load_from_memory(&std::fs::read(folder.join(name)).unwrap())
                    .unwrap()
                    .dimensions()
            });
            [width as usize, height as usize]
        };
        let original = size_of("original.jpg");
        for (w, warp) in WARPS[1..].iter().enumerate() {
            let name = format!("{}.jpg", warp.name);
            let target = extracted(dir.path(), &folder.join(&name), &slots);
            let [width, height] = size_of(&name);
            let side = (width / 2).max(height / 3) as f64;
            for (s, slot) in slots.iter().enumerate() {
                let found = matches(&run, slot);
                let all: Vec<Vec<f64>> = (0..width * height)
                    .map(|at| upsampled(&target[s], [at % width, at / width], [width, height]))
                    .collect();
                let points = (1..5).flat_map(|i| (1..4).map(move |j| (i, j)));
                for (p, (i, j)) in points.enumerate() {
                    let at = [original[0] * i / 5 + j, original[1] * j / 4 - i];
                    let wanted = upsampled(&source[s], at, original);
                    let cosine =
                        |v: &Vec<f64>| v.iter().zip(&wanted).map(|(a, b)| a * b).sum::<f64>();
                    let cosines: Vec<f64> = all.iter().map(cosine).collect();
                    let best = (0..cosines.len()).fold(0, |best, at| {
                        if cosines[at] > cosines[best] {
                            at
                        } else {
                            best
                        }
                    });
                    let ours = found[(c * 3 + w) * 12 + p].map(usize::from);
                    if ours == [best % width, best / width] {
                        same += 1;
                    } else {
                        let lead = cosines[best] - cosines[ours[1] * width + ours[0]];
                        assert!(lead < 1e-6, "{slot} {name} {p}: {lead:e}");
                        near += 1;
                    }
                    let moved = (warp.place)(at.map(|v| v as i64), original.map(|v| v as i64));
                    let distance =
                        (ours[0] as f64 - moved[0] as f64).hypot(ours[1] as f64 - moved[1] as f64);
                    for (hits, alpha) in hits[s].iter_mut().zip([0.1, 0.05]) {
                        *hits += f64::from(u8::from(distance <= alpha * side)) / 72.0;
                    }
                    if warp.name == "copy" {
                        // The same pixels: the embedding is ideal, and the point is found again.
                        assert!(distance <= 0.1 * side, "{slot} {p}: {distance}");
                    }
                }
            }
        }
    }
    println!("{same} identical matches, {near} within 1e-6 of the best");
    assert!(near * 100 < same, "{same} {near}");
    for (slot, hits) in slots.iter().zip(hits) {
        let (facet, layer) = slot.split_once('.').unwrap();
        for (metric, expected) in ["pck", "pck@0.05"].iter().zip(hits) {
            let of = |class: &str| -> Option<f64> {
                let wanted = |r: &&[String; 5]| {
                    r[0] == facet && r[1] == layer && r[2] == *metric && r[3] == class
                };
                rows.iter().find(wanted)?[4].parse().ok()
            };
            let found = of("").unwrap();
            assert!((found - expected).abs() < 1e-9, "{slot} {metric}");
            // Categories of equally many points: bird is 2, train is 16.
            let mean = f64::midpoint(of("2").unwrap(), of("16").unwrap());
            assert!((found - mean).abs() < 1e-9 && of("0").is_none());
        }
    }
    for file in ["pairs.csv", "examples.json", "examples.safetensors"] {
        assert!(run.join(file).exists(), "{file}");
    }
    let examples: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("examples.json")).unwrap()).unwrap();
    assert_eq!(examples.as_array().unwrap().len(), 6);
}

#[test]
fn neither_threads_nor_memory_change_a_byte() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    make_set(&set);
    let run = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        succeed(command().args(args(&set, &out, more)).output().unwrap());
        out
    };
    let one = run("one", &["--threads", "1"]);
    assert_same(&one, &run("three", &["--threads", "3"]));
    assert_same(&one, &run("small", &["--memory-mib", "0"]));
    let padded = run(
        "padded",
        &["--fit", "pad", "--layers", "2", "--facets", "key"],
    );
    let copies: Vec<[u16; 2]> = matches(&padded, "key.2")[..12].to_vec();
    let truth = floats(&tensor(&padded.join("pairs.safetensors"), "true").1);
    for (found, truth) in copies.iter().zip(truth.chunks_exact(2)) {
        let off = (f32::from(found[0]) - truth[0]).hypot(f32::from(found[1]) - truth[1]);
        assert!(off <= 24.0, "{off}");
    }
}

/// Stopped in the first category and in the second, a run that is taken up again ends in the same
/// bytes.
#[test]
fn a_broken_run_resumes_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    make_set(&set);
    let [whole, broken] = ["whole", "broken"].map(|name| dir.path().join(name));
    succeed(command().args(args(&set, &whole, &[])).output().unwrap());
    let mut request = pairs::request(&set, &broken);
    // Five photographs to a category: one chance to stop after they were run, one after each.
    for patience in [3, 8] {
        let error = correspond(&request, &mut Patience(patience.into())).unwrap_err();
        assert!(
            error.to_string().contains("continue with `resume`"),
            "{error}"
        );
        assert!(broken.join("state/matches.safetensors").exists());
        assert_eq!(run_json(&broken)["state"], "interrupted");
        request.resume = true;
    }
    let mut other = request.clone();
    other.settings.alphas = vec![0.2];
    let error = correspond(&other, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("other settings"), "{error}");
    let outcome = correspond(&request, &mut Silent).unwrap();
    vitscope_figure::draw(&broken).unwrap();
    outcome.session.tidy().unwrap();
    assert_same(&whole, &broken);
    assert!(!broken.join("state").exists());
}

#[test]
fn wrong_words_and_damaged_sets_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    make_set(&set);
    let refused = |set: &Path, more: &[&str], code: i32, word: &str| {
        let out = dir.path().join("run");
        let output = command().args(args(set, &out, more)).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(word), "{stderr}");
        let _ = std::fs::remove_dir_all(out);
    };
    refused(&set, &["--split", "all"], 2, "--split");
    refused(&set, &["--layout", "tiny"], 2, "--layout");
    refused(&set, &["--fit", "crop"], 2, "--fit");
    refused(&set, &["--alpha", "0"], 2, "--alpha");
    refused(&set, &["--limit-pairs", "0"], 2, "no pair");
    refused(&dir.path().join("nowhere"), &[], 3, "nowhere");
    let copy = set.join("JPEGImages/bird/copy.jpg");
    DynamicImage::new_rgb8(20, 30)
        .save_with_format(&copy, image::ImageFormat::Png)
        .unwrap();
    refused(&set, &[], 3, "20 x 30");
    std::fs::remove_file(&copy).unwrap();
    refused(&set, &[], 3, "copy.jpg");
}

#[test]
fn data_check_knows_pairs() {
    let dir = tempfile::tempdir().unwrap();
    make_set(dir.path());
    let data = format!("spair71k:{}", dir.path().display());
    let human = succeed(crate::common::run(&["data", "check", &data]));
    for words in [
        "test       6 pairs, 8 photographs, 72 key points",
        "bird               3            4          36",
        "nothing would stop a run",
    ] {
        assert!(human.contains(words), "{words}\n{human}");
    }
    let photographs = dir.path().join("JPEGImages/bird");
    std::fs::write(photographs.join("copy.jpg"), b"no image").unwrap();
    std::fs::remove_file(photographs.join("mirrored.jpg")).unwrap();
    let small = image::RgbImage::new(3, 5);
    small
        .save_with_format(photographs.join("squeezed.jpg"), image::ImageFormat::Png)
        .unwrap();
    let output = crate::common::run(&["data", "check", &data, "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["usable"], false);
    assert_eq!(report["splits"][0]["pairs"], 5);
    assert_eq!(report["problems"]["count"], 3, "{report}");
    assert_eq!(report["problems"]["sorts"]["image size"], 1, "{report}");
    let nowhere = crate::common::run(&["data", "check", "spair71k:nowhere", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&nowhere.stdout).unwrap();
    assert_eq!(
        (nowhere.status.code(), &report["usable"]),
        (Some(3), &false.into())
    );
}

/// Two annotations, and one of their photographs.
#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn real_pairs_that_miss_photographs() {
    let real = format!("spair71k:{}", samples("data/spair-71k").display());
    let output = crate::common::run(&["data", "check", &real, "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"]["sorts"]["missing file"], 2, "{report}");
}
