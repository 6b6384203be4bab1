//! Zip archives as PyTorch writes them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::torch_zip(bytes));
