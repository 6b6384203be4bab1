//! Transforms: against their authors' library and NumPy (`tools/oracle/transform.py` made the recording and names
//! the versions), and against what they promise.
use ndarray::{Array1, Array2, Array3, Axis, s};
use std::collections::BTreeMap;
use vitscope_probe::transform::leace;
use vitscope_probe::{FittedTransform, Fitting, PlaceMoments, ProbeError, Transform};
use vitscope_testkit::golden::read;
use vitscope_testkit::lcg::{Lcg, features};

const GRID: (usize, usize) = (4, 5);
const PLACES: usize = 20;
const WIDTH: usize = 12;
const IMAGES: usize = 10;

/// `planted` of the script: features with a ramp along rows, one along columns, and a pattern of patches.
fn planted() -> Array3<f32> {
    let mut rng = Lcg(21);
    let mut x = features(&mut rng, (IMAGES, PLACES, WIDTH), 6, 0.25);
    let ways = rng.matrix(3, WIDTH);
    for ((_, place, d), value) in x.indexed_iter_mut() {
        let (row, column) = (place / GRID.1, place % GRID.1);
        *value += (row as f64 / GRID.0 as f64) as f32 * ways[(0, d)];
        *value += (column as f64 / GRID.1 as f64) as f32 * ways[(1, d)];
        *value += ((row + column) % 2) as f32 * 0.5 * ways[(2, d)];
    }
    x
}

fn halves(images: usize) -> Vec<usize> {
    (0..images).map(|image| image % 2).collect()
}

fn fitting(x: &Array3<f32>, grid: (usize, usize)) -> Fitting {
    let (images, places, width) = x.dim();
    let mut sums = PlaceMoments::new(places, width);
    sums.add(x.view(), &halves(images)).unwrap();
    Fitting::new(&sums, grid).unwrap()
}

fn golden() -> BTreeMap<String, Vec<f64>> {
    read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/transform.txt"
    ))
}

fn worst(a: impl IntoIterator<Item = f64>, b: &[f64]) -> f64 {
    let a: Vec<f64> = a.into_iter().collect();
    assert_eq!(a.len(), b.len());
    let off = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f64::max)
}

/// The linear part of a transform, `[D, D]`: what it makes of each axis.
fn matrix(fitted: &FittedTransform) -> Array2<f64> {
    let basis = fitted.parts().basis.clone().unwrap();
    let dual = match &fitted.parts().dual {
        Some(dual) => dual.clone(),
        None => basis.t().to_owned(),
    };
    Array2::eye(basis.nrows()) - basis.dot(&dual)
}

/// Rows at unit length in f64.
fn unit(x: &Array3<f32>) -> Array3<f64> {
    let mut y = x.mapv(f64::from);
    for mut row in y.lanes_mut(Axis(2)) {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
    y
}

fn flat(y: &Array3<f64>) -> Array2<f64> {
    let (images, places, width) = y.dim();
    y.to_shape((images * places, width)).unwrap().to_owned()
}

/// 2-D cosines of place below an order, for every row.
fn cosines(grid: (usize, usize), order: usize, images: usize) -> Array2<f64> {
    let (rows, columns) = grid;
    Array2::from_shape_fn(
        (images * rows * columns, order * order - 1),
        |(i, index)| {
            let place = i % (rows * columns);
            let (u, v) = ((index + 1) / order, (index + 1) % order);
            let wave = |at: usize, count: usize, f: usize| {
                let angle = std::f64::consts::PI * (at as f64 + 0.5) * f as f64 / count as f64;
                angle.cos() * if f > 0 { 2.0_f64.sqrt() } else { 1.0 }
            };
            wave(place / columns, rows, u) * wave(place % columns, columns, v)
        },
    )
}

/// LEACE itself, from f64 covariances: the matrix of its authors' library.
#[test]
fn leace_is_its_authors() {
    let x = flat(&planted().mapv(f64::from));
    let z = cosines(GRID, 2, IMAGES);
    let centered = &x - &x.mean_axis(Axis(0)).unwrap();
    let count = x.nrows() as f64;
    let xx = centered.t().dot(&centered) / count;
    let xz = centered.t().dot(&z) / count;
    let found = leace(xx.view(), xz.view(), 0.0).unwrap();
    let matrix = Array2::eye(WIDTH) - found.left.dot(&found.right);
    let off = worst(matrix, &golden()["leace_raw"]);
    println!("LEACE off by at most {off:.1e}");
    assert!(off < 1e-9);
}

#[test]
fn fits_are_those_of_the_oracle() {
    let golden = golden();
    let fitting = fitting(&planted(), GRID);
    let fit = |name: &str| fitting.fit(name.parse().unwrap(), (0, 0), None).unwrap();
    for (name, recorded) in [
        ("leace:3", "leace_unit"),
        ("svd:3", "svd"),
        ("content:2", "content"),
        ("rasa:2", "rasa"),
    ] {
        let off = worst(matrix(&fit(name)), &golden[recorded]);
        println!("{name} off by at most {off:.1e}");
        // LEACE whitens, which makes most of what rounding left of the sums.
        assert!(off < 2e-5, "{name}: {off:e}");
    }
    let standardize = fit("standardize");
    let mean = standardize.parts().mean.clone().unwrap();
    assert!(worst(mean, &golden["mean"]) < 1e-7);
    let scale: Array1<f64> = standardize.parts().scale.clone().unwrap();
    assert!(worst(scale.iter().map(|scale| 1.0 / scale), &golden["deviation"]) < 1e-6);
    let map = fit("mean").parts().map.as_ref().unwrap().mapv(f64::from);
    assert!(worst(map, &golden["mean_map"]) < 1e-7);
    let shares = fitting.map_shares().unwrap();
    let bands = [shares.ramp, shares.low, shares.mid, shares.high];
    assert!(worst(bands, &golden["bands"]) < 1e-6, "{bands:?}");
    assert!(worst(fitting.position_share(), &golden["share"]) < 1e-6);
    assert!(worst(fitting.position_r2(), &golden["r2"]) < 1e-6);
}

/// What a ridge reader of `z` explains on the rows that it is fitted on.
fn r2(rows: &Array2<f64>, z: &Array2<f64>) -> f64 {
    let x = rows - &rows.mean_axis(Axis(0)).unwrap();
    let z = z - &z.mean_axis(Axis(0)).unwrap();
    let mut gram = x.t().dot(&x);
    let ridge = 1e-6 * gram.diag().sum() / gram.nrows() as f64;
    gram.diag_mut().mapv_inplace(|value| value + ridge);
    let with = x.t().dot(&z);
    // Conjugate gradients would do; Gauss and Jordan is shorter.
    let width = gram.nrows();
    let mut all = ndarray::concatenate![Axis(1), gram, with.clone()];
    for i in 0..width {
        let pivot = all[(i, i)];
        all.row_mut(i).mapv_inplace(|value| value / pivot);
        for j in (0..width).filter(|&j| j != i) {
            let factor = all[(j, i)];
            let row = all.row(i).to_owned();
            all.row_mut(j).scaled_add(-factor, &row);
        }
    }
    let read = all.slice(s![.., width..]);
    (&with * &read).sum() / z.iter().map(|value| value * value).sum::<f64>()
}

/// After LEACE no linear reader finds place, though before one does. (What it finds is the rounding of edited rows to
/// f32, which falls with their number: 2e-10 of 200 rows.)
#[test]
fn leace_leaves_linear_readers_nothing() {
    for (images, width) in [(60, WIDTH), (3, 70)] {
        let x = features(&mut Lcg(5), (images, PLACES, width), 6, 0.25);
        let ramp = Lcg(6).matrix(2, width);
        let mut x = x;
        for ((_, place, d), value) in x.indexed_iter_mut() {
            *value += place as f32 / PLACES as f32 * ramp[(place % 2, d)];
        }
        let mut sums = PlaceMoments::new(PLACES, width);
        sums.add(x.view(), &halves(images)).unwrap();
        let fitting = Fitting::new(&sums, GRID).unwrap();
        let transform = Transform::Leace(3);
        if (images as u64) < transform.fewest_images(GRID, width) as u64 {
            let error = fitting.fit(transform, (0, 0), None).unwrap_err();
            assert_eq!(
                error.to_string(),
                "leace:3 needs 5 training images to be fitted on, and there are 3"
            );
            continue;
        }
        let fitted = fitting.fit(transform, (0, 0), None).unwrap();
        let z = cosines(GRID, 3, images);
        let before = r2(&flat(&unit(&x)), &z);
        let after = fitted.apply(x.view()).unwrap().mapv(f64::from);
        let after = r2(&flat(&after), &z);
        println!("R2 of place {before:.4}, after LEACE {after:.1e}");
        assert!(before > 0.1 && after < 1e-10);
        assert!(
            fitting.position_r2_after(&fitted).unwrap() < 0.05 * fitting.position_r2().unwrap()
        );
    }
}

/// The map's own promises, by sums over the edited rows: the mean of every place is the common one after `mean`,
/// `center` leaves no mean, `standardize` unit variances, and projections leave nothing along their directions.
#[test]
fn transforms_do_what_they_say() {
    let x = planted();
    let fitting = fitting(&x, GRID);
    let fit = |name: &str| fitting.fit(name.parse().unwrap(), (3, 1), None).unwrap();
    let edited = |name: &str| fit(name).apply(x.view()).unwrap().mapv(f64::from);
    let y = unit(&x);
    let mean = flat(&y).mean_axis(Axis(0)).unwrap();
    let map = edited("mean").mean_axis(Axis(0)).unwrap();
    for row in map.rows() {
        assert!(worst(row.to_vec(), mean.as_slice().unwrap()) < 1e-6);
    }
    let center = flat(&edited("center"));
    let none = vec![0.0; WIDTH];
    assert!(worst(center.mean_axis(Axis(0)).unwrap(), &none) < 1e-6);
    let standard = flat(&edited("standardize"));
    assert!(worst(standard.std_axis(Axis(0), 0.0), &[1.0; WIDTH]) < 1e-5);
    for name in ["svd:3", "rasa:2", "random:4", "content:2"] {
        let rows = flat(&edited(name));
        let basis = fit(name).parts().basis.clone().unwrap();
        assert_eq!(
            basis.ncols(),
            name.parse::<Transform>().unwrap().rank().unwrap()
        );
        let gram = basis.t().dot(&basis);
        assert!(worst(gram.clone(), Array2::eye(gram.nrows()).as_slice().unwrap()) < 1e-6);
        assert!(
            rows.dot(&basis).iter().all(|value| value.abs() < 1e-6),
            "{name}"
        );
        // And nothing else.
        let rest = flat(&y) - flat(&y).dot(&basis).dot(&basis.t());
        assert!(worst(rows, rest.as_slice().unwrap()) < 1e-6, "{name}");
    }
    let left = |name: &str| fitting.position_r2_after(&fit(name)).unwrap();
    let before = fitting.position_r2().unwrap();
    assert!(left("mean") < 1e-12 && left("center") == before && left("rasa:2") < before / 4.0);
    let removed = |name: &str| fitting.removed(&fit(name));
    assert_eq!(
        (removed("center"), removed("standardize")),
        (Some(0.0), None)
    );
    let share = |name: &str| {
        let total = |y: &Array3<f64>| flat(y).var_axis(Axis(0), 0.0).sum();
        1.0 - total(&edited(name)) / total(&y)
    };
    for name in ["mean", "svd:3", "leace:2", "random:4", "content:2"] {
        assert!(
            (removed(name).unwrap() - share(name)).abs() < 1e-5,
            "{name}"
        );
    }
}

/// A random draw is that of its seed and stream, and of no other.
#[test]
fn random_directions_are_those_of_the_seed() {
    let fitting = fitting(&planted(), GRID);
    let fit = |draw| fitting.fit(Transform::Random(3, 1), draw, None).unwrap();
    assert_eq!(fit((1, 2)), fit((1, 2)));
    assert_ne!(fit((1, 2)), fit((2, 2)));
    assert_ne!(fit((1, 2)), fit((1, 3)));
    let second = fitting.fit(Transform::Random(3, 2), (1, 2), None).unwrap();
    assert_ne!(fit((1, 2)).parts().basis, second.parts().basis);
}

/// A black image that shows a ramp: its direction goes, and the mean is kept.
#[test]
fn blank_takes_out_what_a_black_image_shows() {
    let x = planted();
    let way = Lcg(8).matrix(1, WIDTH);
    let blank = Array3::from_shape_fn((1, PLACES, WIDTH), |(_, place, d)| {
        1.0 + (place / GRID.1) as f32 * 0.1 * way[(0, d)]
    });
    let fit = |rank| fitting(&x, GRID).fit(Transform::Blank(rank), (0, 0), Some(blank.view()));
    let map = flat(&unit(&blank));
    let map = &map - &map.mean_axis(Axis(0)).unwrap();
    let fitted = fit(2).unwrap();
    let left = map.dot(&matrix(&fitted).t());
    let before: f64 = map.iter().map(|value| value * value).sum();
    assert!(left.iter().map(|value| value * value).sum::<f64>() < 1e-3 * before);
    assert!(fitted.apply(x.view()).is_ok());
    let error = fit(13).unwrap_err();
    let expected = "blank:13 takes out 13 directions, and there are 12: ask for no more than those";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_cannot_be_fitted_is_refused_in_a_sentence() {
    let fitting = fitting(&planted(), GRID);
    for (name, rank, most) in [
        ("svd:13", 13, 12),
        ("random:12", 12, 11),
        ("content:99", 99, 11),
        ("leace:5", 24, 11),
        ("rasa:6", 12, 11),
    ] {
        let transform: Transform = name.parse().unwrap();
        let error = fitting.fit(transform, (0, 0), None).unwrap_err();
        assert_eq!(
            error,
            ProbeError::Rank {
                transform,
                rank,
                most
            }
        );
    }
    let x = planted();
    let mut one = PlaceMoments::new(PLACES, WIDTH);
    one.add(x.slice(s![..1, .., ..]), &[0]).unwrap();
    let alone = Fitting::new(&one, GRID).unwrap();
    let error = alone.fit(Transform::Mean, (0, 0), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mean needs 2 training images to be fitted on, and there are 1"
    );
    assert_eq!(alone.position_share(), None);
    // Of no more vectors than channels and one, a reader finds anything.
    let wide = |images: usize, width: usize| {
        let mut random = Lcg(3);
        let x = Array3::from_shape_fn((images, PLACES, width), |_| random.uniform());
        self::fitting(&x, GRID).position_r2()
    };
    assert_eq!(wide(2, 2 * PLACES), None);
    assert_eq!(wide(2, 2 * PLACES - 1), None);
    assert!(wide(2, 2 * PLACES - 2).is_some_and(|r2| (0.0..=1.0).contains(&r2)));
    // Of another model, or another size.
    let fitted = fitting.fit(Transform::Mean, (0, 0), None).unwrap();
    assert!(fitted.apply(x.slice(s![.., ..10, ..])).is_err());
    assert!(fitted.apply(x.slice(s![.., .., ..6])).is_err());
    let mut bad = x.clone();
    bad[(4, 3, 2)] = f32::NAN;
    assert_eq!(
        fitted.apply(bad.view()).unwrap_err(),
        ProbeError::NonFinite { image: 4 }
    );
}

/// Images come in any company, and any number of threads does the work.
#[test]
fn sums_do_not_depend_on_batches_or_threads() {
    let x = planted();
    let together = fitting(&x, GRID)
        .fit(Transform::Leace(3), (0, 0), None)
        .unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let apart = pool.install(|| {
        let mut sums = PlaceMoments::new(PLACES, WIDTH);
        for (start, end) in [(0, 3), (3, 4), (4, 10)] {
            let rows = x.slice(s![start..end, .., ..]);
            sums.add(rows, &halves(IMAGES)[start..end]).unwrap();
        }
        let fitting = Fitting::new(&sums, GRID).unwrap();
        fitting.fit(Transform::Leace(3), (0, 0), None).unwrap()
    });
    assert_eq!(together, apart);
    let rows = |range: std::ops::Range<usize>| together.apply(x.slice(s![range, .., ..])).unwrap();
    assert_eq!(rows(0..10).slice(s![4..7, .., ..]), rows(4..7));
}
