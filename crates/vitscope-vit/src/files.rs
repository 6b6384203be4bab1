//! The names of files that hold weights, or stand beside them; and from what the user names, a
//! file or a folder, to the files to open.
//!
//! The lists are here once: the crate `vitscope-hub` chooses what to download by them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    container::{DataFile, foreign, is_trick},
    error::{VitError, listed, shortened},
    identify::Format,
};

/// Names under which hubs keep weights, best first.
pub const WEIGHTS: &[&str] = &[
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
];

/// Files beside the weights that tell what they are.
pub const SIDECARS: &[&str] = &[
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
];

/// Endings of files of weights; one that is alone of them in a folder is opened.
pub const ENDINGS: &[&str] = &[
    ".safetensors",
    ".pth",
    ".pt",
    ".pth.tar",
    ".bin",
    ".npz",
    ".ckpt",
];

/// No index or config file is longer.
const JSON_LIMIT: u64 = 16 << 20;

/// More shards than any release has.
pub const SHARD_LIMIT: usize = 1000;

/// Whether a name ends as files of weights do, in any case of letters.
#[must_use]
pub fn is_weights(name: &str) -> bool {
    let lower = name.to_lowercase();
    ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

/// Whether a file of a repository that holds several formats side by side can be of this one.
#[must_use]
pub fn can_be(name: &str, format: Option<Format>) -> bool {
    match format {
        Some(Format::OpenClip) => name.starts_with("open_clip"),
        Some(Format::Timm | Format::Transformers) => !name.starts_with("open_clip"),
        Some(
            Format::Official
            | Format::Augreg
            | Format::MmPretrain
            | Format::Torchvision
            | Format::Own,
        )
        | None => true,
    }
}

/// The files to open, in order; where a folder holds several formats, those of `format`.
pub(crate) fn weights(path: &Path, format: Option<Format>) -> Result<Vec<PathBuf>, VitError> {
    if !path.is_dir() {
        return if path.to_string_lossy().ends_with(".index.json") {
            shards(path)
        } else {
            Ok(vec![path.to_owned()])
        };
    }
    // The JAX archives have names of their own, beside whatever else a folder holds.
    let jax = format == Some(Format::Augreg);
    for name in WEIGHTS.iter().filter(|name| !jax && can_be(name, format)) {
        let file = path.join(name);
        if file.is_file() {
            return weights(&file, format);
        }
    }
    if let Some(error) = foreign::of_folder(path) {
        return Err(error);
    }
    let io = |source| VitError::Io {
        path: path.to_owned(),
        source,
    };
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_weights(&name)
            && (!jax || name.to_lowercase().ends_with(".npz"))
            && entry.path().is_file()
        {
            found.insert(name);
        }
    }
    let names: Vec<String> = found.into_iter().collect();
    match names.as_slice() {
        [one] => Ok(vec![path.join(one)]),
        [] => Err(VitError::NoCheckpoint {
            path: path.to_owned(),
            found: format!(
                "it has none of {} and no single .pth, .pt, .npz or .safetensors file",
                WEIGHTS.join(", ")
            ),
        }),
        several => Err(VitError::NoCheckpoint {
            path: path.to_owned(),
            found: format!("it has {} candidates ({})", several.len(), listed(several)),
        }),
    }
}

/// The shards that an index lists, each a plain name beside the index.
fn shards(index: &Path) -> Result<Vec<PathBuf>, VitError> {
    let damaged = |what: String| VitError::Damaged {
        path: index.to_owned(),
        what,
    };
    let json = json(index)?;
    let map = json
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| damaged("it has no weight_map".to_owned()))?;
    let mut names = BTreeSet::new();
    for (tensor, name) in map {
        let name = name.as_str().unwrap_or_default();
        if name.is_empty() || name.contains('/') || is_trick(name) {
            return Err(damaged(format!(
                "it keeps tensor {} in {:?}, which is not the name of a file beside it",
                shortened(tensor),
                shortened(name)
            )));
        }
        names.insert(name);
    }
    if names.is_empty() || names.len() > SHARD_LIMIT {
        return Err(damaged(format!(
            "it lists {} shards, expected 1 to {SHARD_LIMIT}",
            names.len()
        )));
    }
    Ok(names
        .into_iter()
        .map(|name| index.with_file_name(name))
        .collect())
}

/// A JSON file of bounded size.
pub(crate) fn json(path: &Path) -> Result<Value, VitError> {
    let file = DataFile::open(path)?;
    if file.len > JSON_LIMIT {
        return Err(file.damaged(format!(
            "it has {} bytes, and at most {JSON_LIMIT} are read",
            file.len
        )));
    }
    serde_json::from_slice(&file.head(JSON_LIMIT)?)
        .map_err(|error| file.damaged(format!("it is not JSON: {error}")))
}
