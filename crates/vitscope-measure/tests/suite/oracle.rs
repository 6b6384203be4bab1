//! Against SciPy and scikit-learn: `tools/oracle/measure.py` made the golden files and names the versions.
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use vitscope_measure::{
    Matching, bootstrap_interval, locality, pearson, positional, quality, spearman,
};
use vitscope_testkit::golden::read;
use vitscope_testkit::lcg::Lcg;

fn worst(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

/// `scipy.optimize.linear_sum_assignment`, `sklearn.metrics.jaccard_score` and `accuracy_score`.
#[test]
fn matching_and_quality() {
    let golden = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/quality.txt"
    ));
    let mut off = 0.0_f64;
    for (seed, (clusters, classes)) in [(5, 5), (4, 7), (9, 4), (27, 27), (97, 27)]
        .into_iter()
        .enumerate()
    {
        let mut rng = Lcg(100 + seed as u64);
        let counts = rng.belows(4000, clusters * classes);
        let keep = rng.belows(3, clusters * classes);
        let values = counts
            .iter()
            .zip(&keep)
            .map(|(&n, &keep)| {
                if keep == 0 {
                    n as i64
                } else {
                    n as i64 / 20 + 1
                }
            })
            .collect();
        let confusion = Array2::from_shape_vec((clusters, classes), values).unwrap();
        for (name, matching) in [
            ("hungarian", Matching::Hungarian),
            ("majority", Matching::Majority),
        ] {
            let class_of = matching.resolve(confusion.view());
            let quality = quality(confusion.view(), &class_of);
            let agreement: i64 = class_of
                .iter()
                .enumerate()
                .filter_map(|(k, class)| Some(confusion[(k, (*class)?)]))
                .sum();
            if matching == Matching::Hungarian {
                assert_eq!(agreement as f64, golden[&format!("agreement_{seed}")][0]);
            }
            let matched: Vec<f64> = class_of
                .iter()
                .map(|class| class.map_or(-1.0, |class| class as f64))
                .collect();
            assert_eq!(matched, golden[&format!("{name}_match_{seed}")]);
            let iou: Vec<f64> = quality.iou.iter().copied().flatten().collect();
            off = off.max(worst(&iou, &golden[&format!("{name}_iou_{seed}")]));
            let scores = [quality.miou.unwrap(), quality.accuracy.unwrap()];
            off = off.max(worst(&scores, &golden[&format!("{name}_scores_{seed}")]));
        }
    }
    println!("IoU, mIoU, accuracy off by at most {off:.1e}");
    assert!(off < 1e-10);
}

/// `sklearn.metrics.mutual_info_score`, `scipy.stats.entropy`, `scipy.special.rel_entr`.
#[test]
fn mutual_information() {
    let golden = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/positional.txt"
    ));
    let mut off = 0.0_f64;
    for (seed, (classes, positions)) in [(2, 2), (5, 40), (27, 400), (3, 1)].into_iter().enumerate()
    {
        let mut rng = Lcg(200 + seed as u64);
        let counts = rng.belows(1000, classes * positions);
        let keep = rng.belows(2, classes * positions);
        let mut values: Vec<u32> = counts
            .iter()
            .zip(&keep)
            .map(|(&n, &keep)| if keep == 0 { n as u32 } else { 0 })
            .collect();
        values[0] += 7;
        let counts = Array2::from_shape_vec((classes, positions), values).unwrap();
        let ours = positional(counts.view());
        let figures = [ours.mi, ours.entropy, ours.nmi.unwrap_or(-1.0)];
        off = off.max(worst(&figures, &golden[&format!("mi_{seed}")]));
        off = off.max(worst(&ours.class_mi, &golden[&format!("class_mi_{seed}")]));
    }
    println!("MI, entropy, NMI, class MI off by at most {off:.1e}");
    assert!(off < 1e-10);
}

/// `scipy.special.rel_entr` of a random attention matrix with five prefix tokens.
#[test]
fn attention() {
    let weights: Vec<f64> = Lcg(300)
        .uniforms(21 * 21)
        .iter()
        .map(|&v| (f64::from(v) + 0.5).powi(4))
        .collect();
    let matrix = Array2::from_shape_vec((21, 21), weights).unwrap();
    let ours = locality(matrix.view(), 5).unwrap().unwrap();
    let off = worst(
        &[ours],
        &read(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/locality.txt"
        ))["locality"],
    );
    println!("locality off by {off:.1e}");
    assert!(off < 1e-10);
}

/// `scipy.stats.pearsonr`, `spearmanr`, and `bootstrap(..., paired=True, method="percentile",
/// n_resamples=40000)`, whose draws are others: its ends have a Monte Carlo error of about 0.001.
#[test]
fn relations() {
    let golden = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/relation.txt"
    ));
    let mut rng = Lcg(400);
    let x: Vec<f64> = rng.uniforms(40).into_iter().map(f64::from).collect();
    let y: Vec<f64> = x
        .iter()
        .zip(rng.uniforms(40))
        .map(|(&x, noise)| x + f64::from(noise))
        .collect();
    let integers =
        |rng: &mut Lcg| -> Vec<f64> { rng.belows(6, 40).into_iter().map(|v| v as f64).collect() };
    let (ties_x, ties_y) = (integers(&mut rng), integers(&mut rng));
    let ours = [pearson(&x, &y).unwrap(), pearson(&ties_x, &ties_y).unwrap()];
    let off = worst(&ours, &golden["pearson"]);
    let ours = [
        spearman(&x, &y).unwrap(),
        spearman(&ties_x, &ties_y).unwrap(),
    ];
    let off = off.max(worst(&ours, &golden["spearman"]));
    println!("Pearson, Spearman off by at most {off:.1e}");
    assert!(off < 1e-10);

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (low, high) = bootstrap_interval(&x, &y, pearson, 40_000, 0.95, &mut rng).unwrap();
    let off = worst(&[low, high], &golden["interval"]);
    println!("bootstrap interval off by at most {off:.1e}");
    assert!(off < 0.005, "{low} {high}");
}
