//! What is odd about the embeddings of a run, from the numbers that it holds: nothing is computed again
//! (docs/protocol.md section 17).
//!
//! Each measure of each slot is *ok*, worth a *look*, or *broken*, with the number, what it would be where nothing is
//! wrong, and what to do next.

use serde::Serialize;
use vitscope_measure::Usage;
use vitscope_run::{Run, Slot, Subject};

use crate::error::StudyError;

/// Mean cosine to the common direction above which cosines hardly differ.
const COMMON: f64 = 0.9;
/// Share of the energy in three channels above which they outweigh the rest, and above which nothing else counts.
const CHANNELS: [f64; 2] = [0.5, 0.9];
/// Share of the positional effect that rings hold, above which it is mostly the border's.
const RING: f64 = 0.5;
/// Share of patterns from patch to patch in the mean map, above which there is a grid.
const GRID: f64 = 0.25;
/// Positional effect this far above the ground truth's is none.
const NEAR_TRUTH: f64 = vitscope_measure::NEAR_TRUTH;

/// How bad a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Not as it should be, and it may matter.
    Look,
    /// The slot's other numbers say little because of it.
    Broken,
}

impl Health {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Look => "look",
            Self::Broken => "broken",
        }
    }
}

/// A measure of a slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The slot.
    pub slot: String,
    /// The number's name in `metrics.csv`.
    pub measure: &'static str,
    /// The number.
    pub value: f64,
    /// What it would be where nothing is wrong.
    pub null: f64,
    /// How bad it is.
    pub health: Health,
    /// What to do next, where it is not ok.
    pub next: Option<String>,
}

/// Every measure of every slot of a finished probing run, slots in the order of the page.
///
/// # Errors
/// For a folder that is no finished run, and for a run without slots.
pub fn artifacts(run: &Run) -> Result<Vec<Finding>, StudyError> {
    let slots = run.metrics.subjects().filter_map(|subject| match subject {
        Subject::Slot(slot) => Some(slot),
        _ => None,
    });
    let mut slots: Vec<Slot> = slots.collect();
    slots.sort_by_key(|slot| (slot.facet, slot.layer));
    if slots.is_empty() || !run.metrics.has("clusters_used") {
        return Err(StudyError::setting(format!(
            "{}: holds no measures of artifacts: give a run that `probe` of this version has made",
            run.root.display()
        )));
    }
    Ok(slots
        .into_iter()
        .flat_map(|slot| of_slot(run, slot))
        .collect())
}

fn of_slot(run: &Run, slot: Slot) -> Vec<Finding> {
    let value = |measure: &str| run.metrics.value(Subject::Slot(slot), measure);
    let mut findings = Vec::new();
    let mut add = |measure: &'static str, null: f64, health: Health, next: &str| {
        if let Some(value) = value(measure) {
            findings.push(Finding {
                slot: slot.to_string(),
                measure,
                value,
                null,
                health,
                next: (health != Health::Ok).then(|| next.to_owned()),
            });
        }
    };
    let look = |bad: bool| if bad { Health::Look } else { Health::Ok };
    let clusters = run.record.clusters;
    let usage = value("clusters_used").zip(value("largest_cluster"));
    let usage = usage.map(|(used, largest)| Usage {
        clusters,
        used,
        largest,
        dead: 0,
    });
    let use_health = match usage {
        Some(usage) if usage.is_collapsed() => Health::Broken,
        Some(usage) => look(usage.is_low()),
        None => Health::Ok,
    };
    add(
        "clusters_used",
        clusters as f64,
        use_health,
        "few clusters hold most pixels: probe with --transform standardize, or center, and look at this slot again",
    );
    for measure in ["clusters_dead", "clusters_twin"] {
        let health = look(value(measure).is_some_and(|count| count > 0.0));
        add(
            measure,
            0.0,
            health,
            "some clusters stand for nothing or for the same: compare other --seeds",
        );
    }
    let common = value("common_direction").is_some_and(|cosine| cosine > COMMON);
    add(
        "common_direction",
        0.0,
        look(common),
        "all vectors point one way, and cosines hardly differ: probe with --transform center",
    );
    let top = value("channel_top3").unwrap_or(0.0);
    let health = match top {
        top if top > CHANNELS[1] => Health::Broken,
        top if top > CHANNELS[0] => Health::Look,
        _ => Health::Ok,
    };
    let width = run.record.model.width.max(1) as f64;
    let held = format!(
        "three channels hold {:.0} % of the energy, and cosines see little else: probe with --transform standardize",
        100.0 * top
    );
    add("channel_top3", (3.0 / width).min(1.0), health, &held);
    let truth = run.metrics.whole(Subject::GroundTruth, "nmi_excess");
    let limit = truth.and_then(|truth| {
        let high = truth.interval.map_or(truth.value?, |interval| interval.1);
        Some(high.max(truth.value? + NEAR_TRUTH))
    });
    let low = run.metrics.whole(Subject::Slot(slot), "nmi_excess");
    let low = low.and_then(|low| Some(low.interval?.0));
    let biased = low.zip(limit).is_some_and(|(low, limit)| low > limit);
    let null = truth.and_then(|truth| truth.value).unwrap_or(0.0);
    add(
        "nmi_excess",
        null,
        look(biased),
        "clusters know more of their place than the classes do: probe with --transform none,center,mean,random:8,content:8 and compare",
    );
    let border = biased && value("ring_share").is_some_and(|share| share > RING);
    add(
        "ring_share",
        0.0,
        look(border),
        "what they know is mostly how far the border is: look at the aggregate map's rim",
    );
    let grid = value("map_high").is_some_and(|share| share > GRID);
    add(
        "map_high",
        0.0,
        look(grid),
        "the mean vectors change from patch to patch, as a grid does: look at the map of what --transform mean takes out",
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitscope_run::{Facet, Part, Table, names};

    /// What is said of one slot with these numbers, as measure and health.
    fn said(rows: &[(&str, f64)]) -> Vec<(&'static str, Health)> {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table::new("m", "f", "S");
        let slot = Slot {
            facet: Facet::Key,
            layer: 4,
        };
        let truth = Some((0.02, 0.04));
        table.add(
            Subject::GroundTruth,
            "nmi_excess",
            Part::Whole,
            Some(0.03),
            truth,
        );
        let mut all = vec![
            ("clusters_used", 12.0),
            ("largest_cluster", 0.1),
            ("clusters_dead", 0.0),
            ("common_direction", 0.3),
            ("channel_top3", 0.1),
            ("nmi_excess", 0.03),
        ];
        for &(name, value) in rows {
            all.retain(|(own, _)| *own != name);
            all.push((name, value));
        }
        for (name, value) in all {
            let interval = (name == "nmi_excess").then_some((value - 0.01, value + 0.01));
            table.add(
                Subject::Slot(slot),
                name,
                Part::Whole,
                Some(value),
                interval,
            );
        }
        table.write(&dir.path().join(names::METRICS)).unwrap();
        let record =
            r#"{"format": 1, "state": "complete", "clusters": 13, "model": {"width": 384}}"#;
        std::fs::write(dir.path().join(names::RECORD), record).unwrap();
        let findings = artifacts(&Run::finished(dir.path()).unwrap()).unwrap();
        assert!(
            findings
                .iter()
                .all(|f| f.next.is_some() == (f.health != Health::Ok))
        );
        let bad = findings
            .iter()
            .filter(|finding| finding.health != Health::Ok);
        bad.map(|finding| (finding.measure, finding.health))
            .collect()
    }

    #[test]
    fn each_measure_is_judged_by_itself() {
        assert_eq!(said(&[]), []);
        for (name, value, health) in [
            ("clusters_used", 1.4, Health::Broken),
            ("clusters_used", 5.0, Health::Look),
            ("clusters_dead", 2.0, Health::Look),
            ("common_direction", 0.95, Health::Look),
            ("channel_top3", 0.6, Health::Look),
            ("channel_top3", 0.95, Health::Broken),
            ("nmi_excess", 0.4, Health::Look),
            ("map_high", 0.4, Health::Look),
        ] {
            assert_eq!(said(&[(name, value)]), [(name, health)]);
        }
        // One cluster nearly everywhere; a border only where there is an effect.
        assert_eq!(
            said(&[("largest_cluster", 0.97)]),
            [("clusters_used", Health::Broken)]
        );
        assert_eq!(said(&[("ring_share", 0.8)]), []);
        let both = said(&[("ring_share", 0.8), ("nmi_excess", 0.4)]);
        assert_eq!(
            both,
            [("nmi_excess", Health::Look), ("ring_share", Health::Look)]
        );
    }
}
