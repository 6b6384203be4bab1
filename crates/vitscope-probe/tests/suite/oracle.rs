//! Against PyTorch and NumPy: `tools/oracle/probe.py` made the golden files and names the versions.
use ndarray::{Array2, Axis, s};
use vitscope_probe::{AdamSettings, Dispersion, LabelScratch, Labeler, Moments, Trainer};
use vitscope_testkit::golden::read;
use vitscope_testkit::lcg::{Lcg, features};

/// 60 Adam steps from the same features, order and start: autograd and `torch.optim.Adam`.
#[test]
fn training_matches_autograd_and_torch_adam() {
    let mut rng = Lcg(1);
    let x = features(&mut rng, (16, 25, 24), 9, 0.25);
    let start = rng.matrix(7, 24).mapv(f64::from);
    let mut trainer = Trainer::new(start, AdamSettings::default()).unwrap();
    let mut losses = Vec::new();
    for step in 0..60 {
        let images: Vec<usize> = (0..5).map(|i| (step * 5 + i) % 16).collect();
        trainer.add(x.select(Axis(0), &images).view()).unwrap();
        losses.push(trainer.finish_step());
    }
    let golden = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/kmeans.txt"
    ));
    let values = trainer.to_state().values;
    let codebook = trainer.codebook();
    for kind in ["f32", "f64"] {
        let off = [
            worst(
                values[..7 * 24].iter().copied(),
                &golden[&format!("values_{kind}")],
            ),
            worst(
                codebook.iter().map(|&v| f64::from(v)),
                &golden[&format!("codebook_{kind}")],
            ),
            worst(losses.iter().copied(), &golden[&format!("losses_{kind}")]),
        ];
        println!(
            "torch {kind}: parameters, codebook, losses off by at most {:.1e}, {:.1e}, {:.1e}",
            off[0], off[1], off[2]
        );
        assert!(off[0] < 1e-5 && off[1] < 1e-6 && off[2] < 1e-6, "{off:?}");
    }
}

/// Effective rank of streamed moments, and the spreads of clusters, against numpy's singular values of the vectors.
#[test]
fn density_matches_singular_values() {
    let golden = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/density.txt"
    ));
    let mut rng = Lcg(30);
    let x = features(&mut rng, (12, 25, 24), 9, 0.25);
    let mut moments = Moments::new(24);
    moments
        .add(x.view(), &[1, 2, 1, 0, 3, 1, 1, 1, 2, 1, 1, 1])
        .unwrap();
    let rank = moments.principal().unwrap().effective_rank().unwrap();
    let off = worst([rank], &golden["effective_rank"]);
    println!("numpy svd: effective rank off by {off:.1e}");
    assert!(off < 1e-4, "{off}");
    for (name, shape, clusters) in [("wide", (4, 10, 40), 5), ("narrow", (10, 30, 6), 7)] {
        let sample = features(&mut rng, shape, 9, 0.25);
        let (images, patches, width) = shape;
        let sample = sample.into_shape_with_order((images * patches, width));
        let codebook = rng.matrix(clusters, width);
        // Centroids of any length: the nearest is that of the largest cosine.
        let norms = codebook.map_axis(Axis(1), |row| row.dot(&row).sqrt());
        let codebook = &codebook / &norms.insert_axis(Axis(1));
        let found = Dispersion::of(sample.unwrap().view(), codebook.view()).unwrap();
        let off = worst([found.inter, found.intra], &golden[name]);
        println!("numpy svd: {name} clusters off by {off:.1e}");
        assert!(off < 1e-7, "{off}");
    }
}

/// Directions of a weighted set, added in three calls, against `numpy.linalg.eigh` in f64 and
/// `torch.pca_lowrank`.
#[test]
fn principal_directions_match_eigh_and_pca_lowrank() {
    let x = features(&mut Lcg(2), (12, 25, 24), 9, 0.25);
    let weights = [1, 2, 1, 0, 3, 1, 1, 1, 2, 1, 1, 1];
    let mut moments = Moments::new(24);
    for start in [0, 4, 8] {
        moments
            .add(
                x.slice(s![start..start + 4, .., ..]),
                &weights[start..start + 4],
            )
            .unwrap();
    }
    assert_eq!(moments.count(), 15 * 25);
    let directions = moments.principal_directions(10).unwrap();
    let golden = read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pca.txt"));
    let off = worst(directions.iter().copied(), &golden["directions"]);
    println!("numpy eigh: directions off by at most {off:.1e}");
    assert!(off < 1e-5, "{off}");

    let lowrank = Array2::from_shape_vec((10, 24), golden["lowrank"].clone()).unwrap();
    let misaligned = directions
        .rows()
        .into_iter()
        .zip(lowrank.rows())
        .map(|(ours, theirs)| 1.0 - ours.dot(&theirs).abs())
        .fold(0.0, f64::max);
    println!("torch pca_lowrank: |cosine| below 1 by at most {misaligned:.1e}");
    assert!(misaligned < 1e-9, "{misaligned}");
}

/// Labels against upsampled features (`F.interpolate`) and the cosine's argmax, but for pixels whose two
/// best cosines are within 1e-5.
#[test]
fn labels_match_interpolated_features() {
    let golden = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/labels.txt"
    ));
    for (seed, (rows, cols, patch)) in [(6, 5, 8), (5, 6, 14), (4, 5, 16), (3, 4, 7)]
        .into_iter()
        .enumerate()
    {
        let mut rng = Lcg(10 + seed as u64);
        let x = features(&mut rng, (1, rows * cols, 12), 9, 0.0);
        let mut book = rng.matrix(9, 12);
        for mut row in book.rows_mut() {
            let norm = row.dot(&row).sqrt();
            row /= norm;
        }
        let expected: Vec<u8> = golden[&format!("labels_{seed}")]
            .chunks(2)
            .flat_map(|run| std::iter::repeat_n(run[0] as u8, run[1] as usize))
            .collect();
        let close = &golden[&format!("close_{seed}")];
        let mut labels = vec![0; expected.len()];
        let labeler = Labeler::new(book.view(), (rows, cols), patch).unwrap();
        labeler
            .label(
                x.index_axis(Axis(0), 0),
                &mut LabelScratch::default(),
                &mut labels,
            )
            .unwrap();
        let wrong: Vec<usize> = (0..labels.len())
            .filter(|&pixel| labels[pixel] != expected[pixel] && !close.contains(&(pixel as f64)))
            .collect();
        println!(
            "{} pixels, {} close calls, {} differ",
            labels.len(),
            close.len(),
            wrong.len()
        );
        assert!(wrong.is_empty(), "case {seed}: {wrong:?}");
    }
}

/// The largest difference of two equally long sequences.
fn worst(ours: impl IntoIterator<Item = f64>, theirs: &[f64]) -> f64 {
    let ours: Vec<f64> = ours.into_iter().collect();
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}
