//! The rows of a table that a plan names: one number of every run beside the paper's.

use vitscope_run::{Facet, Measured, Run, Subject};
use vitscope_study::compare::Comparison;

use crate::error::SweepError;
use crate::jobs::{PlannedJob, Sweep};
use crate::report_table::{LayerChoice, NumberList};

/// The columns of a table.
pub(crate) const COLUMNS: [&str; 12] = [
    "run",
    "model",
    "size",
    "data",
    "settings",
    "facet",
    "layer",
    "value",
    "low",
    "high",
    "paper",
    "paper_layer",
];

/// A row for every run and facet that has the number; a run is told apart by its label.
///
/// # Errors
/// A run that is damaged.
pub(crate) fn rows(
    list: &NumberList,
    sweep: &Sweep,
    jobs: &[&PlannedJob],
    labels: &[String],
    comparison: &Comparison,
) -> Result<Vec<Vec<String>>, SweepError> {
    let mut rows = Vec::new();
    for (job, label) in jobs.iter().zip(labels) {
        let run = Run::open(&sweep.run(&job.name))?;
        for &facet in &list.facets {
            let Some((layer, measured)) = pick(list, &run, facet) else {
                continue;
            };
            let beside = comparison.beside.iter().find(|entry| {
                entry.run == job.name
                    && entry.metric == list.metric
                    && entry.facet == facet.name()
                    && entry.layer == Some(layer)
            });
            let text = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
            let (low, high) = measured.interval.unzip();
            rows.push(vec![
                job.name.clone(),
                run.record.model.name.clone(),
                run.record.model.size.clone(),
                run.record.data.kind.clone(),
                label.clone(),
                facet.name().to_owned(),
                layer.to_string(),
                text(measured.value),
                text(low),
                text(high),
                text(beside.map(|entry| entry.paper)),
                beside
                    .and_then(|entry| entry.paper_layer)
                    .map_or(String::new(), |layer| layer.to_string()),
            ]);
        }
    }
    Ok(rows)
}

/// The layer of a facet and its number.
fn pick(list: &NumberList, run: &Run, facet: Facet) -> Option<(usize, Measured)> {
    let layers = run.metrics.layers(Some(facet));
    let of = |layer: usize| {
        let measured = run
            .metrics
            .whole(Subject::slot(facet, layer), &list.metric)?;
        Some((layer, measured))
    };
    match list.layers {
        LayerChoice::Last => of(*layers.last()?),
        LayerChoice::Best => layers
            .into_iter()
            .filter_map(of)
            .filter(|(_, measured)| measured.value.is_some())
            // On ties the lower layer.
            .rev()
            .max_by(|(_, a), (_, b)| {
                let value = |measured: &Measured| measured.value.unwrap_or(f64::NEG_INFINITY);
                value(a).total_cmp(&value(b))
            }),
    }
}
