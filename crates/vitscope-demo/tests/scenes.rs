//! What the generator promises: the same bytes everywhere, masks that are exact, a dial that works, pairs
//! whose keypoints are where they are said to be.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use vitscope_data::pairs::{Layout, PairSet, PairSplit};
use vitscope_data::{DataSet, Split as DataSplit};
use vitscope_demo::{SIDE, Scene, SceneClass, ScenePair, SceneSplit, Scenes, pairs::write_pairs};

/// The built-in models were trained on these bytes; a change of the generator makes them strangers to it.
#[test]
fn scenes_are_the_same_bytes_everywhere() {
    let mut hash = Sha256::new();
    for split in [SceneSplit::Train, SceneSplit::Test, SceneSplit::Pairs] {
        for index in 0..4 {
            let picture = Scene::new(0, split, index, 0.25 * index as f64).picture();
            hash.update(&picture.rgb);
            hash.update(&picture.mask);
        }
    }
    let found: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        found,
        "cd7bd1bb3fd12402ed5d20492b44a89c1b1576ee16eadedfb3fe1c7c226e8705"
    );
}

#[test]
fn splits_indices_and_seeds_are_different_scenes() {
    let scenes = [
        (0, SceneSplit::Train, 0),
        (0, SceneSplit::Test, 0),
        (0, SceneSplit::Pairs, 0),
        (0, SceneSplit::Validation, 0),
        (0, SceneSplit::Train, 1),
        (1, SceneSplit::Train, 0),
    ]
    .map(|(seed, split, index)| Scene::new(seed, split, index, 0.0).picture());
    for (i, one) in scenes.iter().enumerate() {
        assert!(scenes[..i].iter().all(|other| other.rgb != one.rgb));
    }
}

#[test]
fn a_mask_has_what_lies_at_each_pixels_center() {
    let scene = Scene::new(5, SceneSplit::Test, 2, 0.0);
    for (at, class) in scene.picture().mask.into_iter().enumerate() {
        let center = [(at % SIDE) as f64 + 0.5, (at / SIDE) as f64 + 0.5];
        assert_eq!(class, scene.class_at(center).index());
    }
}

/// The positional effect of the ground truth, counted by the definition on a grid of 32 x 32 points.
fn truth_nmi(bias: f64, scenes: u64) -> f64 {
    const GRID: usize = 32;
    let mut joint = BTreeMap::new();
    for index in 0..scenes {
        let scene = Scene::new(11, SceneSplit::Test, index, bias);
        for at in 0..GRID * GRID {
            let point = [at % GRID, at / GRID].map(|i| (i as f64 + 0.5) * (SIDE / GRID) as f64);
            *joint
                .entry((at, scene.class_at(point).index()))
                .or_insert(0.0) += 1.0;
        }
    }
    let total = scenes as f64 * (GRID * GRID) as f64;
    let mut share = BTreeMap::new();
    for (&(_, class), &count) in &joint {
        *share.entry(class).or_insert(0.0) += count / total;
    }
    let place = 1.0 / (GRID * GRID) as f64;
    let information: f64 = joint
        .iter()
        .map(|(&(_, class), &count)| count / total * (count / total / (place * share[&class])).ln())
        .sum();
    information / -share.values().map(|&p: &f64| p * p.ln()).sum::<f64>()
}

#[test]
fn the_dial_goes_from_no_spatial_bias_to_a_strong_one() {
    const SCENES: u64 = 300;
    let dial: Vec<f64> = [0.0, 0.25, 0.5, 0.75, 1.0]
        .map(|bias| truth_nmi(bias, SCENES))
        .to_vec();
    // Without bias, what remains is the upward bias of the estimate: (C - 1) / 2n nats of about 2.2.
    let expected = 9.0 / (2.0 * SCENES as f64) / 2.2;
    assert!(
        (dial[0] - expected).abs() < 0.3 * expected,
        "{dial:?}, expected {expected}"
    );
    assert!(
        dial.windows(2).all(|pair| pair[1] > 1.2 * pair[0]),
        "{dial:?}"
    );
    assert!(dial[4] > 0.25, "{dial:?}");
}

#[test]
fn keypoints_lie_on_both_things_and_keep_their_order() {
    let pairs: Vec<ScenePair> = (0..96)
        .filter_map(|index| ScenePair::new(4, index))
        .collect();
    assert!(pairs.len() > 8, "{} pairs", pairs.len());
    for pair in &pairs {
        assert!(pair.points.len() >= 4);
        for &(_, [x, y], target) in &pair.points {
            let [u, v] = target.map(|value| value.round() as usize);
            assert_eq!(pair.source.mask[y * SIDE + x], pair.class.index());
            assert_eq!(pair.target.mask[v * SIDE + u], pair.class.index());
            for ([x1, y1, x2, y2], [x, y]) in pair.boxes.into_iter().zip([[x, y], [u, v]]) {
                assert!((x1..=x2).contains(&x) && (y1..=y2).contains(&y));
            }
        }
        // The target shows no other of the class: a match there would be as true.
        let [x1, y1, x2, y2] = pair.boxes[1];
        for (at, _) in (0..)
            .zip(&pair.target.mask)
            .filter(|&(_, &class)| class == pair.class.index())
        {
            assert!((x1..=x2).contains(&(at % SIDE)) && (y1..=y2).contains(&(at / SIDE)));
        }
        // One similarity takes all points of the source to those of the target: things differ in size,
        // tilt and place alone. It is found from two points and must hold for the others.
        let [(_, a, to_a), (_, b, to_b)] = [pair.points[0], pair.points[1]];
        let (a, b) = (a.map(|v| v as f64), b.map(|v| v as f64));
        let (from, to) = (
            [b[0] - a[0], b[1] - a[1]],
            [to_b[0] - to_a[0], to_b[1] - to_a[1]],
        );
        let square = from[0] * from[0] + from[1] * from[1];
        let (cos, sin) = (
            (from[0] * to[0] + from[1] * to[1]) / square,
            (from[0] * to[1] - from[1] * to[0]) / square,
        );
        for &(number, at, target) in &pair.points {
            let (x, y) = (at[0] as f64 - a[0], at[1] as f64 - a[1]);
            let expected = [to_a[0] + cos * x - sin * y, to_a[1] + sin * x + cos * y];
            assert!(
                (expected[0] - target[0]).abs() < 1e-9 && (expected[1] - target[1]).abs() < 1e-9,
                "point {number}: {target:?}, by the similarity {expected:?}"
            );
        }
    }
}

#[test]
fn what_is_written_opens_as_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let (root, pairs) = (folder.path().join("scenes"), folder.path().join("pairs"));
    let scenes = Scenes {
        seed: 2,
        bias: 0.0,
        train: 3,
        test: 2,
    };
    scenes.write(&root).unwrap();
    let data = DataSet::open(&format!("folder:{}", root.display())).unwrap();
    assert_eq!(
        [DataSplit::Train, DataSplit::Test].map(|split| data.split(split).len()),
        [3, 2]
    );
    let names: Vec<&str> = data
        .classes
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    assert_eq!(names, SceneClass::ALL.map(SceneClass::name));
    let problem = scenes.write(&root).unwrap_err().to_string();
    assert!(problem.contains("is there already"), "{problem}");

    write_pairs(&pairs, 2, 5).unwrap();
    let set = PairSet::open(&pairs.display().to_string(), PairSplit::Test, Layout::Large).unwrap();
    assert_eq!(set.pairs.len(), 5);
    assert!(
        std::fs::read_dir(folder.path()).unwrap().count() == 2,
        "nothing else is left behind"
    );
}
