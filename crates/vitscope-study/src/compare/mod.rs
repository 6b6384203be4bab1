//! Finished runs side by side, from what their directories hold: nothing is computed again.

pub mod causes;
pub mod checks;
mod paired;
pub mod paper;
pub mod relations;
pub mod series;
pub mod stored;
pub mod summary;

use std::path::{Path, PathBuf};

use serde::Serialize;
use vitscope_run::{
    COLUMNS, Facet, Folder, Measured, Record, Select, Subject, Varying, files, names, to_csv,
};

use crate::compare::causes::{CauseRow, Causes, causes};
use crate::compare::checks::{Check, Condition};
use crate::compare::series::Series;
use crate::error::StudyError;
use crate::paper::{BesidePaper, Paper};
use crate::relations::{Coefficient, Relation, locality_of, pck_of, relations};
use crate::stored::{StoredRun, open_all};

/// What to compare.
#[derive(Clone, Debug, Default)]
pub struct CompareRequest {
    /// Run directories of any kind.
    pub runs: Vec<PathBuf>,
    /// Where the tables go.
    pub out: PathBuf,
    /// The layer at which each facet is shown.
    pub select: Select,
    /// Whether the paper's values are set beside.
    pub paper: bool,
    /// Whether the runs are checkpoints of one training.
    pub series: bool,
    /// The step of every run of a series; none to take those in the runs' names.
    pub steps: Vec<u64>,
    /// Conditions under which the check fails.
    pub fail_if: Vec<Condition>,
    /// A run that is not to be fallen behind.
    pub baseline: Option<PathBuf>,
}

/// A facet of a run at its shown layer. A number that no run measured is absent.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The run.
    pub run: String,
    /// The facet; `None` for a run that measured layers as a whole.
    pub facet: Option<Facet>,
    /// The shown layer.
    pub layer: usize,
    /// Segmentation quality.
    pub miou: Option<Measured>,
    /// Positional effect over pixels.
    pub nmi: Option<Measured>,
    /// Positional effect over patches beyond its null.
    pub excess: Option<Measured>,
    /// Locality bias of the layer's attention, of this run or of another of the same model.
    pub locality: Option<Measured>,
    /// Zero-shot correspondence, of this run or of another of the same model.
    pub pck: Option<Measured>,
}

/// A comparison.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Every facet of every run at its shown layer.
    pub lines: Vec<Line>,
    /// Relations between numbers.
    pub relations: Vec<Relation>,
    /// What taking position out does, where runs did that.
    pub causes: Causes,
    /// The paper's values, where they were asked for.
    pub beside: Vec<BesidePaper>,
    /// Where the paper's values come from, where they were asked for.
    pub citation: Option<String>,
    /// The runs over training steps, where they are a series.
    pub series: Option<Series>,
    /// What was asked of the runs, or of a series' last one.
    pub checks: Vec<Check>,
    /// What could not be set side by side, and why.
    pub notes: Vec<String>,
    /// The files that were written.
    pub files: Vec<PathBuf>,
}

/// Compares runs and writes `comparison.csv`, `runs.csv`, `relations.csv` and, with the paper, `paper.csv`.
///
/// # Errors
/// One sentence, for a folder that is no finished run and for runs that contradict each other.
pub fn compare(request: &CompareRequest) -> Result<Comparison, StudyError> {
    if request.out.join("run.json").exists() {
        return Err(StudyError::setting(format!(
            "{}: is a run itself: choose another `out`",
            request.out.display()
        )));
    }
    let runs = open_all(&request.runs)?;
    let records: Vec<&Record> = runs.iter().map(|run| &run.run.record).collect();
    let varying = Varying::of(&records);
    let mut notes: Vec<String> = varying.warning().into_iter().collect();
    let mut lines = Vec::new();
    for run in &runs {
        lines.extend(lines_of(&runs, run, request.select, &mut notes)?);
    }
    let steps = if request.series {
        Some(series::steps(&runs, &request.steps)?)
    } else {
        None
    };
    let checks = checks_of(request, &runs, steps.as_deref())?;
    let series = steps.map(|steps| series::series(&runs, &steps, request.select));
    let series = series.transpose()?;
    let relations = relations(&runs, &mut notes)?;
    let causes = causes(&runs, request.select)?;
    let inputs = request.runs.iter().chain(&request.baseline);
    let inputs: Vec<&Path> = inputs.map(PathBuf::as_path).collect();
    let mut folder = Folder::claim(&request.out, "compare", &inputs)?;
    let mut files = vec![
        write_comparison(&mut folder, &runs, request.select)?,
        write_runs(&mut folder, &runs, &varying)?,
        write_relations(&mut folder, &relations)?,
    ];
    if let Some(series) = &series {
        files.extend(series::write(&mut folder, series)?);
    }
    if !causes.rows.is_empty() {
        files.extend(write_causes(&mut folder, &causes)?);
    }
    let (mut beside, mut citation) = (Vec::new(), None);
    if request.paper {
        let paper = Paper::new()?;
        beside = paper.beside(&runs, &relations, &mut notes);
        let source = &paper.source;
        citation = Some(format!(
            "{}, \"{}\", {}, {}",
            source.authors, source.title, source.id, source.year
        ));
        files.push(write_beside(&mut folder, &beside)?);
    }
    // Figures and the page are drawn next, and stay until then.
    folder.finish_part(|name| !names::is_drawn(name))?;
    Ok(Comparison {
        lines,
        relations,
        causes,
        beside,
        citation,
        series,
        checks,
        notes,
        files,
    })
}

/// What was asked, of a series' last run or else of all runs.
fn checks_of(
    request: &CompareRequest,
    runs: &[StoredRun],
    steps: Option<&[u64]>,
) -> Result<Vec<Check>, StudyError> {
    let last = steps.and_then(|steps| (0..runs.len()).max_by_key(|&index| steps[index]));
    let judged = runs.iter().enumerate();
    let judged: Vec<&StoredRun> = judged
        .filter(|(index, _)| last.is_none_or(|last| last == *index))
        .map(|(_, run)| run)
        .collect();
    let mut checks = Vec::new();
    for condition in &request.fail_if {
        for run in &judged {
            checks.extend(condition.ask(run, request.select)?);
        }
    }
    if let Some(path) = &request.baseline {
        let baseline = open_all(std::slice::from_ref(path))?.remove(0);
        for run in judged {
            checks.extend(checks::against(run, &baseline, request.select)?);
        }
    }
    Ok(checks)
}

fn lines_of(
    runs: &[StoredRun],
    run: &StoredRun,
    select: Select,
    notes: &mut Vec<String>,
) -> Result<Vec<Line>, StudyError> {
    let (locality, pck) = (locality_of(runs, run)?, pck_of(runs, run)?);
    let mut lines = Vec::new();
    let layers = |facet| run.run.metrics.layers(facet);
    let facets = Facet::ALL.map(Some);
    let has_facets = facets.iter().any(|&facet| !layers(facet).is_empty());
    for &facet in if has_facets { &facets[..] } else { &[None] } {
        if layers(facet).is_empty() {
            continue;
        }
        let Some(layer) = run.run.selected(facet, select) else {
            let what = facet.map_or("attention", Facet::name);
            notes.push(format!("{}: has no {what} of {select}", run.name));
            continue;
        };
        let own = |metric| run.number(facet, layer, metric);
        lines.push(Line {
            run: run.name.clone(),
            facet,
            layer,
            miou: own("miou"),
            nmi: own("nmi"),
            excess: own("nmi_excess"),
            locality: locality.and_then(|run| run.number(None, layer, "locality")),
            pck: pck.and_then(|run| run.number(facet, layer, "pck")),
        });
    }
    Ok(lines)
}

/// A CSV file of some rows.
fn write_table(
    folder: &mut Folder,
    name: &str,
    header: &str,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<PathBuf, StudyError> {
    let path = folder.place(name)?;
    files::write(&path, &to_csv(header.split(','), rows))?;
    Ok(path)
}

/// `comparison.csv`: every row of every run, its name before it and, behind the rows of a facet, the
/// layer at which the run shows that facet.
fn write_comparison(
    folder: &mut Folder,
    runs: &[StoredRun],
    select: Select,
) -> Result<PathBuf, StudyError> {
    let mut rows = Vec::new();
    for run in runs {
        let selected = |facet: Facet| Some((facet, run.run.selected(facet, select)?));
        let selected: Vec<_> = Facet::ALL.into_iter().filter_map(selected).collect();
        for row in run.run.metrics.rows() {
            let shown = selected.iter().find(|(facet, _)| match row.subject {
                Subject::Slot(slot) => slot.facet == *facet,
                _ => false,
            });
            let mut fields = vec![run.name.clone()];
            fields.extend(row.fields.iter().cloned());
            fields.push(shown.map_or(String::new(), |(_, layer)| layer.to_string()));
            rows.push(fields);
        }
    }
    let header = format!("run,{},selected_layer", COLUMNS.join(","));
    write_table(folder, "comparison.csv", &header, rows)
}

/// `runs.csv`: a row for every run, with the settings that vary.
fn write_runs(
    folder: &mut Folder,
    runs: &[StoredRun],
    varying: &Varying,
) -> Result<PathBuf, StudyError> {
    // Columns that every comparison has carry these already.
    let is_setting = |name: &String| !["model", "data", "seed"].contains(&name.as_str());
    let settings = varying.names.iter().enumerate();
    let settings: Vec<(usize, &String)> = settings.filter(|(_, name)| is_setting(name)).collect();
    let row = |(run, values): (&StoredRun, &Vec<String>)| {
        let record = &run.run.record;
        let mut fields = vec![
            run.name.clone(),
            run.run.root.display().to_string(),
            record.kind.name().to_owned(),
            record.model.name.clone(),
            record.model.family.clone(),
            record.model.size.clone(),
            record.data.kind.clone(),
            record.data.list_hash.clone(),
            record.seed.to_string(),
        ];
        fields.extend(settings.iter().map(|&(place, _)| values[place].clone()));
        fields
    };
    let names = settings.iter().map(|(_, name)| format!(",{name}"));
    let header = format!(
        "run,path,command,model,family,size,data,images,seed{}",
        names.collect::<String>()
    );
    let rows = runs.iter().zip(&varying.values).map(row);
    write_table(folder, "runs.csv", &header, rows)
}

fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// `relations.csv`.
fn write_relations(folder: &mut Folder, relations: &[Relation]) -> Result<PathBuf, StudyError> {
    let three = |coefficient: Coefficient| {
        let (low, high) = coefficient.interval.unzip();
        [coefficient.value, low, high].map(number)
    };
    let row = |relation: &Relation| {
        let mut fields = vec![
            relation.relation.to_owned(),
            relation.group.clone(),
            relation.n.to_string(),
        ];
        fields.extend(three(relation.pearson));
        fields.extend(three(relation.spearman));
        fields
    };
    let header =
        "relation,group,n,pearson,pearson_low,pearson_high,spearman,spearman_low,spearman_high";
    write_table(folder, "relations.csv", header, relations.iter().map(row))
}

/// `causes.csv`, a row for every slot of every run, and `causes.json`, the same with what can be said.
fn write_causes(folder: &mut Folder, causes: &Causes) -> Result<[PathBuf; 2], StudyError> {
    let said = |row: &CauseRow| {
        let own = |said: &&causes::Said| {
            (&said.model, &said.facet, said.layer, &said.transform)
                == (&row.model, &row.facet, row.layer, &row.transform)
        };
        let said = causes.said.iter().find(own);
        said.map_or(String::new(), |said| said.cause.to_owned())
    };
    let row = |row: &CauseRow| {
        let mut fields = vec![
            row.model.clone(),
            row.layer.to_string(),
            row.facet.clone(),
            row.transform.clone(),
            row.seed.to_string(),
            row.run.clone(),
        ];
        let numbers = [
            row.miou,
            row.difference,
            row.low,
            row.high,
            row.effect,
            row.truth,
        ];
        fields.extend(numbers.map(number));
        fields.push(row.collapsed.to_string());
        fields.push(said(row));
        fields
    };
    let header = "model,layer,facet,transform,seed,run,miou,difference,low,high,nmi_excess,truth_nmi_excess,collapsed,cause";
    let table = write_table(folder, "causes.csv", header, causes.rows.iter().map(row))?;
    let path = folder.place("causes.json")?;
    let text = serde_json::to_string_pretty(causes)
        .map_err(|error| StudyError::file(&path, format!("cannot be written: {error}")))?;
    files::write(&path, format!("{text}\n").as_bytes())?;
    Ok([table, path])
}

/// `paper.csv`: a measured number, the paper's, and the difference, all as fractions.
fn write_beside(folder: &mut Folder, beside: &[BesidePaper]) -> Result<PathBuf, StudyError> {
    let layer = |layer: Option<usize>| layer.map_or(String::new(), |layer| layer.to_string());
    let row = |entry: &BesidePaper| {
        vec![
            entry.run.clone(),
            entry.metric.clone(),
            entry.facet.clone(),
            layer(entry.layer),
            entry.measured.to_string(),
            entry.paper.to_string(),
            (entry.measured - entry.paper).to_string(),
            layer(entry.paper_layer),
            entry.place.clone(),
        ]
    };
    let header = "run,metric,facet,layer,measured,paper,difference,paper_layer,place";
    write_table(folder, "paper.csv", header, beside.iter().map(row))
}
