//! Products with a matrix that is laid out once and used many times.
//!
//! On a processor with AVX-512 a weight is kept as panels of 32 columns, so that the inner
//! loop reads it front to back, and a tile of 12 rows by one panel stays in registers while the
//! whole inner dimension runs past. Measured against packing anew in blocks (`gemm`): 12 % faster
//! on every product of a ViT-B. With [`Precision::Bf16`] two neighbors of the inner dimension
//! share a word and one instruction multiplies both; where there are tile registers (AMX), they do that
//! work. On other processors the `gemm` crate does the
//! work, in f32.
//!
//! Every result is one chain of fused multiply-adds in the order of the inner dimension, whatever
//! rows are computed together.

use super::panels::{PANEL, pair};
use super::processor::{has_bf16, has_wide};
use super::product::{Mat, product};
use crate::config::Precision;

/// The row length to give a buffer of `width` columns that becomes a left operand: rows a power
/// of two apart would compete for the same lines of the cache.
#[must_use]
pub fn padded(width: usize) -> usize {
    width.next_multiple_of(16) + 16
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Packing {
    /// Row-major f32, for `gemm`.
    #[default]
    Rows,
    /// Panels of f32.
    Panels,
    /// Panels of pairs of bf16.
    Pairs,
    /// The same with as many rows as whole tiles have; those that are too many are zero.
    Tiles,
}

/// A matrix `[inputs, outputs]` ready to be multiplied from the left.
#[derive(Debug, Default)]
pub struct Packed {
    /// Bits of f32, or two bf16 with the earlier input in the lower half.
    words: Vec<u32>,
    inputs: usize,
    outputs: usize,
    layout: Packing,
}

/// Whether bf16 products can use tile registers.
fn has_tiles() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        has_bf16() && super::amx::is_here()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Words of so many inputs, in whole tiles.
fn tiled_depth(inputs: usize) -> usize {
    const SIDE: usize = 16;
    inputs.div_ceil(2).next_multiple_of(SIDE)
}

impl Packed {
    /// Lays out a row-major `[inputs, outputs]` matrix.
    ///
    /// # Panics
    /// As [`Self::pack`].
    #[must_use]
    pub fn from_rows(rows: &[f32], inputs: usize, outputs: usize, precision: Precision) -> Self {
        let mut packed = Self::default();
        packed.pack(Mat::rows(rows, outputs), inputs, outputs, precision);
        packed
    }

    /// Number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Lays out another matrix in the same storage.
    ///
    /// # Shapes
    /// `matrix` `[inputs, outputs]`.
    ///
    /// # Panics
    /// When the matrix does not fit its slice, or bf16 is asked of a processor without it, or f16 of any.
    pub fn pack(&mut self, matrix: Mat<'_>, inputs: usize, outputs: usize, precision: Precision) {
        let layout = match precision {
            Precision::Bf16 => {
                assert!(has_bf16(), "this processor has no bf16 products");
                if has_tiles() {
                    Packing::Tiles
                } else {
                    Packing::Pairs
                }
            }
            Precision::F32 if has_wide() => Packing::Panels,
            Precision::F32 => Packing::Rows,
            Precision::F16 => panic!("the CPU has no f16 products"),
        };
        self.lay_out(matrix, inputs, outputs, layout);
    }

    fn lay_out(&mut self, matrix: Mat<'_>, inputs: usize, outputs: usize, layout: Packing) {
        (self.inputs, self.outputs, self.layout) = (inputs, outputs, layout);
        let (panel, depth) = match self.layout {
            Packing::Rows => (outputs.max(1), inputs),
            Packing::Panels => (PANEL, inputs),
            Packing::Pairs => (PANEL, inputs.div_ceil(2)),
            Packing::Tiles => (PANEL, tiled_depth(inputs)),
        };
        self.words.clear();
        self.words
            .resize(outputs.next_multiple_of(panel) * depth, 0);
        let at = |i: usize, j: usize| matrix.data[i * matrix.row_stride + j * matrix.col_stride];
        let panels = self.words.chunks_exact_mut((panel * depth).max(1));
        for (first, words) in (0..outputs).step_by(panel).zip(panels) {
            let columns = panel.min(outputs - first);
            match self.layout {
                Packing::Rows | Packing::Panels if matrix.col_stride == 1 => {
                    for (i, row) in words.chunks_exact_mut(panel).enumerate() {
                        let from = &matrix.data[i * matrix.row_stride + first..][..columns];
                        row[..columns].copy_from_slice(bytemuck::cast_slice(from));
                    }
                }
                // Along the inner dimension, which is the contiguous one of a transposed matrix.
                Packing::Rows | Packing::Panels => {
                    for j in 0..columns {
                        for i in 0..inputs {
                            words[i * panel + j] = at(i, first + j).to_bits();
                        }
                    }
                }
                Packing::Pairs | Packing::Tiles => {
                    super::rows::vectorized(
                        #[inline(always)]
                        || lay_out_pairs(matrix, [inputs, first, columns], words),
                    );
                }
            }
        }
    }

    /// `out = a * self`, serial; then `finish(row, column, values)` for stretches of every row of
    /// `out`, while they are in the nearest cache.
    ///
    /// # Shapes
    /// `a` `[rows, inputs]`, rows `a_stride` apart ([`padded`] is a good choice); `out`
    /// `[rows, outputs]`, rows `out_stride` apart.
    ///
    /// # Panics
    /// When a matrix does not fit its slice.
    #[inline]
    pub fn times(
        &self,
        (a, a_stride): (&[f32], usize),
        rows: usize,
        (out, out_stride): (&mut [f32], usize),
        mut finish: impl FnMut(usize, usize, &mut [f32]),
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        if rows == 0 || outputs == 0 {
            return;
        }
        assert!(a_stride >= inputs && out_stride >= outputs);
        assert!(super::fits([rows, inputs], a_stride, a.len()));
        assert!(super::fits([rows, outputs], out_stride, out.len()));
        match self.layout {
            Packing::Rows => {
                let weight: &[f32] = bytemuck::cast_slice(&self.words);
                let (a, b) = (Mat::rows(a, a_stride), Mat::rows(weight, outputs));
                product([rows, inputs, outputs], 1.0, a, b, out, out_stride);
                super::rows::vectorized(
                    #[inline(always)]
                    || {
                        for (row, out) in out.chunks_mut(out_stride).take(rows).enumerate() {
                            finish(row, 0, &mut out[..outputs]);
                        }
                    },
                );
            }
            #[cfg(target_arch = "x86_64")]
            Packing::Panels => {
                let a = bytemuck::cast_slice(a);
                super::avx512::times_f32(
                    &self.words,
                    [rows, inputs, outputs],
                    (a, a_stride),
                    (out, out_stride),
                    finish,
                );
            }
            #[cfg(target_arch = "x86_64")]
            Packing::Pairs => {
                let depth = inputs.div_ceil(2);
                let stride = padded(depth);
                PAIRS.with_borrow_mut(|words| {
                    if words.len() < rows * stride {
                        words.resize(rows * stride, 0);
                    }
                    super::avx512::to_pairs((a, a_stride), [rows, inputs], (words, stride));
                    super::avx512::times_bf16(
                        &self.words,
                        [rows, depth, outputs],
                        (words, stride),
                        (out, out_stride),
                        finish,
                    );
                });
            }
            #[cfg(target_arch = "x86_64")]
            Packing::Tiles => self.tile(
                (a, a_stride),
                rows,
                #[inline(always)]
                |row, column, values| {
                    finish(row, column, values);
                    let out = &mut out[row * out_stride + column..];
                    match (
                        out.first_chunk_mut::<PANEL>(),
                        values.first_chunk::<PANEL>(),
                    ) {
                        (Some(out), Some(values)) => *out = *values,
                        _ => out[..values.len()].copy_from_slice(values),
                    }
                },
            ),
            #[cfg(not(target_arch = "x86_64"))]
            Packing::Panels | Packing::Pairs | Packing::Tiles => {
                unreachable!("only laid out where AVX-512 is")
            }
        }
    }
}

impl Packed {
    /// [`Self::times`] for a caller to whom the stretches that `take` gets are enough: what `room`
    /// (`[rows, outputs]`, rows `stride` apart) holds afterwards is not defined.
    ///
    /// # Panics
    /// When a matrix does not fit its slice.
    #[inline]
    pub fn pass(
        &self,
        a: (&[f32], usize),
        rows: usize,
        room: (&mut [f32], usize),
        take: impl FnMut(usize, usize, &mut [f32]),
    ) {
        #[cfg(target_arch = "x86_64")]
        if self.takes_words() && rows > 0 && self.outputs > 0 {
            assert!(a.1 >= self.inputs && super::fits([rows, self.inputs], a.1, a.0.len()));
            return self.tile(a, rows, take);
        }
        self.times(a, rows, room, take);
    }

    /// Whether a left operand may be words, with [`Self::pass_words`].
    #[must_use]
    pub fn takes_words(&self) -> bool {
        self.layout == Packing::Tiles
    }

    /// Words in a row of a left operand, for [`Self::pass_words`].
    #[must_use]
    pub fn word_stride(&self) -> usize {
        padded(tiled_depth(self.inputs))
    }

    /// [`Self::pass`] for a left operand of words that [`put_words`] has made. Changes the words that no
    /// input has.
    ///
    /// # Shapes
    /// `words` `[rows, inputs / 2 rounded up]`, rows [`Self::word_stride`] apart.
    ///
    /// # Panics
    /// When the matrix does not fit its slice, or words are not taken.
    #[inline]
    pub fn pass_words(
        &self,
        words: &mut [u32],
        rows: usize,
        take: impl FnMut(usize, usize, &mut [f32]),
    ) {
        assert!(self.takes_words(), "these weights are laid out for numbers");
        let (depth, stride) = (tiled_depth(self.inputs), self.word_stride());
        // What an earlier product left there may be no number at all.
        for words in words.chunks_mut(stride).take(rows) {
            words[self.inputs.div_ceil(2)..depth].fill(0);
        }
        #[cfg(target_arch = "x86_64")]
        super::amx::times(
            &self.words,
            [rows, depth, self.outputs],
            (words, stride),
            take,
        );
        #[cfg(not(target_arch = "x86_64"))]
        let _ = take;
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn tile(&self, a: (&[f32], usize), rows: usize, take: impl FnMut(usize, usize, &mut [f32])) {
        let stride = self.word_stride();
        PAIRS.with_borrow_mut(|words| {
            if words.len() < rows * stride {
                words.resize(rows * stride, 0);
            }
            let words = &mut words[..rows * stride];
            super::avx512::to_pairs(a, [rows, self.inputs], (&mut *words, stride));
            self.pass_words(words, rows, take);
        });
    }
}

/// Rounds numbers to bf16, as words of a left operand: an even number of them, except at the end of a
/// row.
///
/// # Panics
/// Without bf16 products, or when there is no room.
#[inline(always)]
pub fn put_words(numbers: &[f32], words: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    {
        let (count, stride) = (numbers.len(), words.len());
        super::avx512::to_pairs((numbers, count), [1, count], (words, stride));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (numbers, words);
}

#[cfg(target_arch = "x86_64")]
thread_local! {
    static PAIRS: std::cell::RefCell<Vec<u32>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// One panel of pairs: `columns` columns of a matrix from `first` on, in rows of [`PANEL`] words.
#[inline(always)]
fn lay_out_pairs(matrix: Mat<'_>, [inputs, first, columns]: [usize; 3], words: &mut [u32]) {
    let Mat {
        data,
        row_stride,
        col_stride,
    } = matrix;
    if col_stride == 1 {
        let row = |i: usize| &data[i * row_stride + first..][..columns];
        for (i, words) in words.chunks_exact_mut(PANEL).take(inputs / 2).enumerate() {
            for ((word, &low), &high) in words.iter_mut().zip(row(2 * i)).zip(row(2 * i + 1)) {
                *word = pair(low, high);
            }
        }
        if inputs % 2 == 1 {
            let words = &mut words[inputs / 2 * PANEL..][..PANEL];
            for (word, &low) in words.iter_mut().zip(row(inputs - 1)) {
                *word = pair(low, 0.0);
            }
        }
        return;
    }
    for j in 0..columns {
        // Along the inner dimension, which is the contiguous one of a transposed matrix: some words at
        // a time, so that they are made side by side before they go to their rows.
        const STRETCH: usize = 16;
        let column = &data[(first + j) * col_stride..];
        for start in (0..inputs).step_by(2 * STRETCH) {
            let count = (inputs - start).min(2 * STRETCH);
            let mut pairs = [[0.0_f32; 2]; STRETCH];
            if row_stride == 1 {
                pairs.as_flattened_mut()[..count].copy_from_slice(&column[start..start + count]);
            } else {
                for (i, value) in pairs.as_flattened_mut()[..count].iter_mut().enumerate() {
                    *value = column[(start + i) * row_stride];
                }
            }
            let made = pairs.map(|[low, high]| pair(low, high));
            for (i, word) in made.into_iter().take(count.div_ceil(2)).enumerate() {
                words[(start / 2 + i) * PANEL + j] = word;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vitscope_testkit::left_out;

    use super::*;

    /// Small integers, so that every order of summation gives the same exact result, in bf16 too.
    fn equals_the_definition(layout: Packing) {
        for (rows, inputs, outputs) in [
            (1, 1, 1),
            (12, 7, 32),
            (13, 1025, 33),
            (97, 40, 16),
            (5, 2050, 17),
            (110, 3, 95),
            (0, 4, 4),
            (23, 64, 401),
        ] {
            let (a_stride, out_stride) = (inputs + 2, outputs + 3);
            let a: Vec<f32> = (0..rows * a_stride)
                .map(|i| (i * 37 % 11) as f32 - 5.0)
                .collect();
            let b: Vec<f32> = (0..inputs * outputs)
                .map(|i| (i * 53 % 13) as f32 - 6.0)
                .collect();
            let mut packed = Packed::default();
            packed.lay_out(Mat::rows(&b, outputs), inputs, outputs, layout);
            let mut out = vec![f32::NAN; rows * out_stride];
            packed.times(
                (&a, a_stride),
                rows,
                (&mut out, out_stride),
                |row, column, values| {
                    for (j, value) in values.iter_mut().enumerate() {
                        *value += (1000 * row + column + j) as f32;
                    }
                },
            );
            for i in 0..rows {
                for j in 0..out_stride {
                    let got = out[i * out_stride + j];
                    if j >= outputs {
                        assert!(got.is_nan(), "nothing is written beyond the columns");
                        continue;
                    }
                    let want: f32 = (0..inputs)
                        .map(|p| a[i * a_stride + p] * b[p * outputs + j])
                        .sum();
                    let want = want + (1000 * i + j) as f32;
                    assert_eq!(got, want, "{rows} {inputs} {outputs} at {i} {j}");
                }
            }
        }
    }

    #[test]
    fn f32_equals_the_definition_at_every_remainder() {
        equals_the_definition(Packing::Rows);
        if has_wide() {
            equals_the_definition(Packing::Panels);
        } else {
            left_out("products of AVX-512", "this processor has none");
        }
    }

    #[test]
    fn bf16_equals_the_definition_at_every_remainder() {
        if has_bf16() {
            equals_the_definition(Packing::Pairs);
        } else {
            left_out("bf16 on the processor", "it has no bf16 products");
        }
        if has_tiles() {
            equals_the_definition(Packing::Tiles);
        } else {
            left_out("tile registers (AMX)", "this processor has none");
        }
    }

    #[test]
    fn a_transposed_matrix_is_packed_as_such() {
        let b: Vec<f32> = (0..5 * 7).map(|i| i as f32).collect();
        let mut packed = Packed::default();
        for precision in [Precision::F32, Precision::Bf16] {
            if precision == Precision::Bf16 && !has_bf16() {
                continue;
            }
            packed.pack(Mat::rows(&b, 7).t(), 7, 5, precision);
            let a = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0];
            let mut out = [0.0; 5];
            packed.times((&a, 7), 1, (&mut out, 5), |_, _, _| ());
            assert_eq!(out, [12.0, 33.0, 54.0, 75.0, 96.0]);
        }
    }

    /// The processor's own rounding is the one told here, at every remainder.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn rows_are_rounded_as_single_numbers_are() {
        if !has_bf16() {
            return;
        }
        for inputs in [1_usize, 2, 31, 32, 33, 64, 95] {
            let (rows, stride) = (3, inputs.div_ceil(2) + 3);
            let a: Vec<f32> = (0..rows * inputs)
                .map(|i| (i as f32 - 90.0) * 1.003_906_3 / 7.0)
                .collect();
            let mut words = vec![7; rows * stride];
            let to = (&mut words[..], stride);
            super::super::avx512::to_pairs((&a, inputs), [rows, inputs], to);
            for (words, a) in words.chunks(stride).zip(a.chunks(inputs)) {
                let mut want: Vec<u32> = a
                    .chunks(2)
                    .map(|p| pair(p[0], p.get(1).copied().unwrap_or(0.0)))
                    .collect();
                want.resize(stride, 7);
                assert_eq!(words, want);
            }
        }
    }
}
