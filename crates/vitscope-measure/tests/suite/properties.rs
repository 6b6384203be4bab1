//! Properties and closed forms.
use ndarray::{Array2, Array3, ArrayView2, Axis, array};
use proptest::prelude::*;
use vitscope_measure::{
    Matching, MeasureError, Positions, Tally, aggregate, hungarian, locality, majority,
    match_to_reference, mean_over_heads, pck, pearson, positional, quality, spearman,
};

/// Sizes, label maps and truth of some images.
type Maps = (usize, usize, (usize, usize), usize, Vec<u8>, Vec<u8>);

fn maps() -> impl Strategy<Value = Maps> {
    (
        1_usize..7,
        1_usize..5,
        1_usize..4,
        1_usize..4,
        1_usize..12,
        0_usize..4,
        any::<bool>(),
    )
        .prop_flat_map(|(clusters, classes, rows, cols, patch, images, smooth)| {
            let pixels = images * rows * cols * patch * patch;
            let label = move |count: usize| prop_oneof![9 => 0..count as u8, 1 => Just(255_u8)];
            let map = move |count: usize| {
                prop::collection::vec(label(count), pixels).prop_map(move |mut map| {
                    if smooth {
                        for pixel in 0..pixels {
                            map[pixel] = map[pixel / 13 * 13];
                        }
                    }
                    map
                })
            };
            (map(clusters), map(classes)).prop_map(move |(labels, truth)| {
                (clusters, classes, (rows, cols), patch, labels, truth)
            })
        })
}

fn factorial_best(confusion: ArrayView2<'_, i64>) -> i64 {
    fn best(confusion: ArrayView2<'_, i64>, k: usize, free: &mut Vec<bool>) -> i64 {
        if k == confusion.nrows() {
            return 0;
        }
        let mut most = best(confusion, k + 1, free);
        for c in 0..confusion.ncols() {
            if free[c] {
                free[c] = false;
                most = most.max(confusion[(k, c)] + best(confusion, k + 1, free));
                free[c] = true;
            }
        }
        most
    }
    best(confusion, 0, &mut vec![true; confusion.ncols()])
}

fn confusions() -> impl Strategy<Value = Array2<i64>> {
    (1_usize..6, 1_usize..6).prop_flat_map(|(k, c)| {
        prop::collection::vec(prop_oneof![Just(0_i64), 0_i64..6, 0_i64..1000], k * c)
            .prop_map(move |counts| Array2::from_shape_vec((k, c), counts).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tally_is_brute_force((clusters, classes, grid, patch, labels, truth) in maps(), labeled in any::<bool>()) {
        let mut tally = Tally::new(clusters, classes, grid, patch);
        let rule = if labeled { Positions::Labeled } else { Positions::All };
        tally.add(&labels, Some(&truth), rule).unwrap();
        let (height, width) = (grid.0 * patch, grid.1 * patch);
        let mut confusion = Array2::<i64>::zeros((clusters, classes));
        let mut pixel = Array3::<u32>::zeros((clusters, height, width));
        let mut cells = Array3::<u32>::zeros((clusters, grid.0, grid.1));
        for (index, (&label, &class)) in labels.iter().zip(&truth).enumerate() {
            if label == 255 { continue; }
            let (y, x) = (index / width % height, index % width);
            if class != 255 {
                confusion[(usize::from(label), usize::from(class))] += 1;
            }
            if class != 255 || !labeled {
                pixel[(usize::from(label), y, x)] += 1;
                cells[(usize::from(label), y / patch, x / patch)] += 1;
            }
        }
        prop_assert_eq!(tally.confusion(), confusion.view());
        prop_assert_eq!(tally.position_pixel(), pixel.clone());
        prop_assert_eq!(tally.position_grid(), cells);

        // Stored and read again; sharded; without truth.
        prop_assert_eq!(Tally::from_parts(&tally.to_parts()).unwrap().to_parts(), tally.to_parts());
        let half = labels.len() / (height * width) / 2 * height * width;
        let mut first = Tally::new(clusters, classes, grid, patch);
        let mut second = first.clone();
        first.add(&labels[half..], Some(&truth[half..]), rule).unwrap();
        second.add(&labels[..half], Some(&truth[..half]), rule).unwrap();
        first.merge(&second).unwrap();
        prop_assert_eq!(first.to_parts(), tally.to_parts());
        let mut alone = Tally::new(clusters, 0, grid, patch);
        alone.add(&labels, None, Positions::All).unwrap();
        if !labeled {
            prop_assert_eq!(alone.position_pixel(), pixel);
        }
        prop_assert_eq!(alone.confusion().dim(), (clusters, 0));
    }

    #[test]
    fn hungarian_is_the_best_of_all_matchings(confusion in confusions()) {
        let class_of = hungarian(confusion.view());
        let total: i64 = class_of.iter().enumerate().filter_map(|(k, c)| Some(confusion[(k, (*c)?)])).sum();
        prop_assert_eq!(total, factorial_best(confusion.view()));
        let mut used: Vec<usize> = class_of.iter().copied().flatten().collect();
        used.sort_unstable();
        used.dedup();
        prop_assert_eq!(used.len(), confusion.nrows().min(confusion.ncols()));
        // Between runs, a partner shares at least one pixel.
        let sharing: Vec<Option<usize>> = class_of
            .iter()
            .enumerate()
            .map(|(k, class)| class.filter(|&class| confusion[(k, class)] > 0))
            .collect();
        prop_assert_eq!(match_to_reference(confusion.view()), sharing);
        // The majority rule keeps the matching, and can only add hits.
        let joined = majority(confusion.view());
        prop_assert!(class_of.iter().zip(&joined).all(|(a, b)| a.is_none() || a == b));
        let accuracy = |class_of: &[Option<usize>]| quality(confusion.view(), class_of).accuracy;
        prop_assert!(accuracy(&joined) >= accuracy(&class_of));
    }

    /// The order of clusters means nothing, as long as one matching is best.
    #[test]
    fn order_of_clusters_means_nothing(counts in prop::collection::vec(0_i64..1_000_000_000, 20), by in 0_usize..5) {
        let confusion = Array2::from_shape_vec((5, 4), counts).unwrap();
        let order: Vec<usize> = (0..5).map(|k| (k + by) % 5).collect();
        let turned = confusion.select(Axis(0), &order);
        for matching in [Matching::Hungarian, Matching::Majority] {
            let (a, b) = (matching.resolve(confusion.view()), matching.resolve(turned.view()));
            prop_assert_eq!(quality(confusion.view(), &a), quality(turned.view(), &b));
        }
    }

    #[test]
    fn information_is_bounded(counts in prop::collection::vec(prop_oneof![Just(0_u32), 0_u32..50], 24)) {
        let counts = Array2::from_shape_vec((4, 6), counts).unwrap();
        let result = positional(counts.view());
        prop_assert!(result.mi >= 0.0 && result.mi <= result.entropy + 1e-12);
        prop_assert!(result.class_mi.iter().all(|&part| part >= 0.0));
        prop_assert!(result.nmi.is_none_or(|nmi| (0.0..=1.0).contains(&nmi)));
        // Scaling all counts changes nothing; every class alike at every position has none.
        let scaled = positional(counts.mapv(|n| 1000 * n).view());
        prop_assert!((scaled.mi - result.mi).abs() < 1e-12);
        let even = positional(Array2::<u32>::from_shape_fn((4, 6), |(c, p)| (c as u32 + 1) * (p as u32 + 2)).view());
        prop_assert!(even.mi < 1e-15);
    }
}

#[test]
fn counters_outlast_sixteen_bits() {
    let mut tally = Tally::new(2, 2, (1, 1), 1);
    let (labels, truth) = (vec![1; 50_000], vec![0; 50_000]);
    for _ in 0..3 {
        tally.add(&labels, Some(&truth), Positions::All).unwrap();
    }
    tally.add(&vec![0; 140_000], None, Positions::All).unwrap();
    assert_eq!(tally.position_pixel(), array![[[140_000]], [[150_000]]]);
    assert_eq!(tally.confusion(), array![[0, 0], [150_000, 0]]);
    assert_eq!(tally.images(), 290_000);
    let mut again = Tally::from_parts(&tally.to_parts()).unwrap();
    again.merge(&tally).unwrap();
    assert_eq!(again.position_grid(), array![[[280_000]], [[300_000]]]);
}

#[test]
fn bad_labels_are_refused() {
    let mut tally = Tally::new(3, 2, (1, 2), 2);
    let (good, truth) = ([0, 1, 2, 255, 0, 0, 0, 0], [0, 1, 255, 0, 0, 0, 0, 0]);
    let refused = tally.add(&[0, 1, 3, 0, 0, 0, 0, 0], Some(&truth), Positions::All);
    assert_eq!(
        refused,
        Err(MeasureError::Label {
            what: "cluster",
            label: 3,
            count: 3
        })
    );
    assert!(
        tally
            .add(&good, Some(&[0, 2, 0, 0, 0, 0, 0, 0]), Positions::All)
            .is_err()
    );
    assert!(tally.add(&good[..7], None, Positions::All).is_err());
    assert!(tally.add(&good, Some(&truth[..7]), Positions::All).is_err());
    assert!(tally.add(&good, None, Positions::Labeled).is_err());
    assert_eq!(tally.to_parts(), Tally::new(3, 2, (1, 2), 2).to_parts());
    assert!(tally.add(&good, Some(&truth), Positions::All).is_ok());
    assert!(tally.merge(&Tally::new(3, 2, (2, 1), 2)).is_err());
}

#[test]
fn tally_does_not_depend_on_threads() {
    let labels: Vec<u8> = (0..4 * 96 * 96)
        .map(|i: usize| (i / 37 % 11) as u8)
        .collect();
    let truth: Vec<u8> = (0..4 * 96 * 96)
        .map(|i: usize| (i / 53 % 7) as u8)
        .collect();
    let count = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut tally = Tally::new(11, 7, (6, 6), 16);
            tally.add(&labels, Some(&truth), Positions::All).unwrap();
            let pixels = tally.position_pixel();
            let figures = positional(pixels.to_shape((11, 96 * 96)).unwrap().view());
            (tally.to_parts(), format!("{figures:?}"))
        })
    };
    assert_eq!(count(1), count(4));
}

#[test]
fn quality_by_hand() {
    // Class 2 occurs nowhere; cluster 2 is unmatched: its 4 pixels miss class 0 and accuse none.
    let confusion = array![[6, 2, 0], [0, 8, 0], [4, 0, 0]];
    let result = quality(confusion.view(), &[Some(0), Some(1), None]);
    assert_eq!(result.iou, [Some(0.5), Some(0.8), None]);
    assert_eq!(result.miou, Some(0.65));
    assert_eq!(result.accuracy, Some(0.7));
    // It joins class 0.
    let joined = quality(confusion.view(), &[Some(0), Some(1), Some(0)]);
    assert_eq!(joined.iou[0], Some(10.0 / 12.0));
    // Empty: undefined, not zero.
    let empty = quality(Array2::zeros((2, 2)).view(), &[Some(0), Some(1)]);
    assert_eq!((empty.miou, empty.accuracy), (None, None));
    // Predicted and nowhere true: the class occurs, with an IoU of 0.
    let wrong = quality(array![[5, 0], [0, 0]].view(), &[Some(1), Some(0)]);
    assert_eq!(wrong.iou, [Some(0.0), Some(0.0)]);
    // No classes at all.
    assert_eq!(hungarian(Array2::zeros((3, 0)).view()), [None; 3]);
}

#[test]
fn position_settles_class_or_says_nothing() {
    let diagonal = Array2::<u32>::from_diag(&array![3, 3, 3, 3, 3]);
    let result = positional(diagonal.view());
    assert!((result.nmi.unwrap() - 1.0).abs() < 1e-12 && (result.mi - 5_f64.ln()).abs() < 1e-12);
    // One class only: no entropy, no NMI.
    let single = positional(array![[4_u32, 4], [0, 0]].view());
    assert_eq!((single.mi, single.entropy, single.nmi), (0.0, 0.0, None));
    assert_eq!(positional(Array2::<u32>::zeros((2, 3)).view()).nmi, None);
}

#[test]
fn locality_of_known_matrices() {
    let n = 50;
    let uniform = Array2::<f32>::from_elem((n, n), 0.02);
    assert!(locality(uniform.view(), 0).unwrap().unwrap() < 1e-12);
    // A barcode: every query attends to the same keys.
    let barcode =
        Array2::<f32>::from_shape_fn((n, n), |(_, k)| if k % 7 == 0 { 0.125 } else { 0.001 });
    assert!(locality(barcode.view(), 0).unwrap().unwrap() < 1e-12);
    // A circular band of width w, evenly: log(n / w).
    let band =
        Array2::<f64>::from_shape_fn((n, n), |(q, k)| if (k + n - q) % n < 5 { 0.2 } else { 0.0 });
    assert!((locality(band.view(), 0).unwrap().unwrap() - 10_f64.ln()).abs() < 1e-12);
    // Two blocks of a and b tokens, even inside: the entropy of (a, b).
    let blocks = Array2::<f64>::from_shape_fn((n, n), |(q, k)| match (q < 20, k < 20) {
        (true, true) => 1.0 / 20.0,
        (false, false) => 1.0 / 30.0,
        _ => 0.0,
    });
    let entropy = -(0.4_f64 * 0.4_f64.ln() + 0.6 * 0.6_f64.ln());
    assert!((locality(blocks.view(), 0).unwrap().unwrap() - entropy).abs() < 1e-12);
    // Prefix tokens are left out, whatever they hold.
    let mut prefixed = Array2::<f64>::from_elem((n + 2, n + 2), 7.0);
    prefixed.slice_mut(ndarray::s![2.., 2..]).assign(&band);
    assert_eq!(
        locality(prefixed.view(), 2).unwrap(),
        locality(band.view(), 0).unwrap()
    );
    // Nothing, not finite, negative, not square.
    assert_eq!(locality(Array2::<f32>::zeros((3, 3)).view(), 0), Ok(None));
    assert!(locality(array![[1.0_f32, f32::NAN], [0.0, 1.0]].view(), 0).is_err());
    assert!(locality(array![[1.0_f32, f32::INFINITY], [0.0, 1.0]].view(), 0).is_err());
    assert!(locality(array![[1.0_f32, -0.1], [0.0, 1.0]].view(), 0).is_err());
    assert!(locality(Array2::<f32>::ones((3, 2)).view(), 0).is_err());
    assert!(locality(Array2::<f32>::ones((3, 3)).view(), 3).is_err());
    let mean = mean_over_heads(array![[[1.0_f32, 0.0]], [[0.5, 0.5]]].view());
    assert_eq!(mean, array![[0.75, 0.25]]);
}

/// ```python
/// scipy.stats.pearsonr([1, 2, 3, 4, 5], [2, 1, 4, 3, 7]).statistic        # scipy 1.17: 0.824163383692134
/// scipy.stats.spearmanr([1, 2, 2, 4, 5], [2, 1, 4, 3, 7]).statistic       # scipy 1.17: 0.6668859288553503
/// ```
#[test]
fn correlations_of_known_lists() {
    let y = [2.0, 1.0, 4.0, 3.0, 7.0];
    assert!(
        (pearson(&[1.0, 2.0, 3.0, 4.0, 5.0], &y).unwrap() - 0.824_163_383_692_134).abs() < 1e-12
    );
    assert!(
        (spearman(&[1.0, 2.0, 2.0, 4.0, 5.0], &y).unwrap() - 0.666_885_928_855_350_3).abs() < 1e-12
    );
    assert!((spearman(&[1.0, 2.0, 9.0], &[1.0, 20.0, 21.0]).unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(pearson(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]), None);
    assert_eq!(pearson(&[1.0], &[1.0]), None);
    assert_eq!(pearson(&[1.0, 2.0], &[1.0]), None);
    assert_eq!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), None);
}

#[test]
fn aggregate_mixes_and_rounds() {
    let one = aggregate(
        array![[[7_u32]], [[0]]].view(),
        &[[10, 20, 30], [255, 255, 255]],
    )
    .unwrap();
    assert_eq!(one, [10, 20, 30]);
    let half = aggregate(
        array![[[1_u32]], [[1]]].view(),
        &[[0, 3, 255], [255, 0, 255]],
    )
    .unwrap();
    assert_eq!(half, [128, 2, 255]);
    assert!(aggregate(array![[[1_u32]]].view(), &[]).is_err());
}

#[test]
fn pck_counts_the_border_as_correct() {
    let result = pck(&[5.0, 5.1], &[5.0, 5.0], &[1, 1], &[0, 0], 1).unwrap();
    assert_eq!(result.per_point, Some(0.5));
    assert_eq!(pck(&[], &[], &[], &[], 1).unwrap().per_point, None);
    assert!(pck(&[f64::NAN], &[1.0], &[0], &[0], 1).is_err());
    assert!(pck(&[1.0], &[1.0], &[0], &[1], 1).is_err());
}
