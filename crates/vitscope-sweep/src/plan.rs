//! A plan as it is written: TOML, read and checked as a whole.
//!
//! ```toml
//! [sweep]
//! name = "size-study"
//! out = "sweeps/size-study"
//!
//! [base]                        # what all jobs have in common
//! data = "ade20k:/data/ade20k"
//! steps = 5000
//!
//! [matrix]                      # every combination is a job
//! model = ["dinov2-s14", "dinov2-b14"]
//! seed = [0, 1]
//!
//! [[exclude]]                   # but for these
//! model = "dinov2-b14"
//! seed = 1
//!
//! [[include]]                   # and with these, combinations of their own
//! model = "dinov3-l16"
//! size = [320, 512]
//! ```

use std::path::{Path, PathBuf};

use toml::{Table, Value};
use vitscope_run::Select;

use crate::error::SweepError;
use crate::expand::expand;
use crate::keys::Spec;
use crate::report::Report;
use crate::slurm::Slurm;

/// The tables that a plan may have.
const TABLES: [&str; 8] = [
    "sweep", "define", "base", "matrix", "include", "exclude", "slurm", "report",
];

/// The most jobs that are made in one pass over the images, unless the plan says otherwise: each holds
/// its own probes in memory.
const TOGETHER: usize = 16;

/// Many jobs that are one piece of work.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its file.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Where everything of it goes.
    pub out: PathBuf,
    /// The most jobs that share a forward pass.
    pub together: usize,
    /// The layer at which the closing comparison shows each facet.
    pub select: Select,
    /// Its jobs as they are asked for.
    pub specs: Vec<Spec>,
    /// How a scheduler is asked for resources.
    pub slurm: Slurm,
    /// Figures and tables that come out under a name.
    pub reports: Vec<Report>,
}

/// Sentences about a plan, each with its file.
#[derive(Debug)]
pub(crate) struct PlanProblems {
    path: PathBuf,
    list: Vec<String>,
}

impl PlanProblems {
    /// Notes what is wrong at a place: a table, or a table and a key.
    pub(crate) fn add(&mut self, place: &str, problem: impl std::fmt::Display) {
        self.list
            .push(format!("{}: {place}: {problem}", self.path.display()));
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_none(&self) -> bool {
        self.list.is_empty()
    }

    fn end(self) -> Result<(), SweepError> {
        match self.list.is_empty() {
            true => Ok(()),
            false => Err(SweepError::Plan(self.list)),
        }
    }
}

impl Plan {
    /// Reads a plan. `set` are definitions as they were typed, `name=value`, which take the place of
    /// those under `[define]`.
    ///
    /// # Errors
    /// Everything that is wrong with it, one sentence each.
    pub fn read(path: &Path, set: &[String]) -> Result<Self, SweepError> {
        let text = std::fs::read_to_string(path).map_err(SweepError::io(path, "read"))?;
        let mut problems = PlanProblems {
            path: path.to_owned(),
            list: Vec::new(),
        };
        let table: Table = match toml::from_str(&text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(1, |span| {
                    text[..span.start]
                        .bytes()
                        .filter(|&byte| byte == b'\n')
                        .count()
                        + 1
                });
                problems.add(&format!("line {line}"), error.message());
                problems.end()?;
                return Err(SweepError::Usage(String::new()));
            }
        };
        for name in table.keys() {
            if !TABLES.contains(&name.as_str()) {
                problems.add(
                    &format!("[{name}]"),
                    format!("is no table of a plan: it has {}", TABLES.join(", ")),
                );
            }
        }
        let table = define(table, set, &mut problems);
        let plan = Self::of(path, &table, &mut problems);
        problems.end()?;
        Ok(plan)
    }

    fn of(path: &Path, table: &Table, problems: &mut PlanProblems) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut name = stem.into_owned();
        let (mut out, mut together, mut select) = (None, TOGETHER, Select::default());
        for (key, value) in &named(table, "sweep", problems) {
            let place = format!("[sweep] {key}");
            match (key.as_str(), value) {
                ("name", Value::String(text)) if is_plain(text) => name.clone_from(text),
                ("name", _) => problems.add(&place, "expected a name of letters, digits, - and _"),
                ("out", Value::String(text)) => out = Some(PathBuf::from(text)),
                ("out", _) => problems.add(&place, "expected a folder"),
                ("together", &Value::Integer(most)) if most > 0 => together = most as usize,
                ("together", _) => problems.add(&place, "expected a whole number from 1"),
                ("select", Value::String(text)) => match text.parse() {
                    Ok(read) => select = read,
                    Err(problem) => problems.add(&place, problem),
                },
                ("select", _) => problems.add(&place, "expected best-miou, layer:N or last"),
                _ => problems.add(
                    &place,
                    "is no setting of a sweep: it has name, out, together, select",
                ),
            }
        }
        let specs = expand(table, problems);
        Self {
            path: path.to_owned(),
            out: out.unwrap_or_else(|| Path::new("sweeps").join(&name)),
            name,
            together,
            select,
            slurm: Slurm::read(&named(table, "slurm", problems), problems),
            reports: Report::read(&tables(table, "report", problems), &specs, problems),
            specs,
        }
    }
}

/// Whether a text can name a file or folder of a sweep.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty()
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

/// Puts what `[define]` names in its places: `"${name}"` is the value itself, `${name}` inside a text its
/// text.
fn define(mut table: Table, set: &[String], problems: &mut PlanProblems) -> Table {
    let mut defined = named(&table, "define", problems);
    table.remove("define");
    for typed in set {
        match typed.split_once('=') {
            Some((name, value)) if defined.contains_key(name) => {
                // A list or a number as TOML has it; anything else is a text.
                let read = toml::from_str::<Table>(&format!("value = {value}"));
                let value = read.ok().and_then(|mut table| table.remove("value"));
                let text = || Value::String(typed[name.len() + 1..].to_owned());
                defined.insert(name.to_owned(), value.unwrap_or_else(text));
            }
            Some((name, _)) => {
                let known: Vec<&str> = defined.keys().map(String::as_str).collect();
                problems.add(
                    "[define]",
                    format!(
                        "has no {name}, which `set` names: it has {}",
                        match known.is_empty() {
                            true => "nothing".to_owned(),
                            false => known.join(", "),
                        }
                    ),
                );
            }
            None => problems.add("[define]", format!("`set` {typed}: expected NAME=VALUE")),
        }
    }
    let mut value = Value::Table(table);
    fill(&mut value, &defined, problems);
    match value {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

fn fill(value: &mut Value, defined: &Table, problems: &mut PlanProblems) {
    match value {
        Value::Array(list) => {
            for value in &mut *list {
                fill(value, defined, problems);
            }
        }
        Value::Table(table) => {
            for (_, value) in table.iter_mut() {
                fill(value, defined, problems);
            }
        }
        Value::String(text) if text.contains("${") => {
            let whole = text
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'));
            if let Some(found) = whole.and_then(|name| defined.get(name)) {
                *value = found.clone();
                return;
            }
            let mut told = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("${") {
                told += before;
                let (name, behind) = after.split_once('}').unwrap_or((after, ""));
                match defined.get(name) {
                    Some(Value::String(found)) => told += found,
                    Some(found) => told += &found.to_string(),
                    None => problems.add("[define]", format!("has no {name}, which {text} names")),
                }
                rest = behind;
            }
            told += rest;
            *text = told;
        }
        _ => {}
    }
}
