//! From what the user names, a file or a folder, to the files that hold the weights.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{archive::is_trick, file::DataFile};
use crate::{
    error::{VitError, listed, shortened},
    identify::Format,
};

/// Names under which hubs keep weights, best first.
const WEIGHTS: &[&str] = &[
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
];

/// Endings of single files that are opened when a folder holds exactly one of them.
const ENDINGS: &[&str] = &[
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
const SHARD_LIMIT: usize = 1000;

/// The files to open, in order; where a folder holds several formats, those of `format`.
pub(crate) fn weights(path: &Path, format: Option<Format>) -> Result<Vec<PathBuf>, VitError> {
    if !path.is_dir() {
        return if path.to_string_lossy().ends_with(".index.json") {
            shards(path)
        } else {
            Ok(vec![path.to_owned()])
        };
    }
    // One repository may hold several formats side by side.
    let wanted = |name: &str| match format {
        Some(Format::OpenClip) => name.starts_with("open_clip"),
        Some(Format::Timm | Format::Transformers) => !name.starts_with("open_clip"),
        Some(Format::Augreg) => name.ends_with(".npz"),
        Some(Format::Official | Format::Own) | None => true,
    };
    for name in WEIGHTS.iter().filter(|name| wanted(name)) {
        let file = path.join(name);
        if file.is_file() {
            return weights(&file, format);
        }
    }
    let io = |source| VitError::Io {
        path: path.to_owned(),
        source,
    };
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let lower = name.to_lowercase();
        if ENDINGS.iter().any(|ending| lower.ends_with(ending))
            && (format != Some(Format::Augreg) || wanted(&lower))
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
        return Err(damaged(format!("it lists {} shards", names.len())));
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
        return Err(file.damaged(format!("it has {} bytes, too many for its kind", file.len)));
    }
    serde_json::from_slice(&file.head(JSON_LIMIT)?)
        .map_err(|error| file.damaged(format!("it is not JSON: {error}")))
}
