//! Opening what a run looks at: a checkpoint or a feature directory.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vitscope_data::{DataSet, Geometry, Split};
use vitscope_run::files::sha256_of;
use vitscope_run::{Facet, ModelRecord, Record, Slot, limits};
use vitscope_vit::Vit;
use vitscope_vit::checkpoint::Checkpoint;
use vitscope_vit::identify::{Identity, Settle};

use crate::error::StudyError;
use crate::features::FeatureDir;
use crate::layers::Layers;
use crate::settings::Settings;
use crate::source::{Backbone, Source};

/// What the user points at.
#[derive(Clone, Debug)]
pub enum Model {
    /// A checkpoint, with what settles what it leaves open.
    Checkpoint(PathBuf, Settle),
    /// A feature directory.
    Features(PathBuf),
}

/// What is known of an opened model.
#[derive(Debug)]
pub struct Opened {
    /// For `run.json`.
    pub record: ModelRecord,
    /// The crop.
    pub geometry: Geometry,
    /// Patches per column and row.
    pub grid: [usize; 2],
    /// The slots to look at.
    pub slots: Vec<Slot>,
    /// Embedding width of each slot.
    pub widths: Vec<usize>,
    /// The name of its file or folder, for folders of runs.
    pub stem: String,
    /// Things worth knowing.
    pub notes: Vec<String>,
}

impl Opened {
    /// Patches of an image.
    #[must_use]
    pub fn patches(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}

/// What a model is, as far as that is told without its weights.
#[derive(Clone, Debug)]
pub struct Glance {
    /// The name of its file or folder, for folders of runs.
    pub stem: String,
    /// The files that hold it, in order.
    pub files: Vec<PathBuf>,
    /// The architecture as inferred; nothing for features.
    pub config: Value,
    /// What [`Record::read_as`] tells of it; nothing for features.
    pub read_as: Value,
    /// Blocks.
    pub depth: usize,
}

impl Model {
    /// Looks at a model without reading its weights.
    ///
    /// # Errors
    /// As [`Model::open`], as far as it is seen.
    pub fn glance(&self) -> Result<Glance, StudyError> {
        match self {
            Self::Checkpoint(path, settle) => {
                let checkpoint = Checkpoint::open(path, settle)?;
                Ok(Glance {
                    stem: settle.name.clone().unwrap_or_else(|| name_of(path)),
                    files: checkpoint.identity().files.clone(),
                    config: json(checkpoint.config()),
                    read_as: Record::read_as(&json(checkpoint.identity())),
                    depth: checkpoint.config().depth,
                })
            }
            Self::Features(path) => {
                let dir = FeatureDir::open(path)?;
                let layers = dir.slots().iter().map(|slot| slot.layer).max();
                Ok(Glance {
                    stem: dir.about.model.clone().unwrap_or_else(|| name_of(path)),
                    files: dir.files(),
                    config: json(&dir.about),
                    read_as: Value::Null,
                    depth: dir.about.depth.or(layers).unwrap_or(0),
                })
            }
        }
    }

    /// Opens a model for crops of about `size` pixels and looks up its slots.
    ///
    /// # Errors
    /// When the model cannot be read, or lacks an asked layer or facet.
    pub fn open(
        &self,
        size: usize,
        layers: &Layers,
        facets: &[Facet],
    ) -> Result<(Source, Opened), StudyError> {
        match self {
            Self::Checkpoint(path, _) if path.join("features.json").is_file() => {
                Err(StudyError::file(
                    path,
                    "holds features and no weights: a probe takes it as `features`, in place of a model",
                ))
            }
            Self::Checkpoint(path, settle) => open_checkpoint(path, settle, size, layers, facets),
            Self::Features(path) => open_features(path, size, layers, facets),
        }
    }
}

/// The name of a model in a Hugging Face cache, `models--owner--NAME/snapshots/COMMIT/FILE`.
fn name_in_cache(path: &Path) -> Option<String> {
    let name = path.components().rev().find_map(|part| {
        let rest = part.as_os_str().to_str()?.strip_prefix("models--")?;
        rest.split_once("--").map(|(_, name)| name.to_owned())
    })?;
    let plain = ["model.", "pytorch_model.", "open_clip_"];
    match (path.file_name()?.to_str()?, path.file_stem()?.to_str()?) {
        // Where a repository holds several models, the file tells which one this is.
        (file, stem) if path.is_file() && !plain.iter().any(|word| file.starts_with(word)) => {
            Some(format!("{name}-{stem}"))
        }
        _ => Some(name),
    }
}

fn name_of(path: &Path) -> String {
    if let Some(name) = name_in_cache(path) {
        return name;
    }
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let stem = absolute
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let plain = ["model", "pytorch_model", "open_clip_model"];
    match stem {
        // Hub files are all called alike: the folder tells them apart.
        Some(stem) if absolute.is_file() && plain.contains(&stem.as_str()) => {
            absolute.parent().and_then(name).unwrap_or(stem)
        }
        Some(stem) if absolute.is_file() => stem,
        _ => name(&absolute).unwrap_or_else(|| "model".to_owned()),
    }
}

/// What a checkpoint is called in tables and captions: what it is, and its file where other weights
/// could be the same.
fn called(path: &Path, identity: &Identity) -> String {
    if identity.named
        || name_in_cache(path).is_some_and(|name| !name.is_empty()) && identity.model.is_some()
    {
        identity.title.clone()
    } else {
        format!("{} ({})", identity.title, name_of(path))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// A value that serializes into one word, as that word.
fn word<T: serde::Serialize>(value: &T) -> Option<String> {
    json(value).as_str().map(str::to_owned)
}

/// Reads the weights of a checkpoint and puts the backbone together, on the device and in the
/// precision that the user settled.
pub(crate) fn load(checkpoint: &Checkpoint, settle: &Settle) -> Result<Vit, StudyError> {
    let (config, params) = (checkpoint.config().clone(), checkpoint.params()?);
    Ok(Vit::on(settle.device, config, params, settle.precision)?)
}

/// The SHA-256 of a checkpoint's files. A download is kept under its own (`models--NAME/blobs`, beside `snapshots`), so that
/// what the disk made of it since is told.
fn hash_of(files: &[PathBuf]) -> Result<String, StudyError> {
    let hash = sha256_of(files)?;
    for file in files {
        let Ok(kept) = file.canonicalize() else {
            continue;
        };
        let folder = kept.parent().filter(|folder| folder.ends_with("blobs"));
        let is_cache = folder.is_some_and(|folder| folder.with_file_name("snapshots").is_dir());
        let name = kept.file_name().unwrap_or_default().to_string_lossy();
        let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_cache || !is_hash {
            continue;
        }
        let found = match files {
            [_] => hash.clone(),
            _ => sha256_of(std::slice::from_ref(file))?,
        };
        if !found.eq_ignore_ascii_case(&name) {
            return Err(StudyError::file(
                &kept,
                format!(
                    "is damaged: it is kept under its SHA-256, and now has {found}; remove it, and it is downloaded again"
                ),
            ));
        }
    }
    Ok(hash)
}

fn open_checkpoint(
    path: &Path,
    settle: &Settle,
    size: usize,
    layers: &Layers,
    facets: &[Facet],
) -> Result<(Source, Opened), StudyError> {
    let checkpoint = Checkpoint::open(path, settle)?;
    let config = checkpoint.config().clone();
    let identity = checkpoint.identity();
    let geometry = Geometry::for_patch(size, config.patch);
    let slots = slots_of(
        &layers.resolve(config.depth).map_err(StudyError::Setting)?,
        facets,
    );
    let record = ModelRecord {
        name: called(path, identity),
        source: "checkpoint".to_owned(),
        path: path.display().to_string(),
        family: identity.family.to_string(),
        size: identity.size.clone().unwrap_or_default(),
        depth: config.depth,
        width: config.width,
        heads: Some(config.heads),
        patch: config.patch,
        sha256: hash_of(&identity.files)?,
        identity: json(identity),
        config: json(&config),
        precision: word(&settle.precision),
        device: word(&settle.device),
    };
    let (mean, std) = (identity.mean, identity.std);
    let vit = load(&checkpoint, settle)?;
    let widths = vec![vit.config().width; slots.len()];
    let backbone = Backbone::new(vit, geometry, mean, std)?;
    let opened = Opened {
        grid: [geometry.size / record.patch; 2],
        record,
        geometry,
        slots,
        widths,
        stem: settle.name.clone().unwrap_or_else(|| name_of(path)),
        notes: checkpoint.notes().map(ToString::to_string).collect(),
    };
    Ok((Source::Backbone(Box::new(backbone)), opened))
}

fn open_features(
    path: &Path,
    size: usize,
    layers: &Layers,
    facets: &[Facet],
) -> Result<(Source, Opened), StudyError> {
    let dir = FeatureDir::open(path)?;
    let available = dir.slots();
    let depth = dir
        .about
        .depth
        .or(available.iter().map(|slot| slot.layer).max())
        .unwrap_or(0);
    let layers_asked = layers.resolve(depth).map_err(StudyError::Setting)?;
    let slots: Vec<Slot> = slots_of(&layers_asked, facets)
        .into_iter()
        .filter(|slot| available.contains(slot))
        .collect();
    if slots.is_empty() {
        return Err(StudyError::file(
            path,
            format!(
                "holds none of the asked slots; it has {}",
                available
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ));
    }
    let (geometry, patch) = features_geometry(path, &dir, size)?;
    let widths: Vec<usize> = slots.iter().map(|&slot| dir.width(slot)).collect();
    let record = ModelRecord {
        name: dir.about.model.clone().unwrap_or_else(|| name_of(path)),
        source: "features".to_owned(),
        path: path.display().to_string(),
        family: dir.about.family.clone().unwrap_or_default(),
        size: dir.about.model_size.clone().unwrap_or_default(),
        depth,
        width: widths.iter().copied().max().unwrap_or(0),
        heads: None,
        patch,
        sha256: sha256_of(&dir.files())?,
        identity: json(&dir.about),
        config: Value::Null,
        precision: None,
        device: None,
    };
    let record_stem = record.name.clone();
    let notes = if dir.about.patch.is_none() && dir.about.size.is_none() {
        vec![format!(
            "features.json does not name patch or size: crops of {} pixels, patches of {patch}, are taken from `size`",
            geometry.size
        )]
    } else if size != geometry.size && size != Settings::default().size {
        vec![format!(
            "`size` {size} is not used: these features are of crops of {} pixels",
            geometry.size
        )]
    } else {
        Vec::new()
    };
    let opened = Opened {
        grid: dir.grid,
        record,
        geometry,
        slots,
        widths,
        stem: record_stem,
        notes,
    };
    Ok((Source::Features(Box::new(dir)), opened))
}

/// The crop and the patch's side that stored features stand for, in pixels.
fn features_geometry(
    path: &Path,
    dir: &FeatureDir,
    size: usize,
) -> Result<(Geometry, usize), StudyError> {
    // The crop follows from the grid: patches times their size, which features.json may name.
    let patch = match (dir.about.patch, dir.about.size) {
        (Some(patch), _) => patch,
        (None, size_px) => size_px.unwrap_or(size) / dir.grid[0],
    };
    if dir.grid[0] != dir.grid[1] || patch == 0 {
        return Err(StudyError::file(
            path,
            format!(
                "has {} x {} patches: a probe needs a square grid of patches of at least one pixel",
                dir.grid[0], dir.grid[1]
            ),
        ));
    }
    let geometry = Geometry {
        size: patch * dir.grid[0],
    };
    if geometry.size > limits::SIDE {
        return Err(StudyError::file(
            path,
            format!(
                "has {} patches of {patch} pixels a side, and a crop has at most {} pixels a side",
                dir.grid[0],
                limits::SIDE
            ),
        ));
    }
    if let Some(stated) = dir.about.size.filter(|&stated| stated != geometry.size) {
        return Err(StudyError::file(
            &path.join("features.json"),
            format!(
                "says size {stated}, but {} patches of {patch} pixels make {}: correct one of them",
                dir.grid[0], geometry.size
            ),
        ));
    }
    Ok((geometry, patch))
}

fn slots_of(layers: &[usize], facets: &[Facet]) -> Vec<Slot> {
    let of_layer = |&layer| facets.iter().map(move |&facet| Slot { facet, layer });
    layers.iter().flat_map(of_layer).collect()
}

/// Checks that features, where they stand in for a model, have an embedding for every image of a
/// data set, or for the first of them, where no more are used.
///
/// # Errors
/// When a split's counts differ.
pub fn check_counts(
    source: &Source,
    data: &DataSet,
    limits: [Option<usize>; 2],
) -> Result<(), StudyError> {
    let Source::Features(dir) = source else {
        return Ok(());
    };
    for (split, limit) in [Split::Train, Split::Test].into_iter().zip(limits) {
        let (have, need) = (dir.count(split), data.split(split).len());
        let are_first = limit.is_some_and(|limit| limit <= have && have < need);
        if have != need && !are_first {
            return Err(StudyError::file(
                dir.root(),
                format!(
                    "has {have} {split} images where the data set has {need}: extract the features from this data set, in its order{}",
                    match have < need {
                        true =>
                            format!(", or use `limit-{split}` {have} if these are its first {have}"),
                        false => String::new(),
                    }
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_that_changed_in_the_cache_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (other, blobs) = (dir.path().join("model.bin"), dir.path().join("blobs"));
        std::fs::create_dir(&blobs).unwrap();
        std::fs::write(&other, "weights").unwrap();
        let hash = hash_of(std::slice::from_ref(&other)).unwrap();
        let blob = blobs.join(&hash);
        std::fs::write(&blob, "weights").unwrap();
        assert_eq!(hash_of(std::slice::from_ref(&blob)).unwrap(), hash);
        hash_of(&[other.clone(), blob.clone()]).unwrap();
        std::fs::write(&blob, "weighty").unwrap();
        // Somebody's own folder of that name is no cache.
        hash_of(std::slice::from_ref(&blob)).unwrap();
        std::fs::create_dir(dir.path().join("snapshots")).unwrap();
        for files in [vec![blob.clone()], vec![other, blob]] {
            let error = hash_of(&files).unwrap_err().to_string();
            assert!(error.contains("is damaged"), "{error}");
        }
    }

    #[test]
    fn a_model_is_called_by_what_tells_it_apart() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("mine");
        std::fs::create_dir(&own).unwrap();
        for name in ["model.safetensors", "vits14.pth"] {
            std::fs::write(own.join(name), "weights").unwrap();
        }
        assert_eq!(name_of(&own.join("vits14.pth")), "vits14");
        // Hub files are all called alike.
        assert_eq!(name_of(&own.join("model.safetensors")), "mine");
        assert_eq!(name_of(&own), "mine");
        let cached = folder.path().join("models--owner--dino/snapshots/abc");
        std::fs::create_dir_all(&cached).unwrap();
        for name in ["model.safetensors", "teacher.pth"] {
            std::fs::write(cached.join(name), "weights").unwrap();
        }
        assert_eq!(name_of(&cached), "dino");
        assert_eq!(name_of(&cached.join("model.safetensors")), "dino");
        assert_eq!(name_of(&cached.join("teacher.pth")), "dino-teacher");
    }

    #[test]
    fn slots_come_layer_by_layer() {
        let slots = slots_of(&[1, 3], &[Facet::Key, Facet::Token]);
        let slots: Vec<String> = slots.iter().map(ToString::to_string).collect();
        assert_eq!(slots, ["key.1", "token.1", "key.3", "token.3"]);
    }
}
