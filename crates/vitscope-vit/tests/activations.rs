//! Every fixture, both input sizes: every tensor that the reference implementation recorded is
//! reproduced within 2e-4 of that tensor's largest magnitude, in f32.

#![expect(
    clippy::print_stdout,
    reason = "the table of differences is asked for with --nocapture"
)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "cuda")]
mod cuda;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array3, Array4, ArrayViewD, Axis, IxDyn, concatenate};
use safetensors::SafeTensors;
use serde_json::Value;
use vitscope_testkit::{fixture, fixtures, left_out};
use vitscope_vit::Vit;
use vitscope_vit::checkpoint::Checkpoint;
use vitscope_vit::config::{Device, Precision};
use vitscope_vit::error::DeviceError;
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::identify::Settle;
use vitscope_vit::ops::processor::has_bf16;
use vitscope_vit::params::Linear;
use vitscope_vit::vit::Tapped;

const TOLERANCE: f64 = 2e-4;

/// bf16 keeps 8 significant bits, so every factor of a product is off by up to 2^-9 = 2e-3; through
/// the blocks of these models that becomes at most 2.6e-2 (attention weights of the 7B layout).
const BF16_TOLERANCE: f64 = 4e-2;

/// Names of the recorded tensors, with `{}` for the block's number from 0.
const RECORDED: [(TapKind, &str); 7] = [
    (TapKind::Query, "query"),
    (TapKind::Key, "key"),
    (TapKind::Value, "value"),
    (TapKind::QueryRotated, "query_rot"),
    (TapKind::KeyRotated, "key_rot"),
    (TapKind::Attention, "attention"),
    (TapKind::Token, "token"),
];

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

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

/// Runs the model on the recorded input and returns every tensor under its recorded name.
fn run(vit: &Vit, expected: &Tensors) -> Tensors {
    let (shape, values) = &expected["input"];
    let shape: [usize; 4] = shape[..].try_into().unwrap();
    let images = Array4::from_shape_vec(shape, values.clone()).unwrap();
    let depth = vit.config().depth;
    let mut taps = Taps::new();
    taps.add(0, TapKind::Patch);
    taps.add(0, TapKind::Embedding);
    taps.add(depth, TapKind::FinalNorm);
    for layer in 1..=depth {
        for (kind, _) in RECORDED {
            taps.add(layer, kind);
        }
    }
    let mut got = Tensors::new();
    let mut work = vit.workspace([shape[2], shape[3]]).unwrap();
    vit.forward(images.view(), &taps, &mut work, |tapped| {
        let (name, array): (String, ndarray::ArrayD<f32>) = match tapped {
            Tapped::Rows {
                layer,
                kind,
                prefix,
                patches,
            } => {
                let rows: Array3<f32> = {
                    let (prefix, patches) = (prefix.host().unwrap(), patches.host().unwrap());
                    concatenate(Axis(1), &[prefix.view(), patches.view()]).unwrap()
                };
                let name = match kind {
                    TapKind::Patch => "patches".to_owned(),
                    TapKind::Embedding => "embed".to_owned(),
                    TapKind::FinalNorm => "final_norm".to_owned(),
                    _ => name_of(layer, kind),
                };
                (name, rows.into_dyn())
            }
            Tapped::Attention { layer, weights } => (
                name_of(layer, TapKind::Attention),
                weights.host().unwrap().into_owned().into_dyn(),
            ),
        };
        got.insert(
            name,
            (array.shape().to_vec(), array.iter().copied().collect()),
        );
        Ok::<(), DeviceError>(())
    })
    .unwrap();
    got
}

fn name_of(layer: usize, kind: TapKind) -> String {
    let (_, name) = RECORDED.iter().find(|(k, _)| *k == kind).unwrap();
    format!("block{}.{name}", layer - 1)
}

/// The patch projection by its definition, in f64, as no reference recorded it.
fn projected(patch: &Linear, (shape, pixels): &(Vec<usize>, Vec<f32>)) -> (Vec<usize>, Vec<f32>) {
    let image = ArrayViewD::from_shape(IxDyn(shape), pixels).unwrap();
    let side = (patch.inputs / 3).isqrt();
    let [rows, columns] = [shape[2] / side, shape[3] / side];
    let mut out = Vec::new();
    for place in 0..shape[0] * rows * columns {
        let (image_index, row, column) = (
            place / (rows * columns),
            place / columns % rows,
            place % columns,
        );
        for output in 0..patch.outputs {
            let mut sum = f64::from(patch.bias.get(output).copied().unwrap_or(0.0));
            for input in 0..patch.inputs {
                let (channel, y, x) = (input / (side * side), input / side % side, input % side);
                let pixel = image[[image_index, channel, row * side + y, column * side + x]];
                let weight = patch.weight[input * patch.outputs + output];
                sum += f64::from(pixel) * f64::from(weight);
            }
            out.push(sum as f32);
        }
    }
    (vec![shape[0], rows * columns, patch.outputs], out)
}

/// The worst difference, relative to each recorded tensor's largest magnitude, and its tensor.
fn worst(got: &Tensors, expected: &Tensors) -> (f64, String) {
    let mut worst = (0.0, String::new());
    for (name, (shape, values)) in expected {
        if name == "input" {
            continue;
        }
        let (found_shape, found) = got.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
        assert_eq!(found_shape, shape, "{name}");
        let want = ArrayViewD::from_shape(IxDyn(shape), values).unwrap();
        let largest = want
            .iter()
            .fold(0.0_f64, |top, &v| top.max(f64::from(v.abs())));
        let difference = values.iter().zip(found).fold(0.0_f64, |top, (&a, &b)| {
            top.max((f64::from(a) - f64::from(b)).abs())
        });
        assert!(found.iter().all(|v| v.is_finite()), "{name}");
        if difference / largest > worst.0 {
            worst = (difference / largest, name.clone());
        }
    }
    worst
}

#[test]
fn every_fixture_is_reproduced_at_both_sizes() {
    reproduce(Device::Cpu, Precision::F32, TOLERANCE);
}

#[test]
fn every_fixture_is_reproduced_in_bf16_as_far_as_it_goes() {
    if has_bf16() {
        reproduce(Device::Cpu, Precision::Bf16, BF16_TOLERANCE);
    } else {
        left_out("bf16 on the processor", "it has no bf16 products");
    }
}

/// The same on a GPU, in every precision: IEEE half precision keeps 11 significant bits, an eighth
/// of bf16's rounding.
#[cfg(feature = "cuda")]
#[test]
fn every_fixture_is_reproduced_on_a_gpu() {
    if cuda::is_here() {
        reproduce(Device::Cuda, Precision::F32, TOLERANCE);
        reproduce(Device::Cuda, Precision::Bf16, BF16_TOLERANCE);
        reproduce(Device::Cuda, Precision::F16, BF16_TOLERANCE / 8.0);
    }
}

/// Heads of 64, which every released ViT of those sizes has and no fixture: their attention never writes
/// its scores on a GPU. All tensors are the CPU's; RGB bytes go in, and more than one tile of keys.
#[cfg(feature = "cuda")]
#[test]
fn heads_of_64_are_those_of_the_cpu_on_a_gpu() {
    use vitscope_vit::config::{Config, Mlp, PositionEncoding, Resize};
    use vitscope_vit::params::{Block, Norm, Params};
    if !cuda::is_here() {
        return;
    }
    let mut state = 1_u64;
    let mut numbers = |count: usize, size: f32| -> Vec<f32> {
        let mut number = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * size
        };
        (0..count).map(|_| number()).collect()
    };
    let (d, heads, side, patch) = (192, 3, 80, 8);
    let mut params = || {
        let mut linear = |inputs: usize, outputs: usize| Linear {
            weight: numbers(inputs * outputs, 0.35),
            bias: numbers(outputs, 0.5),
            inputs,
            outputs,
        };
        let norm = || Norm {
            weight: vec![1.0; d],
            bias: vec![0.1; d],
        };
        let mut blocks: Vec<Block> = Vec::new();
        for _ in 0..2 {
            blocks.push(Block {
                norm1: norm(),
                qkv: linear(d, 3 * d),
                proj: linear(d, d),
                norm2: norm(),
                up: linear(d, 4 * d),
                down: linear(4 * d, d),
                ..Block::default()
            });
        }
        Params {
            patch: linear(3 * patch * patch, d),
            blocks,
            prefix: vec![0.2; d],
            table: (0..100 * d).map(|i| (i % 7) as f32 * 0.05).collect(),
            norm: norm(),
            ..Params::default()
        }
    };
    let config = Config {
        width: d,
        depth: 2,
        heads,
        patch,
        registers: 0,
        mlp: Mlp::Gelu,
        hidden: 4 * d,
        norm_eps: 1e-6,
        stem_norm: false,
        class: true,
        final_norm: true,
        hidden_norm: false,
        rms_norm: false,
        layer_scale: false,
        positions: PositionEncoding::Table {
            grid: [10, 10],
            resize: Resize::Plain,
        },
    };
    let params = params();
    let bytes: Vec<u8> = (0..2 * side * side * 3)
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    let levels: [[f32; 256]; 3] = [std::array::from_fn(|byte| byte as f32 / 64.0 - 2.0); 3];
    let mut taps = Taps::new();
    for layer in 1..=2 {
        for kind in [TapKind::Query, TapKind::Key, TapKind::Value, TapKind::Token] {
            taps.add(layer, kind);
        }
    }
    taps.add(2, TapKind::FinalNorm);
    let run = |device, precision| {
        let vit = Vit::on(device, config.clone(), params.clone(), precision).unwrap();
        let mut work = vit.workspace([side, side]).unwrap();
        let mut outputs = Vec::new();
        work.send(|pixels| pixels.extend_from_slice(&bytes))
            .unwrap();
        vit.forward_sent(&levels, &taps, &mut work, |together| {
            for tapped in together {
                if let Tapped::Rows { patches, .. } = tapped {
                    outputs.push(patches.host()?.into_owned());
                }
            }
            Ok::<(), DeviceError>(())
        })
        .unwrap();
        outputs
    };
    let reference = run(Device::Cpu, Precision::F32);
    assert_eq!(reference.len(), 9);
    for (precision, tolerance) in [
        (Precision::F32, TOLERANCE as f32 / 10.0),
        (Precision::Bf16, 2.5e-2),
        (Precision::F16, 3e-3),
    ] {
        let mut worst = 0.0_f32;
        for (ours, theirs) in run(Device::Cuda, precision).iter().zip(&reference) {
            let largest = theirs.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
            let off = (ours - theirs)
                .iter()
                .fold(0.0_f32, |most, v| most.max(v.abs()));
            assert!(off.is_finite());
            worst = worst.max(off / largest);
        }
        println!("{precision:?}: off by at most {worst:.1e} of the largest");
        assert!(worst < tolerance, "{precision:?}: {worst}");
        assert!(run(Device::Cuda, precision) == run(Device::Cuda, precision));
    }
}

fn reproduce(device: Device, precision: Precision, tolerance: f64) {
    let mut seen = 0;
    let mut folders: Vec<PathBuf> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    let mut failures = Vec::new();
    for folder in folders {
        let meta: Value =
            serde_json::from_slice(&std::fs::read(folder.join("meta.json")).unwrap()).unwrap();
        // What a user would say where the files alone leave it open.
        let settle = Settle {
            heads: Some(meta["num_heads"].as_u64().unwrap() as usize),
            family: Some(meta["family"].as_str().unwrap().parse().unwrap()),
            ..Settle::default()
        };
        let files = meta["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file.as_str().unwrap());
        for file in files.filter(|file| !file.ends_with(".json")) {
            let path = folder.join(file);
            let checkpoint = Checkpoint::open(&path, &settle).unwrap();
            let (config, params) = (checkpoint.config().clone(), checkpoint.params().unwrap());
            let patch = params.patch.clone();
            let vit = Vit::on(device, config, params, precision).unwrap();
            for size in ["expected", "expected_nonsquare"] {
                let mut expected = read(&folder.join(format!("{size}.safetensors")));
                let patches = projected(&patch, &expected["input"]);
                expected.insert("patches".to_owned(), patches);
                let (difference, tensor) = worst(&run(&vit, &expected), &expected);
                println!(
                    "{:60} {size:20} {difference:.1e} {tensor}",
                    path.file_name().unwrap().display().to_string()
                        + " of "
                        + &folder.file_name().unwrap().to_string_lossy()
                );
                if difference > tolerance {
                    failures.push(format!(
                        "{} {size}: {difference:e} in {tensor}",
                        path.display()
                    ));
                }
                seen += 1;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(seen >= 70, "only {seen} fixtures and sizes were found");
}

/// Images do not see one another, and threads do not change a byte.
#[test]
fn a_result_depends_on_neither_batch_nor_threads() {
    let folder = fixture("dinov3plus-timm");
    let settle = Settle {
        heads: Some(2),
        ..Settle::default()
    };
    let checkpoint = Checkpoint::open(&folder, &settle).unwrap();
    let vit = Vit::new(
        checkpoint.config().clone(),
        checkpoint.params().unwrap(),
        Precision::F32,
    )
    .unwrap();
    let mut expected = read(&folder.join("expected.safetensors"));
    let alone = run(&vit, &expected);
    let input = expected.get_mut("input").unwrap();
    let copy = input.1.clone();
    input.0[0] *= 3;
    input.1.extend(copy.iter().map(|v| -v));
    input.1.extend(copy);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let together = pool.install(|| run(&vit, &expected));
        for (name, (_, values)) in &alone {
            let (_, batch) = &together[name];
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(values), bits(&batch[..values.len()]), "{name} first");
            assert_eq!(
                bits(values),
                bits(&batch[2 * values.len()..]),
                "{name} last"
            );
        }
    }
}
