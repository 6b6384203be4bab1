//! The null and the interval of the positional effect, on made label maps.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitscope_measure::{PositionalTest, Positions, Resampling, Tally, positional};

const GRID: (usize, usize) = (8, 8);
const PATCH: usize = 2;
const SIDE: usize = 16;
const CLASSES: usize = 5;

fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u64::from(rng.next_u32()) * bound as u64) >> 32) as usize
}

/// One label map of a few areas on a torus; with probability `effect` (of 256) the pixel's class is its
/// band of rows instead. Without effect, every pixel has the same distribution.
fn map(effect: u32, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let seeds: Vec<[usize; 3]> = (0..6)
        .map(|_| [SIDE, SIDE, CLASSES].map(|bound| below(rng, bound)))
        .collect();
    let around = |a: usize, b: usize| a.abs_diff(b).min(SIDE - a.abs_diff(b)).pow(2);
    let bands = rng.next_u32() % 256 < effect;
    (0..SIDE * SIDE)
        .map(|pixel| {
            let (y, x) = (pixel / SIDE, pixel % SIDE);
            let nearest = seeds
                .iter()
                .min_by_key(|seed| around(seed[0], y) + around(seed[1], x))
                .unwrap();
            if bands {
                (y * CLASSES / SIDE) as u8
            } else {
                nearest[2] as u8
            }
        })
        .collect()
}

fn test(
    images: usize,
    replicates: usize,
    seed: u64,
    mut map: impl FnMut(&mut ChaCha8Rng) -> Vec<u8>,
) -> PositionalTest {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tally = Tally::new(CLASSES, 0, GRID, PATCH);
    let mut resampling = Resampling::new(CLASSES, GRID, PATCH, images, replicates, seed).unwrap();
    for image in 0..images {
        let labels = map(&mut rng);
        tally.add(&labels, None, Positions::All).unwrap();
        resampling.add(image, &labels).unwrap();
    }
    resampling.finish(tally.position_grid().view()).unwrap()
}

/// Maps without positional information: the plain NMI is visibly above zero on small sets, the excess is
/// zero within its interval at every size.
#[test]
fn excess_is_zero_where_there_is_nothing() {
    for (images, least_bias) in [(20, 0.03), (100, 0.006), (1000, 0.0004)] {
        let nmi = test(images, 100, images as u64, |rng| map(0, rng))
            .nmi
            .unwrap();
        println!("{images} images: {nmi:?}");
        assert!(nmi.observed > least_bias, "{nmi:?}");
        assert!(nmi.low < 0.0 && nmi.high > 0.0, "{nmi:?}");
        assert!(
            nmi.null_mean > least_bias && nmi.z.unwrap().abs() < 3.0,
            "{nmi:?}"
        );
    }
}

#[test]
fn position_alone_is_everything() {
    let result = test(20, 100, 1, |rng| map(256, rng));
    let nmi = result.nmi.unwrap();
    // Five bands on 16 rows, two rows to a patch: on the grid, bands share patches. At pixels, NMI is 1.
    assert!(
        nmi.observed > 0.75 && nmi.z.unwrap() > 20.0 && nmi.low > 0.5,
        "{nmi:?}"
    );
    let mut tally = Tally::new(CLASSES, 0, GRID, PATCH);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    (0..20).for_each(|_| {
        tally
            .add(&map(256, &mut rng), None, Positions::All)
            .unwrap()
    });
    let pixels = tally.position_pixel();
    let plain = positional(pixels.to_shape((CLASSES, SIDE * SIDE)).unwrap().view());
    assert!((plain.nmi.unwrap() - 1.0).abs() < 1e-12);
    // Aligned with the grid it is 1 there too, and every class's part adds up.
    let aligned = test(20, 50, 1, |_| {
        (0..SIDE * SIDE)
            .map(|pixel| (pixel / SIDE / 4) as u8)
            .collect()
    });
    assert!((aligned.nmi.unwrap().observed - 1.0).abs() < 1e-12);
    let sum: f64 = aligned.class_mi.iter().map(|part| part.observed).sum();
    assert!((sum - aligned.mi.observed).abs() < 1e-12);
}

/// Coverage of the 95 % interval for the excess, and the excess's own bias, over 200 sets each. The true
/// value comes from a large sample.
#[test]
fn intervals_cover() {
    let cases = [
        (0, 20, 198),
        (0, 100, 196),
        (32, 40, 182),
        (64, 40, 170),
        (64, 200, 182),
        (160, 40, 174),
        (160, 200, 180),
    ];
    for (effect, images, least) in cases {
        let truth = test(6000, 20, 99, |rng| map(effect, rng)).mi.excess;
        let sets = 200;
        let (mut below, mut above, mut claims, mut sum, mut squares) = (0, 0, 0, 0.0, 0.0);
        for set in 0..sets {
            let mi = test(images, 60, 1000 + set, |rng| map(effect, rng)).mi;
            below += usize::from(truth < mi.low);
            above += usize::from(truth > mi.high);
            claims += usize::from(mi.low > 0.0);
            sum += mi.excess;
            squares += mi.excess * mi.excess;
        }
        let mean = sum / sets as f64;
        let error = ((squares / sets as f64 - mean * mean) / sets as f64).sqrt();
        println!(
            "effect {effect}/256, {images} images: truth {truth:.5}, mean excess {mean:.5} +- {error:.5}, \
             truth below {below}, above {above}, low > 0 in {claims} of {sets}"
        );
        assert!((mean - truth).abs() < 3.5 * error);
        assert!(sets as usize - below - above >= least);
        assert!(effect > 0 || claims <= 4);
    }
}

#[test]
fn order_shards_and_threads_do_not_matter() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let maps: Vec<Vec<u8>> = (0..70).map(|_| map(40, &mut rng)).collect();
    let mut tally = Tally::new(CLASSES, 0, GRID, PATCH);
    maps.iter()
        .for_each(|map| tally.add(map, None, Positions::All).unwrap());
    let observed = tally.position_grid();
    let fresh = || Resampling::new(CLASSES, GRID, PATCH, 70, 30, 8).unwrap();
    let mut plain = fresh();
    maps.iter()
        .enumerate()
        .for_each(|(index, map)| plain.add(index, map).unwrap());
    let plain = plain.finish(observed.view()).unwrap();

    let (mut first, mut second) = (fresh(), fresh());
    for (index, map) in maps.iter().enumerate().rev() {
        let shard = if index % 3 == 0 {
            &mut first
        } else {
            &mut second
        };
        shard.add(index, map).unwrap();
    }
    first.merge(second).unwrap();
    for threads in [1, 4] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let again = pool.install(|| first.clone().finish(observed.view()).unwrap());
        assert_eq!(again, plain);
    }
}

/// A replicate by hand: one image, so every bootstrap sample is that image, and every null map is a shift
/// of it, which leaves a map of one image with its own entropy.
#[test]
fn one_image_by_hand() {
    let result = test(1, 40, 3, |rng| map(0, rng));
    let mi = result.mi;
    assert!((mi.low - mi.excess).abs() < 1e-12 && (mi.high - mi.excess).abs() < 1e-12);
    assert!(mi.excess.abs() < 1e-12 && mi.z.is_none(), "{mi:?}");
    // One class only: NMI has no value, MI is 0.
    let constant = test(3, 10, 3, |_| vec![2; SIDE * SIDE]);
    assert_eq!(constant.nmi, None);
    assert_eq!(
        (constant.mi.observed, constant.mi.excess, constant.mi.z),
        (0.0, 0.0, None)
    );
    // Nothing but ignored pixels.
    assert_eq!(test(3, 10, 3, |_| vec![255; SIDE * SIDE]).nmi, None);
}

#[test]
fn bad_input_is_refused() {
    assert!(Resampling::new(3, GRID, PATCH, 5, 1, 0).is_err());
    assert!(Resampling::new(3, (0, 4), PATCH, 5, 10, 0).is_err());
    let mut resampling = Resampling::new(3, GRID, PATCH, 5, 10, 0).unwrap();
    assert!(resampling.add(5, &vec![0; SIDE * SIDE]).is_err());
    assert!(resampling.add(0, &vec![3; SIDE * SIDE]).is_err());
    assert!(resampling.add(0, &vec![0; SIDE * SIDE - 1]).is_err());
    assert!(
        resampling
            .clone()
            .merge(Resampling::new(3, GRID, PATCH, 5, 10, 1).unwrap())
            .is_err()
    );
    assert!(
        resampling
            .finish(ndarray::Array3::zeros((4, 8, 8)).view())
            .is_err()
    );
}
