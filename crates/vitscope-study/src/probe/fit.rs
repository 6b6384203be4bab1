//! The pass before the first: what transforms are fitted to, and the transforms (docs/protocol.md section 15).

use std::collections::BTreeMap;

use ndarray::{Array3, Axis, Slice};
use rayon::prelude::*;
use vitscope_data::Split;
use vitscope_probe::{Fitting, PlaceMoments, ProbeError, Transform};
use vitscope_run::Slot;
use vitscope_vit::facet::Taps;
use vitscope_vit::vit::Rows;

use crate::edits::Edits;
use crate::error::StudyError;
use crate::job::{Job, JobRun};
use crate::observer::{self, Observer};
use crate::record::Record;
use crate::settings::TransformFit;
use crate::source::{PassTimes, Seen, Source, Turn, Visitor, tapped_kind};
use crate::transforms::{self, FittedOn, SlotTransform, StoredTransforms};

/// Sums of the images of one list, for one reading of the pass.
struct Sum {
    sample: usize,
    reading: usize,
    sums: PlaceMoments,
}

/// Sums what transforms are fitted to.
struct Summer<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    sums: Vec<Sum>,
    /// Per list of images: the place of each in it.
    places: Vec<BTreeMap<usize, usize>>,
}

impl Visitor for Summer<'_> {
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        let host = rows.host()?;
        for sum in self.sums.iter_mut().filter(|sum| sum.reading == reading) {
            for (image, number) in seen.images.iter().enumerate() {
                let Some(place) = self.places[sum.sample].get(number) else {
                    continue;
                };
                let rows = host.slice_axis(Axis(0), Slice::from(image..=image));
                // The sums see this one image alone; the pass knows it by its place in the batch.
                let named = |error| match error {
                    ProbeError::NonFinite { .. } => ProbeError::NonFinite { image },
                    error => error,
                };
                sum.sums
                    .add(rows, &[place % 2])
                    .map_err(named)
                    .map_err(self.job.reading_error(reading))?;
            }
        }
        Ok(())
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        self.observer.advance(seen.images.len() as u64, None);
        self.job.stop(self.observer)
    }
}

/// The transforms of every run of a job: those that it has stored, those of the run that the user names, or
/// fitted ones. `learning` gives the training images again where they are kept on disk.
pub(crate) fn fit<'a>(
    job: &'a Job<'a>,
    source: &mut Source,
    learning: Option<&mut Source>,
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Edits<'a>, StudyError> {
    let mut found: Vec<Option<SlotTransform>> = job.probed.iter().map(|_| None).collect();
    if job.probed.iter().all(|probed| probed.edit.is_none()) {
        return Ok(Edits::new(job, Vec::new()));
    }
    for run in &job.runs {
        if run.settings.transform != Transform::None {
            take_stored(job, run, &mut found)?;
        }
    }
    let missing = |number: &usize| job.probed[*number].edit.is_some() && found[*number].is_none();
    let missing: Vec<usize> = (0..found.len()).filter(missing).collect();
    if !missing.is_empty() {
        let sums = sum(job, source, learning, &missing, records, observer)?;
        let blank = blank(job, source, &missing)?;
        for (number, fitted) in fit_all(job, &missing, &sums, &blank)? {
            found[number] = Some(fitted);
        }
    }
    for (run, record) in job.runs.iter().zip(records) {
        if run.settings.transform == Transform::None {
            continue;
        }
        let on = store(job, run, &found)?;
        record.notes.push(note(run, &on));
    }
    let fitted = found.into_iter().map(|one| one.map(|one| one.fitted));
    Ok(Edits::new(job, fitted.collect()))
}

/// What a transform was fitted on, in a sentence, with a word on what may be too much.
fn note(run: &JobRun, on: &FittedOn) -> String {
    let views = match on.fit {
        TransformFit::Train => "as they are",
        TransformFit::Neutral => "as they are, mirrored, upside down and turned",
    };
    let mut text = match &run.settings.transform_from {
        Some(run) => format!("The transform {} was taken from {run}.", on.transform),
        None => format!(
            "The transform {} was fitted on {} training images, {views}.",
            on.transform, on.images
        ),
    };
    let transform = run.settings.transform;
    let grid = (on.grid[0], on.grid[1]);
    let places = (grid.0 * grid.1).saturating_sub(1);
    if let (Some(rank), Transform::Svd(_) | Transform::Blank(_)) = (transform.rank(), transform)
        && 4 * rank > places
    {
        text += &format!(
            " It takes out {rank} directions, more than a quarter of the {places} that position can have: content may go with them."
        );
    }
    text
}

/// Takes up what an unfinished run has stored, or what the run holds that the user names.
fn take_stored(
    job: &Job<'_>,
    run: &JobRun,
    found: &mut [Option<SlotTransform>],
) -> Result<(), StudyError> {
    // Its own first: the run that it took them from may hold others by now.
    let own = StoredTransforms::open_unfinished(&run.root)?;
    let own = own.filter(|stored| stored.on.fingerprint == run.fingerprint);
    let mut stored = match (own, &run.settings.transform_from) {
        (Some(own), _) => own,
        (None, Some(run)) => StoredTransforms::of(run.as_ref())?,
        (None, None) => return Ok(()),
    };
    for &number in run.setup.readings() {
        if found[number].is_none() {
            let slot = job.slot_of(number);
            found[number] = Some(stored.slot(slot, job.probed_widths[number])?);
        }
    }
    Ok(())
}

/// Sums the vectors of every list of images that a transform is missing for.
fn sum(
    job: &Job<'_>,
    source: &mut Source,
    learning: Option<&mut Source>,
    missing: &[usize],
    records: &mut [Record],
    observer: &mut dyn Observer,
) -> Result<Vec<Sum>, StudyError> {
    let mut sums: Vec<Sum> = Vec::new();
    for &number in missing {
        let probed = job.probed[number];
        let Some(edit) = probed.edit else { continue };
        let same = |sum: &Sum| (sum.sample, sum.reading) == (edit.sample, probed.reading);
        if !sums.iter().any(same) {
            sums.push(Sum {
                sample: edit.sample,
                reading: probed.reading,
                sums: PlaceMoments::new(job.opened.patches(), job.widths[probed.reading]),
            });
        }
    }
    let neutral = job.common.transform_fit == TransformFit::Neutral;
    let turns = if neutral {
        &Turn::ALL[..]
    } else {
        &Turn::ALL[..1]
    };
    // Turned images are not on disk.
    let source = match learning {
        Some(learning) if !neutral => learning,
        _ => source,
    };
    let places = job
        .samples
        .iter()
        .map(|images| images.iter().copied().zip(0..).collect());
    let mut images: Vec<usize> = job.samples.concat();
    images.sort_unstable();
    images.dedup();
    let groups: Vec<Vec<usize>> = images
        .chunks(source.unit())
        .map(<[usize]>::to_vec)
        .collect();
    observer.begin(observer::FIT, 0, (images.len() * turns.len()) as u64);
    let mut summer = Summer {
        job,
        observer,
        sums,
        places: places.collect(),
    };
    for &turn in turns {
        let mut pass = job.pass(Split::Train, false, &groups);
        pass.turn = turn;
        let mut times = PassTimes::default();
        let ran = source.facets().run(&pass, &mut summer, &mut times);
        for record in &mut *records {
            times.note(record, "fit");
        }
        ran?;
    }
    let sums = summer.sums;
    observer.end();
    Ok(sums)
}

/// The vectors of a black image for every reading that needs them, `[1, N, D]`.
fn blank(
    job: &Job<'_>,
    source: &mut Source,
    missing: &[usize],
) -> Result<BTreeMap<usize, Array3<f32>>, StudyError> {
    let is_blank = |number: &&usize| {
        let edit = job.probed[**number].edit;
        edit.is_some_and(|edit| matches!(edit.transform, Transform::Blank(_)))
    };
    let numbers = missing.iter().filter(is_blank);
    let readings: Vec<usize> = numbers.map(|&number| job.probed[number].reading).collect();
    let mut blank = BTreeMap::new();
    let Source::Backbone(backbone) = source else {
        return Ok(blank);
    };
    if readings.is_empty() {
        return Ok(blank);
    }
    let depth = backbone.vit().config().depth;
    let tapped = |reading: usize| {
        let reading = &job.readings[reading];
        let kind = tapped_kind(reading.slot, depth, reading.token_norm, job.common.rope);
        (reading.slot.layer, kind)
    };
    let mut taps = Taps::new();
    for &reading in &readings {
        let (layer, kind) = tapped(reading);
        taps.add(layer, kind);
    }
    let black = vec![0_u8; 3 * job.opened.geometry.size.pow(2)];
    backbone.squares(&[&black], &taps, |shown| {
        if let Some((tensor, patches)) = shown.patches() {
            for &reading in readings.iter().filter(|&&r| tapped(r) == tensor) {
                blank.insert(reading, patches.host()?.to_owned());
            }
        }
        Ok(())
    })?;
    Ok(blank)
}

/// Fits every transform that is missing.
fn fit_all(
    job: &Job<'_>,
    missing: &[usize],
    sums: &[Sum],
    blank: &BTreeMap<usize, Array3<f32>>,
) -> Result<Vec<(usize, SlotTransform)>, StudyError> {
    let grid = (job.opened.grid[0], job.opened.grid[1]);
    let of_sum = |sum: &Sum| -> Result<Vec<(usize, SlotTransform)>, StudyError> {
        let failed = job.reading_error(sum.reading);
        let fitting = Fitting::new(&sum.sums, grid).map_err(&failed)?;
        let slot = job.readings[sum.reading].slot;
        let own = missing.iter().filter_map(|&number| {
            let probed = job.probed[number];
            let edit = probed.edit?;
            let same = (edit.sample, probed.reading) == (sum.sample, sum.reading);
            same.then_some((number, edit))
        });
        own.map(|(number, edit)| {
            let draw = (edit.seed.unwrap_or(0), stream(slot));
            let blank = blank.get(&sum.reading).map(|rows| rows.view());
            let fitted = fitting.fit(edit.transform, draw, blank).map_err(&failed)?;
            Ok((number, SlotTransform::new(&fitting, fitted)))
        })
        .collect()
    };
    let fitted: Result<Vec<_>, StudyError> = sums.par_iter().map(of_sum).collect();
    Ok(fitted?.concat())
}

/// The stream of random numbers of a slot: that of the same slot in every run.
fn stream(slot: Slot) -> u64 {
    4 * slot.layer as u64 + slot.facet as u64
}

/// Stores the transforms of a run beside its numbers.
fn store(
    job: &Job<'_>,
    run: &JobRun,
    found: &[Option<SlotTransform>],
) -> Result<FittedOn, StudyError> {
    let opened = job.opened;
    let from = run.settings.transform_from.as_ref();
    let from = from
        .map(|run| StoredTransforms::of(run.as_ref()))
        .transpose()?;
    let on = FittedOn {
        transform: run.settings.transform.to_string(),
        fit: from
            .as_ref()
            .map_or(run.settings.transform_fit, |from| from.on.fit),
        images: match &from {
            Some(from) => from.on.images,
            None => run.setup.protocol().start_images(run.setup.order()).len(),
        },
        model: opened.record.name.clone(),
        sha256: opened.record.sha256.clone(),
        read_as: Record::read_as(&opened.record.identity),
        source: opened.record.source.clone(),
        grid: opened.grid,
        size: opened.geometry.size,
        token_norm: run.settings.token_norm,
        rope: run.settings.rope,
        fingerprint: run.fingerprint.clone(),
    };
    let slots: Vec<(Slot, &SlotTransform)> = run
        .setup
        .readings()
        .iter()
        .filter_map(|&number| Some((job.slot_of(number), found[number].as_ref()?)))
        .collect();
    transforms::write(&run.root, &on, &slots)?;
    Ok(on)
}
