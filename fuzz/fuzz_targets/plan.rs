//! The plan of a sweep, up to the list of its jobs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::plan(bytes));
