//! What is wrong with a plan, and how its tables are read: what everything that reads a part of one shares.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::SweepError;

/// Sentences about one plan that are told.
pub(crate) const TOLD: usize = 50;

/// Sentences about a plan, each with its file.
#[derive(Debug, Default)]
pub(crate) struct PlanProblems {
    path: PathBuf,
    list: Vec<String>,
}

impl PlanProblems {
    /// None yet, of the plan in this file.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            list: Vec::new(),
        }
    }

    /// Notes what is wrong at a place: a table, or a table and a key.
    pub(crate) fn add(&mut self, place: &str, problem: impl std::fmt::Display) {
        if self.list.len() == TOLD {
            self.list.push(format!("{}: and more", self.path.display()));
        }
        if self.list.len() < TOLD {
            let problem = format!("{}: {place}: {problem}", self.path.display());
            // A parser's sentences may have several lines, and names of the plan be of several.
            self.list.push(problem.replace('\n', ", "));
        }
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_none(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them as an error, if there are any.
    pub(crate) fn end(self) -> Result<(), SweepError> {
        match self.list.is_empty() {
            true => Ok(()),
            false => Err(SweepError::Plan(self.list)),
        }
    }
}

/// Letters of the longest name: a file of it has a run's name and an ending, too, and file systems take 255 bytes.
const LONGEST: usize = 100;

/// What a name is that [`is_plain`] refuses.
pub(crate) const PLAIN: &str = "expected a name of at most 100 letters, digits, - and _";

/// Whether a text can name a file or folder of a sweep.
pub(crate) fn is_plain(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !text.starts_with(['.', '-'])
}

/// A table of a plan; an empty one where it is not there.
pub(crate) fn named(table: &Table, name: &str, problems: &mut PlanProblems) -> Table {
    match table.get(name) {
        None => Table::new(),
        Some(Value::Table(own)) => own.clone(),
        Some(_) => {
            problems.add(name, format!("expected a table: write [{name}]"));
            Table::new()
        }
    }
}

/// The tables of a plan that are written with two brackets.
pub(crate) fn tables(table: &Table, name: &str, problems: &mut PlanProblems) -> Vec<Table> {
    let all = match table.get(name) {
        None => return Vec::new(),
        Some(Value::Array(list)) => list.iter().map(|value| value.as_table().cloned()).collect(),
        Some(_) => None,
    };
    all.unwrap_or_else(|| {
        problems.add(name, format!("expected tables: write [[{name}]]"));
        Vec::new()
    })
}
