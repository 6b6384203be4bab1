//! Pruned labels are the plain method's, for any scores.
use ndarray::{Array2, Array3, Axis, s};
use proptest::prelude::*;
use vitscope_probe::{LabelScratch, Labeler, ProbeError, plain_labels};

fn pruned(scores: &Array2<f32>, grid: (usize, usize), patch: usize) -> Vec<u8> {
    let codebook = Array2::zeros((scores.ncols(), 1));
    let labeler = Labeler::new(codebook.view(), grid, patch).unwrap();
    let mut labels = vec![255; scores.nrows() * patch * patch];
    labeler
        .label_scores(scores.view(), &mut LabelScratch::default(), &mut labels)
        .unwrap();
    labels
}

fn agree(scores: &Array2<f32>, grid: (usize, usize), patch: usize) {
    let plain = plain_labels(scores.view(), grid, patch).unwrap();
    assert_eq!(
        pruned(scores, grid, patch),
        plain,
        "grid {grid:?}, patch {patch}, scores {scores:?}"
    );
}

/// One score of a kind: smooth, tied, a hair apart, huge, tiny, zero.
fn score(kind: usize) -> BoxedStrategy<f32> {
    match kind {
        0 => (-1.0_f32..1.0).boxed(),
        1 => (-2_i32..3).prop_map(|v| v as f32).boxed(),
        // A few units in the last place about one value.
        2 => (0_u32..12)
            .prop_map(|ulps| f32::from_bits(0.7_f32.to_bits() + ulps))
            .boxed(),
        3 => (-8.0e37_f32..8.0e37).boxed(),
        4 => (0_u32..9).prop_map(f32::from_bits).boxed(),
        5 => prop_oneof![
            Just(0.0_f32),
            Just(-0.0_f32),
            Just(0.3),
            Just(0.3 + f32::EPSILON)
        ]
        .boxed(),
        6 => (-30_i32..30, -1.0_f32..1.0)
            .prop_map(|(power, v)| v * 2.0_f32.powi(power))
            .boxed(),
        _ => Just(0.1_f32).boxed(),
    }
}

fn case() -> impl Strategy<Value = (Array2<f32>, (usize, usize), usize)> {
    (1_usize..5, 1_usize..6, 1_usize..12, 1_usize..20, 0_usize..8).prop_flat_map(
        |(rows, cols, clusters, patch, kind)| {
            prop::collection::vec(score(kind), rows * cols * clusters).prop_map(move |values| {
                let scores = Array2::from_shape_vec((rows * cols, clusters), values).unwrap();
                (scores, (rows, cols), patch)
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pruned_is_plain((scores, grid, patch) in case()) {
        agree(&scores, grid, patch);
    }

    /// Clusters that are copies of each other, in any order: the lowest index must win everywhere.
    #[test]
    fn duplicates_go_to_the_lowest((scores, grid, patch) in case(), order in prop::collection::vec(0_usize..12, 1..20)) {
        let order: Vec<usize> = order.into_iter().map(|k| k % scores.ncols()).collect();
        let copies = scores.select(Axis(1), &order);
        agree(&copies, grid, patch);
        for label in pruned(&copies, grid, patch) {
            let label = usize::from(label);
            prop_assert_eq!(order.iter().position(|&k| k == order[label]), Some(label));
        }
    }

    /// A cluster that trails another one by less than rounding, everywhere.
    #[test]
    fn near_copies((scores, grid, patch) in case(), ulps in -3_i32..4, swap in any::<bool>()) {
        let mut pair = Array2::zeros((scores.nrows(), 2 * scores.ncols()));
        for ((n, k), &score) in scores.indexed_iter() {
            let near = if score == 0.0 { score } else {
                f32::from_bits(score.to_bits().wrapping_add_signed(ulps))
            };
            let near = if near.is_finite() { near } else { score };
            let (a, b) = if swap { (near, score) } else { (score, near) };
            pair[(n, k)] = a;
            pair[(n, k + scores.ncols())] = b;
        }
        agree(&pair, grid, patch);
    }
}

#[test]
fn smooth_large_images() {
    // The real size, with more clusters than one vector holds.
    for (clusters, patch) in [(27, 16), (97, 14), (255, 8), (27, 32)] {
        let scores = Array2::from_shape_fn((400, clusters), |(n, k)| {
            let (y, x) = ((n / 20) as f32, (n % 20) as f32);
            ((y * 0.3 + k as f32).sin() + (x * 0.2 + 1.7 * k as f32).cos()) * 3.0
        });
        agree(&scores, (20, 20), patch);
    }
}

/// ```python
/// torch.nn.functional.interpolate(torch.tensor([[[[0., 1.]]]]), (2, 4), mode="bilinear")   # torch 2.15
/// # 0.00 0.25 0.75 1.00
/// ```
#[test]
fn half_pixel_centers_by_hand() {
    // Cluster 0 is the threshold 0.5, cluster 1 the ramp: it wins where the ramp exceeds one half.
    let ramp = |threshold: f32| ndarray::array![[threshold, 0.0], [threshold, 1.0]];
    assert_eq!(pruned(&ramp(0.5), (1, 2), 2), [0, 0, 1, 1, 0, 0, 1, 1]);
    assert_eq!(pruned(&ramp(0.24), (1, 2), 2)[..4], [0, 1, 1, 1]);
    assert_eq!(pruned(&ramp(0.25), (1, 2), 2)[..4], [0, 0, 1, 1]);
    assert_eq!(pruned(&ramp(0.76), (1, 2), 2)[..4], [0, 0, 0, 1]);
}

#[test]
fn labels_from_vectors_agree_with_labels_from_their_scores() {
    let rows = Array2::from_shape_fn((30, 24), |(n, d)| {
        (((n * 31 + d * 17) % 23) as f32 - 11.0) * 0.3
    });
    let codebook =
        Array2::from_shape_fn((5, 24), |(k, d)| if d % 5 == k { 0.447_213_6 } else { 0.0 });
    let labeler = Labeler::new(codebook.view(), (5, 6), 8).unwrap();
    let (mut scratch, mut labels) = (LabelScratch::default(), vec![0; 30 * 64]);
    labeler
        .label(rows.view(), &mut scratch, &mut labels)
        .unwrap();
    let plain = plain_labels(rows.dot(&codebook.t()).view(), (5, 6), 8).unwrap();
    let differing = labels.iter().zip(&plain).filter(|(a, b)| a != b).count();
    assert_eq!(differing, 0);

    // A strided view, a batch, and one scaled so far up that scores overflow give the same.
    let mut wide = Array3::zeros((2, 30, 72));
    wide.slice_mut(s![0, .., 24..48]).assign(&rows);
    wide.slice_mut(s![1, .., 24..48])
        .assign(&(&rows * 2.0_f32.powi(126)));
    let mut both = vec![0; 2 * labels.len()];
    labeler
        .label_batch(wide.slice(s![.., .., 24..48]), &mut both)
        .unwrap();
    assert_eq!(both[..labels.len()], labels);
    assert_eq!(both[labels.len()..], labels);
}

#[test]
fn zero_vectors_take_the_first_cluster() {
    let labeler = Labeler::new(Array2::ones((3, 4)).view(), (2, 2), 4).unwrap();
    let mut labels = vec![9; 64];
    labeler
        .label(
            Array2::zeros((4, 4)).view(),
            &mut LabelScratch::default(),
            &mut labels,
        )
        .unwrap();
    assert_eq!(labels, [0; 64]);
}

#[test]
fn bad_input_is_refused() {
    let labeler = Labeler::new(Array2::ones((3, 4)).view(), (2, 2), 4).unwrap();
    let (mut scratch, mut labels) = (LabelScratch::default(), vec![0; 64]);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut rows = Array2::zeros((4, 4));
        rows[(2, 1)] = value;
        let refused = labeler.label(rows.view(), &mut scratch, &mut labels);
        assert_eq!(refused, Err(ProbeError::NonFinite { image: 0 }));
        let batch = ndarray::stack![Axis(0), Array2::zeros((4, 4)), rows];
        let refused = labeler.label_batch(batch.view(), &mut [0; 128]);
        assert_eq!(refused, Err(ProbeError::NonFinite { image: 1 }));
    }
    assert!(
        labeler
            .label(Array2::zeros((4, 5)).view(), &mut scratch, &mut labels)
            .is_err()
    );
    assert!(
        labeler
            .label(Array2::zeros((3, 4)).view(), &mut scratch, &mut labels)
            .is_err()
    );
    assert!(
        labeler
            .label(
                Array2::zeros((4, 4)).view(),
                &mut scratch,
                &mut labels[..63]
            )
            .is_err()
    );
    assert!(Labeler::new(Array2::zeros((256, 4)).view(), (2, 2), 4).is_err());
    assert!(Labeler::new(Array2::zeros((2, 4)).view(), (2, 0), 4).is_err());
    assert!(plain_labels(Array2::zeros((3, 4)).view(), (2, 2), 4).is_err());
}
