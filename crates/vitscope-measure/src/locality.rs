//! Locality bias of attention (docs/protocol.md section 9; paper 3.3.1).
//!
//! A matrix of attention weights (rows queries, columns keys), restricted to patch tokens, is read as a
//! joint distribution of key and query, `P(k,q) = M / sum M`, and
//!
//! ```text
//! I(K,Q) = sum P(k,q) log( P(k,q) / (P(k) P(q)) )       in nats, between 0 and log n
//! ```
//!
//! `log n`: every query attends to one key of its own. 0: all queries attend alike, so that all rows are
//! multiples of each other ("barcode").

use ndarray::{Array2, ArrayView2, ArrayView3};

use crate::MeasureError;

/// The mutual information of keys and queries of one attention matrix, in nats.
///
/// `None` where the patch tokens have no weight at all.
///
/// # Shapes
///
/// `attention`: `[T, T]` with `prefix` prefix tokens (class, registers) first, which are left out.
///
/// # Errors
///
/// [`MeasureError::Shape`] if the matrix is not square or not larger than the prefix;
/// [`MeasureError::Value`] if a weight is negative or not finite.
///
/// ```
/// use ndarray::Array2;
/// let own = vitscope_measure::locality(Array2::<f32>::eye(9).view(), 0)?;
/// assert!((own.unwrap() - 9_f64.ln()).abs() < 1e-12);
/// # Ok::<(), vitscope_measure::MeasureError>(())
/// ```
pub fn locality<T: Copy + Into<f64>>(
    attention: ArrayView2<'_, T>,
    prefix: usize,
) -> Result<Option<f64>, MeasureError> {
    let (queries, keys) = attention.dim();
    crate::error::check("number of keys", queries, keys)?;
    if queries <= prefix {
        return Err(MeasureError::Shape {
            what: "number of tokens",
            expected: prefix + 1,
            got: queries,
        });
    }
    let patches = attention.slice(ndarray::s![prefix.., prefix..]);
    let n = queries - prefix;
    let mut of_query = vec![0.0_f64; n];
    let mut of_key = vec![0.0_f64; n];
    let mut valid = true;
    for (row, query) in patches.rows().into_iter().zip(&mut of_query) {
        for (&weight, key) in row.iter().zip(&mut of_key) {
            let weight: f64 = weight.into();
            valid &= weight >= 0.0;
            *query += weight;
            *key += weight;
        }
    }
    let total: f64 = of_query.iter().sum();
    if !valid || !total.is_finite() {
        return Err(MeasureError::Value {
            what: "attention weights",
        });
    }
    if total == 0.0 {
        return Ok(None);
    }
    let mut information = 0.0;
    for (row, &query) in patches.rows().into_iter().zip(&of_query) {
        // log( P / (P(k) P(q)) ) = log( M total / (M(k) M(q)) )
        let scale = total / query;
        let mut sum = 0.0;
        for (&weight, &key) in row.iter().zip(&of_key) {
            let weight: f64 = weight.into();
            if weight > 0.0 {
                sum += weight * (weight * scale / key).ln();
            }
        }
        information += sum;
    }
    Ok(Some((information / total).max(0.0)))
}

/// The mean of the heads' attention matrices, in f64.
///
/// # Shapes
///
/// `attention`: `[heads, T, T]`; the result is `[T, T]`, zero without heads.
#[must_use]
pub fn mean_over_heads<T: Copy + Into<f64>>(attention: ArrayView3<'_, T>) -> Array2<f64> {
    let (heads, queries, keys) = attention.dim();
    let mut mean = Array2::<f64>::zeros((queries, keys));
    for head in attention.outer_iter() {
        mean.zip_mut_with(&head, |total, &weight| *total += weight.into());
    }
    if heads > 0 {
        mean /= heads as f64;
    }
    mean
}
