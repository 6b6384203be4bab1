//! Use of clusters, baselines and the interval of mIoU against closed forms and brute force.

use std::sync::Arc;

use ndarray::{Array2, Array3, array};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitscope_measure::{
    ImageConfusion, Matching, MeasureError, Positions, QualityResampling, ResamplingPlan, Tally,
    baselines, fixed_map_quality, paired_interval, place_alone, quality, quantile, sample_interval,
    twins, usage,
};

#[test]
fn use_of_clusters_in_closed_form() {
    // m equal clusters count as m.
    for m in 1..=20_u32 {
        let mut pixels = vec![0; 27];
        pixels[..m as usize].fill(1000);
        let usage = usage(&pixels).unwrap();
        assert!((usage.used - f64::from(m)).abs() < 1e-12);
        assert!((usage.largest - 1.0 / f64::from(m)).abs() < 1e-15);
        assert_eq!(usage.dead, 27 - m as usize);
        // A quarter of 27 is 6.75, half of it 13.5.
        assert_eq!((usage.is_collapsed(), usage.is_low()), (m < 7, m < 14));
    }
    // One cluster with a share of 0.96 and the rest spread: exp(H) by hand.
    let usage = usage(&[9600, 100, 100, 100, 100]).unwrap();
    let by_hand = (-(0.96 * 0.96_f64.ln() + 4.0 * 0.01 * 0.01_f64.ln())).exp();
    assert!((usage.used - by_hand).abs() < 1e-12 && usage.is_collapsed());
    // Two clusters of two are not collapsed for being a little uneven.
    assert!(!vitscope_measure::usage(&[60, 40]).unwrap().is_collapsed());
    assert!(vitscope_measure::usage(&[96, 4]).unwrap().is_collapsed());
    assert!(
        vitscope_measure::usage(&[90, 4, 3, 3])
            .unwrap()
            .is_collapsed()
    );
    assert_eq!(vitscope_measure::usage(&[0, 0]), None);
    assert_eq!(vitscope_measure::usage(&[]), None);
    // Dead is under one in ten thousand, not at it.
    assert_eq!(vitscope_measure::usage(&[9999, 1]).unwrap().dead, 0);
    assert_eq!(vitscope_measure::usage(&[10_000, 1]).unwrap().dead, 1);
}

#[test]
fn twins_are_found_whatever_their_length() {
    // cos(8 degrees) = 0.9903, cos(8.2 degrees) = 0.98978.
    let turned = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
    let [near, far] = [turned(8.0), turned(-8.2)];
    let rows = array![
        [3.0_f32, 0.0],
        [near[0] * 0.1, near[1] * 0.1],
        far,
        [0.0, 0.0],
        [0.0, 0.0]
    ];
    assert_eq!(twins(rows.view()), [(0, 1)]);
}

fn label_maps() -> impl Strategy<Value = (usize, usize, Vec<Vec<u8>>, Vec<Vec<u8>>)> {
    (2_usize..5, 1_usize..5, 1_usize..6, 1_usize..6).prop_flat_map(
        |(classes, side, train, test)| {
            let label = prop_oneof![6 => 0..classes as u8, 1 => Just(255_u8)];
            let map = prop::collection::vec(label, side * side);
            let maps = |count| prop::collection::vec(map.clone(), count);
            (Just(classes), Just(side), maps(train), maps(test))
        },
    )
}

fn positions(classes: usize, side: usize, maps: &[Vec<u8>]) -> Array3<u32> {
    let mut tally = Tally::new(classes, 0, (side, side), 1);
    tally.add(&maps.concat(), None, Positions::All).unwrap();
    tally.position_pixel()
}

/// Quality of predicted classes, counted pixel by pixel.
fn plain_quality(classes: usize, pairs: &[(usize, u8)]) -> (Option<f64>, Option<f64>) {
    let labeled: Vec<_> = pairs.iter().filter(|pair| pair.1 != 255).collect();
    let count = |wanted: &dyn Fn(usize, usize) -> bool| {
        labeled
            .iter()
            .filter(|pair| wanted(pair.0, usize::from(pair.1)))
            .count() as f64
    };
    let ious: Vec<f64> = (0..classes)
        .filter(|&class| count(&|p, t| p == class || t == class) > 0.0)
        .map(|class| {
            count(&|p, t| p == class && t == class) / count(&|p, t| p == class || t == class)
        })
        .collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let total = labeled.len() as f64;
    (
        (!ious.is_empty()).then(|| mean(&ious)),
        (total > 0.0).then(|| count(&|p, t| p == t) / total),
    )
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-12,
        (a, b) => a == b,
    }
}

proptest! {
    #[test]
    fn baselines_are_what_counting_pixels_says((classes, side, train, test) in label_maps()) {
        let (on_train, on_test) = (positions(classes, side, &train), positions(classes, side, &test));
        let found = baselines(on_train.view(), on_test.view()).unwrap();
        // The most frequent class among some labels, the lowest on ties.
        let most = |labels: &[u8]| {
            let count = |class: usize| labels.iter().filter(|&&l| usize::from(l) == class).count();
            let best = (0..classes).rev().max_by_key(|&class| count(class)).unwrap();
            (count(best) > 0).then_some(best)
        };
        let Some(overall) = most(&train.concat()) else {
            prop_assert_eq!(found, None);
            return Ok(());
        };
        let at = |pixel: usize| train.iter().map(|map| map[pixel]).collect::<Vec<u8>>();
        let map: Vec<usize> = (0..side * side).map(|p| most(&at(p)).unwrap_or(overall)).collect();
        prop_assert_eq!(place_alone(on_train.view()), Some((map.clone(), overall)));
        let found = found.unwrap();
        for (map, found) in [(map, found.place_alone), (vec![overall; side * side], found.one_class)] {
            let pairs: Vec<(usize, u8)> = test
                .iter()
                .flat_map(|truth| map.iter().copied().zip(truth.iter().copied()))
                .collect();
            let (miou, accuracy) = plain_quality(classes, &pairs);
            prop_assert!(close(found.miou, miou) && close(found.accuracy, accuracy));
        }
    }

    /// Every sample is the quality of the images that it drew, each as often as it was drawn.
    #[test]
    fn samples_are_what_drawing_images_says((classes, side, _, truth) in label_maps(), seed in 0_u64..50) {
        let (images, replicates, clusters) = (truth.len(), 7, 3_usize);
        let label = |image: usize, pixel: usize| ((image * 5 + pixel * 3 + seed as usize) % 4) as u8;
        // Label 3 stands for no label.
        let maps: Vec<Vec<u8>> = (0..images)
            .map(|i| (0..side * side).map(|p| if label(i, p) == 3 { 255 } else { label(i, p) }).collect())
            .collect();
        let plan = Arc::new(ResamplingPlan::new((side, side), images, replicates, seed).unwrap());
        let mut whole = QualityResampling::new(clusters, classes, Arc::clone(&plan));
        let mut parts = [whole.clone(), whole.clone()];
        // In any order, and in two parts that are added.
        for image in (0..images).rev() {
            whole.add(image, &maps[image], &truth[image]).unwrap();
            parts[image % 2].add(image, &maps[image], &truth[image]).unwrap();
        }
        let [mut first, second] = parts;
        first.add_sums(&second.sums()).unwrap();
        prop_assert_eq!(first.sums(), whole.sums());

        let confusion = |drawn: &[usize]| {
            let mut confusion = Array2::<i64>::zeros((clusters, classes));
            for &image in drawn {
                for (&k, &c) in maps[image].iter().zip(&truth[image]) {
                    if k != 255 && c != 255 {
                        confusion[(usize::from(k), usize::from(c))] += 1;
                    }
                }
            }
            confusion
        };
        let all: Vec<usize> = (0..images).collect();
        let class_of = Matching::Hungarian.resolve(confusion(&all).view());
        let samples = whole.finish(&class_of);
        prop_assert_eq!(&samples, &first.finish(&class_of));
        for replicate in 0..replicates {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream((1 << 63) | replicate as u64);
            let drawn: Vec<usize> = (0..images)
                .map(|_| ((u128::from(rng.next_u64()) * images as u128) >> 64) as usize)
                .collect();
            let plain = quality(confusion(&drawn).view(), &class_of);
            prop_assert_eq!(samples.miou[replicate], plain.miou);
            prop_assert_eq!(samples.accuracy[replicate], plain.accuracy);
        }
    }
}

#[test]
fn an_interval_leaves_out_what_is_undefined() {
    let samples: Vec<Option<f64>> = (0..41)
        .map(|i| Some(f64::from(i) / 40.0))
        .chain([None])
        .collect();
    let (low, high) = sample_interval(&samples).unwrap();
    assert!((low - 0.025).abs() < 1e-12 && (high - 0.975).abs() < 1e-12);
    let sorted: Vec<f64> = samples.iter().copied().flatten().collect();
    assert!((low - quantile(&sorted, 0.025).unwrap()).abs() < 1e-12);
    assert_eq!(sample_interval(&[Some(0.5), None]), None);
    assert_eq!(paired_interval(&samples, &samples[1..]), None);
    assert_eq!(paired_interval(&samples, &samples), Some((0.0, 0.0)));
}

#[test]
fn what_does_not_fit_is_refused() {
    let plan = Arc::new(ResamplingPlan::new((1, 1), 2, 2, 0).unwrap());
    let mut resampling = QualityResampling::new(2, 2, plan);
    assert!(matches!(
        resampling.add(2, &[0], &[0]),
        Err(MeasureError::Image { .. })
    ));
    assert!(matches!(
        resampling.add(0, &[2], &[0]),
        Err(MeasureError::Label { .. })
    ));
    assert!(matches!(
        resampling.add(0, &[0], &[2]),
        Err(MeasureError::Label { .. })
    ));
    assert!(matches!(
        resampling.add(0, &[0, 1], &[0]),
        Err(MeasureError::Shape { .. })
    ));
    let beyond = ImageConfusion::new(&[7], &[0]).unwrap();
    assert!(matches!(
        resampling.add_confusion(0, &beyond),
        Err(MeasureError::Label { .. })
    ));
    assert!(matches!(
        resampling.add_sums(&[0; 3]),
        Err(MeasureError::Shape { .. })
    ));
    let test = Array3::<u32>::zeros((2, 1, 2));
    assert!(fixed_map_quality(&[0], test.view()).is_err());
    assert!(fixed_map_quality(&[0, 2], test.view()).is_err());
}

/// Counts beyond 32 bits are moved, and nothing is lost.
#[test]
fn more_pixels_than_32_bits_hold() {
    let plan = Arc::new(ResamplingPlan::new((1, 1), 1, 2, 0).unwrap());
    let mut resampling = QualityResampling::new(1, 1, plan);
    resampling.add_sums(&[u64::from(u32::MAX), 7]).unwrap();
    resampling.add(0, &[0; 100], &[0; 100]).unwrap();
    resampling.add_sums(&[u64::from(u32::MAX), 0]).unwrap();
    // One image is drawn by every sample of one image.
    assert_eq!(resampling.sums(), [2 * u64::from(u32::MAX) + 100, 107]);
}
