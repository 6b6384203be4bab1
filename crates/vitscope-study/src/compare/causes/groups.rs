//! Runs that belong together: those of one model and data set that differ in transform and seed alone.

use std::collections::BTreeMap;

use vitscope_measure::{Difference, PlaceEffect};
use vitscope_probe::Transform;
use vitscope_run::{Record, Slot, Subject};

use crate::compare::paired::{Samples, difference, samples};
use crate::error::StudyError;
use crate::stored::StoredRun;

/// The settings in which runs of a group may differ.
const FREE: [&str; 4] = ["transform", "transform_fit", "transform_from", "seed"];

/// A run of a group.
pub(super) struct Tried<'a> {
    pub(super) run: &'a StoredRun,
    pub(super) transform: Transform,
    pub(super) label: String,
    pub(super) seed: u64,
    pub(super) samples: Samples,
}

/// Runs of one model and data set that differ in transform and seed alone.
pub(super) struct TransformGroup<'a> {
    pub(super) model: String,
    pub(super) runs: Vec<Tried<'a>>,
}

fn transform_of(run: &StoredRun) -> Option<(Transform, String)> {
    let setting = |name: &str| run.run.record.settings.get(name)?.as_str();
    let transform = setting("transform").unwrap_or("none").parse().ok()?;
    Some((
        transform,
        setting("transform_fit").unwrap_or("train").to_owned(),
    ))
}

pub(super) fn groups(runs: &[StoredRun]) -> Result<Vec<TransformGroup<'_>>, StudyError> {
    let mut groups: Vec<(InCommon, TransformGroup<'_>)> = Vec::new();
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
    let edited = |(_, group): &(InCommon, TransformGroup<'_>)| {
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
type InCommon = BTreeMap<String, String>;

fn facts(record: &Record) -> InCommon {
    let mut facts = vitscope_run::facts(record);
    facts.retain(|name, _| !FREE.contains(&name.as_str()));
    facts
}

/// Groups of one model are called by what they differ in, too: no two have one name.
fn call_apart(groups: &mut [(InCommon, TransformGroup<'_>)]) {
    let names: Vec<(String, InCommon)> = groups
        .iter()
        .map(|(facts, group)| (group.model.clone(), facts.clone()))
        .collect();
    for (facts, group) in groups {
        let same = |other: &&(String, InCommon)| other.0 == group.model;
        let others: Vec<&InCommon> = names.iter().filter(same).map(|other| &other.1).collect();
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
pub(super) fn kind(transform: Transform) -> Option<usize> {
    match transform {
        Transform::Center => Some(0),
        Transform::Random(..) => Some(1),
        Transform::Content(_) => Some(2),
        _ => None,
    }
}

/// The kinds of controls, as a sentence asks for them.
pub(super) const KINDS: [&str; 3] = ["center", "random:R", "content:R"];

/// Whether a transform takes position out.
pub(super) fn is_edit(transform: Transform) -> bool {
    let other = matches!(transform, Transform::None | Transform::Standardize);
    !other && kind(transform).is_none()
}

impl<'a> Tried<'a> {
    pub(super) fn value(&self, slot: Slot, metric: &str) -> Option<f64> {
        self.run.run.metrics.value(Subject::Slot(slot), metric)
    }

    pub(super) fn effect_of(&self, subject: Subject) -> Option<PlaceEffect> {
        let measured = self.run.run.metrics.whole(subject, "nmi_excess")?;
        Some(PlaceEffect {
            value: measured.value?,
            interval: measured.interval?,
        })
    }

    pub(super) fn is_collapsed(&self, slot: Slot) -> bool {
        self.run.is_collapsed(slot)
    }

    /// mIoU less that of another run of the same seed.
    pub(super) fn less(&self, other: &Self, slot: Slot) -> Option<Difference> {
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

    pub(super) fn slots(&self) -> Vec<Slot> {
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
    pub(super) fn labels(&self) -> Vec<(&str, Transform)> {
        let mut labels: Vec<(&str, Transform)> = Vec::new();
        for run in &self.runs {
            if !labels.iter().any(|(label, _)| *label == run.label) {
                labels.push((&run.label, run.transform));
            }
        }
        labels
    }

    pub(super) fn find(&self, label: &str, seed: u64) -> Option<&Tried<'a>> {
        let mut runs = self.runs.iter();
        runs.find(|run| run.label == label && run.seed == seed)
    }

    /// The seeds at which there is a run of a transform, and one without.
    pub(super) fn seeds(&self, label: &str) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.runs.iter().map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds.retain(|&seed| self.find(label, seed).is_some() && self.find("none", seed).is_some());
        seeds
    }
}

/// The controls of an edit by kind: of its own rank where there are such, else all.
pub(super) fn controls(labels: &[(&str, Transform)], edit: Transform) -> Vec<Vec<usize>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn transforms(words: &[&'static str]) -> Vec<(&'static str, Transform)> {
        let read = |&word: &&'static str| (word, word.parse().unwrap());
        words.iter().map(read).collect()
    }

    #[test]
    fn edits_take_position_out_and_controls_something_else() {
        for (word, of) in [
            ("none", None),
            ("standardize", None),
            ("center", Some(0)),
            ("random:8", Some(1)),
            ("random:8@2", Some(1)),
            ("content:8", Some(2)),
        ] {
            let transform: Transform = word.parse().unwrap();
            assert_eq!(kind(transform), of, "{word}");
            assert!(!is_edit(transform), "{word}");
        }
        for word in ["mean", "svd:8", "blank:4"] {
            let transform: Transform = word.parse().unwrap();
            assert!(is_edit(transform) && kind(transform).is_none(), "{word}");
        }
    }

    #[test]
    fn an_edit_is_held_against_controls_of_its_own_rank_where_there_are_such() {
        let labels = transforms(&[
            "none",
            "center",
            "mean",
            "svd:8",
            "random:4",
            "random:8",
            "random:8@2",
            "content:4",
        ]);
        assert_eq!(
            controls(&labels, "svd:8".parse().unwrap()),
            [vec![1], vec![5, 6], vec![7]]
        );
        assert_eq!(
            controls(&labels, "svd:4".parse().unwrap()),
            [vec![1], vec![4], vec![7]]
        );
        // A rank that no control has: all of its kind.
        assert_eq!(
            controls(&labels, "svd:2".parse().unwrap()),
            [vec![1], vec![4, 5, 6], vec![7]]
        );
    }
}
