//! The pass behind `--artifacts`: what is odd about patch vectors as the model gives them, and about labels, on some
//! test images (docs/protocol.md section 17).
//!
//! All of it happens in the host's memory, from rows that a card gives back, so that a run has the same numbers there.

mod draws;

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView3, Axis};
use rayon::prelude::*;
use vitscope_data::Split;
use vitscope_measure::{
    ClassLikeness, Fragments, OutlierTexture, neighbor_cosine, neighbor_cosines, outlier_bound,
    patch_labels,
};
use vitscope_probe::{Fitting, Labeler, PlaceMoments, ProbeError, Transform};
use vitscope_run::{Facet, Measured, Subject};
use vitscope_vit::facet::TapKind;
use vitscope_vit::vit::Rows;

use self::draws::Draws;
use crate::edits::Edits;
use crate::error::StudyError;
use crate::inspected::{self, BINS, FoundOn, Inspected, NAMES, SubjectArtifacts, bin};
use crate::job::Job;
use crate::observer::{self, Observer};
use crate::record::Record;
use crate::settings::Side;
use crate::source::{PassTimes, Seen, Source, Visitor, tapped_kind};

/// Test images that are looked at, where there are as many.
const IMAGES: usize = 64;

/// The tensor that says how smooth the picture is at each patch.
const TEXTURE: (usize, TapKind) = (0, TapKind::Patch);

/// Length of a vector that the literature calls long in any model.
const LONG: f32 = 150.0;

/// Test images that are looked at: all of them, or so many that lie evenly over the list.
pub(crate) fn images(test: usize) -> Vec<usize> {
    let count = test.min(IMAGES);
    (0..count).map(|index| index * test / count).collect()
}

/// What is summed of a reading.
struct OfReading {
    /// The tensor whose rows these are, where a backbone gives them, and the one whose lengths count.
    tensors: Option<[(usize, TapKind); 2]>,
    /// Whether class tokens are looked at.
    has_class: bool,
    lengths: Vec<f32>,
    nearer: Vec<Option<f64>>,
    class: ClassLikeness,
    /// Absent where every run has a transform, whose fit says more.
    sums: Option<PlaceMoments>,
}

/// What the pass sums.
struct Summed<'a> {
    job: &'a Job<'a>,
    readings: Vec<OfReading>,
    /// Likeness of each patch to its neighbors where no block has seen it, image by image; nothing of features.
    texture: Vec<Vec<Option<f64>>>,
    /// Per run and slot; none of a run that has its numbers.
    fragments: Vec<Vec<Fragments>>,
    truth: Fragments,
}

struct Inspector<'a> {
    job: &'a Job<'a>,
    edits: &'a Edits<'a>,
    observer: &'a mut dyn Observer,
    /// Per run and slot; none of a run that has its numbers.
    labelers: Vec<Vec<Labeler>>,
    summed: Summed<'a>,
    passed: usize,
}

/// Rows and columns of patches.
fn grid(job: &Job<'_>) -> (usize, usize) {
    let [rows, columns] = job.opened.grid;
    (rows, columns)
}

impl Inspector<'_> {
    /// Counts the pieces of the labels that each run gives a reading.
    fn count(&mut self, reading: usize, rows: ArrayView3<'_, f32>) -> Result<(), StudyError> {
        let grid = grid(self.job);
        let runs = self.labelers.iter().zip(&mut self.summed.fragments);
        for (run, (labelers, fragments)) in self.job.runs.iter().zip(runs) {
            for (number, probed) in self.job.probed.iter().enumerate() {
                let slot = run.setup.slot(number);
                let Some(slot) = slot.filter(|_| probed.reading == reading) else {
                    continue;
                };
                let Some(labeler) = labelers.get(slot) else {
                    continue;
                };
                let failed = self.job.slot_error(number);
                let edited = self.edits.of(number).map(|fitted| fitted.apply(rows));
                let edited = edited.transpose().map_err(&failed)?;
                let rows = edited.as_ref().map_or(rows, |edited| edited.view());
                let mut labels = vec![0; rows.dim().0 * rows.dim().1];
                labeler.label_batch(rows, &mut labels).map_err(&failed)?;
                for labels in labels.chunks_exact(rows.dim().1) {
                    fragments[slot].add(labels, grid)?;
                }
            }
        }
        Ok(())
    }
}

/// The length of every vector, image by image.
fn lengths(rows: ArrayView3<'_, f32>) -> Vec<f32> {
    let square = |row: ndarray::ArrayView1<'_, f32>| -> f64 {
        row.iter().map(|&value| f64::from(value).powi(2)).sum()
    };
    let images = rows.outer_iter();
    images
        .flat_map(|image| {
            let rows = image.outer_iter();
            rows.map(|row| square(row).sqrt() as f32)
                .collect::<Vec<_>>()
        })
        .collect()
}

impl Visitor for Inspector<'_> {
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, _: &Seen) -> Result<(), StudyError> {
        let (grid, host) = (grid(self.job), rows.host()?);
        let failed = self.job.reading_error(reading);
        let broken = host
            .outer_iter()
            .position(|rows| !rows.iter().all(|v| v.is_finite()));
        if let Some(image) = broken {
            return Err(failed(ProbeError::NonFinite { image }));
        }
        let of = &mut self.summed.readings[reading];
        let nearer: Vec<Option<f64>> = (0..host.dim().0)
            .into_par_iter()
            .map(|image| neighbor_cosine(host.index_axis(Axis(0), image), grid))
            .collect();
        of.nearer.extend(nearer);
        if of.tensors.is_none() {
            of.lengths.extend(lengths(host.view()));
        }
        if let Some(sums) = &mut of.sums {
            let halves: Vec<usize> = (0..host.dim().0).map(|i| (self.passed + i) % 2).collect();
            sums.add(host.view(), &halves).map_err(failed)?;
        }
        self.count(reading, host.view())
    }

    fn also(&self) -> Vec<(usize, TapKind)> {
        let readings = self.summed.readings.iter();
        let readings = readings.filter_map(|of| of.tensors);
        std::iter::once(TEXTURE).chain(readings.flatten()).collect()
    }

    fn tapped(
        &mut self,
        tensor: (usize, TapKind),
        [prefix, patches]: [&Rows<'_>; 2],
    ) -> Result<(), StudyError> {
        if tensor == TEXTURE {
            let (grid, rows) = (grid(self.job), patches.host()?);
            let images = (0..rows.dim().0).into_par_iter();
            let cosines =
                images.map(|image| neighbor_cosines(rows.index_axis(Axis(0), image), grid));
            self.summed.texture.par_extend(cosines);
        }
        for of in &mut self.summed.readings {
            let Some([own, measured]) = of.tensors else {
                continue;
            };
            if measured == tensor {
                of.lengths.extend(lengths(patches.host()?.view()));
            }
            if own == tensor && of.has_class {
                let (prefix, patches) = (prefix.host()?, patches.host()?);
                for (prefix, patches) in prefix.outer_iter().zip(patches.outer_iter()) {
                    of.class.add(prefix.row(0), patches);
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        let grid = grid(self.job);
        let (rows, columns) = grid;
        let patch = self.job.opened.geometry.size / rows;
        let pixels = rows * columns * patch * patch;
        for labels in seen
            .truth
            .iter()
            .flat_map(|truth| truth.chunks_exact(pixels))
        {
            self.summed
                .truth
                .add(&patch_labels(labels, grid, patch)?, grid)?;
        }
        self.passed += seen.images.len();
        self.observer.advance(seen.images.len() as u64, None);
        self.job.stop(self.observer)
    }
}

/// Looks at test images and stores what is odd beside the numbers of each run that asks for it. A run that has stored it
/// before is left as it is; of shards, the first looks.
///
/// # Errors
/// From the data, the model and the disk.
pub(crate) fn inspect(
    job: &Job<'_>,
    source: &mut Source,
    edits: &Edits<'_>,
    codebooks: &[Vec<Array2<f32>>],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let other_shard = job.common.shard.is_some_and(|shard| shard.index > 1);
    let seen = images(job.test);
    if !job.common.artifacts || other_shard || seen.is_empty() {
        return Ok(());
    }
    let mut labelers = Vec::new();
    let side = grid(job);
    for (run, codebooks) in job.runs.iter().zip(codebooks) {
        let stored = Inspected::open(&run.root)?;
        let has = stored.is_some_and(|stored| stored.on.fingerprint == run.fingerprint);
        let codebooks = if has { &[] } else { &codebooks[..] };
        let of_run = codebooks.iter().zip(run.setup.readings());
        // With one pixel to a patch, the label of a pixel (protocol 5) is that of its patch.
        let of_run = of_run.map(|(codebook, &number)| {
            Labeler::new(codebook.view(), side, 1).map_err(job.slot_error(number))
        });
        labelers.push(of_run.collect::<Result<Vec<_>, _>>()?);
    }
    if labelers.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let groups: Vec<Vec<usize>> = seen.chunks(source.unit()).map(<[usize]>::to_vec).collect();
    observer.begin(observer::INSPECT, 0, seen.len() as u64);
    let fragments = labelers
        .iter()
        .map(|of| vec![Fragments::default(); of.len()]);
    let mut inspector = Inspector {
        job,
        edits,
        observer,
        summed: Summed {
            job,
            readings: readings(job, source),
            texture: Vec::new(),
            fragments: fragments.collect(),
            truth: Fragments::default(),
        },
        labelers,
        passed: 0,
    };
    let mut times = PassTimes::default();
    let pass = job.pass(Split::Test, job.data.has_truth(), &groups);
    let ran = source.facets().run(&pass, &mut inspector, &mut times);
    for record in records {
        times.note(record, "inspect");
    }
    ran?;
    inspector.observer.end();
    let summed = inspector.summed;
    let fits = summed.readings.par_iter().enumerate();
    let fits: Result<Vec<_>, StudyError> = fits
        .map(|(reading, of)| {
            let sums = of.sums.as_ref();
            let fitting = sums.map(|sums| Fitting::new(sums, side)).transpose();
            Ok(map_numbers(
                fitting.map_err(job.reading_error(reading))?.as_ref(),
            ))
        })
        .collect();
    summed.write(&fits?, seen.len())
}

/// What is summed of each reading of a job, with nothing summed yet.
fn readings(job: &Job<'_>, source: &Source) -> Vec<OfReading> {
    let plain = job
        .runs
        .iter()
        .any(|run| run.settings.transform == Transform::None);
    let readings = job.readings.iter().zip(&job.widths);
    let of = |(reading, &width): (&crate::source::Reading, &usize)| {
        let layer = reading.slot.layer;
        let config = match source {
            Source::Backbone(backbone) => Some(backbone.vit().config()),
            _ => None,
        };
        let tensors = config.map(|config| {
            let kind = |norm| tapped_kind(reading.slot, config.depth, norm, job.common.rope);
            [
                (layer, kind(reading.token_norm)),
                (layer, kind(Side::Before)),
            ]
        });
        OfReading {
            tensors,
            has_class: config.is_some_and(|config| config.class)
                && reading.slot.facet == Facet::Token,
            lengths: Vec::new(),
            nearer: Vec::new(),
            class: ClassLikeness::default(),
            sums: plain.then(|| PlaceMoments::new(job.opened.patches(), width)),
        }
    };
    readings.map(of).collect()
}

/// What sums at every place say, in the order of the last of [`NAMES`].
fn map_numbers(fitting: Option<&Fitting>) -> [Option<f64>; NAMES.len() - inspected::OF_FITS] {
    let shares = fitting.and_then(Fitting::map_shares);
    [
        fitting.and_then(Fitting::position_share),
        fitting.and_then(Fitting::position_r2),
        shares.map(|shares| shares.ramp),
        shares.map(|shares| shares.low),
        shares.map(|shares| shares.mid),
        shares.map(|shares| shares.high),
    ]
}

impl Summed<'_> {
    /// Stores the numbers of every run.
    fn write(
        &self,
        fits: &[[Option<f64>; NAMES.len() - inspected::OF_FITS]],
        images: usize,
    ) -> Result<(), StudyError> {
        let job = self.job;
        let runs = job.runs.iter().zip(&self.fragments);
        for (run, fragments) in runs.filter(|(_, fragments)| !fragments.is_empty()) {
            let draws = Draws::new(run, grid(job), images)?;
            let slots = run.setup.readings().par_iter().zip(fragments);
            let slots = slots.map(|(&number, fragments)| {
                let reading = job.probed[number].reading;
                // A run with a transform has these of its fit, and the same file whatever is made together with it.
                let fit = &fits[reading][..];
                let fit = if run.settings.transform == Transform::None {
                    fit
                } else {
                    &[]
                };
                let found = self.found(reading, fragments, fit, &draws)?;
                Ok((Subject::Slot(job.slot_of(number)), found))
            });
            let mut all = slots.collect::<Result<Vec<_>, StudyError>>()?;
            if job.data.has_truth() {
                let numbers = told(&pieces(&self.truth, &draws));
                let found = SubjectArtifacts {
                    numbers,
                    lengths: Vec::new(),
                    outliers: Vec::new(),
                };
                all.push((Subject::GroundTruth, found));
            }
            let on = FoundOn {
                images,
                grid: job.opened.grid,
                fingerprint: run.fingerprint.clone(),
            };
            inspected::write(&run.root, &on, &all)?;
        }
        Ok(())
    }

    fn found(
        &self,
        reading: usize,
        fragments: &Fragments,
        fit: &[Option<f64>],
        draws: &Draws,
    ) -> Result<SubjectArtifacts, StudyError> {
        let of = &self.readings[reading];
        let grid = grid(self.job);
        let places = grid.0 * grid.1;
        let mut outliers = vec![0_u32; places];
        let mut numbers = pieces(fragments, draws);
        let norm_hidden = self.hides_lengths(reading);
        if let Some(bound) = outlier_bound(&of.lengths).filter(|_| !norm_hidden) {
            let is_out = |length: &f32| f64::from(*length) > bound;
            for image in of.lengths.chunks_exact(places) {
                for (count, length) in outliers.iter_mut().zip(image) {
                    *count += u32::from(is_out(length));
                }
            }
            let share = |is: &dyn Fn(&f32) -> bool| {
                of.lengths.iter().filter(|length| is(length)).count() as f64
                    / of.lengths.len() as f64
            };
            numbers.insert("outlier_share", plain(Some(share(&is_out))));
            numbers.insert("outlier_150", plain(Some(share(&|&length| length > LONG))));
            let place = draws.place(&of.lengths, is_out, &outliers, grid)?;
            numbers.insert("outlier_place", place);
            let mut texture = OutlierTexture::default();
            let images = of.lengths.chunks_exact(places);
            for (cosines, lengths) in self.texture.iter().zip(images) {
                let flags: Vec<bool> = lengths.iter().map(is_out).collect();
                texture.add(cosines, &flags);
            }
            numbers.insert("outlier_texture", draws.mean(&texture.per_image()));
            numbers.insert("outlier_texture_z", plain(texture.z()));
        }
        numbers.insert("neighbor_cosine", draws.mean(&of.nearer));
        let own: Vec<Option<f64>> = of.class.own().into_iter().map(Some).collect();
        numbers.insert("class_cosine", draws.mean(&own));
        numbers.insert("class_cosine_null", plain(of.class.of_others()));
        for (name, value) in NAMES[inspected::OF_FITS..].iter().zip(fit) {
            numbers.insert(name, plain(*value));
        }
        let mut histogram = vec![0_i64; BINS];
        for &length in of.lengths.iter().filter(|_| !norm_hidden) {
            histogram[bin(length)] += 1;
        }
        Ok(SubjectArtifacts {
            numbers: told(&numbers),
            lengths: histogram,
            outliers,
        })
    }

    /// Whether lengths are of vectors after the final norm, which makes them alike: features of the last token.
    fn hides_lengths(&self, reading: usize) -> bool {
        let (of, reading) = (&self.readings[reading], &self.job.readings[reading]);
        of.tensors.is_none()
            && reading.slot.facet == Facet::Token
            && reading.slot.layer == self.job.opened.record.depth
            && reading.token_norm == Side::After
    }
}

type NumbersByName = BTreeMap<&'static str, Measured>;

fn plain(value: Option<f64>) -> Measured {
    Measured {
        value,
        interval: None,
    }
}

/// All numbers in the order of the file.
fn told(numbers: &NumbersByName) -> [Measured; NAMES.len()] {
    NAMES.map(|name| numbers.get(name).copied().unwrap_or_default())
}

/// What the pieces of labels say.
fn pieces(fragments: &Fragments, draws: &Draws) -> NumbersByName {
    let per_image: Vec<Option<f64>> = fragments.per_image().into_iter().map(Some).collect();
    NumbersByName::from([
        ("fragments", draws.mean(&per_image)),
        ("fragment_single", plain(fragments.single_share())),
        ("alike_share", plain(fragments.alike_share())),
        ("alike_null", plain(fragments.alike_null())),
        ("alike_z", plain(fragments.alike_z())),
    ])
}

#[cfg(test)]
mod tests {
    use super::images;

    #[test]
    fn images_lie_evenly_over_the_list() {
        assert_eq!(images(3), [0, 1, 2]);
        let many = images(1000);
        assert_eq!((many.len(), many[0], many[63]), (64, 0, 984));
        assert!(images(0).is_empty());
    }
}
