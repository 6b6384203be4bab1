//! The tables that every comparison writes.

use std::path::PathBuf;

use vitscope_run::{COLUMNS, Facet, Folder, Select, Subject, Varying, files};

use super::causes::{CauseRow, Causes, Said};
use super::csv::{number, write_table};
use super::paper::BesidePaper;
use super::relations::{Coefficient, Relation};
use super::stored::StoredRun;
use crate::error::StudyError;

/// `comparison.csv`: every row of every run, its name before it and, behind the rows of a facet, the
/// layer at which the run shows that facet.
pub(super) fn write_comparison(
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
pub(super) fn write_runs(
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

/// `relations.csv`.
pub(super) fn write_relations(
    folder: &mut Folder,
    relations: &[Relation],
) -> Result<PathBuf, StudyError> {
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
pub(super) fn write_causes(
    folder: &mut Folder,
    causes: &Causes,
) -> Result<[PathBuf; 2], StudyError> {
    let said = |row: &CauseRow| {
        let own = |said: &&Said| {
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
pub(super) fn write_beside(
    folder: &mut Folder,
    beside: &[BesidePaper],
) -> Result<PathBuf, StudyError> {
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
