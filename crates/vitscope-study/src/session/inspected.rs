//! What `--artifacts` found, on disk: `artifacts.safetensors` (docs/protocol.md section 17).
//!
//! Per slot, `"{slot}.numbers"` `[numbers, 3]` f64: value, lower and upper end, NaN where undefined, in the order of
//! [`NAMES`]; `"{slot}.lengths"` `[128]` i64, patch vectors by length (see [`bin`]); `"{slot}.outliers"` `[Hp, Wp]` u32,
//! outliers at each place. The labels' own numbers are those of the subject `ground_truth`. Its text says which run it is of,
//! and its last tensor, `"sha256"`, is the hash of all before it: a run that is at work believes no other bytes.

use std::path::{Path, PathBuf};

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};
use vitscope_run::tensors::{self, Lazy, TensorFile};
use vitscope_run::{Measured, Subject, names};

use crate::error::StudyError;
use crate::state;

/// The entry of the file's text.
const ENTRY: &str = "artifacts";

/// What the numbers are called in `metrics.csv`.
pub const NAMES: [&str; 19] = [
    "outlier_share",
    "outlier_150",
    "outlier_place",
    "outlier_texture",
    "outlier_texture_z",
    "neighbor_cosine",
    "class_cosine",
    "class_cosine_null",
    "fragments",
    "fragment_single",
    "alike_share",
    "alike_null",
    "alike_z",
    "position_share",
    "position_r2",
    "map_ramp",
    "map_low",
    "map_mid",
    "map_high",
];

/// The first of [`NAMES`] that a fit of a transform tells, too.
pub const OF_FITS: usize = 13;

/// Bins of lengths: four to a doubling, from 2^-16 on.
pub const BINS: usize = 128;

/// The bin of a length; what lies beyond the ends counts at the ends.
#[must_use]
pub fn bin(length: f32) -> usize {
    let place = 4.0 * (f64::from(length).max(f64::MIN_POSITIVE).log2() + 16.0);
    place.clamp(0.0, (BINS - 1) as f64) as usize
}

/// What was found of a slot, or of the ground truth.
#[derive(Clone, Debug, PartialEq)]
pub struct SubjectArtifacts {
    /// As [`NAMES`].
    pub numbers: [Measured; NAMES.len()],
    /// Patch vectors by length; empty for the ground truth.
    pub lengths: Vec<i64>,
    /// Outliers at each place, row by row; empty for the ground truth.
    pub outliers: Vec<u32>,
}

/// What a run's numbers were found on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundOn {
    /// Test images.
    pub images: usize,
    /// Patches per column and row.
    pub grid: [usize; 2],
    /// The run that the file belongs to.
    pub fingerprint: String,
}

fn path(run: &Path) -> PathBuf {
    run.join(names::ARTIFACTS)
}

/// Stores what was found.
///
/// # Errors
/// When the disk refuses.
pub fn write(
    run: &Path,
    on: &FoundOn,
    found: &[(Subject, SubjectArtifacts)],
) -> Result<(), StudyError> {
    let path = path(run);
    let text = serde_json::to_string(on)
        .map_err(|error| StudyError::file(&path, format!("cannot be written: {error}")))?;
    let mut tensors = Vec::new();
    for (subject, found) in found {
        let numbers = found.numbers.iter().flat_map(|measured| {
            let (low, high) = measured.interval.unzip();
            [measured.value, low, high].map(|value| value.unwrap_or(f64::NAN))
        });
        let bytes: Vec<u8> = numbers.flat_map(f64::to_le_bytes).collect();
        let numbers = Lazy::of(Dtype::F64, vec![NAMES.len(), 3], bytes);
        tensors.push((format!("{subject}.numbers"), numbers));
        if let Subject::Slot(slot) = *subject {
            let bytes: Vec<u8> = found.lengths.iter().flat_map(|n| n.to_le_bytes()).collect();
            let lengths = Lazy::of(Dtype::I64, vec![found.lengths.len()], bytes);
            tensors.push((names::lengths(slot), lengths));
            let bytes: Vec<u8> = found
                .outliers
                .iter()
                .flat_map(|n| n.to_le_bytes())
                .collect();
            let outliers = Lazy::of(Dtype::U32, on.grid.to_vec(), bytes);
            tensors.push((names::outliers(slot), outliers));
        }
    }
    Ok(tensors::write_sealed_within(
        &path,
        tensors,
        Some((ENTRY, text)),
    )?)
}

/// The file of a run, opened.
#[derive(Debug)]
pub struct Inspected {
    path: PathBuf,
    file: TensorFile,
    /// What it was found on.
    pub on: FoundOn,
}

impl Inspected {
    /// Opens that of a run at work, proved by its own seal; `None` where the run has none.
    ///
    /// # Errors
    /// When a byte is not what was written.
    pub fn open(run: &Path) -> Result<Option<Self>, StudyError> {
        let path = path(run);
        let wrong = |problem: &dyn std::fmt::Display| state::redone(&path, problem);
        let Some(file) = TensorFile::open_sealed(&path, wrong)? else {
            return Ok(None);
        };
        let on = serde_json::from_str(file.text(ENTRY).unwrap_or_default());
        let on = on.map_err(|error| wrong(&error))?;
        Ok(Some(Self { path, file, on }))
    }

    /// The numbers of a subject, as [`NAMES`]; `None` where the file has nothing of it.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn numbers(
        &mut self,
        subject: Subject,
    ) -> Result<Option<[Measured; NAMES.len()]>, StudyError> {
        let most = 3 * NAMES.len() * size_of::<f64>();
        let name = format!("{subject}.numbers");
        let Some(stored) = self.file.read_up_to(&name, most)? else {
            return Ok(None);
        };
        let values = stored.f64s();
        let (rows, rest) = values.as_chunks::<3>();
        if rows.len() != NAMES.len() || !rest.is_empty() {
            let problem = "it has another number of numbers";
            return Err(state::redone(&self.path, &problem));
        }
        let defined = |value: f64| Some(value).filter(|value| !value.is_nan());
        Ok(Some(std::array::from_fn(|row| {
            let [value, low, high] = rows[row].map(defined);
            Measured {
                value,
                interval: low.zip(high),
            }
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fall_into_bins_of_a_quarter_of_a_doubling() {
        assert_eq!([bin(0.0), bin(1.0), bin(1.19), bin(2.0)], [0, 64, 65, 68]);
        assert_eq!(bin(f32::MAX), BINS - 1);
    }
}
