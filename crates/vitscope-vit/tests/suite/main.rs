//! Checkpoints of every layout, whole, odd and hostile, in one program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod edits;
mod known;
mod loading;
mod loading_attacks;
mod loading_containers;
mod loading_mutations;
mod loading_own;
mod loading_releases;
mod loading_wrong;
mod wild;
