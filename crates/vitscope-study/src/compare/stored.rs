//! Run directories of every kind, read again: what a run was, and its figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::metrics::HEADER;
use crate::record::FORMAT;
use crate::select::Select;
use crate::settings::Side;

/// A figure with its interval; a part that the run left empty is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// The figure.
    pub value: Option<f64>,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
}

/// A row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The layer, from 1; `None` for the data set's own labels.
    pub layer: Option<usize>,
    /// The facet; `ground_truth`; empty for a layer as a whole.
    pub facet: String,
    /// What was measured.
    pub metric: String,
    /// The class, the cluster, the head, or empty.
    pub class: String,
    /// The figure.
    pub measured: Measured,
    /// Every column as it stands in the file.
    pub fields: Vec<String>,
}

/// Which model a run looked at. Runs of one model are joined by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct ModelName {
    /// What it is called in tables.
    pub name: String,
    /// Its family, where known.
    pub family: String,
    /// Its size, where known.
    pub size: String,
    /// Pixels of a patch.
    pub patch: usize,
    /// Blocks.
    pub depth: usize,
}

/// Which images a run looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct DataName {
    /// The kind of the data set.
    pub kind: String,
    /// A hash of its list of images.
    pub list_hash: String,
    root: String,
}

impl DataName {
    /// Whether two runs looked at one data set; where it lay does not matter.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.kind, &self.list_hash) == (&other.kind, &other.list_hash)
    }
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// What it is called here: the shortest end of its path that no other run shares.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// The model.
    pub model: ModelName,
    /// The images.
    pub data: DataName,
    /// Which reading of the last token it has.
    pub token_norm: Side,
    /// Its figures.
    pub rows: Vec<Row>,
    selection: BTreeMap<String, usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Manifest {
    format: u32,
    state: String,
    settings: StoredSettings,
    model: ModelName,
    data: DataName,
    selection: BTreeMap<String, usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredSettings {
    token_norm: Option<Side>,
}

/// Reads runs and gives each its name.
///
/// # Errors
/// A sentence, for a folder that is no finished run, and for one that is given twice.
pub fn open_all(paths: &[PathBuf]) -> Result<Vec<StoredRun>, StudyError> {
    let mut whole = Vec::new();
    for path in paths {
        let found = path.canonicalize().map_err(StudyError::io(path, "open"))?;
        if whole.contains(&found) {
            return Err(StudyError::setting(format!(
                "{}: is given twice: give every run once",
                path.display()
            )));
        }
        whole.push(found);
    }
    let mut runs = Vec::new();
    for (path, name) in paths.iter().zip(names(&whole)) {
        runs.push(StoredRun::open(path, name)?);
    }
    Ok(runs)
}

/// The shortest ends of paths by which they can be told apart.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let parts = |path: &PathBuf| -> Vec<String> {
        let parts = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        parts.map(std::borrow::Cow::into_owned).collect()
    };
    let parts: Vec<Vec<String>> = paths.iter().map(parts).collect();
    let end = |parts: &[String], count: usize| parts[parts.len().saturating_sub(count)..].join("/");
    let name = |own: &Vec<String>| {
        let alone = |&count: &usize| {
            let name = end(own, count);
            parts
                .iter()
                .filter(|other| end(other, count) == name)
                .count()
                == 1
        };
        end(own, (1..own.len()).find(alone).unwrap_or(own.len()))
    };
    parts.iter().map(name).collect()
}

impl StoredRun {
    fn open(path: &Path, name: String) -> Result<Self, StudyError> {
        let file = path.join("run.json");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StudyError::file(
                    path,
                    "is not a run directory (it holds no run.json): give the folders that probe, attention and correspond have written",
                ));
            }
            Err(error) => return Err(StudyError::io(&file, "read")(error)),
        };
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| {
            StudyError::file(&file, format!("is not what a run writes: {error}"))
        })?;
        if manifest.format != FORMAT {
            let (found, own) = (manifest.format, FORMAT);
            return Err(StudyError::file(
                &file,
                format!(
                    "has format {found}, and this version reads {own}: use the vitscope that wrote it"
                ),
            ));
        }
        if manifest.state == "shard" {
            return Err(StudyError::file(
                path,
                "is a shard of a run: make the run of all its shards with vitscope merge",
            ));
        }
        if manifest.state != "complete" {
            return Err(StudyError::file(
                path,
                "is not finished: continue it with --resume, or leave it out",
            ));
        }
        Ok(Self {
            name,
            path: path.to_owned(),
            model: manifest.model,
            data: manifest.data,
            token_norm: manifest.settings.token_norm.unwrap_or(Side::After),
            rows: read_metrics(&path.join("metrics.csv"))?,
            selection: manifest.selection,
        })
    }

    /// A figure of a slot as a whole.
    #[must_use]
    pub fn figure(&self, facet: &str, layer: usize, metric: &str) -> Option<Measured> {
        self.rows
            .iter()
            .find(|row| {
                row.facet == facet
                    && row.layer == Some(layer)
                    && row.metric == metric
                    && row.class.is_empty()
            })
            .map(|row| row.measured)
    }

    /// Whether any row holds such a figure.
    #[must_use]
    pub fn has(&self, metric: &str) -> bool {
        self.rows.iter().any(|row| row.metric == metric)
    }

    /// The layers of a facet (or, with an empty name, those measured as a whole), ascending.
    #[must_use]
    pub fn layers(&self, facet: &str) -> Vec<usize> {
        let of_facet = self.rows.iter().filter(|row| row.facet == facet);
        let mut layers: Vec<usize> = of_facet.filter_map(|row| row.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        layers
    }

    /// The layer at which a facet is shown; `None` where it has no such layer. What has no mIoU is
    /// shown where its own run found it best.
    #[must_use]
    pub fn selected(&self, facet: &str, select: Select) -> Option<usize> {
        let miou = |layer| self.figure(facet, layer, "miou").and_then(|m| m.value);
        let layers: Vec<_> = self
            .layers(facet)
            .into_iter()
            .map(|l| (l, miou(l)))
            .collect();
        let unmeasured = layers.iter().all(|(_, miou)| miou.is_none());
        match self.selection.get(facet) {
            Some(&layer) if unmeasured && select == Select::BestMiou => {
                Select::Layer(layer).layer(&layers)
            }
            _ => select.layer(&layers),
        }
    }
}

fn read_metrics(path: &Path) -> Result<Vec<Row>, StudyError> {
    let bad = |problem: String| StudyError::file(path, format!("{problem}: make the run again"));
    let text = std::fs::read(path).map_err(StudyError::io(path, "read"))?;
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let header = reader.headers().map_err(|error| bad(error.to_string()))?;
    if header.iter().collect::<Vec<_>>().join(",") != HEADER {
        return Err(bad(format!("does not begin with the columns {HEADER}")));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad(error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |index: usize| record.get(index).unwrap_or_default();
        let number = |index: usize| match field(index) {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => Err(bad(format!(
                    "line {line} has {text:?} where a number belongs"
                ))),
            },
        };
        let layer = match field(3) {
            "" => None,
            text => {
                let wrong = |_| bad(format!("line {line} has {text:?} where a layer belongs"));
                Some(text.parse::<usize>().map_err(wrong)?)
            }
        };
        let (low, high) = (number(8)?, number(9)?);
        rows.push(Row {
            layer,
            facet: field(4).to_owned(),
            metric: field(5).to_owned(),
            class: field(6).to_owned(),
            measured: Measured {
                value: number(7)?,
                interval: low.zip(high),
            },
            fields: record.iter().map(str::to_owned).collect(),
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let paths = ["/a/dino/seed-0", "/a/mae/seed-0", "/b/x"].map(PathBuf::from);
        assert_eq!(names(&paths), ["dino/seed-0", "mae/seed-0", "x"]);
        assert_eq!(names(&[PathBuf::from("/one")]), ["one"]);
    }
}
