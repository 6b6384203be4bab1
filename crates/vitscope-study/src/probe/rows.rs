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

#[cfg(test)]
mod tests {
    use vitscope_measure::{Matching, Positions};
    use vitscope_protocol::{Counts, MapShape, ReaderCounts, TestBatch};
    use vitscope_run::{Metrics, names};

    use super::*;

    const SLOT: Slot = Slot {
        facet: Facet::Key,
        layer: 2,
    };
    const TRUTH: [u8; 8] = [0, 0, 0, 0, 1, 1, 1, 1];

    /// The rows that something adds, read back.
    fn added(add: impl FnOnce(&mut Table)) -> Metrics {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::new("m", "f", "S");
        add(&mut table);
        table.write(&folder.path().join(names::METRICS)).unwrap();
        Metrics::read(folder.path(), None).unwrap().unwrap()
    }

    /// The truth with so many of its pixels wrong.
    fn labels(wrong: usize) -> [u8; 8] {
        let mut labels = TRUTH;
        for label in &mut labels[..wrong] {
            *label = 1;
        }
        labels
    }

    fn batch() -> TestBatch<'static> {
        TestBatch {
            images: &[0],
            truth: Some(&TRUTH),
        }
    }

    fn scores(clusters: usize, wrong: usize) -> Scores {
        let shape = MapShape {
            grid: (2, 4),
            patch: 1,
        };
        let mut counts = Counts::new(clusters, 2, shape, Positions::All, None);
        counts.add(&labels(wrong), &batch()).unwrap();
        counts.finish(Matching::Hungarian).unwrap()
    }

    fn read(wrong: usize) -> ReaderScores {
        let mut counts = ReaderCounts::new(2, None);
        counts.add(&labels(wrong), &batch()).unwrap();
        counts.finish()
    }

    #[test]
    fn a_class_is_named_once_and_a_cluster_without_one_by_itself() {
        let found = added(|table| add_rows(table, SLOT, &scores(3, 0), Some(0.25), 2));
        let subject = Subject::Slot(SLOT);
        assert_eq!(found.value(subject, "miou"), Some(1.0));
        assert_eq!(found.value(subject, "accuracy"), Some(1.0));
        assert_eq!(found.value(subject, "loss"), Some(0.25));
        // The upper row is of one cluster, the lower of the other: the place tells all.
        assert!((found.value(subject, "nmi").unwrap() - 1.0).abs() < 1e-12);
        assert!((found.value(subject, "entropy").unwrap() - 2.0_f64.ln()).abs() < 1e-12);
        let part = |part| found.part(subject, "class_mi", part);
        assert!(part(Part::Index(0)).is_some() && part(Part::Index(1)).is_some());
        assert_eq!(part(Part::Cluster(2)).unwrap().value, Some(0.0));
        assert!(part(Part::Cluster(0)).is_none() && part(Part::Index(2)).is_none());
        // Without resamples there are neither null nor interval.
        assert!(found.whole(subject, "nmi_excess").is_none());
        assert_eq!(found.whole(subject, "miou").unwrap().interval, None);
    }

    #[test]
    fn twins_are_counted_once_each_and_what_is_not_known_is_empty() {
        let found = added(|table| {
            add_use(table, SLOT, &scores(3, 0), &[(0, 2), (0, 1)], None);
            add_density(table, SLOT, None, None);
        });
        let value = |metric| found.value(Subject::Slot(SLOT), metric);
        assert_eq!(value("clusters_twin"), Some(3.0));
        assert_eq!(value("clusters_dead"), Some(1.0));
        assert_eq!(value("largest_cluster"), Some(0.5));
        assert!((value("clusters_used").unwrap() - 2.0).abs() < 1e-12);
        assert!(found.has("effective_rank") && value("effective_rank").is_none());
        assert!(found.has("channel_top3") && value("channel_top3").is_none());
    }

    #[test]
    fn orders_are_those_of_readers_and_clusters_over_three_slots_or_more() {
        let slots: Vec<Scores> = (0..3).map(|wrong| scores(2, wrong)).collect();
        let readers: Vec<_> = (0..3).map(|wrong| [read(wrong), read(2 - wrong)]).collect();
        let found = added(|table| add_orders(table, &slots, &readers));
        let value = |found: &Metrics, metric| found.value(Subject::GroundTruth, metric);
        for (metric, expected) in [("knn_order", 1.0), ("linear_order", -1.0)] {
            let order = value(&found, metric).unwrap();
            assert!((order - expected).abs() < 1e-12, "{metric} {order}");
        }
        let few = added(|table| add_orders(table, &slots[..2], &readers[..2]));
        assert!(few.has("knn_order") && value(&few, "knn_order").is_none());
        assert!(!added(|table| add_orders(table, &slots, &[])).has("knn_order"));
    }

    #[test]
    fn artifacts_are_told_where_they_mean_something() {
        let numbers = [Measured {
            // In the range of each.
            value: Some(1.0),
            interval: None,
        }; inspected::NAMES.len()];
        let token = Slot {
            facet: Facet::Token,
            ..SLOT
        };
        let of = |subject, transformed| {
            let found = added(|table| add_artifacts(table, subject, &numbers, transformed));
            let names = found.rows().iter().map(|row| row.metric.clone());
            names.collect::<Vec<String>>()
        };
        let all = inspected::NAMES.map(str::to_owned);
        assert_eq!(of(Subject::Slot(token), false), all);
        // A fit of a transform tells these itself.
        assert_eq!(of(Subject::Slot(token), true), all[..inspected::OF_FITS]);
        let keys = of(Subject::Slot(SLOT), false);
        assert!(keys.iter().all(|name| !name.starts_with("class")));
        assert_eq!(keys.len(), all.len() - 2);
        let truth = of(Subject::GroundTruth, false);
        assert_eq!(
            truth,
            [
                "fragments",
                "fragment_single",
                "alike_share",
                "alike_null",
                "alike_z"
            ]
        );
    }
}
