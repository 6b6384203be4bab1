//! The match of every keypoint, category by category.

use std::time::Instant;

use safetensors::tensor::Dtype;
use vitscope_data::pairs::{CATEGORIES, Pair};
use vitscope_run::Record;
use vitscope_run::tensors::Lazy;

#[cfg(feature = "cuda")]
use super::card::CardFinder;
use super::finder::{CategoryWork, Matches, PointFinder};
use super::host::HostFinder;
use super::photos::{Photo, PhotoJob, Times, photos};
use crate::error::StudyError;
use crate::observer::{self, Observer};
use crate::source::Backbone;
use crate::state::{self, SAVE_INTERVAL, StoredState};

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
    let mut finder = finder(job, backbone)?;
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
        let mut work = CategoryWork {
            job,
            backbone: &mut *backbone,
            photos,
            times: &mut times,
        };
        searched = search_category(&mut work, &mut *finder, &mut matches, observer);
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

/// What the photographs of this run are searched by.
#[cfg(feature = "cuda")]
fn finder(job: &PhotoJob<'_>, backbone: &Backbone) -> Result<Box<dyn PointFinder>, StudyError> {
    match backbone.vit().gpu() {
        Some(gpu) => Ok(Box::new(CardFinder::new(job, gpu, backbone.unit())?)),
        None => Ok(Box::new(HostFinder::new(job))),
    }
}

/// What the photographs of this run are searched by.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "a card has to be prepared")]
fn finder(job: &PhotoJob<'_>, _: &Backbone) -> Result<Box<dyn PointFinder>, StudyError> {
    Ok(Box::new(HostFinder::new(job)))
}

fn search_category(
    work: &mut CategoryWork<'_>,
    finder: &mut dyn PointFinder,
    matches: &mut Matches,
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let unit = work.backbone.unit();
    finder.begin(work.photos);
    let all: Vec<usize> = (0..work.photos.len()).collect();
    for batch in all.chunks(unit) {
        finder.sample(work, batch)?;
        stop(work.job, observer)?;
    }
    while let Some(targets) = finder.find(work, matches)? {
        observer.advance(targets as u64, None);
        stop(work.job, observer)?;
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
