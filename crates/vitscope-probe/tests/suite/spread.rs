//! How vectors are spread, against plain sums over all of them.
use ndarray::{Array2, Array3, s};
use vitscope_probe::{Dispersion, Moments, Spread};
use vitscope_testkit::lcg::Lcg;

/// The definitions, over rows that count `weights` times.
fn plain(rows: &Array2<f64>, weights: &[f64]) -> Spread {
    let (count, dim) = (weights.iter().sum::<f64>(), rows.ncols());
    let mean_of = |value: &dyn Fn(usize) -> f64| {
        (0..rows.nrows())
            .map(|i| weights[i] * value(i))
            .sum::<f64>()
            / count
    };
    let mean: Vec<f64> = (0..dim).map(|d| mean_of(&|i| rows[(i, d)])).collect();
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let cosine = |i: usize| {
        let row = rows.row(i).to_vec();
        let product: f64 = row.iter().zip(&mean).map(|(a, b)| a * b).sum();
        if norm(&row) > 0.0 {
            product / norm(&row) / norm(&mean)
        } else {
            0.0
        }
    };
    let mut energy: Vec<f64> = (0..dim)
        .map(|d| mean_of(&|i| rows[(i, d)].powi(2)))
        .collect();
    energy.sort_by(|a, b| b.total_cmp(a));
    let total: f64 = energy.iter().sum();
    let top = |k: usize| energy.iter().take(k).sum::<f64>() / total;
    Spread {
        common_direction: Some(mean_of(&cosine)),
        channel_top1: top(1),
        channel_top3: top(3),
        channel_top10: top(10),
        participation: total * total / energy.iter().map(|e| e * e).sum::<f64>(),
        // Against numpy's singular values, in `oracle.rs`.
        effective_rank: None,
    }
}

#[test]
fn spread_is_what_plain_sums_say() {
    let mut rng = Lcg(9);
    let (images, patches) = (5, 7);
    // Narrow and wide, with a common direction or none, with channels that stand out.
    for (dim, common, strong) in [
        (3, 0.0, 1.0),
        (20, 4.0, 1.0),
        (300, 0.3, 60.0),
        (12, 0.0, 1e4),
    ] {
        let mut x = Array3::from_shape_fn((images, patches, dim), |_| rng.uniform() + common);
        x.slice_mut(s![.., .., 1])
            .mapv_inplace(|value| strong * value);
        // A vector of length zero has a cosine of zero.
        x.slice_mut(s![2, 3, ..]).fill(0.0);
        let weights = [1_u32, 3, 2, 0, 1];
        let mut moments = Moments::new(dim);
        moments
            .add(x.slice(s![..3, .., ..]), &weights[..3])
            .unwrap();
        moments
            .add(x.slice(s![3.., .., ..]), &weights[3..])
            .unwrap();
        let rows = x
            .mapv(f64::from)
            .into_shape_with_order((images * patches, dim))
            .unwrap();
        let each: Vec<f64> = weights
            .iter()
            .flat_map(|&w| vec![f64::from(w); patches])
            .collect();
        let (found, expected) = (
            moments.spread(&moments.principal().unwrap()).unwrap(),
            plain(&rows, &each),
        );
        let direction = (
            found.common_direction.unwrap(),
            expected.common_direction.unwrap(),
        );
        assert!((direction.0 - direction.1).abs() < 1e-6, "{direction:?}");
        for (found, expected) in [
            (found.channel_top1, expected.channel_top1),
            (found.channel_top3, expected.channel_top3),
            (found.channel_top10, expected.channel_top10),
            (found.participation, expected.participation),
        ] {
            // The squares are summed in f32 products.
            assert!(
                (found - expected).abs() < 1e-5 * expected,
                "{found} {expected}"
            );
        }
        let stored = Moments::from_state(&moments.to_state()).unwrap();
        assert_eq!(stored.spread(&stored.principal().unwrap()), Some(found));
    }
}

#[test]
fn spread_of_nothing_and_of_zeros_is_undefined() {
    let mut moments = Moments::new(4);
    assert_eq!(moments.spread(&moments.principal().unwrap()), None);
    moments
        .add(Array3::zeros((2, 3, 4)).view(), &[1, 1])
        .unwrap();
    assert_eq!(moments.spread(&moments.principal().unwrap()), None);
    // Opposite vectors have no mean; all their energy is in one channel.
    let mut moments = Moments::new(4);
    let mut x = Array3::zeros((1, 2, 4));
    (x[(0, 0, 2)], x[(0, 1, 2)]) = (3.0, -3.0);
    moments.add(x.view(), &[1]).unwrap();
    let spread = moments.spread(&moments.principal().unwrap()).unwrap();
    assert_eq!(spread.common_direction, None);
    assert_eq!((spread.channel_top1, spread.participation), (1.0, 1.0));
}

/// As many directions as vectors fill alike: a closed form.
#[test]
fn effective_rank_counts_equal_directions() {
    let of = |x: &Array3<f32>| {
        let mut moments = Moments::new(x.dim().2);
        moments.add(x.view(), &vec![1; x.dim().0]).unwrap();
        moments.principal().unwrap().effective_rank()
    };
    for rank in [1, 3, 8] {
        // Each of the first axes in both senses, far from the origin.
        let x = Array3::from_shape_fn((2, rank, 8), |(sign, axis, d)| {
            7.0 + if axis == d {
                1.0 - 2.0 * sign as f32
            } else {
                0.0
            }
        });
        let found = of(&x).unwrap();
        assert!((found - rank as f64).abs() < 1e-5, "{rank} {found}");
    }
    // Two directions, one of three times the spread: p = 3/4, 1/4.
    let x = Array3::from_shape_fn((2, 2, 5), |(sign, axis, d)| {
        let spread = [3.0, 1.0][axis];
        if axis == d {
            spread * (1.0 - 2.0 * sign as f32)
        } else {
            0.0
        }
    });
    let expected = (-(0.75_f64.ln() * 0.75 + 0.25_f64.ln() * 0.25)).exp();
    assert!((of(&x).unwrap() - expected).abs() < 1e-6);
    assert_eq!(of(&Array3::from_elem((2, 3, 4), 0.5)), None);
}

/// Clusters of two opposite steps from a center: distances and singular values by hand.
#[test]
fn dispersion_by_hand() {
    let (sin, cos) = (0.1_f32.sin(), 0.1_f32.cos());
    // Two clusters of two vectors around axes 0 and 1, one vector around axis 2, one of length zero.
    let rows = [
        [cos, 0.0, 0.0, sin],
        [2.0 * cos, 0.0, 0.0, -2.0 * sin],
        [0.0, cos, 0.0, sin],
        [0.0, cos, 0.0, -sin],
        [0.0, 0.0, 5.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
    ];
    let sample = Array2::from_shape_fn((6, 4), |(i, d)| rows[i][d]);
    let codebook = Array2::from_shape_fn((3, 4), |(k, d)| if k == d { 1.0 } else { 0.0 });
    let found = Dispersion::of(sample.view(), codebook.view()).unwrap();
    // The means are cos from the origin; each cluster has one singular value, sqrt(2) sin, over 2 - 1.
    let (sin, cos) = (f64::from(sin), f64::from(cos));
    let root = 2.0_f64.sqrt();
    assert!((found.inter - root * cos).abs() < 1e-6, "{found:?}");
    assert!((found.intra - root * sin).abs() < 1e-6, "{found:?}");
    let few = sample.slice(s![..3, ..]);
    assert_eq!(Dispersion::of(few, codebook.view()), None);
}
