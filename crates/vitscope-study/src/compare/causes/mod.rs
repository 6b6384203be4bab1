//! Does position lower mIoU? Runs that differ in their transform, side by side (docs/protocol.md section 15).
//!
//! What is said of a slot is judged by [`vitscope_measure::judge`]; here are found the runs that belong together, the
//! numbers that it needs, and the sentences.

mod gaps;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;
use vitscope_measure::{Cause, Difference, PlaceEffect, SeedEvidence, judge};
use vitscope_probe::Transform;
use vitscope_run::{Record, Select, Slot, Subject};

pub use self::gaps::Gap;
use self::gaps::gaps;
use self::words::{verdict, word};
use crate::compare::paired::{Samples, difference, samples};
use crate::error::StudyError;
use crate::stored::StoredRun;

/// The settings in which runs of a group may differ.
const FREE: [&str; 4] = ["transform", "transform_fit", "transform_from", "seed"];

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

/// A run of a group.
struct Tried<'a> {
    run: &'a StoredRun,
    transform: Transform,
    label: String,
    seed: u64,
    samples: Samples,
}

/// Runs of one model and data set that differ in transform and seed alone.
struct TransformGroup<'a> {
    model: String,
    runs: Vec<Tried<'a>>,
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

fn transform_of(run: &StoredRun) -> Option<(Transform, String)> {
    let setting = |name: &str| run.run.record.settings.get(name)?.as_str();
    let transform = setting("transform").unwrap_or("none").parse().ok()?;
    Some((
        transform,
        setting("transform_fit").unwrap_or("train").to_owned(),
    ))
}

fn groups(runs: &[StoredRun]) -> Result<Vec<TransformGroup<'_>>, StudyError> {
    let mut groups: Vec<(Facts, TransformGroup<'_>)> = Vec::new();
    for run in runs.iter().filter(|run| run.has("miou") && run.has("nmi")) {
        let Some((transform, fit)) = transform_of(run) else {
            continue;
        };
        let record = &run.run.record;
        let tried = Tried {
            run,
            transform,
            label: match (transform, from(record)) {
                (Transform::None, _) => transform.to_string(),
                (_, Some(run)) => format!("{transform} from {run}"),
                (_, None) => format!("{transform} {fit}"),
            },
            seed: record.seed,
            samples: samples(run)?,
        };
        let key = facts(record);
        match groups.iter_mut().find(|(own, _)| *own == key) {
            Some((_, group)) => group.runs.push(tried),
            None => groups.push((
                key,
                TransformGroup {
                    model: record.model.name.clone(),
                    runs: vec![tried],
                },
            )),
        }
    }
    let edited = |(_, group): &(Facts, TransformGroup<'_>)| {
        let mut runs = group.runs.iter();
        runs.any(|run| run.transform != Transform::None)
    };
    groups.retain(edited);
    call_apart(&mut groups);
    let mut groups: Vec<TransformGroup<'_>> = groups.into_iter().map(|(_, group)| group).collect();
    for group in &mut groups {
        group.shorten();
        let order = |run: &Tried<'_>| (run.transform, run.label.clone(), run.seed);
        group.runs.sort_by_key(order);
    }
    Ok(groups)
}

/// The name of the run whose transform a run has taken.
fn from(record: &Record) -> Option<String> {
    let run = record.settings.get("transform_from")?.as_str()?;
    let name = std::path::Path::new(run).file_name()?;
    Some(name.to_string_lossy().into_owned())
}

/// What runs of a group have in common, by name.
type Facts = BTreeMap<String, String>;

fn facts(record: &Record) -> Facts {
    let mut facts = vitscope_run::facts(record);
    facts.retain(|name, _| !FREE.contains(&name.as_str()));
    facts
}

/// Groups of one model are called by what they differ in, too: no two have one name.
fn call_apart(groups: &mut [(Facts, TransformGroup<'_>)]) {
    let names: Vec<(String, Facts)> = groups
        .iter()
        .map(|(facts, group)| (group.model.clone(), facts.clone()))
        .collect();
    for (facts, group) in groups {
        let same = |other: &&(String, Facts)| other.0 == group.model;
        let others: Vec<&Facts> = names.iter().filter(same).map(|other| &other.1).collect();
        let differs = |name: &String| {
            others
                .iter()
                .any(|other| other.get(name) != facts.get(name))
        };
        let parts: Vec<String> = facts
            .iter()
            .filter(|(name, _)| differs(name))
            .map(|(name, value)| {
                let value: String = value.trim_matches('"').chars().take(24).collect();
                format!("{name} {value}")
            })
            .collect();
        if !parts.is_empty() {
            group.model += &format!(" ({})", parts.join(", "));
        }
    }
}

/// What kind of control a transform is.
fn kind(transform: Transform) -> Option<usize> {
    match transform {
        Transform::Center => Some(0),
        Transform::Random(..) => Some(1),
        Transform::Content(_) => Some(2),
        _ => None,
    }
}

/// The kinds of controls, as a sentence asks for them.
const KINDS: [&str; 3] = ["center", "random:R", "content:R"];

/// Whether a transform takes position out.
fn is_edit(transform: Transform) -> bool {
    let other = matches!(transform, Transform::None | Transform::Standardize);
    !other && kind(transform).is_none()
}

impl<'a> Tried<'a> {
    fn value(&self, slot: Slot, metric: &str) -> Option<f64> {
        self.run.run.metrics.value(Subject::Slot(slot), metric)
    }

    fn effect_of(&self, subject: Subject) -> Option<PlaceEffect> {
        let measured = self.run.run.metrics.whole(subject, "nmi_excess")?;
        Some(PlaceEffect {
            value: measured.value?,
            interval: measured.interval?,
        })
    }

    fn is_collapsed(&self, slot: Slot) -> bool {
        let usage = || {
            Some(vitscope_measure::Usage {
                clusters: self.run.run.record.clusters,
                used: self.value(slot, "clusters_used")?,
                largest: self.value(slot, "largest_cluster")?,
                dead: 0,
            })
        };
        usage().is_some_and(|usage| usage.is_collapsed())
    }

    /// mIoU less that of another run of the same seed.
    fn less(&self, other: &Self, slot: Slot) -> Option<Difference> {
        difference((self.run, &self.samples), (other.run, &other.samples), slot)
    }
}

impl<'a> TransformGroup<'a> {
    /// What was fitted on is said only where it differs.
    fn shorten(&mut self) {
        let fit = |run: &Tried<'_>| run.label.split_once(' ').map(|(_, fit)| fit.to_owned());
        let mut fits: Vec<String> = self.runs.iter().filter_map(fit).collect();
        fits.sort();
        fits.dedup();
        // A transform of another run is told in any case.
        let own = |fit: &String| !fit.starts_with("from ");
        if fits.len() < 2 && fits.iter().all(own) {
            for run in &mut self.runs {
                run.label = run.transform.to_string();
            }
        }
    }

    fn slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = Vec::new();
        for run in &self.runs {
            for subject in run.run.run.metrics.subjects() {
                if let Subject::Slot(slot) = subject
                    && !slots.contains(&slot)
                {
                    slots.push(slot);
                }
            }
        }
        slots.sort_by_key(|slot| (slot.facet, slot.layer));
        slots
    }

    /// The labels of all transforms, in the order of the help.
    fn labels(&self) -> Vec<(&str, Transform)> {
        let mut labels: Vec<(&str, Transform)> = Vec::new();
        for run in &self.runs {
            if !labels.iter().any(|(label, _)| *label == run.label) {
                labels.push((&run.label, run.transform));
            }
        }
        labels
    }

    fn find(&self, label: &str, seed: u64) -> Option<&Tried<'a>> {
        let mut runs = self.runs.iter();
        runs.find(|run| run.label == label && run.seed == seed)
    }

    /// The seeds at which there is a run of a transform, and one without.
    fn seeds(&self, label: &str) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.runs.iter().map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds.retain(|&seed| self.find(label, seed).is_some() && self.find("none", seed).is_some());
        seeds
    }

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

/// The controls of an edit by kind: of its own rank where there are such, else all.
fn controls(labels: &[(&str, Transform)], edit: Transform) -> Vec<Vec<usize>> {
    (0..KINDS.len())
        .map(|own| {
            let all = labels.iter().enumerate();
            let all: Vec<usize> = all
                .filter(|(_, (_, transform))| kind(*transform) == Some(own))
                .map(|(number, _)| number)
                .collect();
            let rank = |number: &&usize| labels[**number].1.rank() == edit.rank();
            let equal: Vec<usize> = all.iter().filter(rank).copied().collect();
            if equal.is_empty() { all } else { equal }
        })
        .collect()
}
