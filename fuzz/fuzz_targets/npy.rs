//! The header of an array inside a NumPy archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::npy(bytes));
