//! The pickle inside a PyTorch zip archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::pickle(bytes));
