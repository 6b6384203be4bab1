//! Differences of mIoU between runs over the same images, by their bootstrap samples: sample `r` of both draws the same
//! images (docs/protocol.md section 16), so what images have in common falls out of the difference.

use std::collections::BTreeMap;

use vitscope_measure::Difference;
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Slot, Subject, names};

use crate::error::StudyError;
use crate::stored::StoredRun;

/// The bootstrap samples of a run's mIoU, of the slots that have them; an undefined one is `None`.
pub(super) type Samples = BTreeMap<Slot, Vec<Option<f64>>>;

/// The samples of a run.
///
/// # Errors
/// When their file is damaged.
pub(super) fn samples(run: &StoredRun) -> Result<Samples, StudyError> {
    let path = run.run.root.join(names::SAMPLES);
    let damaged = |problem: &dyn std::fmt::Display| {
        StudyError::file(
            &path,
            format!("is damaged ({problem}): remove the folder of its run and make that again"),
        )
    };
    let mut samples = BTreeMap::new();
    let Some(mut file) = TensorFile::open(&path, damaged)? else {
        return Ok(samples);
    };
    for subject in run.run.metrics.subjects() {
        if let Subject::Slot(slot) = subject
            && let Some(stored) = file.read(&names::miou_samples(slot))?
        {
            let values = stored.f64s().into_iter();
            let values = values.map(|miou| Some(miou).filter(|miou| !miou.is_nan()));
            samples.insert(slot, values.collect());
        }
    }
    Ok(samples)
}

/// Whether the samples of two runs are of the same images: the same test images, drawn by the same seed as often.
pub(super) fn are_paired(a: &StoredRun, b: &StoredRun) -> bool {
    let drawn = |run: &StoredRun| {
        let record = &run.run.record;
        let resamples = record.settings.get("resamples").cloned();
        (
            record.data.test,
            record.skipped.clone(),
            record.seed,
            resamples,
        )
    };
    a.is_same_data(b) && drawn(a) == drawn(b)
}

/// mIoU of a slot of one run less that of another; `None` where they are not paired, one has no samples, or there is one
/// test image alone, all samples of which are alike.
pub(super) fn difference(
    (a, samples_a): (&StoredRun, &Samples),
    (b, samples_b): (&StoredRun, &Samples),
    slot: Slot,
) -> Option<Difference> {
    let value = |run: &StoredRun| run.run.metrics.value(Subject::Slot(slot), "miou");
    let values = (value(a)?, value(b)?);
    let samples = (samples_a.get(&slot)?, samples_b.get(&slot)?);
    (are_paired(a, b) && a.run.record.data.test != 1)
        .then(|| Difference::new(values, (samples.0, samples.1)))
        .flatten()
}
