//! Relations between numbers over slots and models (docs/protocol.md section 11; paper 3.3).
//!
//! - `nmi~log_miou`: positional effect against the natural logarithm of mIoU, every slot a point that is not collapsed.
//! - `nmi~locality`: positional effect of keys and queries against the locality bias of their layer.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use vitscope_measure::{bootstrap_interval, pearson, spearman};
use vitscope_run::{Facet, Part, Slot, Subject};

use crate::error::StudyError;
use crate::stored::StoredRun;

/// Positional effect against quality.
pub const QUALITY: &str = "nmi~log_miou";

/// Positional effect against locality bias.
pub const LOCALITY: &str = "nmi~locality";

/// Points below which no coefficient is given.
const FEWEST: usize = 3;

/// Bootstrap samples behind an interval, and its level.
const REPLICATES: usize = 2000;
const LEVEL: f64 = 0.95;

/// A coefficient with its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Coefficient {
    /// In `[-1, 1]`; `None` where it is undefined.
    pub value: Option<f64>,
    /// Its 95 % interval from a bootstrap over the points; `None` for points of one model, which are no
    /// independent draws.
    pub interval: Option<(f64, f64)>,
}

/// How two numbers go together over some points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Relation {
    /// [`QUALITY`] or [`LOCALITY`].
    pub relation: &'static str,
    /// `all`, a run's name, or a facet.
    pub group: String,
    /// Number of points.
    pub n: usize,
    /// Linear relation.
    pub pearson: Coefficient,
    /// Monotone relation.
    pub spearman: Coefficient,
}

/// A slot of a run.
struct Point {
    run: usize,
    facet: Facet,
    x: f64,
    y: f64,
}

/// The run whose locality bias stands beside a run's slots: the run itself, or another one of the
/// same model over the same images at the same size.
///
/// # Errors
/// A sentence, where several others differ in what they measured.
pub fn locality_of<'a>(
    runs: &'a [StoredRun],
    run: &'a StoredRun,
) -> Result<Option<&'a StoredRun>, StudyError> {
    join(runs, run, "locality", |other| {
        other.run.record.is_same_attention(&run.run.record)
    })
}

/// The run whose PCK stands beside a run's slots: the run itself, or another one of the same model that
/// read the last token as it did, or else any other one.
///
/// # Errors
/// A sentence, where several others differ in what they measured.
pub fn pck_of<'a>(
    runs: &'a [StoredRun],
    run: &'a StoredRun,
) -> Result<Option<&'a StoredRun>, StudyError> {
    match join(runs, run, "pck", |other| other.token_norm == run.token_norm)? {
        Some(found) => Ok(Some(found)),
        None => join(runs, run, "pck", |_| true),
    }
}

fn join<'a>(
    runs: &'a [StoredRun],
    run: &'a StoredRun,
    metric: &str,
    fits: impl Fn(&StoredRun) -> bool,
) -> Result<Option<&'a StoredRun>, StudyError> {
    if run.has(metric) {
        return Ok(Some(run));
    }
    let mut others = runs
        .iter()
        .filter(|other| other.is_same_model(run) && other.has(metric) && fits(other));
    let Some(first) = others.next() else {
        return Ok(None);
    };
    // Not their intervals, which another seed draws otherwise.
    let numbers = |run: &StoredRun| -> Vec<(Subject, Option<f64>)> {
        let rows = run.run.metrics.rows().iter();
        let rows = rows.filter(|row| row.metric == metric && row.part == Part::Whole);
        rows.map(|row| (row.subject, row.measured.value)).collect()
    };
    match others.find(|other| numbers(other) != numbers(first)) {
        None => Ok(Some(first)),
        Some(other) => Err(StudyError::setting(format!(
            "{} and {} both measured the {metric} of {}, differently, and {} has none of its own: leave one of them out",
            first.name, other.name, run.run.record.model.name, run.name
        ))),
    }
}

/// Both relations over all points, each run's and each facet's. What keeps points from being joined
/// is added to `notes`.
///
/// # Errors
/// From [`locality_of`].
pub fn relations(runs: &[StoredRun], notes: &mut Vec<String>) -> Result<Vec<Relation>, StudyError> {
    let (mut quality, mut locality) = (Vec::new(), Vec::new());
    for (index, run) in runs.iter().enumerate() {
        if !run.has("nmi") {
            continue;
        }
        let beside = locality_of(runs, run)?;
        let elsewhere = |other: &&StoredRun| other.is_same_model(run) && other.has("locality");
        if let (None, Some(other)) = (beside, runs.iter().find(elsewhere)) {
            notes.push(format!(
                "the locality in {} is of other images than those of {}, or of another size: they are not joined",
                other.name, run.name
            ));
        }
        for facet in Facet::ALL {
            for layer in run.run.metrics.layers(Some(facet)) {
                // One whose clusters are one says nothing of what goes with what.
                if run.is_collapsed(Slot { facet, layer }) {
                    continue;
                }
                let value = |metric| run.number(Some(facet), layer, metric)?.value;
                let point = |list: &mut Vec<Point>, y: Option<f64>| {
                    if let (Some(x), Some(y)) = (value("nmi"), y) {
                        list.push(Point {
                            run: index,
                            facet,
                            x,
                            y,
                        });
                    }
                };
                let positive = value("miou").filter(|&miou| miou > 0.0);
                point(&mut quality, positive.map(f64::ln));
                if matches!(facet, Facet::Key | Facet::Query) {
                    let of_layer = beside.and_then(|run| run.number(None, layer, "locality"));
                    point(&mut locality, of_layer.and_then(|number| number.value));
                }
            }
        }
    }
    let mut list = Vec::new();
    let probes = || (0..runs.len()).filter(|&index| runs[index].has("nmi"));
    for (name, points, facets) in [
        (QUALITY, &quality, &Facet::ALL[..]),
        (LOCALITY, &locality, &[Facet::Key, Facet::Query][..]),
    ] {
        let mut add = |group: &str, chosen: Vec<&Point>| {
            let mixed = chosen
                .windows(2)
                .any(|pair| !runs[pair[0].run].is_same_data(&runs[pair[1].run]));
            if mixed && group == "all" {
                notes.push(format!(
                    "{name} is not computed over runs of different data sets: compare those of one data set at a time"
                ));
            }
            let one_model = chosen
                .windows(2)
                .all(|pair| runs[pair[0].run].is_same_model(&runs[pair[1].run]));
            list.push(relate(name, group, &chosen, mixed, one_model));
        };
        add("all", points.iter().collect());
        for index in probes() {
            let own = points.iter().filter(|point| point.run == index);
            add(&runs[index].name, own.collect());
        }
        for &facet in facets {
            let own = points.iter().filter(|point| point.facet == facet);
            add(facet.name(), own.collect());
        }
    }
    Ok(list)
}

fn relate(
    relation: &'static str,
    group: &str,
    points: &[&Point],
    mixed: bool,
    one_model: bool,
) -> Relation {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|point| (point.x, point.y)).unzip();
    let coefficient = |statistic: fn(&[f64], &[f64]) -> Option<f64>| {
        if mixed || x.len() < FEWEST {
            return Coefficient::default();
        }
        let value = statistic(&x, &y);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let interval = value
            .filter(|_| !one_model)
            .and_then(|_| bootstrap_interval(&x, &y, statistic, REPLICATES, LEVEL, &mut rng));
        Coefficient { value, interval }
    };
    Relation {
        relation,
        group: group.to_owned(),
        n: points.len(),
        pearson: coefficient(pearson),
        spearman: coefficient(spearman),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[(f64, f64)]) -> Vec<Point> {
        let point = |&(x, y): &(f64, f64)| Point {
            run: 0,
            facet: Facet::Key,
            x,
            y,
        };
        values.iter().map(point).collect()
    }

    #[test]
    fn a_relation_is_of_its_points() {
        let list = points(&[(0.0, 1.0), (1.0, 0.0), (2.0, 1.0), (3.0, 2.0)]);
        let all: Vec<&Point> = list.iter().collect();
        let found = relate(QUALITY, "all", &all, false, false);
        // Deviations from the means: x -1.5, -.5, .5, 1.5; y 0, -1, 0, 1: 2 / sqrt(5 * 2).
        let expected = 2.0 / 10.0_f64.sqrt();
        assert!((found.pearson.value.unwrap() - expected).abs() < 1e-12);
        let (low, high) = found.pearson.interval.unwrap();
        assert!(low <= expected && expected <= high);
        assert_eq!(found.n, 4);
        // Slots of one model are not drawn independently: the same coefficient, without an interval.
        let alone = relate(QUALITY, "a", &all, false, true);
        assert_eq!(alone.pearson.value, found.pearson.value);
        assert_eq!(
            (alone.pearson.interval, alone.spearman.interval),
            (None, None)
        );
    }

    #[test]
    fn few_points_and_other_data_have_no_coefficient() {
        let list = points(&[(0.0, 1.0), (1.0, 0.0), (2.0, 1.0)]);
        let all: Vec<&Point> = list.iter().collect();
        for found in [
            relate(QUALITY, "all", &all[..2], false, false),
            relate(QUALITY, "all", &all, true, false),
        ] {
            assert_eq!(found.pearson, Coefficient::default());
            assert_eq!(found.spearman, Coefficient::default());
        }
    }
}
