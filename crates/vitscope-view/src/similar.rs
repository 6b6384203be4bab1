//! The cosine of one patch with others.

use ndarray::{ArrayView1, ArrayView2};

/// The cosine of `vector` with every row; none where one of the two has no direction (its length is 0) or is not
/// finite. Products are summed in f64.
///
/// # Shapes
/// `rows` `[N, D]`, `vector` `[D]`; gives `N` values in `[-1, 1]`.
#[must_use]
pub fn cosines(rows: ArrayView2<'_, f32>, vector: ArrayView1<'_, f32>) -> Vec<Option<f32>> {
    let own = square(vector);
    let rows = rows.rows().into_iter();
    let cosine = |row: ArrayView1<'_, f32>| {
        let product: f64 = row
            .iter()
            .zip(vector)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum();
        let cosine = product / (own * square(row)).sqrt();
        cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0) as f32)
    };
    rows.map(cosine).collect()
}

fn square(vector: ArrayView1<'_, f32>) -> f64 {
    vector.iter().map(|&value| f64::from(value).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn cosines_are_those_of_school_and_undefined_where_nothing_points_anywhere() {
        let rows = array![
            [3.0, 4.0],
            [-4.0, 3.0],
            [-6.0, -8.0],
            [0.0, 0.0],
            [1.0, f32::NAN]
        ];
        let found = cosines(rows.view(), array![6.0, 8.0].view());
        assert_eq!(found, [Some(1.0), Some(0.0), Some(-1.0), None, None]);
        // Squares that f32 cannot hold.
        let huge = array![[1e30, 1e30], [1e-30, 0.0]];
        let found = cosines(huge.view(), array![1e30, 0.0].view());
        assert_eq!(found, [Some(0.5_f32.sqrt()), Some(1.0)]);
    }
}
