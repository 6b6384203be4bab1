//! The tables `[[report]]` of a plan: which runs are compared, and which figures and numbers come out under a name.
//!
//! ```toml
//! [[report]]
//! name = "coco"
//! of = { command = "probe", data = "coco-stuff27:coco" }
//! paper = true
//! figures = { "figure-4-miou" = "miou-by-layer", "figure-5" = "layers-key" }
//! tables = { "table-4" = { metric = "miou", facets = ["token"], layers = "last" } }
//! ```
//!
//! A figure is that of the comparison, or, where a comparison has none of that name, that of each run.

use toml::{Table, Value};
use vitscope_run::{Facet, Select};

use crate::keys::{Spec, known};
use crate::problems::{PLAIN, PlanProblems, is_plain};

/// A comparison of some of a sweep's runs, and what is taken from it under other names.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its folder under `reports`.
    pub name: String,
    /// What its jobs have in common.
    pub(crate) of: Table,
    /// The layer at which each facet is shown.
    pub(crate) select: Option<Select>,
    /// Whether the paper's values stand beside.
    pub(crate) paper: bool,
    /// Name, and the stem of a figure.
    pub(crate) figures: Vec<(String, String)>,
    /// Name, and what it lists.
    pub(crate) tables: Vec<(String, NumberList)>,
}

/// The name, without its ending, of the list of what the plan names, which lies beside it.
pub(crate) const INDEX: &str = "index";

const KEYS: &str = "name, of, select, paper, figures, tables";

impl Report {
    pub(crate) fn read(tables: &[Table], specs: &[Spec], problems: &mut PlanProblems) -> Vec<Self> {
        let read = |(index, table): (usize, &Table)| {
            let mut report = Self {
                name: format!("report-{}", index + 1),
                of: Table::new(),
                select: None,
                paper: false,
                figures: Vec::new(),
                tables: Vec::new(),
            };
            for (key, value) in table {
                let place = format!("[[report]] {} {key}", index + 1);
                match (key.as_str(), value) {
                    ("name", Value::String(text)) if is_plain(text) => report.name.clone_from(text),
                    ("name", _) => problems.add(&place, PLAIN),
                    ("of", Value::Table(of)) => {
                        let unknown = of.keys().filter(|key| !known(key, &place, problems));
                        let is_known = unknown.count() == 0;
                        let is_meant = specs.is_empty() || specs.iter().any(|spec| spec.has(of));
                        if is_known && !is_meant {
                            problems.add(&place, "no job of the plan is meant");
                        }
                        report.of = of.clone();
                    }
                    ("select", Value::String(text)) => match text.parse() {
                        Ok(select) => report.select = Some(select),
                        Err(problem) => problems.add(&place, problem),
                    },
                    ("paper", Value::Boolean(on)) => report.paper = *on,
                    ("figures", Value::Table(figures)) => {
                        for (name, stem) in figures {
                            match figure(stem) {
                                Ok(stem) => report.figures.push((name.clone(), stem)),
                                Err(problem) => {
                                    problems.add(&place, format!("{name}: {problem}"));
                                }
                            }
                        }
                    }
                    ("tables", Value::Table(tables)) => {
                        for (name, value) in tables {
                            match NumberList::read(value) {
                                Ok(listing) => report.tables.push((name.clone(), listing)),
                                Err(problem) => {
                                    problems.add(&place, format!("{name}: {problem}"));
                                }
                            }
                        }
                    }
                    _ => problems.add(&place, format!("cannot be: a report has {KEYS}")),
                }
            }
            report
        };
        let reports: Vec<Self> = tables.iter().enumerate().map(read).collect();
        let names = reports.iter().map(|report| &report.name);
        apart(names.collect(), problems);
        let own = |report: &'_ Self| -> Vec<String> {
            let figures = report.figures.iter().map(|(name, _)| name);
            let tables = report.tables.iter().map(|(name, _)| name);
            figures.chain(tables).cloned().collect()
        };
        let named: Vec<String> = reports.iter().flat_map(own).collect();
        for name in named.iter().filter(|name| !is_plain(name)) {
            problems.add("[[report]]", format!("{name:?}: {PLAIN}"));
        }
        // Some file systems take letters of either case for the same.
        if named.iter().any(|name| name.eq_ignore_ascii_case(INDEX)) {
            let problem = "is the list of all that is named: choose another name";
            problems.add("[[report]]", format!("{INDEX}: {problem}"));
        }
        // They all lie in one folder.
        apart(named.iter().collect(), problems);
        reports
    }
}

/// The name of a figure that there is.
fn figure(value: &Value) -> Result<String, String> {
    let stem = value.as_str().ok_or("expected the name of a figure")?;
    let names = vitscope_figure::figure_names();
    if names.iter().any(|name| name == stem) {
        return Ok(stem.to_owned());
    }
    let near = names
        .iter()
        .min_by_key(|name| strsim::damerau_levenshtein(name, stem))
        .filter(|name| strsim::damerau_levenshtein(name, stem) <= 3);
    Err(match near {
        Some(near) => format!("`{stem}` is no figure: did you mean {near}?"),
        None => format!("`{stem}` is no figure: there are {}", names.join(", ")),
    })
}

/// Refuses a name that two things of a plan would have.
fn apart(mut names: Vec<&String>, problems: &mut PlanProblems) {
    names.sort_unstable();
    let twice = names.windows(2).filter(|pair| pair[0] == pair[1]);
    for pair in twice {
        problems.add("[[report]]", format!("{}: is named twice", pair[0]));
    }
}

/// Which numbers a table lists.
#[derive(Clone, Debug)]
pub(crate) struct NumberList {
    /// Their column name in `metrics.csv`.
    pub(crate) metric: String,
    /// Of which facets.
    pub(crate) facets: Vec<Facet>,
    /// At which layer of each.
    pub(crate) layers: LayerChoice,
}

/// The layer of each facet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LayerChoice {
    /// That of the largest value.
    Best,
    /// The last one.
    Last,
}

impl NumberList {
    /// Reads what a plan says.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let expected = "expected { metric = \"miou\", facets = [\"token\"], layers = \"best\" }";
        let table = value.as_table().ok_or(expected)?;
        let mut listing = Self {
            metric: String::new(),
            facets: Facet::ALL.to_vec(),
            layers: LayerChoice::Best,
        };
        for (key, value) in table {
            match (key.as_str(), value) {
                ("metric", Value::String(metric)) => listing.metric.clone_from(metric),
                ("facets", Value::Array(list)) => {
                    let facet = |value: &Value| value.as_str().unwrap_or_default().parse();
                    listing.facets = list.iter().map(facet).collect::<Result<_, String>>()?;
                }
                ("layers", Value::String(text)) if text == "best" => {
                    listing.layers = LayerChoice::Best
                }
                ("layers", Value::String(text)) if text == "last" => {
                    listing.layers = LayerChoice::Last
                }
                _ => return Err(expected.to_owned()),
            }
        }
        match vitscope_run::number(&listing.metric) {
            Some(_) => Ok(listing),
            None => Err(format!("`{}` is no number of a run", listing.metric)),
        }
    }
}
