//! What is odd about the embeddings of a run, from the numbers that it holds: nothing is computed again
//! (docs/protocol.md section 17).
//!
//! Each measure of each slot is *ok*, worth a *look*, or *broken*, with the number, what it would be where nothing is
//! wrong, and what to do next.

use serde::Serialize;
use vitscope_measure::{NEAR_TRUTH, OUTLIERS_OF_LOGNORMAL, Usage};
use vitscope_run::{Run, RunKind, Slot, Subject};

use crate::error::StudyError;

/// Mean cosine to the common direction above which cosines hardly differ.
const COMMON: f64 = 0.9;
/// Share of the energy in three channels above which they outweigh the rest, and above which nothing else counts.
const CHANNELS: [f64; 2] = [0.5, 0.9];
/// Share of the positional effect that rings hold, above which it is mostly the border's.
const RING: f64 = 0.5;
/// Share of patterns from patch to patch in the mean map, above which there is a grid.
const GRID: f64 = 0.25;
/// Share of vectors that are far too long above which they are many.
const OUTLIERS: f64 = 1e-3;
/// Cosine of class token and patches, beyond that with class tokens of other images, above which patches say what the whole
/// image is.
const GLOBAL: f64 = 0.25;
/// Labels in so many times as many pieces as the classes are speckled.
const SPECKLED: f64 = 3.0;
/// Standard deviations from shuffled labels under which neighbors are no more alike than chance has it, and from outliers
/// drawn anew beyond which their own places are smoother.
const CHANCE: f64 = 3.0;

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
        let holds = match run.record.kind {
            RunKind::Probe => "holds no measures of artifacts".to_owned(),
            kind => format!(
                "is a run of {}, which holds no measures of artifacts",
                kind.name()
            ),
        };
        return Err(StudyError::setting(format!(
            "{}: {holds}: give a run that `probe` of this version has made",
            run.root.display()
        )));
    }
    Ok(slots
        .into_iter()
        .flat_map(|slot| of_slot(run, slot))
        .collect())
}

/// The numbers of a slot and what is found of them.
struct SlotJudge<'a> {
    run: &'a Run,
    slot: Slot,
    findings: Vec<Finding>,
}

fn of_slot(run: &Run, slot: Slot) -> Vec<Finding> {
    let mut judge = SlotJudge {
        run,
        slot,
        findings: Vec::new(),
    };
    judge.clusters();
    judge.channels();
    judge.position();
    judge.tokens();
    judge.labels();
    judge.findings
}

/// Worth a look, or not.
fn look(bad: bool) -> Health {
    if bad { Health::Look } else { Health::Ok }
}

impl SlotJudge<'_> {
    fn value(&self, measure: &str) -> Option<f64> {
        self.run.metrics.value(Subject::Slot(self.slot), measure)
    }

    fn interval(&self, measure: &str) -> Option<(f64, f64)> {
        let whole = self.run.metrics.whole(Subject::Slot(self.slot), measure);
        whole.and_then(|measured| measured.interval)
    }

    fn of_truth(&self, measure: &str) -> Option<f64> {
        self.run.metrics.value(Subject::GroundTruth, measure)
    }

    /// Takes up a measure, where the run has it.
    fn add(&mut self, measure: &'static str, null: f64, health: Health, next: &str) {
        if let Some(value) = self.value(measure) {
            self.findings.push(Finding {
                slot: self.slot.to_string(),
                measure,
                value,
                null,
                health,
                next: (health != Health::Ok).then(|| next.to_owned()),
            });
        }
    }

    fn clusters(&mut self) {
        let clusters = self.run.record.clusters;
        let usage = self
            .value("clusters_used")
            .zip(self.value("largest_cluster"));
        let usage = usage.map(|(used, largest)| Usage {
            clusters,
            used,
            largest,
            dead: 0,
        });
        let health = match usage {
            Some(usage) if usage.is_collapsed() => Health::Broken,
            Some(usage) => look(usage.is_low()),
            None => Health::Ok,
        };
        self.add(
            "clusters_used",
            clusters as f64,
            health,
            "few clusters hold most pixels: probe with --transform standardize, or center, and look at this slot again",
        );
        for measure in ["clusters_dead", "clusters_twin"] {
            let health = look(self.value(measure).is_some_and(|count| count > 0.0));
            self.add(
                measure,
                0.0,
                health,
                "some clusters stand for nothing or for the same: compare other --seeds",
            );
        }
    }

    fn channels(&mut self) {
        let common = self
            .value("common_direction")
            .is_some_and(|cosine| cosine > COMMON);
        self.add(
            "common_direction",
            0.0,
            look(common),
            "all vectors point one way, and cosines hardly differ: probe with --transform center",
        );
        let top = self.value("channel_top3").unwrap_or(0.0);
        let health = match top {
            top if top > CHANNELS[1] => Health::Broken,
            top if top > CHANNELS[0] => Health::Look,
            _ => Health::Ok,
        };
        let width = self.run.record.model.width.max(1) as f64;
        let held = format!(
            "three channels hold {:.0} % of the energy, and cosines see little else: probe with --transform standardize",
            100.0 * top
        );
        self.add("channel_top3", (3.0 / width).min(1.0), health, &held);
    }

    fn position(&mut self) {
        let truth = self.run.metrics.whole(Subject::GroundTruth, "nmi_excess");
        let limit = truth.and_then(|truth| {
            let high = truth.interval.map_or(truth.value?, |interval| interval.1);
            Some(high.max(truth.value? + NEAR_TRUTH))
        });
        let low = self.interval("nmi_excess").map(|interval| interval.0);
        let biased = low.zip(limit).is_some_and(|(low, limit)| low > limit);
        let null = truth.and_then(|truth| truth.value).unwrap_or(0.0);
        self.add(
            "nmi_excess",
            null,
            look(biased),
            "clusters know more of their place than the classes do: probe with --transform none,center,mean,random:8,content:8 and compare",
        );
        let border = biased && self.value("ring_share").is_some_and(|share| share > RING);
        self.add(
            "ring_share",
            0.0,
            look(border),
            "what they know is mostly how far the border is: look at the aggregate map's rim",
        );
        let grid = self.value("map_high").is_some_and(|share| share > GRID);
        self.add(
            "map_high",
            0.0,
            look(grid),
            "the mean vectors change from patch to patch, as a grid does: look at the map of what --transform mean takes out",
        );
    }

    /// Tokens that are too long, and what vectors resemble; runs with `--artifacts` only.
    fn tokens(&mut self) {
        let many = self
            .value("outlier_share")
            .is_some_and(|share| share > OUTLIERS);
        self.add(
            "outlier_share",
            OUTLIERS_OF_LOGNORMAL,
            look(many),
            "some vectors are far longer than the rest, and such tokens tell little of their own patch: take another layer or facet, or a model with registers",
        );
        let placed = self
            .interval("outlier_place")
            .is_some_and(|(low, _)| low > 0.0);
        self.add(
            "outlier_place",
            0.0,
            look(many && placed),
            "long vectors lie at the same places in all images: look at outliers in artifacts.safetensors",
        );
        let smooth = self
            .interval("outlier_texture")
            .is_some_and(|(low, _)| low > 0.0)
            && self.value("outlier_texture_z").is_some_and(|z| z > CHANCE);
        self.add(
            "outlier_texture",
            0.0,
            look(many && smooth),
            "long vectors lie where the picture is smooth, as tokens do that the model uses for other things than their patch: take an earlier layer, or a model with registers",
        );
        let apart = self
            .interval("neighbor_cosine")
            .is_some_and(|(low, _)| low <= 0.0);
        self.add(
            "neighbor_cosine",
            0.0,
            look(apart),
            "patches resemble their neighbors no more than any other patch: this slot holds no local content that is smooth",
        );
        let null = self.value("class_cosine_null").unwrap_or(0.0);
        let global = self
            .interval("class_cosine")
            .is_some_and(|(low, _)| low > null + GLOBAL);
        self.add(
            "class_cosine",
            null,
            look(global),
            "patches point where their image's class token does, and say what the image is in place of what lies there: take an earlier layer",
        );
    }

    /// How labels lie beside one another; runs with `--artifacts` only.
    fn labels(&mut self) {
        let truth = self.of_truth("fragments");
        let low = self.interval("fragments").map(|interval| interval.0);
        let speckled = low
            .zip(truth)
            .is_some_and(|(low, truth)| low > SPECKLED * truth);
        self.add(
            "fragments",
            truth.unwrap_or(1.0),
            look(speckled),
            "labels fall into many more pieces than the classes: look at label maps, and at this slot with fewer --clusters",
        );
        let shuffled = self.value("alike_z").is_some_and(|z| z < CHANCE);
        self.add(
            "alike_z",
            0.0,
            look(shuffled),
            "labels of neighbors are no more alike than shuffled ones: this slot does not segment",
        );
    }
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
        table.add(
            Subject::GroundTruth,
            "fragments",
            Part::Whole,
            Some(4.0),
            None,
        );
        let mut all = vec![
            ("outlier_share", 0.0),
            ("neighbor_cosine", 0.2),
            ("class_cosine", 0.3),
            ("class_cosine_null", 0.2),
            ("fragments", 6.0),
            ("alike_z", 30.0),
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
            let estimated = [
                "nmi_excess",
                "outlier_place",
                "outlier_texture",
                "neighbor_cosine",
                "class_cosine",
                "fragments",
            ];
            let interval = estimated
                .contains(&name)
                .then_some((value - 0.01, value + 0.01));
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
            ("outlier_share", 0.02, Health::Look),
            ("neighbor_cosine", 0.005, Health::Look),
            ("class_cosine", 0.6, Health::Look),
            ("fragments", 13.0, Health::Look),
            ("alike_z", 1.0, Health::Look),
        ] {
            assert_eq!(said(&[(name, value)]), [(name, health)]);
        }
        // One cluster nearly everywhere; a border only where there is an effect.
        assert_eq!(
            said(&[("largest_cluster", 0.97)]),
            [("clusters_used", Health::Broken)]
        );
        assert_eq!(said(&[("ring_share", 0.8)]), []);
        // Outliers of no share worth a word say nothing of their place.
        assert_eq!(said(&[("outlier_place", 0.3)]), []);
        let both = said(&[("outlier_place", 0.3), ("outlier_share", 0.02)]);
        assert_eq!(
            both,
            [
                ("outlier_share", Health::Look),
                ("outlier_place", Health::Look)
            ]
        );
        let texture = [("outlier_texture", 0.3), ("outlier_share", 0.02)];
        let share = ("outlier_share", Health::Look);
        assert_eq!(said(&texture), [share]);
        let beyond = |z| [&texture[..], &[("outlier_texture_z", z)]].concat();
        assert_eq!(said(&beyond(2.0)), [share]);
        let texture = ("outlier_texture", Health::Look);
        assert_eq!(said(&beyond(9.0)), [share, texture]);
        let both = said(&[("ring_share", 0.8), ("nmi_excess", 0.4)]);
        assert_eq!(
            both,
            [("nmi_excess", Health::Look), ("ring_share", Health::Look)]
        );
    }
}
