//! The runs that are compared, each with a name.

use std::path::PathBuf;

use vitscope_measure::Usage;
use vitscope_run::{Facet, Measured, Run, RunKind, Slot, Subject};

use crate::error::StudyError;
use crate::settings::Side;

/// A finished run that is compared.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// What it is called here: the shortest end of its path that no other run shares.
    pub name: String,
    /// Which reading of the last token it has.
    pub token_norm: Side,
    /// What its directory holds.
    pub run: Run,
}

/// Reads runs and gives each its name.
///
/// # Errors
/// A sentence, for a folder that is no finished run, and for one that is given twice.
pub fn open_all(paths: &[PathBuf]) -> Result<Vec<StoredRun>, StudyError> {
    let mut opened = Vec::new();
    let mut whole = Vec::new();
    for path in paths {
        let run = Run::finished(path)?;
        if run.record.kind == RunKind::Causes {
            return Err(StudyError::setting(format!(
                "{}: a run of causes stands beside no other: its numbers are in its metrics.csv",
                path.display()
            )));
        }
        let found = path.canonicalize().map_err(StudyError::io(path, "open"))?;
        if whole.contains(&found) {
            return Err(StudyError::setting(format!(
                "{}: is given twice: give every run once",
                path.display()
            )));
        }
        opened.push(run);
        whole.push(found);
    }
    let mut runs = Vec::new();
    for ((path, name), run) in paths.iter().zip(names(&whole)).zip(opened) {
        let token_norm = run
            .record
            .settings
            .get("token_norm")
            .and_then(|side| side.as_str());
        let token_norm = token_norm.map_or(Ok(Side::After), str::parse);
        runs.push(StoredRun {
            name,
            token_norm: token_norm
                .map_err(|problem| StudyError::file(path, format!("has token_norm {problem}")))?,
            run,
        });
    }
    Ok(runs)
}

/// The shortest ends of paths by which they can be told apart.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let parts = |path: &PathBuf| -> Vec<String> {
        let parts = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        parts.map(std::borrow::Cow::into_owned).collect()
    };
    let parts: Vec<Vec<String>> = paths.iter().map(parts).collect();
    let end = |parts: &[String], count: usize| parts[parts.len().saturating_sub(count)..].join("/");
    let name = |own: &Vec<String>| {
        let alone = |&count: &usize| {
            let name = end(own, count);
            parts
                .iter()
                .filter(|other| end(other, count) == name)
                .count()
                == 1
        };
        end(own, (1..own.len()).find(alone).unwrap_or(own.len()))
    };
    parts.iter().map(name).collect()
}

/// What a facet's layer, or with `None` a layer as a whole, is as a subject.
pub(crate) fn subject(facet: Option<Facet>, layer: usize) -> Subject {
    facet.map_or(Subject::Layer(layer), |facet| Subject::slot(facet, layer))
}

impl StoredRun {
    /// A number of a facet's layer, or with `None` of a layer as a whole.
    #[must_use]
    pub fn number(&self, facet: Option<Facet>, layer: usize, metric: &str) -> Option<Measured> {
        self.run.metrics.whole(subject(facet, layer), metric)
    }

    /// Whether a slot is collapsed (docs/protocol.md section 14).
    #[must_use]
    pub fn is_collapsed(&self, slot: Slot) -> bool {
        let value = |metric| self.run.metrics.value(Subject::Slot(slot), metric);
        let usage = || {
            Some(Usage {
                clusters: self.run.record.clusters,
                used: value("clusters_used")?,
                largest: value("largest_cluster")?,
                dead: 0,
            })
        };
        usage().is_some_and(|usage| usage.is_collapsed())
    }

    /// Whether any row holds such a number.
    #[must_use]
    pub fn has(&self, metric: &str) -> bool {
        self.run.metrics.has(metric)
    }

    /// Whether two runs looked at one model, whatever they measured of it.
    #[must_use]
    pub fn is_same_model(&self, other: &Self) -> bool {
        let key = |run: &Self| {
            let model = &run.run.record.model;
            let names = [&model.name, &model.family, &model.size].map(String::clone);
            (names, model.patch, model.depth)
        };
        key(self) == key(other)
    }

    /// Whether two runs looked at one data set; where it lay does not matter.
    #[must_use]
    pub fn is_same_data(&self, other: &Self) -> bool {
        self.run.record.data.is_of(&other.run.record.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let paths = ["/a/dino/seed-0", "/a/mae/seed-0", "/b/x"].map(PathBuf::from);
        assert_eq!(names(&paths), ["dino/seed-0", "mae/seed-0", "x"]);
        assert_eq!(names(&[PathBuf::from("/one")]), ["one"]);
    }
}
