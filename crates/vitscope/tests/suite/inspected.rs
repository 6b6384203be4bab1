//! `probe --artifacts`: beside everything else, in any way a run can be made, and on what was planted.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::causes::changed;
use crate::common::{
    SMALL, assert_same, camvid, command, metrics, model, probe, probe_args, run, run_for, succeed,
};

const SOME: [&str; 5] = ["--layers", "1,3", "--facets", "key,token", "--artifacts"];

fn value(run: &Path, slot: (&str, &str), metric: &str) -> Option<f64> {
    let rows = metrics(run);
    let found = |row: &&[String; 5]| (row[0].as_str(), row[1].as_str()) == slot && row[2] == metric;
    let row = rows.iter().find(found);
    row.unwrap_or_else(|| panic!("{slot:?} {metric}"))[4]
        .parse()
        .ok()
}

#[test]
fn artifacts_stand_beside_the_rest_and_change_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, seen) = (dir.path().join("plain"), dir.path().join("seen"));
    succeed(probe(&plain, &SOME[..4]));
    succeed(probe(&seen, &[&SOME[..], &["--threads", "1"]].concat()));
    let (without, with) = (metrics(&plain), metrics(&seen));
    assert!(without.iter().all(|row| with.contains(row)));
    // Two slots of keys, two of tokens, and the labels.
    assert_eq!(with.len() - without.len(), 2 * 17 + 2 * 19 + 5);
    assert!(!plain.join("artifacts.safetensors").exists());
    for slot in [("key", "1"), ("token", "3"), ("ground_truth", "")] {
        let share = value(&seen, slot, "alike_share").unwrap();
        assert!((0.0..=1.0).contains(&share), "{share}");
        assert!(value(&seen, slot, "fragments").unwrap() >= 1.0);
    }
    let own = value(&seen, ("token", "3"), "class_cosine").unwrap();
    assert!(own.abs() <= 1.0);
    assert!(
        with.iter()
            .all(|row| row[0] != "key" || !row[2].starts_with("class_cosine"))
    );

    // Made together with an edit, by other threads; the edit's fit tells of position itself.
    let all = dir.path().join("all");
    let more = ["--transform", "none,mean", "--seeds", "2", "--threads", "7"];
    succeed(probe(&all, &[&SOME[..], &more].concat()));
    assert_same(&seen, &all.join("transform-none_seed-0"));
    let edited = all.join("transform-mean_seed-1");
    let alone = dir.path().join("alone");
    let more = ["--transform", "mean", "--seed", "1"];
    succeed(probe(&alone, &[&SOME[..], &more].concat()));
    assert_same(&alone, &edited);
    let shares = metrics(&edited);
    let shares = shares.iter().filter(|row| row[2] == "position_share");
    assert_eq!(shares.count(), 4);
    // What vectors are like before an edit is not the edit's.
    for metric in ["outlier_share", "neighbor_cosine"] {
        let slot = ("key", "1");
        assert_eq!(value(&edited, slot, metric), value(&seen, slot, metric));
    }
}

#[test]
fn artifacts_of_shards_and_of_a_killed_run_are_those_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let begun = Instant::now();
    succeed(probe(&whole, &SOME));
    let length = begun.elapsed();
    let shards = ["1/2", "2/2"].map(|part| {
        let shard = dir.path().join(part.replace('/', "-"));
        succeed(probe(&shard, &[&SOME[..], &["--shard", part]].concat()));
        shard.display().to_string()
    });
    let merged = dir.path().join("merged");
    let out = merged.display().to_string();
    succeed(run(&["merge", &shards[0], &shards[1], "--out", &out]));
    assert_same(&whole, &merged);
    let broken = dir.path().join("broken");
    let mut args = probe_args(&broken, &SOME);
    args.push("--resume".to_owned());
    for moment in [3, 5] {
        run_for(args.clone(), length * moment / 6);
    }
    succeed(command().args(args).output().unwrap());
    assert_same(&whole, &broken);
}

/// One place of sixteen whose position code is so long that its tokens stay so: found in every layer, before the final
/// norm, with its place; and told with what to do.
#[test]
fn planted_outliers_are_found_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let planted = changed(dir.path(), |name, _, values| {
        if name == "pos_embed" {
            let place = &mut values[16 * 6..16 * 7];
            let signs = place.iter_mut().enumerate();
            signs.for_each(|(d, value)| *value = if d % 2 == 0 { 300.0 } else { -300.0 });
        }
    });
    let out = dir.path().join("run");
    let mut args = probe_args(&out, &SOME);
    args[1] = planted.display().to_string();
    args.extend(["--layout".to_owned(), "timm".to_owned()]);
    succeed(command().args(&args).output().unwrap());
    for layer in ["1", "3"] {
        let of = |metric| value(&out, ("token", layer), metric).unwrap();
        assert!((of("outlier_share") - 1.0 / 16.0).abs() < 1e-12);
        assert!((of("outlier_150") - 1.0 / 16.0).abs() < 1e-12);
        assert!(of("outlier_place") > 0.5);
    }
    let file = std::fs::read(out.join("artifacts.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let places = file.tensor("token.3.outliers").unwrap();
    let (counts, _) = places.data().as_chunks::<4>();
    let counts: Vec<u32> = counts
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes))
        .collect();
    let expected: Vec<u32> = (0..16)
        .map(|place| if place == 5 { 9 } else { 0 })
        .collect();
    assert_eq!(counts, expected);
    for figure in ["token-lengths", "neighbors-by-layer", "energy-by-layer"] {
        let drawn = std::fs::read_to_string(out.join(format!("figures/{figure}.csv"))).unwrap();
        assert!(drawn.lines().count() > 2, "{figure}");
    }
    let said = succeed(run(&["artifacts", &out.display().to_string()]));
    for part in [
        "outlier_share",
        "outlier_place",
        "same places in all images",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// The picture of one test image, 64 x 64: white where a patch is flat, else as many black as white pixels in an order of
/// its own, and whether each of the 4 x 4 patches is flat.
fn flat_and_rough(image: usize) -> (image::RgbImage, [bool; 16]) {
    // Two by two of them, anywhere.
    let (top, left) = (image % 3, image / 3 % 3);
    let flat = std::array::from_fn(|place| {
        (top..top + 2).contains(&(place / 4)) && (left..left + 2).contains(&(place % 4))
    });
    let picture = image::RgbImage::from_fn(64, 64, |x, y| {
        let (x, y) = (x as usize, y as usize);
        let place = y / 16 * 4 + x / 16;
        let white = if flat[place] {
            true
        } else {
            // Stripes as wide as one of the powers of two, along or across.
            let kind = (place * 7 + image * 3) % 8;
            let along = if kind < 4 { x % 16 } else { y % 16 };
            along >> (kind % 4) & 1 == 0
        };
        image::Rgb([if white { 255 } else { 0 }; 3])
    });
    (picture, flat)
}

/// A channel that sums up the pixels makes tokens long where the picture is flat and white: they are the outliers, and
/// their texture is that of the projection's own numbers, taken by hand.
#[test]
fn planted_outliers_of_smooth_patches_have_their_texture() {
    let dir = tempfile::tempdir().unwrap();
    let planted = changed(dir.path(), |name, shape, values| match name {
        "patch_embed.proj.weight" => {
            assert_eq!(shape, [16, 3, 16, 16]);
            // The first channel sums up red, the others tell patches apart.
            values.iter_mut().for_each(|value| *value *= 200.0);
            values[..768].fill(0.0);
            values[..256].fill(1.0);
        }
        "pos_embed" | "patch_embed.proj.bias" => values.fill(0.0),
        _ => {}
    });
    let bytes = std::fs::read(&planted).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let weights = file.tensor("patch_embed.proj.weight").unwrap();
    let (weights, _) = weights.data().as_chunks::<4>();
    let weights: Vec<f64> = weights
        .iter()
        .map(|b| f64::from(f32::from_le_bytes(*b)))
        .collect();
    let data = dir.path().join("data");
    for split in ["train", "test"] {
        std::fs::create_dir_all(data.join(format!("images/{split}"))).unwrap();
    }
    let mut differences = Vec::new();
    for index in 0..9 {
        let (picture, flat) = flat_and_rough(index);
        for split in ["train", "test"] {
            picture
                .save(data.join(format!("images/{split}/{index}.png")))
                .unwrap();
        }
        // By the definition: normalization, projection, cosines of neighbors, means of both kinds.
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let embedded = |place: usize| -> Vec<f64> {
            let of = |output: usize| -> f64 {
                let inputs = (0..768).map(|input| {
                    let (channel, y, x) = (input / 256, input / 16 % 16, input % 16);
                    let (x, y) = (place % 4 * 16 + x, place / 4 * 16 + y);
                    let byte = picture.get_pixel(x as u32, y as u32).0[channel];
                    let pixel = (f64::from(byte) / 255.0 - mean[channel]) / std[channel];
                    weights[output * 768 + input] * pixel
                });
                inputs.sum()
            };
            (0..16).map(of).collect()
        };
        let embedded: Vec<Vec<f64>> = (0..16).map(embedded).collect();
        let dot = |a: usize, b: usize| -> f64 {
            embedded[a]
                .iter()
                .zip(&embedded[b])
                .map(|(x, y)| x * y)
                .sum()
        };
        let texture = |a: usize| {
            let near = (0..16).filter(|b| (a / 4).abs_diff(b / 4) + (a % 4).abs_diff(b % 4) == 1);
            let near: Vec<f64> = near
                .map(|b| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
                .collect();
            near.iter().sum::<f64>() / near.len() as f64
        };
        let mean = |wanted: bool| {
            let of = (0..16).filter(|&place| flat[place] == wanted).map(texture);
            of.sum::<f64>() / flat.iter().filter(|&&is| is == wanted).count() as f64
        };
        differences.push(mean(true) - mean(false));
    }
    let expected = differences.iter().sum::<f64>() / 9.0;
    assert!(expected > 0.1, "{expected}");

    let out = dir.path().join("run");
    let mut args = probe_args(&out, &SOME);
    args[1] = planted.display().to_string();
    let at = args.iter().position(|arg| *arg == camvid()).unwrap();
    args[at] = format!("folder:{}", data.display());
    args.extend(["--layout".to_owned(), "timm".to_owned()]);
    succeed(command().args(&args).output().unwrap());
    for layer in ["1", "3"] {
        let of = |metric| value(&out, ("token", layer), metric).unwrap();
        assert!((of("outlier_share") - 0.25).abs() < 1e-12);
        assert!(
            (of("outlier_texture") - expected).abs() < 1e-4,
            "{expected}"
        );
        assert!(of("outlier_texture_z") > 3.0);
    }
    let said = succeed(run(&["artifacts", &out.display().to_string()]));
    for part in ["outlier_texture", "where the picture is smooth"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Features have no class token; their last token is after the final norm, which hides lengths.
#[test]
fn features_have_what_they_show() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (own, features, from, data) = (path("own"), path("features"), path("from"), camvid());
    succeed(probe(Path::new(&own), &SOME));
    let model = model();
    let mut args = vec!["extract"];
    args.extend(model.iter().map(String::as_str));
    args.extend(["--data", &data, "--out", &features, "--size", "64"]);
    args.extend(&SOME[..4]);
    succeed(run(&args));
    let mut args = vec!["probe", "--features", &features];
    args.extend(["--data", &data, "--out", &from, "--artifacts"]);
    args.extend(SMALL.chunks(2).filter(|pair| pair[0] != "--size").flatten());
    succeed(run(&args));
    let (own, from) = (PathBuf::from(own), PathBuf::from(from));
    for slot in [("key", "1"), ("token", "1"), ("token", "3")] {
        for metric in [
            "neighbor_cosine",
            "fragments",
            "alike_z",
            "map_high",
            "position_r2",
        ] {
            assert_eq!(
                value(&own, slot, metric),
                value(&from, slot, metric),
                "{slot:?} {metric}"
            );
        }
    }
    let lengths = |run: &Path, layer| value(run, ("token", layer), "outlier_share");
    assert_eq!(lengths(&own, "1"), lengths(&from, "1"));
    assert!(lengths(&own, "3").is_some() && lengths(&from, "3").is_none());
    assert_eq!(value(&from, ("token", "1"), "class_cosine"), None);
    assert_eq!(value(&from, ("token", "1"), "outlier_texture"), None);
}
