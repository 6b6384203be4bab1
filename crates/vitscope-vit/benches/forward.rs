//! Images per second of the forward pass with every facet tapped, on random weights.
//!
//! `cargo bench -p vitscope-vit --bench forward -- [batch] [pixels] [depth] [bf16]`
//! ViT-B/16 at 320 pixels, batch 8, unless told otherwise; the median of interleaved repeats is
//! what to quote (`tools/bench` runs it beside PyTorch).
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;

use ndarray::Array4;
use vitscope_vit::config::{Config, Mlp, Positions, Precision, Resize};
use vitscope_vit::error::DeviceError;
use vitscope_vit::facet::{Kind, Taps};
use vitscope_vit::params::{Block, Linear, Norm, Params};
use vitscope_vit::vit::{Tapped, Vit};

/// A repeatable stream of small numbers.
struct Noise(u64);

impl Noise {
    fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| {
                self.0 = self
                    .0
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                ((self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.07
            })
            .collect()
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> Linear {
        Linear {
            weight: self.take(inputs * outputs),
            bias: self.take(outputs),
            inputs,
            outputs,
        }
    }
}

fn main() {
    let args: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let at = |i: usize, default: usize| args.get(i).copied().unwrap_or(default);
    let (batch, pixels, depth) = (at(0, 8), at(1, 320), at(2, 12));
    let precision = match std::env::args().any(|arg| arg == "bf16") {
        true => Precision::Bf16,
        false => Precision::F32,
    };
    let (d, hidden) = (768, 3072);
    let mut noise = Noise(1);
    let norm = || Norm {
        weight: vec![1.0; d],
        bias: vec![0.0; d],
    };
    let params = Params {
        patch: noise.linear(3 * 16 * 16, d),
        prefix: noise.take(d),
        table: noise.take(14 * 14 * d),
        blocks: (0..depth)
            .map(|_| Block {
                norm1: norm(),
                qkv: noise.linear(d, 3 * d),
                proj: noise.linear(d, d),
                norm2: norm(),
                up: noise.linear(d, hidden),
                down: noise.linear(hidden, d),
                ..Block::default()
            })
            .collect(),
        norm: norm(),
        ..Params::default()
    };
    let config = Config {
        width: d,
        depth,
        heads: 12,
        patch: 16,
        registers: 0,
        mlp: Mlp::Gelu,
        hidden,
        norm_eps: 1e-6,
        stem_norm: false,
        layer_scale: false,
        positions: Positions::Table {
            grid: [14, 14],
            resize: Resize::Antialias,
        },
    };
    let vit = Vit::new(config, params, precision).expect("the parts fit");
    let mut work = vit.workspace([pixels, pixels]).expect("a multiple of 16");
    let images = Array4::from_shape_vec(
        (batch, 3, pixels, pixels),
        noise
            .take(batch * 3 * pixels * pixels)
            .iter()
            .map(|v| v * 30.0)
            .collect(),
    )
    .expect("the right length");
    let mut taps = Taps::new();
    for layer in 1..=depth {
        for kind in [Kind::Key, Kind::Query, Kind::Value, Kind::Token] {
            taps.add(layer, kind);
        }
    }
    let mut times = Vec::new();
    for _ in 0..6 {
        let start = Instant::now();
        let mut sum = 0.0_f64;
        vit.forward(images.view(), &taps, &mut work, |tapped| {
            if let Tapped::Rows { patches, .. } = tapped {
                let patches = patches.host().expect("the device works");
                sum += f64::from(patches[[0, 0, 0]]);
            }
            Ok::<(), DeviceError>(())
        })
        .expect("the device works");
        times.push(start.elapsed().as_secs_f64());
        assert!(sum.is_finite());
    }
    times.sort_by(f64::total_cmp);
    let tokens = (pixels / 16).pow(2) + 1;
    let per_block = 2 * tokens * d * (4 * d + 2 * hidden) + 4 * tokens * tokens * d;
    let flop = (per_block * depth + 2 * (tokens - 1) * 768 * d) as f64;
    for (name, time) in [("best", times[0]), ("median", times[times.len() / 2])] {
        let rate = batch as f64 / time;
        println!("{name} {rate:.3} images/s {:.1} GFLOP/s", rate * flop / 1e9);
    }
}
