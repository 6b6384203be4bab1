//! Cost of one slot per image, in milliseconds, for a ViT-B at 320 pixels: 400 patches of width 768, 27
//! clusters, batches of 8 images. `cargo bench -p vitscope-probe`; `RAYON_NUM_THREADS` sets the threads.
//!
//! The features are made: areas of one prototype each, with noise, so that label maps have areas and
//! borders as those of a trained model do. "noise" has no areas at all, the worst case for pruning.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first error"
)]

use std::hint::black_box;
use std::time::Instant;

use ndarray::{Array2, Array3, Axis, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitscope_probe::{
    AdamSettings, LabelScratch, Labeler, Moments, Reservoir, Trainer, initial_centroids,
    plain_labels,
};

const IMAGES: usize = 8;
const GRID: (usize, usize) = (20, 20);
const PATCHES: usize = GRID.0 * GRID.1;
const DIM: usize = 768;
const CLUSTERS: usize = 27;
const PATCH: usize = 16;

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    // Twelve uniform numbers, about normal.
    (0..12)
        .map(|_| (rng.next_u32() >> 8) as f32 / 16_777_216.0)
        .sum::<f32>()
        - 6.0
}

/// Images of `areas` areas of one prototype each.
fn features(areas: usize, noise: f32, rng: &mut ChaCha8Rng) -> Array3<f32> {
    let prototypes = Array2::from_shape_simple_fn((CLUSTERS, DIM), || normal(rng));
    let mut all = Array3::from_shape_simple_fn((IMAGES, PATCHES, DIM), || noise * normal(rng));
    for mut image in all.outer_iter_mut() {
        let seeds: Vec<[usize; 3]> = (0..areas)
            .map(|_| [GRID.0, GRID.1, CLUSTERS].map(|bound| rng.next_u32() as usize % bound))
            .collect();
        for patch in 0..PATCHES {
            let (y, x) = (patch / GRID.1, patch % GRID.1);
            let nearest = seeds
                .iter()
                .min_by_key(|seed| seed[0].abs_diff(y).pow(2) + seed[1].abs_diff(x).pow(2));
            if let Some(seed) = nearest {
                image
                    .row_mut(patch)
                    .zip_mut_with(&prototypes.row(seed[2]), |a, b| *a += b);
            }
        }
    }
    all
}

/// Median milliseconds per image of a call that handles `images` images.
fn report(name: &str, images: usize, mut call: impl FnMut()) {
    call();
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || (start.elapsed().as_secs_f64() < 1.5 && times.len() < 200) {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_secs_f64() * 1e3 / images as f64);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{name:<44} {:>9.3} ms per slot-image (least {:.3}), {:>8.1} ms per image of 48 slots",
        times[times.len() / 2],
        times[0],
        48.0 * times[times.len() / 2]
    );
}

fn main() {
    println!("threads: {}", rayon::current_num_threads());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let areas = features(12, 0.7, &mut rng);
    let noise = features(0, 1.0, &mut rng);
    // Facets lie side by side in one buffer: rows are strided.
    let mut strided = Array3::<f32>::zeros((IMAGES, PATCHES, 3 * DIM));
    strided.slice_mut(s![.., .., DIM..2 * DIM]).assign(&areas);
    let strided = strided.slice(s![.., .., DIM..2 * DIM]);

    let mut moments = Moments::new(DIM);
    report("moments", IMAGES, || {
        moments.add(areas.view(), &[1; IMAGES]).unwrap()
    });
    report("moments, strided", IMAGES, || {
        moments.add(strided, &[1; IMAGES]).unwrap()
    });
    report("moments, unequal weights", IMAGES, || {
        moments
            .add(areas.view(), &[1, 2, 1, 1, 1, 1, 1, 1])
            .unwrap();
    });
    let start = initial_centroids(
        &moments.principal().unwrap(),
        CLUSTERS,
        &Reservoir::new(0, DIM, 0),
        0,
    )
    .unwrap();
    report("principal directions (once per slot)", 1, || {
        black_box(moments.principal_directions(CLUSTERS).unwrap());
    });

    let mut trainer = Trainer::new(start, AdamSettings::default()).unwrap();
    for _ in 0..30 {
        trainer.add(areas.view()).unwrap();
        trainer.finish_step();
    }
    let trained = trainer.codebook();
    report("training, add", IMAGES, || {
        trainer.add(areas.view()).unwrap()
    });
    report("training, add, strided", IMAGES, || {
        trainer.add(strided).unwrap()
    });
    trainer.finish_step();
    report("training, add and finish (batch 8)", IMAGES, || {
        trainer.add(areas.view()).unwrap();
        black_box(trainer.finish_step());
    });

    let labeler = Labeler::new(trained.view(), GRID, PATCH).unwrap();
    let mut labels = vec![0; IMAGES * PATCHES * PATCH * PATCH];
    report("labels, batch", IMAGES, || {
        labeler.label_batch(areas.view(), &mut labels).unwrap()
    });
    report("labels, batch, strided", IMAGES, || {
        labeler.label_batch(strided, &mut labels).unwrap()
    });
    report("labels, batch, noise", IMAGES, || {
        labeler.label_batch(noise.view(), &mut labels).unwrap()
    });
    let (mut scratch, mut out) = (LabelScratch::default(), vec![0; PATCHES * PATCH * PATCH]);
    let image = areas.index_axis(Axis(0), 0);
    report("labels, one image", 1, || {
        labeler.label(image, &mut scratch, &mut out).unwrap()
    });
    let scores = image.dot(&trained.t());
    report("labels, one image, from scores", 1, || {
        labeler
            .label_scores(scores.view(), &mut scratch, &mut out)
            .unwrap();
    });
    let image = noise.index_axis(Axis(0), 0);
    let scores = image.dot(&trained.t());
    report("labels, one image of noise, from scores", 1, || {
        labeler
            .label_scores(scores.view(), &mut scratch, &mut out)
            .unwrap();
    });
    report("labels, plain, from scores", 1, || {
        black_box(plain_labels(scores.view(), GRID, PATCH).unwrap());
    });
}
