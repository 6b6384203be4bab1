//! The bf16 product kernel of [`super::packed`] for processors with AMX, whose tile registers multiply
//! 16 x 32 by 32 x 16 numbers in one instruction.
//!
//! Rust has no stable intrinsics for tiles yet, so the instructions are written as assembly.
#![expect(
    unsafe_code,
    reason = "tiles are loaded and stored through pointers; the asserts of the safe function bound them"
)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

use super::panels::PANEL;
use super::processor::has_bf16;

/// Rows of a tile, and words of one of its rows: a word is two bf16, or one f32.
pub const SIDE: usize = 16;

/// Rows that are computed together: two tiles below one another.
const ROWS: usize = 2 * SIDE;

/// Whether this processor has tiles of bf16, and the system lets this process use them. The first call
/// asks for that.
#[must_use]
pub fn is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        const TILES_OF_BF16: u32 = 1 << 22;
        const TILES: u32 = 1 << 24;
        let has = |flags| __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & flags == flags;
        has(TILES_OF_BF16 | TILES) && ask_system()
    })
}

/// Asks Linux for the use of tile registers, which it gives to a whole process at a time.
#[cfg(target_os = "linux")]
fn ask_system() -> bool {
    const ARCH_PRCTL: isize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let answer: isize;
    // SAFETY: this call changes nothing but what the process may use; it clobbers what is named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

#[cfg(not(target_os = "linux"))]
fn ask_system() -> bool {
    false
}

/// What the tile registers are: two rows of two results, two tiles of the left factor, two of the
/// right one.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// For so many rows in the upper and in the lower tiles, from 1 to 16.
    fn new([upper, lower]: [usize; 2]) -> Self {
        let mut config = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let rows = [upper, upper, lower, lower, upper, lower, SIDE, SIDE];
        for (tile, rows) in rows.into_iter().enumerate() {
            config.row_bytes[tile] = 64;
            config.rows[tile] = rows as u8;
        }
        config
    }

    /// Makes the tile registers so.
    ///
    /// # Safety
    /// The processor has tiles and the system lets this process use them.
    unsafe fn load(&self) {
        // SAFETY: 64 bytes of a valid description.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                config = in(reg) std::ptr::from_ref(self),
                options(nostack, readonly),
            );
        }
    }
}

/// `a * panels` with bf16 factors, two per word, added up in f32. Stretches of every row are handed to
/// `take`, with their row and first column, and kept nowhere else.
///
/// # Shapes
/// `panels` `[outputs / 32, depth, 32]`, `a` `[rows, depth]` with its stride; `depth` counts words and is
/// a multiple of 16.
///
/// # Panics
/// When a matrix does not fit its slice, or without AMX.
#[inline]
pub fn times(
    panels: &[u32],
    [rows, depth, outputs]: [usize; 3],
    (a, a_stride): (&[u32], usize),
    take: impl FnMut(usize, usize, &mut [f32]),
) {
    assert!(is_here() && has_bf16());
    assert!(rows > 0 && outputs > 0 && depth > 0 && depth.is_multiple_of(SIDE));
    assert!(a_stride >= depth && super::fits([rows, depth], a_stride, a.len()));
    assert!(super::fills([outputs, depth], PANEL, panels.len()));
    // SAFETY: the processor has the instructions.
    unsafe { drive(panels, [rows, depth, outputs], (a, a_stride), take) };
}

/// [`times`], in which `take` is compiled for the widest vectors.
///
/// # Safety
/// As [`times`] asserts.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn drive(
    panels: &[u32],
    [rows, depth, outputs]: [usize; 3],
    (a, a_stride): (&[u32], usize),
    mut take: impl FnMut(usize, usize, &mut [f32]),
) {
    let whole = TileConfig::new([SIDE, SIDE]);
    let left = rows % ROWS;
    // A last block of up to sixteen rows has no lower tiles; they are given a row that is not used.
    let rest = TileConfig::new([left.clamp(1, SIDE), left.saturating_sub(SIDE).max(1)]);
    let mut near = [0.0_f32; ROWS * PANEL];
    for first in (0..outputs).step_by(PANEL) {
        let columns = PANEL.min(outputs - first);
        let panel = &panels[first * depth..][..PANEL * depth];
        // SAFETY: the processor has tiles.
        unsafe { whole.load() };
        for row in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - row);
            if count < ROWS {
                // SAFETY: the processor has tiles.
                unsafe { rest.load() };
            }
            let block = TileBlock {
                steps: depth / SIDE,
                a: a[row * a_stride..].as_ptr(),
                a_stride: a_stride * size_of::<u32>(),
                panel: panel.as_ptr(),
                out: near.as_mut_ptr(),
            };
            // SAFETY: `count` rows of `a` and a whole panel lie in their slices, the results have room,
            // and the tiles have that many rows.
            unsafe {
                if count > SIDE {
                    block.tall(a_stride * SIDE);
                } else {
                    block.flat();
                }
            }
            for (i, values) in near.as_chunks_mut::<PANEL>().0[..count]
                .iter_mut()
                .enumerate()
            {
                // A length that the compiler knows makes the common case one stretch of SIMD code.
                if columns == PANEL {
                    take(row + i, first, values);
                } else {
                    take(row + i, first, &mut values[..columns]);
                }
            }
        }
    }
    // SAFETY: the processor has tiles; without them in use, threads are switched faster.
    unsafe { asm!("tilerelease", options(nomem, nostack)) };
}

/// Some rows times one panel. Strides are in bytes.
struct TileBlock {
    /// Tiles along the inner dimension.
    steps: usize,
    a: *const u32,
    a_stride: usize,
    panel: *const u32,
    /// `[rows, 32]`.
    out: *mut f32,
}

impl TileBlock {
    /// Up to sixteen rows.
    ///
    /// # Safety
    /// The tile registers are loaded for these rows, and every matrix lies in its array.
    unsafe fn flat(self) {
        // SAFETY: as the caller promises; only tile registers and the results are written.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "2:",
                "tileloadd tmm4, [{a} + {a_stride}*1]",
                "tileloadd tmm6, [{b} + {stride}*1]",
                "tileloadd tmm7, [{b} + {stride}*1 + 64]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {a}, 64",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{out} + {stride}*1], tmm0",
                "tilestored [{out} + {stride}*1 + 64], tmm1",
                a = inout(reg) self.a => _,
                b = inout(reg) self.panel => _,
                steps = inout(reg) self.steps => _,
                a_stride = in(reg) self.a_stride,
                stride = in(reg) PANEL * size_of::<u32>(),
                out = in(reg) self.out,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// More than sixteen rows and up to thirty-two; the lower ones of `a` begin so many words further on.
    ///
    /// # Safety
    /// As [`Self::flat`].
    unsafe fn tall(self, a_below: usize) {
        // SAFETY: as the caller promises; only tile registers and the results are written.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{a} + {a_stride}*1]",
                "tileloadd tmm6, [{b} + {stride}*1]",
                "tileloadd tmm7, [{b} + {stride}*1 + 64]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{a2} + {a_stride}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 64",
                "add {a2}, 64",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{out} + {stride}*1], tmm0",
                "tilestored [{out} + {stride}*1 + 64], tmm1",
                "tilestored [{out2} + {stride}*1], tmm2",
                "tilestored [{out2} + {stride}*1 + 64], tmm3",
                a = inout(reg) self.a => _,
                a2 = inout(reg) self.a.add(a_below) => _,
                b = inout(reg) self.panel => _,
                steps = inout(reg) self.steps => _,
                a_stride = in(reg) self.a_stride,
                stride = in(reg) PANEL * size_of::<u32>(),
                out = in(reg) self.out,
                out2 = in(reg) self.out.add(SIDE * PANEL),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}
