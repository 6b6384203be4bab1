//! Properties of moments, start and training.
use ndarray::{Array2, Array3, ArrayView3, Axis, concatenate, s};
use vitscope_probe::{
    AdamSettings, Labeler, Moments, ProbeError, Reservoir, Trainer, initial_centroids,
};
use vitscope_testkit::lcg::{Lcg, features};

fn train(x: ArrayView3<'_, f32>, start: &Array2<f64>, cuts: &[usize]) -> Trainer {
    let mut trainer = Trainer::new(start.clone(), AdamSettings::default()).unwrap();
    for _ in 0..10 {
        for cut in cuts.windows(2) {
            trainer.add(x.slice(s![cut[0]..cut[1], .., ..])).unwrap();
        }
        trainer.finish_step();
    }
    trainer
}

#[test]
fn splits_and_threads_do_not_change_a_bit() {
    let mut rng = Lcg(3);
    let x = features(&mut rng, (12, 40, 70), 9, 0.25);
    let start = rng.matrix(11, 70).mapv(f64::from);
    let whole = train(x.view(), &start, &[0, 12]).to_state();
    for cuts in [vec![0, 1, 2, 3, 12], vec![0, 5, 10, 12], (0..13).collect()] {
        assert_eq!(train(x.view(), &start, &cuts).to_state(), whole, "{cuts:?}");
    }
    let labels = |trainer: &Trainer| {
        let mut labels = vec![0; 12 * 40 * 16];
        let labeler = Labeler::new(trainer.codebook().view(), (5, 8), 4).unwrap();
        labeler.label_batch(x.view(), &mut labels).unwrap();
        labels
    };
    let directions = || {
        let mut moments = Moments::new(70);
        moments.add(x.view(), &[1; 12]).unwrap();
        (moments.to_state(), moments.principal_directions(9).unwrap())
    };
    let (reference, moments) = (labels(&train(x.view(), &start, &[0, 12])), directions());
    for threads in [1, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let trainer = train(x.view(), &start, &[0, 12]);
            assert_eq!(trainer.to_state(), whole);
            assert_eq!(labels(&trainer), reference);
            assert_eq!(directions(), moments);
        });
    }
}

#[test]
fn strided_rows_are_the_same_rows() {
    let mut rng = Lcg(4);
    let x = features(&mut rng, (3, 20, 18), 5, 0.0);
    let start = rng.matrix(4, 18).mapv(f64::from);
    let mut wide = Array3::zeros((3, 20, 54));
    wide.slice_mut(s![.., .., 18..36]).assign(&x);
    let strided = wide.slice(s![.., .., 18..36]);
    assert_eq!(
        train(strided, &start, &[0, 3]).to_state(),
        train(x.view(), &start, &[0, 3]).to_state()
    );
    let state = |x: ArrayView3<'_, f32>| {
        let mut moments = Moments::new(18);
        moments.add(x, &[1, 2, 1]).unwrap();
        moments.to_state()
    };
    assert_eq!(state(strided), state(x.view()));
    // Any other stride works as well.
    let reversed = x.slice(s![.., .., ..;-1]);
    assert_eq!(state(reversed), state(reversed.to_owned().view()));
}

#[test]
fn resuming_changes_nothing() {
    let mut rng = Lcg(5);
    let x = features(&mut rng, (6, 20, 18), 5, 0.1);
    let mut through =
        Trainer::new(rng.matrix(4, 18).mapv(f64::from), AdamSettings::default()).unwrap();
    for _ in 0..5 {
        through.add(x.view()).unwrap();
        through.finish_step();
    }
    let mut resumed = Trainer::from_state(&through.to_state(), AdamSettings::default()).unwrap();
    let mut moments = Moments::new(18);
    moments.add(x.view(), &[1; 6]).unwrap();
    let mut resumed_moments = Moments::from_state(&moments.to_state()).unwrap();
    for _ in 0..5 {
        for trainer in [&mut through, &mut resumed] {
            trainer.add(x.view()).unwrap();
            trainer.finish_step();
        }
        moments.add(x.view(), &[2; 6]).unwrap();
        resumed_moments.add(x.view(), &[2; 6]).unwrap();
    }
    assert_eq!(through.to_state(), resumed.to_state());
    assert_eq!(through.codebook(), resumed.codebook());
    assert_eq!(moments.to_state(), resumed_moments.to_state());
    assert_eq!(
        Moments::from_state(&Moments::new(3).to_state())
            .unwrap()
            .to_state(),
        Moments::new(3).to_state()
    );
    assert!(Trainer::from_state(&through.to_state(), AdamSettings::default()).is_ok());
    let mut broken = through.to_state();
    broken.values.pop();
    assert!(Trainer::from_state(&broken, AdamSettings::default()).is_err());
    let mut broken = moments.to_state();
    broken.values.pop();
    assert!(Moments::from_state(&broken).is_err());
}

/// With Adam's memory switched off, a step is `rate * g / (|g| + eps)`: with a huge eps, `rate / eps * g`.
/// So one step reads out the gradient, which central differences of the loss must match.
#[test]
fn gradient_is_the_slope_of_the_loss() {
    let mut rng = Lcg(6);
    let x = features(&mut rng, (2, 30, 6), 5, 0.0);
    let start = rng.matrix(3, 6).mapv(|value| 4.0 * f64::from(value));
    let loss = |centroids: &Array2<f64>| {
        let unit: Vec<Vec<f64>> = centroids
            .rows()
            .into_iter()
            .map(|row| {
                row.iter()
                    .map(|value| value / row.dot(&row).sqrt())
                    .collect()
            })
            .collect();
        let mut sum = 0.0;
        for row in x.rows() {
            let row = row.mapv(f64::from);
            let cosine = |unit: &Vec<f64>| {
                row.iter().zip(unit).map(|(a, b)| a * b).sum::<f64>() / row.dot(&row).sqrt()
            };
            sum -= unit.iter().map(cosine).fold(f64::NEG_INFINITY, f64::max);
        }
        sum / 60.0
    };
    let settings = AdamSettings {
        rate: 1e9,
        beta1: 0.0,
        beta2: 0.0,
        eps: 1e9,
    };
    let mut trainer = Trainer::new(start.clone(), settings).unwrap();
    trainer.add(x.view()).unwrap();
    let value = trainer.finish_step();
    assert!(
        (value - loss(&start)).abs() < 1e-7,
        "{value} {}",
        loss(&start)
    );
    let moved = trainer.to_state().values;
    for k in 0..3 {
        for d in 0..6 {
            let (mut up, mut down) = (start.clone(), start.clone());
            up[(k, d)] += 1e-5;
            down[(k, d)] -= 1e-5;
            let slope = (loss(&up) - loss(&down)) / 2e-5;
            let gradient = start[(k, d)] - moved[k * 6 + d];
            assert!(
                (slope - gradient).abs() < 1e-6,
                "{k} {d}: {slope} {gradient}"
            );
        }
    }
}

#[test]
fn zeros_divide_nothing() {
    let mut rng = Lcg(7);
    let x = features(&mut rng, (2, 9, 5), 3, 0.0);
    let start = rng.matrix(3, 5).mapv(f64::from);
    // Zero vectors count in M and do nothing else: the same images with as many zeros have half the loss.
    let padded = concatenate![Axis(1), x, Array3::zeros((2, 9, 5))];
    let mut plain = Trainer::new(start.clone(), AdamSettings::default()).unwrap();
    let mut half = Trainer::new(start.clone(), AdamSettings::default()).unwrap();
    plain.add(x.view()).unwrap();
    half.add(padded.view()).unwrap();
    assert!((plain.finish_step() - 2.0 * half.finish_step()).abs() < 1e-12);

    // A zero centroid stays finite, and zero (its score of 0 may win; it has no direction to move along).
    let mut with_zero = start;
    with_zero.row_mut(1).fill(0.0);
    let mut trainer = Trainer::new(with_zero, AdamSettings::default()).unwrap();
    for _ in 0..3 {
        trainer.add(x.view()).unwrap();
        assert!(trainer.finish_step().is_finite());
    }
    assert!(
        trainer
            .to_state()
            .values
            .iter()
            .all(|value| value.is_finite())
    );
    assert_eq!(trainer.codebook().row(1).sum(), 0.0);

    // Nothing but zeros, and nothing at all.
    let mut trainer = Trainer::new(Array2::ones((2, 5)), AdamSettings::default()).unwrap();
    trainer.add(Array3::zeros((1, 4, 5)).view()).unwrap();
    assert_eq!(trainer.finish_step(), 0.0);
    assert!(trainer.finish_step().is_nan());
    assert_eq!(trainer.steps(), 1);
}

#[test]
fn lengths_of_vectors_do_not_matter_to_training() {
    let mut rng = Lcg(8);
    let x = features(&mut rng, (2, 9, 16), 3, 0.0);
    let start = rng.matrix(3, 16).mapv(f64::from);
    let plain = train(x.view(), &start, &[0, 2]).codebook();
    for power in [100, -100] {
        let scaled = x.mapv(|value| value * 2.0_f32.powi(power));
        assert_eq!(
            train(scaled.view(), &start, &[0, 2]).codebook(),
            plain,
            "2^{power}"
        );
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let mut rng = Lcg(9);
    let x = features(&mut rng, (3, 9, 5), 3, 0.0);
    let mut trainer =
        Trainer::new(rng.matrix(3, 5).mapv(f64::from), AdamSettings::default()).unwrap();
    let mut moments = Moments::new(5);
    trainer.add(x.view()).unwrap();
    moments.add(x.view(), &[1; 3]).unwrap();
    let (mut untouched, before) = (trainer.clone(), moments.to_state());
    for value in [f32::NAN, f32::INFINITY] {
        let mut bad = x.clone();
        bad[(1, 4, 2)] = value;
        assert_eq!(
            trainer.add(bad.view()),
            Err(ProbeError::NonFinite { image: 1 })
        );
        assert_eq!(
            moments.add(bad.view(), &[1; 3]),
            Err(ProbeError::NonFinite { image: 1 })
        );
        assert_eq!(
            Moments::new(5).add(bad.view(), &[0, 1, 0]),
            Err(ProbeError::NonFinite { image: 1 })
        );
        // An image that does not count is not looked at.
        assert_eq!(Moments::new(5).add(bad.view(), &[1, 0, 1]), Ok(()));
    }
    assert!(trainer.add(Array3::zeros((1, 2, 4)).view()).is_err());
    assert!(moments.add(x.view(), &[1; 2]).is_err());
    assert_eq!(moments.to_state(), before);
    trainer.finish_step();
    untouched.finish_step();
    assert_eq!(trainer.to_state(), untouched.to_state());
    assert!(Trainer::new(Array2::zeros((256, 4)), AdamSettings::default()).is_err());
    assert!(Trainer::new(Array2::zeros((0, 4)), AdamSettings::default()).is_err());
}

#[test]
fn weights_are_repetitions() {
    let x = features(&mut Lcg(10), (4, 30, 20), 6, 0.3);
    let repeated = x.select(Axis(0), &[0, 1, 1, 3, 3, 3]);
    let (mut weighted, mut plain) = (Moments::new(20), Moments::new(20));
    weighted.add(x.view(), &[1, 2, 0, 3]).unwrap();
    plain.add(repeated.view(), &[1; 6]).unwrap();
    assert_eq!(weighted.count(), plain.count());
    let off = (weighted.principal_directions(8).unwrap() - plain.principal_directions(8).unwrap())
        .iter()
        .fold(0.0_f64, |worst, value| worst.max(value.abs()));
    assert!(off < 1e-5, "{off}");
}

/// A mean a thousand times the spread: without the provisional mean, f32 products would lose it.
#[test]
fn far_means_do_not_hurt() {
    let x = features(&mut Lcg(11), (6, 50, 300), 6, 0.0);
    let directions = |offset: f32| {
        // Rounded to multiples of 2^-12 first, so that the offset itself loses nothing.
        let moved = x.mapv(|value| (value * 4096.0).round() / 4096.0 + offset);
        let mut moments = Moments::new(300);
        moments.add(moved.view(), &[1; 6]).unwrap();
        moments.principal_directions(5).unwrap()
    };
    let off = (directions(0.0) - directions(512.0))
        .iter()
        .fold(0.0_f64, |worst, value| worst.max(value.abs()));
    assert!(off < 1e-4, "{off}");
}

#[test]
fn directions_stop_at_the_rank() {
    let mut rng = Lcg(12);
    let (basis, mix) = (rng.matrix(3, 40), rng.matrix(60, 3));
    let rows = (mix.dot(&basis) + 2.0).insert_axis(Axis(0));
    let mut moments = Moments::new(40);
    moments.add(rows.view(), &[1]).unwrap();
    let directions = moments.principal_directions(10).unwrap();
    assert_eq!(directions.nrows(), 3);
    for row in directions.rows() {
        assert!((row.dot(&row) - 1.0).abs() < 1e-9);
        let peak = row.iter().copied().fold(
            0.0_f64,
            |peak, v| if v.abs() > peak.abs() { v } else { peak },
        );
        assert!(peak > 0.0);
    }
    // Few vectors: at most one direction fewer than vectors. None, or one: no direction.
    let mut few = Moments::new(40);
    few.add(rng.matrix(4, 40).insert_axis(Axis(0)).view(), &[1])
        .unwrap();
    assert_eq!(few.principal_directions(10).unwrap().nrows(), 3);
    assert_eq!(
        Moments::new(4).principal_directions(3).unwrap().dim(),
        (0, 4)
    );
    // A constant has none either.
    let mut constant = Moments::new(6);
    constant
        .add(Array3::from_elem((2, 5, 6), 0.1).view(), &[1, 1])
        .unwrap();
    assert_eq!(constant.principal_directions(3).unwrap().nrows(), 0);
}

#[test]
fn start_takes_the_rest_from_the_vectors() {
    let x = features(&mut Lcg(13), (5, 40, 4), 8, 0.0);
    let mut moments = Moments::new(4);
    moments.add(x.view(), &[1; 5]).unwrap();
    let mut reservoir = Reservoir::new(64, 4, 1);
    reservoir.add(x.view(), &[1; 5]).unwrap();
    let centroids = initial_centroids(&moments.principal().unwrap(), 9, &reservoir, 2).unwrap();
    assert_eq!(
        centroids.slice(s![..4, ..]),
        moments.principal_directions(4).unwrap()
    );
    for row in centroids.rows() {
        assert!((row.dot(&row) - 1.0).abs() < 1e-9);
    }
    for a in 4..9 {
        for b in 0..a {
            assert!(
                centroids.row(a).dot(&centroids.row(b)) < 1.0 - 1e-6,
                "{a} and {b} coincide"
            );
        }
    }
    assert_eq!(
        initial_centroids(&moments.principal().unwrap(), 9, &reservoir, 2).unwrap(),
        centroids
    );
    assert_ne!(
        initial_centroids(&moments.principal().unwrap(), 9, &reservoir, 3).unwrap(),
        centroids
    );
    assert_eq!(
        initial_centroids(
            &moments.principal().unwrap(),
            9,
            &Reservoir::new(64, 4, 1),
            2
        ),
        Err(ProbeError::TooFewVectors {
            clusters: 9,
            directions: 4
        })
    );
    assert!(initial_centroids(&moments.principal().unwrap(), 256, &reservoir, 2).is_err());

    // A constant facet: no direction, and one vector to draw, again and again.
    let constant = Array3::from_elem((1, 9, 4), 0.5);
    let mut moments = Moments::new(4);
    moments.add(constant.view(), &[1]).unwrap();
    let mut reservoir = Reservoir::new(4, 4, 1);
    reservoir.add(constant.view(), &[1]).unwrap();
    let centroids = initial_centroids(&moments.principal().unwrap(), 3, &reservoir, 0).unwrap();
    assert_eq!(centroids, Array2::from_elem((3, 4), 0.5));
}

/// k-means++ under cosine distance finds all of some well separated directions.
#[test]
fn start_spreads() {
    let mut rng = Lcg(14);
    let mut rows = Array3::from_shape_simple_fn((1, 600, 12), || 0.01 * rng.uniform());
    for n in 0..600 {
        // Lengths differ by a lot; only directions count.
        rows[(0, n, n % 12)] += if n % 2 == 0 { 1.0 } else { 30.0 };
    }
    let mut reservoir = Reservoir::new(600, 12, 0);
    reservoir.add(rows.view(), &[1]).unwrap();
    let centroids =
        initial_centroids(&Moments::new(12).principal().unwrap(), 12, &reservoir, 5).unwrap();
    let mut found: Vec<usize> = centroids
        .rows()
        .into_iter()
        .map(|row| (0..12).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, (0..12).collect::<Vec<_>>());
}

#[test]
fn reservoir_is_uniform_and_does_not_depend_on_calls() {
    // A stream of 40 vectors: images of 4, weights 1, 2 and 0. Each of them holds its own number.
    let x = Array3::from_shape_fn((12, 4, 1), |(b, n, _)| (4 * b + n) as f32);
    let weights = [1, 1, 2, 0, 1, 1, 0, 1, 1, 1, 0, 1];
    let mut kept = [0_usize; 48];
    for seed in 0..4000 {
        let mut reservoir = Reservoir::new(5, 1, seed);
        reservoir.add(x.view(), &weights).unwrap();
        let mut again = Reservoir::new(5, 1, seed);
        for image in 0..12 {
            again
                .add(x.slice(s![image..=image, .., ..]), &weights[image..=image])
                .unwrap();
        }
        assert_eq!(reservoir.len(), 5);
        assert_eq!(format!("{reservoir:?}"), format!("{again:?}"));
        for value in reservoir.rows() {
            kept[value[0] as usize] += 1;
        }
    }
    // Expected 4000 * 5 / 40 = 500 per vector and weight, with a standard deviation of about 21.
    for (value, &count) in kept.iter().enumerate() {
        let expected = 500.0 * f64::from(weights[value / 4]);
        assert!(
            (count as f64 - expected).abs() <= 5.0 * expected.sqrt(),
            "{value}: {count}"
        );
    }
}
