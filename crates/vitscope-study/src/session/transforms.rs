//! The transforms of a run on disk, `transforms.safetensors` (docs/protocol.md section 15).
//!
//! Per slot: the arrays of the transform, `"{slot}.mean"` `[D]`, `".scale"` `[D]`, `".basis"` `[D, r]`, `".dual"`
//! `[r, D]` f64 and `".map"` `[N, D]` f32, those that it has; what its fit says of position, `".numbers"`; and how much of the
//! mean map it takes out at each place, `".removed"` `[Hp, Wp]`. Its text says what it was fitted on, and its last tensor,
//! `"sha256"`, is the hash of all before it: a run that is at work believes no other bytes.

use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};
use vitscope_probe::transform::TransformParts;
use vitscope_probe::{FittedTransform, Fitting, Transform};
use vitscope_run::tensors::{self, Lazy, Stored, TensorFile};
use vitscope_run::{Record, RunError, RunState, Slot, limits, names};

use crate::error::StudyError;
use crate::settings::{Side, TransformFit};
use crate::state;

/// The entry of the file's text.
const ENTRY: &str = "transform";

/// What transforms were fitted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FittedOn {
    /// Which transform.
    pub transform: String,
    /// How images were turned.
    pub fit: TransformFit,
    /// Training images.
    pub images: usize,
    /// The model's name.
    pub model: String,
    /// Hash of its weights, or of the files of features.
    pub sha256: String,
    /// How the checkpoint was read ([`Record::read_as`]); null for features.
    #[serde(default)]
    pub read_as: serde_json::Value,
    /// Whether it was a checkpoint or features.
    pub source: String,
    /// Patches per column and row.
    pub grid: [usize; 2],
    /// Side of the crop in pixels.
    pub size: usize,
    /// Which reading of the last token.
    pub token_norm: Side,
    /// Keys and queries before or after rotation.
    pub rope: Side,
    /// The run that the file belongs to.
    pub fingerprint: String,
}

/// What the fit of a slot says of position (docs/protocol.md section 15); NaN where undefined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitNumbers(pub [f64; 8]);

impl FitNumbers {
    /// What they are called in `metrics.csv`.
    pub const NAMES: [&'static str; 8] = [
        "position_share",
        "position_r2",
        "position_r2_left",
        "variance_removed",
        "map_ramp",
        "map_low",
        "map_mid",
        "map_high",
    ];

    fn of(fitting: &Fitting, fitted: &FittedTransform) -> Self {
        let shares = fitting.map_shares();
        let values = [
            fitting.position_share(),
            fitting.position_r2(),
            fitting.position_r2_after(fitted),
            fitting.removed(fitted),
            shares.map(|shares| shares.ramp),
            shares.map(|shares| shares.low),
            shares.map(|shares| shares.mid),
            shares.map(|shares| shares.high),
        ];
        Self(values.map(|value| value.unwrap_or(f64::NAN)))
    }
}

/// The transform of a slot with what its fit says.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotTransform {
    /// The transform.
    pub fitted: FittedTransform,
    /// What the fit says of position.
    pub numbers: FitNumbers,
    /// What is taken out of the mean map at each place, row by row.
    pub removed: Vec<f32>,
}

impl SlotTransform {
    /// A transform as it was fitted.
    #[must_use]
    pub fn new(fitting: &Fitting, fitted: FittedTransform) -> Self {
        let removed = fitting.removed_map(&fitted).into_iter();
        Self {
            numbers: FitNumbers::of(fitting, &fitted),
            removed: removed.map(|length| length as f32).collect(),
            fitted,
        }
    }
}

fn path(run: &Path) -> PathBuf {
    run.join(names::TRANSFORMS)
}

/// Stores the transforms of a run's slots.
///
/// # Errors
/// When the disk refuses.
pub fn write(
    run: &Path,
    on: &FittedOn,
    slots: &[(Slot, &SlotTransform)],
) -> Result<(), StudyError> {
    let path = path(run);
    let text = serde_json::to_string(on)
        .map_err(|error| StudyError::file(&path, format!("cannot be written: {error}")))?;
    let mut tensors = Vec::new();
    for &(slot, one) in slots {
        let parts = one.fitted.parts();
        let vectors = [("mean", &parts.mean), ("scale", &parts.scale)];
        for (name, vector) in vectors {
            if let Some(vector) = vector {
                tensors.push((
                    format!("{slot}.{name}"),
                    f64s(vec![vector.len()], vector.iter()),
                ));
            }
        }
        for (name, matrix) in [("basis", &parts.basis), ("dual", &parts.dual)] {
            if let Some(matrix) = matrix {
                let shape = matrix.shape().to_vec();
                tensors.push((format!("{slot}.{name}"), f64s(shape, matrix.iter())));
            }
        }
        if let Some(map) = &parts.map {
            let shape = map.shape().to_vec();
            tensors.push((format!("{slot}.map"), f32s(shape, map.iter())));
        }
        let removed = f32s(on.grid.to_vec(), one.removed.iter());
        tensors.push((names::removed(slot), removed));
        let numbers = f64s(vec![one.numbers.0.len()], one.numbers.0.iter());
        tensors.push((format!("{slot}.numbers"), numbers));
    }
    Ok(tensors::write_sealed_within(
        &path,
        tensors,
        Some((ENTRY, text)),
    )?)
}

fn f32s<'a>(shape: Vec<usize>, values: impl Iterator<Item = &'a f32>) -> Lazy<'static> {
    let bytes: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
    Lazy::of(Dtype::F32, shape, bytes)
}

fn f64s<'a>(shape: Vec<usize>, values: impl Iterator<Item = &'a f64>) -> Lazy<'static> {
    let bytes: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
    Lazy::of(Dtype::F64, shape, bytes)
}

/// The transforms of a run, opened.
#[derive(Debug)]
pub struct StoredTransforms {
    path: PathBuf,
    file: TensorFile,
    /// What they were fitted on.
    pub on: FittedOn,
    /// Which transform.
    pub transform: Transform,
}

impl StoredTransforms {
    /// Opens those of a complete run, whose record proves them; `None` where it has none.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn open(run: &Path) -> Result<Option<Self>, StudyError> {
        let path = path(run);
        let file = TensorFile::open(&path, |problem| damaged(&path, problem))?;
        Self::read_from(path, file)
    }

    /// Opens those of a run that is at work or was stopped, proved by their own seal; `None` where it has none.
    ///
    /// # Errors
    /// When a byte is not what was written.
    pub fn open_unfinished(run: &Path) -> Result<Option<Self>, StudyError> {
        let path = path(run);
        let file = TensorFile::open_sealed(&path, |problem| state::redone(&path, problem))?;
        Self::read_from(path, file)
    }

    fn read_from(path: PathBuf, file: Option<TensorFile>) -> Result<Option<Self>, StudyError> {
        let Some(file) = file else {
            return Ok(None);
        };
        let wrong = |problem: &dyn std::fmt::Display| damaged(&path, problem);
        let on: FittedOn = serde_json::from_str(file.text(ENTRY).unwrap_or_default())
            .map_err(|error| wrong(&error))?;
        let transform = on
            .transform
            .parse()
            .map_err(|problem: String| wrong(&problem))?;
        Ok(Some(Self {
            path,
            file,
            on,
            transform,
        }))
    }

    /// Those of a run that the user names.
    ///
    /// # Errors
    /// A sentence, where it has none, or not those that it wrote.
    pub fn of(run: &Path) -> Result<Self, StudyError> {
        let found = match Record::read(run) {
            Ok(record) if record.state == RunState::Complete => {
                record.prove(run)?;
                Self::open(run)?
            }
            Ok(_) | Err(RunError::NotARun { .. }) => Self::open_unfinished(run)?,
            Err(error) => return Err(error.into()),
        };
        found.ok_or_else(|| {
            StudyError::setting(format!(
                "{}: holds no {}: give `transform-from` a run that was made with `transform`",
                run.display(),
                names::TRANSFORMS
            ))
        })
    }

    /// Refuses what was fitted on another model, or at another size.
    ///
    /// # Errors
    /// One sentence.
    pub fn check(
        &self,
        model: &vitscope_run::ModelRecord,
        (grid, size): ([usize; 2], usize),
        (token_norm, rope): (Side, Side),
    ) -> Result<(), StudyError> {
        let other = |problem: String| {
            Err(StudyError::setting(format!(
                "{}: {problem}",
                self.path.display()
            )))
        };
        // Files of features are not the same for another data set; their model's name is.
        let same = self.on.source == model.source
            && match model.source.as_str() {
                "features" => self.on.model == model.name,
                _ => {
                    self.on.sha256 == model.sha256
                        && self.on.read_as == Record::read_as(&model.identity)
                }
            };
        if !same {
            return other(format!(
                "was fitted on another model ({}, this one is {}): fit it anew with `transform` {}",
                self.on.model, model.name, self.transform
            ));
        }
        if (self.on.grid, self.on.size) != (grid, size) {
            return other(format!(
                "was fitted at {} pixels and {} x {} patches, and this run has {size} and {} x {}: choose `size` {}",
                self.on.size, self.on.grid[0], self.on.grid[1], grid[0], grid[1], self.on.size
            ));
        }
        let sides = [
            ("token-norm", self.on.token_norm, token_norm),
            ("rope", self.on.rope, rope),
        ];
        for (name, own, asked) in sides {
            if own != asked {
                let own = own.word();
                return other(format!(
                    "was fitted with `{name}` {own}: choose `{name}` {own}"
                ));
            }
        }
        Ok(())
    }

    /// The transform of a slot.
    ///
    /// # Errors
    /// A sentence, where there is none of that slot, and for a damaged file.
    pub fn slot(&mut self, slot: Slot, width: usize) -> Result<SlotTransform, StudyError> {
        let places = self.on.grid[0] * self.on.grid[1];
        let numbers = self.numbers(slot)?.ok_or_else(|| {
            StudyError::setting(format!(
                "{}: holds no transform of {slot}: leave that slot out with `layers` and `facets`, or fit it anew",
                self.path.display()
            ))
        })?;
        let removed = self.read(slot, "removed")?.map(|stored| stored.f32s());
        let vector = |stored: Option<Stored>| stored.map(|stored| Array1::from(stored.f64s()));
        let mean = vector(self.read(slot, "mean")?);
        let scale = vector(self.read(slot, "scale")?);
        let parts = TransformParts {
            mean,
            scale,
            map: self.matrix(slot, "map", Stored::f32s)?,
            basis: self.matrix(slot, "basis", Stored::f64s)?,
            dual: self.matrix(slot, "dual", Stored::f64s)?,
        };
        let wrong = |problem: &dyn std::fmt::Display| damaged(&self.path, problem);
        let fitted = FittedTransform::new(self.transform, parts, places, width)
            .map_err(|error| wrong(&error))?;
        Ok(SlotTransform {
            fitted,
            numbers,
            removed: removed
                .filter(|removed| removed.len() == places)
                .ok_or_else(|| wrong(&"it lacks what is taken out"))?,
        })
    }

    /// What the fit of a slot says of position; `None` where the file has nothing of that slot.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn numbers(&mut self, slot: Slot) -> Result<Option<FitNumbers>, StudyError> {
        let stored = self.read(slot, "numbers")?;
        let numbers = stored.map(|stored| stored.f64s().try_into());
        let numbers = numbers.transpose();
        Ok(numbers
            .map_err(|_| damaged(&self.path, &"it has another number of numbers"))?
            .map(FitNumbers))
    }

    fn read(&mut self, slot: Slot, part: &str) -> Result<Option<Stored>, StudyError> {
        let name = format!("{slot}.{part}");
        Ok(self.file.read_up_to(&name, limits::TENSOR_BYTES)?)
    }

    fn matrix<T>(
        &mut self,
        slot: Slot,
        part: &str,
        values: fn(&Stored) -> Vec<T>,
    ) -> Result<Option<Array2<T>>, StudyError> {
        let Some(stored) = self.read(slot, part)? else {
            return Ok(None);
        };
        let wrong = |problem: &dyn std::fmt::Display| damaged(&self.path, problem);
        let [rows, columns] = stored.shape[..] else {
            return Err(wrong(&"a tensor has an odd shape"));
        };
        Array2::from_shape_vec((rows, columns), values(&stored))
            .map(Some)
            .map_err(|error| wrong(&error))
    }
}

fn damaged(path: &Path, problem: &dyn std::fmt::Display) -> StudyError {
    StudyError::file(
        path,
        format!("is damaged ({problem}): remove the folder of its run and make that again"),
    )
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use vitscope_run::Facet;

    use super::*;

    const SLOT: Slot = Slot {
        facet: Facet::Key,
        layer: 3,
    };

    fn on() -> FittedOn {
        FittedOn {
            transform: "svd:1".to_owned(),
            fit: TransformFit::Train,
            images: 4,
            model: "m".to_owned(),
            sha256: "s".to_owned(),
            read_as: serde_json::Value::Null,
            source: "features".to_owned(),
            grid: [2, 2],
            size: 32,
            token_norm: Side::After,
            rope: Side::Before,
            fingerprint: "f".to_owned(),
        }
    }

    fn stored(run: &Path) -> (SlotTransform, StoredTransforms) {
        let parts = TransformParts {
            basis: Some(array![[0.6], [0.8]]),
            ..TransformParts::default()
        };
        let one = SlotTransform {
            fitted: FittedTransform::new("svd:1".parse().unwrap(), parts, 4, 2).unwrap(),
            numbers: FitNumbers([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
            removed: vec![1.0, 2.0, 3.0, 4.0],
        };
        write(run, &on(), &[(SLOT, &one)]).unwrap();
        (one, StoredTransforms::of(run).unwrap())
    }

    #[test]
    fn transforms_come_back_as_they_were_stored() {
        let run = tempfile::tempdir().unwrap();
        assert!(StoredTransforms::open(run.path()).unwrap().is_none());
        let error = StoredTransforms::of(run.path()).unwrap_err().to_string();
        assert!(error.contains("`transform-from`"), "{error}");
        let (one, mut found) = stored(run.path());
        assert_eq!(found.on, on());
        assert_eq!(found.slot(SLOT, 2).unwrap(), one);
        // Of another width it is damaged; another slot is not there.
        assert!(found.slot(SLOT, 3).is_err());
        let other = Slot { layer: 4, ..SLOT };
        assert_eq!(found.numbers(other).unwrap(), None);
        let error = found.slot(other, 2).unwrap_err().to_string();
        assert!(error.contains("holds no transform of key.4"), "{error}");
    }

    #[test]
    fn any_flipped_bit_of_transforms_without_a_finished_run_is_told() {
        let run = tempfile::tempdir().unwrap();
        stored(run.path());
        let path = path(run.path());
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let error = StoredTransforms::of(run.path()).unwrap_err().to_string();
            assert!(error.contains(names::TRANSFORMS), "{error}");
            assert!(error.contains("remove it, then continue"), "{error}");
        }
    }

    #[test]
    fn a_transform_of_something_else_is_refused_with_the_way_out() {
        let run = tempfile::tempdir().unwrap();
        let (_, found) = stored(run.path());
        let model = |name: &str, source: &str| vitscope_run::ModelRecord {
            name: name.to_owned(),
            source: source.to_owned(),
            ..vitscope_run::ModelRecord::default()
        };
        let (sizes, sides) = (([2, 2], 32), (Side::After, Side::Before));
        let check = |model, sizes, sides| found.check(&model, sizes, sides);
        assert!(check(model("m", "features"), sizes, sides).is_ok());
        for (result, expected) in [
            (check(model("n", "features"), sizes, sides), "another model"),
            (
                check(model("m", "checkpoint"), sizes, sides),
                "another model",
            ),
            (
                check(model("m", "features"), ([2, 2], 64), sides),
                "choose `size` 32",
            ),
            (
                check(model("m", "features"), sizes, (Side::Before, Side::Before)),
                "choose `token-norm` after",
            ),
            (
                check(model("m", "features"), sizes, (Side::After, Side::After)),
                "choose `rope` before",
            ),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
