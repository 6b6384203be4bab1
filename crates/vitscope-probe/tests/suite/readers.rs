//! The kNN and the linear reader: against NumPy (`tools/oracle/readers.py` made the recording), and against what they
//! promise.
use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use vitscope_probe::readers::{
    LinearSums, NEIGHBORS, Neighbors, ScoreLabeler, TEMPERATURE, chances, unit,
};
use vitscope_probe::{ProbeError, plain_labels};
use vitscope_testkit::golden::read;
use vitscope_testkit::lcg::{Lcg, features};

const IMAGES: usize = 6;
const PLACES: usize = 20;
const WIDTH: usize = 12;
const CLASSES: usize = 4;

/// Unit vectors of training images and of one more, and the training patches' shares, as the script has them.
fn planted() -> (Array3<f32>, Array3<f32>) {
    let mut rng = Lcg(33);
    let x = features(&mut rng, (IMAGES + 1, PLACES, WIDTH), 6, 0.25);
    let mut shares = Array3::zeros((IMAGES, PLACES, CLASSES));
    for image in 0..IMAGES {
        for place in 0..PLACES {
            for _ in 0..4 {
                shares[(image, place, rng.below(CLASSES as u64))] += 0.25;
            }
        }
    }
    (unit(x.view()).unwrap(), shares)
}

fn memory(rows: &Array3<f32>, shares: &Array3<f32>) -> Neighbors {
    let mut memory = Neighbors::new(WIDTH, CLASSES, IMAGES * PLACES);
    for image in 0..IMAGES {
        for place in 0..PLACES {
            let row = rows.slice(s![image, place, ..]).to_vec();
            let share = shares.slice(s![image, place, ..]).to_vec();
            memory.add(&row, &share).unwrap();
        }
    }
    memory
}

fn sums(rows: &Array3<f32>, shares: &Array3<f32>) -> LinearSums {
    let mut sums = LinearSums::new(WIDTH, CLASSES);
    for image in 0..IMAGES {
        let rows = rows.index_axis(Axis(0), image);
        sums.add(rows, shares.index_axis(Axis(0), image)).unwrap();
    }
    sums
}

fn worst(a: ArrayView2<'_, f32>, b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let off = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - b).abs());
    off.fold(0.0, f64::max)
}

#[test]
fn both_readers_give_what_numpy_gives() {
    let golden = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/readers.txt"
    ));
    let (rows, shares) = planted();
    let query = rows.index_axis(Axis(0), IMAGES);
    let knn = memory(&rows, &shares).scores(query).unwrap();
    // f32 cosines divided by 0.02: rounding grows fiftyfold.
    assert!(worst(knn.view(), &golden["knn"]) < 1e-5);
    let reader = sums(&rows, &shares).fit().unwrap();
    let largest = golden["weights"]
        .iter()
        .fold(0.0_f64, |a, b| a.max(b.abs()));
    assert!(worst(reader.parts().0, &golden["weights"]) < 1e-4 * largest);
    let linear = reader.scores(query).unwrap();
    assert!(worst(linear.view(), &golden["linear"]) < 1e-4);
}

/// More patches than are compared together, many of them alike: the nearest are those of a sort.
#[test]
fn the_search_is_exact_over_blocks_and_ties_go_to_the_first() {
    let (width, count, classes) = (3, 2500, 2500_usize.div_ceil(10));
    let mut rng = Lcg(5);
    let mut memory = Neighbors::new(width, classes, count);
    let mut rows = Vec::new();
    for patch in 0..count {
        // A few directions, each of which many patches have.
        let along = rng.below(40) as f32 / 40.0;
        let row = [along.cos(), along.sin(), 0.0];
        let mut shares = vec![0.0; classes];
        shares[patch / 10] = 1.0;
        memory.add(&row, &shares).unwrap();
        rows.push(row);
    }
    let query = Array2::from_shape_vec((1, 3), vec![1.0, 0.0, 0.0]).unwrap();
    let found = memory.scores(query.view()).unwrap();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| rows[b][0].total_cmp(&rows[a][0]));
    let weight = |patch: usize| ((f64::from(rows[patch][0]) - 1.0) / TEMPERATURE).exp();
    let total: f64 = order[..NEIGHBORS].iter().map(|&patch| weight(patch)).sum();
    let mut expected = vec![0.0; classes];
    for &patch in &order[..NEIGHBORS] {
        expected[patch / 10] += weight(patch) / total;
    }
    assert!(worst(found.view(), &expected) < 1e-5);
}

#[test]
fn labels_are_those_of_the_plain_method() {
    let (rows, shares) = planted();
    let memory = memory(&rows, &shares);
    let labeler = ScoreLabeler::new(CLASSES, (4, 5), 3).unwrap();
    let found = labeler
        .label_batch(rows.view(), |rows| memory.scores(rows))
        .unwrap();
    let plain: Vec<u8> = rows
        .axis_iter(Axis(0))
        .flat_map(|rows| {
            let scores = memory.scores(rows).unwrap();
            plain_labels(scores.view(), (4, 5), 3).unwrap()
        })
        .collect();
    assert_eq!(found, plain);
}

/// Vectors that are all alike say nothing: the linear reader gives what is most frequent, and fails nothing.
#[test]
fn vectors_that_do_not_vary_are_read_as_the_mean() {
    let rows = Array3::from_shape_fn((IMAGES, PLACES, WIDTH), |_| 1.0);
    let (_, shares) = planted();
    let rows = unit(rows.view()).unwrap();
    let reader = sums(&rows, &shares).fit().unwrap();
    let scores = reader.scores(rows.index_axis(Axis(0), 0)).unwrap();
    for (class, &score) in scores.row(7).iter().enumerate() {
        let mean = shares.slice(s![.., .., class]).mean().unwrap();
        assert!((score - mean).abs() < 1e-6);
    }
    assert_eq!(
        LinearSums::new(WIDTH, CLASSES).fit().unwrap_err(),
        ProbeError::Eigen
    );
    let mut dead = rows;
    dead[(0, 3, 2)] = f32::NAN;
    assert_eq!(
        unit(dead.view()).unwrap_err(),
        ProbeError::NonFinite { image: 0 }
    );
}

#[test]
fn what_is_drawn_of_an_image_depends_on_seed_and_image_alone() {
    let drawn = chances(3, 5, 40);
    assert_eq!(drawn[..10], chances(3, 5, 10));
    assert_ne!(drawn, chances(3, 6, 40));
    assert_ne!(drawn, chances(4, 5, 40));
}
