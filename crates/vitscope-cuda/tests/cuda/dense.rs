//! What lies between products, against its definition in f64: sizes that kernels take whole, and others.

use std::sync::Arc;

use vitscope_cuda::{Activation, Buffer, CudaError, Dense, Element, Factors, Gpu, RowsView};
use vitscope_testkit::lcg::Lcg;

use crate::card;

const ELEMENTS: [Element; 3] = [Element::F32, Element::Bf16, Element::F16];

/// The operations for each type of numbers that the card has.
fn kinds(gpu: &Arc<Gpu>) -> Vec<(Element, Dense)> {
    let kinds = ELEMENTS
        .iter()
        .map(|&element| match Dense::new(gpu, element) {
            Ok(dense) => Some((element, dense)),
            Err(CudaError::NoBf16 { .. }) => None,
            Err(error) => panic!("{error}"),
        });
    kinds.flatten().collect()
}

/// The most that rounding moves a number, as a share of it.
fn rounding(element: Element) -> f64 {
    match element {
        Element::F32 => 2.0_f64.powi(-24),
        Element::Bf16 => 2.0_f64.powi(-8),
        Element::F16 => 2.0_f64.powi(-11),
    }
}

/// Numbers between -`most` and `most` that the element has.
fn numbers(element: Element, count: usize, most: f32) -> Vec<f32> {
    let mut random = Lcg(count as u64);
    let number = |_| element.round((2.0 * random.uniform() - 1.0) * most);
    (0..count).map(number).collect()
}

fn read(gpu: &Arc<Gpu>, factors: &Factors, len: usize) -> Vec<f32> {
    let view = RowsView::factors(gpu, factors, 0, [1, 1, len], [len, len]);
    view.download().unwrap()
}

/// Every number lies within `share` of its truth and `least`.
fn hold(what: &str, ours: &[f32], truth: &[f64], share: f64, least: f64) {
    assert_eq!(ours.len(), truth.len());
    for (at, (&ours, &truth)) in ours.iter().zip(truth).enumerate() {
        let off = (f64::from(ours) - truth).abs();
        assert!(
            off <= share * truth.abs() + least,
            "{what}: {ours} for {truth} at {at}"
        );
    }
}

/// The normal distribution function, by Marsaglia's series.
fn phi(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-20 {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[test]
fn attention_is_its_definition_at_any_number_of_tokens() {
    let Some(gpu) = card() else { return };
    for (element, dense) in kinds(&gpu) {
        for tokens in [
            1, 8, 15, 16, 17, 40, 63, 64, 65, 81, 112, 128, 129, 150, 193,
        ] {
            let (batch, heads, d) = (2, 2, 64);
            let width = heads * d;
            let qkv = numbers(element, batch * tokens * 3 * width, 0.8);
            let row = |image: usize, token: usize, part: usize, head: usize| {
                &qkv[((image * tokens + token) * 3 + part) * width + head * d..][..d]
            };
            let mut truth = vec![0.0; batch * tokens * width];
            for (image, head) in (0..batch).flat_map(|i| (0..heads).map(move |h| (i, h))) {
                for query in 0..tokens {
                    let score = |key: usize| -> f64 {
                        let pairs = row(image, query, 0, head)
                            .iter()
                            .zip(row(image, key, 1, head));
                        pairs
                            .map(|(&q, &k)| f64::from(q) * f64::from(k))
                            .sum::<f64>()
                            / 8.0
                    };
                    let powers: Vec<f64> = (0..tokens).map(|key| score(key).exp()).collect();
                    let whole: f64 = powers.iter().sum();
                    let out = &mut truth[(image * tokens + query) * width + head * d..][..d];
                    for (key, power) in powers.iter().enumerate() {
                        let values = row(image, key, 2, head);
                        out.iter_mut()
                            .zip(values)
                            .for_each(|(out, &v)| *out += power / whole * f64::from(v));
                    }
                }
            }
            let factors = Factors::upload(&gpu, element, &qkv).unwrap();
            let mut out = Factors::new(&gpu, element, truth.len()).unwrap();
            let shape = [batch, tokens, heads, d];
            if !dense.attend(&factors, shape, &mut out, None).unwrap() {
                assert_ne!(element, Element::F32, "only cards before Ampere lack it");
                continue;
            }
            let ours = read(&gpu, &out, truth.len());
            // Weights are rounded, and their mean of values once more.
            let least = match element {
                Element::F32 => 2e-6,
                _ => 0.4 * rounding(element),
            };
            let what = format!("{element:?}, {tokens} tokens");
            hold(&what, &ours, &truth, rounding(element), least);
        }
    }
}

#[test]
fn activations_are_their_definitions() {
    let Some(gpu) = card() else { return };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for (element, dense) in kinds(&gpu) {
        for [rows, width] in [[1, 1], [1, 7], [1, 16], [3, 341], [2, 2056], [5, 4096]] {
            for activation in [Activation::Gelu, Activation::QuickGelu, Activation::SwiGlu] {
                let gates = matches!(activation, Activation::SwiGlu);
                let count = rows * width * if gates { 2 } else { 1 };
                let before = numbers(element, count, 9.0);
                let at = |at: usize| f64::from(before[at]);
                let truth = (0..rows * width).map(|out| match activation {
                    Activation::Gelu => at(out) * phi(at(out)),
                    Activation::QuickGelu => at(out) * sigmoid(1.702 * at(out)),
                    Activation::SwiGlu => {
                        let gate = out / width * 2 * width + out % width;
                        at(gate) * sigmoid(at(gate)) * at(gate + width)
                    }
                });
                let truth: Vec<f64> = truth.collect();
                let mut y = Factors::upload(&gpu, element, &before).unwrap();
                let mut gated = Factors::new(&gpu, element, rows * width).unwrap();
                let shape = [rows, width];
                let out = dense.activate(activation, &mut y, &mut gated, shape);
                let ours = read(&gpu, out.unwrap(), rows * width);
                let what = format!("{element:?}, {activation:?} of {rows} x {width}");
                // An exponential, a division and products take some roundings of f32; small results of f16
                // are rounded to 2^-24.
                let f32s = 5.0 * rounding(Element::F32);
                hold(&what, &ours, &truth, rounding(element) + f32s, 6e-8);
            }
        }
    }
}

/// The exact GELU in f32. A power of two is within 2^-22 of itself on a card (on the stand-in
/// within f32's rounding, and so is the result).
#[test]
fn the_exact_gelu_is_exact() {
    let Some(gpu) = card() else { return };
    let dense = Dense::new(&gpu, Element::F32).unwrap();
    let mut before: Vec<f32> = (-120_000..120_000).map(|x| x as f32 / 1e4).collect();
    before.extend([1e-30, -1e-30, 0.0, 1e5, -1e5, 3e38, -3e38]);
    let truth: Vec<f64> = before
        .iter()
        .map(|&x| f64::from(x) * phi(f64::from(x)))
        .collect();
    let mut y = Factors::upload(&gpu, Element::F32, &before).unwrap();
    let mut unused = Factors::new(&gpu, Element::F32, 0).unwrap();
    let shape = [1, before.len()];
    let out = dense.activate(Activation::Gelu, &mut y, &mut unused, shape);
    let ours = read(&gpu, out.unwrap(), before.len());
    let (above, below) = before
        .iter()
        .enumerate()
        .fold((0.0_f64, 0.0_f64), |worst, (at, &x)| {
            assert!(ours[at].is_finite(), "of {x}");
            let off = (f64::from(ours[at]) - truth[at]).abs();
            match x > 0.0 {
                true => (worst.0.max(off / truth[at]), worst.1),
                false => (worst.0, worst.1.max(off)),
            }
        });
    println!("exact GELU: off by {above:e} of itself above 0, by {below:e} below");
    assert!(above < 3.5e-7, "{above:e}");
    assert!(below < 8e-8, "{below:e}");
    // What is no number stays none.
    let mut y = Factors::upload(&gpu, Element::F32, &[f32::NAN; 9]).unwrap();
    let out = dense.activate(Activation::Gelu, &mut y, &mut unused, [1, 9]);
    assert!(read(&gpu, out.unwrap(), 9).iter().all(|x| x.is_nan()));
}

#[test]
fn heads_are_rotated_whole_and_in_part() {
    let Some(gpu) = card() else { return };
    for (element, dense) in kinds(&gpu) {
        for d in [64, 24, 12] {
            let (batch, tokens, heads, prefix) = (2, 7, 3, 2);
            let (patches, half) = (tokens - prefix, d / 2);
            let before = numbers(element, batch * tokens * 3 * heads * d, 2.0);
            let tables = [3, 4].map(|more| numbers(Element::F32, patches * d + more, 1.0));
            let mut truth: Vec<f64> = before.iter().map(|&x| f64::from(x)).collect();
            for token in (0..batch * tokens).filter(|token| token % tokens >= prefix) {
                let patch = token % tokens - prefix;
                for (head, j) in (0..2 * heads).flat_map(|h| (0..half).map(move |j| (h, j))) {
                    let at = (token * 3 * heads + head) * d + j;
                    let of = |table: &[f32], j: usize| f64::from(table[patch * d + j]);
                    let [cosines, sines] = &tables;
                    let (x1, x2) = (truth[at], truth[at + half]);
                    truth[at] = x1 * of(cosines, j) - x2 * of(sines, j);
                    truth[at + half] = x2 * of(cosines, half + j) + x1 * of(sines, half + j);
                }
            }
            let [cosines, sines] = tables.map(|table| Buffer::upload(&gpu, &table).unwrap());
            let mut qkv = Factors::upload(&gpu, element, &before).unwrap();
            let shape = [batch, tokens, heads, d];
            dense
                .rotate(&mut qkv, [&cosines, &sines], shape, prefix)
                .unwrap();
            let ours = read(&gpu, &qkv, before.len());
            let what = format!("{element:?}, heads of {d}");
            hold(&what, &ours, &truth, rounding(element), 5e-7);
        }
    }
}
