//! Loops over single patch vectors, written so that the compiler can vectorize them and so that their
//! result does not depend on the width of the vectors it picks.

use ndarray::ArrayView1;

/// Runs `work` compiled for the widest vector instructions that the machine has.
///
/// Only loops whose result does not depend on the vector width may go in: element-wise ones, and sums
/// over a fixed number of lanes. `work` has to be inlined to profit.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnMut() -> R) -> R {
    // Called through `FnMut`: a closure called through `FnOnce`, as `dispatch` does by itself, goes
    // through a shim that is not always inlined, and then runs as code for the oldest processor.
    struct Vectorized<F>(F);
    impl<R, F: FnMut() -> R> pulp::NullaryFnOnce for Vectorized<F> {
        type Output = R;

        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Vectorized(work))
}

/// Copies a patch vector, whatever its stride.
#[inline(always)]
pub(crate) fn copy(row: ArrayView1<'_, f32>, out: &mut [f32]) {
    match row.as_slice() {
        Some(slice) => out.copy_from_slice(slice),
        None => {
            for (to, &from) in out.iter_mut().zip(row.iter()) {
                *to = from;
            }
        }
    }
}

/// `|row|^2` in f64, over 16 lanes that are then added pairwise. Not finite exactly where an element is
/// not finite (the square of a finite f32 cannot overflow an f64).
#[inline(always)]
pub(crate) fn square_norm(row: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            let value = f64::from(value);
            *lane += value * value;
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        let value = f64::from(value);
        *lane += value * value;
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// `row *= factor`, the product rounded once from f64.
#[inline(always)]
pub(crate) fn scale(row: &mut [f32], factor: f64) {
    for value in row {
        *value = (f64::from(*value) * factor) as f32;
    }
}

/// `sum += row` in f64.
#[inline(always)]
pub(crate) fn add_to(sum: &mut [f64], row: &[f32]) {
    for (total, &value) in sum.iter_mut().zip(row) {
        *total += f64::from(value);
    }
}
