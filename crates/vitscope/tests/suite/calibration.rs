//! The instrument measures what was planted: embeddings that hold the class, the place, or a known mix of
//! both, as a feature directory through the whole program. What it must find is counted here by brute force.
use std::path::Path;

use crate::common::{metrics, run, succeed};
use safetensors::{serialize, tensor::Dtype, tensor::TensorView};
use vitscope_demo::planted::{CODES, GRID, Meaning, codes, embeddings, lesson};
use vitscope_demo::{Picture, SIDE, Scene, SceneSplit, Scenes};

const SEED: u64 = 7;
const TRAIN: u64 = 24;
const TEST: u64 = 96;

/// Layer 1, 2 and 3.
const PLANTED: [Meaning; 3] = [Meaning::Class, Meaning::Place, Meaning::Mix(0.5)];

fn picture(index: u64) -> Picture {
    Scene::new(SEED, SceneSplit::Test, index, 0.0).picture()
}

fn write(path: &Path, images: u64, embed: impl Fn(u64, Meaning, u64) -> Vec<f32>) {
    let tensors: Vec<(String, Vec<u8>)> = (1..)
        .zip(PLANTED)
        .map(|(layer, meaning)| {
            let values = (0..images).flat_map(|index| embed(layer, meaning, index));
            (
                format!("token.{layer}"),
                values.flat_map(f32::to_le_bytes).collect(),
            )
        })
        .collect();
    let shape = vec![images as usize, GRID, GRID, CODES];
    let views = tensors.iter().map(|(name, bytes)| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    std::fs::write(path, serialize(views, None).unwrap()).unwrap();
}

/// The label of every pixel: codes upsampled bilinearly with half-pixel centers, the largest share wins,
/// ties to the lowest code.
fn upsampled(codes: &[usize]) -> Vec<usize> {
    let axis = |pixel: usize| {
        let place =
            ((pixel as f64 + 0.5) * GRID as f64 / SIDE as f64 - 0.5).clamp(0.0, (GRID - 1) as f64);
        let low = place.floor() as usize;
        (low, (low + 1).min(GRID - 1), place - low as f64)
    };
    let mut labels = Vec::with_capacity(SIDE * SIDE);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let ((top, bottom, v), (left, right, u)) = (axis(y), axis(x));
            let mut share = [0.0; CODES];
            for (row, column, weight) in [
                (top, left, (1.0 - v) * (1.0 - u)),
                (top, right, (1.0 - v) * u),
                (bottom, left, v * (1.0 - u)),
                (bottom, right, v * u),
            ] {
                share[codes[row * GRID + column]] += weight;
            }
            let best = share.iter().copied().fold(0.0, f64::max);
            labels.push(share.iter().position(|&value| value == best).unwrap());
        }
    }
    labels
}

/// Mutual information of class and place over the entropy of the class, from the probability of each class
/// at each place; all places are equally likely.
fn nmi(at_places: &[[f64; CODES]]) -> f64 {
    let places = at_places.len() as f64;
    let mut overall = [0.0; CODES];
    for here in at_places {
        for (sum, p) in overall.iter_mut().zip(here) {
            *sum += p / places;
        }
    }
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    let information: f64 = at_places
        .iter()
        .flat_map(|here| here.iter().zip(overall).map(|(&p, q)| part(p, q) / places))
        .sum();
    let entropy: f64 = overall.iter().map(|&p| -part(p, 1.0)).sum();
    information / entropy
}

/// The best one-to-one matching by trying all of them, with memory over subsets of classes; then the mean
/// of TP / (TP + FP + FN).
fn miou(confusion: &[[u64; CODES]; CODES]) -> f64 {
    // best[s]: cluster count_ones(s) - 1 and all before it have the classes in s.
    let mut best: Vec<Option<(u64, Vec<usize>)>> = vec![None; 1 << CODES];
    best[0] = Some((0, Vec::new()));
    for taken in 0..1_usize << CODES {
        let Some((agreement, matching)) = best[taken].clone() else {
            continue;
        };
        let cluster = matching.len();
        for class in (0..CODES).filter(|class| taken & (1 << class) == 0) {
            let next = agreement + confusion[cluster][class];
            let place = &mut best[taken | (1 << class)];
            if place.as_ref().is_none_or(|(known, _)| next > *known) {
                let mut longer = matching.clone();
                longer.push(class);
                *place = Some((next, longer));
            }
        }
    }
    let (_, matching) = best.pop().unwrap().unwrap();
    let iou = matching.iter().enumerate().map(|(cluster, &class)| {
        let hit = confusion[cluster][class] as f64;
        let predicted: u64 = confusion[cluster].iter().sum();
        let true_: u64 = confusion.iter().map(|row| row[class]).sum();
        hit / ((predicted + true_) as f64 - hit)
    });
    iou.sum::<f64>() / CODES as f64
}

/// What must be found: NMI and mIoU.
fn expected(meaning: Meaning) -> (f64, f64) {
    let mut counts = vec![[0.0; CODES]; SIDE * SIDE];
    let mut confusion = [[0; CODES]; CODES];
    for index in 0..TEST {
        let picture = picture(index);
        let labels = upsampled(&codes(meaning, SEED, index, &picture));
        for (at, label) in labels.into_iter().enumerate() {
            counts[at][label] += 1.0 / TEST as f64;
            confusion[label][usize::from(picture.mask[at])] += 1;
        }
    }
    (nmi(&counts), miou(&confusion))
}

/// The NMI of a mix in the limit of many images, in closed form: with the share m, P(k | p) is
/// m [k is the code of p's place] + (1 - m) P(k as a class).
fn mixed_in_closed_form() -> f64 {
    let mut classes = [0.0; CODES];
    let mut by_place = 0;
    let place = {
        let any = picture(0);
        upsampled(&codes(Meaning::Place, SEED, 0, &any))
    };
    for index in 0..TEST {
        let picture = picture(index);
        let labels = upsampled(&codes(PLANTED[2], SEED, index, &picture));
        if labels == place {
            by_place += 1;
        } else {
            labels.iter().for_each(|&label| classes[label] += 1.0);
        }
    }
    let total: f64 = classes.iter().sum();
    let share = f64::from(by_place) / TEST as f64;
    let at_places: Vec<[f64; CODES]> = place
        .iter()
        .map(|&here| {
            let mut p = classes.map(|count| (1.0 - share) * count / total);
            p[here] += share;
            p
        })
        .collect();
    nmi(&at_places)
}

#[test]
fn planted_meaning_and_position_are_measured_as_planted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, features, out) = (
        folder.path().join("scenes"),
        folder.path().join("features"),
        folder.path().join("run"),
    );
    let scenes = Scenes {
        seed: SEED,
        bias: 0.0,
        train: TRAIN as usize,
        test: TEST as usize,
    };
    scenes.write(&data).unwrap();
    std::fs::create_dir(&features).unwrap();
    write(
        &features.join("train.safetensors"),
        TRAIN,
        |layer, _, index| lesson(SEED + layer, index),
    );
    write(
        &features.join("test.safetensors"),
        TEST,
        |_, meaning, index| embeddings(&codes(meaning, SEED, index, &picture(index)), SEED, index),
    );
    let about = format!(
        "{{\"patch\": {}, \"size\": {SIDE}, \"model\": \"planted\"}}",
        SIDE / GRID
    );
    std::fs::write(features.join("features.json"), about).unwrap();
    succeed(run(&[
        "probe",
        "--quiet",
        "--features",
        features.to_str().unwrap(),
        "--data",
        &format!("folder:{}", data.display()),
        "--out",
        out.to_str().unwrap(),
        "--steps",
        "300",
        "--batch",
        "8",
        "--pca-batches",
        "3",
    ]));
    let rows = metrics(&out);
    let found = |facet: &str, layer: &str, metric: &str| -> f64 {
        let row = rows
            .iter()
            .find(|row| row[0] == facet && row[1] == layer && row[2] == metric);
        row.unwrap()[4].parse().unwrap()
    };
    let token = |layer: usize, metric: &str| found("token", &layer.to_string(), metric);
    for (layer, meaning) in (1..).zip(PLANTED) {
        let (nmi, miou) = expected(meaning);
        let measured = (token(layer, "nmi"), token(layer, "miou"));
        println!("{meaning:?}: planted {nmi:.5} {miou:.5}, measured {measured:.5?}");
        assert!(
            (measured.0 - nmi).abs() < 1e-3,
            "{meaning:?}: NMI {measured:?}, planted {nmi}"
        );
        assert!(
            (measured.1 - miou).abs() < 1e-3,
            "{meaning:?}: mIoU {measured:?}, planted {miou}"
        );
    }
    // In words: meaning has the ground truth's own effect, place has all of it, a mix what it must have.
    let truth = found("ground_truth", "", "nmi");
    assert!((token(1, "nmi") - truth).abs() < 0.005 && token(1, "miou") > 0.8);
    assert!(token(2, "nmi") > 0.999 && token(2, "miou") < 0.12);
    // The estimate from n images is biased upward by about (C - 1) / 2n nats (docs/protocol.md section 8).
    let bias = (CODES - 1) as f64 / (2 * TEST) as f64 / token(3, "entropy");
    let limit = mixed_in_closed_form();
    assert!(
        (token(3, "nmi") - limit - bias).abs() < 0.01,
        "{limit} and {bias}"
    );
    // The excess over the null: nothing, nearly all.
    assert!(token(1, "nmi_excess").abs() < 0.01);
    assert!(token(2, "nmi_excess") > 0.9);
}
