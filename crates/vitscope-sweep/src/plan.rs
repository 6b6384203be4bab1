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

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use vitscope_run::{Select, files};

use crate::error::SweepError;
use crate::expand::expand;
use crate::keys::Spec;
use crate::problems::{PLAIN, PlanProblems, is_plain, named, tables};
use crate::report_table::Report;
use crate::slurm_table::Slurm;

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

/// Bytes of the longest plan that is read, and of the longest that it may be once its definitions are filled in.
const LONGEST: u64 = 16 << 20;

/// The text of a plan.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = files::open(path)?;
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LONGEST {
        true => Err(std::io::Error::other("it is longer than 16 MiB")),
        false => Ok(text),
    }
}

impl Plan {
    /// Reads a plan. `set` are definitions as they were typed, `name=value`, which take the place of
    /// those under `[define]`.
    ///
    /// # Errors
    /// Everything that is wrong with it, one sentence each.
    pub fn read(path: &Path, set: &[String]) -> Result<Self, SweepError> {
        let text = read(path).map_err(SweepError::io(path, "read"))?;
        let mut problems = PlanProblems::of(path);
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
                ("name", _) => problems.add(&place, PLAIN),
                ("out", Value::String(text)) if !text.is_empty() => out = Some(PathBuf::from(text)),
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
    let mut filling = Filling {
        room: LONGEST as usize,
        lengths: defined
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string().len()))
            .collect(),
        defined,
    };
    filling.fill(&mut value, problems);
    if filling.room == 0 {
        problems.add("[define]", "comes to a plan of more than 16 MiB");
    }
    match value {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

/// Definitions on their way into a plan, which may name them often.
struct Filling {
    defined: Table,
    /// How long each is as text.
    lengths: BTreeMap<String, usize>,
    /// Bytes that may still be filled in; none once they were not enough.
    room: usize,
}

impl Filling {
    /// What a name stands for; `None` where it stands for nothing, or there is no room for it.
    fn take(&mut self, name: &str) -> Option<Value> {
        let value = self.defined.get(name)?;
        self.room = self.room.saturating_sub(self.lengths[name]);
        (self.room > 0).then(|| value.clone())
    }

    fn fill(&mut self, value: &mut Value, problems: &mut PlanProblems) {
        match value {
            Value::Array(list) => {
                for value in &mut *list {
                    self.fill(value, problems);
                }
            }
            Value::Table(table) => {
                for (_, value) in table.iter_mut() {
                    self.fill(value, problems);
                }
            }
            Value::String(text) if text.contains("${") => {
                let whole = text
                    .strip_prefix("${")
                    .and_then(|rest| rest.strip_suffix('}'));
                match whole.and_then(|name| self.take(name)) {
                    Some(found) => *value = found,
                    None => *text = self.filled(text, problems),
                }
            }
            _ => {}
        }
    }

    /// A text with what it names in its places.
    fn filled(&mut self, text: &str, problems: &mut PlanProblems) -> String {
        let mut told = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if self.room == 0 {
                return told;
            }
            told += before;
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            match self.take(name) {
                Some(Value::String(found)) => told += &found,
                Some(found) => told += &found.to_string(),
                None if self.room > 0 => {
                    problems.add("[define]", format!("has no {name}, which {text} names"));
                }
                None => {}
            }
            rest = behind;
        }
        told + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problems::TOLD;

    fn read_text(text: &str) -> Result<Plan, SweepError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.toml");
        std::fs::write(&path, text).unwrap();
        Plan::read(&path, &[])
    }

    fn accepted(text: &str) -> Plan {
        read_text(text).unwrap()
    }

    /// What is wrong with a plan of this text.
    fn refused(text: &str) -> Vec<String> {
        match read_text(text) {
            Err(SweepError::Plan(list)) => list,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plan_of_more_jobs_than_anyone_makes_is_one_sentence() {
        let values: Vec<String> = (0..100).map(|value| value.to_string()).collect();
        let list = values.join(",");
        let text = format!(
            "[base]\nmodel = 'm'\ndata = 'd'\n[matrix]\nseed = [{list}]\nsteps = [{list}]\nbatch = [{list}]\n"
        );
        let said = refused(&text);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].ends_with("[matrix]: comes to 1000000 jobs, and a plan has at most 10000: make several plans of it"),
            "{said:?}"
        );
        let many = "[[include]]\nseed = 1\n".repeat(10_001);
        let said = refused(&format!("[base]\nmodel = 'm'\ndata = 'd'\n{many}"));
        assert!(said[0].contains("[[include]]: comes to 10001"), "{said:?}");
    }

    #[test]
    fn a_name_that_no_folder_takes_is_refused_before_any_work() {
        let jobs = "[base]\nmodel = 'm'\ndata = 'd'\n";
        let table = "{ metric = 'miou' }";
        let [fits, long] = [100, 101].map(|length| "f".repeat(length));
        let with = |name: &str| {
            [
                format!("[sweep]\nname = '{name}'\n{jobs}"),
                format!("{jobs}[[report]]\nname = '{name}'\n"),
                format!("{jobs}[[report]]\nfigures = {{ {name} = 'miou-by-layer' }}\n"),
                format!("{jobs}[[report]]\ntables = {{ {name} = {table} }}\n"),
            ]
        };
        for text in with(&long) {
            let said = refused(&text);
            assert!(said[0].ends_with(PLAIN), "{said:?}");
        }
        for text in with(&fits) {
            accepted(&text);
        }
        for text in &with("index")[2..] {
            let said = refused(text);
            assert!(
                said[0].contains("[[report]]: index: is the list"),
                "{said:?}"
            );
        }
        let said = refused(&format!("[sweep]\nout = ''\n{jobs}"));
        assert!(
            said[0].ends_with("[sweep] out: expected a folder"),
            "{said:?}"
        );
    }

    #[test]
    fn definitions_do_not_grow_without_end_and_not_every_sentence_is_told() {
        let long = "x".repeat(1_000_000);
        let often = "${a}".repeat(100_000);
        let said = refused(&format!(
            "[define]\na = '{long}'\n[base]\nmodel = 'm'\ndata = '{often}'\n"
        ));
        assert!(
            said[0].contains("[define]: comes to a plan of more than 16 MiB"),
            "{said:?}"
        );
        let list: Vec<String> = (0..1000).map(|index| format!("k{index} = 1\n")).collect();
        let said = refused(&format!("[base]\n{}", list.concat()));
        assert_eq!(said.len(), TOLD + 1);
        assert!(said[TOLD].ends_with("and more"));
    }
}
