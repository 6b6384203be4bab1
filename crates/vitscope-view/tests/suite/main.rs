//! The server from outside, and what a desk answers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod desk;
mod server;
