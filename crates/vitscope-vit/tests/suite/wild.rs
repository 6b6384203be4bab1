//! Checkpoints as people have them: wrapped, averaged, renamed, beside files that say something, or
//! in containers that are not read. Each gives the recorded numbers of the code that defines it, or
//! one sentence with a way on.
//!
//! `make_wild.py`, `make_more.py`, `make_capi.py`, `make_beit.py` and `make_turning.py` in `tools/checkpoints` made the
//! files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array4;
use safetensors::SafeTensors;
use serde::Deserialize;
use vitscope_vit::Vit;
use vitscope_vit::checkpoint::Checkpoint;
use vitscope_vit::config::Precision;
use vitscope_vit::error::DeviceError;
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::identify::Settle;
use vitscope_vit::vit::Tapped;

/// The largest difference, relative to a tensor's largest magnitude.
const TOLERANCE: f32 = 2e-4;

const KINDS: [(TapKind, &str); 4] = [
    (TapKind::Query, "query"),
    (TapKind::Key, "key"),
    (TapKind::Value, "value"),
    (TapKind::Token, "token"),
];

#[derive(Deserialize)]
struct Case {
    file: String,
    settle: Told,
    expected: Option<String>,
    says: Vec<String>,
    notes: Vec<String>,
}

#[derive(Deserialize)]
struct Told {
    family: Option<String>,
    format: Option<String>,
    heads: Option<usize>,
    backbone: Option<String>,
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wild")
}

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let (values, _) = view.data().as_chunks::<4>();
            let values = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
            (name.to_owned(), (view.shape().to_vec(), values))
        })
        .collect()
}

/// The worst difference from a recording, and where.
fn difference(checkpoint: &Checkpoint, expected: &Tensors) -> (f32, String) {
    let config = checkpoint.config().clone();
    let depth = config.depth;
    let vit = Vit::new(config, checkpoint.params().unwrap(), Precision::F32).unwrap();
    let (shape, pixels) = &expected["input"];
    let shape: [usize; 4] = shape[..].try_into().unwrap();
    let images = Array4::from_shape_vec(shape, pixels.clone()).unwrap();
    let mut taps = Taps::new();
    for layer in 1..=depth {
        KINDS.iter().for_each(|&(kind, _)| taps.add(layer, kind));
    }
    taps.add(depth, TapKind::FinalNorm);
    let mut worst = (0.0, String::new());
    let mut compared = 0;
    let mut work = vit.workspace([shape[2], shape[3]]).unwrap();
    vit.forward(images.view(), &taps, &mut work, |tapped| {
        let Tapped::Rows {
            layer,
            kind,
            prefix,
            patches,
        } = tapped
        else {
            return Ok::<(), DeviceError>(());
        };
        let name = match KINDS.iter().find(|(other, _)| *other == kind) {
            Some((_, word)) => format!("block{}.{word}", layer - 1),
            None => "final_norm".to_owned(),
        };
        let Some((_, wanted)) = expected.get(&name) else {
            return Ok(());
        };
        let (prefix, patches) = (prefix.host()?, patches.host()?);
        let got: Vec<f32> = prefix.iter().chain(&patches).copied().collect();
        assert_eq!(got.len(), wanted.len(), "{name}");
        let largest = wanted.iter().fold(0f32, |top, value| top.max(value.abs()));
        let apart = got
            .iter()
            .zip(wanted)
            .fold(0f32, |top, (a, b)| top.max((a - b).abs()));
        assert!(apart.is_finite(), "{name}");
        compared += 1;
        if apart / largest > worst.0 {
            worst = (apart / largest, name);
        }
        Ok(())
    })
    .unwrap();
    assert!(compared > 4 * (depth - 1), "{compared} tensors compared");
    worst
}

/// A sentence as the program says it: settings are its flags.
fn as_flags(sentence: &str) -> String {
    let settings = [
        "family", "layout", "heads", "backbone", "features", "mean", "std",
    ];
    settings.iter().fold(sentence.to_owned(), |told, setting| {
        told.replace(&format!("`{setting}`"), &format!("--{setting}"))
    })
}

#[test]
fn every_case_gives_its_numbers_or_a_way_on() {
    let cases = [
        "cases.json",
        "capi.json",
        "more.json",
        "beit.json",
        "turning.json",
    ]
    .map(|file| {
        let text = std::fs::read_to_string(folder().join(file)).unwrap();
        serde_json::from_str::<Vec<Case>>(&text).unwrap()
    });
    let mut wrong = Vec::new();
    for case in cases.iter().flatten() {
        let settle = Settle {
            family: case
                .settle
                .family
                .as_ref()
                .map(|word| word.parse().unwrap()),
            format: case
                .settle
                .format
                .as_ref()
                .map(|word| word.parse().unwrap()),
            heads: case.settle.heads,
            backbone: case.settle.backbone.clone(),
            ..Settle::default()
        };
        let opened = Checkpoint::open(&folder().join(&case.file), &settle)
            .and_then(|checkpoint| checkpoint.params().map(|_| checkpoint));
        match (opened, &case.expected) {
            (Ok(checkpoint), Some(expected)) => {
                let recording = read(&folder().join(format!("{expected}.expected.safetensors")));
                let (apart, at) = difference(&checkpoint, &recording);
                if apart > TOLERANCE {
                    wrong.push(format!("{}: {at} differs by {apart:e}", case.file));
                }
                let notes: Vec<String> = checkpoint.notes().map(ToString::to_string).collect();
                let notes = notes.join("\n");
                for words in &case.notes {
                    if !notes.contains(words) {
                        wrong.push(format!("{}: no {words:?} in {notes:?}", case.file));
                    }
                }
            }
            (Err(error), None) => {
                let sentence = as_flags(&error.to_string());
                for words in &case.says {
                    if !sentence.contains(words) {
                        wrong.push(format!("{}: no {words:?} in {sentence:?}", case.file));
                    }
                }
            }
            (Ok(_), None) => wrong.push(format!("{} was accepted", case.file)),
            (Err(error), Some(_)) => wrong.push(format!("{}: {error}", case.file)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
