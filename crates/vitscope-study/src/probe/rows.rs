//! The rows of `metrics.csv` that a probing run writes.

use vitscope_measure::{Baselines, Resampled, border, sample_interval, spearman};
use vitscope_probe::{Dispersion, Spread};
use vitscope_protocol::{ReaderScores, Scores};
use vitscope_run::{Facet, Measured, Part, Slot, Subject, Table};

use crate::inspected;
use crate::transforms::FitNumbers;

/// Adds the positional effect's rows; `class` names what a row of the counts stands for.
fn add_effect(table: &mut Table, subject: Subject, scores: &Scores, class: impl Fn(usize) -> Part) {
    let pixel = &scores.positional;
    let defined = pixel.nmi.is_some();
    let mut one =
        |metric, value, interval| table.add(subject, metric, Part::Whole, value, interval);
    one("mi", Some(pixel.mi), None);
    one("entropy", Some(pixel.entropy), None);
    one("nmi", pixel.nmi, None);
    one("nmi_grid", scores.positional_grid.nmi, None);
    if let Some(test) = &scores.test {
        let resampled = test.nmi.as_ref().filter(|_| defined);
        let value = |f: fn(&Resampled) -> f64| resampled.map(f);
        let interval = resampled
            .filter(|_| scores.has_interval())
            .map(|r| (r.low, r.high));
        one("nmi_null", value(|r| r.null_mean), None);
        one("nmi_excess", value(|r| r.excess), interval);
        one("nmi_z", resampled.and_then(|r| r.z), None);
    }
    for (cluster, &mi) in pixel.class_mi.iter().enumerate() {
        table.add(subject, "class_mi", class(cluster), Some(mi), None);
    }
}

/// Adds what was measured of a slot.
pub(crate) fn add_rows(
    table: &mut Table,
    slot: Slot,
    done: &Scores,
    loss: Option<f64>,
    classes: usize,
) {
    let subject = Subject::Slot(slot);
    if let Some(quality) = &done.quality {
        let miou = done.interval(|samples| &samples.miou);
        table.add(subject, "miou", Part::Whole, quality.miou, miou);
        let accuracy = done.interval(|samples| &samples.accuracy);
        table.add(subject, "accuracy", Part::Whole, quality.accuracy, accuracy);
        for (class, &iou) in quality.iou.iter().enumerate() {
            table.add(subject, "iou", Part::Index(class), iou, None);
        }
    }
    // A class is named once: by the cluster that the one-to-one matching gives it.
    let mut owner = vec![None; classes];
    let one_to_one = vitscope_measure::hungarian(done.confusion.view());
    for (cluster, class) in one_to_one.iter().enumerate() {
        if let Some(class) = *class {
            owner[class] = Some(cluster);
        }
    }
    add_effect(table, subject, done, |cluster| {
        match owner.iter().position(|&owner| owner == Some(cluster)) {
            Some(class) => Part::Index(class),
            None => Part::Cluster(cluster),
        }
    });
    table.add(subject, "loss", Part::Whole, loss, None);
}

/// Adds what says whether a slot's numbers mean anything (protocol 14).
pub(crate) fn add_use(
    table: &mut Table,
    slot: Slot,
    scores: &Scores,
    twins: &[(usize, usize)],
    spread: Option<Spread>,
) {
    let usage = scores.usage;
    let mut twin: Vec<usize> = twins.iter().flat_map(|&(a, b)| [a, b]).collect();
    twin.sort_unstable();
    twin.dedup();
    let of = |value: fn(Spread) -> f64| spread.map(value);
    for (metric, value) in [
        ("clusters_used", usage.map(|usage| usage.used)),
        ("largest_cluster", usage.map(|usage| usage.largest)),
        ("clusters_dead", usage.map(|usage| usage.dead as f64)),
        ("clusters_twin", Some(twin.len() as f64)),
        (
            "common_direction",
            spread.and_then(|spread| spread.common_direction),
        ),
        ("channel_top1", of(|spread| spread.channel_top1)),
        ("channel_top3", of(|spread| spread.channel_top3)),
        ("channel_top10", of(|spread| spread.channel_top10)),
        ("participation", of(|spread| spread.participation)),
    ] {
        table.add(Subject::Slot(slot), metric, Part::Whole, value, None);
    }
}

/// Slots whose order says something.
const FEWEST_IN_ORDER: usize = 3;

/// Adds what the kNN and the linear reader made of a slot (protocol 20).
pub(crate) fn add_readers(table: &mut Table, slot: Slot, readers: &[ReaderScores; 2]) {
    let names = [
        ["knn_miou", "knn_accuracy"],
        ["linear_miou", "linear_accuracy"],
    ];
    for (scores, [miou, accuracy]) in readers.iter().zip(names) {
        let mut one = |metric, value, interval| {
            table.add(Subject::Slot(slot), metric, Part::Whole, value, interval);
        };
        let quality = &scores.quality;
        one(miou, quality.miou, scores.interval(|samples| &samples.miou));
        let interval = scores.interval(|samples| &samples.accuracy);
        one(accuracy, quality.accuracy, interval);
    }
}

/// Adds how far slots stand in the same order by k-means and by each reader (protocol 20): Spearman's correlation of
/// their mIoU over slots that mean something, with an interval over images.
pub(crate) fn add_orders(table: &mut Table, slots: &[Scores], readers: &[[ReaderScores; 2]]) {
    if readers.is_empty() {
        return;
    }
    for (reader, metric) in ["knn_order", "linear_order"].into_iter().enumerate() {
        let both = slots
            .iter()
            .zip(readers.iter().map(|readers| &readers[reader]));
        let both: Vec<(&Scores, &ReaderScores)> = both
            .filter(|(slot, read)| {
                let defined = |miou: Option<f64>| miou.is_some();
                !slot.usage.is_some_and(|usage| usage.is_collapsed())
                    && defined(slot.quality.as_ref().and_then(|quality| quality.miou))
                    && defined(read.quality.miou)
            })
            .collect();
        let order = |pairs: Vec<Option<(f64, f64)>>| -> Option<f64> {
            let pairs = pairs.into_iter().collect::<Option<Vec<_>>>()?;
            let (own, read): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            (own.len() >= FEWEST_IN_ORDER).then(|| spearman(&own, &read))?
        };
        let value = order(
            both.iter()
                .map(|(slot, read)| slot.quality.as_ref()?.miou.zip(read.quality.miou))
                .collect(),
        );
        let samples = both.first().and_then(|(_, read)| read.samples.as_ref());
        let samples = samples.map_or(0, |samples| samples.miou.len());
        // Sample `r` of every slot is of the same images.
        let of_sample = |sample: usize| {
            let pair = |(slot, read): &(&Scores, &ReaderScores)| {
                let own = slot.quality_samples.as_ref()?.miou.get(sample)?;
                (*own).zip(*read.samples.as_ref()?.miou.get(sample)?)
            };
            order(both.iter().map(pair).collect())
        };
        let samples: Vec<Option<f64>> = (0..samples).map(of_sample).collect();
        let interval = value.and_then(|_| sample_interval(&samples));
        table.add(Subject::GroundTruth, metric, Part::Whole, value, interval);
    }
}

/// Adds how many directions a slot's vectors fill, and how far its clusters lie apart (protocol 14).
pub(crate) fn add_density(
    table: &mut Table,
    slot: Slot,
    spread: Option<Spread>,
    dispersion: Option<Dispersion>,
) {
    for (metric, value) in [
        (
            "effective_rank",
            spread.and_then(|spread| spread.effective_rank),
        ),
        ("dse_inter", dispersion.map(|found| found.inter)),
        ("dse_intra", dispersion.map(|found| found.intra)),
    ] {
        table.add(Subject::Slot(slot), metric, Part::Whole, value, None);
    }
}

/// Adds which part of the positional effect the border, the row and the column tell (protocol 17).
pub(crate) fn add_border(table: &mut Table, subject: Subject, scores: &Scores) {
    let border = border(scores.position_grid.view());
    for (metric, split) in [
        ("ring_share", border.ring),
        ("row_share", border.row),
        ("column_share", border.column),
    ] {
        table.add(subject, metric, Part::Whole, split.share(), None);
    }
}

/// Adds what the fit of a transform says of position (protocol 15).
pub(crate) fn add_fit(table: &mut Table, slot: Slot, numbers: &FitNumbers) {
    for (metric, value) in FitNumbers::NAMES.into_iter().zip(numbers.0) {
        let value = Some(value).filter(|value| !value.is_nan());
        table.add(Subject::Slot(slot), metric, Part::Whole, value, None);
    }
}

/// Adds what is odd about patch vectors and labels (protocol 17). What a fit of a transform tells, too, is told by the fit.
pub(crate) fn add_artifacts(
    table: &mut Table,
    subject: Subject,
    numbers: &[Measured; inspected::NAMES.len()],
    transformed: bool,
) {
    let has_class = |slot: Slot| slot.facet == Facet::Token;
    let of_labels = ["fragment", "alike"];
    for (index, (name, measured)) in inspected::NAMES.into_iter().zip(numbers).enumerate() {
        let told = match subject {
            Subject::Slot(slot) => {
                !(transformed && index >= inspected::OF_FITS)
                    && (has_class(slot) || !name.starts_with("class"))
            }
            _ => of_labels.iter().any(|start| name.starts_with(start)),
        };
        if told {
            table.add(
                subject,
                name,
                Part::Whole,
                measured.value,
                measured.interval,
            );
        }
    }
}

/// Adds what the ground truth itself comes to, and the baselines that are told beside it.
pub(crate) fn add_truth(table: &mut Table, truth: &Scores, both: Option<&Baselines>) {
    add_effect(table, Subject::GroundTruth, truth, Part::Index);
    add_border(table, Subject::GroundTruth, truth);
    add_baselines(table, both);
}

/// Adds the baselines beside the ground truth.
fn add_baselines(table: &mut Table, both: Option<&Baselines>) {
    let (place, one) = (
        both.map(|both| &both.place_alone),
        both.map(|both| &both.one_class),
    );
    for (metric, value) in [
        ("place_alone", place.and_then(|quality| quality.miou)),
        (
            "place_alone_accuracy",
            place.and_then(|quality| quality.accuracy),
        ),
        ("one_class", one.and_then(|quality| quality.miou)),
        (
            "one_class_accuracy",
            one.and_then(|quality| quality.accuracy),
        ),
    ] {
        table.add(Subject::GroundTruth, metric, Part::Whole, value, None);
    }
}
