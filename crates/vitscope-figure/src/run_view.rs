//! A run as figures look at it: its record and numbers as `vitscope-run` reads them, which layers
//! are shown, and the pictures and counts that are read when asked for.
//!
//! Only `run.json` must exist. Every other part may be missing (no ground truth, a run still
//! going, `--save-labels none`); readers then give `None`, and the page says what is absent.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::str::FromStr;

use safetensors::Dtype;
use vitscope_run::tensors::{Stored, TensorFile};
use vitscope_run::{
    ClassRecord, Facet, Measured, Part, Run, RunKind, Select, Slot, Subject, files, limits, names,
};

use crate::cluster_use::ClusterUse;
use crate::error::FigureError;
use crate::pixels::{LabelMap, Rgb};
use crate::positions::PositionMaps;
use crate::theme;

pub(crate) use vitscope_run::EARNED;

/// How the layer that stands for a facet was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunChoice {
    /// By the run, as the layer of highest mIoU.
    Best,
    /// By the run, in another way.
    Stored,
    /// Here, as the facet's last layer, because the run has not chosen.
    Last,
    /// By the run, as the layer of the largest share of correct keypoints.
    BestPck,
}

/// A run directory whose record, numbers and small tensors have been read.
#[derive(Debug)]
pub(crate) struct RunView {
    run: Run,
    /// What the model is called in place of its own name.
    pub(crate) label: Option<String>,
    /// The classes; none without ground truth, where colors stand for clusters.
    pub(crate) classes: Vec<ClassRecord>,
    /// The examples that are shown.
    pub(crate) examples: Vec<String>,
    /// The layer shown of each facet, in the order of [`Facet::ALL`].
    pub(crate) selection: Vec<Slot>,
    pub(crate) choice: RunChoice,
    matches: BTreeMap<Slot, Vec<i64>>,
    uses: BTreeMap<Slot, ClusterUse>,
    has_iou: bool,
    /// How often each cluster was predicted at each place of the patch grid.
    positions: BTreeMap<Subject, PositionMaps>,
}

impl Deref for RunView {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

impl RunView {
    /// Reads the record, the numbers and the small tensors of a run directory.
    pub(crate) fn open(root: &Path) -> Result<Self, FigureError> {
        let run = Run::open(root)?;
        run.record.prove(root)?;
        let data = &run.record.data;
        let classes = data.classes.clone();
        let mut view = Self {
            label: None,
            classes: if data.has_truth { classes } else { Vec::new() },
            examples: run.record.examples.clone(),
            selection: Vec::new(),
            choice: RunChoice::Last,
            matches: BTreeMap::new(),
            uses: BTreeMap::new(),
            has_iou: run.metrics.has("iou"),
            positions: BTreeMap::new(),
            run,
        };
        view.read_tensors()?;
        for slot in view.slots() {
            let used = ClusterUse::of(&view.run, slot, view.positions(Subject::Slot(slot)));
            view.uses.extend(used.map(|used| (slot, used)));
        }
        (view.selection, view.choice) = view.select();
        Ok(view)
    }

    /// Whether there is ground truth.
    pub(crate) fn has_truth(&self) -> bool {
        self.record.data.has_truth
    }

    pub(crate) fn kind(&self) -> RunKind {
        self.record.kind
    }

    /// Whether something was taken out of its vectors.
    pub(crate) fn is_edited(&self) -> bool {
        let transform = self.record.settings.get("transform");
        let transform = transform.and_then(|transform| transform.as_str());
        transform.is_some_and(|transform| transform != "none")
    }

    /// Whether photographs of pairs were padded to the network's square, not stretched.
    pub(crate) fn is_padded(&self) -> bool {
        let fit = self.record.settings.get("fit");
        fit.and_then(|fit| fit.as_str()) == Some("pad")
    }

    /// A number as a whole; undefined where it is absent.
    pub(crate) fn get(&self, subject: Subject, metric: &str) -> Measured {
        self.part(subject, metric, Part::Whole)
    }

    /// A number of a class or cluster.
    pub(crate) fn part(&self, subject: Subject, metric: &str, part: Part) -> Measured {
        self.metrics.part(subject, metric, part).unwrap_or_default()
    }

    /// A number of layers as a whole, by layer; `part` is a head, or the whole.
    pub(crate) fn of_layers(&self, metric: &str, part: Part) -> BTreeMap<usize, Measured> {
        let layers = self.metrics.layers(None).into_iter();
        let layers = layers.filter_map(|layer| {
            let measured = self.metrics.part(Subject::Layer(layer), metric, part);
            Some((layer, measured?))
        });
        layers.collect()
    }

    /// Every value of a number over slots and ground truth, of classes too.
    fn values(&self, metric: &str) -> impl Iterator<Item = Measured> {
        let rows = self.metrics.rows().iter();
        let rows = rows
            .filter(move |row| row.metric == metric && !matches!(row.subject, Subject::Layer(_)));
        rows.map(|row| row.measured)
    }

    /// Whether any slot has an interval for this number.
    pub(crate) fn has_interval(&self, metric: &str) -> bool {
        self.values(metric).any(|value| value.interval.is_some())
    }

    /// Whether the run measured this number of a subject, be it undefined.
    pub(crate) fn measured(&self, subject: Subject, metric: &str) -> bool {
        self.metrics.whole(subject, metric).is_some()
    }

    /// Whether any slot has a value of this number.
    pub(crate) fn has(&self, metric: &str) -> bool {
        self.values(metric).any(|value| value.value.is_some())
    }

    /// How many of its clusters a slot uses, where that is known.
    pub(crate) fn cluster_use(&self, slot: Slot) -> Option<ClusterUse> {
        self.uses.get(&slot).copied()
    }

    /// Whether a slot's numbers say nothing about its facet.
    pub(crate) fn is_collapsed(&self, slot: Slot) -> bool {
        self.cluster_use(slot).is_some_and(ClusterUse::is_collapsed)
    }

    pub(crate) fn has_collapsed(&self) -> bool {
        self.uses.values().any(|used| used.is_collapsed())
    }

    /// Whether a slot's cluster has earned the name of the class that it was matched with. Where no IoU
    /// is stored, nothing is held against it.
    pub(crate) fn is_earned(&self, slot: Slot, class: usize) -> bool {
        let iou = self
            .part(Subject::Slot(slot), "iou", Part::Index(class))
            .value;
        !self.has_iou || iou.is_some_and(|iou| iou >= EARNED)
    }

    /// The layer that stands for a facet. By mIoU, a collapsed slot is chosen only where every one is.
    pub(crate) fn selected(&self, facet: Facet, select: Select) -> Option<usize> {
        let stored = self.run.selected(facet, select)?;
        let is_sound = |layer| !self.is_collapsed(Slot { facet, layer });
        if select != Select::BestMiou || is_sound(stored) {
            return Some(stored);
        }
        let layers = self.metrics.layers(Some(facet)).into_iter();
        let layers = layers.filter(|&layer| is_sound(layer)).map(|layer| {
            let miou = self.get(Subject::slot(facet, layer), "miou").value;
            (layer, miou)
        });
        let layers: Vec<_> = layers.collect();
        select.layer(&layers).or(Some(stored))
    }

    /// Every slot that has a number, a codebook or a selection, facets first.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let measured = self.metrics.subjects().filter_map(|subject| match subject {
            Subject::Slot(slot) => Some(slot),
            Subject::Layer(_) | Subject::GroundTruth => None,
        });
        let mut slots: Vec<Slot> = measured.collect();
        slots.extend(self.matches.keys());
        slots.extend(&self.selection);
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Every facet that has a slot, in the order of all figures.
    pub(crate) fn facets(&self) -> Vec<Facet> {
        let slots = self.slots();
        let has = |facet: &Facet| slots.iter().any(|slot| slot.facet == *facet);
        Facet::ALL.into_iter().filter(has).collect()
    }

    /// All layers that occur, ascending.
    pub(crate) fn layers(&self) -> Vec<usize> {
        let mut layers: Vec<usize> = self.slots().iter().map(|slot| slot.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        layers
    }

    /// What a figure of best layers shows: ground truth (if any), then each facet.
    pub(crate) fn best(&self) -> Vec<Subject> {
        let truth = self.has_truth().then_some(Subject::GroundTruth);
        let slots = self.selection.iter().copied().map(Subject::Slot);
        truth.into_iter().chain(slots).collect()
    }

    /// The photograph of an example.
    pub(crate) fn image(&self, stem: &str) -> Result<Option<Rgb>, FigureError> {
        read_picture(&names::image(&self.root, stem), Rgb::decode)
    }

    /// The label map of an example.
    ///
    /// Where clusters are not classes, a cluster that was matched has its class's color and every
    /// other one a color of its own, so that rows and legend speak of the same colors.
    pub(crate) fn labels(
        &self,
        subject: Subject,
        stem: &str,
    ) -> Result<Option<LabelMap>, FigureError> {
        let path = names::labels(&self.root, subject, stem);
        let map = read_picture(&path, LabelMap::decode)?;
        Ok(map.map(|map| match subject {
            Subject::Slot(slot) => self.colored(map, slot),
            _ => map,
        }))
    }

    /// A slot's label map in the colors of its classes, as far as it has earned their names.
    fn colored(&self, mut map: LabelMap, slot: Slot) -> LabelMap {
        if self.has_loose_clusters() {
            map.palette = (0..256)
                .map(|index| self.cluster_color(slot, index))
                .collect();
        }
        if self.has_truth() {
            let muted = (0..256).map(|index| {
                let class = self.class_of_index(slot, index);
                class.is_some_and(|class| !self.is_earned(slot, class))
            });
            map.muted = muted.collect();
        }
        map
    }

    /// The class that an index of a slot's label maps stands for.
    fn class_of_index(&self, slot: Slot, index: usize) -> Option<usize> {
        if self.labels_are_classes() {
            Some(index).filter(|&index| index < self.classes.len())
        } else {
            self.class_of(slot, index)
        }
    }

    /// Whether some shown slot has a class whose name it has not earned.
    pub(crate) fn has_unearned(&self) -> bool {
        let classes = 0..self.classes.len();
        let mut all = self.selection.iter();
        all.any(|&slot| classes.clone().any(|class| !self.is_earned(slot, class)))
    }

    /// The aggregate map of a slot; where clusters are not classes, from the counts on the patch
    /// grid, in the colors of [`RunView::labels`].
    pub(crate) fn aggregate(&self, subject: Subject) -> Result<Option<Rgb>, FigureError> {
        if let (Subject::Slot(slot), true) = (subject, self.has_loose_clusters())
            && let Some(map) =
                self.aggregate_in(subject, |cluster| self.cluster_color(slot, cluster))
        {
            return Ok(Some(map));
        }
        read_picture(&names::aggregate(&self.root, subject), Rgb::decode)
    }

    /// The aggregate map from the counts on the patch grid, in other colors than the stored one.
    pub(crate) fn aggregate_in(
        &self,
        subject: Subject,
        color: impl Fn(usize) -> [u8; 3],
    ) -> Option<Rgb> {
        Some(self.positions(subject)?.mixed(color))
    }

    /// The aggregate map from the counts on the patch grid, paler where the place says less.
    pub(crate) fn informed(&self, subject: Subject) -> Option<Rgb> {
        let color = |cluster| match subject {
            Subject::Slot(slot) => self.cluster_color(slot, cluster),
            _ => self
                .classes
                .get(cluster)
                .map_or_else(|| theme::cluster(cluster), |class| class.color),
        };
        Some(self.positions(subject)?.informed(color))
    }

    /// How often each cluster (or class of the ground truth) stands at each place of the patch grid.
    pub(crate) fn positions(&self, subject: Subject) -> Option<&PositionMaps> {
        self.positions.get(&subject)
    }

    /// Whether there are classes, and clusters beside them.
    pub(crate) fn has_loose_clusters(&self) -> bool {
        self.has_truth() && !self.labels_are_classes()
    }

    /// Whether an index of a label map is a class (else it is a cluster).
    pub(crate) fn labels_are_classes(&self) -> bool {
        let clusters = self.record.clusters;
        self.has_truth() && (clusters == 0 || clusters == self.classes.len())
    }

    /// The color of a cluster of a slot: its class's where it has one.
    pub(crate) fn cluster_color(&self, slot: Slot, cluster: usize) -> [u8; 3] {
        let class = self.class_of(slot, cluster);
        let class = class.and_then(|class| self.classes.get(class));
        class.map_or_else(|| theme::cluster(cluster), |class| class.color)
    }

    /// The class that a cluster of a slot was matched with.
    pub(crate) fn class_of(&self, slot: Slot, cluster: usize) -> Option<usize> {
        usize::try_from(*self.matches.get(&slot)?.get(cluster)?).ok()
    }

    /// Reads what the run keeps as tensors: matches, and position counts on the patch grid.
    fn read_tensors(&mut self) -> Result<(), FigureError> {
        let path = self.root.join(names::CODEBOOKS);
        let most = size_of::<i64>() * limits::CLUSTERS;
        for_each_tensor(&path, "match.", most, |slot, tensor| {
            if tensor.dtype != Dtype::I64 {
                let problem = format!("has match.{slot} that is not of type i64");
                return Err(FigureError::malformed(&path, problem));
            }
            let matches = tensor.i64s();
            let known = -1..self.record.data.classes.len() as i64;
            let is_sound = matches.iter().all(|class| known.contains(class));
            if !is_sound || matches.len() != self.record.clusters {
                let problem = format!(
                    "has match.{slot} that is not a class, or -1, for each of {} clusters",
                    self.record.clusters
                );
                return Err(FigureError::malformed(&path, problem));
            }
            self.matches.insert(slot, matches);
            Ok(())
        })?;
        let path = self.root.join(names::COUNTS);
        let grid = self.record.grid;
        // Of every pixel at the most.
        let kinds = self.record.clusters.max(self.record.data.classes.len());
        let side = self.record.size.max(grid[0]).max(grid[1]);
        let most = size_of::<u32>() * kinds * side * side;
        let most = most.min(limits::LARGE_TENSOR_BYTES);
        for_each_tensor(&path, "position.", most, |subject, tensor| {
            let kinds = match subject {
                Subject::Slot(_) => self.record.clusters,
                _ => self.record.data.classes.len(),
            };
            let positions = PositionMaps::pooled(&tensor, grid);
            // Where no grid is said, nothing can be pooled.
            let is_sound = positions.is_some() && tensor.shape.first() == Some(&kinds);
            if !is_sound && grid != [0, 0] {
                let problem = format!(
                    "has position.{subject} that does not count {kinds} kinds over {} x {} patches",
                    grid[0], grid[1]
                );
                return Err(FigureError::malformed(&path, problem));
            }
            self.positions
                .extend(positions.map(|positions| (subject, positions)));
            Ok(())
        })
    }

    /// The layer per facet as the run chose it; where it chose none, the facet's last layer.
    fn select(&self) -> (Vec<Slot>, RunChoice) {
        let slots = self.slots();
        let stored = |facet: Facet| self.record.selection.get(facet.name()).copied();
        let last = |facet: Facet| slots.iter().rfind(|slot| slot.facet == facet);
        // Runs from before there was a choice have the best layers.
        let by_miou = match self.record.settings.get("select") {
            Some(select) => select == "best-miou",
            None => true,
        };
        let chosen = Facet::ALL.into_iter().filter_map(|facet| {
            let layer = stored(facet).or_else(|| last(facet).map(|slot| slot.layer))?;
            let is_collapsed = by_miou && self.is_collapsed(Slot { facet, layer });
            let other = is_collapsed.then(|| self.selected(facet, Select::BestMiou));
            let layer = other.flatten().unwrap_or(layer);
            Some(Slot { facet, layer })
        });
        let chosen: Vec<Slot> = chosen.collect();
        let all_stored =
            !chosen.is_empty() && chosen.iter().all(|slot| stored(slot.facet).is_some());
        let choice = match (all_stored, self.has_truth() && by_miou) {
            _ if self.kind() == RunKind::Correspond => RunChoice::BestPck,
            (true, true) => RunChoice::Best,
            (true, false) => RunChoice::Stored,
            (false, _) => RunChoice::Last,
        };
        (chosen, choice)
    }
}

/// Opens a file of tensors; `None` where there is none.
pub(crate) fn open_tensors(path: &Path) -> Result<Option<TensorFile>, FigureError> {
    TensorFile::open(path, |problem| {
        FigureError::malformed(path, format!("is not a safetensors file ({problem})"))
    })
}

/// Calls `take` with every tensor of a file that has this prefix and a name that can be understood; `most` bytes each.
fn for_each_tensor<N: FromStr>(
    path: &Path,
    prefix: &str,
    most: usize,
    mut take: impl FnMut(N, Stored) -> Result<(), FigureError>,
) -> Result<(), FigureError> {
    let Some(mut file) = open_tensors(path)? else {
        return Ok(());
    };
    for name in file.names() {
        if let Some(Ok(key)) = name.strip_prefix(prefix).map(str::parse)
            && let Some(tensor) = file.read_up_to(&name, most)?
        {
            take(key, tensor)?;
        }
    }
    Ok(())
}

/// A picture; `None` where there is none.
pub(crate) fn read_picture<T>(
    path: &Path,
    decode: impl Fn(&Path, &[u8]) -> Result<T, FigureError>,
) -> Result<Option<T>, FigureError> {
    let bytes = files::read_up_to(path, limits::PICTURE_BYTES)?;
    bytes.map(|bytes| decode(path, &bytes)).transpose()
}
