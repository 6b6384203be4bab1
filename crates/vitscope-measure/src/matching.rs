//! Which class a cluster stands for (docs/protocol.md section 6; paper 2.3).
//!
//! Clusters have no names. From the confusion counts over a whole evaluation set, each gets a class:
//!
//! - *Hungarian*: the one-to-one matching of largest total agreement (Kuhn 1955, Munkres 1957), in exact
//!   integers. With more clusters than classes, some clusters stay unmatched; with fewer, some classes.
//! - *Majority*: the same, and then each left-over cluster joins the class it overlaps most (the lowest
//!   on ties; a cluster that overlaps none stays unmatched).
//!
//! # Ties
//!
//! Where several matchings share the largest total, the one is taken that the algorithm meets first when
//! it goes through clusters and classes in rising order: the same counts always give the same matching.
//! As in `scipy.optimize.linear_sum_assignment`, a cluster may be matched to a class it never overlaps, if
//! nothing better is left. Such ties are the one place where SciPy may choose another matching of the same
//! total, and where mIoU (not accuracy) can depend on the choice.

use ndarray::{Array2, ArrayView2};
use pathfinding::matrix::Matrix;
use pathfinding::prelude::kuhn_munkres;

use crate::IGNORED;

/// How clusters find their classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matching {
    /// One to one; what stays unmatched counts as wrong.
    #[default]
    Hungarian,
    /// One to one, and left-over clusters join the class they overlap most.
    Majority,
}

impl Matching {
    /// The class of each cluster. See [`hungarian`] and [`majority`].
    #[must_use]
    pub fn resolve(self, confusion: ArrayView2<'_, i64>) -> Vec<Option<usize>> {
        match self {
            Self::Hungarian => hungarian(confusion),
            Self::Majority => majority(confusion),
        }
    }
}

/// The class of each cluster in the one-to-one matching of largest total agreement.
///
/// # Shapes
///
/// `confusion`: `[K, C]` counts, whose total fits in an i64; the result has length `K`.
///
/// ```
/// use ndarray::array;
/// let confusion = array![[5, 6], [0, 9], [3, 3]];
/// assert_eq!(vitscope_measure::hungarian(confusion.view()), [Some(0), Some(1), None]);
/// ```
#[must_use]
pub fn hungarian(confusion: ArrayView2<'_, i64>) -> Vec<Option<usize>> {
    let (clusters, classes) = confusion.dim();
    let mut matched = vec![None; clusters];
    if clusters == 0 || classes == 0 {
        return matched;
    }
    // The solver wants no more rows than columns.
    if clusters <= classes {
        let weights = Matrix::from_fn(clusters, classes, |(k, c)| confusion[(k, c)]);
        for (class, found) in matched.iter_mut().zip(kuhn_munkres(&weights).1) {
            *class = Some(found);
        }
    } else {
        let weights = Matrix::from_fn(classes, clusters, |(c, k)| confusion[(k, c)]);
        for (class, cluster) in kuhn_munkres(&weights).1.into_iter().enumerate() {
            matched[cluster] = Some(class);
        }
    }
    matched
}

/// [`hungarian`], and then each left-over cluster joins the class it overlaps most.
///
/// # Shapes
///
/// `confusion`: `[K, C]`; the result has length `K`.
#[must_use]
pub fn majority(confusion: ArrayView2<'_, i64>) -> Vec<Option<usize>> {
    let mut matched = hungarian(confusion);
    for (class, counts) in matched.iter_mut().zip(confusion.rows()) {
        if class.is_none() {
            let mut most = 0;
            for (candidate, &count) in counts.iter().enumerate() {
                if count > most {
                    most = count;
                    *class = Some(candidate);
                }
            }
        }
    }
    matched
}

/// How often each pair of labels stands at one place: `[L, L]` counts, row the first label of a pair,
/// column the second, with `L` one above the largest label. A pair that holds [`IGNORED`] is left out.
///
/// Two label maps of one image are compared by `a.iter().copied().zip(b.iter().copied())`; pairs of several
/// images follow one another.
#[must_use]
pub fn cooccurrence(pairs: impl IntoIterator<Item = (u8, u8)>) -> Array2<i64> {
    const SIDE: usize = IGNORED as usize;
    let mut counts = vec![0_i64; SIDE * SIDE];
    let mut labels = 0;
    for (row, column) in pairs {
        if row != IGNORED && column != IGNORED {
            let (row, column) = (usize::from(row), usize::from(column));
            counts[row * SIDE + column] += 1;
            labels = labels.max(row.max(column) + 1);
        }
    }
    Array2::from_shape_fn((labels, labels), |(row, column)| {
        counts[row * SIDE + column]
    })
}

/// The cluster of a reference run that each cluster stands for, where there is no ground truth: the
/// one-to-one matching of most common pixels. A cluster that shares no pixel with its partner has none.
///
/// # Shapes
///
/// `cooccurrence`: `[K, K_ref]`, how often a pixel has cluster `k` here and cluster `r` in the reference,
/// as [`cooccurrence`] counts it from label maps (or a [`Tally`](crate::Tally) whose truth is the reference
/// run's label map); the result has length `K`.
///
/// ```
/// use vitscope_measure::{cooccurrence, match_to_reference};
/// let (here, reference) = ([2, 2, 2, 0, 0, 1], [0, 0, 0, 1, 1, 0]);
/// let shared = cooccurrence(here.into_iter().zip(reference));
/// assert_eq!(match_to_reference(shared.view()), [Some(1), None, Some(0)]);
/// ```
#[must_use]
pub fn match_to_reference(cooccurrence: ArrayView2<'_, i64>) -> Vec<Option<usize>> {
    let mut partners = hungarian(cooccurrence);
    for (counts, partner) in cooccurrence.rows().into_iter().zip(&mut partners) {
        *partner = partner.filter(|&partner| counts[partner] > 0);
    }
    partners
}
