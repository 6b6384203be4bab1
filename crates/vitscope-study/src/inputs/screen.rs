//! Images that cannot be used are found before the run begins.
//!
//! Test images come after training, which may take hours: [`look_over`] reads them first. With
//! `--skip-bad`, [`screen`] leaves bad ones out of the run: every image that the run would use is decoded once, and the masks of the test images with it: a
//! few milliseconds each, against hundreds for a forward pass. The run then works on the set
//! without the bad ones, so they are in no batch, no count and no resampling, and a resumed run
//! leaves out the same ones.

use std::collections::BTreeSet;

use rayon::prelude::*;
use vitscope_data::{DataError, DataSet, Geometry, Split};
use vitscope_run::Skipped;

use crate::error::StudyError;
use crate::observer::{self, Observer};

/// Images looked at together, per thread.
const PER_THREAD: usize = 8;

/// Test images that are looked at before a run, at most; of more, so many that are evenly spaced.
const LOOKED_AT: usize = 4096;

/// Decodes the first `used` test images with their masks, so that a bad one ends a run before it begins.
///
/// # Errors
/// The problem of the first that cannot be used.
pub fn look_over(
    data: &DataSet,
    geometry: Geometry,
    used: usize,
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let items = data.split(Split::Test);
    let items = &items[..used.min(items.len())];
    let count = items.len().min(LOOKED_AT);
    observer.begin(observer::CHECK, 0, count as u64);
    let chosen: Vec<usize> = (0..count).map(|at| at * items.len() / count).collect();
    for together in chosen.chunks(PER_THREAD * rayon::current_num_threads()) {
        let looked: Vec<Result<(), DataError>> = together
            .par_iter()
            .map(|&index| data.try_item(&items[index], &geometry, true))
            .collect();
        // The first in order, whichever thread is first.
        looked.into_iter().collect::<Result<(), _>>()?;
        observer.advance(together.len() as u64, None);
        if observer.stop() {
            return Err(StudyError::StoppedEarly);
        }
    }
    observer.end();
    Ok(())
}

/// The set without its bad images, of which there may be `allowed` in both splits together (one that
/// serves both is one), and what was left out. `used` says how many sound images of each split
/// (train, test) are wanted; images past those are not looked at.
///
/// # Errors
/// More bad images than are allowed, with the problem of the first beyond those; a split of which no
/// image is left.
pub fn screen(
    data: DataSet,
    geometry: Geometry,
    used: [usize; 2],
    allowed: usize,
    observer: &mut dyn Observer,
) -> Result<(DataSet, Vec<Skipped>), StudyError> {
    let mut skipped: Vec<Skipped> = Vec::new();
    let mut files = BTreeSet::new();
    let mut bad = [Vec::new(), Vec::new()];
    let splits = [Split::Train, Split::Test];
    let total = |split: Split, used: usize| data.split(split).len().min(used) as u64;
    let total = total(splits[0], used[0]) + total(splits[1], used[1]);
    observer.begin(observer::CHECK, 0, total);
    for ((split, used), bad) in splits.into_iter().zip(used).zip(&mut bad) {
        let items = data.split(split);
        let batch = PER_THREAD * rayon::current_num_threads();
        let mut sound = 0;
        for (items, first) in items.chunks(batch).zip((0..).step_by(batch)) {
            if sound >= used {
                break;
            }
            // Training looks at no labels.
            let with_label = split == Split::Test;
            let results: Vec<Result<(), DataError>> = items
                .par_iter()
                .map(|item| data.try_item(item, &geometry, with_label))
                .collect();
            for ((item, result), index) in items.iter().zip(results).zip(first..) {
                let Err(error) = result else {
                    sound += 1;
                    continue;
                };
                if sound >= used {
                    break;
                }
                files.insert(&item.image);
                if files.len() > allowed {
                    let problem = format!(
                        "at least {} images cannot be used, and `skip-bad` allows {allowed}: raise `skip-bad`, or mend what 'vitscope data check' lists, such as this: {error}",
                        files.len()
                    );
                    return Err(StudyError::file(&data.root, problem));
                }
                bad.push(index);
                skipped.push(Skipped {
                    split: split.to_string(),
                    name: item.name.clone(),
                    problem: error.to_string(),
                });
            }
            observer.advance(items.len() as u64, None);
            if observer.stop() {
                return Err(StudyError::StoppedEarly);
            }
        }
        if sound == 0 && !bad.is_empty() {
            let first = &skipped[skipped.len() - bad.len()].problem;
            let problem = format!(
                "none of its {} {split} images can be used, and a run needs at least one: mend what 'vitscope data check' lists, such as this: {first}",
                bad.len()
            );
            return Err(StudyError::file(&data.root, problem));
        }
    }
    observer.end();
    for image in &skipped {
        observer.note(&format!("left out of {}: {}", image.split, image.problem));
    }
    let [train, test] = bad;
    let data = data.without(Split::Train, &train);
    Ok((data.without(Split::Test, &test), skipped))
}
