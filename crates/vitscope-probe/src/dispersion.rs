//! How far the clusters of a sample of patch vectors lie apart, and how wide each is (docs/protocol.md section 14).
//!
//! With the vectors at unit length, `Z_j` those whose nearest centroid is `j`, `N_j` their number and `m_j` their mean,
//! over the `k` clusters with at least two vectors:
//!
//! ```text
//! inter = (1/k) sum_j min_{i != j} |m_j - m_i|
//! intra = (1/k) sum_j ( sum of the singular values of Z_j less m_j ) / (N_j - 1)
//! ```
//!
//! These are two of the three parts of the dense representation structure estimator of arXiv 2510.17299; the third
//! is the effective rank of [`Principal`](crate::Principal).

use faer::{Mat, Side};
use ndarray::{ArrayView1, ArrayView2};

/// Two parts of the estimator, of unit vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dispersion {
    /// Mean distance of a cluster's mean to the nearest other one, in `[0, 2]`.
    pub inter: f64,
    /// Mean over clusters of the sum of singular values of a cluster, over its size less one.
    pub intra: f64,
}

impl Dispersion {
    /// The parts for a sample of vectors in the clusters of a codebook. Vectors of length zero are left out; of equal
    /// cosines the lower cluster counts. `None` with fewer than two clusters of at least two vectors.
    ///
    /// # Shapes
    /// `sample`: `[n, D]`; `codebook`: `[K, D]`.
    ///
    /// # Panics
    /// When the widths differ.
    #[must_use]
    pub fn of(sample: ArrayView2<'_, f32>, codebook: ArrayView2<'_, f32>) -> Option<Self> {
        assert_eq!(sample.ncols(), codebook.ncols(), "vectors of another width");
        let mut clusters: Vec<Vec<Vec<f64>>> = vec![Vec::new(); codebook.nrows()];
        for row in sample.rows() {
            if let Some(unit) = unit(row) {
                clusters[nearest(&unit, &codebook)].push(unit);
            }
        }
        clusters.retain(|cluster| cluster.len() > 1);
        if clusters.len() < 2 {
            return None;
        }
        let means: Vec<Vec<f64>> = clusters.iter().map(|cluster| mean(cluster)).collect();
        let count = clusters.len() as f64;
        let apart = means.iter().enumerate().map(|(own, mean)| {
            let others = means.iter().enumerate().filter(|(other, _)| *other != own);
            let distances = others.map(|(_, other)| square_distance(mean, other).sqrt());
            distances.fold(f64::INFINITY, f64::min)
        });
        let inter = apart.sum::<f64>() / count;
        let mut intra = 0.0;
        for (mut cluster, mean) in clusters.into_iter().zip(&means) {
            for vector in &mut cluster {
                for (value, mean) in vector.iter_mut().zip(mean) {
                    *value -= mean;
                }
            }
            intra += nuclear_norm(&cluster)? / (cluster.len() - 1) as f64;
        }
        Some(Self {
            inter,
            intra: intra / count,
        })
    }
}

fn unit(row: ArrayView1<'_, f32>) -> Option<Vec<f64>> {
    let row: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
    let norm = dot(&row, &row).sqrt();
    (norm > 0.0).then(|| row.iter().map(|value| value / norm).collect())
}

fn nearest(unit: &[f64], codebook: &ArrayView2<'_, f32>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (cluster, centroid) in codebook.rows().into_iter().enumerate() {
        let terms = unit.iter().zip(centroid);
        let cosine: f64 = terms.map(|(&x, &c)| x * f64::from(c)).sum();
        if cosine > best.1 {
            best = (cluster, cosine);
        }
    }
    best.0
}

fn mean(vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors[0].len()];
    for vector in vectors {
        for (total, value) in sum.iter_mut().zip(vector) {
            *total += value;
        }
    }
    let count = vectors.len() as f64;
    sum.iter().map(|total| total / count).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The sum of the singular values of a matrix of these rows: of the square roots of the eigenvalues of their products.
/// `None` where the eigensolver does not converge.
fn nuclear_norm(rows: &[Vec<f64>]) -> Option<f64> {
    // The smaller of the two products has the same eigenvalues but for zeros.
    let width = rows[0].len();
    let products = match rows.len() <= width {
        true => Mat::from_fn(rows.len(), rows.len(), |i, j| dot(&rows[i], &rows[j])),
        false => Mat::from_fn(width, width, |i, j| {
            rows.iter().map(|row| row[i] * row[j]).sum()
        }),
    };
    let values = products.self_adjoint_eigenvalues(Side::Lower).ok()?;
    Some(values.into_iter().map(|value| value.max(0.0).sqrt()).sum())
}
