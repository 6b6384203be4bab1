//! Matrix products: the one place that calls the `gemm` crate.
#![expect(
    unsafe_code,
    reason = "gemm takes pointers; every access is bounded by the asserts below"
)]

/// A read-only matrix inside a slice: element `(i, j)` lies at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    /// The storage.
    pub data: &'a [f32],
    /// Distance between rows, in elements.
    pub row_stride: usize,
    /// Distance between columns, in elements.
    pub col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A row-major matrix whose rows are `row_stride` apart.
    #[must_use]
    pub fn rows(data: &'a [f32], row_stride: usize) -> Self {
        Self {
            data,
            row_stride,
            col_stride: 1,
        }
    }

    /// The transpose, without moving anything.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0
            || cols == 0
            || (rows - 1)
                .checked_mul(self.row_stride)
                .zip((cols - 1).checked_mul(self.col_stride))
                .and_then(|(row, col)| row.checked_add(col))
                .is_some_and(|last| last < self.data.len())
    }
}

/// `out = alpha * a b`, serial. `out` is `[m, n]` row-major with rows `out_stride` apart.
///
/// # Shapes
/// `a` `[m, k]`, `b` `[k, n]`.
///
/// # Panics
/// When a matrix does not fit its slice.
pub fn product(
    [m, k, n]: [usize; 3],
    alpha: f32,
    a: Mat<'_>,
    b: Mat<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    assert!(
        out_stride >= n && a.holds(m, k) && b.holds(k, n),
        "a factor fits its slice"
    );
    assert!(
        super::fits([m, n], out_stride, out.len()),
        "the product fits its slice"
    );
    let stride = |s: usize| isize::try_from(s).expect("a slice is shorter than isize::MAX");
    // SAFETY: the asserts bound every element that gemm reads or writes, and `out` is borrowed
    // exclusively, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride(out_stride),
            false,
            a.data.as_ptr(),
            stride(a.col_stride),
            stride(a.row_stride),
            b.data.as_ptr(),
            stride(b.col_stride),
            stride(b.row_stride),
            0.0,
            alpha,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_definition_for_strided_and_transposed_operands() {
        let a: Vec<f32> = (0..7 * 9).map(|i| (i * 37 % 11) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..6 * 8).map(|i| (i * 53 % 13) as f32 - 6.0).collect();
        let mut out = vec![f32::NAN; 7 * 10];
        // a: 7 rows of 8 used columns, 9 apart. b: the transpose of 6 x 8.
        product(
            [7, 8, 6],
            0.5,
            Mat::rows(&a, 9),
            Mat::rows(&b, 8).t(),
            &mut out,
            10,
        );
        for i in 0..7 {
            for j in 0..6 {
                let want: f32 = (0..8).map(|p| a[i * 9 + p] * b[j * 8 + p]).sum::<f32>() * 0.5;
                assert!((out[i * 10 + j] - want).abs() < 1e-5);
            }
        }
    }
}
