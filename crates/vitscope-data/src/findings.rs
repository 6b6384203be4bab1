//! What opening a data set finds besides its images: notes, and problems that end a strict opening
//! or are collected by a survey.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::searched::Searched;

/// How many problems, or paths, are kept one by one; more are only counted.
const KEPT: usize = 1000;

/// Problems of a data set: counted in full, and the first 1000 kept.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<DataError>,
    counts: BTreeMap<&'static str, usize>,
}

impl Problems {
    /// Adds a problem.
    pub fn push(&mut self, error: DataError) {
        *self.counts.entry(error.sort()).or_insert(0) += 1;
        if self.kept.len() < KEPT {
            self.kept.push(error);
        }
    }

    /// Adds the problems of another list.
    pub fn extend(&mut self, other: Self) {
        for (sort, count) in other.counts {
            *self.counts.entry(sort).or_insert(0) += count;
        }
        let room = KEPT - self.kept.len();
        self.kept.extend(other.kept.into_iter().take(room));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.counts.values().sum()
    }

    /// How many there are of each sort (see [`DataError::sort`]), sorts in alphabetical order.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<&'static str, usize> {
        &self.counts
    }

    /// The first 1000, in the order in which they were found.
    #[must_use]
    pub fn kept(&self) -> &[DataError] {
        &self.kept
    }
}

/// Paths that are counted in full and listed up to 1000.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Listed {
    /// How many there are.
    pub count: usize,
    /// The first 1000 of them.
    pub first: Vec<PathBuf>,
}

/// What is found while a data set is opened.
#[derive(Debug)]
pub(crate) struct Findings {
    /// Whether the first problem ends the opening.
    strict: bool,
    pub notes: Vec<String>,
    pub problems: Problems,
    pub unclaimed: Listed,
    /// Where images and masks are looked for, whatever lies there.
    pub searched: BTreeSet<Searched>,
}

impl Findings {
    /// Findings of an opening that the first problem ends.
    pub fn strict() -> Self {
        Self {
            strict: true,
            notes: Vec::new(),
            problems: Problems::default(),
            unclaimed: Listed::default(),
            searched: BTreeSet::new(),
        }
    }

    /// Findings of a survey, which goes on after a problem wherever it can.
    pub fn collecting() -> Self {
        Self {
            strict: false,
            ..Self::strict()
        }
    }

    /// Whether the first problem ends the opening.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Ends a strict opening; remembers the problem otherwise.
    pub fn problem(&mut self, error: DataError) -> Result<(), DataError> {
        if self.strict {
            return Err(error);
        }
        self.problems.push(error);
        Ok(())
    }

    /// The result, or for a survey nothing in the place of a problem.
    pub fn or_nothing<T: Default>(&mut self, result: Result<T, DataError>) -> Result<T, DataError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => self.problem(error).map(|()| T::default()),
        }
    }

    /// Adds a note: one sentence, with its full stop.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Notes masks that no image claims.
    pub fn unclaimed(&mut self, masks: impl ExactSizeIterator<Item = PathBuf>, place: &Path) {
        if masks.len() == 0 {
            return;
        }
        self.note(format!(
            "{} masks in {} belong to no image and are left out.",
            masks.len(),
            place.display()
        ));
        self.unclaimed.count += masks.len();
        let room = KEPT.saturating_sub(self.unclaimed.first.len());
        self.unclaimed.first.extend(masks.take(room));
    }
}
