//! The stages on a GPU against those on the CPU, whose own tests hold them against PyTorch and NumPy.
//!
//! Without a GPU and without `tools/cuda_standin` the tests say that they were not run, unless
//! `VITSCOPE_CUDA_TESTS=required`.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "a test may stop at the first error")]

mod correspond;

use std::sync::Arc;

use ndarray::{Array2, Array3, Axis, s};
use vitscope_cuda::{Buffer, Element, Factors, RowsView};
use vitscope_measure::{Positions, QualityResampling, Resampling, ResamplingPlan, Tally};
use vitscope_probe::cuda::{
    CardCounts, Cluster, CountScratch, CountShape, DeviceLabeler, DeviceMoments, DeviceTrainers,
    Gpu, StageScratch,
};
use vitscope_probe::{
    AdamSettings, Labeler, Moments, ProbeError, Reservoir, SoftSums, Trainer, initial_centroids,
    plain_labels,
};
use vitscope_testkit::lcg::{Lcg, features};

/// The card, or a sentence in its place.
fn card() -> Option<Arc<Cluster>> {
    match Gpu::open() {
        Ok(gpu) => Some(Cluster::new(&gpu).unwrap()),
        Err(error) => {
            let required =
                std::env::var("VITSCOPE_CUDA_TESTS").is_ok_and(|word| word == "required");
            assert!(!required, "{error}");
            vitscope_testkit::left_out("probes on a GPU", &error.to_string());
            None
        }
    }
}

/// Rows on the card inside a wider array, as keys lie between queries and values.
struct Lying {
    buffer: Buffer<f32>,
    shape: [usize; 3],
}

impl Lying {
    fn new(gpu: &Gpu, rows: &Array3<f32>) -> Self {
        let (images, patches, width) = rows.dim();
        let mut wide = Array3::from_elem((images, patches + 1, 3 * width), f32::NAN);
        wide.slice_mut(s![.., 1.., width..2 * width]).assign(rows);
        let values = wide.as_slice().unwrap();
        Self {
            buffer: Buffer::upload(gpu, values).unwrap(),
            shape: [images, patches, width],
        }
    }

    fn view<'a>(&'a self, gpu: &'a Arc<Gpu>) -> RowsView<'a> {
        let [_, patches, width] = self.shape;
        let strides = [(patches + 1) * 3 * width, 3 * width];
        RowsView::new(gpu, &self.buffer, 4 * width, self.shape, strides)
    }
}

fn worst(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

/// Steps of three images in two calls; half way each trainer goes on from the other's state.
#[test]
fn training_goes_on_on_either_device() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let mut rng = Lcg(1);
    let mut x = features(&mut rng, (16, 25, 24), 9, 0.25);
    // A vector of zeros counts, and contributes nothing else.
    x.slice_mut(s![3, 7, ..]).fill(0.0);
    let start = rng.matrix(7, 24).mapv(f64::from);
    let adam = AdamSettings::default();
    let mut host = Trainer::new(start, adam).unwrap();
    let mut device = DeviceTrainers::from_states(&cluster, &[host.to_state()], adam).unwrap();
    let mut scratch = StageScratch::new(gpu).unwrap();
    let mut losses = 0.0_f64;
    for step in 0..60 {
        for images in [vec![step % 16], vec![(step + 5) % 16, (step + 9) % 16]] {
            let rows = x.select(Axis(0), &images);
            host.add(rows.view()).unwrap();
            let lying = Lying::new(gpu, &rows);
            device.add(&[(0, lying.view(gpu))], &mut scratch).unwrap();
        }
        losses = losses.max((host.finish_step() - device.finish_step().unwrap()[0]).abs());
        if step == 29 {
            let (on_host, on_device) = (host.to_state(), device.to_states().unwrap().remove(0));
            assert!(worst(&on_host.values, &on_device.values) < 1e-6);
            host = Trainer::from_state(&on_device, adam).unwrap();
            device = DeviceTrainers::from_states(&cluster, &[on_host], adam).unwrap();
        }
    }
    let (on_host, on_device) = (host.to_state(), device.to_states().unwrap().remove(0));
    assert_eq!(on_host.steps, on_device.steps);
    let off = worst(&on_host.values, &on_device.values);
    println!("parameters off by at most {off:.1e}, losses by {losses:.1e}");
    assert!(off < 1e-6 && losses < 1e-7);
}

#[test]
fn a_step_does_not_depend_on_how_it_is_split() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let mut rng = Lcg(4);
    let x = features(&mut rng, (6, 25, 24), 9, 0.25);
    let start = Trainer::new(rng.matrix(7, 24).mapv(f64::from), AdamSettings::default()).unwrap();
    let mut scratch = StageScratch::new(gpu).unwrap();
    let mut states = Vec::new();
    for split in [&[6][..], &[1, 5], &[2, 2, 2]] {
        let adam = AdamSettings::default();
        let mut trainer = DeviceTrainers::from_states(&cluster, &[start.to_state()], adam).unwrap();
        let mut first = 0;
        for &count in split {
            let part = x.slice(s![first..first + count, .., ..]).to_owned();
            let lying = Lying::new(gpu, &part);
            trainer.add(&[(0, lying.view(gpu))], &mut scratch).unwrap();
            first += count;
        }
        trainer.finish_step().unwrap();
        states.push(trainer.to_states().unwrap());
    }
    assert!(states.iter().all(|state| *state == states[0]));
}

/// Queries, keys and values of a layer, a fourth array that lies otherwise, and two more that lie like the first: together
/// they end in the bytes of each alone, and one that is not fit for use keeps all from the step.
#[test]
fn slots_together_are_slots_apart() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let adam = AdamSettings::default();
    let (images, patches, width, clusters) = (3, 70, 40, 37);
    let mut rng = Lcg(8);
    let mut all = features(&mut rng, (images, patches, 3 * width), 9, 0.25);
    let plain = features(&mut rng, (images, patches, width), 9, 0.25);
    let starts: Vec<Trainer> = (0..6)
        .map(|_| Trainer::new(rng.matrix(clusters, width).mapv(f64::from), adam).unwrap())
        .collect();
    let states: Vec<_> = starts.iter().map(Trainer::to_state).collect();
    let mut scratch = StageScratch::new(gpu).unwrap();
    // In another order than that of the slots.
    let slots = [4, 0, 5, 2, 1, 3];
    let train = |all: &Array3<f32>, scratch: &mut StageScratch| {
        let packed = Buffer::upload(gpu, all.as_slice().unwrap()).unwrap();
        let alone = Buffer::upload(gpu, plain.as_slice().unwrap()).unwrap();
        let shape = [images, patches, width];
        let view = |part: usize| match part {
            3 => RowsView::new(gpu, &alone, 0, shape, [patches * width, width]),
            _ => {
                let strides = [patches * 3 * width, 3 * width];
                RowsView::new(gpu, &packed, part % 3 * width, shape, strides)
            }
        };
        let rows: Vec<_> = (0..6).map(|part| (slots[part], view(part))).collect();
        let mut together = DeviceTrainers::from_states(&cluster, &states, adam).unwrap();
        let mut apart: Vec<DeviceTrainers> = states
            .iter()
            .map(|state| {
                DeviceTrainers::from_states(&cluster, std::slice::from_ref(state), adam).unwrap()
            })
            .collect();
        let mut losses = Vec::new();
        for _ in 0..4 {
            together.add(&rows, scratch).unwrap();
            losses.push(together.finish_step());
            let mut own = vec![f64::NAN; 6];
            for &(slot, view) in &rows {
                apart[slot].add(&[(0, view)], scratch).unwrap();
                own[slot] = apart[slot].finish_step().map_or(f64::NAN, |loss| loss[0]);
            }
            if let Some(Ok(together)) = losses.last() {
                assert_eq!(*together, own);
            }
        }
        let apart = apart.iter().map(|one| one.to_states().unwrap().remove(0));
        (losses, together.to_states().unwrap(), apart.collect())
    };
    let (losses, together, apart): (Vec<_>, _, Vec<_>) = train(&all, &mut scratch);
    assert!(losses.iter().all(Result::is_ok));
    assert!(together == apart && together[0].steps == 4);
    // The values of the second image: parts 2 and 5, of whose slots the lower is told.
    all[(1, 3, 2 * width + 5)] = f32::NAN;
    let (losses, together, _) = train(&all, &mut scratch);
    let refused = Err((3, ProbeError::NonFinite { image: 1 }));
    assert!(losses.iter().all(|step| *step == refused));
    assert!(together == states);
}

#[test]
fn values_that_are_not_finite_name_their_image() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let mut rng = Lcg(5);
    let good = features(&mut rng, (3, 9, 8), 4, 0.25);
    let mut bad = good.clone();
    bad[(2, 4, 1)] = f32::INFINITY;
    bad[(1, 8, 7)] = f32::NAN;
    let (good, bad) = (Lying::new(gpu, &good), Lying::new(gpu, &bad));
    let mut scratch = StageScratch::new(gpu).unwrap();

    let start = Trainer::new(rng.matrix(3, 8).mapv(f64::from), AdamSettings::default()).unwrap();
    let adam = AdamSettings::default();
    let mut trainer = DeviceTrainers::from_states(&cluster, &[start.to_state()], adam).unwrap();
    assert!(trainer.finish_step().unwrap()[0].is_nan());
    for rows in [&good, &bad] {
        trainer.add(&[(0, rows.view(gpu))], &mut scratch).unwrap();
    }
    // The second image of the second call.
    assert_eq!(
        trainer.finish_step(),
        Err((0, ProbeError::NonFinite { image: 4 }))
    );
    assert_eq!(trainer.to_states().unwrap(), [start.to_state()]);
    trainer.add(&[(0, good.view(gpu))], &mut scratch).unwrap();
    assert!(trainer.finish_step().unwrap()[0].is_finite());

    let mut moments = DeviceMoments::new(&cluster, 8).unwrap();
    moments
        .add(&good.view(gpu), &[1, 0, 2], &mut scratch)
        .unwrap();
    moments
        .add(&bad.view(gpu), &[1, 0, 1], &mut scratch)
        .unwrap();
    let refused = moments.to_moments().err();
    assert_eq!(refused, Some(ProbeError::NonFinite { image: 5 }));

    let labeler = DeviceLabeler::new(&cluster, Array2::ones((3, 8)).view(), (3, 3), 4).unwrap();
    let refused = labeler.label_batch(&bad.view(gpu), &mut scratch, &mut [0; 3 * 144]);
    assert_eq!(refused, Err(ProbeError::NonFinite { image: 1 }));
}

/// Tokens with a mean far from zero, of a weighted set, in calls of one image and of several.
#[test]
fn principal_directions_and_first_centroids() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let x = features(&mut Lcg(2), (12, 25, 300), 9, 0.25) + 3.0;
    let weights = [1, 2, 1, 0, 3, 1, 1, 1, 2, 1, 1, 1];
    let mut host = Moments::new(300);
    let mut device = DeviceMoments::new(&cluster, 300).unwrap();
    let mut scratch = StageScratch::new(gpu).unwrap();
    let mut kept = [Reservoir::new(40, 300, 7), Reservoir::new(40, 300, 7)];
    let mut on_card = Buffer::new(gpu, 40 * 300).unwrap();
    for range in [0..1, 1..2, 2..7, 7..12] {
        let rows = x.slice(s![range.clone(), .., ..]).to_owned();
        let weights = &weights[range];
        host.add(rows.view(), weights).unwrap();
        kept[0].add(rows.view(), weights).unwrap();
        let lying = Lying::new(gpu, &rows);
        device.add(&lying.view(gpu), weights, &mut scratch).unwrap();
        kept[1]
            .add_device(&lying.view(gpu), weights, &cluster, &mut on_card)
            .unwrap();
    }
    kept[1].fill(&on_card, gpu).unwrap();
    let device = device.to_moments().unwrap();
    assert_eq!(device.count(), host.count());
    assert!(kept[0].rows().eq(kept[1].rows()));
    let (ours, theirs) = (host.to_state(), device.to_state());
    let largest = ours.values.iter().fold(0.0_f64, |top, v| top.max(v.abs()));
    let off = worst(&ours.values, &theirs.values) / largest;
    // The sums of unit vectors come last; they are small beside the others.
    let units = ours.values.len() - 300;
    let units = worst(&ours.values[units..], &theirs.values[units..]);
    assert!(units < 1e-10, "{units}");
    let host = initial_centroids(&host.principal().unwrap(), 9, &kept[0], 0).unwrap();
    let device = initial_centroids(&device.principal().unwrap(), 9, &kept[1], 0).unwrap();
    let directions = (&host - &device)
        .mapv(f64::abs)
        .fold(0.0, |a: f64, b| a.max(*b));
    println!("sums off by at most {off:.1e} of the largest, directions by {directions:.1e}");
    assert!(off < 1e-6 && directions < 1e-5, "{off} {directions}");
}

/// Small whole numbers, whose products are exact whatever the order: every label is the plain method's.
/// Many scores are tied.
#[test]
fn labels_are_those_of_the_plain_method() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let mut scratch = StageScratch::new(gpu).unwrap();
    for (rows, cols, patch, clusters) in
        [(6, 5, 8, 7), (5, 6, 14, 97), (4, 5, 16, 255), (1, 3, 7, 1)]
    {
        let (n, d) = (rows * cols, 12);
        let whole =
            |a: usize, b: usize, c: usize| ((a * 7 + b * 5 + c * 3 + b * c) % 9) as f32 - 4.0;
        let x = Array3::from_shape_fn((2, n, d), |(b, n, d)| whole(b, n, d));
        let book = Array2::from_shape_fn((clusters, d), |(k, d)| whole(3, k % 50, d));
        let labeler = DeviceLabeler::new(&cluster, book.view(), (rows, cols), patch).unwrap();
        let mut labels = vec![255; 2 * n * patch * patch];
        let lying = Lying::new(gpu, &x);
        labeler
            .label_batch(&lying.view(gpu), &mut scratch, &mut labels)
            .unwrap();
        for (image, labels) in x.outer_iter().zip(labels.chunks(n * patch * patch)) {
            let scores = image.dot(&book.t());
            let plain = plain_labels(scores.view(), (rows, cols), patch).unwrap();
            assert!(plain == labels, "grid {rows} x {cols}, patch {patch}");
        }
        // From equal scores, probabilities differ by what exponentials are rounded by.
        let host = Labeler::new(book.view(), (rows, cols), patch).unwrap();
        let mut theirs = SoftSums::new(10, n, clusters);
        host.label_batch_soft(x.view(), &mut labels, &mut theirs)
            .unwrap();
        let mut sums = Buffer::zeros(gpu, n * clusters).unwrap();
        labeler
            .soften_on_card(&lying.view(gpu), 10, &mut scratch, &mut sums)
            .unwrap();
        let ours = sums.download(gpu).unwrap();
        for (ours, theirs) in ours.iter().zip(theirs.sums()) {
            assert!(ours.abs_diff(*theirs) <= 4, "{ours} {theirs} of 2^40");
        }
    }
}

#[test]
fn huge_vectors_are_labeled_all_the_same() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let x = features(&mut Lcg(3), (2, 30, 12), 9, 0.0) * 2.0_f32.powi(120);
    let book = Lcg(8).matrix(5, 12);
    let mut scratch = StageScratch::new(gpu).unwrap();
    let device = DeviceLabeler::new(&cluster, book.view(), (5, 6), 8).unwrap();
    let host = Labeler::new(book.view(), (5, 6), 8).unwrap();
    let (mut ours, mut theirs) = (vec![0; 2 * 30 * 64], vec![1; 2 * 30 * 64]);
    let lying = Lying::new(gpu, &x);
    device
        .label_batch(&lying.view(gpu), &mut scratch, &mut ours)
        .unwrap();
    host.label_batch(x.view(), &mut theirs).unwrap();
    assert_eq!(ours, theirs);
}

/// Rows of 16 bits are the same rows in f32: numbers that both hold, so that nothing is rounded.
#[test]
fn rows_of_sixteen_bits_are_rows() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let adam = AdamSettings::default();
    let (images, patches, width) = (2, 70, 40);
    let values: Vec<f32> = (0..images * patches * width)
        .map(|i| ((i * 37 + i / 9) % 31) as f32 * 0.25 - 3.5)
        .collect();
    let start = Trainer::new(Lcg(4).matrix(37, width).mapv(f64::from), adam).unwrap();
    let mut scratch = StageScratch::new(gpu).unwrap();
    let shape = [images, patches, width];
    let mut outcomes = Vec::new();
    for element in [Element::F32, Element::Bf16, Element::F16] {
        let factors = Factors::upload(gpu, element, &values).unwrap();
        let rows = RowsView::factors(gpu, &factors, 0, shape, [patches * width, width]);
        assert_eq!(rows.download().unwrap(), values);
        let mut trainer = DeviceTrainers::from_states(&cluster, &[start.to_state()], adam).unwrap();
        trainer.add(&[(0, rows)], &mut scratch).unwrap();
        let loss = trainer.finish_step().unwrap()[0];
        let mut moments = DeviceMoments::new(&cluster, width).unwrap();
        moments.add(&rows, &[1, 3], &mut scratch).unwrap();
        let codebook = start.codebook();
        let labeler = DeviceLabeler::new(&cluster, codebook.view(), (7, 10), 4).unwrap();
        let mut labels = vec![255; images * patches * 16];
        labeler
            .label_batch(&rows, &mut scratch, &mut labels)
            .unwrap();
        outcomes.push((
            loss.to_bits(),
            trainer.to_states().unwrap(),
            moments.to_moments().unwrap().to_state(),
            labels,
        ));
    }
    assert!(outcomes[0] == outcomes[1] && outcomes[0] == outcomes[2]);
}

/// Every count of the card is the host's: confusion and positions, at all pixels and at labeled ones,
/// replicates under shifts and of the bootstrap, in shared memory and beside it, in several batches.
#[test]
fn counts_are_those_of_the_host() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let cases = [
        ([3, 5], 4, 7, 5, 11),
        ([4, 3], 14, 97, 60, 3),
        ([70, 60], 2, 3, 2, 4),
        ([6, 6], 8, 27, 0, 9),
    ];
    for (grid, patch, clusters, classes, replicates) in cases {
        let (images, pixels) = (5, grid[0] * grid[1] * patch * patch);
        // Runs of one label, as pictures have them; some pixels have no class.
        let labels: Vec<u8> = (0..images * pixels)
            .map(|i| ((i / 5 * 7 + i / pixels * 3 + i / 97) % clusters) as u8)
            .collect();
        let truth: Vec<u8> = (0..images * pixels)
            .map(|i| match i / 11 % 6 {
                0 => 255,
                _ => (i / 13 % classes.max(1)) as u8,
            })
            .collect();
        for labeled in [false, true] {
            let sides = (grid[0], grid[1]);
            let plan = ResamplingPlan::new(sides, images, replicates, 3).unwrap();
            let mut tally = Tally::new(clusters, classes, sides, patch);
            let mut resampling =
                Resampling::new(clusters, sides, patch, images, replicates, 3).unwrap();
            let plan = Arc::new(plan);
            let mut quality = QualityResampling::new(clusters, classes, Arc::clone(&plan));
            let shape = CountShape {
                clusters,
                classes,
                grid,
                patch,
                replicates,
            };
            let mut counts = CardCounts::new(gpu, shape).unwrap();
            let mut scratch = CountScratch::new(gpu).unwrap();
            let positions = match labeled {
                true => Positions::Labeled,
                false => Positions::All,
            };
            for batch in [0..2, 2..5] {
                let part = batch.start * pixels..batch.end * pixels;
                let (labels, truth) = (&labels[part.clone()], &truth[part]);
                tally.add(labels, Some(truth), positions).unwrap();
                let mut shifts = Vec::new();
                let mut draws = Vec::new();
                for (place, image) in batch.clone().enumerate() {
                    let here = place * pixels..(place + 1) * pixels;
                    if classes > 0 {
                        let of_image = (&labels[here.clone()], &truth[here.clone()]);
                        quality.add(image, of_image.0, of_image.1).unwrap();
                    }
                    let pairs = labels[here.clone()].iter().zip(&truth[here]);
                    let seen: Vec<u8> = pairs
                        .map(|(&label, &class)| match labeled && class == 255 {
                            true => 255,
                            false => label,
                        })
                        .collect();
                    resampling.add(image, &seen).unwrap();
                    let of_image = plan.shifts(image);
                    shifts.extend(of_image.iter().map(|&(y, x)| [y as i32, x as i32]));
                    draws.extend(plan.draws(image).iter().map(|&n| i32::from(n)));
                }
                scratch.see(gpu, grid, &shifts, &draws).unwrap();
                let labels = Buffer::upload(gpu, labels).unwrap();
                let truth = Buffer::upload(gpu, truth).unwrap();
                let of_batch = (batch.len(), labeled);
                cluster
                    .count(&labels, Some(&truth), of_batch, &mut counts, &mut scratch)
                    .unwrap();
            }
            let ours = counts.take(gpu).unwrap();
            let parts = tally.to_parts();
            let confusion: Vec<i64> = ours.confusion.iter().map(|&n| n as i64).collect();
            assert_eq!(confusion, parts.confusion, "{grid:?} {labeled}");
            assert_eq!(ours.positions, parts.positions, "{grid:?} {labeled}");
            let [shifted, drawn] = resampling.parts();
            assert_eq!(ours.shifted, shifted, "{grid:?} {labeled}");
            assert_eq!(ours.drawn, drawn, "{grid:?} {labeled}");
            assert_eq!(ours.drawn_confusion, quality.sums(), "{grid:?} {labeled}");
            let after = counts.take(gpu).unwrap();
            assert!(after.positions.iter().all(|&count| count == 0));
        }
    }
}
