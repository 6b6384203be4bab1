//! Descriptions of own models.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::own(bytes));
