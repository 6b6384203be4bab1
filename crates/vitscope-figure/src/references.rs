//! What stands beside the slots in charts over layers: the ground truth's own value and the baselines.

use vitscope_run::{Measured, Subject};

use crate::chart::Chart;
use crate::end_names::EndName;
use crate::members::Member;
use crate::theme;

/// A value that belongs to no slot: the ground truth's own, or what a baseline gives.
pub(crate) struct Reference {
    pub(crate) name: &'static str,
    pub(crate) measured: Measured,
    dashes: &'static str,
}

/// What stands beside every slot, with its name and dashes: the ground truth's own value, or the
/// baselines of mIoU.
pub(crate) fn beside(metric: &str) -> Vec<(&str, &'static str, &'static str)> {
    match metric {
        "miou" => vec![
            ("place_alone", "place alone", theme::DASHES),
            ("one_class", "one class", theme::DOTS),
        ],
        metric => vec![(metric, "ground truth", theme::DASHES)],
    }
}

/// Those of these runs, each value once.
pub(crate) fn references(members: &[&Member], metric: &str) -> Vec<Reference> {
    let mut references: Vec<Reference> = Vec::new();
    for member in members {
        for (metric, name, dashes) in beside(metric) {
            let measured = member.run.get(Subject::GroundTruth, metric);
            let is_new =
                |other: &Reference| (other.name, other.measured.value) != (name, measured.value);
            if measured.value.is_some() && references.iter().all(is_new) {
                references.push(Reference {
                    name,
                    measured,
                    dashes,
                });
            }
        }
    }
    references
}

impl Reference {
    /// A line across the chart; gives its name, wanted beside its end.
    pub(crate) fn draw(&self, chart: &mut Chart<'_>) -> Option<EndName> {
        let value = self.measured.value?;
        chart.across(value, theme::TRUTH, self.dashes);
        Some(EndName {
            y: chart.at(0.0, value)[1],
            name: self.name,
            paint: theme::TRUTH,
            mark: None,
            dashes: self.dashes,
        })
    }
}
