//! A run directory, read.

use std::path::{Path, PathBuf};

use crate::error::RunError;
use crate::metrics::{Metrics, Part};
use crate::record::{Record, RunState};
use crate::select::Select;
use crate::slot::{Facet, Subject};
use crate::{limits, names};

/// A run directory: what the run was, and its numbers.
#[derive(Clone, Debug)]
pub struct Run {
    /// The directory.
    pub root: PathBuf,
    /// `run.json`.
    pub record: Record,
    /// `metrics.csv`; empty where there is none yet.
    pub metrics: Metrics,
}

impl Run {
    /// Reads a directory whose run may still be going.
    ///
    /// # Errors
    /// A sentence, for a folder that is no run directory, for a shard, and for a damaged file, also for numbers that are
    /// not those with which the run ended.
    pub fn open(root: &Path) -> Result<Self, RunError> {
        let record = Record::read(root)?;
        if record.state == RunState::Shard {
            return Err(RunError::Shard {
                path: root.to_owned(),
            });
        }
        let proof = record.files.get(names::METRICS).map(String::as_str);
        let metrics = Metrics::read(root, proof)?.unwrap_or_default();
        if let Some(problem) = foreign(&record, &metrics) {
            return Err(RunError::damaged(&root.join(names::METRICS), problem));
        }
        Ok(Self {
            root: root.to_owned(),
            record,
            metrics,
        })
    }

    /// Reads a directory whose run is complete.
    ///
    /// # Errors
    /// As [`Run::open`], for a run that is not complete, and for one whose files of numbers are missing or changed.
    pub fn finished(root: &Path) -> Result<Self, RunError> {
        let run = Self::open(root)?;
        if run.record.state != RunState::Complete {
            return Err(RunError::Unfinished {
                path: root.to_owned(),
            });
        }
        if !root.join(names::METRICS).exists() {
            return Err(RunError::damaged(
                &root.join(names::METRICS),
                "is missing from a complete run",
            ));
        }
        run.record.prove(root)?;
        Ok(run)
    }

    /// The layer at which a facet (with `None`, attention) is shown; `None` where it has no such layer.
    /// What has no mIoU is shown where its own run found it best.
    #[must_use]
    pub fn selected(&self, facet: impl Into<Option<Facet>>, select: Select) -> Option<usize> {
        let facet = facet.into();
        let miou = |layer| self.metrics.value(Subject::slot(facet?, layer), "miou");
        let layers = self.metrics.layers(facet).into_iter();
        let layers: Vec<(usize, Option<f64>)> = layers.map(|l| (l, miou(l))).collect();
        let unmeasured = layers.iter().all(|(_, miou)| miou.is_none());
        match facet.and_then(|facet| self.record.selection.get(facet.name())) {
            Some(&layer) if unmeasured && select == Select::BestMiou => {
                Select::Layer(layer).layer(&layers)
            }
            _ => select.layer(&layers),
        }
    }
}

/// What in the table the run of the record cannot have: a layer, a head, a class or a cluster beyond its own.
fn foreign(record: &Record, metrics: &Metrics) -> Option<String> {
    // Features may have any layers.
    let is_model = record.model.source == "checkpoint";
    let depth = Some(record.model.depth).filter(|&depth| is_model && depth > 0);
    let heads = record.model.heads.or(Some(limits::HEADS));
    let classes = Some(record.data.classes.len()).filter(|&count| count > 0);
    let classes = classes.or(Some(limits::CLASSES));
    let clusters = Some(record.clusters).filter(|&count| count > 0);
    metrics.rows().iter().find_map(|row| {
        let layer = match row.subject {
            Subject::Slot(slot) => Some(slot.layer),
            Subject::Layer(layer) => Some(layer),
            Subject::GroundTruth => None,
        };
        let (what, found, most) = match (row.part, row.subject) {
            // From 1.
            _ if layer.zip(depth).is_some_and(|(layer, depth)| layer > depth) => {
                ("layer", layer?, depth)
            }
            (Part::Index(head), Subject::Layer(_)) => ("head", head.saturating_add(1), heads),
            (Part::Index(class), _) => ("class", class.saturating_add(1), classes),
            (Part::Cluster(cluster), _) => ("cluster", cluster.saturating_add(1), clusters),
            (Part::Whole, _) => return None,
        };
        let most = most.filter(|&most| found > most)?;
        Some(format!(
            "has {} of {what} number {found}, and the run has {most} of them",
            row.metric
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Table;
    use crate::slot::Slot;

    #[test]
    fn what_the_run_cannot_have_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let record = r#"{"format": 1, "state": "complete", "clusters": 4, "model": {"source": "checkpoint",
            "depth": 2, "heads": 3}, "data": {"classes": [{"name": "a", "color": [0, 0, 0]}]}}"#;
        std::fs::write(dir.path().join(names::RECORD), record).unwrap();
        let key = |layer| {
            Subject::Slot(Slot {
                facet: Facet::Key,
                layer,
            })
        };
        for (subject, part, said) in [
            (key(2), Part::Index(0), None),
            (key(2), Part::Cluster(3), None),
            (Subject::Layer(2), Part::Index(2), None),
            (
                key(3),
                Part::Whole,
                Some("of layer number 3, and the run has 2"),
            ),
            (
                key(1),
                Part::Index(1),
                Some("of class number 2, and the run has 1"),
            ),
            (
                key(1),
                Part::Cluster(4),
                Some("of cluster number 5, and the run has 4"),
            ),
            (
                Subject::Layer(1),
                Part::Index(3),
                Some("of head number 4, and the run has 3"),
            ),
        ] {
            let mut table = Table::new("m", "", "");
            table.add(subject, "iou", part, Some(0.5), None);
            table.write(&dir.path().join(names::METRICS)).unwrap();
            let found = Run::open(dir.path()).err().map(|error| error.to_string());
            match (&found, said) {
                (None, None) => {}
                (Some(found), Some(said)) => assert!(found.contains(said), "{found}"),
                _ => panic!("{subject} {part}: {found:?}"),
            }
        }
    }
}
