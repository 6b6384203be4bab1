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
pub mod patches;
pub mod positions;
pub mod product;
pub mod rows;
mod scalar;
