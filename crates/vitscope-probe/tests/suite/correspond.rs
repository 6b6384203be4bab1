//! Matches of key points against brute force: PyTorch's (golden), our own, and every pixel looked at.
use ndarray::{Array2, ArrayView2, Axis};
use proptest::prelude::*;
use vitscope_probe::{Match, ProbeError, Search, TargetImage, View};
use vitscope_testkit::golden::read;
use vitscope_testkit::lcg::{Lcg, features};

/// `tools/oracle/correspond.py`: F.interpolate of every embedding, cosine, argmax, in f64.
#[test]
fn pytorchs_matches() {
    let golden = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/correspond.txt"
    ));
    let cases = [
        (5, 5, 7, 40, 60, 63, 41),
        (8, 8, 24, 100, 75, 90, 121),
        (20, 20, 16, 120, 90, 96, 140),
        (6, 9, 12, 9, 5, 7, 4),
        (1, 4, 8, 20, 20, 16, 30),
    ];
    let (mut same, mut ties) = (0, 0);
    for (seed, (rows, columns, dim, sh, sw, th, tw)) in cases.into_iter().enumerate() {
        for offset in [0.0_f32, 0.25] {
            let name = format!("{seed}_{}", (offset * 100.0) as usize);
            let mut rng = Lcg(500 + seed as u64);
            let both = features(&mut rng, (2, rows * columns, dim), 6, offset);
            let points: Vec<usize> = (0..24)
                .map(|i| rng.below(if i < 12 { sh } else { sw }))
                .collect();
            let source = View::stretched((sh as usize, sw as usize), (rows, columns)).unwrap();
            let view = View::stretched((th, tw), (rows, columns)).unwrap();
            let target = TargetImage::new(both.index_axis(Axis(0), 1), &view).unwrap();
            for point in 0..12 {
                let (row, column) = (points[point], points[12 + point]);
                let wanted = source
                    .sample(both.index_axis(Axis(0), 0), row, column)
                    .unwrap();
                let products = target.products(&wanted).unwrap();
                let found = target.best(&products, &mut Search::default());
                let at = &golden[&format!("match_{name}")][2 * point..][..2];
                let cosine = golden[&format!("cosine_{name}")][point];
                assert!(
                    (found.cosine - cosine).abs() < 1e-10,
                    "{name} {point} {found:?}"
                );
                if golden[&format!("lead_{name}")][point] < 1e-9 {
                    ties += 1;
                } else {
                    assert_eq!(
                        [found.row as f64, found.column as f64],
                        at,
                        "{name} {point}"
                    );
                    same += 1;
                }
            }
        }
    }
    println!("{same} identical matches, {ties} ties");
    assert_eq!(same + ties, 120);
    assert!(same > 80);
}

/// Every embedding upsampled to every pixel, in f64; ties and near-ties within 1e-9 are all given.
fn brute(features: ArrayView2<'_, f32>, view: &View, wanted: &[f64]) -> (f64, Vec<(usize, usize)>) {
    let (height, width) = view.pixels();
    let mut cosines = Vec::new();
    for row in 0..height {
        for column in 0..width {
            let unit = view.sample(features, row, column).unwrap();
            let product: f64 = unit.iter().zip(wanted).map(|(a, b)| a * b).sum();
            cosines.push(product);
        }
    }
    let best = cosines.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let near = (0..cosines.len())
        .filter(|&at| best - cosines[at] < 1e-9)
        .map(|at| (at / width, at % width));
    (best, near.collect())
}

fn find(features: ArrayView2<'_, f32>, view: &View, wanted: &[f64]) -> Match {
    let target = TargetImage::new(features, view).unwrap();
    let products = target.products(wanted).unwrap();
    let pruned = target.best(&products, &mut Search::default());
    let plain = target.best_plain(&products);
    assert_eq!(pruned, plain);
    let map = target.map(&products);
    assert_eq!(
        map[pruned.row * view.pixels().1 + pruned.column],
        pruned.cosine as f32
    );
    pruned
}

/// Random maps of many kinds: `kind` picks what is odd about them.
fn odd_map(rng: &mut Lcg, patches: usize, dim: usize, kind: usize) -> Array2<f32> {
    let mut map = rng.matrix(patches, dim);
    let first = map.row(0).to_owned();
    match kind {
        // All patches alike, or two that alternate: ties everywhere.
        1 => map.outer_iter_mut().for_each(|mut row| row.assign(&first)),
        2 => {
            let second = map.row(patches - 1).to_owned();
            for (at, mut row) in map.outer_iter_mut().enumerate() {
                row.assign(if at % 2 == 0 { &first } else { &second });
            }
        }
        // Zero vectors, some or all.
        3 => {
            for mut row in map.outer_iter_mut() {
                if rng.below(2) == 0 {
                    row.fill(0.0);
                }
            }
        }
        4 => map.fill(0.0),
        // Neighbors that point in opposite directions, so that their mixes cancel.
        5 => {
            for (at, mut row) in map.outer_iter_mut().enumerate() {
                row.assign(&first);
                row *= if at % 2 == 0 { 1.0 } else { -1.0 };
            }
        }
        // Nearly alike, as deep layers are; and lengths over many orders of magnitude.
        6 => map.mapv_inplace(|value| value * 0.01 + 1.0),
        7 => {
            for mut row in map.outer_iter_mut() {
                row *= 10.0_f32.powi(rng.below(13) as i32 - 6);
            }
        }
        _ => {}
    }
    map
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pruning_finds_what_every_pixel_gives(
        seed in any::<u64>(), rows in 1_usize..6, columns in 1_usize..6, dim in 1_usize..9,
        height in 1_usize..40, width in 1_usize..40, kind in 0_usize..8,
    ) {
        let mut rng = Lcg(seed);
        let map = odd_map(&mut rng, rows * columns, dim, kind);
        let view = View::stretched((height, width), (rows, columns)).unwrap();
        let same = rng.below(2) == 0;
        let wanted = if same {
            let (row, column) = (rng.below(height as u64), rng.below(width as u64));
            view.sample(map.view(), row, column).unwrap()
        } else {
            let one = View::stretched((1, 1), (1, 1)).unwrap();
            one.sample(rng.matrix(1, dim).view(), 0, 0).unwrap()
        };
        let found = find(map.view(), &view, &wanted);
        // Where patches cancel, the direction of what is left is rounding, and zero counts as 0.
        if kind != 5 {
            let (best, near) = brute(map.view(), &view, &wanted);
            prop_assert!((found.cosine - best).abs() < 1e-8, "{found:?} {best}");
            prop_assert!(near.contains(&(found.row, found.column)) || kind == 7, "{found:?} {near:?}");
        }
        if kind == 1 || kind == 4 {
            prop_assert_eq!((found.row, found.column), (0, 0));
        }
    }

    /// A padded input is the stretched one of the square, seen through a window.
    #[test]
    fn padding_moves_the_window(
        seed in any::<u64>(), n in 1_usize..5, patch in 1_usize..7, short in 1_usize..20,
    ) {
        let side = n * patch;
        let short = short.min(side);
        let top = (side - short) / 2;
        let map = Lcg(seed).matrix(n * n, 6);
        let square = View::stretched((side, side), (n, n)).unwrap();
        let padded = View::placed((short, side), (n, n), patch, (short, side), (top, 0)).unwrap();
        for row in 0..short {
            for column in 0..side {
                prop_assert_eq!(
                    square.sample(map.view(), top + row, column).unwrap(),
                    padded.sample(map.view(), row, column).unwrap()
                );
            }
        }
    }
}

/// The same photograph at another size: ideal embeddings find every point again.
#[test]
fn a_point_is_found_again_in_its_own_image() {
    let map = Lcg(3).matrix(400, 64);
    let view = View::stretched((375, 500), (20, 20)).unwrap();
    for (row, column) in [(0, 0), (374, 499), (188, 250), (17, 31), (300, 12)] {
        let wanted = view.sample(map.view(), row, column).unwrap();
        let found = find(map.view(), &view, &wanted);
        assert!((found.cosine - 1.0).abs() < 1e-12);
        // Clamped pixels along the edge are alike; the first of them is the answer.
        assert!(
            found.row.abs_diff(row) <= 9 && found.column.abs_diff(column) <= 12,
            "{found:?}"
        );
        if (13..362).contains(&row) && (13..487).contains(&column) {
            assert_eq!((found.row, found.column), (row, column));
        }
    }
}

#[test]
fn bad_input_is_refused() {
    let view = View::stretched((10, 10), (2, 2)).unwrap();
    assert!(View::stretched((0, 10), (2, 2)).is_err());
    assert!(TargetImage::new(Array2::zeros((3, 4)).view(), &view).is_err());
    for bad in [f32::NAN, f32::INFINITY] {
        let mut map = Array2::ones((4, 5));
        map[(2, 3)] = bad;
        let error = TargetImage::new(map.view(), &view).unwrap_err();
        assert_eq!(error, ProbeError::NonFinite { image: 0 });
        assert!(view.sample(map.view(), 9, 0).is_err());
    }
    let map = Array2::ones((4, 5));
    let target = TargetImage::new(map.view(), &view).unwrap();
    assert!(target.products(&[1.0; 7]).is_err());
}
