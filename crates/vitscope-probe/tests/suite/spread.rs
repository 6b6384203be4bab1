//! How vectors are spread, against plain sums over all of them.
use ndarray::{Array2, Array3, s};
use vitscope_probe::{Moments, Spread};
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
