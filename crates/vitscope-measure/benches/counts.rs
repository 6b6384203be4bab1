//! Cost of counting one slot per image, in milliseconds: label maps of 320 x 320 pixels, 27 clusters and
//! classes, batches of 8 images. `cargo bench -p vitscope-measure`; `RAYON_NUM_THREADS` sets the threads.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first error"
)]

use std::hint::black_box;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitscope_measure::{Positions, Resampling, Tally, hungarian, locality, positional, quality};

const IMAGES: usize = 8;
const GRID: (usize, usize) = (20, 20);
const PATCH: usize = 16;
const SIDE: usize = 320;
const CLUSTERS: usize = 27;

/// Label maps of `areas` areas.
fn maps(areas: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut labels = Vec::with_capacity(IMAGES * SIDE * SIDE);
    for _ in 0..IMAGES {
        let seeds: Vec<[usize; 3]> = (0..areas)
            .map(|_| [SIDE, SIDE, CLUSTERS].map(|bound| rng.next_u32() as usize % bound))
            .collect();
        for pixel in 0..SIDE * SIDE {
            let (y, x) = (pixel / SIDE, pixel % SIDE);
            let nearest = seeds
                .iter()
                .min_by_key(|seed| seed[0].abs_diff(y).pow(2) + seed[1].abs_diff(x).pow(2));
            labels.push(nearest.map_or(255, |seed| seed[2] as u8));
        }
    }
    labels
}

fn report(name: &str, images: usize, mut call: impl FnMut()) {
    call();
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || (start.elapsed().as_secs_f64() < 1.0 && times.len() < 500) {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_secs_f64() * 1e3 / images as f64);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{name:<44} {:>9.3} ms (least {:.3})",
        times[times.len() / 2],
        times[0]
    );
}

fn main() {
    println!("threads: {}", rayon::current_num_threads());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (labels, truth) = (maps(60, &mut rng), maps(15, &mut rng));
    let mut noise = vec![0; IMAGES * SIDE * SIDE];
    noise
        .iter_mut()
        .for_each(|label| *label = (rng.next_u32() % CLUSTERS as u32) as u8);

    // As in a run, the counters of 48 slots do not stay in the cache.
    let mut tallies = vec![Tally::new(CLUSTERS, CLUSTERS, GRID, PATCH); 48];
    for (name, labels) in [
        ("tally, per slot-image", &labels),
        ("tally, noise, per slot-image", &noise),
    ] {
        report(name, 48 * IMAGES, || {
            for tally in &mut tallies {
                tally.add(labels, Some(&truth), Positions::All).unwrap();
            }
        });
    }
    report(
        "tally, labeled positions, per slot-image",
        48 * IMAGES,
        || {
            for tally in &mut tallies {
                tally
                    .add(&labels, Some(&truth), Positions::Labeled)
                    .unwrap();
            }
        },
    );

    let mut one = Tally::new(CLUSTERS, CLUSTERS, GRID, PATCH);
    report("tally, one slot alone, per slot-image", IMAGES, || {
        one.add(&labels, Some(&truth), Positions::All).unwrap();
    });

    let mut resampling = Resampling::new(CLUSTERS, GRID, PATCH, 1000, 100, 0).unwrap();
    let mut index = 0;
    report("resampling, 100 + 100, per slot-image", 4 * IMAGES, || {
        for _ in 0..4 {
            for labels in labels.chunks_exact(SIDE * SIDE) {
                resampling.add(index % 1000, labels).unwrap();
                index += 1;
            }
        }
    });
    let mut tally = Tally::new(CLUSTERS, CLUSTERS, GRID, PATCH);
    tally.add(&labels, Some(&truth), Positions::All).unwrap();
    let grid = tally.position_grid();
    report("resampling, finish, per slot", 1, || {
        black_box(resampling.clone().finish(grid.view()).unwrap());
    });
    let pixel = tally.position_pixel();
    let flat = pixel.to_shape((CLUSTERS, SIDE * SIDE)).unwrap();
    report("positional at pixels, per slot", 1, || {
        black_box(positional(flat.view()));
    });
    report("matching and quality, per slot", 1, || {
        black_box(quality(tally.confusion(), &hungarian(tally.confusion())));
    });
    let attention =
        ndarray::Array2::from_shape_simple_fn((401, 401), || (rng.next_u32() >> 8) as f32);
    report("locality of 400 x 400, per matrix", 1, || {
        black_box(locality(attention.view(), 1).unwrap());
    });
}
