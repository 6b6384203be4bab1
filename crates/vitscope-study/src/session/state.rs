//! Unfinished work that a run keeps, so that it can go on after being stopped or killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::StudyError;
use crate::files;
use crate::tensors::{self, Lazy, Stored, TensorFile};

/// It is stored this often.
pub const SAVE_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    fingerprint: String,
    codebooks: String,
    done: usize,
}

/// What unfinished work is made of.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The fingerprint of its run.
    pub run: &'a str,
    /// The hash of the codebooks that gave the labels; empty for work that needs none.
    pub codebooks: &'a str,
}

impl<'a> From<&'a str> for Origin<'a> {
    /// Work that needs no codebooks.
    fn from(run: &'a str) -> Self {
        Self { run, codebooks: "" }
    }
}

/// The folder of unfinished work.
#[must_use]
pub fn folder(run: &Path) -> PathBuf {
    run.join("state")
}

fn file(run: &Path, name: &str) -> PathBuf {
    folder(run).join(format!("{name}.safetensors"))
}

/// Stores unfinished work: how much of it is done, and its numbers.
///
/// # Errors
/// When the disk refuses.
pub fn store(
    run: &Path,
    name: &str,
    origin: Origin<'_>,
    done: usize,
    tensors: Vec<(String, TensorView<'_>)>,
) -> Result<(), StudyError> {
    let lazy = tensors.into_iter().map(|(name, view)| (name, view.into()));
    store_lazily(run, name, origin, done, lazy.collect())
}

/// [`store`], for work that is too large to be held twice.
///
/// # Errors
/// When the disk refuses.
pub fn store_lazily(
    run: &Path,
    name: &str,
    origin: Origin<'_>,
    done: usize,
    tensors: Vec<(String, Lazy<'_>)>,
) -> Result<(), StudyError> {
    let path = file(run, name);
    let header = Header {
        fingerprint: origin.run.to_owned(),
        codebooks: origin.codebooks.to_owned(),
        done,
    };
    let text = serde_json::to_string(&header)
        .map_err(|error| StudyError::file(&path, format!("cannot be written: {error}")))?;
    Ok(tensors::write_sealed(&path, tensors, Some((name, text)))?)
}

/// Unfinished work as it was stored.
#[derive(Debug)]
pub struct StoredState {
    path: PathBuf,
    file: TensorFile,
    header: Header,
}

impl StoredState {
    /// Opens unfinished work; `None` where there is none.
    ///
    /// # Errors
    /// A sentence, for a damaged file.
    pub fn open(run: &Path, name: &str) -> Result<Option<Self>, StudyError> {
        let path = file(run, name);
        let damaged = |problem: &dyn std::fmt::Display| damaged(&path, problem);
        let Some(file) = TensorFile::open_sealed(&path, damaged)? else {
            return Ok(None);
        };
        let header = serde_json::from_str(file.text(name).unwrap_or_default())
            .map_err(|error| damaged(&error))?;
        Ok(Some(Self { path, file, header }))
    }

    /// Opens the unfinished work of this origin; `None` where there is none.
    ///
    /// # Errors
    /// A sentence, for a damaged file, for one of another run, and for counts of other codebooks.
    pub fn of(run: &Path, name: &str, origin: Origin<'_>) -> Result<Option<Self>, StudyError> {
        match Self::open(run, name)? {
            Some(found) if !found.is_of(origin.run) => Err(StudyError::setting(format!(
                "{}: belongs to a run of other settings, model, data or program version: repeat the command that began it, or choose another `out`",
                run.display()
            ))),
            Some(found) if found.header.codebooks != origin.codebooks => {
                Err(found.damaged("it counts the labels of other codebooks"))
            }
            found => Ok(found),
        }
    }

    /// Whether it is of a run with this fingerprint.
    #[must_use]
    pub fn is_of(&self, fingerprint: &str) -> bool {
        self.header.fingerprint == fingerprint
    }

    /// How much of it is done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.header.done
    }

    /// Which run it belongs to.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.header.fingerprint
    }

    /// The names of its tensors, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.file.names()
    }

    /// Whether it holds a tensor of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.file.names().iter().any(|own| own == name)
    }

    /// One of its tensors.
    ///
    /// # Errors
    /// Where there is none of that name, or it cannot be read.
    pub fn tensor(&mut self, name: &str) -> Result<Stored, StudyError> {
        let missing = || damaged(&self.path, &format!("it holds no tensor {name}"));
        self.file.read(name)?.ok_or_else(missing)
    }

    /// The error for content that cannot be.
    pub fn damaged(&self, problem: impl std::fmt::Display) -> StudyError {
        damaged(&self.path, &problem)
    }
}

/// The error for a file of unfinished work whose content cannot be.
pub fn damaged(path: &Path, problem: &dyn std::fmt::Display) -> StudyError {
    StudyError::file(
        path,
        format!("is damaged ({problem}): remove its folder `state`, then continue with `resume`"),
    )
}

/// The error for a file beside the unfinished work whose content cannot be: a run that goes on makes one that is missing.
pub fn redone(path: &Path, problem: &dyn std::fmt::Display) -> StudyError {
    StudyError::file(
        path,
        format!("is damaged ({problem}): remove it, then continue its run with `resume`"),
    )
}

/// What a file that waits says that it is of: a run by its fingerprint, and a part of it. So that none is taken for another.
#[must_use]
pub fn identity(fingerprint: &str, part: &[&str]) -> String {
    files::hex(&Sha256::digest(format!("{:?}", (fingerprint, part))))
}

/// Numbers as a tensor.
///
/// # Errors
/// When the shape is not theirs.
pub fn view<'a>(
    run: &Path,
    shape: Vec<usize>,
    values: &'a [f64],
) -> Result<TensorView<'a>, StudyError> {
    TensorView::new(Dtype::F64, shape, bytemuck::cast_slice(values))
        .map_err(|error| StudyError::file(run, format!("cannot be stored: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_taken_up_by_its_own_run_alone() {
        let run = tempfile::tempdir().unwrap();
        let run = run.path();
        assert!(StoredState::open(run, "training").unwrap().is_none());
        let values = [1.0, -0.5, f64::MAX, 0.0];
        let tensors = vec![("a".to_owned(), view(run, vec![2, 2], &values).unwrap())];
        let origin = Origin {
            run: "one",
            codebooks: "books",
        };
        store(run, "training", origin, 3, tensors).unwrap();
        let mut found = StoredState::of(run, "training", origin).unwrap().unwrap();
        assert_eq!((found.done(), found.fingerprint()), (3, "one"));
        assert_eq!(found.names(), ["a"]);
        assert!(found.has("a") && !found.has("b"));
        assert_eq!(found.tensor("a").unwrap().f64s(), values);
        let error = found.tensor("b").unwrap_err().to_string();
        assert!(error.contains("holds no tensor b"), "{error}");
        let told = |origin| {
            let error = StoredState::of(run, "training", origin).unwrap_err();
            error.to_string()
        };
        assert!(told("another".into()).contains("other settings, model, data"));
        assert!(told("one".into()).contains("other codebooks"));
    }

    #[test]
    fn a_changed_byte_is_damage() {
        let run = tempfile::tempdir().unwrap();
        let run = run.path();
        let tensors = vec![("a".to_owned(), view(run, vec![1], &[1.0]).unwrap())];
        store(run, "training", "one".into(), 1, tensors).unwrap();
        let path = folder(run).join("training.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = StoredState::open(run, "training").unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        assert!(error.contains("remove its folder `state`"), "{error}");
    }

    #[test]
    fn a_shape_must_be_that_of_its_numbers() {
        let run = Path::new("run");
        assert!(view(run, vec![2, 2], &[0.0; 4]).is_ok());
        assert!(view(run, vec![2, 2], &[0.0; 3]).is_err());
    }
}
