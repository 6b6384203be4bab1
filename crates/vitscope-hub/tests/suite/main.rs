//! Names to files.

#![cfg_attr(
    feature = "network",
    expect(clippy::unwrap_used, reason = "a test fails by panicking")
)]

#[cfg(feature = "network")]
mod download;
#[cfg(all(feature = "network", unix))]
mod hostile;
