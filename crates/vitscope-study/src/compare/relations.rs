//! Relations between figures over slots and models (PROTOCOL section 11; paper 3.3).
//!
//! - `nmi~log_miou`: positional effect against the natural logarithm of mIoU, every slot a point.
//! - `nmi~locality`: positional effect of keys and queries against the locality bias of their layer.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use vitscope_measure::{bootstrap_interval, pearson, spearman};
use vitscope_vit::facet::Facet;

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
    /// Its 95 % interval from a bootstrap over the points.
    pub interval: Option<(f64, f64)>,
}

/// How two figures go together over some points.
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
/// same model over the same images.
///
/// # Errors
/// A sentence, where several others differ in what they measured.
pub fn locality_of<'a>(
    runs: &'a [StoredRun],
    run: &'a StoredRun,
) -> Result<Option<&'a StoredRun>, StudyError> {
    join(runs, run, "locality", |other| other.data.is(&run.data))
}

/// The run whose PCK stands beside a run's slots: the run itself, or another one of the same model.
///
/// # Errors
/// A sentence, where several others differ in what they measured.
pub fn pck_of<'a>(
    runs: &'a [StoredRun],
    run: &'a StoredRun,
) -> Result<Option<&'a StoredRun>, StudyError> {
    join(runs, run, "pck", |_| true)
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
        .filter(|other| other.model == run.model && other.has(metric) && fits(other));
    let Some(first) = others.next() else {
        return Ok(None);
    };
    // Not their intervals, which another seed draws otherwise.
    let figures = |run: &StoredRun| -> Vec<(Option<usize>, String, Option<f64>)> {
        let rows = run.rows.iter();
        let rows = rows.filter(|row| row.metric == metric && row.class.is_empty());
        rows.map(|row| (row.layer, row.facet.clone(), row.measured.value))
            .collect()
    };
    match others.find(|other| figures(other) != figures(first)) {
        None => Ok(Some(first)),
        Some(other) => Err(StudyError::setting(format!(
            "{} and {} both measured the {metric} of {}, differently, and {} has none of its own: leave one of them out",
            first.name, other.name, run.model.name, run.name
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
        let elsewhere = |other: &&StoredRun| other.model == run.model && other.has("locality");
        if let (None, Some(other)) = (beside, runs.iter().find(elsewhere)) {
            notes.push(format!(
                "the locality in {} is of other images than those of {}: they are not joined",
                other.name, run.name
            ));
        }
        for facet in Facet::ALL {
            for layer in run.layers(facet.name()) {
                let figure = |metric| run.figure(facet.name(), layer, metric)?.value;
                let point = |list: &mut Vec<Point>, y: Option<f64>| {
                    if let (Some(x), Some(y)) = (figure("nmi"), y) {
                        list.push(Point {
                            run: index,
                            facet,
                            x,
                            y,
                        });
                    }
                };
                let positive = figure("miou").filter(|&miou| miou > 0.0);
                point(&mut quality, positive.map(f64::ln));
                if matches!(facet, Facet::Key | Facet::Query) {
                    let figure = beside.and_then(|run| run.figure("", layer, "locality"));
                    point(&mut locality, figure.and_then(|figure| figure.value));
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
                .any(|pair| !runs[pair[0].run].data.is(&runs[pair[1].run].data));
            if mixed && group == "all" {
                notes.push(format!(
                    "{name} is not computed over runs of different data sets: compare those of one data set at a time"
                ));
            }
            list.push(relate(name, group, &chosen, mixed));
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

fn relate(relation: &'static str, group: &str, points: &[&Point], mixed: bool) -> Relation {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|point| (point.x, point.y)).unzip();
    let coefficient = |statistic: fn(&[f64], &[f64]) -> Option<f64>| {
        if mixed || x.len() < FEWEST {
            return Coefficient::default();
        }
        let value = statistic(&x, &y);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let interval =
            value.and_then(|_| bootstrap_interval(&x, &y, statistic, REPLICATES, LEVEL, &mut rng));
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
