//! Runs without ground truth: their clusters take the colors of a reference run's clusters with
//! which they occur together, so that rows can be compared at all.

use ndarray::Array2;
use vitscope_measure::match_to_reference;

use crate::pixels::{LabelMap, NONE};
use crate::theme;

/// For each cluster of `maps` the cluster of `reference` that it is matched with: the one-to-one
/// assignment of the most pixels in common (the Hungarian step of segmentation quality). A cluster
/// that shares no pixel with its partner stays without one. Maps of other sizes are passed over.
pub(crate) fn partners(
    maps: &[Option<LabelMap>],
    reference: &[Option<LabelMap>],
) -> Vec<Option<usize>> {
    let pairs = || {
        let pairs = maps.iter().flatten().zip(reference.iter().flatten());
        let pairs = pairs.filter(|(a, b)| (a.width, a.height) == (b.width, b.height));
        pairs.flat_map(|(a, b)| a.indices.iter().zip(&b.indices))
    };
    let labels = || pairs().filter(|(a, b)| **a != NONE && **b != NONE);
    let Some(most) = labels().map(|(a, b)| usize::from(*a.max(b))).max() else {
        return Vec::new();
    };
    let mut shared = Array2::<i64>::zeros((most + 1, most + 1));
    for (&a, &b) in labels() {
        shared[[usize::from(a), usize::from(b)]] += 1;
    }
    let pairs = match_to_reference(shared.view()).into_iter().enumerate();
    pairs
        .map(|(cluster, partner)| partner.filter(|&partner| shared[[cluster, partner]] > 0))
        .collect()
}

/// The color of a cluster: that of its partner in the reference, whose clusters have the fixed
/// colors; one that no reference cluster has where there is no partner.
pub(crate) fn color(partners: &[Option<usize>], cluster: usize) -> [u8; 3] {
    let partner = partners.get(cluster).copied().flatten();
    theme::cluster(partner.unwrap_or(usize::from(NONE) + cluster))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(indices: &[u8]) -> Option<LabelMap> {
        Some(LabelMap {
            width: indices.len(),
            height: 1,
            indices: indices.to_vec(),
            palette: Vec::new(),
            muted: Vec::new(),
        })
    }

    #[test]
    fn clusters_meet_those_they_occur_with() {
        let reference = [map(&[0, 0, 0, 1, 1, 2, 2]), map(&[2, 2, 0])];
        let maps = [map(&[2, 2, 2, 0, 0, 1, 0]), map(&[1, 1, 2])];
        // scipy.optimize.linear_sum_assignment([[0, 2, 1], [0, 0, 3], [4, 0, 0]], maximize=True)
        // gives columns [1, 2, 0] (SciPy 1.17.1).
        assert_eq!(partners(&maps, &reference), [Some(1), Some(2), Some(0)]);
        assert_eq!(color(&[Some(1)], 0), theme::cluster(1));
    }

    #[test]
    fn what_shares_nothing_has_no_partner() {
        assert_eq!(partners(&[map(&[0, 3])], &[map(&[0, NONE])])[0], Some(0));
        let one = partners(&[map(&[3, 3, 0])], &[map(&[1, 1, 1])]);
        assert_eq!((one[3], one[0]), (Some(1), None));
        assert_eq!(partners(&[None], &[map(&[1])]), []);
    }
}
