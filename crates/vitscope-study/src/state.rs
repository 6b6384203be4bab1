//! Unfinished work that a run keeps, so that it can go on after being stopped or killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::files;

/// It is stored this often.
pub const SAVE_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Header {
    fingerprint: String,
    done: usize,
}

/// The folder of unfinished work.
#[must_use]
pub fn folder(run: &Path) -> PathBuf {
    run.join("state")
}

/// Removes the unfinished work of a run that needs it no more.
///
/// # Errors
/// When the folder cannot be removed.
pub fn remove(run: &Path) -> Result<(), StudyError> {
    let folder = folder(run);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StudyError::io(&folder, "remove the folder")(error))
        }
        _ => Ok(()),
    }
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
    fingerprint: &str,
    done: usize,
    tensors: Vec<(String, TensorView<'_>)>,
) -> Result<(), StudyError> {
    let path = file(run, name);
    let header = Header {
        fingerprint: fingerprint.to_owned(),
        done,
    };
    let text = serde_json::to_string(&header)
        .map_err(|error| StudyError::file(&path, format!("cannot be written: {error}")))?;
    files::write_tensors(&path, tensors, Some((name, text)))
}

/// Unfinished work as it was stored.
#[derive(Debug)]
pub struct Found {
    path: PathBuf,
    bytes: Vec<u8>,
    /// How much of it is done.
    pub done: usize,
}

impl Found {
    /// Reads unfinished work; `None` where there is none.
    ///
    /// # Errors
    /// A sentence, for a damaged file and for one of another run.
    pub fn read(run: &Path, name: &str, fingerprint: &str) -> Result<Option<Self>, StudyError> {
        let path = file(run, name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StudyError::io(&path, "read")(error)),
        };
        let mut found = Self {
            path,
            bytes,
            done: 0,
        };
        let (_, metadata) =
            SafeTensors::read_metadata(&found.bytes).map_err(|error| found.damaged(error))?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get(name));
        let header: Header = serde_json::from_str(text.map_or("", String::as_str))
            .map_err(|error| found.damaged(error))?;
        if header.fingerprint != fingerprint {
            return Err(StudyError::setting(format!(
                "{}: belongs to a run of other settings, model, data or program version: repeat the command that began it, or choose another --out",
                run.display()
            )));
        }
        found.done = header.done;
        Ok(Some(found))
    }

    /// Its numbers.
    ///
    /// # Errors
    /// For a damaged file.
    pub fn tensors(&self) -> Result<SafeTensors<'_>, StudyError> {
        SafeTensors::deserialize(&self.bytes).map_err(|error| self.damaged(error))
    }

    /// The error for content that cannot be.
    pub fn damaged(&self, problem: impl std::fmt::Display) -> StudyError {
        StudyError::file(
            &self.path,
            format!("is damaged ({problem}): start the run again without --resume"),
        )
    }
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

/// The numbers of a tensor of [`view`].
#[must_use]
pub fn numbers(tensor: &TensorView<'_>) -> Vec<f64> {
    let (values, _) = tensor.data().as_chunks::<8>();
    values
        .iter()
        .map(|bytes| f64::from_le_bytes(*bytes))
        .collect()
}
