//! A feature directory with one of its files bent.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::features(bytes));
