//! Mean probabilities of clusters are those of the formula, whatever way images come.
use ndarray::{Array2, Array3, Axis, s};
use vitscope_probe::{Labeler, ProbeError, SoftSums};
use vitscope_testkit::lcg::Lcg;

const GRID: (usize, usize) = (3, 4);
const PATCH: usize = 4;
const ALPHA: u32 = 7;

/// Images of vectors, some of them without length and some huge, and unit centroids.
fn drawn(images: usize, width: usize, clusters: usize) -> (Array3<f32>, Array2<f32>) {
    let mut draw = Lcg(5);
    let mut number = || draw.uniform() + 0.1;
    let patches = GRID.0 * GRID.1;
    let mut rows = Array3::from_shape_simple_fn((images, patches, width), &mut number);
    rows.slice_mut(s![0, 2, ..]).fill(0.0);
    rows.slice_mut(s![1, .., ..])
        .mapv_inplace(|value| value * 1e37);
    let mut codebook = Array2::from_shape_simple_fn((clusters, width), &mut number);
    for mut row in codebook.rows_mut() {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.mapv_inplace(|value| value / length);
    }
    (rows, codebook)
}

/// The formula in f64, cluster by cluster.
fn brute(rows: &Array3<f32>, codebook: &Array2<f32>) -> Array2<f64> {
    let wide = |values: ndarray::ArrayView1<'_, f32>| values.mapv(f64::from);
    let mut means = Array2::zeros((codebook.nrows(), rows.dim().1));
    for image in rows.outer_iter() {
        for (patch, vector) in image.outer_iter().enumerate() {
            let vector = wide(vector);
            let length = vector.dot(&vector).sqrt();
            let cosine = |centroid| match length > 0.0 {
                true => vector.dot(&wide(centroid)) / length,
                false => 0.0,
            };
            let cosines: Vec<f64> = codebook.outer_iter().map(cosine).collect();
            let power = |cosine: &f64| (f64::from(ALPHA) * cosine).exp();
            let total: f64 = cosines.iter().map(power).sum();
            for (cluster, cosine) in cosines.iter().enumerate() {
                means[(cluster, patch)] += power(cosine) / total / rows.dim().0 as f64;
            }
        }
    }
    means
}

#[test]
fn soft_sums_are_the_mean_softmax_of_the_cosines() {
    let (rows, codebook) = drawn(5, 19, 6);
    let labeler = Labeler::new(codebook.view(), GRID, PATCH).unwrap();
    let patches = GRID.0 * GRID.1;
    let mut labels = vec![0; 5 * patches * PATCH * PATCH];
    let mut soft = SoftSums::new(ALPHA, patches, 6);
    labeler
        .label_batch_soft(rows.view(), &mut labels, &mut soft)
        .unwrap();
    let (means, expected) = (soft.means(5), brute(&rows, &codebook));
    for (mean, expected) in means.iter().zip(&expected) {
        assert!((mean - expected).abs() < 1e-5, "{mean} {expected}");
    }
    for patch in means.axis_iter(Axis(1)) {
        assert!((patch.sum() - 1.0).abs() < 1e-10);
    }
    // Labels are the same as without.
    let mut plain = vec![255; labels.len()];
    labeler.label_batch(rows.view(), &mut plain).unwrap();
    assert_eq!(labels, plain);
    // Images one by one, backwards, on one thread, and in two parts that are added: the same to the last bit.
    let alone = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let mut parts = [0, 1].map(|_| SoftSums::new(ALPHA, patches, 6));
    alone.install(|| {
        for image in (0..5).rev() {
            let one = rows.slice(s![image..=image, .., ..]);
            let out = &mut labels[..patches * PATCH * PATCH];
            labeler
                .label_batch_soft(one, out, &mut parts[image % 2])
                .unwrap();
        }
    });
    let [mut first, second] = parts;
    first.add(second.sums()).unwrap();
    assert_eq!(first, soft);
}

#[test]
fn what_is_refused_changes_no_sum() {
    let (mut rows, codebook) = drawn(2, 8, 3);
    let labeler = Labeler::new(codebook.view(), GRID, PATCH).unwrap();
    let mut labels = vec![0; 2 * 12 * PATCH * PATCH];
    let mut soft = SoftSums::new(ALPHA, 12, 3);
    rows[(1, 4, 0)] = f32::NAN;
    let refused = labeler.label_batch_soft(rows.view(), &mut labels, &mut soft);
    assert_eq!(refused.unwrap_err(), ProbeError::NonFinite { image: 1 });
    assert_eq!(soft, SoftSums::new(ALPHA, 12, 3));
    let mut other = SoftSums::new(ALPHA, 12, 4);
    assert!(
        labeler
            .label_batch_soft(rows.view(), &mut labels, &mut other)
            .is_err()
    );
    assert!(soft.add(other.sums()).is_err());
}
