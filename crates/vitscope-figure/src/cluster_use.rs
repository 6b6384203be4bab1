//! How many of its clusters a slot really uses (docs/protocol.md section 14), and what that makes of it.

use vitscope_run::{Part, Run, Slot, Subject};

use crate::positions::PositionMaps;

/// A cluster with more than this share of all pixels leaves nothing to the others.
const MOST_OF_ALL: f64 = 0.95;

/// What a slot makes of its clusters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClusterUse {
    /// Effective number of clusters: the exponential of the entropy of their shares.
    pub(crate) used: f64,
    /// How many there are.
    pub(crate) clusters: usize,
    /// The share of the largest, where it is known.
    pub(crate) largest: Option<f64>,
}

impl ClusterUse {
    /// As the run stored it, or for runs from before it was stored, from the counts of positions.
    pub(crate) fn of(run: &Run, slot: Slot, positions: Option<&PositionMaps>) -> Option<Self> {
        let subject = Subject::Slot(slot);
        let clusters = run.record.clusters;
        let value = |metric| run.metrics.part(subject, metric, Part::Whole)?.value;
        if let Some(used) = value("clusters_used") {
            let largest = value("largest_cluster");
            return Some(Self {
                used,
                clusters,
                largest,
            });
        }
        let counts = positions?.clusters();
        Self::of_counts(counts.map(|counts| counts.iter().sum()))
    }

    fn of_counts(counts: impl Iterator<Item = u64>) -> Option<Self> {
        let counts: Vec<f64> = counts.map(|count| count as f64).collect();
        let total: f64 = counts.iter().sum();
        let shares = counts.iter().map(|count| count / total);
        let shares: Vec<f64> = shares.filter(|share| *share > 0.0).collect();
        let entropy: f64 = shares.iter().map(|share| -share * share.ln()).sum();
        (total > 0.0).then(|| Self {
            used: entropy.exp(),
            clusters: counts.len(),
            largest: shares.into_iter().reduce(f64::max),
        })
    }

    /// Less than half of the clusters are used: said with every number of the slot.
    pub(crate) fn is_thin(self) -> bool {
        self.used < self.clusters as f64 / 2.0
    }

    /// The slot says nothing about its facet: it is never the best, and never a point of a relation.
    pub(crate) fn is_collapsed(self) -> bool {
        let largest = self.largest.unwrap_or(0.0);
        let clusters = self.clusters as f64;
        self.used < (clusters / 4.0).max(2.0).min(clusters / 2.0) || largest > MOST_OF_ALL
    }

    /// "1/11"; with a decimal where whole numbers would not show that under half are used.
    pub(crate) fn label(self) -> String {
        let is_half = 2.0 * self.used.round() >= self.clusters as f64;
        match self.is_thin() && is_half {
            // Cut, so that 4.97 of 10 does not become 5.0.
            true => format!("{:.1}/{}", (10.0 * self.used).floor() / 10.0, self.clusters),
            false => format!("{:.0}/{}", self.used, self.clusters),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_the_exponential_of_the_entropy() {
        let even = ClusterUse::of_counts([5, 5, 5, 5].into_iter()).unwrap();
        assert!((even.used - 4.0).abs() < 1e-12 && !even.is_thin() && !even.is_collapsed());
        let one = ClusterUse::of_counts([96, 4, 0, 0].into_iter()).unwrap();
        assert!(one.is_thin() && one.is_collapsed());
        assert_eq!(one.label(), "1/4");
        let (used, clusters, largest) = (4.97, 10, None);
        let label = |used| {
            ClusterUse {
                used,
                clusters,
                largest,
            }
            .label()
        };
        assert_eq!(
            [label(used), label(4.4), label(5.1)],
            ["4.9/10", "4/10", "5/10"]
        );
        assert_eq!(ClusterUse::of_counts([0, 0].into_iter()), None);
        // Under half of 12, but not under a quarter of them.
        let thin = ClusterUse {
            used: 4.0,
            clusters: 12,
            largest: Some(0.4),
        };
        assert!(thin.is_thin() && !thin.is_collapsed());
    }
}
