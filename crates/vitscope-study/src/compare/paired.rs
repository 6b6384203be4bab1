//! Differences of mIoU between runs over the same images, by their bootstrap samples: sample `r` of both draws the same
//! images (docs/protocol.md section 16), so what images have in common falls out of the difference.

use std::collections::BTreeMap;

use safetensors::tensor::Dtype;
use vitscope_measure::Difference;
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Slot, Subject, names};

use crate::error::StudyError;
use crate::settings::{Setting, Takes};
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
    let drawn = drawn(run)?;
    for subject in run.run.metrics.subjects() {
        let Subject::Slot(slot) = subject else {
            continue;
        };
        let name = names::miou_samples(slot);
        let Some(found) = file.kind(&name) else {
            continue;
        };
        // A stranger's file may be of any length: nothing of it is read that cannot be.
        if found != (Dtype::F64, &[drawn]) {
            let problem = format!(
                "{name} is not the {drawn} numbers that `resamples` of its {} promises",
                names::RECORD
            );
            return Err(damaged(&problem));
        }
        if let Some(stored) = file.read(&name)? {
            let values = stored.f64s().into_iter();
            let values = values.map(|miou| Some(miou).filter(|miou| !miou.is_nan()));
            samples.insert(slot, values.collect());
        }
    }
    Ok(samples)
}

/// How many bootstrap samples a run says that it drew: as many as can be asked for, at the most.
fn drawn(run: &StoredRun) -> Result<usize, StudyError> {
    let name = "resamples";
    let stored = run.run.record.settings.get(name);
    let takes = Setting::called(name).map(|setting| setting.takes);
    let number = stored.and_then(serde_json::Value::as_u64);
    let number = number.filter(|&number| takes.is_some_and(|takes| takes.holds(number as f64)));
    number.map(|number| number as usize).ok_or_else(|| {
        StudyError::file(
            &run.run.root.join(names::RECORD),
            format!(
                "has a `{name}` that cannot be, expected {}: remove the folder of its run and make that again",
                takes.map(Takes::told).unwrap_or_default()
            ),
        )
    })
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

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;
    use serde_json::json;
    use vitscope_run::tensors::write;
    use vitscope_run::{Facet, Metrics, Part, Run, Table};

    use super::*;
    use crate::settings::Side;

    const SLOT: Slot = Slot {
        facet: Facet::Key,
        layer: 1,
    };

    fn run(seed: u64, test: usize, miou: f64) -> StoredRun {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::new("m", "f", "S");
        table.add(Subject::Slot(SLOT), "miou", Part::Whole, Some(miou), None);
        table.write(&folder.path().join(names::METRICS)).unwrap();
        let record = json!({
            "format": 1, "state": "complete", "seed": seed, "settings": {"resamples": 4},
            "data": {"kind": "camvid", "list_hash": "h", "test": test},
        });
        StoredRun {
            name: "run".to_owned(),
            token_norm: Side::After,
            run: Run {
                root: folder.path().to_owned(),
                record: serde_json::from_value(record).unwrap(),
                metrics: Metrics::read(folder.path(), None).unwrap().unwrap(),
            },
        }
    }

    fn samples_of(values: [f64; 4]) -> Samples {
        [(SLOT, values.map(Some).to_vec())].into()
    }

    #[test]
    fn what_images_have_in_common_falls_out_of_a_difference() {
        let (a, b) = (run(0, 5, 0.5), run(0, 5, 0.25));
        // Samples vary much, and their differences do not.
        let own = samples_of([0.5, 0.75, 0.25, 1.0]);
        let other = samples_of([0.25, 0.5, 0.0, 0.75]);
        let found = difference((&a, &own), (&b, &other), SLOT).unwrap();
        assert_eq!((found.value, found.interval), (0.25, (0.25, 0.25)));
        let back = difference((&b, &other), (&a, &own), SLOT).unwrap();
        assert_eq!((back.value, back.interval), (-0.25, (-0.25, -0.25)));
        // A slot without samples, and samples of other draws, have none.
        assert!(difference((&a, &own), (&b, &Samples::new()), SLOT).is_none());
        assert!(difference((&a, &own), (&run(1, 5, 0.25), &other), SLOT).is_none());
        let one = (run(0, 1, 0.5), run(0, 1, 0.25));
        assert!(difference((&one.0, &own), (&one.1, &other), SLOT).is_none());
    }

    #[test]
    fn runs_are_paired_by_images_seed_and_draws() {
        assert!(are_paired(&run(0, 5, 0.5), &run(0, 5, 0.2)));
        assert!(!are_paired(&run(0, 5, 0.5), &run(1, 5, 0.5)));
        assert!(!are_paired(&run(0, 5, 0.5), &run(0, 6, 0.5)));
    }

    /// A stranger's run may store anything: what it does not say that it drew is refused, and not read.
    #[test]
    fn samples_are_as_many_as_the_run_drew() {
        let mut stored = run(0, 5, 0.5);
        let folder = tempfile::tempdir().unwrap();
        stored.run.root = folder.path().to_owned();
        let store = |dtype: Dtype, shape: Vec<usize>| {
            let bytes = vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
            let view = TensorView::new(dtype, shape, &bytes).unwrap();
            let tensors = vec![(names::miou_samples(SLOT), view)];
            write(&folder.path().join(names::SAMPLES), tensors, None).unwrap();
        };
        store(Dtype::F64, vec![4]);
        assert_eq!(samples(&stored).unwrap(), samples_of([0.0; 4]));
        for (dtype, shape) in [
            (Dtype::F64, vec![5]),
            (Dtype::F64, vec![4, 1]),
            (Dtype::F64, vec![]),
            (Dtype::F32, vec![4]),
        ] {
            store(dtype, shape);
            let said = samples(&stored).unwrap_err().to_string();
            assert!(said.contains("is not the 4 numbers"), "{said}");
        }
        store(Dtype::F64, vec![20_000]);
        for drawn in [json!(20_000), json!(1), json!(-4), json!("4"), json!(null)] {
            stored
                .run
                .record
                .settings
                .insert("resamples".to_owned(), drawn);
            let said = samples(&stored).unwrap_err().to_string();
            assert!(said.contains("a `resamples` that cannot be"), "{said}");
        }
    }

    #[test]
    fn a_run_without_stored_samples_has_none() {
        assert_eq!(samples(&run(0, 5, 0.5)).unwrap(), Samples::new());
    }
}
