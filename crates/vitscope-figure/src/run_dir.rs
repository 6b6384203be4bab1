//! A run directory, read and typed. Nothing outside this module knows where a file lies.
//!
//! Only `run.json` must exist. Every other part may be missing (no ground truth, a run still
//! going, `--save-labels none`); readers then give `None`, and the page says what is absent.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::FigureError;
use crate::metrics::Metrics;
use crate::pixels::{LabelMap, Rgb};

/// The newest format of a run directory that this version can read.
const FORMAT: u64 = 1;

/// One of the four embeddings of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Facet {
    Key,
    Query,
    Value,
    Token,
}

impl Facet {
    /// All facets, in the order in which every figure shows them.
    pub(crate) const ALL: [Self; 4] = [Self::Key, Self::Query, Self::Value, Self::Token];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Query => "query",
            Self::Value => "value",
            Self::Token => "token",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|facet| facet.name() == name)
    }
}

/// One probe: a facet of a layer (from 1), or the ground truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Truth,
    Probe(Facet, u32),
}

impl fmt::Display for Slot {
    /// The name that files of the slot carry.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth => out.write_str("ground_truth"),
            Self::Probe(facet, layer) => write!(out, "{}.{layer}", facet.name()),
        }
    }
}

/// Whether a run has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    #[default]
    Complete,
    Running,
    Interrupted,
}

/// How the layer that stands for a facet was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By the run, as the layer of best mIoU.
    Best,
    /// By the run, on data without ground truth.
    Stored,
    /// Here, as the facet's last layer, because the run has not chosen.
    Last,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// How the reader of a checkpoint decided something that the tensors leave open.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Decision {
    pub(crate) what: String,
    pub(crate) value: Value,
    pub(crate) because: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) family: Option<String>,
    pub(crate) size: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) width: Option<u64>,
    pub(crate) depth: Option<u32>,
    pub(crate) heads: Option<u64>,
    pub(crate) patch: Option<u64>,
    pub(crate) decisions: Vec<Decision>,
}

/// A class of the data set, in its standard color.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Class {
    pub(crate) name: String,
    pub(crate) color: [u8; 3],
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Data {
    pub(crate) kind: String,
    pub(crate) root: String,
    pub(crate) train: Option<u64>,
    pub(crate) test: Option<u64>,
    pub(crate) list_hash: Option<String>,
    pub(crate) classes: Option<Vec<Class>>,
    pub(crate) has_truth: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    format: u64,
    program: Program,
    state: State,
    settings: Map<String, Value>,
    model: Model,
    data: Data,
    clusters: Option<u64>,
    size: Option<u64>,
    seed: Option<u64>,
    machine: Map<String, Value>,
    times: Map<String, Value>,
    examples: Option<Vec<String>>,
    selection: Option<Map<String, Value>>,
    notes: Option<Vec<String>>,
}

/// A run directory whose manifest and metrics have been read. Pictures are read when asked for.
#[derive(Debug)]
pub(crate) struct Run {
    root: PathBuf,
    pub(crate) program: Program,
    pub(crate) state: State,
    pub(crate) settings: Map<String, Value>,
    pub(crate) model: Model,
    pub(crate) data: Data,
    pub(crate) classes: Vec<Class>,
    pub(crate) clusters: Option<u64>,
    pub(crate) size: Option<u64>,
    pub(crate) seed: Option<u64>,
    pub(crate) machine: Map<String, Value>,
    pub(crate) times: Map<String, Value>,
    pub(crate) examples: Vec<String>,
    /// The layer shown of each facet, in the order of [`Facet::ALL`].
    pub(crate) selection: Vec<(Facet, u32)>,
    pub(crate) choice: Choice,
    pub(crate) notes: Vec<String>,
    pub(crate) metrics: Metrics,
    matches: BTreeMap<(Facet, u32), Vec<i64>>,
    positions: BTreeMap<Slot, Positions>,
}

/// How often each cluster was predicted at each place of the patch grid.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    pub(crate) clusters: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) counts: Vec<u32>,
}

impl Run {
    /// Reads the manifest, the metrics and the small tensors of a run directory.
    pub(crate) fn open(root: &Path) -> Result<Self, FigureError> {
        let path = root.join("run.json");
        let Some(text) = read_if_there(&path)? else {
            return Err(FigureError::NotARun {
                path: root.to_owned(),
            });
        };
        let manifest = parse_manifest(&path, &text)?;
        let Manifest {
            data,
            examples,
            selection,
            notes,
            ..
        } = manifest;
        let mut run = Self {
            root: root.to_owned(),
            program: manifest.program,
            state: manifest.state,
            settings: manifest.settings,
            model: manifest.model,
            classes: data.classes.clone().unwrap_or_default(),
            data,
            clusters: manifest.clusters,
            size: manifest.size,
            seed: manifest.seed,
            machine: manifest.machine,
            times: manifest.times,
            examples: examples.unwrap_or_default(),
            selection: Vec::new(),
            choice: Choice::Last,
            notes: notes.unwrap_or_default(),
            metrics: Metrics::default(),
            matches: BTreeMap::new(),
            positions: BTreeMap::new(),
        };
        // Stems become parts of paths: one that climbs out of the run would read foreign files.
        if let Some(bad) = run.examples.iter().find(|stem| !is_plain_relative(stem)) {
            return Err(FigureError::malformed(
                &path,
                format!("has the example {bad:?}, which is not a plain stem"),
            ));
        }
        let path = root.join("metrics.csv");
        if let Some(text) = read_if_there(&path)? {
            run.metrics = Metrics::parse(&path, &text)?;
        }
        run.read_matches()?;
        run.read_positions()?;
        (run.selection, run.choice) = run.select(&selection.unwrap_or_default());
        Ok(run)
    }

    pub(crate) fn figures_dir(&self) -> PathBuf {
        self.root.join("figures")
    }

    pub(crate) fn page_path(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// Every probe that has a metric, an aggregate map or a selection, facets first.
    pub(crate) fn probes(&self) -> Vec<(Facet, u32)> {
        let mut probes = self.metrics.probes();
        probes.extend(self.matches.keys());
        probes.extend(self.selection.iter());
        probes.sort_unstable();
        probes.dedup();
        probes
    }

    /// All layers that occur, ascending.
    pub(crate) fn layers(&self) -> Vec<u32> {
        let mut layers: Vec<u32> = self.probes().iter().map(|&(_, layer)| layer).collect();
        layers.sort_unstable();
        layers.dedup();
        layers
    }

    /// The slots that a figure of best layers shows: ground truth (if any), then each facet.
    pub(crate) fn best_slots(&self) -> Vec<Slot> {
        let truth = self.data.has_truth.then_some(Slot::Truth);
        truth
            .into_iter()
            .chain(
                self.selection
                    .iter()
                    .map(|&(facet, layer)| Slot::Probe(facet, layer)),
            )
            .collect()
    }

    /// The photograph of an example.
    pub(crate) fn image(&self, stem: &str) -> Result<Option<Rgb>, FigureError> {
        read_picture(
            &self.root.join("images").join(format!("{stem}.png")),
            Rgb::decode,
        )
    }

    /// The label map of an example.
    pub(crate) fn labels(&self, slot: Slot, stem: &str) -> Result<Option<LabelMap>, FigureError> {
        let path = self
            .root
            .join("labels")
            .join(slot.to_string())
            .join(format!("{stem}.png"));
        read_picture(&path, LabelMap::decode)
    }

    /// The aggregate map of a slot.
    pub(crate) fn aggregate(&self, slot: Slot) -> Result<Option<Rgb>, FigureError> {
        read_picture(
            &self.root.join("aggregate").join(format!("{slot}.png")),
            Rgb::decode,
        )
    }

    /// The counts behind a slot's aggregate map, on the patch grid.
    pub(crate) fn positions(&self, slot: Slot) -> Option<&Positions> {
        self.positions.get(&slot)
    }

    /// Rows and columns of the patch grid, where the run kept counts on it.
    pub(crate) fn grid(&self) -> Option<[usize; 2]> {
        self.positions
            .values()
            .next()
            .map(|positions| [positions.rows, positions.columns])
            .filter(|[rows, columns]| rows * columns > 0)
    }

    /// Whether an index of a label map is a class (else it is a cluster).
    pub(crate) fn labels_are_classes(&self) -> bool {
        self.data.has_truth && self.clusters.is_none_or(|k| k == self.classes.len() as u64)
    }

    /// The class that cluster `cluster` of a slot was matched with.
    pub(crate) fn class_of(&self, facet: Facet, layer: u32, cluster: usize) -> Option<usize> {
        let class = *self.matches.get(&(facet, layer))?.get(cluster)?;
        usize::try_from(class).ok()
    }

    fn read_matches(&mut self) -> Result<(), FigureError> {
        for file in ["codebooks.safetensors", "counts.safetensors"] {
            let path = self.root.join(file);
            let Some(bytes) = read_bytes_if_there(&path)? else {
                continue;
            };
            for (name, tensor) in tensors(&path, &bytes)?.iter() {
                let Some((facet, layer)) = name.strip_prefix("match.").and_then(parse_probe) else {
                    continue;
                };
                if tensor.dtype() != Dtype::I64 || tensor.shape().len() != 1 {
                    return Err(FigureError::malformed(
                        &path,
                        format!("has {name} that is not a list of i64"),
                    ));
                }
                let classes = tensor
                    .data()
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|bytes| i64::from_le_bytes(*bytes));
                self.matches.insert((facet, layer), classes.collect());
            }
        }
        Ok(())
    }

    fn read_positions(&mut self) -> Result<(), FigureError> {
        let path = self.root.join("counts.safetensors");
        let Some(bytes) = read_bytes_if_there(&path)? else {
            return Ok(());
        };
        for (name, tensor) in tensors(&path, &bytes)?.iter() {
            let Some(name) = name.strip_prefix("position.") else {
                continue;
            };
            let slot = match (name, parse_probe(name)) {
                ("ground_truth", _) => Slot::Truth,
                (_, Some((facet, layer))) => Slot::Probe(facet, layer),
                _ => continue,
            };
            // With --save-counts pixel or another count type the page does without.
            let (Dtype::U32, &[clusters, rows, columns]) = (tensor.dtype(), tensor.shape()) else {
                continue;
            };
            let counts = tensor
                .data()
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| u32::from_le_bytes(*bytes))
                .collect();
            self.positions.insert(
                slot,
                Positions {
                    clusters,
                    rows,
                    columns,
                    counts,
                },
            );
        }
        Ok(())
    }

    /// The layer per facet as the run chose it; where it chose none, the facet's last layer.
    fn select(&self, stored: &Map<String, Value>) -> (Vec<(Facet, u32)>, Choice) {
        let probes = self.probes();
        let stored = |facet: Facet| {
            let layer = stored.get(facet.name()).and_then(Value::as_u64)?;
            u32::try_from(layer).ok()
        };
        let facets = Facet::ALL.into_iter();
        let pairs: Vec<(Facet, u32)> = facets
            .filter_map(|facet| {
                let last = || {
                    probes
                        .iter()
                        .rfind(|probe| probe.0 == facet)
                        .map(|probe| probe.1)
                };
                stored(facet).or_else(last).map(|layer| (facet, layer))
            })
            .collect();
        let all_stored = pairs.iter().all(|&(facet, _)| stored(facet).is_some());
        let choice = match (all_stored, self.data.has_truth) {
            (true, true) => Choice::Best,
            (true, false) => Choice::Stored,
            (false, _) => Choice::Last,
        };
        (pairs, choice)
    }
}

fn parse_manifest(path: &Path, text: &str) -> Result<Manifest, FigureError> {
    let mut value: Value = serde_json::from_str(text)
        .map_err(|error| FigureError::malformed(path, format!("is not valid JSON ({error})")))?;
    match value.get("format").map(Value::as_u64) {
        Some(Some(FORMAT)) => {}
        Some(Some(newer)) if newer > FORMAT => {
            return Err(FigureError::Malformed {
                path: path.to_owned(),
                problem: format!("has format {newer}, and this version reads format {FORMAT}"),
                remedy: "use a newer vitscope",
            });
        }
        _ => {
            return Err(FigureError::malformed(
                path,
                format!("has no format number, expected \"format\": {FORMAT}"),
            ));
        }
    }
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| {
        FigureError::malformed(path, format!("does not have the expected fields ({error})"))
    })
}

/// A field that is null means the same as one that is left out.
fn drop_nulls(manifest: &mut Value) {
    let Some(fields) = manifest.as_object_mut() else {
        return;
    };
    fields.retain(|_, value| !value.is_null());
    for part in ["program", "model", "data"] {
        if let Some(part) = fields.get_mut(part).and_then(Value::as_object_mut) {
            part.retain(|_, value| !value.is_null());
        }
    }
}

fn tensors<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, FigureError> {
    SafeTensors::deserialize(bytes).map_err(|error| {
        FigureError::malformed(path, format!("is not a safetensors file ({error})"))
    })
}

fn parse_probe(name: &str) -> Option<(Facet, u32)> {
    let (facet, layer) = name.split_once('.')?;
    Some((Facet::parse(facet)?, layer.parse().ok()?))
}

fn is_plain_relative(stem: &str) -> bool {
    !stem.is_empty()
        && Path::new(stem)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
}

fn read_picture<T>(
    path: &Path,
    decode: impl Fn(&Path, &[u8]) -> Result<T, FigureError>,
) -> Result<Option<T>, FigureError> {
    read_bytes_if_there(path)?
        .map(|bytes| decode(path, &bytes))
        .transpose()
}

fn read_bytes_if_there(path: &Path) -> Result<Option<Vec<u8>>, FigureError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FigureError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, FigureError> {
    let Some(bytes) = read_bytes_if_there(path)? else {
        return Ok(None);
    };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| FigureError::malformed(path, "is not UTF-8 text"))
}
