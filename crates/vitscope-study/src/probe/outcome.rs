//! From counts to the files of a run directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use vitscope_data::{DataSet, Geometry, IGNORE, Split};
use vitscope_measure::{Matching, Usage, aggregate, twins};
use vitscope_probe::{Dispersion, Spread};
use vitscope_protocol::{Counts, ReaderCounts, ReaderScores, Scores};
use vitscope_run::{Facet, Part, Record, Select, Session, Slot, Subject, Table, names, tensors};

use crate::attention::{self, Localities};
use crate::baselines::{self, TrainLabels};
use crate::error::StudyError;
use crate::evaluate::{Evaluation, waiting_folder};
use crate::job::{example_indices, kept_indices};
use crate::picture;
use crate::rows;
use crate::settings::{self, SaveCounts, Settings};
use crate::transforms::StoredTransforms;

use super::soft;

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

/// What is written.
#[derive(Debug)]
pub struct Counted<'a> {
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
    /// Mean loss of the last training steps, one per slot.
    pub losses: Vec<Option<f64>>,
    /// How the vectors are spread that each slot started from, where that is known.
    pub spreads: Vec<Option<Spread>>,
    /// How far the clusters of each slot lie apart, where that is known.
    pub dispersions: Vec<Option<Dispersion>>,
    /// The counts.
    pub evaluation: Evaluation,
    /// Locality bias of the attention, where it was measured.
    pub localities: Option<&'a Localities>,
}

/// How clusters are shown: by the class that each is matched to, where every cluster has one of
/// its own, else by themselves.
struct Show {
    by_class: bool,
    classes: Vec<[u8; 3]>,
    clusters: Vec<[u8; 3]>,
}

impl Show {
    fn colors(&self, class_of: &[Option<usize>]) -> Vec<[u8; 3]> {
        if self.by_class {
            class_of
                .iter()
                .map(|class| class.map_or([0; 3], |class| self.classes[class]))
                .collect()
        } else {
            self.clusters.clone()
        }
    }
}

/// Writes metrics, counts, codebooks, aggregate maps, label maps and examples.
///
/// # Errors
/// When the disk refuses.
pub fn write(input: Counted<'_>) -> Result<ProbeOutcome, StudyError> {
    let Counted {
        ref session,
        settings,
        data,
        record,
        slots,
        ref geometry,
        ..
    } = input;
    let run = session.run();
    let Evaluation {
        slots: counts,
        truth,
        readers,
        ..
    } = input.evaluation;
    let model = &record.model;
    let mut table = Table::new(&model.name, &model.family, &model.size);
    let size = [geometry.size; 2];
    let show = Show {
        by_class: truth.is_some() && record.clusters == data.classes.len(),
        classes: data.classes.iter().map(|class| class.color).collect(),
        clusters: vitscope_data::palette(record.clusters),
    };
    let truth = truth
        .map(|counts| write_truth(run, size, counts, &show))
        .transpose()?;
    let done = slots
        .par_iter()
        .zip(counts)
        .map(|(&slot, counts)| finish(run, size, settings, slot, counts, &show))
        .collect::<Result<Vec<Scores>, StudyError>>()?;

    let readers: Vec<[ReaderScores; 2]> = readers
        .par_iter()
        .map(|readers| readers.each_ref().map(ReaderCounts::finish))
        .collect();
    let mut measured = baselines::FromLabels::default();
    if let Some(truth) = &truth {
        rows::add_effect(&mut table, Subject::GroundTruth, truth, Part::Index);
        rows::add_border(&mut table, Subject::GroundTruth, truth);
        measured = input.labels.against(truth)?;
        rows::add_baselines(&mut table, measured.baselines.as_ref());
        rows::add_orders(&mut table, &done, &readers);
    }
    let mut summaries = Vec::new();
    for (index, (&slot, done)) in slots.iter().zip(&done).enumerate() {
        let loss = input.losses[index];
        rows::add_rows(&mut table, slot, done, loss, data.classes.len());
        let twins = twins(input.codebooks[index].view());
        rows::add_use(&mut table, slot, done, &twins, input.spreads[index]);
        rows::add_density(
            &mut table,
            slot,
            input.spreads[index],
            input.dispersions[index],
        );
        rows::add_border(&mut table, Subject::Slot(slot), done);
        if let Some(readers) = readers.get(index) {
            rows::add_readers(&mut table, slot, readers);
        }
        let test = done.test.as_ref().and_then(|test| test.nmi.as_ref());
        summaries.push(SlotSummary {
            slot,
            miou: done.quality.as_ref().and_then(|quality| quality.miou),
            accuracy: done.quality.as_ref().and_then(|quality| quality.accuracy),
            nmi: done.positional.nmi,
            excess: test
                .filter(|_| done.has_interval())
                .map(|test| (test.excess, test.low, test.high)),
            loss,
            readers: [0, 1].map(|reader| readers.get(index)?[reader].quality.miou),
            miou_interval: done.interval(|samples| &samples.miou),
            clusters_used: done.usage.map(|usage| usage.used),
            collapsed: done.usage.is_some_and(|usage| usage.is_collapsed()),
        });
    }
    if let Some(mut transforms) = StoredTransforms::open(run)? {
        for &slot in slots {
            if let Some(numbers) = transforms.numbers(slot)? {
                rows::add_fit(&mut table, slot, &numbers);
            }
        }
    }
    if let Some(localities) = input.localities {
        attention::write_beside(run, settings, localities, record.grid, &mut table)?;
    }
    table.write(&run.join(names::METRICS))?;
    write_counts(run, settings, slots, &done, truth.as_ref())?;
    write_samples(run, slots, &done)?;
    soft::write(run, slots, &done)?;
    let matches: Vec<&[Option<usize>]> = done.iter().map(|done| &done.class_of[..]).collect();
    write_codebooks(
        run,
        slots,
        input.codebooks,
        truth.is_some().then_some(&matches),
    )?;
    write_labels(
        run,
        settings,
        data,
        slots,
        &matches,
        &show,
        record.data.test,
    )?;
    let examples = write_examples(run, settings, data, geometry, record.data.test)?;
    Ok(ProbeOutcome {
        run: run.to_owned(),
        session: input.session,
        selection: selection(settings.select, &summaries),
        truth_nmi: truth.as_ref().and_then(|truth| truth.positional.nmi),
        slots: summaries,
        examples,
        place_alone: measured.baselines.and_then(|both| both.place_alone.miou),
        clusters: record.clusters,
        notes: measured.note.into_iter().collect(),
    })
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

fn write_aggregate(
    run: &Path,
    size: [usize; 2],
    name: &str,
    pixel: &Array3<u32>,
    colors: &[[u8; 3]],
) -> Result<(), StudyError> {
    let map = aggregate(pixel.view(), colors)?;
    picture::write_rgb(
        &run.join("aggregate").join(format!("{name}.png")),
        size,
        &map,
    )
}

fn write_truth(
    run: &Path,
    size: [usize; 2],
    counts: Counts,
    show: &Show,
) -> Result<Scores, StudyError> {
    let scores = counts.finish(Matching::Hungarian)?;
    let pixel = &scores.position_pixel;
    write_aggregate(run, size, "ground_truth", pixel, &show.classes)?;
    Ok(scores)
}

/// The numbers of a slot. Its maps at full size are let go unless they are to be stored.
fn finish(
    run: &Path,
    size: [usize; 2],
    settings: &Settings,
    slot: Slot,
    counts: Counts,
    show: &Show,
) -> Result<Scores, StudyError> {
    let matching = match settings.matching {
        settings::Matching::Hungarian => Matching::Hungarian,
        settings::Matching::Majority => Matching::Majority,
    };
    let mut scores = counts.finish(matching)?;
    write_aggregate(
        run,
        size,
        &slot.to_string(),
        &scores.position_pixel,
        &show.colors(&scores.class_of),
    )?;
    if settings.save_counts == SaveCounts::Grid {
        scores.position_pixel = Array3::zeros((0, 0, 0));
    }
    Ok(scores)
}

pub(super) fn tensor<'a>(
    path: &Path,
    dtype: Dtype,
    shape: &[usize],
    bytes: &'a [u8],
) -> Result<TensorView<'a>, StudyError> {
    TensorView::new(dtype, shape.to_vec(), bytes)
        .map_err(|error| StudyError::file(path, format!("cannot be written: {error}")))
}

fn write_counts(
    run: &Path,
    settings: &Settings,
    slots: &[Slot],
    done: &[Scores],
    truth: Option<&Scores>,
) -> Result<(), StudyError> {
    let path = run.join(names::COUNTS);
    let mut positions: Vec<(String, &Array3<u32>)> = Vec::new();
    let mut confusions: Vec<(String, &Array2<i64>)> = Vec::new();
    for (slot, done) in slots.iter().zip(done) {
        positions.push((format!("position.{slot}"), saved(settings, done)));
        if done.confusion.ncols() > 0 {
            confusions.push((format!("confusion.{slot}"), &done.confusion));
        }
    }
    if let Some(truth) = truth {
        positions.push(("position.ground_truth".to_owned(), saved(settings, truth)));
    }
    let mut tensors = Vec::new();
    for (name, counts) in &positions {
        let bytes = bytemuck::cast_slice(contiguous(counts.as_slice()));
        tensors.push((
            name.clone(),
            tensor(&path, Dtype::U32, counts.shape(), bytes)?,
        ));
    }
    for (name, counts) in &confusions {
        let bytes = bytemuck::cast_slice(contiguous(counts.as_slice()));
        tensors.push((
            name.clone(),
            tensor(&path, Dtype::I64, counts.shape(), bytes)?,
        ));
    }
    Ok(tensors::write(&path, tensors, None)?)
}

/// The bootstrap samples of mIoU, where there are any.
fn write_samples(run: &Path, slots: &[Slot], done: &[Scores]) -> Result<(), StudyError> {
    let path = run.join(names::SAMPLES);
    let values: Vec<(String, Vec<f64>)> = slots
        .iter()
        .zip(done)
        .filter_map(|(&slot, done)| {
            let samples = done.quality_samples.as_ref()?.miou.iter();
            let samples = samples.map(|miou| miou.unwrap_or(f64::NAN));
            Some((names::miou_samples(slot), samples.collect()))
        })
        .collect();
    if values.is_empty() {
        return Ok(());
    }
    let mut tensors = Vec::new();
    for (name, values) in &values {
        let bytes = bytemuck::cast_slice(values);
        let shape = [values.len()];
        tensors.push((name.clone(), tensor(&path, Dtype::F64, &shape, bytes)?));
    }
    Ok(tensors::write(&path, tensors, None)?)
}

/// The position counts that are stored.
fn saved<'a>(settings: &Settings, scores: &'a Scores) -> &'a Array3<u32> {
    match settings.save_counts {
        SaveCounts::Pixel => &scores.position_pixel,
        SaveCounts::Grid => &scores.position_grid,
    }
}

/// Counts are made in standard layout, so their elements lie side by side.
pub(super) fn contiguous<T>(elements: Option<&[T]>) -> &[T] {
    elements.expect("counts are in standard layout")
}

/// Writes the unit centroids of every slot and, once it is known, the class of each cluster.
///
/// # Errors
/// When the disk refuses.
pub fn write_codebooks(
    run: &Path,
    slots: &[Slot],
    codebooks: &[Array2<f32>],
    matches: Option<&Vec<&[Option<usize>]>>,
) -> Result<(), StudyError> {
    let path = run.join(names::CODEBOOKS);
    let books: Vec<Vec<f32>> = codebooks
        .iter()
        .map(|book| book.iter().copied().collect())
        .collect();
    let classes: Vec<Vec<i64>> = matches
        .into_iter()
        .flatten()
        .map(|of| {
            of.iter()
                .map(|class| class.map_or(-1, |class| class as i64))
                .collect()
        })
        .collect();
    let mut tensors = Vec::new();
    for ((slot, book), values) in slots.iter().zip(codebooks).zip(&books) {
        let bytes = bytemuck::cast_slice(values);
        tensors.push((
            slot.to_string(),
            tensor(&path, Dtype::F32, book.shape(), bytes)?,
        ));
    }
    for (slot, values) in slots.iter().zip(&classes) {
        let bytes = bytemuck::cast_slice(values);
        let shape = [values.len()];
        tensors.push((
            format!("match.{slot}"),
            tensor(&path, Dtype::I64, &shape, bytes)?,
        ));
    }
    Ok(tensors::write(&path, tensors, None)?)
}

/// Turns the waiting cluster maps into label maps: matched classes where every cluster has one
/// of its own, else clusters.
fn write_labels(
    run: &Path,
    settings: &Settings,
    data: &DataSet,
    slots: &[Slot],
    matches: &[&[Option<usize>]],
    show: &Show,
    test: usize,
) -> Result<(), StudyError> {
    let items = data.split(Split::Test);
    let colors = if show.by_class {
        &show.classes
    } else {
        &show.clusters
    };
    let kept = kept_indices(settings, test);
    slots
        .par_iter()
        .zip(matches)
        .try_for_each(|(&slot, class_of)| {
            let mut index_of = [IGNORE; 256];
            for (cluster, class) in class_of.iter().enumerate() {
                let index = if show.by_class { *class } else { Some(cluster) };
                index_of[cluster] = index.map_or(IGNORE, |index| index as u8);
            }
            for &image in &kept {
                let name = format!("{}.png", items[image].name);
                let (size, mut labels) =
                    picture::read_indices(&waiting_folder(run, slot).join(&name))?;
                labels
                    .iter_mut()
                    .for_each(|label| *label = index_of[usize::from(*label)]);
                let path = run.join("labels").join(slot.to_string()).join(&name);
                picture::write_indices(&path, size, &labels, colors)?;
            }
            Ok(())
        })
}

/// Writes the crops of the example images and the ground truth of every kept image.
fn write_examples(
    run: &Path,
    settings: &Settings,
    data: &DataSet,
    geometry: &Geometry,
    test: usize,
) -> Result<Vec<String>, StudyError> {
    let items = data.split(Split::Test);
    let size = [geometry.size; 2];
    let mut names = Vec::new();
    for image in example_indices(settings, test) {
        let item = &items[image];
        let crop = data.image(item, geometry)?;
        picture::write_rgb(
            &run.join("images").join(format!("{}.png", item.name)),
            size,
            &crop.pixels,
        )?;
        names.push(item.name.clone());
    }
    if data.has_truth() {
        let mut shown = kept_indices(settings, test);
        shown.extend(example_indices(settings, test));
        shown.sort_unstable();
        shown.dedup();
        let colors: Vec<[u8; 3]> = data.classes.iter().map(|class| class.color).collect();
        for image in shown {
            let item = &items[image];
            if let Some(label) = data.label(item, geometry)? {
                let path = run
                    .join("labels/ground_truth")
                    .join(format!("{}.png", item.name));
                picture::write_indices(&path, size, &label.ids, &colors)?;
            }
        }
    }
    Ok(names)
}
