//! A run directory, read.

use std::path::{Path, PathBuf};

use crate::error::RunError;
use crate::metrics::Metrics;
use crate::names;
use crate::record::{Record, RunState};
use crate::select::Select;
use crate::slot::{Facet, Subject};

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
    /// A sentence, for a folder that is no run directory, for a shard, and for a damaged file.
    pub fn open(root: &Path) -> Result<Self, RunError> {
        let record = Record::read(root)?;
        if record.state == RunState::Shard {
            return Err(RunError::Shard {
                path: root.to_owned(),
            });
        }
        Ok(Self {
            root: root.to_owned(),
            record,
            metrics: Metrics::read(root)?.unwrap_or_default(),
        })
    }

    /// Reads a directory whose run is complete.
    ///
    /// # Errors
    /// As [`Run::open`], and for a run that is not complete.
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
