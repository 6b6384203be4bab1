//! Does position lower mIoU? Runs that differ in their transform, side by side (docs/protocol.md section 15).
//!
//! What is said of a slot is judged by [`vitscope_measure::judge`]; here are found the runs that belong together, the
//! numbers that it needs, and the sentences.

mod gaps;
mod groups;
mod words;

use serde::Serialize;
use vitscope_measure::{Cause, SeedEvidence, judge};
use vitscope_probe::Transform;
use vitscope_run::{Select, Slot, Subject};

pub use self::gaps::Gap;
use self::gaps::gaps;
use self::groups::{KINDS, TransformGroup, Tried, controls, groups, is_edit, kind};
use self::words::{verdict, word};
use crate::error::StudyError;
use crate::stored::StoredRun;

/// What one run says of one slot.
#[derive(Clone, Debug, Serialize)]
pub struct CauseRow {
    /// The model.
    pub model: String,
    /// The slot.
    pub facet: String,
    /// Its layer.
    pub layer: usize,
    /// The transform, with what it was fitted on where that differs.
    pub transform: String,
    /// Directions that it takes out, where it is a matter of directions.
    pub rank: Option<usize>,
    /// Whether it is a control, which takes out something else than position.
    pub control: bool,
    /// The seed.
    pub seed: u64,
    /// The run's name.
    pub run: String,
    /// mIoU.
    pub miou: Option<f64>,
    /// mIoU less that of the run of the same seed without a transform.
    pub difference: Option<f64>,
    /// Its 95 % interval over images.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
    /// Positional effect beyond chance.
    pub effect: Option<f64>,
    /// The ground truth's.
    pub truth: Option<f64>,
    /// Whether the slot is collapsed.
    pub collapsed: bool,
}

/// What can be said of an edit in a slot.
#[derive(Clone, Debug, Serialize)]
pub struct Said {
    /// The model.
    pub model: String,
    /// The slot.
    pub facet: String,
    /// Its layer.
    pub layer: usize,
    /// The edit.
    pub transform: String,
    /// One word for it.
    pub cause: &'static str,
    /// One sentence.
    pub sentence: String,
}

/// Everything about causes in a comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Causes {
    /// Every slot of every run.
    pub rows: Vec<CauseRow>,
    /// What can be said.
    pub said: Vec<Said>,
    /// Gaps between two models.
    pub gaps: Vec<Gap>,
}

/// The causes of all groups in which something was taken out; empty where nothing was.
///
/// # Errors
/// When the samples of a run are damaged.
pub fn causes(runs: &[StoredRun], select: Select) -> Result<Causes, StudyError> {
    let groups = groups(runs)?;
    let mut causes = Causes::default();
    for group in &groups {
        for slot in group.slots() {
            causes.rows.extend(group.rows(slot));
            causes.said.extend(group.said(slot, groups.len() > 1));
        }
    }
    for (index, first) in groups.iter().enumerate() {
        for second in &groups[index + 1..] {
            causes.gaps.extend(gaps(first, second, select));
        }
    }
    Ok(causes)
}

impl TransformGroup<'_> {
    fn rows(&self, slot: Slot) -> Vec<CauseRow> {
        let mut rows = Vec::new();
        for run in &self.runs {
            let none = self.find("none", run.seed);
            let none = none.filter(|_| run.transform != Transform::None);
            let difference = none.and_then(|none| run.less(none, slot));
            rows.push(CauseRow {
                model: self.model.clone(),
                facet: slot.facet.to_string(),
                layer: slot.layer,
                transform: run.label.clone(),
                rank: run.transform.rank(),
                control: kind(run.transform).is_some(),
                seed: run.seed,
                run: run.run.name.clone(),
                miou: run.value(slot, "miou"),
                difference: difference.map(|difference| difference.value),
                low: difference.map(|difference| difference.interval.0),
                high: difference.map(|difference| difference.interval.1),
                effect: run.value(slot, "nmi_excess"),
                truth: run
                    .effect_of(Subject::GroundTruth)
                    .map(|effect| effect.value),
                collapsed: run.is_collapsed(slot),
            });
        }
        rows
    }

    /// What can be said of every edit; among `several` models each sentence begins with its own.
    fn said(&self, slot: Slot, several: bool) -> Vec<Said> {
        let model = if several {
            format!("{}, ", self.model)
        } else {
            String::new()
        };
        let labels = self.labels();
        let edits = labels.iter().filter(|(_, transform)| is_edit(*transform));
        edits
            .map(|&(label, transform)| {
                let kinds = controls(&labels, transform);
                let seeds = self.seeds(label);
                let evidence: Vec<SeedEvidence> = seeds
                    .iter()
                    .filter_map(|&seed| self.evidence(slot, label, seed, &labels))
                    .collect();
                let cause = judge(&evidence, &kinds);
                let random: Vec<&str> = kinds[1].iter().map(|&number| labels[number].0).collect();
                Said {
                    model: self.model.clone(),
                    facet: slot.facet.to_string(),
                    layer: slot.layer,
                    transform: label.to_owned(),
                    cause: word(cause),
                    sentence: format!(
                        "{model}{} {}, {label}: {}{}",
                        slot.facet,
                        slot.layer,
                        self.numbers(slot, label, &seeds),
                        match cause {
                            Cause::Unknown => self.why_unknown(slot, &seeds, &labels, &kinds),
                            known => verdict(known, &labels, &kinds),
                        } + &self.reserve(cause, &evidence, &seeds, &random)
                    ),
                }
            })
            .collect()
    }

    /// Why nothing can be said of an edit.
    fn why_unknown(
        &self,
        slot: Slot,
        seeds: &[u64],
        labels: &[(&str, Transform)],
        kinds: &[Vec<usize>],
    ) -> String {
        if seeds.is_empty() {
            return "Nothing can be said: there is no run without a transform that has the same model, data, settings and seed.".to_owned();
        }
        let missing = kinds.iter().zip(KINDS).filter(|(kind, _)| kind.is_empty());
        let missing: Vec<&str> = missing.map(|(_, name)| name).collect();
        if !missing.is_empty() {
            return format!(
                "Nothing can be said without the controls {}: make those runs, too.",
                missing.join(", ")
            );
        }
        for (kind, name) in kinds.iter().zip(KINDS) {
            let run = |seed: u64, control: &usize| self.find(labels[*control].0, seed);
            let there = |seed: &&u64| !kind.iter().any(|control| run(**seed, control).is_some());
            if let Some(seed) = seeds.iter().find(there) {
                return format!(
                    "Nothing can be said: no control {name} was run with seed {seed}: make it, too."
                );
            }
            let collapsed = |seed: &&u64| {
                let mut runs = kind.iter().filter_map(|control| run(**seed, control));
                runs.all(|run| run.is_collapsed(slot))
            };
            if let Some(seed) = seeds.iter().find(collapsed) {
                return format!(
                    "Nothing can be said: a control is collapsed in this slot ({name}, seed {seed}); with another R it may not be."
                );
            }
        }
        let plain = seeds.iter().find_map(|&seed| self.find("none", seed));
        if plain.is_some_and(|plain| plain.run.run.record.data.test < 2) {
            return "Nothing can be said: a single test image has no interval.".to_owned();
        }
        let truth = |plain: &Tried<'_>| {
            let metrics = &plain.run.run.metrics;
            metrics.whole(Subject::GroundTruth, "nmi")
        };
        if plain.and_then(truth).is_some_and(|nmi| nmi.value.is_none()) {
            return "Nothing can be said: the labels of the test images are of one class, which has no positional effect to hold the model's against.".to_owned();
        }
        "Nothing can be said: a number or its bootstrap samples are missing (ground truth and `resamples` are needed).".to_owned()
    }

    fn evidence(
        &self,
        slot: Slot,
        label: &str,
        seed: u64,
        labels: &[(&str, Transform)],
    ) -> Option<SeedEvidence> {
        let (none, edit) = (self.find("none", seed)?, self.find(label, seed)?);
        let subject = Subject::Slot(slot);
        let over = labels
            .iter()
            .enumerate()
            .filter_map(|(number, &(other, transform))| {
                kind(transform)?;
                let control = self.find(other, seed)?;
                // One that collapsed has less than it might: to be above it says nothing.
                let control = Some(control).filter(|control| !control.is_collapsed(slot))?;
                Some((number, edit.less(control, slot)?))
            });
        Some(SeedEvidence {
            collapsed: [none.is_collapsed(slot), edit.is_collapsed(slot)],
            effects: [none.effect_of(subject), edit.effect_of(subject)],
            truth: none.effect_of(Subject::GroundTruth),
            rise: edit.less(none, slot),
            over: over.collect(),
        })
    }
}
