//! The operations that a forward pass is written with, on the CPU.
//!
//! Each works on plain row-major slices of one image (or one chunk of its rows), so the caller
//! decides what runs in parallel. No result depends on how many threads there are or on which
//! other images share the batch.

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod attention;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod packed;
mod panels;
pub mod patches;
pub mod positions;
pub mod processor;
pub mod product;
pub mod rows;
mod scalar;

/// Whether `rows` rows of `columns` numbers, `stride` apart, lie within so many numbers; strides may be
/// anything.
pub(crate) fn fits([rows, columns]: [usize; 2], stride: usize, len: usize) -> bool {
    rows == 0
        || columns == 0
        || (rows - 1)
            .checked_mul(stride)
            .and_then(|last| last.checked_add(columns))
            .is_some_and(|end| end <= len)
}

/// Whether there are as many numbers as `[outputs, depth]` has in panels of a width.
#[cfg(target_arch = "x86_64")]
pub(crate) fn fills([outputs, depth]: [usize; 2], panel: usize, len: usize) -> bool {
    outputs
        .checked_next_multiple_of(panel)
        .and_then(|outputs| outputs.checked_mul(depth))
        == Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strides whose products wrap around fit nowhere.
    #[test]
    fn nothing_wraps_around() {
        assert!(fits([3, 4], 5, 14) && !fits([3, 4], 5, 13) && fits([0, 4], 5, 0));
        assert!(!fits([5, 1], 1 << 62, 100) && !fits([2, 1], usize::MAX, 100));
        #[cfg(target_arch = "x86_64")]
        assert!(fills([33, 2], 32, 128) && !fills([usize::MAX, 2], 32, 0));
    }

    #[test]
    #[should_panic(expected = "fits its slice")]
    fn a_stride_that_wraps_around_is_refused() {
        let a = product::Mat::rows(&[0.0; 8], 1 << 62);
        let b = product::Mat::rows(&[0.0; 8], 1);
        product::product([5, 1, 1], 1.0, a, b, &mut [0.0; 5], 1);
    }
}
