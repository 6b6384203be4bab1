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
use crate::theme;

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

/// Which command made a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    #[default]
    Probe,
    Attention,
    Correspond,
}

/// An image that could not be used and was left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Skipped {
    pub(crate) split: String,
    pub(crate) name: String,
    pub(crate) problem: String,
}

/// How the layer that stands for a facet was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By the run, as the layer of best mIoU.
    Best,
    /// By the run, in another way.
    Stored,
    /// Here, as the facet's last layer, because the run has not chosen.
    Last,
    /// By the run, as the layer of the largest share of correct key points.
    BestPck,
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
    /// What the reader of the checkpoint, or of the features, says about it.
    identity: Value,
}

impl Model {
    /// Takes over what only the reader's account says; its shape differs between readers.
    fn adopt_identity(&mut self) {
        let format = self.identity.get("format").and_then(Value::as_str);
        self.format = self.format.take().or_else(|| format.map(str::to_owned));
        let decisions = self.identity.get("decisions").cloned();
        let decisions = decisions.and_then(|value| serde_json::from_value(value).ok());
        self.decisions.extend(decisions.unwrap_or_else(Vec::new));
    }
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

impl Data {
    /// What readers know the set by: its kind, or for a layout that any set may have, its folder.
    pub(crate) fn name(&self) -> &str {
        let path = Path::new(&self.root);
        let folder = path.file_stem().and_then(|stem| stem.to_str());
        match (self.kind.as_str(), folder) {
            ("folder" | "toml", Some(folder)) => folder,
            ("spair71k", Some(folder)) if !folder.to_ascii_lowercase().contains("spair") => folder,
            ("", _) => "unnamed data",
            (kind, _) => kind,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    format: u64,
    program: Program,
    state: State,
    command: Kind,
    settings: Map<String, Value>,
    model: Model,
    data: Data,
    skipped: Vec<Skipped>,
    clusters: Option<u64>,
    grid: Option<[usize; 2]>,
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
    pub(crate) kind: Kind,
    /// Images that the run could not use.
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) model: Model,
    pub(crate) data: Data,
    pub(crate) classes: Vec<Class>,
    pub(crate) clusters: Option<u64>,
    /// Rows and columns of the patch grid.
    pub(crate) grid: Option<[usize; 2]>,
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
    /// How often each cluster was predicted at each place of the patch grid, per slot.
    positions: BTreeMap<Slot, Vec<u64>>,
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
            mut model,
            examples,
            selection,
            notes,
            ..
        } = manifest;
        model.adopt_identity();
        let mut run = Self {
            root: root.to_owned(),
            program: manifest.program,
            state: manifest.state,
            kind: manifest.command,
            skipped: manifest.skipped,
            settings: manifest.settings,
            model,
            // Without ground truth, colors stand for clusters and classes have no part.
            classes: data
                .classes
                .clone()
                .filter(|_| data.has_truth)
                .unwrap_or_default(),
            data,
            clusters: manifest.clusters,
            grid: manifest.grid,
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
        run.read_tensors()?;
        (run.selection, run.choice) = run.select(&selection.unwrap_or_default());
        Ok(run)
    }

    /// The directory, for files that a module of its own reads.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether photographs of pairs were padded to the network's square, not stretched.
    pub(crate) fn is_padded(&self) -> bool {
        self.settings.get("fit").and_then(|fit| fit.as_str()) == Some("pad")
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

    /// Every facet that has a probe, in the order of all figures.
    pub(crate) fn facets(&self) -> Vec<Facet> {
        let probes = self.probes();
        let has = |facet: &Facet| probes.iter().any(|probe| probe.0 == *facet);
        Facet::ALL.into_iter().filter(has).collect()
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
    ///
    /// Where clusters are not classes, a cluster that was matched has its class's color and every
    /// other one a color of its own, so that rows and legend speak of the same colors.
    pub(crate) fn labels(&self, slot: Slot, stem: &str) -> Result<Option<LabelMap>, FigureError> {
        let path = self
            .root
            .join("labels")
            .join(slot.to_string())
            .join(format!("{stem}.png"));
        let mut map = read_picture(&path, LabelMap::decode)?;
        if let (Some(map), Slot::Probe(..), true) = (&mut map, slot, self.has_loose_clusters()) {
            map.palette = (0..256)
                .map(|index| self.cluster_color(slot, index))
                .collect();
        }
        Ok(map)
    }

    /// The aggregate map of a slot; where clusters are not classes, from the counts on the patch
    /// grid, in the colors of [`Run::labels`].
    pub(crate) fn aggregate(&self, slot: Slot) -> Result<Option<Rgb>, FigureError> {
        if let (Slot::Probe(..), true, Some(counts), Some([rows, columns])) = (
            slot,
            self.has_loose_clusters(),
            self.positions(slot),
            self.grid,
        ) {
            let color = |cluster| self.cluster_color(slot, cluster);
            return Ok(Some(mixed(counts, [rows, columns], color)));
        }
        read_picture(
            &self.root.join("aggregate").join(format!("{slot}.png")),
            Rgb::decode,
        )
    }

    /// Whether there are classes, and clusters beside them.
    pub(crate) fn has_loose_clusters(&self) -> bool {
        self.data.has_truth && !self.labels_are_classes()
    }

    fn cluster_color(&self, slot: Slot, cluster: usize) -> [u8; 3] {
        let class = match slot {
            Slot::Truth => Some(cluster),
            Slot::Probe(facet, layer) => self.class_of(facet, layer, cluster),
        };
        let class = class.and_then(|class| self.classes.get(class));
        class.map_or_else(|| theme::cluster(cluster), |class| class.color)
    }

    /// The aggregate map from the counts on the patch grid, in other colors than the stored one.
    pub(crate) fn aggregate_in(&self, slot: Slot, color: impl Fn(usize) -> [u8; 3]) -> Option<Rgb> {
        Some(mixed(self.positions(slot)?, self.grid?, color))
    }

    /// The counts behind a slot's aggregate map: for each cluster, those of the patch grid.
    pub(crate) fn positions(&self, slot: Slot) -> Option<&[u64]> {
        self.positions.get(&slot).map(Vec::as_slice)
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

    /// Reads what the run keeps as tensors: matches, and position counts on the patch grid.
    fn read_tensors(&mut self) -> Result<(), FigureError> {
        for file in ["codebooks.safetensors", "counts.safetensors"] {
            let path = self.root.join(file);
            let Some(bytes) = read_bytes_if_there(&path)? else {
                continue;
            };
            let bad = |problem| FigureError::malformed(&path, problem);
            let tensors = SafeTensors::deserialize(&bytes)
                .map_err(|error| bad(format!("is not a safetensors file ({error})")))?;
            for (name, tensor) in tensors.iter() {
                if let Some(probe) = name.strip_prefix("match.").and_then(parse_probe) {
                    if tensor.dtype() != Dtype::I64 {
                        return Err(bad(format!("has {name} that is not of type i64")));
                    }
                    let classes = tensor.data().as_chunks().0.iter();
                    self.matches.insert(
                        probe,
                        classes.map(|&bytes| i64::from_le_bytes(bytes)).collect(),
                    );
                } else if let Some(slot) = name.strip_prefix("position.").and_then(parse_slot)
                    && let (Dtype::U32, &[_, rows, columns]) = (tensor.dtype(), tensor.shape())
                    && let Some(grid) = self.grid
                {
                    let counts = tensor.data().as_chunks().0.iter();
                    let counts = counts.map(|&bytes| u32::from_le_bytes(bytes));
                    if let Some(pooled) = pool(counts, [rows, columns], grid) {
                        self.positions.insert(slot, pooled);
                    }
                }
            }
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
        let all_stored =
            !pairs.is_empty() && pairs.iter().all(|&(facet, _)| stored(facet).is_some());
        // Runs from before there was a choice have the best layers.
        let by_miou = match self.settings.get("select") {
            Some(select) => select == "best-miou",
            None => true,
        };
        let choice = match (all_stored, self.data.has_truth && by_miou) {
            _ if self.kind == Kind::Correspond => Choice::BestPck,
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
    if value["state"] == "shard" {
        return Err(FigureError::Shard {
            path: path.to_owned(),
        });
    }
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

/// Sums counts of `[clusters, rows, columns]` over the cells of a coarser grid, for runs that keep
/// them at every pixel.
fn pool(
    counts: impl Iterator<Item = u32>,
    [rows, columns]: [usize; 2],
    [grid_rows, grid_columns]: [usize; 2],
) -> Option<Vec<u64>> {
    let (fine, coarse) = (rows * columns, grid_rows * grid_columns);
    if coarse == 0 || rows < grid_rows || columns < grid_columns {
        return None;
    }
    let mut sums = Vec::new();
    for (index, count) in counts.enumerate() {
        let (cluster, y, x) = (index / fine, index % fine / columns, index % columns);
        sums.resize((cluster + 1) * coarse, 0);
        let place = y * grid_rows / rows * grid_columns + x * grid_columns / columns;
        sums[cluster * coarse + place] += u64::from(count);
    }
    Some(sums)
}

/// The mean color at each place of the patch grid (Eq. 2), gray where nothing was counted.
fn mixed(counts: &[u64], [rows, columns]: [usize; 2], color: impl Fn(usize) -> [u8; 3]) -> Rgb {
    let places = rows * columns;
    let mut sums = vec![[0_u64; 4]; places];
    for (cluster, counts) in counts.chunks_exact(places.max(1)).enumerate() {
        let color = color(cluster);
        for (sum, &count) in sums.iter_mut().zip(counts) {
            for (sum, channel) in sum.iter_mut().zip(color) {
                *sum += count * u64::from(channel);
            }
            sum[3] += count;
        }
    }
    let pixel = |&[red, green, blue, total]: &[u64; 4]| {
        if total == 0 {
            return [128; 3];
        }
        // Rounded; a mean of bytes is a byte.
        [red, green, blue].map(|sum| ((2 * sum + total) / (2 * total)).min(255) as u8)
    };
    Rgb {
        width: columns,
        height: rows,
        pixels: sums.iter().map(pixel).collect(),
    }
}

fn parse_slot(name: &str) -> Option<Slot> {
    match name {
        "ground_truth" => Some(Slot::Truth),
        _ => parse_probe(name).map(|(facet, layer)| Slot::Probe(facet, layer)),
    }
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

pub(crate) fn read_picture<T>(
    path: &Path,
    decode: impl Fn(&Path, &[u8]) -> Result<T, FigureError>,
) -> Result<Option<T>, FigureError> {
    read_bytes_if_there(path)?
        .map(|bytes| decode(path, &bytes))
        .transpose()
}

pub(crate) fn read_bytes_if_there(path: &Path) -> Result<Option<Vec<u8>>, FigureError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FigureError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The numbers of a tensor of type f32.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    let chunks = bytes.as_chunks().0.iter();
    chunks.map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, FigureError> {
    let Some(bytes) = read_bytes_if_there(path)? else {
        return Ok(None);
    };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| FigureError::malformed(path, "is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_counts_are_summed_over_patches() {
        let counts = [1, 2, 3, 4, 5, 6, 7, 8, 10, 0, 0, 0, 0, 0, 0, 20];
        let pooled = pool(counts.into_iter(), [2, 4], [1, 2]);
        assert_eq!(pooled, Some(vec![1 + 2 + 5 + 6, 3 + 4 + 7 + 8, 10, 20]));
        assert_eq!(pool(counts.into_iter(), [2, 4], [4, 4]), None);
        assert_eq!(pool(counts.into_iter(), [2, 4], [0, 0]), None);
    }

    #[test]
    fn stems_stay_inside_the_run() {
        assert!(is_plain_relative("street_001") && is_plain_relative("aachen/street_001"));
        assert!(
            !is_plain_relative("../run")
                && !is_plain_relative("/etc/passwd")
                && !is_plain_relative("")
        );
    }

    #[test]
    fn what_the_reader_decided_is_adopted_in_either_place() {
        let text = r#"{"format": 1, "model": {"name": "m", "identity": {"format": "timm", "files": [],
            "decisions": [{"what": "heads", "value": "12", "because": "config.json"}]}}}"#;
        let mut model = parse_manifest(Path::new("run.json"), text).unwrap().model;
        model.adopt_identity();
        assert_eq!(
            (model.format.as_deref(), model.decisions.len()),
            (Some("timm"), 1)
        );
    }
}
