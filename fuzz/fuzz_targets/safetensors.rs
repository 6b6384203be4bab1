//! The header of safetensors files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::safetensors(bytes));
