//! The stages on a card against those on the CPU.

use ndarray::Array4;

use super::*;
use crate::config::{Config, PositionEncoding, Precision, Resize};
use crate::edit::FromPrefix;
use crate::params::{Block, Linear, Norm, Params};

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 37 + seed * 11) % 29) as f32 * 0.02 - 0.28;
    (0..count).map(number).collect()
}

fn linear(inputs: usize, outputs: usize, seed: usize) -> Linear {
    Linear {
        weight: numbers(inputs * outputs, seed),
        bias: numbers(outputs, seed + 1),
        inputs,
        outputs,
    }
}

fn norm(d: usize) -> Norm {
    Norm {
        weight: numbers(d, 3),
        bias: numbers(d, 4),
    }
}

/// One block of a width on 12 x 12 pixels, which are nine patches.
fn model(d: usize, heads: usize, precision: Precision) -> (Arc<CardModel>, InputGeometry) {
    let params = Params {
        patch: linear(3 * 4 * 4, d, 5),
        prefix: numbers(d, 6),
        table: numbers(9 * d, 7),
        blocks: vec![Block {
            norm1: norm(d),
            qkv: linear(d, 3 * d, 8),
            proj: linear(d, d, 9),
            scale1: numbers(d, 13),
            norm2: norm(d),
            up: linear(d, 2 * d, 10),
            down: linear(2 * d, d, 11),
            scale2: numbers(d, 14),
            ..Block::default()
        }],
        norm: norm(d),
        ..Params::default()
    };
    let geometry = InputGeometry {
        pixels: [12, 12],
        grid: [3, 3],
        table: params.table.clone(),
        rotary: None,
        relative: None,
        from_prefix: FromPrefix::Own,
    };
    let config = Config {
        width: d,
        depth: 1,
        heads,
        patch: 4,
        registers: 0,
        mlp: Mlp::Gelu,
        hidden: 2 * d,
        norm_eps: 1e-6,
        stem_norm: false,
        class: true,
        final_norm: true,
        hidden_norm: false,
        rms_norm: false,
        layer_scale: true,
        positions: PositionEncoding::Table {
            grid: [3, 3],
            resize: Resize::Plain,
        },
    };
    let model = CardModel::new(config, params, precision).expect("it fits");
    (Arc::new(model), geometry)
}

fn rows(stages: &Cuda, tensor: BatchTensor) -> ndarray::Array3<f32> {
    let [_, rows] = stages.rows(tensor);
    rows.host().expect("it works").into_owned()
}

/// Heads that have to wait for room give the same bytes as all heads together.
#[test]
fn attention_in_pieces_is_attention() {
    if let Err(error) = Gpu::open() {
        println!("not run: {error}");
        return;
    }
    let (model, geometry) = model(16, 4, Precision::Bf16);
    let images = numbers(2 * 3 * 12 * 12, 12);
    let images = Array4::from_shape_vec((2, 3, 12, 12), images).expect("two images");
    let mut outcomes = Vec::new();
    // All 8 pairs of image and head, 3 at a time, and one at a time even where there is no room.
    for most_scores in [MAX_SCORES, 3 * 10 * 16, 1] {
        let mut stages = Cuda::new(Arc::clone(&model), geometry.clone()).expect("it fits");
        stages.most_scores = most_scores;
        stages
            .project_patches(Input::Normalized(images.view()))
            .expect("it works");
        stages.embed().expect("it works");
        stages.project(0).expect("it works");
        stages.attention(true).expect("it works");
        let matrices = stages.weights().host().expect("it works").into_owned();
        stages.feed_forward(0).expect("it works");
        outcomes.push((matrices, rows(&stages, BatchTensor::Residual)));
    }
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    let sum = outcomes[0].0.sum() / (2 * 4 * 10) as f32;
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
}

/// Heads of 64, whose scores are never written, against the way by the scores.
#[test]
fn attention_without_scores_is_attention() {
    if let Err(error) = Gpu::open() {
        println!("not run: {error}");
        return;
    }
    let bounds = [
        (Precision::F32, 2e-6),
        (Precision::F16, 2e-3),
        (Precision::Bf16, 2e-2),
    ];
    for (precision, bound) in bounds {
        let (model, geometry) = model(128, 2, precision);
        let images = numbers(2 * 3 * 12 * 12, 12);
        let images = Array4::from_shape_vec((2, 3, 12, 12), images).expect("two images");
        let mut outcomes = Vec::new();
        for by_scores in [true, false] {
            let mut stages = Cuda::new(Arc::clone(&model), geometry.clone()).expect("it fits");
            stages
                .project_patches(Input::Normalized(images.view()))
                .expect("it works");
            stages.embed().expect("it works");
            stages.project(0).expect("it works");
            match by_scores {
                true => stages.attend_apart(false).expect("it works"),
                false => stages.attention(false).expect("it works"),
            }
            stages.feed_forward(0).expect("it works");
            outcomes.push(rows(&stages, BatchTensor::Residual));
        }
        let largest = outcomes[0]
            .iter()
            .fold(0.0_f32, |most, v| most.max(v.abs()));
        let off = (&outcomes[0] - &outcomes[1])
            .iter()
            .fold(0.0_f32, |most, v| most.max(v.abs()));
        println!("{precision:?}: off by {off:.1e} of {largest:.1e}");
        assert!(off <= bound * largest, "{precision:?}: {off} of {largest}");
    }
}

/// Bytes on the card are the numbers that they stand for.
#[test]
fn bytes_are_normalized_on_the_card() {
    if let Err(error) = Gpu::open() {
        println!("not run: {error}");
        return;
    }
    let (model, geometry) = model(16, 4, Precision::F32);
    let bytes: Vec<u8> = (0..2 * 12 * 12 * 3).map(|i| (i * 89 % 256) as u8).collect();
    let levels: [[f32; 256]; 3] = std::array::from_fn(|channel| {
        std::array::from_fn(|byte| (byte as f32 - 100.0) * 0.01 * (channel + 1) as f32)
    });
    let image = |(image, channel, y, x): (usize, usize, usize, usize)| {
        levels[channel][usize::from(bytes[((image * 12 + y) * 12 + x) * 3 + channel])]
    };
    let images = Array4::from_shape_fn((2, 3, 12, 12), image);
    let inputs = [
        Input::Normalized(images.view()),
        Input::Sent {
            pixels: &bytes,
            levels: &levels,
        },
    ];
    let [one, other] = inputs.map(|input| {
        let mut stages = Cuda::new(Arc::clone(&model), geometry.clone()).expect("it fits");
        // Twice, so that both halves of the host's memory are used.
        for _ in 0..2 {
            stages.send(&bytes).expect("it works");
            stages.project_patches(input).expect("it works");
        }
        stages.embed().expect("it works");
        rows(&stages, BatchTensor::Residual)
    });
    assert_eq!(one, other);
}

/// Weights that are made again are the softmax of what queries and keys were handed out, by either way.
#[test]
fn kept_attention_gives_its_weights() {
    if let Err(error) = Gpu::open() {
        println!("not run: {error}");
        return;
    }
    // Heads of 64 and of 20.
    for (d, heads, apart) in [(128, 2, false), (128, 2, true), (40, 2, true)] {
        let (model, geometry) = model(d, heads, Precision::F32);
        let images = numbers(2 * 3 * 12 * 12, 12);
        let images = Array4::from_shape_vec((2, 3, 12, 12), images).expect("two images");
        let mut stages = Cuda::new(model, geometry).expect("it fits");
        stages
            .project_patches(Input::Normalized(images.view()))
            .expect("it works");
        stages.embed().expect("it works");
        stages.project(0).expect("it works");
        // Three of the four matrices at a time, where there are scores.
        stages.most_scores = 3 * 10 * 16;
        stages.attention(true).expect("it works");
        if apart {
            stages.work.norms =
                Buffer::new(stages.model.gpu(), 2 * 2 * heads * 10).expect("it fits");
            stages.attend_apart(true).expect("it works");
        }
        let weights = stages.weights();
        assert_eq!(weights.shape(), [2, heads, 10, 10]);
        let weights = weights.host().expect("it works");
        let [queries, keys] = [BatchTensor::Queries, BatchTensor::Keys].map(|tensor| {
            let [prefix, patches] = stages.rows(tensor);
            let [prefix, patches] =
                [prefix, patches].map(|rows| rows.host().expect("it works").into_owned());
            ndarray::concatenate(ndarray::Axis(1), &[prefix.view(), patches.view()]).expect("rows")
        });
        let width = d / heads;
        let mut off = 0.0_f64;
        for (image, head, query) in every_query(heads) {
            let score = |key: usize| -> f64 {
                let at = head * width..(head + 1) * width;
                let pairs = at.map(|j| {
                    f64::from(queries[(image, query, j)]) * f64::from(keys[(image, key, j)])
                });
                pairs.sum::<f64>() / (width as f64).sqrt()
            };
            let powers: Vec<f64> = (0..10).map(|key| score(key).exp()).collect();
            let whole: f64 = powers.iter().sum();
            for (key, power) in powers.iter().enumerate() {
                off =
                    off.max((f64::from(weights[(image, head, query, key)]) - power / whole).abs());
            }
        }
        println!("{heads} heads of {width}: off by {off:.1e}");
        assert!(off < 1e-6, "{off}");
    }
}

/// Every image, head and query of that model.
fn every_query(heads: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..2 * heads * 10).map(move |at| (at / (heads * 10), at / 10 % heads, at % 10))
}
