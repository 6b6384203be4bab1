//! The match of every keypoint, category by category.

use std::time::Instant;

use rayon::prelude::*;
use safetensors::tensor::Dtype;
use vitscope_data::pairs::{CATEGORIES, Pair};
use vitscope_probe::{Search, TargetImage, View};
use vitscope_run::tensors::Lazy;
use vitscope_run::{Record, Slot};

use super::photos::{Photo, PhotoEmbeddings, PhotoJob, Times, photos, rows_of, run_photos};
use crate::error::StudyError;
use crate::observer::{self, Observer};
use crate::source::{Backbone, MICRO_BATCH};
use crate::state::{self, SAVE_INTERVAL, StoredState};

/// The match of every keypoint, `[slots][points]`, as column and row.
pub(super) type Matches = Vec<Vec<[u16; 2]>>;

/// What the work is called while it is unfinished.
const UNFINISHED: &str = "matches";

/// Stores the matches of the categories that are done.
fn store(job: &PhotoJob<'_>, matches: &Matches, done: usize) -> Result<(), StudyError> {
    let shape = vec![matches.len(), matches.first().map_or(0, Vec::len), 2];
    let of_slots = matches.iter().flat_map(|of_slot| of_slot.as_flattened());
    let bytes: Vec<u8> = of_slots.flat_map(|place| place.to_le_bytes()).collect();
    let tensors = vec![(UNFINISHED.to_owned(), Lazy::of(Dtype::U16, shape, bytes))];
    let origin = job.fingerprint.as_str().into();
    state::store_lazily(job.run, UNFINISHED, origin, done, tensors)
}

/// Stored matches with the number of categories that are done, if there are any.
pub(super) fn restore(
    job: &PhotoJob<'_>,
    points: usize,
) -> Result<Option<(Matches, usize)>, StudyError> {
    let Some(mut found) = StoredState::of(job.run, UNFINISHED, job.fingerprint.as_str().into())?
    else {
        return Ok(None);
    };
    let stored = found.tensor(UNFINISHED)?;
    let shape = [job.opened.slots.len(), points, 2];
    let of_this_run = stored.dtype == Dtype::U16 && stored.shape == shape;
    if !of_this_run || found.done() > CATEGORIES.len() {
        return Err(found.damaged("it is not of this run's slots and keypoints"));
    }
    let (places, _) = stored.bytes.as_chunks::<4>();
    let place = |b: &[u8; 4]| {
        [
            u16::from_le_bytes([b[0], b[1]]),
            u16::from_le_bytes([b[2], b[3]]),
        ]
    };
    let of_slot = |places: &[[u8; 4]]| places.iter().map(place).collect();
    Ok(Some((
        places.chunks(points).map(of_slot).collect(),
        found.done(),
    )))
}

/// Finds the match of every keypoint, category by category.
pub(super) fn search(
    job: &PhotoJob<'_>,
    backbone: &mut Backbone,
    (pairs, points): (&[Pair], usize),
    begun: Option<(Matches, usize)>,
    record: &mut Record,
    observer: &mut dyn Observer,
) -> Result<Matches, StudyError> {
    let start = Instant::now();
    let nothing = || (vec![vec![[0; 2]; points]; job.opened.slots.len()], 0);
    let (mut matches, done) = begun.unwrap_or_else(nothing);
    let mut of_category: Vec<Vec<(&Pair, usize)>> = vec![Vec::new(); CATEGORIES.len()];
    let mut first = 0;
    for pair in pairs {
        of_category[pair.category].push((pair, first));
        first += pair.target.points.len();
    }
    let categories: Vec<Vec<Photo>> = of_category.iter().map(|pairs| photos(pairs)).collect();
    let targets = |photos: &Vec<Photo>| photos.iter().filter(|p| !p.wanted.is_empty()).count();
    let total = |of: &[Vec<Photo>]| of.iter().map(targets).sum::<usize>() as u64;
    observer.begin(
        observer::CORRESPOND,
        total(&categories[..done]),
        total(&categories),
    );
    let mut times = Times::default();
    let mut saved = Instant::now();
    let mut searched = Ok(());
    for (number, photos) in categories.iter().enumerate().skip(done) {
        searched = search_category(job, backbone, photos, &mut matches, &mut times, observer);
        match &searched {
            Ok(()) if saved.elapsed() > SAVE_INTERVAL => {
                store(job, &matches, number + 1)?;
                saved = Instant::now();
            }
            Ok(()) => {}
            // What was found of this category is found again.
            Err(StudyError::Interrupted { .. }) => {
                store(job, &matches, number)?;
                break;
            }
            Err(_) => break,
        }
    }
    for (name, value) in [
        ("correspond_secs", start.elapsed().as_secs_f64()),
        ("correspond_load_secs", times.load.as_secs_f64()),
        ("correspond_forward_secs", times.forward.as_secs_f64()),
        ("correspond_match_secs", times.matching.as_secs_f64()),
        ("correspond_images", times.forwards as f64),
    ] {
        *record.times.entry(name.to_owned()).or_insert(0.0) += value;
    }
    searched?;
    let count = pairs.len() as f64;
    record.times.insert("correspond_pairs".to_owned(), count);
    observer.end();
    Ok(matches)
}

fn search_category(
    job: &PhotoJob<'_>,
    backbone: &mut Backbone,
    photos: &[Photo],
    matches: &mut [Vec<[u16; 2]>],
    times: &mut Times,
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let patches: usize = job.opened.grid.iter().product();
    let of_photo = patches * job.opened.widths.iter().sum::<usize>() * size_of::<f32>();
    let mut room = job.settings.memory / of_photo.max(1);
    // Embeddings at the keypoints, per photograph and slot, `[points, D]`.
    let mut sources: Vec<Vec<Vec<f64>>> = Vec::with_capacity(photos.len());
    let mut held: Vec<(usize, View, PhotoEmbeddings)> = Vec::new();
    let mut left: Vec<usize> = Vec::new();
    let all: Vec<usize> = (0..photos.len()).collect();
    for batch in all.chunks(MICRO_BATCH) {
        let (inputs, features) = run_photos(job, backbone, photos, batch, times)?;
        let begun = Instant::now();
        for ((&index, input), features) in batch.iter().zip(inputs).zip(features) {
            sources.push(sample(job, &photos[index], &input.view, &features)?);
            if photos[index].wanted.is_empty() {
                continue;
            }
            if room > 0 {
                room -= 1;
                held.push((index, input.view, features));
            } else {
                left.push(index);
            }
        }
        times.matching += begun.elapsed();
        stop(job, observer)?;
    }
    for (index, view, features) in held {
        find(
            job,
            &photos[index],
            &view,
            &features,
            &sources,
            matches,
            times,
        )?;
        observer.advance(1, None);
        stop(job, observer)?;
    }
    for batch in left.chunks(MICRO_BATCH) {
        let (inputs, features) = run_photos(job, backbone, photos, batch, times)?;
        for ((&index, input), features) in batch.iter().zip(inputs).zip(features) {
            find(
                job,
                &photos[index],
                &input.view,
                &features,
                &sources,
                matches,
                times,
            )?;
            observer.advance(1, None);
            stop(job, observer)?;
        }
    }
    Ok(())
}

fn stop(job: &PhotoJob<'_>, observer: &mut dyn Observer) -> Result<(), StudyError> {
    if observer.stop() {
        return Err(StudyError::Interrupted {
            run: job.run.to_owned(),
        });
    }
    Ok(())
}

/// The embeddings at a photograph's keypoints, per slot.
fn sample(
    job: &PhotoJob<'_>,
    photo: &Photo,
    view: &View,
    features: &PhotoEmbeddings,
) -> Result<Vec<Vec<f64>>, StudyError> {
    let slots = &job.opened.slots;
    (0..slots.len())
        .into_par_iter()
        .map(|number| {
            let rows = rows_of(&features[number], job.opened.widths[number])?;
            let mut sampled = Vec::with_capacity(photo.points.len() * rows.ncols());
            for &[column, row] in &photo.points {
                sampled.extend(
                    view.sample(rows, row, column)
                        .map_err(slot_error(slots[number]))?,
                );
            }
            Ok(sampled)
        })
        .collect()
}

pub(super) fn slot_error(slot: Slot) -> impl FnOnce(vitscope_probe::ProbeError) -> StudyError {
    move |source| StudyError::Probe {
        slot: slot.to_string(),
        source,
    }
}

/// Looks for every keypoint that pairs look for in one target.
fn find(
    job: &PhotoJob<'_>,
    photo: &Photo,
    view: &View,
    features: &PhotoEmbeddings,
    sources: &[Vec<Vec<f64>>],
    matches: &mut [Vec<[u16; 2]>],
    times: &mut Times,
) -> Result<(), StudyError> {
    let begun = Instant::now();
    let patches: usize = job.opened.grid.iter().product();
    let found = (0..job.opened.slots.len())
        .into_par_iter()
        .map(|number| {
            let width = job.opened.widths[number];
            let target = TargetImage::new(rows_of(&features[number], width)?, view)
                .map_err(slot_error(job.opened.slots[number]))?;
            let mut wanted = Vec::with_capacity(photo.wanted.len() * width);
            for &(_, source, point) in &photo.wanted {
                wanted.extend_from_slice(&sources[source][number][point * width..][..width]);
            }
            let products = target
                .products(&wanted)
                .map_err(slot_error(job.opened.slots[number]))?;
            let mut search = Search::default();
            let best = |products| {
                let found = target.best(products, &mut search);
                [found.column as u16, found.row as u16]
            };
            Ok(products.chunks_exact(patches).map(best).collect::<Vec<_>>())
        })
        .collect::<Result<Vec<_>, StudyError>>()?;
    for (matches, found) in matches.iter_mut().zip(found) {
        for (&(point, ..), at) in photo.wanted.iter().zip(found) {
            matches[point] = at;
        }
    }
    times.matching += begun.elapsed();
    Ok(())
}
