//! The streams that PyTorch wrote before 1.6.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::legacy(bytes));
