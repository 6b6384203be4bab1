//! Images per second of the forward pass with every facet tapped, on random weights.
//!
//! `cargo bench -p vitscope-vit --bench forward -- [batch] [pixels] [depth] [bf16]`
//! ViT-B/16 at 320 pixels, batch 8, unless told otherwise; the median of interleaved repeats is
//! what to quote (`tools/bench` runs it beside PyTorch).
//!
//! `cargo bench -p vitscope-vit --features cuda --bench forward -- [...] [bf16|f16] cuda [8,32,64]`
//! The same on an NVIDIA GPU, where facets stay on the card: RGB bytes of the host go in, and ten
//! batches are queued before the card is waited for, as a run does it. `early` is how fast its first batches go, by
//! the products that cuBLASLt chooses; what is quoted comes after others were tried, as in a long run. And how fast the
//! card multiplies two matrices of 8192 x 8192 in the same precision: the share of that is what to quote. Several
//! batches are measured one after the other.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;

use ndarray::Array4;
use vitscope_vit::config::{Config, Device, Mlp, PositionEncoding, Precision, Resize};
use vitscope_vit::error::DeviceError;
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::params::{Block, Linear, Norm, Params};
use vitscope_vit::vit::{Rows, Tapped, Vit, Workspace};

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
    let asked = |word: &str| std::env::args().any(|arg| arg == word);
    let precision = match (asked("bf16"), asked("f16")) {
        (true, _) => Precision::Bf16,
        (_, true) => Precision::F16,
        _ => Precision::F32,
    };
    let device = match asked("cuda") {
        true => Device::Cuda,
        false => Device::Cpu,
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
        class: true,
        final_norm: true,
        hidden_norm: false,
        rms_norm: false,
        layer_scale: false,
        positions: PositionEncoding::Table {
            grid: [14, 14],
            resize: Resize::Antialias,
        },
    };
    let vit = Vit::on(device, config, params, precision).expect("the parts fit");
    let listed = std::env::args().find(|arg| arg.contains(','));
    let batches: Vec<usize> = match &listed {
        Some(list) => list.split(',').filter_map(|b| b.parse().ok()).collect(),
        None => vec![batch],
    };
    let mut taps = Taps::new();
    for layer in 1..=depth {
        for kind in [TapKind::Key, TapKind::Query, TapKind::Value, TapKind::Token] {
            taps.add(layer, kind);
        }
    }
    let tokens = (pixels / 16).pow(2) + 1;
    let per_block = 2 * tokens * d * (4 * d + 2 * hidden) + 4 * tokens * tokens * d;
    let flop = (per_block * depth + 2 * (tokens - 1) * 768 * d) as f64;
    let mut last = 0.0;
    for batch in batches {
        let values = noise.take(batch * 3 * pixels * pixels);
        let values = values.iter().map(|v| v * 30.0).collect();
        let images = Array4::from_shape_vec((batch, 3, pixels, pixels), values);
        let images = images.expect("the right length");
        let mut work = vit.workspace([pixels, pixels]).expect("a multiple of 16");
        let (early, mut times) = match device {
            Device::Cuda => on_card(&vit, &mut work, &images, &taps, asked("once")),
            Device::Cpu => (None, on_host(&vit, &mut work, &images, &taps)),
        };
        times.sort_by(f64::total_cmp);
        let early = early.map(|time| ("early", time));
        let quoted = [("best", times[0]), ("median", times[times.len() / 2])];
        for (name, time) in early.into_iter().chain(quoted) {
            let rate = batch as f64 / time;
            println!(
                "batch {batch}: {name} {rate:.3} images/s {:.1} GFLOP/s",
                rate * flop / 1e9
            );
            last = rate * flop;
        }
    }
    #[cfg(feature = "cuda")]
    if let Some(gpu) = vit.gpu().filter(|_| !asked("once")) {
        let plain = plain_product(gpu, precision);
        println!(
            "{}: a plain product runs at {:.1} GFLOP/s, the median at {:.0} % of that",
            gpu.name(),
            plain / 1e9,
            100.0 * last / plain
        );
    }
    #[cfg(not(feature = "cuda"))]
    let _ = last;
}

/// Seconds a batch, each waited for.
fn on_host(vit: &Vit, work: &mut Workspace, images: &Array4<f32>, taps: &Taps) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..6 {
        let start = Instant::now();
        let mut sum = 0.0_f64;
        vit.forward(images.view(), taps, work, |tapped| {
            if let Tapped::Rows {
                patches: Rows::Host(patches),
                ..
            } = tapped
            {
                sum += f64::from(patches[[0, 0, 0]]);
            }
            Ok::<(), DeviceError>(())
        })
        .expect("the processor works");
        times.push(start.elapsed().as_secs_f64());
        assert!(sum.is_finite());
    }
    times
}

/// Seconds a batch of RGB bytes, ten of which are queued before the card is waited for: in the beginning, and when
/// other products than cuBLASLt's first choices have been tried.
fn on_card(
    vit: &Vit,
    work: &mut Workspace,
    images: &Array4<f32>,
    taps: &Taps,
    once: bool,
) -> (Option<f64>, Vec<f64>) {
    let bytes: Vec<u8> = images.iter().map(|v| (v * 100.0 + 128.0) as u8).collect();
    let levels = [std::array::from_fn(|byte| byte as f32 / 64.0 - 2.0); 3];
    let mut queue = |count: usize| {
        for _ in 0..count {
            let hand = |_: Vec<Tapped<'_>>| Ok::<(), DeviceError>(());
            work.send(|pixels| pixels.extend_from_slice(&bytes))
                .and_then(|()| vit.forward_sent(&levels, taps, work, hand))
                .expect("the device works");
        }
        #[cfg(feature = "cuda")]
        if let Some(gpu) = vit.gpu() {
            gpu.synchronize().expect("the device works");
        }
    };
    let mut timed = |batches: usize| {
        let start = Instant::now();
        queue(batches);
        start.elapsed().as_secs_f64() / batches as f64
    };
    timed(if once { 1 } else { 3 });
    if once {
        return (None, vec![timed(1)]);
    }
    let early = timed(10);
    // Algorithms are tried at the 1,000th product of a kind, of which a batch has twelve.
    timed(75);
    (Some(early), (0..6).map(|_| timed(10)).collect())
}

/// Operations per second of the card in a product of two matrices of 8192 x 8192.
#[cfg(feature = "cuda")]
fn plain_product(gpu: &vitscope_cuda::Gpu, precision: Precision) -> f64 {
    use vitscope_cuda::{Buffer, Element, Factors, Matrix, Product, ProductTarget};
    const SIDE: usize = 8192;
    let element = match precision {
        Precision::F32 => Element::F32,
        Precision::Bf16 => Element::Bf16,
        Precision::F16 => Element::F16,
    };
    let values = Noise(2).take(SIDE * SIDE);
    let factors = Factors::upload(gpu, element, &values).expect("the card has room");
    let mut out = Buffer::new(gpu, SIDE * SIDE).expect("the card has room");
    let product = Product {
        rows: SIDE,
        inputs: SIDE,
        outputs: SIDE,
        batch: 1,
    };
    let mut best = f64::INFINITY;
    for _ in 0..6 {
        let start = Instant::now();
        let matrix = Matrix::factors(&factors, 0, SIDE);
        let target = ProductTarget::new(&mut out, SIDE);
        gpu.product(product, matrix, matrix, target, None)
            .and_then(|()| gpu.synchronize())
            .expect("the device works");
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (SIDE as f64).powi(3) / best
}
