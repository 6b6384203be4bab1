//! Every number against an oracle, a closed form or brute force, in one program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod collapse;
mod oracle;
mod properties;
mod resampling;
