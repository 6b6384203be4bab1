//! The principal directions of streamed moments, and how many of them the vectors fill (docs/protocol.md sections 3, 14).

use faer::{Mat, Side};
use ndarray::{Array2, ArrayView1};

use crate::ProbeError;
use crate::moments::Moments;

impl Moments {
    /// The principal directions of all vectors, and the variance along each.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Eigen`] if the covariance overflowed or the eigensolver did not converge.
    pub fn principal(&self) -> Result<Principal, ProbeError> {
        let limit = usize::try_from(self.count().saturating_sub(1)).unwrap_or(usize::MAX);
        let mut principal = Principal {
            dim: self.dim(),
            variances: Vec::new(),
            order: Vec::new(),
            vectors: Mat::zeros(self.dim(), 0),
        };
        if limit == 0 {
            return Ok(principal);
        }
        let covariance = self.covariance();
        if !(0..self.dim()).all(|d| covariance[(d, d)].is_finite()) {
            return Err(ProbeError::Eigen);
        }
        let eigen = covariance
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| ProbeError::Eigen)?;
        let (values, vectors) = (eigen.S().column_vector(), eigen.U());
        let mut order: Vec<usize> = (0..self.dim()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        // Variances that f32 products cannot tell from zero (see the module's text).
        let noise = 2.0 * (self.dim() as f64).sqrt() * f64::from(f32::EPSILON);
        let moments = self.second_moments();
        order.retain(|&index| {
            let moment: f64 = (0..self.dim())
                .map(|d| vectors[(d, index)].powi(2) * moments[d])
                .sum();
            values[index] > noise * moment
        });
        order.truncate(limit);
        principal.variances = order.iter().map(|&index| values[index]).collect();
        principal.order = order;
        principal.vectors = vectors.to_owned();
        Ok(principal)
    }

    /// The top principal directions; see [`Principal::directions`].
    ///
    /// # Errors
    ///
    /// Those of [`principal`](Self::principal).
    pub fn principal_directions(&self, k: usize) -> Result<Array2<f64>, ProbeError> {
        Ok(self.principal()?.directions(k))
    }
}

/// The covariance of two projections of the same vectors, by whose sign a component is turned the way its guide rises
/// (docs/protocol.md section 19); not divided by their number.
#[must_use]
pub fn covariance(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    let means = [a, b].map(|values| values.sum() / values.len().max(1) as f64);
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - means[0]) * (b - means[1])).sum()
}

/// The principal directions of some vectors, by falling variance. Directions along which they do not vary beyond
/// rounding are left out, since they would be noise.
///
/// Memory: `8 D^2` bytes.
#[derive(Debug, Clone)]
pub struct Principal {
    dim: usize,
    /// Falling.
    variances: Vec<f64>,
    /// The column of each in `vectors`.
    order: Vec<usize>,
    vectors: Mat<f64>,
}

impl Principal {
    /// Width of the vectors.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The top directions. A direction's sign is free; here its entry of largest magnitude (the first of them on
    /// ties) is positive.
    ///
    /// # Shapes
    ///
    /// `[min(k, D, count - 1), D]`, or fewer rows if the vectors span fewer dimensions.
    #[must_use]
    pub fn directions(&self, k: usize) -> Array2<f64> {
        let count = k.min(self.order.len());
        let mut directions = Array2::zeros((count, self.dim));
        for (mut direction, &index) in directions.rows_mut().into_iter().zip(&self.order) {
            let mut peak = 0.0_f64;
            for (d, entry) in direction.iter_mut().enumerate() {
                *entry = self.vectors[(d, index)];
                if entry.abs() > peak.abs() {
                    peak = *entry;
                }
            }
            if peak < 0.0 {
                direction.mapv_inplace(|entry| -entry);
            }
        }
        directions
    }

    /// Effective rank (docs/protocol.md section 14): `exp(-sum_i p_i ln p_i)`, `p` the singular values of the centered
    /// vectors over their sum, in `[1, D]`; `None` where the vectors do not vary.
    #[must_use]
    pub fn effective_rank(&self) -> Option<f64> {
        // A singular value is the root of a variance, but for a factor that all share.
        let roots: Vec<f64> = self.variances.iter().map(|value| value.sqrt()).collect();
        let total: f64 = roots.iter().sum();
        let entropy = roots.iter().map(|root| root / total).map(|p| -p * p.ln());
        (total > 0.0).then(|| entropy.sum::<f64>().exp())
    }
}
