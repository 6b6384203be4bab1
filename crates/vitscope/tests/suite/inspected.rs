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
    assert_eq!(with.len() - without.len(), 2 * 15 + 2 * 17 + 5);
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
}
