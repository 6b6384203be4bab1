//! Positional effect: the mutual information of position and class (docs/protocol.md section 8, Eq. 3).
//!
//! From counts `n(p, c)` of class `c` at position `p` over all images, with `P = n / sum n` and natural
//! logarithms,
//!
//! ```text
//! I_c = sum_p P(p,c) log( P(p,c) / (P(p) P(c)) )      I = sum_c I_c
//! H(C) = -sum_c P(c) log P(c)                         NMI = I / H(C)
//! ```
//!
//! `I` is in nats, 0 where class says nothing of position, `H(C)` where the position settles the class.
//! `I_c` is the part of the sum that class `c` holds; it is never negative either: by the log-sum
//! inequality over positions it is at least `P(c) log(P(c) / P(c)) = 0`.
//!
//! `0 log 0 = 0`. `NMI` is undefined where there is but one class. The estimate from finite counts is
//! biased upward; [`Resampling`](crate::Resampling) says by how much.

use ndarray::ArrayView2;
use rayon::prelude::*;

/// The positional effect of a set of label maps, in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct Positional {
    /// Mutual information of position and class; 0 without counts.
    pub mi: f64,
    /// Each class's part of it.
    pub class_mi: Vec<f64>,
    /// Entropy of the classes.
    pub entropy: f64,
    /// `mi / entropy`, in `[0, 1]`; `None` where the entropy is 0.
    pub nmi: Option<f64>,
}

/// The positional effect from counts.
///
/// # Shapes
///
/// `counts`: `[K, positions]`; maps of more axes are flattened by the caller.
///
/// ```
/// use ndarray::array;
/// // Class 0 only at the first position, class 1 only at the second: position settles the class.
/// let result = vitscope_measure::positional(array![[5_u32, 0], [0, 5]].view());
/// assert!((result.mi - 2_f64.ln()).abs() < 1e-12);
/// assert!((result.nmi.unwrap() - 1.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn positional<T: Copy + Into<u64> + Sync>(counts: ArrayView2<'_, T>) -> Positional {
    let (classes, positions) = counts.dim();
    let mut at_position = vec![0_u64; positions];
    let mut of_class = vec![0_u64; classes];
    for (row, total) in counts.rows().into_iter().zip(&mut of_class) {
        for (&count, sum) in row.iter().zip(&mut at_position) {
            let count = count.into();
            *sum += count;
            *total += count;
        }
    }
    let total: u64 = of_class.iter().sum();
    if total == 0 {
        return Positional {
            mi: 0.0,
            class_mi: vec![0.0; classes],
            entropy: 0.0,
            nmi: None,
        };
    }
    let n = total as f64;
    let class_mi: Vec<f64> = (0..classes)
        .into_par_iter()
        .map(|class| {
            // log( P(p,c) / (P(p) P(c)) ) = log( n(p,c) n / (n(p) n(c)) ), exactly log 1 where independent.
            let scale = n / of_class[class] as f64;
            let sum: f64 = counts
                .row(class)
                .iter()
                .zip(&at_position)
                .map(|(&count, &here)| {
                    let count: u64 = count.into();
                    if count == 0 {
                        0.0
                    } else {
                        count as f64 * (count as f64 * scale / here as f64).ln()
                    }
                })
                .sum();
            (sum / n).max(0.0)
        })
        .collect();
    let mi: f64 = class_mi.iter().sum();
    let entropy: f64 = of_class
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| count as f64 / n * (n / count as f64).ln())
        .sum();
    Positional {
        mi,
        class_mi,
        entropy,
        nmi: (entropy > 0.0).then(|| (mi / entropy).min(1.0)),
    }
}
