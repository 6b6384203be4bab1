//! Locality bias against NumPy on recorded attention, and against closed forms.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first error")]

use ndarray::{Array4, ArrayView4};
use safetensors::SafeTensors;
use vitscope_study::attention::{Localities, PatchQuery};
use vitscope_testkit::fixture;

/// The recorded attention of one fixture and layer.
fn recorded(folder: &str, file: &str, tensor: &str) -> Array4<f32> {
    let path = fixture(&format!("{folder}/{file}.safetensors"));
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor(tensor).unwrap();
    let (chunks, _) = view.data().as_chunks::<4>();
    let values = chunks.iter().map(|&bytes| f32::from_le_bytes(bytes));
    let shape: [usize; 4] = view.shape().try_into().unwrap();
    Array4::from_shape_vec(shape, values.collect()).unwrap()
}

fn of(weights: ArrayView4<'_, f32>, patches: usize) -> (Option<f64>, Vec<Option<f64>>) {
    let mut localities = Localities::new(&[1], weights.dim().1, patches);
    localities.add(1, weights, |_, _| {}).unwrap();
    let summary = localities.finish(0, 0).remove(0);
    let heads = summary.heads.iter().map(|head| head.value).collect();
    (summary.whole.value, heads)
}

/// `tools/oracle/attention.py`, over every fixture, layer and size.
#[test]
fn recorded_attention_gives_the_oracles_figures() {
    let golden = include_str!("golden/locality.txt");
    let mut lines = golden.lines().skip(1);
    let (mut seen, mut off) = (0, 0.0_f64);
    while let (Some(name), Some(values)) = (lines.next(), lines.next()) {
        let (name, _) = name.split_once(' ').unwrap();
        let parts: Vec<&str> = name.split('/').collect();
        let weights = recorded(parts[0], parts[1], parts[2]);
        let (whole, heads) = of(weights.view(), parts[3].parse().unwrap());
        for (ours, theirs) in [whole].iter().chain(&heads).zip(values.split(' ')) {
            let theirs: f64 = theirs.parse().unwrap();
            off = off.max((ours.unwrap() - theirs).abs());
        }
        assert_eq!(values.split(' ').count(), 1 + heads.len());
        seen += 1;
    }
    println!("{seen} layers, worst difference {off:.1e} nats");
    assert!(seen >= 200 && off < 1e-11, "{seen} {off:e}");
}

/// Two prefix tokens whose weights must not count, then the patches.
fn with_prefix(patches: usize, weight: impl Fn(usize, usize) -> f32) -> Array4<f32> {
    Array4::from_shape_fn((2, 1, patches + 2, patches + 2), |(_, _, q, k)| {
        if q < 2 || k < 2 {
            0.3 + (q * k) as f32
        } else {
            weight(q - 2, k - 2)
        }
    })
}

#[test]
fn closed_forms() {
    let n = 60;
    let check = |expected: f64, weight: &dyn Fn(usize, usize) -> f32| {
        let (whole, heads) = of(with_prefix(n, weight).view(), n);
        assert!(
            (whole.unwrap() - expected).abs() < 1e-12,
            "{whole:?} {expected}"
        );
        assert_eq!(heads, [whole]);
    };
    let log = |x: f64| x.ln();
    // Identity: every query has a key of its own.
    check(log(60.0), &|q, k| f32::from(q == k));
    // Uniform, and a barcode: all queries attend alike.
    check(0.0, &|_, _| 0.01);
    check(0.0, &|_, k| (k % 7) as f32 + 0.25);
    // Rows that are multiples of one another still attend alike.
    check(0.0, &|q, k| (1 + q) as f32 * (1 + k % 5) as f32);
    // A band of 5 around the diagonal of a ring: log(n / 5).
    check(log(12.0), &|q, k| f32::from((k + n - q) % n < 5));
    // Blocks of 15: log of their number.
    check(log(4.0), &|q, k| f32::from(q / 15 == k / 15));
}

#[test]
fn nothing_depends_on_batches_or_threads() {
    let weights = recorded("dinov2-timm", "expected", "block1.attention");
    let (images, heads, tokens, _) = weights.dim();
    let patches = tokens - 1;
    let run = |batch: usize, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut localities = Localities::new(&[1], heads, patches);
            let mut means = Vec::new();
            for start in (0..images).step_by(batch) {
                let part =
                    weights.slice(ndarray::s![start..(start + batch).min(images), .., .., ..]);
                let look =
                    |_: usize, mean: ndarray::ArrayView2<'_, f64>| means.push(mean.to_owned());
                localities.add(1, part, look).unwrap();
            }
            (format!("{:?}", localities.finish(50, 7)), means)
        })
    };
    assert_eq!(run(1, 1), run(images, 3));
}

#[test]
fn weights_that_are_no_attention_are_refused() {
    let mut localities = Localities::new(&[3], 1, 4);
    let mut weights = Array4::from_elem((1, 1, 5, 5), 0.2_f32);
    assert!(localities.add(2, weights.view(), |_, _| {}).is_err());
    weights[(0, 0, 4, 4)] = f32::NAN;
    let error = localities.add(3, weights.view(), |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("layer 3"), "{error}");
    // A matrix without any patch-to-patch weight has no figure; it is not 0.
    let mut localities = Localities::new(&[3], 1, 4);
    localities
        .add(3, Array4::zeros((1, 1, 5, 5)).view(), |_, _| {})
        .unwrap();
    assert_eq!(localities.finish(10, 0)[0].whole.value, None);
}

#[test]
fn queries_are_read_and_refused() {
    let query: PatchQuery = "a:b.c:3,12".parse().unwrap();
    assert_eq!(
        (query.image.as_str(), query.row, query.column),
        ("a:b.c", 3, 12)
    );
    for bad in ["", "a", "a:3", ":3,4", "a:3,x", "a:-1,2"] {
        assert!(bad.parse::<PatchQuery>().is_err(), "{bad}");
    }
}
