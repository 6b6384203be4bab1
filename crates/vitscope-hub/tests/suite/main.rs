//! Names to files, and the table of known models, in one program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "network")]
mod download;
mod table;
