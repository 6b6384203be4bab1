//! The tests of vitscope-data that go through its public interface.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic as tests do"
)]

mod annotations;
mod common;
mod decoding;
mod golden_geometry;
mod jpegs;
mod kinds;
mod odd_files;
mod sample_sets;
mod streaming;
mod wild;
mod wild_pairs;
mod wild_splits;
