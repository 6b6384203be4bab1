//! The index of sharded weights.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::index(bytes));
