//! The pickle inside a TorchScript archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vitscope_fuzz::torchscript(bytes));
