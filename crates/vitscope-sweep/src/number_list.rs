//! A table that a plan names: one number of every run beside the paper's.

use toml::Value;
use vitscope_run::{Facet, Measured, Run, Subject};
use vitscope_study::compare::Comparison;

use crate::error::SweepError;
use crate::jobs::{PlannedJob, Sweep};

/// Which numbers a table lists.
#[derive(Clone, Debug)]
pub(crate) struct NumberList {
    /// Their column name in `metrics.csv`.
    pub(crate) metric: String,
    /// Of which facets.
    facets: Vec<Facet>,
    /// At which layer of each.
    layers: LayerChoice,
}

/// The layer of each facet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LayerChoice {
    /// That of the largest value.
    Best,
    Last,
}

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

    /// A row for every run and facet that has the number; a run is told apart by its label.
    ///
    /// # Errors
    /// A run that is damaged.
    pub(crate) fn rows(
        &self,
        sweep: &Sweep,
        jobs: &[&PlannedJob],
        labels: &[String],
        comparison: &Comparison,
    ) -> Result<Vec<Vec<String>>, SweepError> {
        let mut rows = Vec::new();
        for (job, label) in jobs.iter().zip(labels) {
            let run = Run::finished(&sweep.run(&job.name))?;
            for &facet in &self.facets {
                let Some((layer, measured)) = self.pick(&run, facet) else {
                    continue;
                };
                let beside = comparison.beside.iter().find(|entry| {
                    entry.run == job.name
                        && entry.metric == self.metric
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
    fn pick(&self, run: &Run, facet: Facet) -> Option<(usize, Measured)> {
        let layers = run.metrics.layers(Some(facet));
        let of = |layer: usize| {
            let measured = run
                .metrics
                .whole(Subject::slot(facet, layer), &self.metric)?;
            Some((layer, measured))
        };
        match self.layers {
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
}
