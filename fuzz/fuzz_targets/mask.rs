//! PNG masks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = vitscope_data::fuzzing::mask(bytes);
});
