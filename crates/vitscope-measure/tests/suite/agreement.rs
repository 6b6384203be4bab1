//! Agreement beyond chance against its definition, and its bootstrap against images drawn by hand.

use vitscope_measure::{MeasureError, PairCounts, ResamplingPlan, kappa_of_images};

/// Pairs that agree more or less.
fn pairs(image: usize) -> Vec<(u8, u8)> {
    let pair = |i: usize| {
        let first = (i * i + image * 5) % 4;
        let second = if (i + image).is_multiple_of(3) {
            (i * 7) % 4
        } else {
            first
        };
        (first as u8, second as u8)
    };
    (0..30 + image).map(pair).collect()
}

fn counted(pairs: &[(u8, u8)]) -> PairCounts {
    let mut counts = PairCounts::new(4);
    for &(first, second) in pairs {
        counts.add(first, second).unwrap();
    }
    counts
}

/// By its definition, from the whole table.
fn brute(pairs: &[(u8, u8)]) -> f64 {
    let n = pairs.len() as f64;
    let share = |of: &dyn Fn(&(u8, u8)) -> bool| pairs.iter().filter(|&p| of(p)).count() as f64 / n;
    let agree = share(&|p| p.0 == p.1);
    let chance: f64 = (0..4)
        .map(|k| share(&|p| p.0 == k) * share(&|p| p.1 == k))
        .sum();
    (agree - chance) / (1.0 - chance)
}

#[test]
fn kappa_is_what_its_definition_says() {
    for image in 0..5 {
        let pairs = pairs(image);
        let kappa = counted(&pairs).kappa().unwrap();
        assert!((kappa - brute(&pairs)).abs() < 1e-12);
    }
    // Never equal; the least there is.
    assert_eq!(counted(&[(0, 1), (1, 0)]).kappa(), Some(-1.0));
    assert_eq!(counted(&[(0, 0), (1, 1)]).kappa(), Some(1.0));
    // Collapsed, empty, and one that is left out.
    assert_eq!(counted(&[(2, 2), (2, 2)]).kappa(), None);
    assert_eq!(counted(&[(255, 2), (2, 255)]).kappa(), None);
    let wrong = PairCounts::new(4).add(0, 4).unwrap_err();
    assert!(matches!(wrong, MeasureError::Label { label: 4, .. }));
}

#[test]
fn images_are_resampled_as_the_plan_draws_them() {
    let lists: Vec<_> = (0..6).map(pairs).collect();
    let images: Vec<PairCounts> = lists.iter().map(|list| counted(list)).collect();
    let plan = ResamplingPlan::new((2, 2), 6, 20, 3).unwrap();
    let (whole, samples) = kappa_of_images(&images, &plan).unwrap();
    assert!((whole.unwrap() - brute(&lists.concat())).abs() < 1e-12);
    assert_eq!(samples.len(), 20);
    for (replicate, sample) in samples.iter().enumerate() {
        let mut drawn = Vec::new();
        for (index, list) in lists.iter().enumerate() {
            for _ in 0..plan.draws(index)[replicate] {
                drawn.extend_from_slice(list);
            }
        }
        assert!((sample.unwrap() - brute(&drawn)).abs() < 1e-12);
    }
    assert!(kappa_of_images(&images[1..], &plan).is_err());
}
