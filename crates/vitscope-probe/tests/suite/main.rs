//! Everything about probes that needs no GPU, in one program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod correspond;
mod labels;
mod oracle;
mod readers;
mod soft;
mod spread;
mod training;
mod transform;
