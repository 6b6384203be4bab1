//! Attention weights that are never written, and what lies between products, against their definitions in f64.
//!
//! Without a GPU and without `tools/cuda_standin` the tests say that they were not run, unless
//! `VITSCOPE_CUDA_TESTS=required`.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first error")]

mod dense;

use std::sync::Arc;

use vitscope_cuda::{
    AttentionView, Buffer, Dense, Element, Factors, Gpu, WeightKernels, WeightTally,
};
use vitscope_testkit::lcg::Lcg;

/// The card, or a sentence in its place.
fn card() -> Option<Arc<Gpu>> {
    match Gpu::open() {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            let required =
                std::env::var("VITSCOPE_CUDA_TESTS").is_ok_and(|word| word == "required");
            assert!(!required, "{error}");
            vitscope_testkit::left_out("attention on a GPU", &error.to_string());
            None
        }
    }
}

const UNITS: f64 = (1_u64 << 40) as f64;

/// A batch: images, tokens, heads and the width of one; patches are the last tokens.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: [usize; 4],
    patches: usize,
    element: Element,
    /// Factor of all queries.
    sharp: f32,
}

impl Case {
    /// Queries, keys and values as they are multiplied, `[batch, tokens, 3, heads, d]`.
    fn numbers(&self) -> Vec<f32> {
        let [batch, tokens, heads, d] = self.shape;
        let mut random = Lcg(7);
        let width = heads * d;
        let mut number = |at: usize| {
            let query = (at / width).is_multiple_of(3);
            let number = random.uniform() * 2.0;
            self.element
                .round(number * if query { self.sharp } else { 1.0 })
        };
        (0..batch * tokens * 3 * width).map(&mut number).collect()
    }

    /// All weights by their definition, `[batch, heads, tokens, tokens]`, each query's norm, and the largest
    /// magnitude of what powers are taken of.
    fn weights(&self, qkv: &[f32]) -> (Vec<f64>, Vec<f32>, f64) {
        let [batch, tokens, heads, d] = self.shape;
        let mut weights = Vec::new();
        let mut norms = Vec::new();
        let mut largest = 0.0_f64;
        for pair in 0..batch * heads {
            let (image, head) = (pair / heads, pair % heads);
            let row = |token: usize, part: usize| {
                let at = ((image * tokens + token) * 3 + part) * heads + head;
                &qkv[at * d..][..d]
            };
            for query in 0..tokens {
                let score = |key: usize| -> f64 {
                    let pairs = row(query, 0).iter().zip(row(key, 1));
                    pairs.map(|(&q, &k)| f64::from(q) * f64::from(k)).sum()
                };
                let scores: Vec<f64> = (0..tokens).map(score).collect();
                let top = scores.iter().copied().fold(f64::MIN, f64::max);
                let scale = 1.0 / (d as f64).sqrt();
                largest = scores
                    .iter()
                    .fold(largest, |most, s| most.max(s.abs() * scale));
                let powers = scores.iter().map(|s| ((s - top) * scale).exp());
                let powers: Vec<f64> = powers.collect();
                let share = 1.0 / powers.iter().sum::<f64>();
                weights.extend(powers.iter().map(|power| power * share));
                norms.extend([top as f32, share as f32]);
            }
        }
        (weights, norms, largest)
    }

    /// The head-averaged weights among patches, `[batch, patches, patches]`.
    fn means(&self, weights: &[f64]) -> Vec<f64> {
        let [batch, _, heads, _] = self.shape;
        let mut means = Vec::new();
        for image in 0..batch {
            let mut mean = vec![0.0; self.patches * self.patches];
            for head in 0..heads {
                let of_head = self.among_patches(weights, image * heads + head);
                mean.iter_mut()
                    .zip(of_head)
                    .for_each(|(m, w)| *m += w / heads as f64);
            }
            means.extend(mean);
        }
        means
    }

    /// One head's weights among patches.
    fn among_patches(&self, weights: &[f64], pair: usize) -> Vec<f64> {
        let [_, tokens, ..] = self.shape;
        let prefix = tokens - self.patches;
        let rows = weights[pair * tokens * tokens..][..tokens * tokens].chunks(tokens);
        rows.skip(prefix)
            .flat_map(|row| row[prefix..].to_vec())
            .collect()
    }
}

/// `sum P ln(P / (P(k) P(q)))` by its definition.
fn information(weights: &[f64], n: usize) -> [f64; 2] {
    let whole: f64 = weights.iter().sum();
    let query = |q: usize| weights[q * n..][..n].iter().sum::<f64>() / whole;
    let key = |k: usize| weights.iter().skip(k).step_by(n).sum::<f64>() / whole;
    let (queries, keys): (Vec<f64>, Vec<f64>) = (0..n).map(|i| (query(i), key(i))).unzip();
    let term = |(at, w): (usize, &f64)| match w / whole {
        p if p > 0.0 => p * (p / (queries[at / n] * keys[at % n])).ln(),
        _ => 0.0,
    };
    [whole, weights.iter().enumerate().map(term).sum()]
}

fn off(ours: impl IntoIterator<Item = f64>, theirs: impl IntoIterator<Item = f64>) -> f64 {
    let mut theirs = theirs.into_iter();
    let worst = ours.into_iter().fold(0.0_f64, |worst, ours| {
        let off = (ours - theirs.next().unwrap()).abs();
        assert!(off.is_finite());
        worst.max(off)
    });
    assert!(theirs.next().is_none());
    worst
}

/// Attention by `attend` where there is one for the case, or with norms from the host. Says how far it is off.
fn check(gpu: &Arc<Gpu>, case: Case) -> String {
    let [batch, tokens, heads, d] = case.shape;
    let dense = Dense::new(gpu, case.element).unwrap();
    let numbers = case.numbers();
    let (weights, norms, largest) = case.weights(&numbers);
    let qkv = Factors::upload(gpu, case.element, &numbers).unwrap();
    let mut found = Buffer::new(gpu, norms.len()).unwrap();
    let mut mixed = Factors::new(gpu, case.element, batch * tokens * heads * d).unwrap();
    let fused = dense
        .attend(&qkv, case.shape, &mut mixed, Some(&mut found))
        .unwrap();
    assert_eq!(fused, d == 64);
    if !fused {
        found.write(gpu, &norms).unwrap();
    }
    let kernels = WeightKernels::new(gpu, case.element).unwrap();
    let view = AttentionView::new(&kernels, &qkv, &found, case.shape);

    let all = view.download().unwrap();
    let weights_off = off(all.iter().map(|&w| f64::from(w)), weights.iter().copied());

    let n = case.patches;
    let prefix = tokens - n;
    let means = case.means(&weights);
    let asked = [[batch - 1, prefix], [0, tokens - 1], [0, prefix + n / 2]];
    let rows = view.mean_rows(&asked).unwrap();
    let wanted = asked
        .iter()
        .flat_map(|&[image, token]| means[(image * n + token - prefix) * n..][..n].to_vec());
    let ours = rows.chunks(tokens).flat_map(|row| row[prefix..].to_vec());
    let rows_off = off(ours.map(f64::from), wanted);

    let mut tally = WeightTally::new(gpu, 2, n, UNITS).unwrap();
    let measured = tally.add(1, &view).unwrap();
    let again = tally.add(0, &view).unwrap();
    assert_eq!(measured, again, "the same bytes each time");
    let by_definition: Vec<f64> = (0..batch)
        .flat_map(|image| {
            let of_heads = (0..heads)
                .map(move |head| image * heads + head)
                .map(|pair| information(&case.among_patches(&weights, pair), n));
            let mean = information(&means[image * n * n..][..n * n], n);
            of_heads.chain([mean]).flatten().collect::<Vec<f64>>()
        })
        .collect();
    let ours = measured.as_flattened().iter().copied();
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), by_definition);
    let of = |which: usize| {
        let part = |list: &[f64]| {
            list.iter()
                .copied()
                .skip(which)
                .step_by(2)
                .collect::<Vec<_>>()
        };
        off(part(&ours), part(&theirs))
    };
    let (whole_off, information_off) = (of(0) / n as f64, of(1));

    let sum = tally.take(gpu, 1).unwrap();
    assert_eq!(sum, tally.take(gpu, 0).unwrap());
    assert!(tally.take(gpu, 1).unwrap().iter().all(|&units| units == 0));
    let wanted = (0..n * n).map(|at| means.iter().skip(at).step_by(n * n).sum::<f64>());
    let sum_off = off(sum.iter().map(|&units| units as f64 / UNITS), wanted);

    // A power is off by as much, relatively, as what it is taken of is off: by the rounding of f32.
    let bound = f64::from(f32::EPSILON) * (4.0 + largest);
    assert!(weights_off < bound && rows_off < bound && sum_off < batch as f64 * bound);
    assert!(whole_off < bound && information_off < 1e-6);
    format!(
        "{case:?}: weights off by {weights_off:.1e}, rows {rows_off:.1e}, sums {sum_off:.1e}, \
         their whole {whole_off:.1e}, information {information_off:.1e} nats of {:.2}",
        ours[1]
    )
}

/// One tile and several, the last of them short; heads by tensor cores, and of any width by products.
#[test]
fn weights_are_measured_where_they_are() {
    let Some(gpu) = card() else { return };
    let case = |shape, patches, element, sharp| Case {
        shape,
        patches,
        element,
        sharp,
    };
    let (f32, bf16, f16) = (Element::F32, Element::Bf16, Element::F16);
    for case in [
        case([2, 74, 3, 64], 73, f32, 4.0),
        case([2, 74, 3, 64], 73, bf16, 4.0),
        case([2, 74, 3, 64], 73, f16, 4.0),
        case([1, 135, 2, 64], 130, bf16, 0.1),
        case([2, 10, 4, 64], 9, f16, 40.0),
        case([2, 74, 3, 20], 73, f32, 4.0),
        case([1, 70, 2, 80], 64, bf16, 40.0),
    ] {
        println!("{}", check(&gpu, case));
    }
}

/// No weight at all is told from a weight that is no number.
#[test]
fn patches_without_weight_and_weights_that_are_no_numbers() {
    let Some(gpu) = card() else { return };
    let shape = [2, 5, 1, 8];
    let kernels = WeightKernels::new(&gpu, Element::F32).unwrap();
    // In the first image all look at the class token; in the second one query is no number.
    let mut numbers = vec![0.0_f32; 2 * 5 * 3 * 8];
    let mut norms = [0.0_f32, 1.0].repeat(2 * 5);
    for token in 0..5 {
        numbers[token * 24] = 1.0;
        norms[2 * token] = 1e6;
    }
    numbers[8] = 1e6;
    numbers[(5 + 2) * 24] = f32::NAN;
    let qkv = Factors::upload(&gpu, Element::F32, &numbers).unwrap();
    let norms = Buffer::upload(&gpu, &norms).unwrap();
    let view = AttentionView::new(&kernels, &qkv, &norms, shape);
    let mut tally = WeightTally::new(&gpu, 1, 4, UNITS).unwrap();
    let found = tally.add(0, &view).unwrap();
    for [whole, _] in &found[..2] {
        assert_eq!(*whole, 0.0);
    }
    for [whole, _] in &found[2..] {
        assert!(whole.is_nan(), "{whole}");
    }
}
