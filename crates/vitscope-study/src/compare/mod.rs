//! Finished runs side by side, from what their directories hold: nothing is computed again.

pub mod causes;
pub mod checks;
mod csv;
mod paired;
pub mod paper;
pub mod relations;
pub mod series;
pub mod stored;
pub mod summary;
mod tables;

use std::path::PathBuf;

use serde::Serialize;
use vitscope_run::{Facet, Folder, Measured, Record, Select, Varying, names};

use crate::compare::causes::{Causes, causes};
use crate::compare::checks::{Condition, RunCheck};
use crate::compare::series::Series;
use crate::compare::tables::{
    write_beside, write_causes, write_comparison, write_relations, write_runs,
};
use crate::error::StudyError;
use crate::paper::{BesidePaper, Paper};
use crate::relations::{Relation, locality_of, pck_of, relations};
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
#[derive(Clone, Debug, Default)]
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
    pub checks: Vec<RunCheck>,
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
    let inputs: Vec<PathBuf> = inputs.cloned().collect();
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
) -> Result<Vec<RunCheck>, StudyError> {
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
