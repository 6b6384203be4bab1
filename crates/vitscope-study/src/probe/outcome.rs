//! From counts to the files of a run directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};
use rayon::prelude::*;
use vitscope_data::{DataSet, Geometry};
use vitscope_measure::{Matching, Usage, twins};
use vitscope_probe::Transform;
use vitscope_protocol::{Counts, ReaderCounts, ReaderScores, Scores, Training};
use vitscope_run::{Facet, Record, Select, Session, Slot, Subject, Table, names};

use crate::attention::{self, Localities};
use crate::baselines::{self, TrainLabels};
use crate::error::StudyError;
use crate::evaluate::Evaluation;
use crate::inspected::Inspected;
use crate::rows;
use crate::settings::{SaveCounts, Settings};
use crate::transforms::StoredTransforms;

use super::picture_files::{Show, write_aggregate, write_examples, write_labels};
use super::tensor_files::{write_codebooks, write_counts, write_samples};
use super::{patches, soft};

/// What one slot came to.
#[derive(Clone, Debug)]
pub struct SlotSummary {
    /// The slot.
    pub slot: Slot,
    /// Segmentation quality; absent without ground truth.
    pub miou: Option<f64>,
    /// Pixel accuracy; absent without ground truth.
    pub accuracy: Option<f64>,
    /// Positional effect over pixels.
    pub nmi: Option<f64>,
    /// Positional effect over patches beyond its null, with its 95 % interval.
    pub excess: Option<(f64, f64, f64)>,
    /// Mean loss of the last training steps.
    pub loss: Option<f64>,
    /// mIoU of the kNN and of the linear reader (protocol 20); absent where they were not asked for.
    pub readers: [Option<f64>; 2],
    /// 95 % interval of the mIoU over test images.
    pub miou_interval: Option<(f64, f64)>,
    /// Clusters used, `exp(H)`; absent without pixels.
    pub clusters_used: Option<f64>,
    /// Whether so few clusters are used that the numbers say little (protocol 14).
    pub collapsed: bool,
}

impl SlotSummary {
    fn of(
        slot: Slot,
        done: &Scores,
        readers: Option<&[ReaderScores; 2]>,
        loss: Option<f64>,
    ) -> Self {
        let test = done.test.as_ref().and_then(|test| test.nmi.as_ref());
        Self {
            slot,
            miou: done.quality.as_ref().and_then(|quality| quality.miou),
            accuracy: done.quality.as_ref().and_then(|quality| quality.accuracy),
            nmi: done.positional.nmi,
            excess: test
                .filter(|_| done.has_interval())
                .map(|test| (test.excess, test.low, test.high)),
            loss,
            readers: [0, 1].map(|reader| readers?[reader].quality.miou),
            miou_interval: done.interval(|samples| &samples.miou),
            clusters_used: done.usage.map(|usage| usage.used),
            collapsed: done.usage.is_some_and(|usage| usage.is_collapsed()),
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct ProbeOutcome {
    /// The run directory.
    pub run: PathBuf,
    /// The same at work, to be tidied once the figures exist.
    pub session: Session,
    /// One per slot.
    pub slots: Vec<SlotSummary>,
    /// The ground truth's own positional effect.
    pub truth_nmi: Option<f64>,
    /// The layer at which each facet is shown, as the settings select it.
    pub selection: BTreeMap<String, usize>,
    /// Names of the example images.
    pub examples: Vec<String>,
    /// mIoU of place alone (protocol 14); absent without labels.
    pub place_alone: Option<f64>,
    /// Clusters.
    pub clusters: usize,
    /// Things worth a line.
    pub notes: Vec<String>,
}

impl ProbeOutcome {
    /// Puts what the run came to into its record.
    pub(crate) fn note(&self, record: &mut Record) {
        record.selection.clone_from(&self.selection);
        record.examples.clone_from(&self.examples);
        record.notes.extend(self.notes.iter().cloned());
    }
}

/// What is written.
#[derive(Debug)]
pub struct CountedRun<'a> {
    /// The run directory.
    pub session: Session,
    /// The settings.
    pub settings: &'a Settings,
    /// The data set.
    pub data: &'a DataSet,
    /// The labels of its training images.
    pub labels: &'a TrainLabels<'a>,
    /// The run so far.
    pub record: &'a Record,
    /// The slots.
    pub slots: &'a [Slot],
    /// The crop.
    pub geometry: Geometry,
    /// `[K, D]` unit rows, one per slot.
    pub codebooks: &'a [Array2<f32>],
    /// What was learned of them.
    pub training: &'a Training,
    /// The counts.
    pub evaluation: Evaluation,
    /// Locality bias of the attention, where it was measured.
    pub localities: Option<&'a Localities>,
}

/// Writes metrics, counts, codebooks, aggregate maps, label maps and examples.
///
/// # Errors
/// When the disk refuses.
pub fn write(input: CountedRun<'_>) -> Result<ProbeOutcome, StudyError> {
    let CountedRun {
        ref session,
        settings,
        data,
        record,
        slots,
        ref geometry,
        training,
        ..
    } = input;
    let run = session.run();
    let dispersions = training.dispersions().map_err(StudyError::Protocol)?;
    let Evaluation {
        slots: counts,
        truth,
        readers,
        ..
    } = input.evaluation;
    let model = &record.model;
    let mut table = Table::new(&model.name, &model.family, &model.size);
    let size = [geometry.size; 2];
    let show = Show::new(data, truth.is_some(), record.clusters);
    let truth = truth
        .map(|counts| write_truth(run, size, counts, &show))
        .transpose()?;
    let done = slots
        .par_iter()
        .zip(counts)
        .map(|(&slot, counts)| {
            let mut scores = counts.finish(settings.matching.into())?;
            let (pixel, colors) = (&scores.position_pixel, show.colors(&scores.class_of));
            write_aggregate(run, size, Subject::Slot(slot), pixel, &colors)?;
            // Maps at full size are let go unless they are to be stored.
            if settings.save_counts == SaveCounts::Grid {
                scores.position_pixel = Array3::zeros((0, 0, 0));
            }
            Ok(scores)
        })
        .collect::<Result<Vec<Scores>, StudyError>>()?;
    let readers: Vec<[ReaderScores; 2]> = readers
        .par_iter()
        .map(|readers| readers.each_ref().map(ReaderCounts::finish))
        .collect();
    let mut measured = baselines::FromLabels::default();
    if let Some(truth) = &truth {
        measured = input.labels.against(truth)?;
        rows::add_truth(&mut table, truth, measured.baselines.as_ref());
        rows::add_orders(&mut table, &done, &readers);
    }
    let mut summaries = Vec::new();
    for (index, (&slot, done)) in slots.iter().zip(&done).enumerate() {
        let (loss, spread) = (training.recent_loss(index), training.spread(index));
        rows::add_rows(&mut table, slot, done, loss, data.classes.len());
        let twins = twins(input.codebooks[index].view());
        rows::add_use(&mut table, slot, done, &twins, spread);
        rows::add_density(&mut table, slot, spread, dispersions[index]);
        rows::add_border(&mut table, Subject::Slot(slot), done);
        if let Some(readers) = readers.get(index) {
            rows::add_readers(&mut table, slot, readers);
        }
        summaries.push(SlotSummary::of(slot, done, readers.get(index), loss));
    }
    add_stored(&mut table, run, settings, slots)?;
    if let Some(localities) = input.localities {
        attention::write_beside(run, settings, localities, record.grid, &mut table)?;
    }
    table.write(&run.join(names::METRICS))?;
    write_counts(run, settings, slots, &done, truth.as_ref())?;
    write_samples(run, slots, &done)?;
    soft::write(run, slots, &done)?;
    let matches: Vec<&[Option<usize>]> = done.iter().map(|done| &done.class_of[..]).collect();
    let classes = truth.is_some().then_some(&matches);
    write_codebooks(run, slots, input.codebooks, classes)?;
    write_labels(run, settings, data, slots, &matches, &show, record)?;
    let test = record.data.test;
    let examples = write_examples(run, settings, data, geometry, record.grid, test)?;
    let selection = selection(settings.select, &summaries);
    let which = (slots, &selection);
    patches::write(run, settings, &examples, which, record)?;
    Ok(ProbeOutcome {
        run: run.to_owned(),
        session: input.session,
        selection,
        truth_nmi: truth.as_ref().and_then(|truth| truth.positional.nmi),
        slots: summaries,
        examples: examples.names,
        place_alone: measured.baselines.and_then(|both| both.place_alone.miou),
        clusters: record.clusters,
        notes: measured.note.into_iter().collect(),
    })
}

/// Adds what is stored beside the counts: what transforms took out, and what was seen of artifacts.
fn add_stored(
    table: &mut Table,
    run: &Path,
    settings: &Settings,
    slots: &[Slot],
) -> Result<(), StudyError> {
    if let Some(mut transforms) = StoredTransforms::open_unfinished(run)? {
        for &slot in slots {
            if let Some(numbers) = transforms.numbers(slot)? {
                rows::add_fit(table, slot, &numbers);
            }
        }
    }
    if let Some(mut found) = Inspected::open(run)?.filter(|_| settings.artifacts) {
        let transformed = settings.transform != Transform::None;
        let subjects = slots.iter().map(|&slot| Subject::Slot(slot));
        for subject in subjects.chain([Subject::GroundTruth]) {
            if let Some(numbers) = found.numbers(subject)? {
                rows::add_artifacts(table, subject, &numbers, transformed);
            }
        }
    }
    Ok(())
}

/// What a run came to that is complete, from its directory.
///
/// # Errors
/// When another layer is to be shown than the run has stored, and the disk refuses.
pub fn stored(session: Session, select: Select) -> Result<ProbeOutcome, StudyError> {
    let run = session
        .complete()
        .ok_or_else(|| StudyError::Internal("a run that is not complete".to_owned()))?;
    let mut slots: Vec<Slot> = run
        .metrics
        .subjects()
        .filter_map(|subject| match subject {
            Subject::Slot(slot) => Some(slot),
            _ => None,
        })
        .collect();
    slots.sort_by_key(|slot| (slot.layer, slot.facet));
    let summary = |slot: Slot| {
        let subject = Subject::Slot(slot);
        let value = |metric| run.metrics.value(subject, metric);
        let excess = run.metrics.whole(subject, "nmi_excess");
        // A run of an earlier version has no such rows.
        let usage = || {
            Some(Usage {
                clusters: run.record.clusters,
                used: value("clusters_used")?,
                largest: value("largest_cluster")?,
                dead: value("clusters_dead")? as usize,
            })
        };
        let usage = usage();
        SlotSummary {
            slot,
            miou: value("miou"),
            accuracy: value("accuracy"),
            nmi: value("nmi"),
            excess: excess.and_then(|excess| {
                let (low, high) = excess.interval?;
                Some((excess.value?, low, high))
            }),
            loss: value("loss"),
            readers: ["knn_miou", "linear_miou"].map(value),
            miou_interval: run
                .metrics
                .whole(subject, "miou")
                .and_then(|miou| miou.interval),
            clusters_used: value("clusters_used"),
            collapsed: usage.is_some_and(|usage| usage.is_collapsed()),
        }
    };
    let slots: Vec<SlotSummary> = slots.into_iter().map(summary).collect();
    let mut record = run.record.clone();
    let selection = selection(select, &slots);
    if record.selection != selection {
        record.selection.clone_from(&selection);
        let asked = select.to_string().into();
        record.settings.insert("select".to_owned(), asked);
        record.write(session.run())?;
    }
    Ok(ProbeOutcome {
        run: session.run().to_owned(),
        selection,
        truth_nmi: run.metrics.value(Subject::GroundTruth, "nmi"),
        place_alone: run.metrics.value(Subject::GroundTruth, "place_alone"),
        clusters: run.record.clusters,
        notes: Vec::new(),
        slots,
        examples: record.examples,
        session,
    })
}

/// The layer at which each facet is shown.
fn selection(select: Select, summaries: &[SlotSummary]) -> BTreeMap<String, usize> {
    let mut selection = BTreeMap::new();
    for facet in Facet::ALL {
        let of_facet = summaries.iter().filter(|s| s.slot.facet == facet);
        // A slot without meaning is never the best, unless all are.
        let of_facet: Vec<&SlotSummary> = of_facet.collect();
        let all = of_facet.iter().all(|s| s.collapsed);
        let miou = |s: &SlotSummary| s.miou.filter(|_| all || !s.collapsed);
        let layers: Vec<_> = of_facet.iter().map(|s| (s.slot.layer, miou(s))).collect();
        if let Some(layer) = select.layer(&layers) {
            selection.insert(facet.name().to_owned(), layer);
        }
    }
    selection
}

fn write_truth(
    run: &Path,
    size: [usize; 2],
    counts: Counts,
    show: &Show,
) -> Result<Scores, StudyError> {
    let scores = counts.finish(Matching::Hungarian)?;
    let pixel = &scores.position_pixel;
    write_aggregate(run, size, Subject::GroundTruth, pixel, &show.classes)?;
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(facet: Facet, layer: usize, miou: Option<f64>, collapsed: bool) -> SlotSummary {
        SlotSummary {
            slot: Slot { facet, layer },
            miou,
            accuracy: None,
            nmi: None,
            excess: None,
            loss: None,
            readers: [None; 2],
            miou_interval: None,
            clusters_used: None,
            collapsed,
        }
    }

    #[test]
    fn a_collapsed_slot_is_the_best_only_among_its_like() {
        let slots = [
            summary(Facet::Key, 1, Some(0.2), false),
            summary(Facet::Key, 2, Some(0.9), true),
            summary(Facet::Key, 3, Some(0.3), false),
            summary(Facet::Query, 1, Some(0.2), true),
            summary(Facet::Query, 2, Some(0.4), true),
            summary(Facet::Query, 3, Some(0.3), true),
            summary(Facet::Value, 1, None, false),
            summary(Facet::Value, 2, None, false),
        ];
        let shown =
            |select| -> Vec<(String, usize)> { selection(select, &slots).into_iter().collect() };
        let pairs = |key, query, value| {
            [("key", key), ("query", query), ("value", value)].map(|(f, l)| (f.to_owned(), l))
        };
        // Without ground truth the last layer is shown.
        assert_eq!(shown(Select::BestMiou), pairs(3, 2, 2));
        assert_eq!(shown(Select::Last), pairs(3, 3, 2));
        assert_eq!(shown(Select::Layer(3)), pairs(3, 3, 0)[..2]);
    }
}
