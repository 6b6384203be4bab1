//! The JSON of SPair-71k's pairs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = vitscope_data::fuzzing::pair(bytes);
});
