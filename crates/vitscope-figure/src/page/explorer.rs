//! What the explorer shows: for every slot its numbers, its maps and who is predicted where.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use vitscope_run::{Facet, Part, RunKind, Slot, Subject};

use super::patches::{self, PatchData};
use super::{maps, table};
use crate::encoding::base64;
use crate::error::FigureError;
use crate::members::Member;
use crate::pixels::NONE;
use crate::run_view::RunView;
use crate::sheet::Plate;
use crate::words;

/// Pixels along an aggregate map, which the page shows 140 wide; the exact one is a file of the run.
const AGGREGATE: usize = 160;

/// What the page's script reads.
#[derive(Serialize)]
pub(super) struct Island<'a> {
    runs: Vec<RunData<'a>>,
    /// Photographs, each once, whatever the number of runs that show it.
    pictures: Vec<String>,
    /// The table of each figure.
    tables: BTreeMap<&'a str, &'a str>,
}

/// What the explorer shows of one run.
#[derive(Serialize)]
struct RunData<'a> {
    label: &'a str,
    facets: Vec<&'static str>,
    layers: Vec<usize>,
    start: String,
    entries: Vec<LegendLine>,
    /// Whether lines of the legend mean the same in every slot.
    has_classes: bool,
    /// Whether any label map has a pixel without a label.
    has_none: bool,
    size: [usize; 2],
    grid: [usize; 2],
    examples: Vec<ShownImage>,
    truth: Option<SlotData>,
    slots: BTreeMap<String, SlotData>,
    /// Patch vectors of the examples, in the slots that are chosen.
    patches: BTreeMap<String, PatchData>,
    /// Whether it was made of features, of which `vitscope view` has no model.
    from_features: bool,
}

/// A line of the legend: a class, or a cluster where there are no classes.
#[derive(Serialize)]
struct LegendLine {
    name: String,
    color: [u8; 3],
    /// Whether the line stands for many clusters, each in a color of its own.
    is_rest: bool,
}

#[derive(Serialize)]
struct ShownImage {
    stem: String,
    /// Its place among the pictures.
    image: Option<usize>,
}

/// Everything the explorer shows of one slot.
#[derive(Serialize)]
struct SlotData {
    numbers: Vec<(&'static str, String)>,
    /// What is known of each legend entry, as text.
    entry_numbers: Vec<String>,
    nmi: Option<f64>,
    /// Class-wise mutual information of each legend entry.
    mi: Vec<Option<f64>>,
    aggregate: Option<String>,
    /// All label maps one after the other, as [`maps`] encodes them; `maps` says which examples have one.
    labels: Option<String>,
    maps: Vec<bool>,
    palette: Vec<[u8; 3]>,
    /// The IoU of each legend entry; none where there are no classes.
    ious: Vec<Option<f64>>,
    /// Whether each legend entry's name is not earned here.
    unearned: Vec<bool>,
    /// The legend entry of each index of the label maps, -1 for none.
    entries: Vec<i64>,
    /// The share of each legend entry at each place of the patch grid, in 255ths, compressed.
    shares: Option<String>,
}

impl<'a> Island<'a> {
    /// Everything of these runs that can be explored, with at most `examples` of each.
    pub(super) fn of(
        members: &'a [&'a Member],
        examples: usize,
        plates: &'a [Plate],
    ) -> Result<Self, FigureError> {
        let mut pictures = Vec::new();
        let mut runs = Vec::new();
        for member in members {
            let run = RunData::of(member, examples, &mut pictures)?;
            if !run.slots.is_empty() {
                runs.push(run);
            }
        }
        let tables = plates.iter().filter_map(|plate| match plate {
            Plate::Drawn(picture) => Some((picture.name.as_str(), picture.csv.as_str())),
            Plate::Absent { .. } => None,
        });
        Ok(Self {
            runs,
            pictures,
            tables: tables.collect(),
        })
    }

    /// Whether there is nothing to explore.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

impl<'a> RunData<'a> {
    fn of(
        member: &'a Member,
        most: usize,
        pictures: &mut Vec<String>,
    ) -> Result<Self, FigureError> {
        let run = &member.run;
        let stems = &run.examples[..run.examples.len().min(most)];
        let explorable = run.kind() == RunKind::Probe;
        let stems = if explorable { stems } else { &[] };
        let mut examples = Vec::new();
        for stem in stems {
            let image = run.image(stem)?.map(|image| image.jpeg()).transpose()?;
            let image = image.map(|bytes| {
                let text = base64(&bytes);
                let known = pictures.iter().position(|other| *other == text);
                known.unwrap_or_else(|| {
                    pictures.push(text);
                    pictures.len() - 1
                })
            });
            let stem = stem.clone();
            examples.push(ShownImage { stem, image });
        }
        let mut reader = PageReader {
            run,
            stems,
            legend: Legend::of(run),
            size: None,
            has_none: false,
            colors: Vec::new(),
        };
        let truth = run.has_truth().then(|| reader.slot(Subject::GroundTruth));
        let truth = truth.transpose()?;
        let shown = if explorable { run.slots() } else { Vec::new() };
        let mut slots = BTreeMap::new();
        for &slot in &shown {
            slots.insert(slot.to_string(), reader.slot(Subject::Slot(slot))?);
        }
        let has = |facet: &Facet| shown.iter().any(|slot| slot.facet == *facet);
        Ok(Self {
            label: &member.label,
            facets: Facet::ALL
                .iter()
                .filter(|facet| has(facet))
                .map(|facet| facet.name())
                .collect(),
            layers: run.layers(),
            start: start(run),
            entries: reader.legend.entries(run, &reader.colors),
            has_classes: run.has_truth(),
            has_none: reader.has_none,
            size: reader.size.unwrap_or([1, 1]),
            grid: run.record.grid,
            patches: patches::of(run, stems)?,
            from_features: run.record.model.source == "features",
            examples,
            truth,
            slots,
        })
    }
}

/// The slot at which the explorer opens: of the chosen ones, that of highest mIoU.
fn start(run: &RunView) -> String {
    let miou = |&slot: &Slot| run.get(Subject::Slot(slot), "miou").value.unwrap_or(0.0);
    let slots = run.selection.iter();
    let best = slots.max_by(|a, b| miou(a).total_cmp(&miou(b)).then(b.facet.cmp(&a.facet)));
    best.map(Slot::to_string).unwrap_or_default()
}

/// What the legend's lines stand for.
#[derive(Clone, Copy)]
enum Legend {
    /// Every cluster has a class of its own, and label maps hold classes.
    Classes(usize),
    /// Label maps hold clusters; those without a class share the last line.
    ClassesAndRest(usize),
    /// There are no classes.
    Clusters(usize),
}

impl Legend {
    fn of(run: &RunView) -> Self {
        match (run.has_truth(), run.labels_are_classes()) {
            (true, true) => Self::Classes(run.classes.len()),
            (true, false) => Self::ClassesAndRest(run.classes.len()),
            (false, _) => Self::Clusters(run.record.clusters.min(NONE.into())),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Classes(count) | Self::Clusters(count) => count,
            Self::ClassesAndRest(count) => count + 1,
        }
    }

    fn entries(self, run: &RunView, colors: &[[u8; 3]]) -> Vec<LegendLine> {
        const GRAY: [u8; 3] = [128; 3];
        let cluster = |index: usize| LegendLine {
            name: format!("cluster {index}"),
            color: colors.get(index).copied().unwrap_or(GRAY),
            is_rest: false,
        };
        let rest = LegendLine {
            name: "unmatched clusters".to_owned(),
            color: GRAY,
            is_rest: true,
        };
        let classes = run.classes.iter();
        let classes = classes.map(|class| LegendLine {
            name: class.name.clone(),
            color: class.color,
            is_rest: false,
        });
        match self {
            Self::Classes(_) => classes.collect(),
            Self::ClassesAndRest(_) => classes.chain([rest]).collect(),
            Self::Clusters(count) => (0..count).map(cluster).collect(),
        }
    }

    /// The line of a cluster of a slot; the ground truth's "clusters" are its classes.
    fn of_cluster(self, run: &RunView, subject: Subject, cluster: usize) -> Option<usize> {
        let entry = match (subject, self) {
            (Subject::Slot(slot), Self::Classes(_)) => run.class_of(slot, cluster),
            (Subject::Slot(slot), Self::ClassesAndRest(rest)) => {
                run.class_of(slot, cluster).or(Some(rest))
            }
            _ => Some(cluster),
        };
        entry.filter(|&entry| entry < self.len())
    }

    /// The line of an index of a slot's label maps.
    fn of_index(self, run: &RunView, subject: Subject, index: usize) -> Option<usize> {
        match self {
            Self::ClassesAndRest(_) => self.of_cluster(run, subject, index),
            Self::Classes(count) | Self::Clusters(count) => (index < count).then_some(index),
        }
    }

    /// The name by which metrics know a line.
    fn part(self, entry: usize) -> Option<Part> {
        match self {
            Self::Clusters(_) => Some(Part::Cluster(entry)),
            Self::ClassesAndRest(rest) if entry == rest => None,
            Self::Classes(_) | Self::ClassesAndRest(_) => Some(Part::Index(entry)),
        }
    }
}

/// Reads slots one by one, and learns from them what they have in common.
struct PageReader<'a> {
    run: &'a RunView,
    stems: &'a [String],
    legend: Legend,
    /// Width and height of all label maps.
    size: Option<[usize; 2]>,
    has_none: bool,
    /// The longest palette seen: the colors of clusters.
    colors: Vec<[u8; 3]>,
}

impl PageReader<'_> {
    fn slot(&mut self, slot: Subject) -> Result<SlotData, FigureError> {
        let (run, legend) = (self.run, self.legend);
        let (mut pixels, mut there, mut palette) = (Vec::new(), Vec::new(), Vec::new());
        for stem in self.stems {
            let map = run.labels(slot, stem)?;
            // A map of another size would be drawn askew, so it counts as missing.
            let map = map.filter(|map| {
                let size = [map.width, map.height];
                *self.size.get_or_insert(size) == size
            });
            there.push(map.is_some());
            if let Some(map) = map {
                pixels.extend(&map.indices);
                if palette.is_empty() {
                    palette = map.palette;
                }
            }
        }
        self.has_none |= pixels.contains(&NONE);
        let used = pixels.iter().filter(|&&index| index != NONE).max();
        let used = used.map_or(0, |&index| usize::from(index) + 1);
        palette.truncate(used);
        if self.colors.len() < palette.len() {
            self.colors.clone_from(&palette);
        }
        let entry = |index| {
            legend
                .of_index(run, slot, index)
                .map_or(-1, |entry| entry as i64)
        };
        let labels = if pixels.is_empty() {
            None
        } else {
            let [width, height] = self.size.unwrap_or([1, 1]);
            Some(base64(&maps::encode(&pixels, width, height)))
        };
        let aggregate = run.aggregate(slot)?;
        let aggregate = aggregate.map(|map| map.reduced(AGGREGATE).jpeg());
        let aggregate = aggregate.transpose()?;
        Ok(SlotData {
            numbers: table::numbers(run, slot),
            entry_numbers: (0..legend.len())
                .map(|entry| self.entry_numbers(slot, entry))
                .collect(),
            nmi: run.get(slot, "nmi").value,
            mi: (0..legend.len())
                .map(|entry| run.part(slot, "class_mi", legend.part(entry)?).value)
                .collect(),
            aggregate: aggregate.map(|bytes| base64(&bytes)),
            ious: self.ious(slot),
            unearned: self.unearned(slot),
            labels,
            maps: there,
            palette,
            entries: (0..used).map(entry).collect(),
            shares: self.shares(slot)?,
        })
    }

    /// The classes among the legend's lines.
    fn classes(&self) -> std::ops::Range<usize> {
        match self.legend {
            Legend::Classes(count) | Legend::ClassesAndRest(count) => 0..count,
            Legend::Clusters(_) => 0..0,
        }
    }

    fn ious(&self, subject: Subject) -> Vec<Option<f64>> {
        let iou = |class| self.run.part(subject, "iou", Part::Index(class)).value;
        self.classes().map(iou).collect()
    }

    fn unearned(&self, subject: Subject) -> Vec<bool> {
        let Subject::Slot(slot) = subject else {
            return Vec::new();
        };
        let unearned = |class| !self.run.is_earned(slot, class);
        self.classes().map(unearned).collect()
    }

    /// "IoU 0.312, class-wise MI 0.021"
    fn entry_numbers(&self, slot: Subject, entry: usize) -> String {
        let Some(part) = self.legend.part(entry) else {
            return String::new();
        };
        let run = self.run;
        let shown = [("iou", "IoU"), ("class_mi", "class-wise MI")];
        let shown = shown.into_iter().filter(|(metric, _)| {
            // The ground truth has no IoU with itself.
            run.has(metric) && (slot != Subject::GroundTruth || *metric != "iou")
        });
        let numbers = shown.map(|(metric, name)| {
            format!(
                "{name} {}",
                words::number(run.part(slot, metric, part).value)
            )
        });
        numbers.collect::<Vec<_>>().join(", ")
    }

    /// The share of each line of the legend among all predictions at a place.
    fn shares(&self, slot: Subject) -> Result<Option<String>, FigureError> {
        let Some(positions) = self.run.positions(slot) else {
            return Ok(None);
        };
        let totals = positions.totals();
        let places = totals.len();
        let mut sums = vec![0; self.legend.len() * places];
        for (cluster, counts) in positions.clusters().enumerate() {
            if let Some(entry) = self.legend.of_cluster(self.run, slot, cluster) {
                let sums = sums[entry * places..(entry + 1) * places].iter_mut();
                sums.zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        let share = |(index, &sum): (usize, &u64)| {
            let total = totals[index % places].max(1);
            // Rounded; a share is at most 1, so it fits a byte.
            ((sum * 510 + total) / (2 * total)).min(255) as u8
        };
        let shares: Vec<u8> = sums.iter().enumerate().map(share).collect();
        compress(&shares).map(Some)
    }
}

fn compress(bytes: &[u8]) -> Result<String, FigureError> {
    let failed = |error| FigureError::render("report.html", error);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).map_err(failed)?;
    Ok(base64(&encoder.finish().map_err(failed)?))
}
