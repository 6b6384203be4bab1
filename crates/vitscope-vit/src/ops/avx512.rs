//! The product kernels of [`super::packed`] for processors with AVX-512.
#![expect(
    unsafe_code,
    reason = "SIMD loads and stores through pointers; the asserts of the safe functions bound them"
)]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _MM_HINT_T0, _mm_prefetch, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_mask_storeu_ps, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_si512,
};
use std::mem::transmute;

use super::panels::{PANEL, pair};
use super::processor::has_bf16;

/// Rows of a tile: with two registers each, 24 of the 32 hold results.
const TILE: usize = 12;

/// `out = a * panels` in f32. `a` holds the bits of f32.
///
/// # Shapes
/// `panels` `[outputs / 32, inputs, 32]`, `a` `[rows, inputs]`, `out` `[rows, outputs]`, the last
/// two with their strides.
///
/// # Panics
/// When a matrix does not fit its slice, or without AVX-512F.
#[inline]
pub fn times_f32(
    panels: &[u32],
    shape: [usize; 3],
    a: (&[u32], usize),
    out: (&mut [f32], usize),
    finish: impl FnMut(usize, usize, &mut [f32]),
) {
    assert!(std::arch::is_x86_feature_detected!("avx512f"));
    assert_fits(panels, shape, a, (&*out.0, out.1));
    // SAFETY: the processor has the instructions and every matrix fits its slice.
    unsafe { drive_f32(panels, shape, a, out, finish) }
}

/// `out = a * panels` with bf16 factors, two per word, added up in f32.
///
/// # Shapes
/// `panels` `[outputs / 32, depth, 32]`, `a` `[rows, depth]`, `out` `[rows, outputs]`, the last
/// two with their strides; `depth` counts words.
///
/// # Panics
/// When a matrix does not fit its slice, or without AVX-512-BF16.
#[inline]
pub fn times_bf16(
    panels: &[u32],
    shape: [usize; 3],
    a: (&[u32], usize),
    out: (&mut [f32], usize),
    finish: impl FnMut(usize, usize, &mut [f32]),
) {
    assert!(has_bf16());
    assert_fits(panels, shape, a, (&*out.0, out.1));
    // SAFETY: the processor has the instructions and every matrix fits its slice.
    unsafe { drive_bf16(panels, shape, a, out, finish) }
}

/// Rounds rows to bf16, two neighbors to a word; an odd last one is paired with zero.
///
/// # Shapes
/// `a` `[rows, inputs]`, `words` `[rows, inputs / 2 rounded up]`, each with its stride.
///
/// # Panics
/// Without AVX-512-BF16.
pub fn to_pairs(
    (a, a_stride): (&[f32], usize),
    [rows, inputs]: [usize; 2],
    (words, stride): (&mut [u32], usize),
) {
    assert!(has_bf16());
    for (words, a) in words.chunks_mut(stride).zip(a.chunks(a_stride)).take(rows) {
        // SAFETY: the processor has the instructions.
        unsafe { row_to_pairs(&a[..inputs], words) };
    }
}

/// [`to_pairs`] for one row.
///
/// # Safety
/// The processor has AVX-512-BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn row_to_pairs(a: &[f32], words: &mut [u32]) {
    let (wide, rest) = a.as_chunks::<32>();
    let (front, back) = words.split_at_mut(wide.len() * 16);
    for (words, a) in front.as_chunks_mut::<16>().0.iter_mut().zip(wide) {
        // SAFETY: 32 numbers are read and 16 words written.
        unsafe {
            let low = _mm512_loadu_ps(a.as_ptr());
            let high = _mm512_loadu_ps(a.as_ptr().add(16));
            let pairs: __m512i = transmute(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(words.as_mut_ptr().cast(), pairs);
        }
    }
    let (pairs, odd) = rest.as_chunks::<2>();
    for (word, &[low, high]) in back.iter_mut().zip(pairs) {
        *word = pair(low, high);
    }
    if let [last] = odd {
        back[pairs.len()] = pair(*last, 0.0);
    }
}

fn assert_fits(
    panels: &[u32],
    [rows, depth, outputs]: [usize; 3],
    (a, a_stride): (&[u32], usize),
    (out, out_stride): (&[f32], usize),
) {
    assert!(rows > 0 && outputs > 0 && a_stride >= depth && out_stride >= outputs);
    assert!(super::fits([rows, depth], a_stride, a.len()));
    assert!(super::fits([rows, outputs], out_stride, out.len()));
    assert!(super::fills([outputs, depth], PANEL, panels.len()));
}

/// # Safety
/// As [`times_f32`] asserts.
#[target_feature(enable = "avx512f")]
unsafe fn drive_f32(
    panels: &[u32],
    shape: [usize; 3],
    a: (&[u32], usize),
    out: (&mut [f32], usize),
    finish: impl FnMut(usize, usize, &mut [f32]),
) {
    // SAFETY: passed on.
    unsafe { drive(panels, shape, a, out, tile_f32, finish) }
}

/// # Safety
/// As [`times_bf16`] asserts.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn drive_bf16(
    panels: &[u32],
    shape: [usize; 3],
    a: (&[u32], usize),
    out: (&mut [f32], usize),
    finish: impl FnMut(usize, usize, &mut [f32]),
) {
    // SAFETY: passed on.
    unsafe { drive(panels, shape, a, out, tile_bf16, finish) }
}

/// One tile: `rows` rows of `a` times one panel.
#[derive(Clone, Copy)]
struct Task {
    depth: usize,
    a: *const u32,
    a_stride: usize,
    panel: *const u32,
    out: *mut f32,
    out_stride: usize,
    masks: [__mmask16; 2],
}

/// Every panel in turn, and for each all rows: the panel stays near while the rows run past.
///
/// # Safety
/// The matrices fit their slices.
#[inline(always)]
unsafe fn drive(
    panels: &[u32],
    [rows, depth, outputs]: [usize; 3],
    (a, a_stride): (&[u32], usize),
    (out, out_stride): (&mut [f32], usize),
    tile: unsafe fn(usize, Task),
    mut finish: impl FnMut(usize, usize, &mut [f32]),
) {
    let out = out.as_mut_ptr();
    for first in (0..outputs).step_by(PANEL) {
        let columns = PANEL.min(outputs - first);
        let masks = [mask(columns), mask(columns.saturating_sub(16))];
        for row in (0..rows).step_by(TILE) {
            let tile_rows = TILE.min(rows - row);
            // SAFETY: `row < rows` and `first < outputs`, so every offset stays inside its slice.
            let task = unsafe {
                Task {
                    depth,
                    a: a.as_ptr().add(row * a_stride),
                    a_stride,
                    panel: panels.as_ptr().add(first * depth),
                    out: out.add(row * out_stride + first),
                    out_stride,
                    masks,
                }
            };
            // SAFETY: the caller chose the tile that the processor can do.
            unsafe { tile(tile_rows, task) };
            for i in row..row + tile_rows {
                // SAFETY: a stretch of row `i` of `out`, to which nothing else points now.
                let values = unsafe {
                    std::slice::from_raw_parts_mut(out.add(i * out_stride + first), columns)
                };
                // A length that the compiler knows makes the common case one stretch of SIMD code.
                match <&mut [f32; PANEL]>::try_from(values) {
                    Ok(values) => finish(i, first, values),
                    Err(_) => {
                        // SAFETY: as above; the first borrow has ended.
                        let values = unsafe {
                            std::slice::from_raw_parts_mut(out.add(i * out_stride + first), columns)
                        };
                        finish(i, first, values);
                    }
                }
            }
        }
    }
}

/// The first `columns` of sixteen lanes.
fn mask(columns: usize) -> __mmask16 {
    if columns >= 16 {
        !0
    } else {
        (1 << columns) - 1
    }
}

/// Rows of a panel that are called for ahead of their use: a panel is longer than the nearest cache, and
/// on Intel's processors waiting for it cost a sixth of a pass.
const AHEAD: usize = 24;

/// Defines a tile: `R` rows by one panel, results in registers until the inner dimension has run
/// past, and the function that picks `R`.
macro_rules! tile {
    ($tile:ident, $rows:ident, $features:literal, $step:expr) => {
        /// # Safety
        /// The processor has the instructions, and the matrices of `task` hold its rows, `depth`
        /// words and the masked columns.
        #[target_feature(enable = $features)]
        unsafe fn $tile(rows: usize, task: Task) {
            // SAFETY: passed on.
            unsafe {
                match rows {
                    12 => $rows::<12>(task),
                    11 => $rows::<11>(task),
                    10 => $rows::<10>(task),
                    9 => $rows::<9>(task),
                    8 => $rows::<8>(task),
                    7 => $rows::<7>(task),
                    6 => $rows::<6>(task),
                    5 => $rows::<5>(task),
                    4 => $rows::<4>(task),
                    3 => $rows::<3>(task),
                    2 => $rows::<2>(task),
                    _ => $rows::<1>(task),
                }
            }
        }

        #[target_feature(enable = $features)]
        unsafe fn $rows<const R: usize>(task: Task) {
            let mut sums: [[__m512; 2]; R] = [[_mm512_setzero_ps(); 2]; R];
            // SAFETY: as the caller promises; a word and an f32 have one size.
            unsafe {
                for p in 0..task.depth {
                    let soon = task.panel.wrapping_add((p + AHEAD) * PANEL).cast::<i8>();
                    _mm_prefetch::<_MM_HINT_T0>(soon);
                    _mm_prefetch::<_MM_HINT_T0>(soon.wrapping_add(64));
                    let b = [
                        _mm512_loadu_ps(task.panel.add(p * PANEL).cast()),
                        _mm512_loadu_ps(task.panel.add(p * PANEL + 16).cast()),
                    ];
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let word = *task.a.add(i * task.a_stride + p);
                        let x = _mm512_castsi512_ps(_mm512_set1_epi32(word.cast_signed()));
                        sums[0] = $step(sums[0], x, b[0]);
                        sums[1] = $step(sums[1], x, b[1]);
                    }
                }
                for (i, sums) in sums.iter().enumerate() {
                    let out = task.out.add(i * task.out_stride);
                    _mm512_mask_storeu_ps(out, task.masks[0], sums[0]);
                    _mm512_mask_storeu_ps(out.wrapping_add(16), task.masks[1], sums[1]);
                }
            }
        }
    };
}

tile!(tile_f32, rows_f32, "avx512f", |sum, x, b| _mm512_fmadd_ps(
    x, b, sum
));
tile!(tile_bf16, rows_bf16, "avx512f,avx512bf16", |sum, x, b| {
    _mm512_dpbf16_ps(sum, pairs(x), pairs(b))
});

/// The same 512 bits, seen as 32 bf16.
#[target_feature(enable = "avx512f")]
#[inline]
fn pairs(x: __m512) -> __m512bh {
    // SAFETY: both are 512 bits, and any bits are both.
    unsafe { transmute(_mm512_castps_si512(x)) }
}
